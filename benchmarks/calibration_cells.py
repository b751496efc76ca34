"""The jobs of ``calibration.py``: what each table of the page measures, how often, and running them.

A cell is a row or a part of one. It has its own seed, so neither the order of the cells nor the number of processes
matters, and finished cells may be kept in a file.
"""

import hashlib
import json
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from calibration_own import WORLDS
from calibration_worlds import (
    ROOT,
    SET,
    Case,
    Rng,
    demo,
    expression_confound,
    hub_pairs,
    load_confound,
    made_pair_ranks,
    null_case,
    weighted_genes,
    whole_families,
)
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, norm

from hyposcreen.tests_library.catalogue import CATALOGUE
from hyposcreen.tests_library.engine.bank import Bank, bank_key
from hyposcreen.tests_library.engine.kernels import pair_sums
from hyposcreen.tests_library.engine.maxt import exceedances, moments, p_value, standardise
from hyposcreen.tests_library.nulls import NULLS, OWN_NULLS
from hyposcreen.tests_library.run import scan
from hyposcreen.tests_library.statistics.base import Entity

ALPHA, M, REPETITIONS, AGAIN = 0.05, 199, 2_000, 10_000
LOW, HIGH = 0.04, 0.06
M_PRINTED = 99
"""Draws under the nulls that are printed only, which are dear."""
SHARED = (
    "axis_separation",
    "pole_enrichment",
    "cohesion",
    "gene_score",
    "effective_dimension",
    "neighbourhood_purity",
    "layer_trajectory",
    "change_point",
    "copole_rate",
    "graded_gradient",
    "pair_proximity",
    "mantel",
    "edge_auroc",
    "directed_displacement",
)
"""One kind, or two, of each shape a statistic has."""
LOADED = ("axis_separation", "cohesion")
OWN = {
    "random_axis": ("axis_separation", "pole_enrichment", "copole_rate"),
    "rewired": ("edge_auroc", "directed_displacement", "feed_forward_loop"),
    "target_shuffle": ("edge_auroc", "directed_displacement"),
    "sign_shuffle": ("signed_edge_split",),
    "layer_order": ("layer_trajectory", "layer_transient", "change_point", "convergence"),
    "matched_gaussian": ("entropy_rank", "two_nn"),
    "feature_shuffle": ("entropy_rank",),
}
"""Own nulls and the kinds each is measured with."""
AT, ATTAINABLE, UNTESTABLE, BY_LABEL = "p ≤ .05", "attainable", "untestable", "gene_label"
IN_OWN_WORLD = ("shared", "own")
"""Sections whose rate must lie within LOW … HIGH."""


@dataclass(frozen=True)
class Cell:
    """One job of the page: a section, its arguments, and how often."""

    section: str
    arguments: tuple[Any, ...]
    repetitions: int
    attempt: int = 0

    def rng(self) -> Rng:
        """A generator that depends on the cell alone."""
        text = repr((self.section, self.arguments, self.attempt))
        return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))


@dataclass(frozen=True)
class Rates:
    """Share of repetitions with p ≤ .05 under each procedure, the number of repetitions, and the seconds it took."""

    cell: Cell
    rejected: dict[str, float]
    seconds: float

    def error(self, name: str) -> float:
        """Monte-Carlo standard error of a rate."""
        rate = self.rejected[name]
        return math.sqrt(rate * (1 - rate) / self.cell.repetitions)

    @property
    def outside(self) -> bool:
        """Whether the rate of a cell in its own world is not within LOW … HIGH."""
        return not LOW <= self.rejected[AT] <= HIGH


# ---------------------------------------------------------------- p-values


@dataclass(frozen=True)
class Judged:
    """p of one scan, and the probability of p ≤ .05 if the observed arrangement were any of the m + 1 scanned ones."""

    p: float
    attainable: float


def judge(maxima: NDArray[np.float64]) -> Judged:
    """From the maxima over views of all arrangements, the observed one first: float64 [m + 1]."""
    ordered = np.sort(maxima)
    p = (len(maxima) - np.searchsorted(ordered, maxima, "left")) / len(maxima)
    return Judged(float(p[0]), share(p, ALPHA))


def judged(case: Case, name: str, nulls: Sequence[str], rng: Rng, m: int = M) -> list[Judged]:
    """The full scan, max-T over every view of the kind, under each null; draws of its own for this repetition.

    An entity that is too little for the test has p = 1 (a run calls it untestable), and ``attainable`` NaN.
    """
    kind, seed = CATALOGUE[name], int(rng.integers(1 << 62))
    if kind.shortage(case.entity, case.geometry.universe):
        return [Judged(1.0, math.nan)] * len(nulls)
    scans = scan(case.geometry, case.covariates, kind, case.entity, subsets={}, nulls=nulls, m=m, seed=seed)
    return [judge(s.overall) for s in scans]


def share(p: Sequence[float] | NDArray[np.float64], alpha: float) -> float:
    return float((np.asarray(p) <= alpha * (1 + 1e-12)).mean())


