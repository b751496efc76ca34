"""The crash sweep: kill a run at every place there is, resume it, kill the resume, resume, and look for what is lost or twice.

Each run is a fork of this process, so that hundreds of them cost seconds. Loaded by path, as ``small.py`` is; the benchmark
that writes the table into the docs loads it too.
"""

import gc
import os
import signal
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hyposcreen.agent.ledger import failpoints
from hyposcreen.agent.ledger import records as r
from hyposcreen.agent.ledger.database import database_at
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.ledger.verify import verify

ONLY = ("b_cells", "housekeeping", "random_b_cells")
SETTINGS = {
    "iterations": 2,
    "per_iteration": 2,
    "permutations_explore": 99,
    "permutations_look": 199,
    "max_promoted": 2,
}
ONCE = ("create.begun", "create.done", "config.written", "plan.recorded", "environment.recorded")
"""Places that a resume may not come by again; its kill is at the first place it surely reaches."""
MANY = ("append.", "attempt.", "result.", "rows.")
ENDS = ("look.judged", "run.closed", "report.written", "list.frozen", "look.opened")


@dataclass
class Case:
    """One place, killed at its Nth visit, and what came of it."""

    point: str
    visit: int
    kills: int = 0
    violations: list[str] = field(default_factory=list)


def cases(visits: Callable[[str], int]) -> list[Case]:
    """Every place at its first visit, and those that come by often in the middle of the run as well."""
    out = [Case(point, 1) for point in failpoints.POINTS]
    return out + [Case(p, visits(p) // 2) for p in failpoints.POINTS if p.startswith(MANY) and visits(p) >= 4]


def visits_of(run: Callable[[], object]) -> Counter[str]:
    """How often an undisturbed run comes by each place; it runs in this process."""
    seen: Counter[str] = Counter()
    before = failpoints._hit
    failpoints._hit = lambda name: seen.update([name])  # type: ignore[assignment]
    failpoints._armed = ("", 0)
    try:
        run()
    finally:
        failpoints._hit = before
        failpoints.arm(None)
    return seen


def sweep(case: Case, where: Path | str, run: Callable[[], Any], content_hash: str, rows: int) -> Case:
    """Kill, resume and kill, resume; then ask the ledger at ``where`` whether all is as if nothing had happened."""
    first = f"{case.point}:{case.visit}"
    again = "runner.locked:1" if case.point in ONCE or case.point in ENDS else f"{case.point}:1"
    kept: list[list[str]] = []
    for order in (first, again):
        ended = _in_child(run, order)
        if ended == -signal.SIGKILL:
            case.kills += 1
        elif ended != 0:
            case.violations.append(f"a run that was to be killed at {order} ended with {ended}")
        kept.append(_hashes(where))
    if case.kills < 2:
        case.violations.append(f"{case.kills} kills instead of 2")
    if (ended := _in_child(run, None)) != 0:
        case.violations.append(f"the last resume ended with {ended}")
    case.violations += _violations(where, kept, content_hash, rows)
    return case


def _in_child(run: Callable[[], Any], order: str | None) -> int:
    gc.freeze()  # a collection in the child would walk, and copy, everything this process holds
    child = os.fork()
    if child == 0:
        try:
            failpoints.arm(order)
            run()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a child must never return into the tests
            traceback.print_exc()
            os._exit(70)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _hashes(where: Path | str) -> list[str]:
    """What is durable now."""
    if database_at(where).vacant():
        return []
    with Ledger.open_readonly(where) as ledger:
        return [entry.hash for entry in ledger.entries()]


def _violations(where: Path | str, kept: list[list[str]], content_hash: str, rows: int) -> list[str]:
    found = list(verify(where).problems)
    with Ledger.open_readonly(where) as ledger:
        chain = [entry.hash for entry in ledger.entries()]
        tested = Counter(t.id for t in ledger.records(r.Tested))
        verdicts = Counter(v.id for v in ledger.records(r.VerdictGiven))
        attempts = Counter(a.id for a in ledger.records(r.AttemptStarted))
        head = ledger.head()
    found += [f"entries that were durable are gone or changed ({len(k)})" for k in kept if chain[: len(k)] != k]
    if head.content_hash != content_hash:
        found.append("the content head is not that of an undisturbed run")
    if len(tested) != rows or set(tested.values()) != {1} or set(verdicts.values()) != {1} or len(verdicts) != rows:
        found.append(f"{rows} rows, results {dict(tested)}, verdicts {dict(verdicts)}")
    if any(count > 3 for count in attempts.values()):
        found.append(f"attempts {dict(attempts)}: more than one a process")
    return found
