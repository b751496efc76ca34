"""A whole run whose model writes statistics, many of them broken or hostile; then the record is checked and executed again.

``python benchmarks/custom_campaign.py [--iterations 63] [--workers 0] [--quick] [--keep FOLDER] [--no-replay]``. The model is
the scripted one of ``tests/custom``, over real HTTP on loopback: in every iteration it writes one statistic beside two library
tests, 28 of the first 63 broken or hostile (``tests/custom/statistics.py``). The run is the embedded default through the
command line. The script fails if one of these does not hold: the run ends, every statistic has a typed end, nothing of the host
was touched, a key in the environment stands nowhere, the ledger verifies, and a replay of every row is bit-identical.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from hyposcreen.agent.ledger.provenance import Artifact
from hyposcreen.agent.ledger.records import Completion, Registered, Rejected, Tested
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.ledger.verify import verify

TESTS = Path(__file__).parents[1] / "tests"
SETS = ("t_cells", "b_cells", "monocytes", "cytosolic_translation", "housekeeping", "chaperones", "random_t_cells")
KEY = "sk-a-key-that-nobody-may-find"
NAME = "custom_statistic"


def load(name: str, path: Path) -> Any:
    """A module of the tests, which are no package."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def written(
    iterations: int, statistics: Any, author: Any, host: Any, sets: tuple[str, ...], layers: int
) -> dict[int, Any]:
    """Iteration → the statistic its model writes, and what it is called: bad ones spread evenly among honest ones."""
    bad = [(name, b.code) for name, b in statistics.BAD.items()]
    bad += [(f"{name} on real data", code) for name, code in statistics.TWO_FACED.items()]
    honest = list(statistics.HONEST.items())
    out: dict[int, Any] = {}
    for n in range(1, iterations + 1):
        done = (n - 1) * len(bad) // 63
        if n * len(bad) // 63 > done and done < len(bad):
            name, code = bad[done]
        else:
            name, code = honest[n % len(honest)]
        layer = f"L{n % layers}" if "real data" not in name else f"L{layers - 1}"
        out[n] = name, author.item(host.aimed(code), sets[n % len(sets)], layer, claim=f"iteration {n}: {name}")
    return out


def screen(*arguments: str, key: str = "") -> tuple[float, int, str]:
    """``screen ARGUMENTS``; seconds, exit code and what it printed."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SCREEN_", "OPENAI_"))}
    kept |= {"OPENAI_API_KEY": key, "A_KEY_OF_THE_PARENT": key} if key else {}
    start = time.perf_counter()
    command = [sys.executable, "-m", "hyposcreen", *arguments]
    done = subprocess.run(command, env=kept, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr[-2000:])
    return time.perf_counter() - start, done.returncode, done.stdout


def check(folder: Path, host: Any, asked: list[dict[str, Any]]) -> Ledger:
    """What must hold of the record, the host and the key."""
    ledger = Ledger.open_readonly(folder / "runs.db")
    registered, tested = ledger.records(Registered), {t.id: t for t in ledger.records(Tested)}
    assert {h.id for h in registered} == set(tested), "a row without a result"
    for h in registered:
        t = tested[h.id]
        if h.test == NAME and t.status == "failed":
            assert t.p_scan == 1.0 and ":" in t.reason, "an end without a type"
    assert verify(ledger.path).ok, "the ledger does not verify"
    assert host.harm() == [], host.harm()
    everything = "".join(f"{e.content}{e.context}" for e in ledger.entries())
    everything += "".join(a.text() for a in ledger.records(Artifact)) + json.dumps(asked)
    files = b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())
    assert KEY not in everything and KEY.encode() not in files, "the key was found"
    return ledger


def report(ledger: Ledger, repairs: int) -> None:
    """What the statistics of the model came to."""
    mine = [h for h in ledger.records(Registered) if h.test == NAME]
    tested = {t.id: t for t in ledger.records(Tested)}
    rejected = Counter(r.reason for r in ledger.records(Rejected))
    ends = Counter(tested[h.id].reason.split(":")[0] or "ok" for h in mine)
    notes = sum(any("says the same again" in n for n in tested[h.id].checks.get("notes", ())) for h in mine)
    rows = {r.id: r for r in ledger.rows(views=False)}
    print(f"statistics of the model  {len(mine)} registered: {_counts(ends)}; {notes} flagged as saying the same again")
    print(f"refused before that      {_counts(rejected)}")
    print(f"verdicts of theirs       {_counts(Counter(rows[h.id].verdict for h in mine))}")
    print(f"rows                     {len(rows)}: {_counts(Counter(r.verdict for r in rows.values()))}")
    turns = Counter(c.turn for c in ledger.records(Completion))
    print(f"turns                    {_counts(turns)}; {repairs} repairs asked for")
    print(f"ledger                   {Path(ledger.path).stat().st_size / 1e6:.1f} MB")


def _counts(values: Counter[str]) -> str:
    return (
        ", ".join(f"{n} {name}" for name, n in sorted(values.items(), key=lambda item: (-item[1], item[0]))) or "none"
    )


def main() -> None:
    """Run, check, execute again, print."""
    arguments = argparse.ArgumentParser(description="A run whose model writes statistics, many of them hostile.")
    arguments.add_argument("--iterations", type=int, default=63)
    arguments.add_argument("--workers", type=int, default=0, help="worker processes; 0 = one a core")
    arguments.add_argument("--keep", type=Path, help="folder to run in (default: one that is removed)")
    arguments.add_argument("--quick", action="store_true", help="499 and 999 permutations instead of 2,000 and 5,000")
    arguments.add_argument("--no-replay", action="store_true", help="leave the second execution out")
    given = arguments.parse_args()
    server = load("scripted_server", TESTS / "llm" / "scripted_server.py")
    statistics, author = (load(n, TESTS / "custom" / f"{n}.py") for n in ("statistics", "author"))
    hosts = load("custom_host", TESTS / "custom" / "host.py")
    with tempfile.TemporaryDirectory() as scratch:
        place = given.keep or Path(scratch)
        folder = place / "run"
        folder.mkdir(parents=True)
        if given.quick:
            (folder / "screen.toml").write_text(
                "permutations_explore = 499\npermutations_look = 999\n", encoding="utf-8"
            )
        with hosts.Host(place / "host") as host:
            script = written(given.iterations, statistics, author, host, SETS, 5)
            mends = {host.aimed(b.code): b.mended for b in statistics.BAD.values() if b.mended}
            model = author.Author(server, lambda n: [script[n][1]], lambda code: mends.get(code, code))
            with server.Scripted(model) as scripted:
                run = ("run", "--project", str(folder), "--proposer", "openai", "--model", "scripted", "--allow-code")
                more = ("--base-url", scripted.url, "--iterations", str(given.iterations), "--quiet")
                seconds, code, said = screen(*run, *more, "--workers", str(given.workers), key=KEY)
            assert code == 0, f"the run ended with exit code {code}"
            bad = sum(name not in statistics.HONEST for name, _ in script.values())
            print(
                f"{given.iterations} iterations in {seconds:.0f} s; {len(script)} statistics sent, {bad} broken or hostile"
            )
            ledger = check(folder, host, scripted.bodies)
            report(ledger, len(model.repairs))
            print(said.strip().splitlines()[-2])
            if not given.no_replay:
                seconds, code, said = screen("replay", "--all", "--project", str(folder), "--quiet")
                print(f"replay --all in {seconds:.0f} s: {said.strip().splitlines()[-1]}")
                assert code == 0, f"the replay ended with exit code {code}"
                assert host.harm() == [], host.harm()


if __name__ == "__main__":
    main()
