"""Which executor spreads the jobs of a campaign: the one that the settings name. A new one is one file and one line here."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from ..config import Config
from ..errors import Exit, UserError
from ..progress import Progress
from ..sandbox.base import Limits
from ..sandbox.choose import workers as make_workers
from .base import Executor
from .pool import SandboxPool

_Opener = Callable[[Config, Progress, int, int], AbstractContextManager[Executor]]


@contextmanager
def open_executor(
    config: Config, progress: Progress, threads: int = 1, workers: int | None = None
) -> Iterator[Executor]:
    """The executor of ``config``; says so where nothing confines its workers.

    ``threads``: of the numeric libraries in each worker. ``workers``: how many, where not as many as the settings say. Raises
    :class:`~hyposcreen.agent.errors.UserError` where it cannot be had.
    """
    check_executor(config)
    count = config.workers if workers is None else workers
    with EXECUTORS[config.executor](config, progress, threads, count) as executor:
        yield executor


def check_executor(config: Config) -> None:
    """Refuse settings that name no executor, before anything is opened."""
    if config.executor not in EXECUTORS:
        raise UserError(f"executor '{config.executor}' is not known; choose one of {', '.join(EXECUTORS)}", Exit.USAGE)
    if config.executor == "dask":
        from .addresses import scheduler_address

        scheduler_address(config.scheduler)
    elif config.scheduler:
        raise UserError(
            f"scheduler = '{config.scheduler}' is of executor 'dask'; add --executor dask, or leave it out", Exit.USAGE
        )


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


@contextmanager
def _dask(config: Config, progress: Progress, threads: int, _workers: int) -> Iterator[Executor]:
    from .dask_cluster import Cluster, RemoteSandbox

    cluster = Cluster(config.scheduler, config.sandbox, threads)
    try:
        progress.say(f"{len(cluster.workers)} Dask workers at {cluster.address}")
        for note in cluster.notes:
            progress.say(f"note: {note}")
        with SandboxPool(cluster.slots, _limits(config), lambda: RemoteSandbox(cluster)) as pool:
            yield pool
    finally:
        cluster.close()


EXECUTORS: Mapping[str, _Opener] = {"processes": _processes, "dask": _dask}
