"""Workers: what they may see, how they end, and that their numbers are those of the library."""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hyposcreen.agent.executors.base import RETRY_FACTOR
from hyposcreen.agent.executors.pool import SandboxPool
from hyposcreen.agent.ledger import records as rec
from hyposcreen.agent.project import Side
from hyposcreen.agent.sandbox.backends import CONFINING
from hyposcreen.agent.sandbox.base import Job, Limits, Outcome
from hyposcreen.agent.sandbox.choose import Workers, findings
from hyposcreen.agent.sandbox.choose import workers as make_workers
from hyposcreen.agent.sandbox.process import worker_environment

ENOUGH = Limits(120, 2 << 30)
LONG = 20_000_000
"""Permutations that no machine draws within the second the test waits."""

needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")


@pytest.fixture(scope="module", params=list(CONFINING))
def workers(request: Any) -> Iterator[Workers]:
    """Workers behind each boundary that holds here."""
    if request.param != "none":
        finding = findings()[request.param]
        if not finding.holds:
            pytest.skip(f"{request.param} {finding.in_words}")
    made = make_workers(request.param)
    yield made
    made.close()


@pytest.fixture
def sandbox(workers: Workers) -> Iterator[Any]:
    one = workers.make()
    yield one
    one.close()


@pytest.fixture(scope="module")
def jobs(finished: Any) -> list[Job]:
    """One job of each kind of entity, small and with its vectors."""
    made = []
    for test, annotation in (("cohesion", "t_cells"), ("graded_gradient", "immune_signalling"),
                             ("edge_auroc", "tf_targets"), ("axis_separation", "b_cells")):  # fmt: skip
        made.append(
            finished.project.job(
                test, annotation, Side.EXPLORE, subsets={"s": ("all", "all")}, nulls=("gene_label", "stratified"),
                m=99, seed=3, vectors=True,
            )
        )  # fmt: skip
    return made


def same(one: Outcome, two: Outcome) -> bool:
    return (
        (one.kind, json.dumps(one.value)) == (two.kind, json.dumps(two.value))
        and one.vectors.keys() == two.vectors.keys()
        and all(one.vectors[k].tobytes() == two.vectors[k].tobytes() for k in one.vectors)
    )


def gone(pid: int) -> bool:
    patience = time.monotonic() + 15
    while time.monotonic() < patience:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_workers_give_the_numbers_of_the_library_in_order(workers: Workers, jobs: list[Job], small: Any) -> None:
    inside = [small.InProcess().run(job, ENOUGH) for job in jobs]
    assert all(o.kind == "ok" and o.vectors for o in inside)
    order = list(range(len(jobs)))
    random.Random(1).shuffle(order)
    with SandboxPool(2, ENOUGH, workers.make) as two:
        both = list(two.run(jobs))
        shuffled = dict(zip(order, two.run([jobs[i] for i in order]), strict=True))
    several = make_workers(workers.backend, threads=2)
    with SandboxPool(1, ENOUGH, several.make) as one:
        threaded = list(one.run(jobs))
    several.close()
    for i, expected in enumerate(inside):
        assert same(both[i], expected)
        assert same(shuffled[i], expected)
        assert same(threaded[i], expected)
    assert not same(inside[0], inside[1])


def test_four_workers_of_which_one_is_killed_give_the_same_numbers(
    workers: Workers, jobs: list[Job], small: Any
) -> None:
    expected = [small.InProcess().run(job, ENOUGH) for job in jobs]
    made: list[Any] = []

    def make() -> Any:
        made.append(workers.make())
        return made[-1]

    order = [3, 1, 0, 2, 2, 0, 1, 3]
    with SandboxPool(4, ENOUGH, make) as four:
        assert all(same(*pair) for pair in zip(four.run(jobs), expected, strict=True))
        killed = made[0].pid
        os.kill(killed, signal.SIGKILL)
        again = list(four.run([jobs[i] for i in order]))
        assert made[0].pid not in (None, killed)
    assert all(same(outcome, expected[i]) for outcome, i in zip(again, order, strict=True))


def test_a_job_that_overruns_its_time_is_ended_and_the_next_one_runs(sandbox: Any, jobs: list[Job]) -> None:
    assert sandbox.run(jobs[0], ENOUGH).kind == "ok"
    pid = sandbox.pid
    outcome = sandbox.run(replace(jobs[0], m=LONG), Limits(1.0, 4 << 30))
    assert (outcome.kind, outcome.detail) == ("timeout", "no answer within 1 s")
    assert pid is not None and gone(pid)
    assert sandbox.run(jobs[0], ENOUGH).kind == "ok"


