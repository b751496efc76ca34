"""What every backend with a worker of its own does alike: one job at a time, closed from any thread."""

import threading
from abc import ABC, abstractmethod

from .base import Job, Limits, Outcome


class OneWorker(ABC):
    """One worker, started on first use and again after a crash. One thread runs jobs; any thread may close."""

    def __init__(self) -> None:
        self._running = threading.RLock()

    def run(self, job: Job, limits: Limits) -> Outcome:
        """See :class:`~.base.Sandbox`."""
        with self._running:
            return self._run(job, limits)

    def close(self) -> None:
        """End the worker and everything it started."""
        # Killed first: a thread that waits for its answer then hears the end of the pipe and lets go of the lock.
        self._kill()
        while not self._running.acquire(timeout=0.1):
            self._kill()
        try:
            self._release()
        finally:
            self._running.release()

    @abstractmethod
    def _run(self, job: Job, limits: Limits) -> Outcome:
        """Run ``job``, starting a worker where there is none."""

    @abstractmethod
    def _kill(self) -> None:
        """Send the worker its end, if there is one, and wait for nothing."""

    @abstractmethod
    def _release(self) -> None:
        """End the worker, if there is one, and let go of its streams."""
