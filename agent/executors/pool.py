"""Executor ``processes``: a fixed pool of sandboxes, one thread each. Where a sandbox has its worker is the sandbox's affair."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from queue import SimpleQueue
from typing import Self

from ..errors import Exit, UserError
from ..sandbox.base import RESOURCE_OUTCOMES, Job, Limits, Outcome, Sandbox
from ..sandbox.process import ProcessSandbox
from .base import RETRY_FACTOR, AttemptLog

MOST_LOST = 10
"""Workers that may be lost with one job, one after the other, before the campaign stops."""


class SandboxPool:
    """A fixed pool of sandboxes; see :class:`~.base.Executor`. Use as a context manager; ``close`` ends every worker."""

    def __init__(
        self,
        workers: int = 0,
        limits: Limits | None = None,
        make: Callable[[], Sandbox] = ProcessSandbox,
    ) -> None:
        count = workers if workers > 0 else os.cpu_count() or 1
        self._limits = limits or Limits()
        self._memory_bytes = self._limits.memory_bytes
        self._free: SimpleQueue[tuple[int, Sandbox]] = SimpleQueue()
        self._all = [make() for _ in range(count)]
        for number, sandbox in enumerate(self._all):
            self._free.put((number, sandbox))
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="hyposcreen-worker")
        self._speaking = threading.Lock()
        self._closing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def workers(self) -> int:
        """Number of sandboxes."""
        return len(self._all)

    @property
    def boundary(self) -> str:
        """Name of the boundary of this pool."""
        return self.confines.split(":")[0]

    @property
    def confines(self) -> str:
        """What the boundary of this pool is made of."""
        return self._all[0].confines

    def run(self, jobs: Sequence[Job], log: AttemptLog | None = None) -> Iterator[Outcome]:
        """See :class:`~.base.Executor`."""
        futures: list[Future[Outcome]] = [self._threads.submit(self._one, job, log) for job in jobs]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:
                future.cancel()

    def close(self) -> None:
        """End all workers; running jobs are lost, which is harmless: a job can be run again."""
        self._closing = True
        for sandbox in self._all:
            sandbox.close()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _one(self, job: Job, log: AttemptLog | None) -> Outcome:
        number, sandbox = self._free.get()
        name = f"worker-{number} ({self.boundary})"  # the ledger says behind what each attempt ran
        try:
            limits = replace(self._limits, memory_bytes=self._memory_bytes)
            tries = lost = 0
            while True:
                if log is not None:
                    with self._speaking:
                        log.started(job, tries + lost + 1, name)
                outcome = sandbox.run(job, limits)
                if log is not None:
                    with self._speaking:
                        log.ended(job, tries + lost + 1, outcome)
                if outcome.kind == "lost" and not self._closing:
                    lost += 1
                    _give_up(job, lost, outcome)
                    continue  # with the same limits: nothing was learnt about the job
                tries += 1
                if outcome.kind not in RESOURCE_OUTCOMES or self._closing or tries == 2:
                    return outcome
                if outcome.kind == "memory":
                    # A universe that did not fit will not fit with the next job either, nor in another worker: held to less,
                    # each would be ended, and would make its tables anew, twice a job.
                    self._memory_bytes = self._limits.times(RETRY_FACTOR).memory_bytes
                limits = self._limits.times(RETRY_FACTOR)
        finally:
            self._free.put((number, sandbox))


def _give_up(job: Job, lost: int, last: Outcome) -> None:
    if lost >= MOST_LOST:
        raise UserError(
            f"{lost} workers were lost, one after the other, while they ran {job.name} ({last.detail}); nothing is lost of what "
            "was recorded. Look at their logs, most often the memory of their host, and run again",
            Exit.FAILURE,
        )
