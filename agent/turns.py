"""Several runners on one run: each takes rows nobody else is testing, and all write them in the same order.

A claim is an attempt with a lease, recorded before the row is sent to a worker. It ends with the result, with its lease, or
with the runner: whoever finds it stale tests the row again, which gives the same numbers. With one runner, which is all that a
ledger in a file allows, this is a loop over the rows.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from ..hypotheses.canonical import canonical_json
from ..hypotheses.spec import TestSpec
from .custom.likeness import with_likeness
from .executors.base import RETRY_FACTOR, Executor
from .explore import explore
from .ledger.errors import LedgerError
from .ledger.failpoints import reached
from .ledger.records import AttemptEnded, AttemptStarted, Record, Registered, RunOpened, Tested
from .ledger.store import Ledger
from .project import Project
from .sandbox.base import Job, Outcome

POLL_SECONDS = 0.1
"""How often a runner asks whether another one has done what it waits for."""


def explore_in_order(
    project: Project, plan: RunOpened, ledger: Ledger, executor: Executor, rows: Sequence[Registered], runner: str
) -> None:
    """Explore every row without a result; results are recorded in the order of ``rows``, whoever computed which.

    ``runner``: the name this process holds the ledger by. Returns when every row has its result.
    """
    attempts = _Attempts(ledger, runner, project.config.timeout_seconds, executor.boundary)
    findings = {h.id: project.finding(TestSpec.from_json(h.spec)) for h in _without_result(ledger, rows)}
    made: dict[str, Tested] = {}
    while left := _without_result(ledger, rows):
        fresh = [h for h in left if h.id not in made]
        claimed = attempts.claim([h.id for h in fresh if findings[h.id] is None])
        mine = [h for h in fresh if h.id in claimed or findings[h.id] is not None]
        reached("rows.claimed")
        for result in explore(project, plan, executor, mine, attempts):
            made[result.id] = result
            reached("result.made")
            _record_in_order(ledger, rows, made)
        _record_in_order(ledger, rows, made)
        if not mine and _without_result(ledger, rows):
            time.sleep(POLL_SECONDS)  # another runner tests what is left


def record_once(ledger: Ledger, record: Record) -> None:
    """Record what every runner comes to alike. Another one may have been quicker; it must have said the same."""
    try:
        ledger.append(record)
    except LedgerError:
        said = canonical_json(record.to_content())
        if not any(canonical_json(held.to_content()) == said for held in ledger.records(type(record))):
            raise


def _without_result(ledger: Ledger, rows: Sequence[Registered]) -> list[Registered]:
    done = {t.id for t in ledger.records(Tested)}
    return [h for h in rows if h.id not in done]


def _record_in_order(ledger: Ledger, rows: Sequence[Registered], made: Mapping[str, Tested]) -> None:
    """Record the results whose predecessors all have one: the content head must not depend on who was quicker."""
    for h in _without_result(ledger, rows):
        if h.id not in made:
            return
        record_once(ledger, with_likeness(made[h.id], ledger.records(Tested)))
        reached("result.recorded")


class _Attempts:
    """Writes every try into the ledger as context; a row's first try is its claim among runners."""

    def __init__(self, ledger: Ledger, runner: str, timeout_seconds: float, boundary: str) -> None:
        self._ledger = ledger
        self._runner = runner
        self._boundary = boundary
        self._timeout = timeout_seconds
        self._numbers: dict[str, int] = {}

    def claim(self, ids: Sequence[str]) -> Collection[str]:
        """Those of ``ids`` that are ours to test now."""
        name = f"{self._runner} loop ({self._boundary})".strip()
        claimed = self._ledger.claim(ids, name, self._lease(len(ids))) if ids else {}
        self._numbers |= claimed
        return claimed

    def started(self, job: Job, number: int, worker: str) -> None:
        """A try begins; the first was recorded with the claim."""
        (id_,) = job.subsets
        if number > 1:
            self._numbers[id_] += 1
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            name = f"{self._runner} {worker}".strip()
            self._ledger.append(AttemptStarted(id_, self._numbers[id_], name, now, self._lease(1)))
        reached("attempt.begun")

    def ended(self, job: Job, number: int, outcome: Outcome) -> None:  # noqa: ARG002 - numbers go on over runs
        """A try is over."""
        (id_,) = job.subsets
        seconds, detail = round(outcome.seconds, 4), outcome.detail[:500]
        drawn = {name: outcome.value[name] for name in ("sketches",) if name in outcome.value}  # for pictures
        self._ledger.append(AttemptEnded(id_, self._numbers[id_], outcome.kind, seconds, detail), context=drawn)
        reached("attempt.ended")

    def _lease(self, rows: int) -> float:
        """Longer than ``rows`` rows can take, one after the other, each with its second try."""
        return rows * self._timeout * (1 + RETRY_FACTOR) + 60.0