@needs_proc
def test_a_worker_that_stopped_reading_is_a_timeout_too(sandbox: Any, jobs: list[Job]) -> None:
    assert sandbox.run(jobs[0], ENOUGH).kind == "ok"
    assert sandbox.pid is not None
    os.kill(sandbox.pid, signal.SIGSTOP)
    large = replace(jobs[0], universe=tuple(range(200_000)))  # more than a pipe holds
    assert sandbox.run(large, replace(ENOUGH, wall_seconds=0.5)).kind == "timeout"
    assert sandbox.run(jobs[0], ENOUGH).kind == "ok"


def test_a_worker_that_is_killed_is_a_crash(sandbox: Any, jobs: list[Job]) -> None:
    assert sandbox.run(jobs[0], ENOUGH).kind == "ok"
    pid = sandbox.pid
    assert pid is not None
    killer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
    killer.start()
    outcome = sandbox.run(replace(jobs[0], m=LONG), replace(ENOUGH, wall_seconds=60))
    killer.join()
    assert (outcome.kind, outcome.detail) == ("crash", "the worker ended with signal 9")
    assert sandbox.run(jobs[0], ENOUGH).kind == "ok"


@pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="the memory limit is Linux only, and the worker says so"
)
def test_a_job_that_wants_more_memory_than_it_may(sandbox: Any, jobs: list[Job]) -> None:
    outcome = sandbox.run(replace(jobs[3], m=2_000_000, vectors=False), Limits(60, 64 << 20))
    assert outcome.kind == "memory", outcome
    assert sandbox.run(jobs[3], ENOUGH).kind == "ok"


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"test": "nothing"}, "KeyError: 'nothing'"),
        ({"subsets": {"s": ("L99", "all")}}, "L99"),
        ({"cache_digest": "0" * 64}, "digest"),
        ({"entity": {"kind": "gene_set", "members": [1]}}, "or more"),
    ],
)
def test_a_job_that_makes_no_sense_is_an_error_with_a_sentence(
    sandbox: Any, jobs: list[Job], change: dict[str, Any], part: str
) -> None:
    outcome = sandbox.run(replace(jobs[0], **change), ENOUGH)
    assert outcome.kind == "error"
    assert part in outcome.detail


@needs_proc
def test_a_worker_sees_no_variable_of_its_parent(
    sandbox: Any, jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hunter2")
    monkeypatch.setenv("PYTHONPATH", "/hunter2")
    assert sandbox.run(jobs[0], ENOUGH).kind == "ok"
    held = Path(f"/proc/{sandbox.pid}/environ").read_bytes()
    names = {pair.split(b"=")[0].decode() for pair in held.split(b"\0") if pair}
    assert b"hunter2" not in held
    assert names == set(worker_environment(1))
    assert not names & {"SECRET_KEY", "OPENAI_API_KEY", "PYTHONPATH", "HOME", "USER"}


def test_closing_from_another_thread_ends_a_running_job(sandbox: Any, jobs: list[Job]) -> None:
    assert sandbox.run(jobs[0], ENOUGH).kind == "ok"
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(sandbox.run(replace(jobs[0], m=LONG), ENOUGH)))
    thread.start()
    time.sleep(0.2)
    sandbox.close()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert [o.kind for o in outcomes] == ["crash"]
    assert sandbox.pid is None
    sandbox.close()


class Scripted:
    """A sandbox that ends its jobs as told; remembers the limits it was given."""

    confines = "nothing"

    def __init__(self, answer: Callable[[Job, Limits], Outcome]) -> None:
        self.answer = answer
        self.limits: list[Limits] = []

    def run(self, job: Job, limits: Limits) -> Outcome:
        self.limits.append(limits)
        return self.answer(job, limits)

    def close(self) -> None:
        pass


class Heard:
    """An attempt log in a list."""

    def __init__(self) -> None:
        self.said: list[tuple[str, int, str]] = []

    def started(self, job: Job, number: int, worker: str) -> None:
        self.said.append((job.name, number, "started"))

    def ended(self, job: Job, number: int, outcome: Outcome) -> None:
        self.said.append((job.name, number, outcome.kind))


