"""Executor ``dask``: the same pool of sandboxes, with their workers behind a Dask scheduler, on other processes or other hosts.

A job goes out as its JSON form, paths and limits, and comes back as plain types; each worker runs it in a sandbox of its own host
(:mod:`.station`). Dask may run a task twice where a worker is lost: the second run gives the same bits. The loop hears of every
beginning, so a lost worker stands in the ledger as an attempt.
"""

import logging
import threading
import time
import uuid
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from ...hypotheses.canonical import canonical_json, sha256_of
from ..errors import Exit, UserError
from ..sandbox.base import Job, Limits, Outcome
from . import station
from .addresses import scheduler_address

CONNECT_SECONDS = 20.0
WORKERS_SECONDS = 60.0
"""How long the first worker may take to come; later, how long a run waits without any."""
_POLL_SECONDS = 1.0
_LEAST_SLOTS, _MOST_SLOTS = 16, 256
_DASK = "distributed"


class Cluster:
    """A connection to a scheduler whose workers were found fit for this run. ``close`` leaves the cluster as it is."""

    def __init__(self, scheduler: str, sandbox: str, threads: int) -> None:
        """``scheduler``: an address, or the file a scheduler wrote.

        Raises :class:`UserError`, one sentence, where no scheduler answers, no worker is there, or a worker is not fit.
        """
        self.address = scheduler_address(scheduler)
        self._wishes = {"sandbox": sandbox, "threads": threads}
        self._topic = f"hyposcreen-{uuid.uuid4().hex}"
        self._begun: dict[str, _Task] = {}
        self._looking = threading.Lock()
        self._looked = self._manned = time.monotonic()
        self._client = _connect(self.address)
        try:
            self._client.subscribe_topic(self._topic, self._heard)
            self._wait_for_workers()
            self.workers = self._introduced()
        except BaseException:
            self.close()
            raise

    @property
    def boundary(self) -> str:
        """Names of the boundaries of the workers that were there at the beginning."""
        return "+".join(sorted({str(w["boundary"]) for w in self.workers.values()}))

    @property
    def notes(self) -> Sequence[str]:
        """What a user should hear of the workers."""
        said = {f"{w['host']}: {w['notice']}" for w in self.workers.values() if w["notice"]}
        others = {w["habitat"] for w in self.workers.values()} - {station.habitat()}
        if others:
            said.add(f"some workers compute with {'; '.join(sorted(others))}, and here it is {station.habitat()}")
        return sorted(said)

    @property
    def slots(self) -> int:
        """How many jobs to keep at the scheduler: more than its workers run at once, so that none waits for the loop."""
        return min(_MOST_SLOTS, max(_LEAST_SLOTS, 2 * sum(self._threads().values())))

    def submit(self, job: Job, limits: Limits) -> "_Task":
        """Send a job."""
        name = f"hyposcreen-{sha256_of(job.to_json())[:16]}-{uuid.uuid4().hex}"
        request = {
            "job": job.to_json(), "wall_seconds": limits.wall_seconds, "memory_bytes": limits.memory_bytes,
            "kinship": sha256_of(station.kinship()), "topic": self._topic, "task": name, **self._wishes,
        }  # fmt: skip
        task = self._begun[name] = _Task(canonical_json([request["job"], limits.wall_seconds, limits.memory_bytes]))
        task.send(self._client.submit(station.answer, request, key=name, pure=False, retries=0))
        return task

    def forget(self, task: "_Task") -> None:
        """Let go of a task, whatever became of it."""
        task.future.release()
        for name in [n for n, one in self._begun.items() if one is task]:
            del self._begun[name]

    def check(self) -> None:
        """Look, once a second for all that wait, whether anybody is there to work. Raises :class:`UserError` where nobody is."""
        with self._looking:
            now = time.monotonic()
            if now - self._looked < _POLL_SECONDS:
                return
            self._looked = now
            if self._threads():
                self._manned = now
        if now - self._manned > WORKERS_SECONDS:
            raise UserError(
                f"the scheduler at {self.address} has had no worker for {WORKERS_SECONDS:g} s; nothing is lost of what was "
                f"recorded. Start workers (dask worker {self.address}) and run again",
                Exit.FAILURE,
            )

    def close(self) -> None:
        """Give up what is still there to do, and disconnect."""
        with suppress(Exception):
            self._client.cancel([task.future for task in list(self._begun.values()) if task.future is not None])
        with suppress(Exception):
            self._client.close(timeout=5)

    def _heard(self, event: tuple[float, Mapping[str, str]]) -> None:
        _, said = event
        task = self._begun.get(said["task"])
        if task is not None:
            task.begun(said["worker"])

    def _threads(self) -> dict[str, int]:
        """Address of each worker → its threads."""
        if self._client.status != "running":
            raise _gone(self.address)
        try:
            return dict(self._client.nthreads())
        except (OSError, TimeoutError):
            raise _gone(self.address) from None

    def _wait_for_workers(self) -> None:
        try:
            self._client.wait_for_workers(1, timeout=WORKERS_SECONDS)
        except TimeoutError:
            raise UserError(
                f"the scheduler at {self.address} has no worker; start some with `dask worker {self.address}`, and run again"
            ) from None

    def _introduced(self) -> dict[str, dict[str, Any]]:
        self._same_dask()
        replies = self._client.run(_introduction(self._wishes), on_error="return")
        for address, reply in replies.items():
            if fault := fault_of(reply):
                raise UserError(f"worker {address}: {fault}")
        return dict(replies)

    def _same_dask(self) -> None:
        """A scheduler or a worker of another version fails in ways nobody understands; say so first."""
        found = self._client.get_versions()
        here = found["client"]["packages"][_DASK]
        others = {"the scheduler": found["scheduler"], **{f"worker {a}": f for a, f in found["workers"].items()}}
        for who, facts in others.items():
            version = (facts or {}).get("packages", {}).get(_DASK)
            if version != here:
                raise UserError(
                    f"{who} at {self.address} runs {_DASK} {version} and here it is {here}; use one environment for "
                    "scheduler, workers and `screen run` (docs/cluster.md)"
                )


