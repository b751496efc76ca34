"""Bad input: one sentence that names the thing and the mend, the exit code of the contract, and no file changed."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hyposcreen.agent.ledger.schema import SCHEMA_VERSION
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.embeddings_cache.store import STORE

Call = Callable[..., Any]


def hashes(folder: Path) -> dict[str, str]:
    """Every file of a folder; the runner's lock is no data."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".lock")
    }


def refused(call: Call, folder: Path, code: int, parts: list[str], *arguments: Any) -> str:
    """The command fails as it should and leaves everything as it was."""
    before = hashes(folder)
    done = call(*arguments)
    assert done.code == code, done
    assert done.out == ""
    assert done.err.startswith("screen: ") and done.err.count("\n") == 1, done.err
    for part in parts:
        assert part in done.err, done.err
    assert hashes(folder) == before
    return str(done.err)


def edit_toml(folder: Path, old: str, new: str) -> None:
    path = folder / "screen.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


# inputs of a run that is not there yet


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ('cache = "small"', 'cache = "large"', ["no cache 'large'", "demo", "small"]),
        ('annotations = "labels"', 'annotations = "lables"', ["no folder of annotations 'lables'", "annotations.toml"]),
        ("seed = 5", "seed = ", ["screen.toml", "not valid TOML"]),
        ("seed = 5", "sede = 5", ["screen.toml", "'sede'", "seed"]),
        ("seed = 5", "seed = 1.5", ["screen.toml", "seed", "int"]),
        ("promote_p = 0.2", "promote_p = 2.0", ["screen.toml", "promote_p", "between"]),
    ],
)
def test_a_wrong_setting(call: Call, fresh: Any, old: str, new: str, parts: list[str]) -> None:
    folder = fresh("wrong")
    edit_toml(folder, old, new)
    refused(call, folder, 5, parts, "run", "-C", folder)


def test_a_wrong_variable(call: Call, fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCREEN_ITERATIONS", "many")
    folder = fresh("variable")
    refused(call, folder, 5, ["SCREEN_ITERATIONS", "many", "int"], "run", "-C", folder)


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--iterations", "0"], ["iterations", "0", "between 1"]),
        (["--alpha", "0.9"], ["alpha", "0.9", "0.5"]),
        (["--proposer", "oracle"], ["'oracle'", "offline"]),
    ],
)
def test_a_wrong_flag(call: Call, fresh: Any, flags: list[str], parts: list[str]) -> None:
    folder = fresh("flag")
    refused(call, folder, 2, parts, "run", "-C", folder, *flags)


@pytest.mark.parametrize("flags", [["--iterations", "many"], ["--no-such-flag"], ["surplus"]])
def test_a_flag_that_cannot_be_read(call: Call, fresh: Any, flags: list[str]) -> None:
    folder = fresh("unreadable")
    refused(call, folder, 2, [flags[0]], "run", "-C", folder, *flags)


def test_a_gene_set_that_shares_no_gene_with_the_cache(call: Call, fresh: Any) -> None:
    folder = fresh("mouse")
    path = folder / "labels" / "t_cells.gmt"
    name, title, *genes = path.read_text(encoding="utf-8").split("\t")
    path.write_text("\t".join([name, title, *(g.capitalize() for g in genes)]), encoding="utf-8")
    refused(call, folder, 5, ["annotation t_cells has no gene", "upper and lower case"], "run", "-C", folder)


def test_an_annotation_file_that_is_not_there(call: Call, fresh: Any) -> None:
    folder = fresh("gone")
    (folder / "labels" / "t_cells.gmt").unlink()
    refused(call, folder, 5, ["t_cells.gmt", "check the name"], "run", "-C", folder)


def test_a_background_that_is_no_annotation(call: Call, fresh: Any) -> None:
    folder = fresh("background")
    path = folder / "labels" / "annotations.toml"
    path.write_text(path.read_text(encoding="utf-8").replace('background = "house', 'background = "hous'), "utf-8")
    refused(call, folder, 5, ["housekeeping_half_1", "hous", "did you mean housekeeping"], "run", "-C", folder)


def test_a_corrupt_file_of_the_cache(call: Call, fresh: Any) -> None:
    folder = fresh("corrupt")
    layer = folder / STORE / "small" / "layer_02.npy"
    layer.write_bytes(layer.read_bytes()[:-64])
    refused(call, folder, 5, ["layer_02.npy", "again"], "run", "-C", folder)
    refused(call, folder, 5, ["layer_02.npy"], "cache", "check", "small", "-C", folder)


