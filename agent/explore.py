"""Exploration: registered hypotheses → results on genes A. The loop and a replay call the same function."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..hypotheses.spec import TestSpec
from ..tests_library.catalogue import CATALOGUE
from ..tests_library.rivals import FAMILY
from .custom.jobs import code_job
from .custom.kind import NAME
from .executors.base import AttemptLog, Executor
from .ledger.records import Registered, RunOpened, Tested
from .project import Project, Side
from .results import explored, untested
from .sandbox.base import Job


def explore(
    project: Project, plan: RunOpened, executor: Executor, rows: Sequence[Registered], log: AttemptLog | None = None
) -> Iterator[Tested]:
    """Results in the order of ``rows``. A row that the validity rules refuse is recorded untested, with the reason."""
    findings = {h.id: project.finding(TestSpec.from_json(h.spec)) for h in rows}
    outcomes = executor.run([explore_job(project, plan, h) for h in rows if findings[h.id] is None], log)
    for h in rows:
        finding = findings[h.id]
        if finding is None:
            yield explored(h, next(outcomes), project.label_checks(h.test, h.annotation))
        else:
            size = project.entity_size(h.annotation, Side.EXPLORE)
            universe = len(project.rows(Side.EXPLORE, h.spec["background"]))
            yield untested(h, finding.verdict, finding.sentence, size, universe)


def explore_job(project: Project, plan: RunOpened, h: Registered) -> Job:
    """The exploratory job of a hypothesis: genes A, its own views, small enough to send."""
    job = project.job(
        h.test,
        h.annotation,
        Side.EXPLORE,
        subsets={h.id: (h.spec["layers"], h.spec["coordinates"])},
        nulls=tuple(h.spec["nulls"]),
        m=plan.permutations_explore,
        seed=plan.seed,
        vectors=False,
    )
    if h.test == NAME:
        return code_job(job, h)
    if CATALOGUE[h.test].family != FAMILY:
        return job
    counts = project.studied_besides(h.annotation)
    return replace(job, studied={name: tuple(column.tolist()) for name, column in counts.items()})
