"""Replay: execute a row of the ledger again and say bit-identical, or what differs and what has changed since.

A row's job is rebuilt from its registered spec and the project's inputs, never from stored intermediate values. Floats are
compared as they are stored, which is bit for bit. A replay is appended to the ledger as context; it edits nothing.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from .. import policy
from ..custom.likeness import with_likeness
from ..errors import Exit, UserError
from ..executors.base import Executor
from ..explore import explore
from ..fingerprint import environment, files_of, sources
from ..ledger.provenance import Artifact, Environment
from ..ledger.records import (
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
from ..ledger.store import Ledger
from ..look import LookPlan, Tally, judge, own_numbers, plan_look
from ..progress import Progress
from ..project import Project
from .divergence import Apart, Cause, apart, code_cause, differences, environment_cause, worst

__all__ = ["Replay", "differences", "replay"]

Results = dict[tuple[str, str], Record]
"""(``explore`` | ``U`` | ``H`` | ``verdict``, row id) → record."""
_ROUTES = ("explore", "U", "H", "verdict")


@dataclass(frozen=True)
class Replay:
    """How one row came out."""

    id: str
    outcome: str
    """See :class:`~..ledger.records.Replayed`."""
    numbers: str
    """How far they are apart, whatever else has changed: one of ``divergence.CLASSES``."""
    ulps: int
    """Largest distance of two floats, in units in the last place, where only floats differ."""
    causes: tuple[Cause, ...]
    """What is not as it was when the row was computed: first code, then environment."""
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
    looks: tuple[policy.Look, ...]
    environments: Mapping[str, Environment]
    """Row id → what computed its exploration; rows of older ledgers have none."""
    codes: Mapping[str, Mapping[str, str]]
    """sha256 → path → source."""

    def before(self, id_: str) -> Iterator[Tested]:
        """Results that were recorded before that of ``id_``."""
        return takewhile(lambda tested: tested.id != id_, self.tested.values())


def replay(
    project: Project,
    plan: RunOpened,
    ledger: Ledger,
    executor: Executor,
    ids: Sequence[str] | None,
    progress: Progress,
    threads: int = 1,
    strict: bool = False,
) -> Iterator[Replay]:
    """Replay ``ids``, or every row when ``None``; the inputs have been compared with the plan by the caller.

    Every row: exploration, the whole look with its adjusted p, and the verdicts. Some rows: exploration and their own
    numbers of the look; adjusted p rest on the whole universe and are executed again only with every row. With ``strict``
    a row whose code or environment has changed is not ``identical``, even if all its bits are. Raises :class:`UserError`
    (exit 2) when a row is unknown.
    """
    stored = _stored(ledger)
    chosen = [_known(stored.rows, id_) for id_ in (stored.rows if ids is None else ids)]
    chosen = [h for h in chosen if h.id in stored.tested]
    with progress.phase("replay: explore", len(chosen)) as counter:
        again: Results = {}
        for result in explore(project, plan, executor, chosen):
            again[("explore", result.id)] = with_likeness(result, stored.before(result.id))
            counter.step()
    if stored.closed:
        look = _look_whole if ids is None else _look_own
        again |= look(project, plan, executor, stored, chosen, progress)
    _, now = environment({}, threads)
    for h in chosen:
        yield _compared(ledger, plan, stored, again, h, _causes(stored, h, now), strict)


def _compared(
    ledger: Ledger,
    plan: RunOpened,
    stored: Stored,
    again: Results,
    h: Registered,
    causes: tuple[Cause, ...],
    strict: bool,
) -> Replay:
    checked = tuple(route for route in _ROUTES if (route, h.id) in again)
    found: dict[str, Apart] = {
        route: apart(stored.results.get((route, h.id)), again[(route, h.id)], plan, stored.looks) for route in checked
    }
    phrases = tuple(f"{route}: {phrase}" for route in checked for phrase in found[route].phrases)
    most = worst(list(found.values()))
    differs = most.numbers != "identical" or strict
    outcome = causes[0].kind if causes and differs else most.numbers
    ledger.append(Replayed(h.id, outcome, _detail(causes, most, phrases)[:2000]))
    result = again[("explore", h.id)]
    assert isinstance(result, Tested)
    numbers = (result.k, result.m, result.statistic_hex)
    return Replay(h.id, outcome, most.numbers, most.ulps, causes, *numbers, checked, phrases)


def _detail(causes: Sequence[Cause], most: Apart, phrases: Sequence[str]) -> str:
    said = [f"{cause.kind.replace('_', ' ')}: {cause.detail}" for cause in causes]
    return "; ".join([*said, *([most.numbers.replace("_", " ")] if phrases else []), *phrases])


def _causes(stored: Stored, h: Registered, now: Environment) -> tuple[Cause, ...]:
    """What has changed since the row was computed: the code of its test, then the environment."""
    before = stored.environments.get(h.id)
    if before is None:
        return ()
    files = files_of(h.test)
    code = None if before.code == now.code else code_cause(stored.codes[before.code], sources(files))
    return tuple(cause for cause in (code, environment_cause(before, now)) if cause is not None)


def _stored(ledger: Ledger) -> Stored:
    tested = {t.id: t for t in ledger.records(Tested)}
    results: Results = {("explore", t.id): t for t in tested.values()}
    results |= {(r.route, r.id): r for r in ledger.records(LookResult)}
    results |= {("verdict", v.id): v for v in ledger.records(VerdictGiven)}
    lists = ledger.records(Promoted)
    plan = ledger.run()
    return Stored(
        rows={h.id: h for h in ledger.records(Registered)},
        tested=tested,
        lists=lists,
        closed=bool(ledger.records(RunClosed)),
        results=results,
        looks=policy.looks(plan, lists) if plan else (),
        environments=_environments(ledger),
        codes={a.sha256: json.loads(a.text()) for a in ledger.records(Artifact) if a.name == "code"},
    )


def _environments(ledger: Ledger) -> dict[str, Environment]:
    """Row id → the environment its result names, or else the last one recorded before it."""
    known: dict[str, Environment] = {}
    last: Environment | None = None
    found: dict[str, Environment] = {}
    for entry in ledger.entries({Environment.KIND, Tested.KIND}):
        record = entry.record()
        if isinstance(record, Environment):
            last = known[record.name] = record
        elif isinstance(record, Tested):
            named = known.get(json.loads(entry.context).get("environment", ""), last)
            if named is not None:
                found[record.id] = named
    return found


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
            if scan.stops(outcome):
                raise UserError(
                    f"{scan.job.name} could not be replayed ({outcome.kind}: {outcome.detail})", Exit.FAILURE
                )
            tally.add(scan, outcome)
            counter.step()
    return tallies
