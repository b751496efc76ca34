"""The crash sweep as a table: ``python benchmarks/crash_sweep.py``; both databases, PostgreSQL where it can be had.

Kills a small run at every place there is, kills its resume, resumes, and compares with a run that nothing disturbed; see
``tests/agent/sweep.py``, which the tests run too.
"""

import importlib.util
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from hyposcreen.agent import session
from hyposcreen.agent.ledger import connection
from hyposcreen.agent.ledger.store import Ledger

TESTS = Path(__file__).parents[1] / "tests"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"hyposcreen_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


small, sweep, postgres = (load(TESTS / p) for p in ("agent/small.py", "agent/sweep.py", "ledger/postgres.py"))


def swept(folder: Path, kept: list[Any], server: str | None) -> tuple[list[Any], float]:
    """Every case on one database, and the seconds it took."""
    whole = small.make_project_folder(folder / "whole", kept, **sweep.SETTINGS)
    visits = sweep.visits_of(lambda: small.run_campaign_in_process(whole))
    with Ledger.open_readonly(whole / "runs.db") as ledger:
        content, rows = ledger.head().content_hash, len(ledger.rows(views=False))
    session.write_report_of = lambda _, path, *__: path  # half of the time of a small run, and no part of the record
    done, start = [], time.perf_counter()
    for number, case in enumerate(sweep.cases(visits.__getitem__)):
        if case.point == "config.written":
            continue  # the settings are there already
        place: Path | str = folder / str(number) / "runs.db"
        if server is not None:
            place = postgres.schema_on(server, f"sweep{number}")
        settings = sweep.SETTINGS | ({} if server is None else {"ledger": place})
        made = small.make_project_folder(folder / str(number), kept, **settings)
        done.append(sweep.sweep(case, place, lambda made=made: small.run_campaign_in_process(made), content, rows))
    return done, time.perf_counter() - start


def main() -> None:
    """Run and print."""
    connection._WRITER_PRAGMAS = tuple(p.replace("= FULL", "= OFF") for p in connection._WRITER_PRAGMAS)
    kept = [a for a in small.demo_annotations() if a.name in sweep.ONLY]
    found: dict[str, list[Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        found["SQLite"], seconds = swept(Path(scratch) / "s", kept, None)
        print(f"SQLite: {seconds:.0f} s", file=sys.stderr, flush=True)
        try:
            with postgres.server() as server:
                found["PostgreSQL"], seconds = swept(Path(scratch) / "p", kept, server)
                print(f"PostgreSQL: {seconds:.0f} s", file=sys.stderr)
        except postgres.NoServerError as reason:
            print(f"PostgreSQL: left out, {reason}", file=sys.stderr)
    print(f"| place | visit | {' | '.join(f'{name}: kills | violations' for name in found)} |")
    print(f"|---|---|{'---|---|' * len(found)}")
    for row in zip(*found.values(), strict=True):
        numbers = " | ".join(f"{case.kills} | {len(case.violations)}" for case in row)
        print(f"| `{row[0].point}` | {row[0].visit} | {numbers} |")
    for name, cases in found.items():
        wrong = [f"{c.point}:{c.visit} {v}" for c in cases for v in c.violations]
        print(
            f"\n{name}: {len(cases)} cases, {sum(c.kills for c in cases)} kills, {len(wrong)} violations. {'; '.join(wrong)}"
        )


if __name__ == "__main__":
    main()