@pytest.mark.parametrize("kind", ["crash", "timeout", "memory"])
def test_a_resource_failure_gets_one_more_try_with_larger_limits(kind: Any, jobs: list[Job]) -> None:
    sandbox, heard = Scripted(lambda *_: Outcome(kind, 0.0, "x")), Heard()
    with SandboxPool(1, Limits(10, 1000), lambda: sandbox) as executor:
        (outcome,) = executor.run(jobs[:1], heard)
    assert outcome.kind == kind
    assert sandbox.limits == [Limits(10, 1000), Limits(10 * RETRY_FACTOR, 1000 * RETRY_FACTOR)]
    assert [(n, what) for _, n, what in heard.said] == [(1, "started"), (1, kind), (2, "started"), (2, kind)]


def test_a_second_try_may_succeed_and_an_error_gets_none(jobs: list[Job]) -> None:
    helped = Scripted(lambda _, limits: Outcome("ok" if limits.wall_seconds > 10 else "timeout", 0.0))
    with SandboxPool(1, Limits(10, 1000), lambda: helped) as executor:
        assert [o.kind for o in executor.run(jobs[:1])] == ["ok"]
    wrong = Scripted(lambda *_: Outcome("error", 0.0, "wrong"))
    with SandboxPool(1, Limits(10, 1000), lambda: wrong) as executor:
        assert [o.kind for o in executor.run(jobs[:1])] == ["error"]
    assert len(wrong.limits) == 1


def test_jobs_after_one_that_did_not_fit_get_more_memory_and_no_more_time(jobs: list[Job]) -> None:
    much = 1000 * RETRY_FACTOR
    needy = Scripted(lambda _, limits: Outcome("ok" if limits.memory_bytes > 1000 else "memory", 0.0))
    with SandboxPool(1, Limits(10, 1000), lambda: needy) as executor:
        assert [o.kind for o in executor.run(jobs[:3])] == ["ok"] * 3
    assert needy.limits == [Limits(10, 1000), Limits(10 * RETRY_FACTOR, much), Limits(10, much), Limits(10, much)]
    endless = Scripted(lambda *_: Outcome("memory", 0.0, "x"))
    with SandboxPool(1, Limits(10, 1000), lambda: endless) as executor:
        assert [o.kind for o in executor.run(jobs[:2])] == ["memory"] * 2
    assert [limits.memory_bytes for limits in endless.limits] == [1000, much, much, much]  # never beyond it


def test_outcomes_keep_the_order_of_the_jobs_whatever_ends_first(jobs: list[Job]) -> None:
    def slow_first(job: Job, _: Limits) -> Outcome:
        time.sleep(0.2 if job.name == "0" else 0.0)
        return Outcome("ok", 0.0, job.name)

    named = [replace(jobs[0], name=str(n)) for n in range(12)]
    with SandboxPool(3, make=lambda: Scripted(slow_first)) as executor:
        assert [o.detail for o in executor.run(named)] == [str(n) for n in range(12)]
        assert executor.workers == 3


def test_closing_the_pool_starts_no_second_try(jobs: list[Job]) -> None:
    tries: list[Limits] = []
    begun = threading.Event()
    closed = threading.Event()

    class Stuck:
        confines = "nothing"

        def run(self, job: Job, limits: Limits) -> Outcome:
            tries.append(limits)
            begun.set()
            closed.wait(60)
            return Outcome("crash", 0.0)

        def close(self) -> None:
            closed.set()

    with SandboxPool(1, make=Stuck) as executor:
        waiting = threading.Thread(target=lambda: list(executor.run(jobs[:1])))
        waiting.start()
        begun.wait(60)
    waiting.join(60)
    assert len(tries) == 1


def test_a_row_whose_worker_crashes_fails_with_p_one_and_the_loop_goes_on(
    fresh: Any, small: Any, finished: Any
) -> None:
    healthy = small.InProcess()
    broken = next(r.test for r in finished.ledger.rows() if r.m)

    def answer(job: Job, limits: Limits) -> Outcome:
        if job.name.endswith("on genes A") and job.test == broken:
            return Outcome("crash", 0.0, "the worker ended with signal 11")
        return healthy.run(job, limits)

    done = small.run_loop(fresh("crashing"), sandbox=Scripted(answer))
    rows = {r.id: r for r in done.ledger.rows()}
    failed = [r for r in rows.values() if r.verdict == "failed"]
    assert failed and len(failed) < len(rows) == 12
    for row in failed:
        assert (row.test, row.p_scan, row.k, row.m, row.attempts) == (broken, 1.0, 0, 0, 2)
        assert row.reason.startswith("crash: ") and "11" not in row.reason  # content: the same words on every machine
        assert not row.promoted
    ended = [e for e in done.ledger.records(rec.AttemptEnded) if e.outcome == "crash"]
    assert {e.detail for e in ended} == {"the worker ended with signal 11"}
    assert len(ended) == 2 * len(failed)
