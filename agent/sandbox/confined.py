"""Library tests behind a boundary: one worker of the zygote, confined before it reads its first job."""

import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any

from ..errors import Exit, UserError
from .backends.base import Confining
from .base import Job, Limits, Outcome
from .frames import read_frame, write_frame
from .nursery import Infant, Nursery, SurroundError
from .one_worker import OneWorker
from .process import crashed, ended, outcome_of, tail_of

_OPEN_SECONDS = 120.0


class RefusedError(UserError):
    """The kernel did not take the boundary: the worker has read nothing and is gone."""


class ConfinedSandbox(OneWorker):
    """One worker behind ``backend``, started on first use, after a crash, and for other caches or limits.

    :meth:`run` raises :class:`RefusedError` where the boundary does not hold. The zygote may be shared; it stays when the
    sandbox closes.
    """

    def __init__(self, backend: Confining, nursery: Nursery, threads: int = 1) -> None:
        super().__init__()
        self.confines = f"{backend.name}: {backend.confines}"
        self._backend = backend
        self._nursery = nursery
        self._threads = threads
        self._worker: _Worker | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the worker, if one is running."""
        return None if self._worker is None else self._worker.infant.pid

    def _run(self, job: Job, limits: Limits) -> Outcome:
        started = time.monotonic()
        deadline = started + limits.wall_seconds
        try:
            worker, refusal = self._started(job, limits)
            if refusal is not None:
                return ended(refusal["kind"], started, refusal["detail"])
            write_frame(worker.requests, {"job": job.to_json()}, deadline)
            reply, payload = read_frame(worker.replies, deadline)
        except TimeoutError:
            self._release()
            return ended("timeout", started, f"no answer within {limits.wall_seconds:g} s")
        except (EOFError, BrokenPipeError):
            return self._crashed(started)
        self._nursery.keep_kernels(reply["compiled"])
        if reply["kind"] == "memory":
            self._release()  # what is left of its heap is not worth trusting
        return outcome_of(reply, payload, started)

    def _started(self, job: Job, limits: Limits) -> tuple["_Worker", dict[str, Any] | None]:
        """A worker that has the job's caches open and is held to its limits, or what one said instead."""
        wanted = _caches(job)
        worker = self._worker
        if worker is not None and worker.memory_bytes == limits.memory_bytes and wanted <= worker.caches:
            return worker, None
        known = set() if worker is None else worker.caches
        self._release()
        clashing = {path for path, _ in wanted}
        caches = wanted | {(path, digest) for path, digest in known if path not in clashing}
        try:
            worker = self._worker = _Worker(self._backend, self._nursery, caches, limits.memory_bytes, self._threads)
        except SurroundError as error:
            raise self._refused(str(error)) from None
        said, _ = read_frame(worker.replies, time.monotonic() + _OPEN_SECONDS)
        if said["kind"] == "ready":
            return worker, None
        self._release()
        if said["kind"] == "refused":
            raise self._refused(said["detail"])
        return worker, said

    def _refused(self, why: str) -> RefusedError:
        return RefusedError(
            f"the boundary '{self._backend.name}' does not hold any more ({why}); nothing was read or tested without it. "
            "`screen doctor` looks again, and running again goes on with what holds then",
            Exit.FAILURE,
        )

    def _kill(self) -> None:
        worker = self._worker
        if worker is not None:
            worker.kill()

    def _release(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def _crashed(self, started: float) -> Outcome:
        worker = self._worker
        assert worker is not None
        end = worker.infant.wait(5.0) or worker.infant.kill()
        tail = tail_of(worker.log)
        self._release()
        return crashed("its starter" if end is None else end.in_words, tail, started)


class _Worker:
    """A worker and its streams."""

    def __init__(
        self, backend: Confining, nursery: Nursery, caches: set[tuple[str, str]], memory_bytes: int, threads: int
    ) -> None:
        self.caches = caches
        self.memory_bytes = memory_bytes
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
        inside, self.requests = os.pipe()
        self.replies, outside = os.pipe()
        request = {
            "role": "jobs", "backend": backend.name, "memory_bytes": memory_bytes, "threads": threads,
            "caches": [(path, os.path.abspath(path), digest) for path, digest in sorted(caches)],  # noqa: PTH100 - a string
        }  # fmt: skip
        try:
            self.infant: Infant = nursery.spawn(request, [inside, self.log.fileno(), outside])
        except OSError:
            os.close(self.requests)
            os.close(self.replies)
            self.log.close()
            raise
        finally:
            os.close(inside)
            os.close(outside)

    def kill(self) -> None:
        """End it at once; any thread may."""
        self.infant.kill()

    def close(self) -> None:
        """End it and let go of its streams."""
        self.infant.kill()
        for file in (self.requests, self.replies):
            with suppress(OSError):
                os.close(file)
        self.log.close()


def _caches(job: Job) -> set[tuple[str, str]]:
    """Path and digest of every cache the job names."""
    named: Sequence[tuple[str, str] | None] = ((job.cache_path, job.cache_digest), job.partner)
    return {one for one in named if one is not None}
