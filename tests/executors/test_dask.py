"""Dask as executor: the numbers of the process pool, whatever becomes of a worker; and one sentence for what is wrong."""

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

from hyposcreen.agent.errors import Exit, UserError
from hyposcreen.agent.executors import choose, dask_cluster
from hyposcreen.agent.executors.dask_cluster import Cluster, RemoteSandbox
from hyposcreen.agent.executors.pool import SandboxPool
from hyposcreen.agent.executors.station import job_from_json
from hyposcreen.agent.ledger.verify import verify
from hyposcreen.agent.sandbox.base import Job, Limits, Outcome

ENOUGH = Limits(240, 2 << 30)
KEY = "sk-loopback-4a1d"
pytestmark = pytest.mark.usefixtures("loopback")


class Heard:
    """An attempt log."""

    def __init__(self) -> None:
        self.ends: list[str] = []
        self.details: list[str] = []

    def started(self, job: Job, number: int, worker: str) -> None:
        pass

    def ended(self, job: Job, number: int, outcome: Outcome) -> None:
        self.ends.append(outcome.kind)
        self.details.append(outcome.detail)


@pytest.fixture(scope="module")
def connected(cluster: Any) -> Iterator[Cluster]:
    made = Cluster(str(cluster.file), "auto", 1)
    made._client.wait_for_workers(2, timeout=120)
    yield made
    made.close()


@pytest.fixture(scope="module")
def expected(jobs: list[Job], finished: Any) -> list[Outcome]:
    """The numbers of this process, computed before anything is sent."""
    from hyposcreen.agent.sandbox.inline import InlineSandbox
    from hyposcreen.agent.sandbox.worker import Bench

    return [InlineSandbox(Bench()).run(job, ENOUGH) for job in jobs]


def pool(connected: Cluster, slots: int = 4) -> SandboxPool:
    return SandboxPool(slots, ENOUGH, lambda: RemoteSandbox(connected))


def same(one: Outcome, two: Outcome) -> bool:
    return (
        (one.kind, json.dumps(one.value)) == (two.kind, json.dumps(two.value))
        and one.vectors.keys() == two.vectors.keys()
        and all(one.vectors[k].tobytes() == two.vectors[k].tobytes() for k in one.vectors)
    )


def test_two_workers_in_a_shuffled_order_give_the_bits_of_this_process(
    connected: Cluster, jobs: list[Job], expected: list[Outcome]
) -> None:
    order = list(range(len(jobs))) * 2
    random.Random(2).shuffle(order)
    with pool(connected) as several:
        found = list(several.run([jobs[i] for i in order]))
    assert all(same(outcome, expected[i]) for outcome, i in zip(found, order, strict=True))
    assert not same(found[0], expected[(order[0] + 1) % len(jobs)])


