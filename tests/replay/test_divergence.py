"""Divergence in its order: inputs, code, environment, numbers. One planted change at a time, on a bundle of a small run."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hyposcreen
from hyposcreen.agent import fingerprint, session
from hyposcreen.agent.errors import UserError
from hyposcreen.agent.ledger import records as rec
from hyposcreen.agent.ledger.errors import LedgerError
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.replay import divergence
from hyposcreen.agent.replay.divergence import apart, code_cause, environment_cause, ulps_between, worst
from hyposcreen.cli import main
from hyposcreen.embeddings_cache.store import STORE
from hyposcreen.tests_library.catalogue import CATALOGUE

# How far numbers are apart.


@pytest.fixture
def result(finished: Any) -> rec.Tested:
    """A row of the finished run that is not at the edge of promotion."""
    return next(t for t in finished.ledger.records(rec.Tested) if t.status == "ok" and t.p_scan > 0.4)


def ulps_up(value: float, steps: int) -> float:
    for _ in range(steps):
        value = float(np.nextafter(value, np.inf))
    return value


def test_distance_counts_representable_numbers() -> None:
    assert ulps_between(1.0, ulps_up(1.0, 3)) == 3
    assert ulps_between(0.0, -0.0) == 0
    assert ulps_between(ulps_up(0.0, 2), -ulps_up(0.0, 1)) == 3


def test_classes_from_bit_identical_to_another_decision(finished: Any, result: rec.Tested) -> None:
    plan = finished.ledger.run()
    nudged = ulps_up(result.statistic, 3)
    cases = {
        "identical": result,
        "within_ulp": replace(result, statistic=nudged, statistic_hex=nudged.hex()),
        "within_tolerance": replace(result, statistic=result.statistic * (1 + 1e-12)),
        "statistic_changed": replace(result, statistic=result.statistic * 1.001),
        "decision_changed": replace(result, p_scan=plan.promote_p / 2),
        "not_executed": rec.Tested(result.id, "failed", "error: the test stopped with an error"),
    }
    for name, again in cases.items():
        assert apart(result, again, plan).numbers == name
    assert apart(result, cases["within_ulp"], plan).ulps == 3
    assert apart(result, replace(result, k=result.k + 1), plan).numbers == "statistic_changed", (
        "a count has no rounding"
    )
    assert apart(None, result, plan).numbers == "decision_changed"
    found = [apart(result, again, plan) for again in cases.values()]
    assert [worst(found[: n + 1]).numbers for n in range(6)] == list(divergence.CLASSES)


def test_a_view_is_compared_too(finished: Any, result: rec.Tested) -> None:
    plan, views = finished.ledger.run(), list(result.views)
    views[-1] = dict(views[-1]) | {"z": ulps_up(views[-1]["z"], 1)}
    assert apart(result, replace(result, views=tuple(views)), plan).numbers == "within_ulp"


def test_a_verdict_is_a_decision(finished: Any) -> None:
    verdict = finished.ledger.records(rec.VerdictGiven)[0]
    assert apart(verdict, replace(verdict, verdict="other"), finished.ledger.run()).numbers == "decision_changed"


# What makes the numbers.


def test_each_test_names_its_own_file_first_and_no_other_test_without_need() -> None:
    for name, kind in CATALOGUE.items():
        files = fingerprint.files_of(name)
        assert files[0].startswith("tests_library/statistics/"), name
        assert kind.prepare.__module__.rpartition(".")[2] in {Path(f).stem for f in files}
        assert {"tests_library/engine/bank.py", "tests_library/run.py", "agent/sandbox/worker.py"} <= set(files)
        assert not any(f.startswith(("agent/ledger/", "agent/report/", "cli")) for f in files)
    assert "tests_library/statistics/topology.py" not in fingerprint.files_of("cohesion")
    assert "tests_library/statistics/pairs.py" not in fingerprint.files_of("persistence_h1")


def test_a_changed_line_is_shown_as_a_diff_and_an_equal_text_as_nothing() -> None:
    old = {"a.py": "x = 1\ny = 2\n", "b.py": "z = 3\n"}
    assert code_cause(old, dict(old)) is None
    cause = code_cause(old, old | {"a.py": "x = 1\ny = 3\n", "c.py": "new\n"})
    assert cause is not None and cause.kind == "code_changed" and cause.detail == "a.py, c.py"
    assert "-y = 2" in cause.diff and "+y = 3" in cause.diff and "+new" in cause.diff


def test_environment_names_what_differs() -> None:
    _, now = fingerprint.environment({"genes.tsv": "0" * 64})
    assert environment_cause(now, replace(now, inputs={})) is None, "inputs are not the environment"
    other = replace(now, packages=dict(now.packages) | {"numpy": "0.1"}, numerics=dict(now.numerics) | {"threads": 2})
    cause = environment_cause(other, now)
    assert cause is not None
    assert cause.detail == f"numpy 0.1 → {now.packages['numpy']}, threads 2 → 1"
    assert not any(os.uname().nodename in str(v) for v in now.to_content().values() if len(os.uname().nodename) > 3)


# A bundle, elsewhere.


@pytest.fixture(scope="module")
def bundled(small: Any, finished: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run through the command's own function (it records its environment), and the bundle of a tested row beside it."""
    home = tmp_path_factory.mktemp("bundles")
    source = home / "p"
    shutil.copytree(finished.project.folder, source, ignore=shutil.ignore_patterns("runs.db*", "report.html"))
    summary = small.run_campaign_in_process(source)
    assert summary.head.content_hash == finished.ledger.head().content_hash, "what is recorded is context"
    with Ledger.open_readonly(source / "runs.db") as ledger:
        row = next(r for r in ledger.rows() if r.m and CATALOGUE[r.test].universe)
    return Path(session.bundle_to(source, row.id, home / row.id))


