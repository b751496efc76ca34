"""On a worker of a cluster: run jobs in sandboxes of this host. Imported by the worker's process; the loop only sends to it.

A station keeps sandboxes between jobs, as many as jobs run at once. It gets plain JSON types and gives plain types back.
Before a job it makes sure that this process computes as the loop would (same code, same packages), and that the cache is here and
is the one named.
"""

import atexit
import socket
import threading
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ...embeddings_cache.errors import CacheError
from ...embeddings_cache.store import open_cache
from ...hypotheses.canonical import sha256_of
from ..errors import UserError
from ..fingerprint import environment
from ..sandbox.base import Job, Limits, Outcome, Sandbox
from ..sandbox.choose import workers as make_workers

_IDLE_SECONDS = 600.0
"""Sandboxes that no job used for so long are ended; the next job makes new ones."""

Reply = dict[str, Any]


@cache
def kinship() -> dict[str, str]:
    """What has to be the same on every worker, by name: the code that makes numbers, Python, and numeric packages."""
    code, found = environment({})
    return {
        "hyposcreen's code": code.sha256[:16],
        **found.packages,
        "compiled kernels": str(found.numerics["compiled"]),
    }


@cache
def habitat() -> str:
    """What may differ without changing a number, for a note: processor and linear algebra."""
    _, found = environment({})
    return f"{found.machine['processor']}, {', '.join(found.numerics['blas'])}"


def introduce(request: Mapping[str, Any]) -> Reply:
    """What this worker is: where it runs, what it computes with, its boundary, and what is wrong with it for this run.

    ``request``: ``sandbox``, ``threads``.
    """
    try:
        boundary, notice = _station(request["sandbox"], request["threads"]).boundary
        fault = ""
    except UserError as error:
        boundary, notice, fault = "", "", str(error)
    return {
        "host": socket.gethostname(), "kinship": kinship(), "habitat": habitat(), "boundary": boundary, "notice": notice,
        "fault": fault,
    }  # fmt: skip


def answer(request: Mapping[str, Any]) -> Reply:
    """Run one job.

    Args:
        request: ``job``, ``wall_seconds``, ``memory_bytes``, ``sandbox``, ``threads``; ``kinship``, what this process must
            compute with; ``topic`` and ``task``, under which the loop hears that it has begun.

    Returns:
        ``kind`` and ``detail`` of an outcome, ``value``, ``vectors`` (name → little-endian float64 bytes) and ``where``; or
        ``kind`` ``unfit``, where this worker must not be asked, and why.
    """
    where = _announce(request["topic"], request["task"])
    if request["kinship"] != sha256_of(kinship()):
        return _unfit(where, "it joined with other code or other packages than this run")
    job = job_from_json(request["job"])
    for path, digest in ((job.cache_path, job.cache_digest), *((job.partner,) if job.partner else ())):
        if fault := cache_fault(path, digest):
            return _unfit(where, fault)
    try:
        station = _station(request["sandbox"], request["threads"])
        outcome = station.use(
            lambda sandbox: sandbox.run(job, Limits(request["wall_seconds"], request["memory_bytes"]))
        )
    except (UserError, OSError) as error:
        return _unfit(where, str(error))
    vectors = {k: np.ascontiguousarray(v, dtype="<f8").tobytes() for k, v in outcome.vectors.items()}
    return {
        "kind": outcome.kind, "detail": outcome.detail, "seconds": outcome.seconds, "value": dict(outcome.value),
        "vectors": vectors, "where": where,
    }  # fmt: skip


def job_from_json(value: Mapping[str, Any]) -> Job:
    """The job that ``Job.to_json`` was made from."""
    fields: dict[str, Any] = dict(value)
    fields |= {name: tuple(value[name]) for name in ("universe", "load", "matched", "nulls")}
    fields |= {name: {k: tuple(v) for k, v in value[name].items()} for name in ("subsets", "studied")}
    fields["partner"] = None if value["partner"] is None else tuple(value["partner"])
    return Job(**fields)


def cache_fault(path: str, digest: str) -> str:
    """Why the cache with ``digest`` cannot be used from ``path`` here; empty where it can. Every byte is read once a process."""
    with _LOOKING:
        found = _SEEN.get((path, digest))
        if found is None:
            found = _look(path, digest)
            if not found:
                _SEEN[path, digest] = found  # a fault may be mended while the worker lives
        return found


def _look(path: str, digest: str) -> str:
    if not Path(path).is_dir():
        return f"there is no folder {path} on it; put the cache where every worker reaches it by the same path"
    try:
        here = open_cache(path).digest
    except CacheError as error:
        return str(error)
    if here != digest:
        return f"the cache at {path} has digest {here[:12]} there, and this run names {digest[:12]}; copy it again"
    return ""


def _unfit(where: str, why: str) -> Reply:
    return {"kind": "unfit", "detail": why, "where": where}


def _announce(topic: str, task: str) -> str:
    """Tell the loop that this worker has begun ``task``, so that it hears of a second beginning; the worker's address."""
    from distributed import get_worker

    worker = get_worker()
    worker.log_event(topic, {"task": task, "worker": worker.address})
    return str(worker.address)


class Station:
    """Sandboxes of this process for one kind of boundary, made on demand."""

    def __init__(self, sandbox: str, threads: int) -> None:
        self._wanted = (sandbox, threads)
        self._lock = threading.Lock()
        self._made = make_workers(sandbox, threads)
        self._free: list[Sandbox] = []
        self._busy = 0
        self._timer: threading.Timer | None = None

    @property
    def boundary(self) -> tuple[str, str]:
        """Name, and what a user should hear where there is none."""
        return self._made.backend, self._made.notice

    def use(self, what: Callable[[Sandbox], Outcome]) -> Outcome:
        """Lend a sandbox that no other job has."""
        with self._lock:
            self._busy += 1
            sandbox = self._free.pop() if self._free else self._made.make()
            if self._timer is not None:
                self._timer.cancel()
        try:
            return what(sandbox)
        finally:
            with self._lock:
                self._busy -= 1
                self._free.append(sandbox)
                self._rest()

    def _rest(self) -> None:
        if self._busy == 0:
            self._timer = threading.Timer(_IDLE_SECONDS, self.close)
            self._timer.daemon = True
            self._timer.start()

    def close(self) -> None:
        """End every sandbox no job has, and what they came from if none is left."""
        with self._lock:
            while self._free:
                self._free.pop().close()
            if self._busy == 0:
                self._made.close()


_SEEN: dict[tuple[str, str], str] = {}
_LOOKING = threading.Lock()
_STATIONS: dict[tuple[str, int], Station] = {}
_OPENING = threading.Lock()


def _station(sandbox: str, threads: int) -> Station:
    with _OPENING:
        if (sandbox, threads) not in _STATIONS:
            _STATIONS[sandbox, threads] = made = Station(sandbox, threads)
            atexit.register(made.close)
        return _STATIONS[sandbox, threads]