def in_own_world(seen: Sequence[Judged]) -> dict[str, float]:
    p = [one.p for one in seen]
    possible = np.array([one.attainable for one in seen])
    return {
        AT: share(p, ALPHA),
        "p ≤ .01": share(p, 0.01),
        ATTAINABLE: float(np.nan_to_num(possible).mean()),
        UNTESTABLE: float(np.isnan(possible).mean()),
    }


# ---------------------------------------------------------------- sections


def shared_null(cell: Cell) -> dict[str, float]:
    """One kind under one shared null, labels exchangeable as that null says; with study load or without."""
    name, null, loaded = cell.arguments
    rng = cell.rng()
    cases = (null_case(CATALOGUE[name], null, loaded, rng) for _ in range(cell.repetitions))
    return in_own_world([judged(case, name, [null], rng)[0] for case in cases])


def own_null(cell: Cell) -> dict[str, float]:
    """One kind under one null of its own, in that null's world; random axes also by gene labels alone."""
    null, name = cell.arguments
    rng = cell.rng()
    nulls = [null, "gene_label"] if null == "random_axis" else [null]
    m = M if OWN_NULLS[null].decides else M_PRINTED
    seen = [judged(case, name, nulls, rng, m) for case in islice(WORLDS[null](name, rng), cell.repetitions)]
    extra = {BY_LABEL: share([row[1].p for row in seen], ALPHA)} if len(nulls) > 1 else {}
    return in_own_world([row[0] for row in seen]) | extra


def confounded(cell: Cell) -> dict[str, float]:
    """Sets on the demo cache that know nothing of the embedding but lean on a covariate, under every shared null."""
    name, labels = cell.arguments
    rng, world = cell.rng(), demo()
    p = []
    for _ in range(cell.repetitions):
        families = labels == "families"
        members = whole_families(world, SET, rng) if families else weighted_genes(world.rank, SET, float(labels), rng)
        case = Case(world.geometry, world.covariates, Entity("gene_set", members=members))
        p.append([one.p for one in judged(case, name, list(NULLS), rng)])
    single = {null: share([row[i] for row in p], ALPHA) for i, null in enumerate(NULLS)}
    return single | {"largest": share([max(row) for row in p], ALPHA)}


def made_confound(cell: Cell) -> dict[str, float]:
    """A made world in which axis and labels follow expression: gene labels against matched strata."""
    (strength,) = cell.arguments
    rng, nulls = cell.rng(), ["gene_label", "stratified"]
    cases = (expression_confound(strength, rng) for _ in range(cell.repetitions))
    p = [[one.p for one in judged(case, "axis_separation", nulls, rng)] for case in cases]
    return {null: share([row[i] for row in p], ALPHA) for i, null in enumerate(nulls)}


def made_load_confound(cell: Cell) -> dict[str, float]:
    """A made world in which axis and labels follow study load: gene labels, families without load, families with load."""
    (strength,) = cell.arguments
    rng = cell.rng()
    p: dict[str, list[float]] = {"gene_label": [], "family_block": [], "with load": []}
    for _ in range(cell.repetitions):
        case, loaded = load_confound(strength, rng)
        plain = judged(case, "axis_separation", ["gene_label", "family_block"], rng)
        matched = judged(Case(case.geometry, loaded, case.entity), "axis_separation", ["family_block"], rng)
        for name, one in zip(p, (*plain, *matched), strict=True):
            p[name].append(one.p)
    return {name: share(values, ALPHA) for name, values in p.items()}


def pairs_as_samples(cell: Cell) -> dict[str, float]:
    """One rank sum of pair similarities, judged as if pairs were independent and by permuting genes."""
    where, n, wanted = cell.arguments
    rng = cell.rng()
    formula, permuted = [], []
    fixed = demo().geometry.pair_ranks()[:, :, -1:] if where == "demo" else None
    for _ in range(cell.repetitions):
        table = fixed if fixed is not None else made_pair_ranks(n, rng)
        pairs = hub_pairs(len(table), wanted, rng)
        free = np.zeros(len(table), dtype=np.int64)
        key = bank_key(int(rng.integers(1 << 62)), "gene_label", (), free)
        ones = np.ones(len(pairs), np.int64)
        totals = pair_sums(table, pairs, ones, Bank(key, free).arrangements(0, M + 1))
        every = math.comb(len(table), 2)
        spread = 2 * math.sqrt(wanted * (every - wanted) * (every + 1) / 12)
        formula.append(float(2 * norm.sf(abs(int(totals[0, 0])) / spread)))
        z = standardise(totals, moments(totals), "two-sided")
        permuted.append(p_value(exceedances(z[:, 0]), M))
        if len(formula) == 1:
            agrees_with_scipy(table[:, :, 0], pairs, formula[0])
    return {"pairs independent": share(formula, ALPHA), "genes permuted": share(permuted, ALPHA)}


