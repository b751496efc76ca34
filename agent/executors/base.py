"""The contract between the loop and what spreads its jobs: jobs in, typed outcomes out, in the order of the jobs."""

from collections.abc import Iterator, Sequence
from typing import Protocol, Self

from ..sandbox.base import Job, Outcome

RETRY_FACTOR = 4
"""A job that met a limit is tried once more with limits this many times as large; a second time is its outcome. After a job
that met the limit of memory the jobs that follow get the larger one at once."""


class AttemptLog(Protocol):
    """Hears of every try; the loop writes it into the ledger. Called from other threads, one call at a time."""

    def started(self, job: Job, number: int, worker: str) -> None:
        """A try begins."""
        ...

    def ended(self, job: Job, number: int, outcome: Outcome) -> None:
        """A try is over. ``lost`` means that it has to be made again and says nothing about the job."""
        ...


class Executor(Protocol):
    """Runs jobs, each in a sandbox, on as many workers as it has.

    Guarantees every executor must give: outcomes come in the order of the jobs, whatever order they finish in, so that the
    ledger does not depend on the number of workers; a resource failure gets one more try, with :data:`RETRY_FACTOR` times the
    limits; a worker that is lost with its job costs an attempt and is never the job's outcome; a job may run more than
    once, which is harmless, since the same job gives the same bits. Workers get a specification and paths, never an array, a
    ledger or a key.
    """

    @property
    def boundary(self) -> str:
        """Name of what confines the workers, for the ledger; several names where workers differ."""
        ...

    def run(self, jobs: Sequence[Job], log: AttemptLog | None = None) -> Iterator[Outcome]:
        """Outcomes in the order of ``jobs``, each as soon as it and all before it are there.

        Raises :class:`~hyposcreen.agent.errors.UserError` where workers cannot be had; what was yielded stays good.
        """
        ...

    def close(self) -> None:
        """Let go of all workers; jobs that are running are given up, which is harmless: a job can be run again."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
