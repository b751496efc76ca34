"""Every command as its user meets it: what it prints, its JSON keys, its exit code."""

import csv
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hyposcreen import __version__
from hyposcreen.agent.config import Config

Call = Callable[..., Any]
NAMED_KEYS = {
    "id", "iteration", "family", "test", "claim", "verdict", "route", "statistic", "effect", "null_mean", "k", "m",
    "p_raw", "p_scan", "q_bh", "p_confirm", "p_confirm_adj", "n_genes", "null", "spec_sha256", "cache_digest",
}  # fmt: skip
"""What a script may rely on in ``ledger list --json``."""


def test_run_in_an_empty_folder_says_what_it_did(call: Call, small: Any, tmp_path: Path) -> None:
    """The whole command in a process of its own: environment for the settings, nothing in the folder."""
    empty = tmp_path / "new folder"
    labels = small.write_annotations(tmp_path / "labels", [a for a in small.demo_annotations() if a.name == "t_cells"])
    cache = small.write_small_cache(tmp_path)
    settings = {"SCREEN_PERMUTATIONS_LOOK": "199", "SCREEN_PERMUTATIONS_EXPLORE": "99", "SCREEN_WORKERS": "1"}
    done = small.screen(
        "run", "-C", empty, "--iterations", "2", "--seed", "7", "--cache", cache, "--annotations", labels,
        cwd=tmp_path, env=settings,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    words = [line.split()[0] for line in done.stdout.splitlines()]
    assert words == ["rows", "verdicts", "positive", "negative", "head", "content", "report"]
    assert "6 hypotheses, 0 proposals rejected" in done.stdout
    assert "initialised" in done.stderr and "universe:" in done.stderr
    assert {p.name for p in empty.iterdir()} >= {"screen.toml", "runs.db", "report.html"}
    assert "seed = 7\n" in (empty / "screen.toml").read_text()
    value = call("run", "-C", empty, "--json").json
    assert set(value) == {"rows", "rejected", "verdicts", "controls", "head", "report", "complete"}
    assert (value["rows"], value["complete"]) == (6, True)
    assert f"{value['head']['seq']}:{value['head']['hash']}" in done.stdout
    assert value["head"]["content_hash"] in done.stdout
    assert Path(value["report"]).name == "report.html"


def test_run_prints_progress_on_stderr_only(call: Call, fresh: Any) -> None:
    folder = fresh("loud", only=("t_cells",), iterations=1)
    done = call("run", "-C", folder, "--json")
    assert done.code == 0 and done.json["rows"] == 3
    assert "genes to explore" in done.err
    quiet = call("run", "-C", fresh("quiet", only=("t_cells",), iterations=1), "--quiet")
    assert (quiet.code, quiet.err) == (0, "")


def test_init_writes_every_setting_once(call: Call, fresh: Any, tmp_path: Path) -> None:
    source = fresh("source")
    folder = tmp_path / "target"
    folder.mkdir()
    done = call("init", "-C", folder, "--cache", source / "embeddings_cache/store/small", "--seed", 3,
                "--annotations", source / "labels")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert done.out == f"wrote {folder / 'screen.toml'}\n"
    shown = call("config", "show", "-C", folder, "--json").json
    assert set(shown) == set(vars(Config()))
    assert shown["seed"] == 3
    before = (folder / "screen.toml").read_bytes()
    second = call("init", "-C", folder)
    assert second.code == 2 and "already exists" in second.err
    assert (folder / "screen.toml").read_bytes() == before


def test_config_show_follows_the_environment(call: Call, fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCREEN_SEED", "77")
    done = call("config", "show", "-C", fresh("shown"))
    assert "seed                   77" in done.out


def test_status(call: Call, copied: Path) -> None:
    facts = call("status", "-C", copied, "--json").json
    assert facts["phase"] == "complete"
    assert (facts["iterations_done"], facts["iterations"], facts["rows"], facts["rejected"]) == (4, 4, 12, 0)
    assert sum(facts["verdicts"].values()) == 12
    assert set(facts["head"]) == {"seq", "hash", "content_hash"}
    text = call("status", "-C", copied).out
    assert "complete, 4 of 4 iterations" in text and facts["head"]["hash"] in text


def test_ledger_head_and_verify(call: Call, copied: Path) -> None:
    head = call("ledger", "head", "-C", copied, "--json").json
    assert set(head) == {"seq", "hash", "content_hash"}
    assert call("ledger", "head", "-C", copied).out == f"{head['seq']}:{head['hash']}\ncontent {head['content_hash']}\n"
    for known in (head["hash"], head["hash"][:12], f"{head['seq']}:{head['hash']}"):
        assert call("ledger", "verify", "-C", copied, "--head", known).code == 0
    wrong = call("ledger", "verify", "-C", copied, "--head", "0123456789abcdef", "--json")
    assert wrong.code == 4
    assert wrong.json["ok"] is False and "truncated" in wrong.json["problems"][0]
    good = call("ledger", "verify", "-C", copied, "--json").json
    assert (good["ok"], good["problems"], good["entries"]) == (True, [], head["seq"])


def test_ledger_list_and_show(call: Call, copied: Path) -> None:
    rows = call("ledger", "list", "-C", copied, "--json").json
    assert len(rows) == 12
    for row in rows:
        assert set(row) >= NAMED_KEYS
        assert isinstance(row["k"], int) and isinstance(row["m"], int)
        assert all(row[p] > 0 for p in ("p_raw", "p_scan"))
        assert all(row[p] is None or row[p] > 0 for p in ("q_bh", "p_confirm", "p_confirm_adj"))
    assert any(row["p_confirm_adj"] for row in rows)
    table = call("ledger", "list", "-C", copied).out.splitlines()
    assert table[0].split()[:4] == ["id", "test", "annotation", "verdict"]
    assert len(table) == 14 and "exploratory" in table[-1]
    verdict = rows[0]["verdict"]
    some = call("ledger", "list", "-C", copied, "--verdict", verdict, "--json").json
    assert [r["id"] for r in some] == [r["id"] for r in rows if r["verdict"] == verdict]
    one = call("ledger", "show", "H0003", "-C", copied, "--json").json
    assert one == rows[2]
    text = call("ledger", "show", "H0003", "-C", copied).out
    assert rows[2]["claim"] in text and "null mean" in text


def test_ledger_export(call: Call, copied: Path, tmp_path: Path) -> None:
    head = call("ledger", "head", "-C", copied, "--json").json
    for ending in (".csv", ".json", ".jsonl"):
        out = tmp_path / f"rows{ending}"
        assert call("ledger", "export", "-C", copied, "-o", out).code == 0
        assert head["hash"] in out.read_text(encoding="utf-8")
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as lines:
        assert [r["id"] for r in csv.DictReader(lines)] == [f"H{n:04d}" for n in range(1, 13)]
    refused = call("ledger", "export", "-C", copied, "-o", tmp_path / "rows.xlsx")
    assert refused.code == 2 and ".csv" in refused.err
    lost = call("ledger", "export", "-C", copied, "-o", tmp_path / "no" / "rows.csv")
    assert lost.code == 1 and "rows.csv cannot be written" in lost.err


def test_replay_in_json(call: Call, copied: Path) -> None:
    done = call("replay", "H0002", "-C", copied, "--json", "--quiet")
    (row,) = done.json
    assert done.code == 0
    assert set(row) == {
        "id", "outcome", "numbers", "ulps", "causes", "k", "m", "statistic_hex", "checked", "differences",
    }  # fmt: skip
    assert (row["id"], row["outcome"]) == ("H0002", "identical")
    for wrong in ((), ("H0001", "--all")):
        refused = call("replay", *wrong, "-C", copied)
        assert refused.code == 2 and "--all" in refused.err


def test_report(call: Call, copied: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert call("report", "-C", copied, "-o", page).out == f"wrote {page}\n"
    assert "<html" in page.read_text(encoding="utf-8").lower()
    lost = call("report", "-C", copied, "-o", tmp_path / "no" / "page.html")
    assert lost.code not in (0, 2) and "no" in lost.err and "Traceback" not in lost.err


def test_the_catalogue(call: Call) -> None:
    kinds = call("tests", "list", "--json").json
    assert len(kinds) >= 8 and len({k["family"] for k in kinds}) >= 5
    assert {"name", "family", "entity", "asks", "formula", "null_preserves", "assumes", "source"} <= set(kinds[0])
    assert len(call("tests", "list").out.splitlines()) == len(kinds) + 1
    shown = call("tests", "show", "cohesion", "--json").json
    assert shown in kinds
    assert "formula" in call("tests", "show", "cohesion").out
    assert call("tests", "show", "axis_separation", "--json").json["nulls"][-1] == "random_axis"
    unknown = call("tests", "show", "cohesive")
    assert unknown.code == 2 and "cohesion" in unknown.err


def test_caches_and_annotations(call: Call, copied: Path) -> None:
    caches = {c["name"]: c for c in call("cache", "list", "-C", copied, "--json").json}
    assert {"demo", "small"} <= set(caches)
    small_cache = call("cache", "show", "small", "-C", copied, "--json").json
    assert (small_cache["genes"], small_cache["layers"]) == (320, 3)
    assert small_cache == caches["small"]
    checked = call("cache", "check", "small", "-C", copied, "--json").json
    assert (checked["ok"], checked["digest"]) == (True, small_cache["digest"])
    assert call("cache", "check", "small", "-C", copied).out.startswith(f"ok: digest {small_cache['digest']}")
    assert "small" in call("cache", "list", "-C", copied).out
    assert small_cache["digest"] in call("cache", "show", "small", "-C", copied).out
    found = {a["name"]: a for a in call("annotations", "list", "-C", copied, "--json").json}
    assert {a["kind"] for a in found.values()} == {"gene_set", "gene_pairs", "edges"}
    assert 0 < found["t_cells"]["explore"] < found["t_cells"]["usable"] <= found["t_cells"]["named"]
    assert "t_cells" in call("annotations", "list", "-C", copied).out


def test_the_version_from_every_door(small: Any, tmp_path: Path) -> None:
    done = small.screen("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"hyposcreen {__version__}\n")
    for name in ("screen", "hyposcreen"):
        installed = Path(sys.executable).with_name(name)
        if installed.exists():
            import subprocess

            said = subprocess.run([installed, "--version"], capture_output=True, text=True, check=True)
            assert said.stdout == done.stdout


def test_help_is_light(small: Any, tmp_path: Path) -> None:
    script = (
        "import sys\nfrom hyposcreen.cli import main\n"
        "try:\n    main(['run', '--help'])\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *sorted(m for m in sys.modules if '.' not in m))"
    )
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=small.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert "--iterations" in done.stdout and "hyposcreen" in loaded
    assert not loaded & {"torch", "pandas", "statsmodels", "openai", "numpy", "scipy", "sqlalchemy", "numba", "jinja2"}


@pytest.mark.parametrize("group", [(), ("ledger",), ("tests",), ("cache",), ("annotations",), ("config",)])
def test_every_group_explains_itself(call: Call, group: tuple[str, ...]) -> None:
    done = call(*group, "--help")
    assert done.code == 0 and "Usage:" in done.out
    wrong = call(*group, "no-such-command")
    assert wrong.code == 2 and "no-such-command" in wrong.err and "Traceback" not in wrong.err


def test_a_pipe_that_closes_early_is_no_traceback(small: Any, copied: Path) -> None:
    import subprocess

    process = subprocess.Popen(
        small.command("ledger", "list", "--json"), cwd=copied, env=small.environment(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait(60)


def test_ctrl_c_in_any_command_ends_with_130(call: Call, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hyposcreen.agent import session

    def pressed(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "open_existing", pressed)
    done = call("replay", "--all", "-C", copied)
    assert done.code == 130 and "what was recorded is safe" in done.err


def test_doctor_examines_by_doing(call: Call, copied: Path) -> None:
    if shutil.which("true") is None:
        pytest.skip("no processes here")
    checks = {c["name"]: c for c in call("doctor", "-C", copied, "--json").json}
    assert {"python", "packages", "folder", "ledger database", "random generator", "worker", "worker limits"} <= set(
        checks
    )
    assert all(c["level"] in {"ok", "note"} for c in checks.values()), checks