def agrees_with_scipy(table: NDArray[np.int32], pairs: NDArray[np.int64], p: float) -> None:
    """The formula above is the Mann–Whitney test of SciPy (no continuity correction); raises where it is not."""
    inside = np.zeros(table.shape, bool)
    inside[pairs[:, 0], pairs[:, 1]] = True
    upper = np.triu_indices(len(table), 1)
    values, mask = table[upper].astype(np.float64), inside[upper]
    other = mannwhitneyu(values[mask], values[~mask], use_continuity=False, method="asymptotic").pvalue
    if not math.isclose(p, float(other), rel_tol=1e-3):
        raise ArithmeticError(f"the rank-sum formula gives p = {p}, SciPy {other}")


def small_m(cell: Cell) -> dict[str, float]:
    """P(p ≤ α) for k/m and (k + 1)/(m + 1) when k is uniform on 0 … m, from axis separation with m draws."""
    (m,) = cell.arguments
    rng, kind = cell.rng(), CATALOGUE["axis_separation"]
    k = []
    for _ in range(cell.repetitions):
        case, seed = null_case(kind, "gene_label", False, rng), int(rng.integers(1 << 62))
        one = scan(case.geometry, case.covariates, kind, case.entity, subsets={}, nulls=["gene_label"], m=m, seed=seed)
        k.append(exceedances(one[0].overall))
    return {
        "k/m": share([x / m for x in k], ALPHA),
        "(k+1)/(m+1)": share([p_value(x, m) for x in k], ALPHA),
        "zero": float((np.array(k) == 0).mean()),
    }


# ---------------------------------------------------------------- running


SECTIONS = {
    "shared": shared_null,
    "own": own_null,
    "confound": confounded,
    "made": made_confound,
    "made load": made_load_confound,
    "pairs": pairs_as_samples,
    "small m": small_m,
}


def plan(part: float) -> list[Cell]:
    """Every cell of the page."""

    def times(full: float) -> int:
        return max(10, round(full * part))

    full = times(REPETITIONS)
    cells = [Cell("own", (null, name), full) for null in OWN_NULLS for name in OWN[null]]
    cells += [Cell("shared", (name, null, False), full) for name in SHARED for null in NULLS]
    cells += [Cell("shared", (name, null, True), full) for name in LOADED for null in ("family_block",)]
    labels = ("0.0", "0.5", "1.0", "families")
    cells += [Cell("confound", (k, x), times(1_000)) for k in ("axis_separation", "cohesion") for x in labels]
    cells += [Cell("made", (b,), full) for b in (0.0, 0.3, 0.7)]
    cells += [Cell("made load", (b,), times(1_000)) for b in (0.0, 0.3, 0.7)]
    shapes = (("made", 195, 589), ("made", 195, 1022), ("made", 195, 3092), ("demo", 763, 1022))
    cells += [Cell("pairs", shape, times(1_000)) for shape in shapes]
    return cells + [Cell("small m", (m,), full) for m in (15, 50, 100)]


def run_cell(cell: Cell) -> Rates:
    start = time.process_time()
    rejected = SECTIONS[cell.section](cell)
    return Rates(cell, rejected, time.process_time() - start)


def measure(part: float, processes: int, keep: Path | None) -> tuple[list[Rates], list[Rates]]:
    """All cells; then the cells in their own world that fell outside, again, with another seed and more repetitions."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # read by the workers, which import NumPy anew
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        first = list(_results(pool, plan(part), keep))
        stray = [r.cell for r in first if r.cell.section in IN_OWN_WORLD and r.outside]
        more = [Cell(c.section, c.arguments, max(10, round(AGAIN * part)), attempt=1) for c in stray]
        return first, list(_results(pool, more, keep))


def _results(pool: Any, cells: Sequence[Cell], keep: Path | None) -> Iterator[Rates]:
    """One result for each cell, in their order: those kept from before, and the others as they are finished."""
    code = code_digest()
    before = _kept(keep, code)
    fresh = pool.imap(run_cell, [c for c in cells if c not in before])
    for cell in cells:
        if cell in before:
            yield before[cell]
            continue
        r = next(fresh)
        line = {"code": code, "cell": [cell.section, cell.arguments, cell.repetitions, cell.attempt]}
        text = json.dumps(line | {"rejected": r.rejected, "seconds": r.seconds}, ensure_ascii=False)
        print(text, file=sys.stderr, flush=True)
        if keep is not None:
            with keep.open("a", encoding="utf-8") as handle:
                handle.write(text + "\n")
        yield r


def _kept(keep: Path | None, code: str) -> dict[Cell, Rates]:
    """Finished cells of ``keep`` that this very code measured."""
    if keep is None or not keep.exists():
        return {}
    out = {}
    for line in map(json.loads, keep.read_text(encoding="utf-8").splitlines()):
        section, arguments, repetitions, attempt = line["cell"]
        if line["code"] == code:
            cell = Cell(section, tuple(arguments), repetitions, attempt)
            out[cell] = Rates(cell, line["rejected"], line["seconds"])
    return out


def code_digest() -> str:
    """sha256 of everything a number depends on here: the test library, and these modules but for the page."""
    mine = [ROOT / "benchmarks" / f"calibration_{part}.py" for part in ("cells", "own", "worlds")]
    digest = hashlib.sha256()
    for path in sorted([*mine, *(ROOT / "tests_library").rglob("*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