class _Task:
    """A job at the scheduler, and on which workers it was begun."""

    def __init__(self, asks: str) -> None:
        self.asks = asks
        self.future: Any = None
        self.changed = threading.Event()
        self.workers: list[str] = []
        self.counted = 1
        """Beginnings that are accounted for; one is no loss."""

    def send(self, future: Any) -> None:
        self.future = future
        future.add_done_callback(lambda _: self.changed.set())

    def begun(self, worker: str) -> None:
        self.workers.append(worker)
        self.changed.set()


class RemoteSandbox:
    """One job at a time on some worker of a cluster; see :class:`~..sandbox.base.Sandbox`."""

    def __init__(self, cluster: Cluster) -> None:
        self.confines = f"{cluster.boundary}: on the workers of {cluster.address}"
        self._cluster = cluster
        self._task: _Task | None = None
        self._closed = False

    def run(self, job: Job, limits: Limits) -> Outcome:
        """See :class:`~..sandbox.base.Sandbox`. ``lost`` where a worker went away: ask again, Dask may be at it already."""
        started = time.monotonic()
        task = self._task
        asks = canonical_json([job.to_json(), limits.wall_seconds, limits.memory_bytes])
        if task is None or task.asks != asks:
            task = self._task = self._cluster.submit(job, limits)
        while not self._closed:
            task.changed.wait(_POLL_SECONDS)
            task.changed.clear()
            if len(task.workers) > task.counted:  # told before the answer of the second worker can come
                task.counted += 1
                return _lost(started, task.workers[task.counted - 2])
            if task.future.done():
                return self._ended(task, started)
            self._cluster.check()
        self._let_go(task)
        return Outcome("crash", time.monotonic() - started, "the run was stopped")

    def close(self) -> None:
        """Stop waiting. A worker that is at the job ends it, by its limits at the latest; nobody hears of it."""
        self._closed = True
        task = self._task
        if task is not None:
            task.changed.set()

    def _ended(self, task: _Task, started: float) -> Outcome:
        try:
            return self._read(task, started)
        finally:
            self._let_go(task)

    def _read(self, task: _Task, started: float) -> Outcome:
        if task.future.status == "finished":
            return outcome_of(task.future.result(timeout=CONNECT_SECONDS), started)
        if task.future.status != "error":
            raise _gone(self._cluster.address)
        error = task.future.exception(timeout=CONNECT_SECONDS)
        if type(error).__name__ == "KilledWorker":
            return _lost(started, task.workers[-1] if task.workers else "which nobody knows")
        raise UserError(
            f"a worker of {self._cluster.address} could not take a job ({type(error).__name__}: {error}); nothing is lost of "
            "what was recorded. Look at the worker's log, and run again",
            Exit.FAILURE,
        )

    def _let_go(self, task: _Task) -> None:
        self._task = None
        if task.future.status not in {"finished", "error"}:
            with suppress(Exception):
                task.future.cancel()
        self._cluster.forget(task)


