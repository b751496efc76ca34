"""Which executor spreads the jobs of a campaign: the one that the settings name."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..config import Config
from ..progress import Progress
from ..sandbox.base import Limits
from ..sandbox.choose import workers as make_workers
from .base import Executor
from .pool import SandboxPool


@contextmanager
def open_executor(
    config: Config, progress: Progress, threads: int = 1, workers: int | None = None
) -> Iterator[Executor]:
    """The executor of ``config``; says so where nothing confines its workers.

    ``threads``: of the numeric libraries in each worker. ``workers``: how many, where not as many as the settings say. Raises
    :class:`~hyposcreen.agent.errors.UserError` where it cannot be had.
    """
    with _processes(config, progress, threads, config.workers if workers is None else workers) as executor:
        yield executor


def _limits(config: Config) -> Limits:
    return Limits(config.timeout_seconds, config.memory_mb << 20)


@contextmanager
def _processes(config: Config, progress: Progress, threads: int, workers: int) -> Iterator[Executor]:
    made = make_workers(config.sandbox, threads)
    if made.notice:
        progress.say(f"note: {made.notice}; see `screen doctor`")
    try:
        with SandboxPool(workers, _limits(config), made.make) as pool:
            yield pool
    finally:
        made.close()
