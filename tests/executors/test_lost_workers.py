"""A worker that is lost says nothing about its job: it is asked again, with the same limits, and never becomes a result."""

from typing import Any

import pytest

from hyposcreen.agent.errors import Exit, UserError
from hyposcreen.agent.executors.base import RETRY_FACTOR
from hyposcreen.agent.executors.pool import MOST_LOST, SandboxPool
from hyposcreen.agent.sandbox.base import Job, Limits, Outcome, OutcomeKind


class Scripted:
    """Ends tries as it is told."""

    confines = "scripted"

    def __init__(self, *ends: OutcomeKind) -> None:
        self.ends = list(ends)
        self.limits: list[float] = []

    def run(self, job: Job, limits: Limits) -> Outcome:
        self.limits.append(limits.wall_seconds)
        return Outcome(self.ends.pop(0), 0.0, "worker w was lost with the job")

    def close(self) -> None:
        pass


class Heard:
    def __init__(self) -> None:
        self.tries: list[tuple[int, str]] = []

    def started(self, job: Job, number: int, worker: str) -> None:
        pass

    def ended(self, job: Job, number: int, outcome: Outcome) -> None:
        self.tries.append((number, outcome.kind))


def test_losses_take_no_try_and_widen_no_limit(jobs: list[Any]) -> None:
    sandbox, heard = Scripted("lost", "timeout", "lost", "lost", "ok"), Heard()
    with SandboxPool(1, Limits(10, 1000), lambda: sandbox) as pool:
        (outcome,) = pool.run(jobs[:1], heard)
    assert outcome.kind == "ok"
    assert heard.tries == [(1, "lost"), (2, "timeout"), (3, "lost"), (4, "lost"), (5, "ok")]
    assert sandbox.limits == [10, 10, *[10 * RETRY_FACTOR] * 3]


def test_a_job_that_keeps_losing_workers_stops_the_campaign_and_is_no_result(jobs: list[Any]) -> None:
    sandbox = Scripted(*["lost"] * (MOST_LOST + 5))
    with SandboxPool(1, Limits(10, 1000), lambda: sandbox) as pool, pytest.raises(UserError) as error:
        list(pool.run(jobs[:1]))
    assert error.value.code == Exit.FAILURE
    assert f"{MOST_LOST} workers were lost, one after the other, while they ran {jobs[0].name}" in str(error.value)
    assert len(sandbox.ends) == 5