def outcome_of(reply: Mapping[str, Any], started: float) -> Outcome:
    """The outcome that :func:`.station.answer` replied with. Raises :class:`UserError` where the worker was not fit."""
    if reply["kind"] == "unfit":
        raise UserError(
            f"worker {reply['where']}: {reply['detail']}; nothing is lost of what was recorded. Mend it and run again"
        )
    vectors = {name: np.frombuffer(held, "<f8") for name, held in reply["vectors"].items()}
    return Outcome(reply["kind"], time.monotonic() - started, reply["detail"], reply["value"], vectors)


def fault_of(reply: Any) -> str:
    """What is wrong with a worker that introduced itself so, or empty."""
    if isinstance(reply, BaseException):
        return f"it cannot work for this run ({type(reply).__name__}: {reply}); is hyposcreen installed there?"
    if reply["fault"]:
        return str(reply["fault"])
    mine = station.kinship()
    apart = [
        name for name in sorted(mine.keys() | reply["kinship"].keys()) if mine.get(name) != reply["kinship"].get(name)
    ]
    if not apart:
        return ""
    pairs = ", ".join(
        f"{n} {reply['kinship'].get(n, 'missing')} there and {mine.get(n, 'missing')} here" for n in apart
    )
    return f"it computes with {pairs}; use one environment for all workers and for `screen run` (docs/cluster.md)"


def _introduction(request: Mapping[str, Any]) -> Any:
    """What a worker runs to introduce itself. A nested function travels by value, also to a worker without this package."""

    def introduce() -> Any:
        from importlib import import_module

        return import_module("hyposcreen.agent.executors.station").introduce(request)

    return introduce


def _connect(address: str) -> Any:
    try:
        import distributed
    except ImportError:
        raise UserError("--executor dask needs Dask; install it with: pip install 'hyposcreen[dask]'") from None
    for name in ("distributed.client", "distributed.core", "distributed.batched", "distributed.comm"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong is said by the errors of this file
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of versions; told better by _same_dask
        try:
            made: Any = distributed
            return made.Client(address, timeout=CONNECT_SECONDS, set_as_default=False, name="hyposcreen")
        except (OSError, TimeoutError, ValueError) as error:
            raise UserError(
                f"no Dask scheduler answers at {address} ({type(error).__name__}); start one with `dask scheduler`, or correct "
                "--scheduler"
            ) from None


def _gone(address: str) -> UserError:
    return UserError(
        f"the scheduler at {address} is gone; nothing is lost of what was recorded. Start it and its workers, and run again",
        Exit.FAILURE,
    )


def _lost(started: float, worker: str) -> Outcome:
    return Outcome("lost", time.monotonic() - started, f"worker {worker} was lost with the job")
