"""Jobs of models' statistics beside library jobs, in one order: what the loop sees is an executor like any other."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from ..config import Config
from ..errors import UserError
from ..executors.base import RETRY_FACTOR, AttemptLog, Executor
from ..ledger.records import ProposerOpened
from ..ledger.store import Ledger
from ..project import Project
from ..sandbox.base import Job, Outcome
from ..sandbox.statistics import RESOURCE_ENDS, Bounds
from .bench import CodeBench
from .codes import codes_of
from .jobs import CodeJob
from .runner import CodeRunner

MOST_SECONDS, MOST_MEMORY = 60.0, 1 << 30
"""Bounds of one run of a statistic, however much a library test may use."""


class WithCode:
    """See :class:`~..executors.base.Executor`. Library jobs go where they always went; code runs here, one after the other."""

    def __init__(self, others: Executor, runner: CodeRunner) -> None:
        self._others = others
        self._runner = runner

    @property
    def boundary(self) -> str:
        """Of the library's workers; an attempt at code names its own."""
        return self._others.boundary

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, jobs: Sequence[Job], log: AttemptLog | None = None) -> Iterator[Outcome]:
        """See :class:`~..executors.base.Executor`."""
        spoken = None if log is None else _OneAtATime(log)
        others = self._others.run([job for job in jobs if not isinstance(job, CodeJob)], spoken)
        for job in jobs:
            yield self._tried(job, spoken) if isinstance(job, CodeJob) else next(others)

    def close(self) -> None:
        """Close the other executor; the bench of the code is its maker's to close."""
        self._others.close()

    def _tried(self, job: CodeJob, log: AttemptLog | None) -> Outcome:
        """A try, and one more with larger limits where it met one."""
        number = 1
        while True:
            if log is not None:
                log.started(job, number, f"code ({self._runner.boundary})")
            outcome = self._runner.run(job, 1.0 if number == 1 else RETRY_FACTOR)
            if log is not None:
                log.ended(job, number, outcome)
            if outcome.kind not in RESOURCE_ENDS or number > 1:
                return outcome
            number += 1


class _OneAtATime:
    """A log that two threads may speak to."""

    def __init__(self, log: AttemptLog) -> None:
        self._log = log
        self._lock = threading.Lock()

    def started(self, job: Job, number: int, worker: str) -> None:
        """See :class:`AttemptLog`."""
        with self._lock:
            self._log.started(job, number, worker)

    def ended(self, job: Job, number: int, outcome: Outcome) -> None:
        """See :class:`AttemptLog`."""
        with self._lock:
            self._log.ended(job, number, outcome)


def bench_of(config: Config) -> CodeBench:
    """The bench that the settings of a run come to. Nothing is started before it is needed."""
    wall = min(config.timeout_seconds, MOST_SECONDS)
    return CodeBench(config.sandbox, Bounds(wall, int(wall) + 1, min(config.memory_mb << 20, MOST_MEMORY)))


@contextmanager
def with_code(executor: Executor, project: Project, ledger: Ledger, bench: CodeBench) -> Iterator[Executor]:
    """``executor``, able to run on ``bench`` the statistics that models wrote in the run of ``ledger``; closes the bench.

    A run that takes none gets ``executor`` back as it is.
    """
    opened = ledger.records(ProposerOpened)
    try:
        if opened and opened[0].allow_code:
            runner = CodeRunner(bench, project.cache, opened[0].blinding.encode(), _Codes(ledger))
            yield WithCode(executor, runner)
        else:
            yield executor
    finally:
        bench.close()


class _Codes:
    """sha256 → the code that the ledger keeps under it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._found: dict[str, str] = {}

    def __call__(self, sha256: str) -> str:
        if sha256 not in self._found:
            self._found = codes_of(self._ledger)
        if sha256 not in self._found:
            raise UserError(
                f"{self._ledger.path} does not hold the code {sha256[:12]} that a row names; run `screen ledger verify`"
            )
        return self._found[sha256]
