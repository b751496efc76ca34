"""Draws that belong to labels and null alone, and what happens to a statistic that meets a limit."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hyposcreen.agent.config import load_config
from hyposcreen.agent.custom.bench import CodeBench
from hyposcreen.agent.custom.ends import ENDED
from hyposcreen.agent.custom.ensembles import make_ensemble
from hyposcreen.agent.custom.executor import WithCode
from hyposcreen.agent.custom.jobs import CodeJob
from hyposcreen.agent.custom.likeness import signature, with_likeness
from hyposcreen.agent.custom.runner import CodeRunner, standardised
from hyposcreen.agent.ledger.records import Tested
from hyposcreen.agent.project import Project, Side, open_project
from hyposcreen.agent.sandbox.statistics import Bounds
from hyposcreen.tests_library.nulls import NULLS, Exchange

SECRET = b"the key of a run"


def job_of(project: Project, code: str = "c", layer: str = "L2", **changes: Any) -> CodeJob:
    job = project.job(
        "custom_statistic", "b_cells", Side.EXPLORE, subsets={"H0001": (layer, "all")}, nulls=tuple(NULLS), m=39, seed=5,
        vectors=True,
    )  # fmt: skip
    held = {name: getattr(job, name) for name in job.__dataclass_fields__}
    return replace(CodeJob(**held, ensemble="labels", code=code, alternative="greater"), **changes)


@pytest.fixture
def project(template: Any) -> Project:
    return open_project(template, load_config(template, {}, {}))


def test_draws_are_the_same_for_other_code_and_other_layers_and_other_for_another_run(project: Project) -> None:
    job = job_of(project)
    strata = np.arange(len(job.universe), dtype=np.int64) // 20
    one = make_ensemble(SECRET, job, "stratified", Exchange(strata))
    for other in (job_of(project, code="d"), job_of(project, layer="L1"), replace(job, order_invariant=False)):
        assert make_ensemble(SECRET, other, "stratified", Exchange(strata)).sent.tobytes() == one.sent.tobytes()
    for secret, changed in ((b"another run", job), (SECRET, replace(job, ensemble="other labels"))):
        assert make_ensemble(secret, changed, "stratified", Exchange(strata)).sent.tobytes() != one.sent.tobytes()
    labels = np.zeros(len(job.universe), np.int8)
    labels[job.entity["members"]] = 1
    here = one.sent[one.places][:, np.argsort(one.genes)]
    assert (here[0] == labels).all() and len(np.unique(here, axis=0)) > 30
    for stratum in np.unique(strata):
        assert set(here[:, strata == stratum].sum(1)) == {labels[strata == stratum].sum()}


def test_extreme_is_large_small_or_far_as_the_row_says() -> None:
    values = np.array([-5.0, 0.0, 1.0, 2.0])
    for alternative, k in (("greater", 3), ("less", 0), ("two-sided", 0)):
        z = standardised(values, alternative)
        assert int((z[1:] >= z[0]).sum()) == k
    assert not standardised(np.ones(4), "greater").any()
    assert not np.isfinite(standardised(np.array([1e308, -1e308, 1e308]), "greater")).all()


def test_a_row_says_what_it_repeats_and_what_its_author_declared() -> None:
    def row(id_: str, values: list[float], **changes: Any) -> Tested:
        said = {"values": signature(np.array([0.0, *values])), "ensemble": "e", "order_invariant": True} | changes
        return Tested(id_, "ok", checks={"notes": ["a note"], "custom": said})

    one = row("H0001", [3.0, 1.0, 2.0, 5.0])
    for values, changes, said in (
        ([-30.0, -10.0, -20.0, -50.0], {}, ["a note", "its values are nearly those of H0001 on the same labellings"]),
        ([1.0, 2.0, 3.0, 0.0], {}, ["a note"]),
        ([3.0, 1.0, 2.0, 5.0], {"ensemble": "other"}, ["a note"]),
        (
            [1.0, 2.0, 3.0, 0.0],
            {"order_invariant": False},
            ["a note", "its author says that its values depend on the order"],
        ),
        ([1.0, 1.0, 1.0, 1.0], {}, ["a note"]),
    ):
        notes = with_likeness(row("H0002", values, **changes), [one]).checks["notes"]
        assert len(notes) == len(said) and all(n.startswith(s) for n, s in zip(notes, said, strict=True))
    library = Tested("H0003", "ok", checks={"notes": []})
    assert with_likeness(library, [one]) is library


class Log:
    def __init__(self) -> None:
        self.said: list[Any] = []

    def started(self, job: Any, number: int, worker: str) -> None:
        self.said.append((number, worker.split(" ", maxsplit=1)[0]))

    def ended(self, job: Any, number: int, outcome: Any) -> None:
        self.said.append((number, outcome.kind))


HUNGRY = """
def statistic_batch(emb, L):
    room = bytearray({megabytes} << 20)
    room[::4096] = b"x" * len(room[::4096])
    return (L @ emb[:, 0].astype("f8"))
"""


@pytest.mark.usefixtures("confined")
@pytest.mark.parametrize(("megabytes", "ends"), [(200, ["memory", "ok"]), (2000, ["memory", "memory"])])
def test_a_limit_is_met_once_with_four_times_as_much_and_then_counts_as_one(
    project: Project, megabytes: int, ends: list[str]
) -> None:
    bench = CodeBench("auto", Bounds(60.0, 60, 96 << 20))
    runner = CodeRunner(bench, project.cache, SECRET, lambda _: HUNGRY.format(megabytes=megabytes))
    log = Log()

    class Nobody:
        boundary = "none"

        def run(self, jobs: Any, log: Any = None) -> Any:
            assert not jobs
            return iter(())

    try:
        (outcome,) = WithCode(Nobody(), runner).run([job_of(project)], log)  # type: ignore[arg-type]
    finally:
        bench.close()
    assert [kind for _, kind in log.said] == ["code", ends[0], "code", ends[1]] and outcome.kind == ends[1]
    if outcome.kind != "ok":
        assert outcome.kind in ENDED
        numbers = outcome.value["nulls"]["stratified"]["subsets"]["H0001"]
        assert numbers["k"] == 39, "p = 1"
        assert not outcome.vectors["stratified/H0001"].any()