@pytest.fixture
def bundle(bundled: Path, finished: Any, tmp_path: Path) -> Path:
    """The bundle in a folder of its own, with the cache beside it, as on another machine."""
    there = tmp_path / bundled.name
    shutil.copytree(bundled, there)
    shutil.copytree(finished.project.folder / STORE, there / STORE)
    return there


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package in another folder; ``PYTHONPATH`` for it. Who changes a file of it puts it back."""
    root = Path(hyposcreen.__file__).parent
    keep = (
        "__init__.py",
        "__main__.py",
        "cli.py",
        "py.typed",
        "agent",
        "hypotheses",
        "tests_library",
        "embeddings_cache",
        "prompts",
    )
    target = tmp_path_factory.mktemp("elsewhere") / "hyposcreen"
    target.mkdir()
    for name in keep:
        if (root / name).is_dir():
            shutil.copytree(root / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "store", "demo_*"))
        elif (root / name).exists():
            shutil.copy(root / name, target / name)
    return target.parent


Replayed = tuple[int, Any, str]
"""Exit code, parsed JSON and stderr of ``screen replay ROW --json``."""


def elsewhere(folder: Path, *options: str, path: Path, small: Any) -> Replayed:
    """In a process that finds the package, or metadata of packages, at ``path`` first; rows run without workers."""
    code = (
        "import sys\n"
        "from hyposcreen.agent import session\n"
        "from hyposcreen.agent.executors.pool import SandboxPool\n"
        "from hyposcreen.agent.sandbox.inline import InlineSandbox\n"
        "from hyposcreen.agent.sandbox.worker import Bench\n"
        "session.open_executor = lambda *_: SandboxPool(1, make=lambda: InlineSandbox(Bench()))\n"
        "from hyposcreen.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "replay", folder.name, "--quiet", "--json", *options],
        cwd=folder, env=small.environment({"PYTHONPATH": str(path)}), capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else None, done.stderr


@pytest.fixture
def here(small: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Replayed]:
    """The same in this process."""
    monkeypatch.setattr(session, "open_executor", lambda *_: small.in_process())

    def replay(folder: Path) -> Replayed:
        code = 0
        try:
            main(["replay", folder.name, "-C", str(folder), "--quiet", "--json"])
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out.strip() else None, said.err

    return replay


@contextmanager
def changed(source: Path, change: Callable[[str], str]) -> Iterator[None]:
    """``source`` with other text, while the block runs."""
    before = source.read_text(encoding="utf-8")
    assert change(before) != before
    source.write_text(change(before), encoding="utf-8")
    try:
        yield
    finally:
        source.write_text(before, encoding="utf-8")


def test_a_bundle_holds_no_cache_and_replays_from_a_clone(bundle: Path, bundled: Path, clone: Path, small: Any) -> None:
    assert not (bundled / "embeddings_cache").exists()
    code, (row,), said = elsewhere(bundle, "--strict", path=clone, small=small)
    assert (code, row["outcome"], row["numbers"], row["causes"]) == (0, "identical", "identical", []), said
    with Ledger.open_readonly(bundle / "runs.db") as ledger:
        assert [r.outcome for r in ledger.records(rec.Replayed)] == ["identical"]


def test_without_the_cache_it_is_named_as_missing(bundle: Path, here: Any) -> None:
    shutil.rmtree(bundle / STORE)
    code, said, error = here(bundle)
    assert code == 5
    assert said["outcome"] == "inputs_missing" and said["named"][0].startswith("cache small (digest ")
    assert "inputs missing: cache small" in error


def test_one_embedding_value(bundle: Path, here: Any) -> None:
    layer = bundle / STORE / "small" / "layer_01.npy"
    data = bytearray(layer.read_bytes())
    data[-3] ^= 1
    layer.chmod(0o644)
    layer.write_bytes(bytes(data))
    code, said, error = here(bundle)
    assert (code, said) == (5, {"outcome": "inputs_changed", "named": ["cache file layer_01.npy"]})
    assert "inputs changed: cache file layer_01.npy" in error


def test_one_gene_name(bundle: Path, here: Any) -> None:
    genes = bundle / STORE / "small" / "genes.tsv"
    lines = genes.read_text(encoding="utf-8").splitlines()
    name = lines[5].partition("\t")[0]
    lines[5] = "RENAMED" + lines[5].removeprefix(name)
    genes.chmod(0o644)
    genes.write_text("\n".join(lines) + "\n", encoding="utf-8")
    code, said, _ = here(bundle)
    assert (code, said["outcome"]) == (5, "inputs_changed")
    assert said["named"][0] == f"cache file genes.tsv ({name} → RENAMED)"


def test_one_gene_of_an_annotation(bundle: Path, here: Any) -> None:
    path = bundle / "annotations" / "t_cells.gmt"
    name, title, *genes = path.read_text(encoding="utf-8").rstrip("\n").split("\t")
    path.write_text("\t".join([name, title, *genes[1:]]) + "\n", encoding="utf-8")
    code, said, _ = here(bundle)
    assert (code, said) == (5, {"outcome": "inputs_changed", "named": ["annotation t_cells"]})
    path.unlink()
    (bundle / "annotations" / "annotations.toml").unlink()
    code, said, _ = here(bundle)
    assert code == 5 and said["outcome"] == "inputs_changed"


def test_the_seed_in_the_settings(bundle: Path, here: Any) -> None:
    path = bundle / "screen.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("seed = 5", "seed = 6"), encoding="utf-8")
    code, said, _ = here(bundle)
    assert (code, said) == (5, {"outcome": "inputs_changed", "named": ["seed 5 → 6"]})


def test_the_seed_in_the_record(bundle: Path, here: Any) -> None:
    with closing(sqlite3.connect(bundle / "runs.db")) as connection:
        connection.executescript(
            "DROP TRIGGER entry_no_update; UPDATE entry SET content = replace(content, '\"seed\":5', '\"seed\":6') "
            "WHERE seq = 1;"
        )
    code, said, error = here(bundle)
    assert (code, said) == (4, None)
    assert "entry 1 (run_opened) was edited" in error


def test_one_line_of_the_tests_code(bundle: Path, clone: Path, small: Any) -> None:
    with Ledger.open_readonly(bundle / "runs.db") as ledger:
        test = ledger.row(bundle.name).test
    own = fingerprint.files_of(test)[0]
    with changed(clone / "hyposcreen" / own, lambda text: text + "\nPLANTED = True\n"):
        code, (row,), error = elsewhere(bundle, "--strict", path=clone, small=small)
    assert (code, row["outcome"], row["numbers"]) == (3, "code_changed", "identical"), "the line changes no number"
    (cause,) = row["causes"]
    assert (cause["kind"], cause["detail"]) == ("code_changed", own)
    assert "+PLANTED = True" in cause["diff"]
    assert "1 rows diverged" in error


def test_a_line_that_changes_numbers_is_named_before_them(bundle: Path, clone: Path, small: Any) -> None:
    engine = "agent/explore.py"
    with changed(clone / "hyposcreen" / engine, lambda text: text.replace("seed=plan.seed,", "seed=plan.seed + 1,")):
        code, (row,), _ = elsewhere(bundle, path=clone, small=small)
    assert (code, row["outcome"]) == (3, "code_changed")
    assert row["numbers"] in {"statistic_changed", "decision_changed"}
    assert row["causes"][0]["detail"] == engine
    with Ledger.open_readonly(bundle / "runs.db") as ledger:
        (kept,) = ledger.records(rec.Replayed)
    assert kept.outcome == "code_changed" and kept.detail.startswith(f"code changed: {engine}")


def test_a_library_version(bundle: Path, tmp_path: Path, small: Any) -> None:
    """Another version of a package as the import system would find it: its metadata come first on the path."""
    info = tmp_path / "site" / "scipy-0.0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: scipy\nVersion: 0.0.1\n", encoding="utf-8")
    code, (row,), _ = elsewhere(bundle, path=info.parent, small=small)
    assert (code, row["outcome"]) == (0, "identical"), "it is named, but without --strict the bits decide"
    (cause,) = row["causes"]
    assert cause["kind"] == "environment_changed" and re.fullmatch(r"scipy \S+ → 0\.0\.1", cause["detail"])
    code, (row,), _ = elsewhere(bundle, "--strict", path=info.parent, small=small)
    assert (code, row["outcome"]) == (3, "environment_changed")


def test_a_bundle_is_not_written_over_anything(bundled: Path) -> None:
    with pytest.raises(UserError, match="exists already"):
        session.bundle_to(bundled.parent / "p", bundled.name, bundled)
    with pytest.raises(LedgerError, match="there is no hypothesis H9999"):
        session.bundle_to(bundled.parent / "p", "H9999", bundled.parent / "new")
    assert not (bundled.parent / "new").exists()


def test_a_statistic_of_a_model_rests_on_the_protocol_and_on_no_test_of_the_library():
    files = fingerprint.files_of("custom_statistic")
    assert {"agent/custom/runner.py", "agent/blinded.py", "agent/sandbox/foreign.py", "tests_library/nulls.py"} <= set(
        files
    )
    assert "tests_library/statistics/topology.py" not in files and set(files) <= set(fingerprint.all_files())