def test_what_is_sent_is_a_specification_and_a_path(
    connected: Cluster, jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    sent: list[Any] = []
    submit = connected._client.submit

    def heard(function: Any, request: Any, **options: Any) -> Any:
        sent.append(request)
        return submit(function, request, **options)

    monkeypatch.setattr(connected._client, "submit", heard)
    with pool(connected, 1) as one:
        assert [o.kind for o in one.run(jobs[:1])] == ["ok"]
    (request,) = sent
    text = json.dumps(request)  # JSON types only: no array can be in it
    assert request["job"]["cache_path"] == jobs[0].cache_path
    assert (
        KEY not in text and "runs.db" not in text and len(text) < 30_000
    )  # 382 genes × 64 × 5 numbers would be far more
    assert job_from_json(json.loads(text)["job"]) == jobs[0]
    environments = connected._client.run(lambda: dict(__import__("os").environ))
    assert not any(KEY in str(held) for held in environments.values())


def test_a_worker_that_is_killed_with_its_job_costs_an_attempt(cluster: Any, jobs: list[Job]) -> None:
    connected = Cluster(str(cluster.file), "auto", 1)
    pids = connected._client.run(os.getpid)
    long = replace(jobs[0], m=60_000, vectors=False)
    heard = Heard()
    sandbox = RemoteSandbox(connected)
    with SandboxPool(1, ENOUGH, lambda: sandbox) as one:
        (before,) = one.run([long])
        outcomes: list[Outcome] = []
        waiting = threading.Thread(target=lambda: outcomes.extend(one.run([long], heard)))
        waiting.start()
        killed = _when(lambda: sandbox._task and sandbox._task.workers[:1])[0]
        os.kill(pids[killed], signal.SIGKILL)
        waiting.join()
    (after,) = outcomes
    connected.close()
    assert heard.ends == ["lost", "ok"]
    assert heard.details[0] == f"worker {killed} was lost with the job"
    assert same(before, after)
    cluster.add_worker()


def _when(what: Callable[[], Any]) -> Any:
    patience = time.monotonic() + 60
    while time.monotonic() < patience:
        if found := what():
            return found
        time.sleep(0.005)
    raise AssertionError("it did not happen within a minute")


def test_a_run_reaches_the_content_head_of_this_process(cluster: Any, finished: Any, fresh: Any, small: Any) -> None:
    folder = fresh("over_dask")
    done = small.screen("run", "--executor", "dask", "--scheduler", cluster.file, "--json", cwd=folder, timeout=280)
    assert done.returncode == 0, done.stderr
    assert "Dask worker" in done.stderr
    assert json.loads(done.stdout)["head"]["content_hash"] == finished.ledger.head().content_hash
    assert verify(folder / "runs.db").ok


def test_a_cache_that_is_not_there_or_another_one_is_a_sentence(
    connected: Cluster, jobs: list[Job], tmp_path: Path
) -> None:
    for job, said in (
        (replace(jobs[0], cache_path=str(tmp_path / "gone")), "there is no folder"),
        (replace(jobs[0], cache_digest="0" * 64), "has digest"),
    ):
        with pool(connected, 1) as one, pytest.raises(UserError, match=said) as error:
            list(one.run([job]))
        assert "worker tcp://127.0.0.1" in str(error.value)


@pytest.fixture(scope="module")
def spare(loopback: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A scheduler whose workers each test brings itself, one after the other."""
    with loopback(tmp_path_factory.mktemp("spare")) as made:
        yield made


WITHOUT = "import sys; sys.modules['hyposcreen'] = None"
OTHER_NUMPY = """
from importlib import metadata
version = metadata.version
metadata.version = lambda name: "1.0.0" if name == "numpy" else version(name)
"""


@pytest.mark.parametrize(
    ("before", "said"),
    [(WITHOUT, "is hyposcreen installed there"), (OTHER_NUMPY, "numpy 1.0.0 there and")],
    ids=["without the package", "another numpy"],
)
def test_a_worker_that_would_compute_otherwise_is_refused(spare: Any, before: str, said: str) -> None:
    worker = spare.add_worker(before=before)
    try:
        with pytest.raises(UserError, match=said) as error:
            Cluster(str(spare.file), "auto", 1)
        assert str(error.value).startswith("worker tcp://127.0.0.1")
    finally:
        worker.kill()
        worker.wait()
        _without_workers(spare)


def _without_workers(spare: Any) -> None:
    from distributed import Client

    with Client(json.loads(spare.file.read_text())["address"], set_as_default=False) as client:
        _when(lambda: not client.nthreads())


def test_no_worker_and_no_scheduler_are_sentences(spare: Any, jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "WORKERS_SECONDS", 1.0)
    with pytest.raises(UserError, match="has no worker; start some with `dask worker"):
        Cluster(str(spare.file), "auto", 1)
    monkeypatch.setattr(dask_cluster, "WORKERS_SECONDS", 120.0)
    worker = spare.add_worker()
    connected = Cluster(str(spare.file), "auto", 1)
    monkeypatch.setattr(dask_cluster, "WORKERS_SECONDS", 1.0)
    with SandboxPool(1, ENOUGH, lambda: RemoteSandbox(connected)) as one:
        assert [o.kind for o in one.run(jobs[:1])] == ["ok"]
        worker.kill()
        worker.wait()
        with pytest.raises(UserError, match=r"has had no worker for 1 s; nothing is lost"):
            list(one.run(jobs[:1]))
        spare.scheduler.kill()
        spare.scheduler.wait()
        with pytest.raises(UserError, match="is gone; nothing is lost of what was recorded") as error:
            list(one.run(jobs[:1]))
    assert error.value.code == Exit.FAILURE
    connected.close()
    monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 1.0)
    with pytest.raises(UserError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1"):
        Cluster(str(spare.file), "auto", 1)


def test_settings_that_name_no_executor_write_nothing(fresh: Any, small: Any) -> None:
    folder = fresh("unknown")
    before = (folder / "screen.toml").read_text()
    for flags, said in (
        (["--executor", "ray"], "executor 'ray' is not known; choose one of processes, dask"),
        (["--executor", "dask"], "executor 'dask' needs a scheduler"),
        (["--scheduler", "tcp://127.0.0.1:1"], "add --executor dask, or leave it out"),
        (["--executor", "dask", "--scheduler", "nowhere.json"], "is no address"),
    ):
        done = small.screen("run", *flags, cwd=folder)
        assert done.returncode in (Exit.USAGE, Exit.INPUTS) and said in done.stderr, done.stderr
        assert not (folder / "runs.db").exists() and (folder / "screen.toml").read_text() == before
    assert set(choose.EXECUTORS) == {"processes", "dask"}
