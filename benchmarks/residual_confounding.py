"""What is left of a confound by expression and detection once the stratified null has matched them.

A set of genes is drawn again and again with a chance that follows the expression and detection of a real set smoothly, and
nothing else (a Gaussian kernel in ranks). Every rejection beyond the level is then the confound's doing: the genes of a
stratum are not like enough. Beside the rates stand the p-values of the real sets: what matching costs in signal.

    python benchmarks/residual_confounding.py [--cache demo] [--worlds 200] [--bandwidth 0.05]
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyposcreen.agent.config import Config
from hyposcreen.agent.project import Project, Side, open_project
from hyposcreen.agent.sandbox.base import Job
from hyposcreen.agent.sandbox.worker import Bench
from hyposcreen.hypotheses.validity import MATCHED
from hyposcreen.tests_library.nulls import coarse_strata, like_genes

LEVEL = 0.025
DRAWS = 199
"""Of a world: the smallest p is .005."""
KINDS = ("cohesion", "k90", "sliced_wasserstein", "layer_transient")
SETS = ("monocytes", "nk_cytotoxic", "secreted", "t_cells", "b_cells", "oxphos", "random_monocytes")

Cut = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.int64]]


@dataclass(frozen=True)
class Matching:
    """One way to cut strata: int64 [genes of the side] by side."""

    name: str
    strata: Mapping[Side, NDArray[np.int64]]


def matchings(project: Project) -> tuple[Matching, ...]:
    """What the product did before (bins, with study load), what it does, and others for comparison."""

    def cut(rows: NDArray[np.int64], how: Cut) -> NDArray[np.int64]:
        genes = project.cache.genes
        return how(genes.mean_expression[rows], genes.detection[rows])

    def loaded(side: Side) -> NDArray[np.int64]:
        return cut(project.rows(side, None), lambda e, d: coarse_strata(e, d, project.load(side, None)))

    sides = (Side.SEALED, Side.ALL)
    rows = {side: project.rows(side, None) for side in sides}
    return (
        Matching("none", {s: np.zeros(len(rows[s]), np.int64) for s in sides}),
        Matching("bins and load", {s: loaded(s) for s in sides}),
        Matching("bins", {s: cut(rows[s], coarse_strata) for s in sides}),
        Matching("like, per side", {s: cut(rows[s], like_genes) for s in sides}),
        Matching("like genes", {s: project.matched(s, None) for s in sides}),
    )


def main() -> None:
    """Print both tables."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--cache", default="demo")
    options.add_argument("--worlds", type=int, default=200)
    options.add_argument("--bandwidth", type=float, default=0.05, help="of the kernel, in ranks from 0 to 1")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = open_project(Path(folder), Config(cache=asked.cache))
    cuts = matchings(project)
    benches = {m.name: Bench() for m in cuts}
    for side in (Side.SEALED, Side.ALL):
        print(f"\nfalse rejections at {LEVEL}, genes {side.value}, {asked.worlds} worlds, kernel {asked.bandwidth:g} (s.e. "
              f"{sqrt(LEVEL * (1 - LEVEL) / asked.worlds):.3f} where the null is true)")  # fmt: skip
        _table(cuts, lambda name, kind, side=side: _rates(project, benches, cuts, side, name, kind, asked))
        print(f"\np of the real sets, genes {side.value}, 1,999 draws")
        _table(cuts, lambda name, kind, side=side: _real(project, benches, cuts, side, name, kind))


def _table(cuts: tuple[Matching, ...], row: Callable[[str, str], list[float]]) -> None:
    print(" " * 38 + "  ".join(f"{m.name:>14}" for m in cuts))
    for kind in KINDS:
        for name in SETS:
            print(f"{kind:20}{name:18}" + "  ".join(f"{value:14.4f}" for value in row(name, kind)), flush=True)


def _rates(
    project: Project, benches: Mapping[str, Bench], cuts: tuple[Matching, ...], side: Side, name: str, kind: str,
    asked: argparse.Namespace,
) -> list[float]:  # fmt: skip
    random = np.random.default_rng([SETS.index(name), KINDS.index(kind), 1])
    rows, whole = project.rows(side, None), project.rows(Side.ALL, None)
    members = np.searchsorted(whole, project.labelled_rows(name))
    chance = _chances(project, whole, members, asked.bandwidth)
    hits, worlds = np.zeros(len(cuts)), 0
    while worlds < asked.worlds:
        drawn = whole[random.choice(len(whole), len(members), replace=False, p=chance)]
        local = np.flatnonzero(np.isin(rows, drawn))
        if len(local) < 8:  # too few for the spectrum of a set; the next draw has more
            continue
        worlds += 1
        job = _job(project, side, name, kind, DRAWS, seed=worlds)
        job = replace(job, entity={"kind": "gene_set", "members": local.tolist()})
        hits += [_p(benches, job, m, side) <= LEVEL for m in cuts]
    return list(hits / worlds)


def _chances(
    project: Project, whole: NDArray[np.int64], members: NDArray[np.int64], bandwidth: float
) -> NDArray[np.float64]:
    """Kernel density of the members in ranks of expression and detection, float64 [whole], sum 1."""
    genes = project.cache.genes
    ranks = [np.argsort(np.argsort(x[whole], kind="stable")) for x in (genes.mean_expression, genes.detection)]
    places = np.stack(ranks, axis=1) / len(whole)
    distance = ((places[:, None] - places[None, members]) ** 2).sum(axis=2)
    density: NDArray[np.float64] = np.exp(-distance / (2 * bandwidth**2)).sum(axis=1)
    return density / density.sum()


def _real(
    project: Project, benches: Mapping[str, Bench], cuts: tuple[Matching, ...], side: Side, name: str, kind: str
) -> list[float]:
    return [_p(benches, _job(project, side, name, kind, 1999, seed=0), m, side) for m in cuts]


def _job(project: Project, side: Side, name: str, kind: str, m: int, seed: int) -> Job:
    whole_scan = {"row": ("all", "all")}
    return project.job(kind, name, side, subsets=whole_scan, nulls=(MATCHED,), m=m, seed=seed, vectors=True)


def _p(benches: Mapping[str, Bench], job: Job, matching: Matching, side: Side) -> float:
    matched = replace(job, matched=tuple(matching.strata[side].tolist()))
    value, _ = benches[matching.name].answer(matched.to_json())
    return float((value["nulls"][MATCHED]["subsets"]["row"]["k"] + 1) / (job.m + 1))


if __name__ == "__main__":
    main()
