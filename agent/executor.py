"""Jobs to outcomes on a pool of sandboxes: retries, attempts, order.

Outcomes come back in the order of the jobs, whatever order they finish in, so the ledger does not depend on the number
of workers. A resource failure gets one more try with four times the limits; a second one is the outcome.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Protocol

from .sandbox.base import RESOURCE_OUTCOMES, Job, Limits, Outcome, Sandbox
from .sandbox.process import ProcessSandbox

RETRY_FACTOR = 4


class AttemptLog(Protocol):
    """Hears of every try; the loop writes it into the ledger. Called from worker threads, one call at a time."""

    def started(self, job: Job, number: int, worker: str) -> None:
        """A try begins."""
        ...

    def ended(self, job: Job, number: int, outcome: Outcome) -> None:
        """A try is over."""
        ...


class Executor:
    """A fixed pool of sandboxes. Use as a context manager; ``close`` ends every worker."""

    def __init__(
        self,
        workers: int = 0,
        limits: Limits | None = None,
        make: Callable[[], Sandbox] = ProcessSandbox,
    ) -> None:
        count = workers if workers > 0 else os.cpu_count() or 1
        self._limits = limits or Limits()
        self._free: SimpleQueue[tuple[int, Sandbox]] = SimpleQueue()
        self._all = [make() for _ in range(count)]
        for number, sandbox in enumerate(self._all):
            self._free.put((number, sandbox))
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="hyposcreen-worker")
        self._speaking = threading.Lock()
        self._closing = False

    def __enter__(self) -> "Executor":
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
        """Outcomes in the order of ``jobs``, each as soon as it and all before it are there."""
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
            limits = self._limits
            for attempt in (1, 2):
                if log is not None:
                    with self._speaking:
                        log.started(job, attempt, name)
                outcome = sandbox.run(job, limits)
                if log is not None:
                    with self._speaking:
                        log.ended(job, attempt, outcome)
                if outcome.kind not in RESOURCE_OUTCOMES or self._closing:
                    break
                limits = limits.times(RETRY_FACTOR)
            return outcome
        finally:
            self._free.put((number, sandbox))