def test_no_working_folder(call: Call, fresh: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    refused(call, tmp_path, 5, ["file", "--project"], "run", "-C", tmp_path / "file")
    refused(call, tmp_path, 5, ["file", "--project"], "run", "-C", tmp_path / "file" / "below")
    refused(call, tmp_path, 5, ["missing", "mkdir"], "init", "-C", tmp_path / "missing")


def test_a_folder_that_may_not_be_written(call: Call, fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fresh("readonly")
    if os.geteuid() == 0:
        # The superuser may write anywhere, so the answer of the system is played.
        real = os.access
        monkeypatch.setattr(os, "access", lambda p, mode, **k: not (mode & os.W_OK) and real(p, mode, **k))
    else:
        folder.chmod(0o555)
    try:
        refused(call, folder, 5, ["readonly", "may not be written", "--project"], "run", "-C", folder)
    finally:
        folder.chmod(0o755)


# the ledger

READERS = [["status"], ["ledger", "list"], ["ledger", "show", "H0001"], ["ledger", "verify"], ["ledger", "head"],
           ["replay", "--all"], ["report"], ["ledger", "export", "-o", "x.csv"]]  # fmt: skip


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_there_is_no_ledger(call: Call, fresh: Any, command: list[str]) -> None:
    folder = fresh("none")
    refused(call, folder, 5, ["there is no ledger at", "runs.db"], *command, "-C", folder)


def other_program(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE notes (a TEXT)")
    connection.commit()
    connection.close()


FOREIGN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "text": (lambda path: path.write_text("dear diary\n" * 200), "not a SQLite database"),
    "another program": (other_program, "another program"),
    "folder": (lambda path: path.mkdir(), "not a file"),
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("command", [["run"], ["status"], ["ledger", "verify"], ["replay", "--all"]], ids=" ".join)
def test_a_foreign_runs_db_is_left_alone(call: Call, fresh: Any, kind: str, command: list[str]) -> None:
    folder = fresh("foreign")
    make, part = FOREIGN[kind]
    make(folder / "runs.db")
    refused(call, folder, 5, ["runs.db", part], *command, "-C", folder)


@pytest.mark.parametrize("command", [["run"], ["status"], ["ledger", "verify"], ["replay", "--all"]], ids=" ".join)
def test_a_ledger_of_a_newer_version_is_left_alone(call: Call, copied: Path, command: list[str]) -> None:
    connection = sqlite3.connect(copied / "runs.db")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.commit()
    connection.close()
    refused(call, copied, 5, ["newer hyposcreen", f"schema {SCHEMA_VERSION + 1}", "upgrade"], *command, "-C", copied)


def test_a_damaged_ledger_is_named(call: Call, copied: Path) -> None:
    path = copied / "runs.db"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for command in (["run"], ["status"]):
        refused(call, copied, 5, ["runs.db", "damaged"], *command, "-C", copied)


def test_a_ledger_another_runner_works_on(call: Call, copied: Path) -> None:
    with Ledger.open(copied / "runs.db").lock_runner():
        text = refused(
            call, copied, 1, ["another run is working on", f"pid {os.getpid()}", "wait"], "run", "-C", copied
        )
        assert "runs.db" in text
        assert call("status", "-C", copied).code == 0, "reading goes on"
    assert call("run", "-C", copied, "-q").code == 0


def test_an_edited_row_is_found(call: Call, copied: Path) -> None:
    connection = sqlite3.connect(copied / "runs.db")
    connection.execute("DROP TRIGGER IF EXISTS result_no_update")
    names = [n for (n,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
    for name in names:
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("UPDATE result SET p_scan = 0.001 WHERE id = 'H0002'")
    connection.commit()
    connection.close()
    before = hashes(copied)
    done = call("ledger", "verify", "-C", copied, "--json")
    assert done.code == 4
    assert any("H0002" in p or "p_scan" in p for p in json.loads(done.out)["problems"])
    assert hashes(copied) == before
    refused(call, copied, 4, ["cannot be trusted for writing"], "run", "-C", copied)


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--seed", "6"), ("--iterations", "5"), ("--per-iteration", "4"), ("--alpha", "0.01"), ("--proposer", "other")],
)
def test_a_flag_that_contradicts_the_run(call: Call, copied: Path, flag: str, value: str) -> None:
    refused(call, copied, 2, ["runs.db holds a run", flag, value, "--project"], "run", "-C", copied, flag, value)


def test_a_flag_that_repeats_the_run_is_fine(call: Call, copied: Path) -> None:
    done = call("run", "-C", copied, "--seed", "5", "--iterations", "4", "-q")
    assert done.code == 0 and "complete" in done.out


def test_inputs_that_contradict_the_run(call: Call, copied: Path) -> None:
    refused(call, copied, 5, ["another cache", "demo", "start a new run"], "run", "-C", copied, "--cache", "demo")
    labels = copied / "labels" / "b_cells.gmt"
    labels.write_text(labels.read_text(encoding="utf-8").rstrip("\n") + "\tCD3E\n", encoding="utf-8")
    refused(call, copied, 5, ["another annotations", "b_cells"], "run", "-C", copied)


@pytest.mark.parametrize(
    ("command", "code"), [(["ledger", "show", "H9999"], 2), (["replay", "H9999"], 2), (["replay", "'; --"], 2)]
)
def test_an_unknown_row(call: Call, copied: Path, command: list[str], code: int) -> None:
    refused(call, copied, code, [command[-1], "it holds H0001 to H0012"], *command, "-C", copied)


def test_an_unknown_cache_is_named(call: Call, copied: Path) -> None:
    refused(call, copied, 5, ["no cache 'large'", "demo", "small"], "cache", "show", "large", "-C", copied)
