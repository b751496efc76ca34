"""Replay: execute a row of the ledger again and say bit-identical, or what differs.

A row's job is rebuilt from its registered spec and the project's inputs, never from stored intermediate values. Floats are
compared as they are stored, which is bit for bit. A replay is appended to the ledger as context; it edits nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..hypotheses.canonical import canonical_json
from . import policy
from .errors import Exit, UserError
from .executor import Executor
from .explore import explore
from .ledger.records import (
    LookResult,
    Promoted,
    Record,
    Registered,
    Replayed,
    RunClosed,
    RunOpened,
    Tested,
    VerdictGiven,
)
from .ledger.store import Ledger
from .look import LookPlan, Tally, judge, own_numbers, plan_look
from .orchestrator import check_inputs
from .progress import Progress
from .project import Project

Results = dict[tuple[str, str], Record]
"""(``explore`` | ``U`` | ``H`` | ``verdict``, row id) → record."""
_ROUTES = ("explore", "U", "H", "verdict")


@dataclass(frozen=True)
class Replay:
    """How one row came out."""

    id: str
    outcome: str
    """``identical`` or ``diverged``."""
    k: int
    m: int
    statistic_hex: str
    """The exploration as replayed."""
    checked: tuple[str, ...]
    """What was executed again: ``explore``, ``U``, ``H``, ``verdict``."""
    differences: tuple[str, ...]
    """One phrase a field that differs: stored, then replayed."""


@dataclass(frozen=True, eq=False)
class Stored:
    """What the ledger says, indexed."""

    rows: dict[str, Registered]
    tested: dict[str, Tested]
    lists: tuple[Promoted, ...]
    closed: bool
    results: Results


def replay(
    project: Project,
    plan: RunOpened,
    ledger: Ledger,
    executor: Executor,
    ids: Sequence[str] | None,
    progress: Progress,
) -> Iterator[Replay]:
    """Replay ``ids``, or every row when ``None``.

    Every row: exploration, the whole look with its adjusted p, and the verdicts. Some rows: exploration and their own
    numbers of the look; adjusted p rest on the whole universe and are executed again only with every row. Raises
    :class:`UserError` (exit 5) when an input is not the one the run was opened with, or a row is unknown.
    """
    check_inputs(project, plan)
    stored = _stored(ledger)
    chosen = [_known(stored.rows, id_) for id_ in (stored.rows if ids is None else ids)]
    chosen = [h for h in chosen if h.id in stored.tested]
    with progress.phase("replay: explore", len(chosen)) as counter:
        again: Results = {}
        for result in explore(project, plan, executor, chosen):
            again[("explore", result.id)] = result
            counter.step()
    if stored.closed:
        look = _look_whole if ids is None else _look_own
        again |= look(project, plan, executor, stored, chosen, progress)
    for h in chosen:
        yield _compared(ledger, stored, again, h.id)


def differences(stored: Record | None, again: Record) -> list[str]:
    """Fields in which two records differ, as phrases; a missing stored record is a difference."""
    if stored is None:
        return ["the ledger holds no such result"]
    old, new = stored.to_content(), again.to_content()
    return [
        f"{name} was {_short(old[name])}, is {_short(new[name])}"
        for name in old
        if canonical_json(old[name]) != canonical_json(new[name])
    ]


def _compared(ledger: Ledger, stored: Stored, again: Results, id_: str) -> Replay:
    checked = tuple(route for route in _ROUTES if (route, id_) in again)
    found = [
        f"{route}: {phrase}"
        for route in checked
        for phrase in differences(stored.results.get((route, id_)), again[(route, id_)])
    ]
    outcome = "diverged" if found else "identical"
    ledger.append(Replayed(id_, outcome, "; ".join(found)[:2000]))
    result = again[("explore", id_)]
    assert isinstance(result, Tested)
    return Replay(id_, outcome, result.k, result.m, result.statistic_hex, checked, tuple(found))


def _stored(ledger: Ledger) -> Stored:
    tested = {t.id: t for t in ledger.records(Tested)}
    results: Results = {("explore", t.id): t for t in tested.values()}
    results |= {(r.route, r.id): r for r in ledger.records(LookResult)}
    results |= {("verdict", v.id): v for v in ledger.records(VerdictGiven)}
    return Stored(
        rows={h.id: h for h in ledger.records(Registered)},
        tested=tested,
        lists=ledger.records(Promoted),
        closed=bool(ledger.records(RunClosed)),
        results=results,
    )


def _known(rows: Mapping[str, Registered], id_: str) -> Registered:
    if id_ not in rows:
        span = f"it holds {next(iter(rows))} to {list(rows)[-1]}" if rows else "it holds no row yet"
        raise UserError(f"there is no row {id_} in this ledger; {span}", Exit.USAGE)
    return rows[id_]


def _look_whole(
    project: Project,
    plan: RunOpened,
    executor: Executor,
    stored: Stored,
    chosen: Sequence[Registered],
    progress: Progress,
) -> Results:
    """Every look, complete, and every verdict, from nothing but the specs."""
    looks = policy.looks(plan, stored.lists)
    plans = _plans(project, plan, stored, chosen, looks)
    tallies = _run_scans(executor, plans, progress)
    results = [r for look, tally in zip(plans, tallies, strict=True) for r in judge(look, tally)]
    again: Results = {(r.route, r.id): r for r in results}
    again |= {("verdict", v.id): v for v in policy.verdicts(plan, chosen, stored.tested, looks, results)}
    return again


def _look_own(
    project: Project,
    plan: RunOpened,
    executor: Executor,
    stored: Stored,
    chosen: Sequence[Registered],
    progress: Progress,
) -> Results:
    """The rows' own numbers of their looks, under the null each reports; what rests on competitors is carried over."""
    plans = _plans(project, plan, stored, list(stored.rows.values()), policy.looks(plan, stored.lists))
    wanted = {h.id for h in chosen}
    own = [replace(look, scans=tuple(s for s in look.scans if wanted & set(s.rows))) for look in plans]
    facts = {key: numbers for tally in _run_scans(executor, own, progress) for key, numbers in tally.facts.items()}
    again: Results = {}
    for (route, id_), record in stored.results.items():
        if isinstance(record, LookResult) and (route, id_, record.null) in facts:
            again[(route, id_)] = replace(record, **own_numbers(facts[(route, id_, record.null)]))
    return again


def _plans(
    project: Project, plan: RunOpened, stored: Stored, chosen: Sequence[Registered], looks: Sequence[policy.Look]
) -> list[LookPlan]:
    tested = [h for h in chosen if h.id in stored.tested and stored.tested[h.id].status == "ok"]
    return [plan_look(project, plan, tested, look) for look in looks]


def _run_scans(executor: Executor, plans: Sequence[LookPlan], progress: Progress) -> list[Tally]:
    tallies = [Tally() for _ in plans]
    scans = [(scan, tally) for look, tally in zip(plans, tallies, strict=True) for scan in look.scans]
    with progress.phase("replay: look", len(scans)) as counter:
        for (scan, tally), outcome in zip(scans, executor.run([s.job for s, _ in scans]), strict=True):
            if outcome.kind != "ok":
                raise UserError(
                    f"{scan.job.name} could not be replayed ({outcome.kind}: {outcome.detail})", Exit.FAILURE
                )
            tally.add(scan, outcome)
            counter.step()
    return tallies


def _short(value: Any) -> str:
    text = canonical_json(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
