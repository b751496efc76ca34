"""Write ``docs/calibration.md``: how often each test rejects at .05 when nothing is there, and when only a confound is.

``python benchmarks/calibration.py [--share S] [--processes N] [--date YYYY-MM-DD]``. ``--share 0.05`` makes a quick look with
a twentieth of the repetitions (it prints, and writes only where ``--out`` says). Every number is a function of the code:
each cell has its own seed, so neither the order of the cells nor the number of processes matters.
"""

import argparse
import hashlib
import math
import multiprocessing
import os
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, norm, rankdata

from hyposcreen.embeddings_cache.families import gene_families
from hyposcreen.embeddings_cache.store import open_cache
from hyposcreen.tests_library.catalogue import CATALOGUE, N_AXES, n_views
from hyposcreen.tests_library.engine.bank import Bank, bank_key
from hyposcreen.tests_library.engine.kernels import pair_sums
from hyposcreen.tests_library.engine.maxt import exceedances, moments, p_value, standardise
from hyposcreen.tests_library.nulls import NULLS, exchange
from hyposcreen.tests_library.run import Covariates, scan
from hyposcreen.tests_library.spaces import Geometry, pair_ranks, quantise
from hyposcreen.tests_library.statistics.base import Entity, TestKind

ROOT = Path(__file__).resolve().parents[1]
ALPHA, M, REPETITIONS, AGAIN = 0.05, 199, 2_000, 10_000
LOW, HIGH = 0.04, 0.06
SET, PAIRS, REGULATORS, TARGETS = 20, 60, 8, 8
SLOW = ("role_classifier", "edge_auroc")
"""Kinds whose cells run first, so that no process is left alone with one at the end."""
Rng = np.random.Generator


@dataclass(frozen=True, eq=False)
class World:
    """An embedding that never changes while labels are drawn anew."""

    geometry: Geometry
    covariates: Covariates
    rank: NDArray[np.float64]
    """Normal scores of mean expression, [n]."""


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


# ---------------------------------------------------------------- the world of sections a and b


@cache
def demo() -> World:
    """The demo cache: all usable genes, all layers, the grammar's ten axes."""
    cached = open_cache(ROOT / "embeddings_cache" / "demo" / "cache")
    usable = np.flatnonzero(cached.genes.usable).astype(np.int64)
    families = gene_families(cached.genes.symbol)
    geometry = Geometry(cached.layers, usable, usable, families, N_AXES)
    symbols = tuple(cached.genes.symbol[r] for r in usable)
    expression = np.asarray(cached.genes.mean_expression)[usable]
    kin = tuple(families[r] for r in usable)
    covariates = Covariates(symbols, expression, np.asarray(cached.genes.detection)[usable], kin)
    return World(geometry, covariates, norm.ppf((rankdata(expression) - 0.5) / len(usable)))


@cache
def exchangeable(null: str) -> list[NDArray[np.int64]]:
    """What the null lets trade places in the demo cache: for each stratum its units as rows of genes, int64 [units, size]."""
    c = demo().covariates
    rule = exchange(null, c.expression, c.detection, c.families)
    units = np.arange(len(rule.strata)) if rule.units is None else rule.units
    genes = [np.flatnonzero(units == u) for u in range(int(units.max()) + 1)]
    stratum = np.array([rule.strata[g[0]] for g in genes])
    return [np.stack([genes[u] for u in np.flatnonzero(stratum == s)]) for s in np.unique(stratum)]


def relabelled(null: str, rng: Rng) -> NDArray[np.int64]:
    """A permutation of the demo's genes that ``null`` calls exchangeable, int64 [n], drawn without the engine's generator."""
    out = np.empty(demo().geometry.n, dtype=np.int64)
    for rows in exchangeable(null):
        out[rows] = rows[rng.permutation(len(rows))]
    return out


def weighted_genes(world: World, size: int, pull: float, rng: Rng) -> NDArray[np.int64]:
    """``size`` genes, drawn with weight exp(pull × normal score of expression)."""
    weight = np.exp(pull * world.rank)
    return np.sort(rng.choice(len(weight), size, replace=False, p=weight / weight.sum())).astype(np.int64)


def whole_families(world: World, size: int, rng: Rng) -> NDArray[np.int64]:
    """About ``size`` genes in whole families of two to four members, families drawn at random."""
    families = np.asarray(world.covariates.families)
    names, counts = np.unique(families, return_counts=True)
    chosen: list[int] = []
    for name in rng.permutation(names[(counts >= 2) & (counts <= 4)]):
        chosen += np.flatnonzero(families == name).tolist()
        if len(chosen) >= size:
            break
    return np.sort(np.array(chosen, dtype=np.int64))


def null_entity(kind: TestKind, world: World, null: str, rng: Rng) -> Entity:
    """An entity whose labels are exchangeable as ``null`` says and, where it allows, tied to expression and families.

    A structure is drawn with a pull towards expressed genes (gene sets under family_block: half of it whole families);
    its genes are then replaced by a permutation of the null's own kind.
    """
    move = relabelled(null, rng)
    n = len(move)
    if kind.entity == "gene_set":
        base = weighted_genes(world, SET, 1.0, rng)
        if null == "family_block":
            base = np.union1d(weighted_genes(world, SET // 2, 1.0, rng), whole_families(world, SET // 2, rng))
        return Entity("gene_set", members=np.sort(move[base]))
    if kind.entity == "gene_pairs":
        pairs = move[hub_pairs(n, PAIRS, rng)]
        return Entity("gene_pairs", pairs=pairs, grades=rng.integers(400, 1000, len(pairs)).astype(np.int64))
    rows = world.geometry.universe[rng.choice(n, REGULATORS, replace=False)]
    edges = [(int(r), int(t)) for r in rows for t in move[weighted_genes(world, TARGETS, 1.0, rng)]]
    return Entity("edges", edges=np.array(edges, dtype=np.int64), signs=np.ones(len(edges), np.int64))


def hub_pairs(n: int, wanted: int, rng: Rng) -> NDArray[np.int64]:
    """Unordered pairs of a graph with few hubs and many leaves, int64 [wanted, 2]: Pareto weights of index 1.5."""
    weight = rng.pareto(1.5, n) + 0.3
    found: set[tuple[int, int]] = set()
    while len(found) < wanted:
        for a, b in rng.choice(n, (2 * wanted, 2), p=weight / weight.sum()).tolist():
            if a != b and len(found) < wanted:
                found.add((min(a, b), max(a, b)))
    return np.array(sorted(found), dtype=np.int64)


def scan_p(world: World, kind: TestKind, entity: Entity, nulls: Sequence[str], rng: Rng) -> list[float]:
    """p of the full scan, max-T over every view of the kind, under each null; a bank of its own for this repetition."""
    seed = int(rng.integers(1 << 62))
    scans = scan(world.geometry, world.covariates, kind, entity, subsets={}, nulls=nulls, m=M, seed=seed)
    return [p_value(exceedances(s.overall), M) for s in scans]


def own_null(cell: Cell) -> dict[str, float]:
    """Section a: one kind under one null, labels exchangeable as that null says."""
    name, null = cell.arguments
    rng, world, kind = cell.rng(), demo(), CATALOGUE[name]
    p = [scan_p(world, kind, null_entity(kind, world, null, rng), [null], rng)[0] for _ in range(cell.repetitions)]
    return {"p ≤ .05": share(p, ALPHA), "p ≤ .01": share(p, 0.01)}


def share(p: Sequence[float], alpha: float) -> float:
    return float((np.array(p) <= alpha * (1 + 1e-12)).mean())


# ---------------------------------------------------------------- section b


def confounded(cell: Cell) -> dict[str, float]:
    """Section b on the demo cache: sets that know nothing of the embedding but lean on a covariate, under every null."""
    name, labels = cell.arguments
    rng, world, kind = cell.rng(), demo(), CATALOGUE[name]
    p = []
    for _ in range(cell.repetitions):
        families = labels == "families"
        members = whole_families(world, SET, rng) if families else weighted_genes(world, SET, float(labels), rng)
        p.append(scan_p(world, kind, Entity("gene_set", members=members), list(NULLS), rng))
    single = {null: share([row[i] for row in p], ALPHA) for i, null in enumerate(NULLS)}
    return single | {"largest": share([max(row) for row in p], ALPHA)}


def made_confound(cell: Cell) -> dict[str, float]:
    """Section b in a made world: axis = b·expression + noise, membership logistic in expression, nothing else."""
    (b,) = cell.arguments
    rng, n, kind = cell.rng(), 1_000, CATALOGUE["axis_separation"]
    everyone = np.arange(n)
    p = []
    for _ in range(cell.repetitions):
        expression = rng.standard_normal(n)
        detection = 1 / (1 + np.exp(-expression)) + 0.05 * rng.standard_normal(n)
        X = 0.5 * rng.standard_normal((n, 8))
        X[:, 0] = 4 * (b * expression + math.sqrt(1 - b * b) * rng.standard_normal(n))
        members = np.flatnonzero(rng.random(n) < 1 / (1 + np.exp(3.2 - 0.8 * expression)))
        geometry = Geometry([X.astype(np.float32)], everyone, everyone, [str(i) for i in everyone], 1)
        covariates = Covariates(tuple(str(i) for i in everyone), expression, detection)
        world = World(geometry, covariates, expression)
        p.append(scan_p(world, kind, Entity("gene_set", members=members), ["gene_label", "stratified"], rng))
    return {null: share([row[i] for row in p], ALPHA) for i, null in enumerate(("gene_label", "stratified"))}


# ---------------------------------------------------------------- section c


def pairs_as_samples(cell: Cell) -> dict[str, float]:
    """Section c: one rank sum of pair similarities, judged as if pairs were independent and by permuting genes."""
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


def made_pair_ranks(n: int, rng: Rng) -> NDArray[np.int32]:
    """Ranks of Euclidean closeness between n points in three dimensions with unequal norms, int32 [n, n, 1]."""
    X = rng.standard_normal((n, 3)) * np.exp(0.5 * rng.standard_normal((n, 1)))
    distance = np.sqrt(((X[:, None] - X[None]) ** 2).sum(axis=2))
    return pair_ranks(quantise(-distance.reshape(-1, 1)).reshape(n, n))[:, :, None]


def agrees_with_scipy(table: NDArray[np.int32], pairs: NDArray[np.int64], p: float) -> None:
    """The formula above is the Mann–Whitney test of SciPy (no continuity correction); raises where it is not."""
    inside = np.zeros(table.shape, bool)
    inside[pairs[:, 0], pairs[:, 1]] = True
    upper = np.triu_indices(len(table), 1)
    values, mask = table[upper].astype(np.float64), inside[upper]
    other = mannwhitneyu(values[mask], values[~mask], use_continuity=False, method="asymptotic").pvalue
    if not math.isclose(p, float(other), rel_tol=1e-3):
        raise ArithmeticError(f"the rank-sum formula gives p = {p}, SciPy {other}")


# ---------------------------------------------------------------- section d


def small_m(cell: Cell) -> dict[str, float]:
    """Section d: P(p ≤ α) for k/m and (k + 1)/(m + 1) when k is uniform on 0 … m, from axis separation with m draws."""
    (m,) = cell.arguments
    rng, world, kind = cell.rng(), demo(), CATALOGUE["axis_separation"]
    k = []
    for _ in range(cell.repetitions):
        entity = null_entity(kind, world, "gene_label", rng)
        seed = int(rng.integers(1 << 62))
        one = scan(world.geometry, world.covariates, kind, entity, subsets={}, nulls=["gene_label"], m=m, seed=seed)
        k.append(exceedances(one[0].overall))
    return {
        "k/m": share([x / m for x in k], ALPHA),
        "(k+1)/(m+1)": share([p_value(x, m) for x in k], ALPHA),
        "zero": float((np.array(k) == 0).mean()),
    }


# ---------------------------------------------------------------- running


SECTIONS = {"a": own_null, "b": confounded, "b made": made_confound, "c": pairs_as_samples, "d": small_m}


def run_cell(cell: Cell) -> Rates:
    start = time.perf_counter()
    rejected = SECTIONS[cell.section](cell)
    return Rates(cell, rejected, time.perf_counter() - start)


def plan(part: float) -> list[Cell]:
    """Every cell of the page, the expensive ones first."""

    def times(full: float) -> int:
        return max(10, round(full * part))

    kinds = sorted((k.name for k in CATALOGUE.values() if not k.needs), key=lambda name: name not in SLOW)
    cells = [Cell("a", (k, null), times(REPETITIONS)) for k in kinds for null in NULLS]
    labels = ("0.0", "0.5", "1.0", "families")
    cells += [Cell("b", (k, x), times(1_000)) for k in ("axis_separation", "cohesion") for x in labels]
    cells += [Cell("b made", (b,), times(2_000)) for b in (0.0, 0.3, 0.7)]
    shapes = (("made", 195, 589), ("made", 195, 1022), ("made", 195, 3092), ("demo", 763, 1022))
    cells += [Cell("c", shape, times(1_000)) for shape in shapes]
    return cells + [Cell("d", (m,), times(2_000)) for m in (15, 50, 100)]


def outside(r: Rates) -> bool:
    return not LOW <= r.rejected["p ≤ .05"] <= HIGH


def measure(part: float, processes: int) -> tuple[list[Rates], list[Rates]]:
    """All cells; then the cells of section a that fell outside, again, with another seed and more repetitions."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # read by the workers, which import NumPy anew
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        first = []
        for r in pool.imap(run_cell, plan(part)):
            print(
                f"{r.seconds:6.1f} s  {r.cell.section} {r.cell.arguments} × {r.cell.repetitions}: {r.rejected}",
                flush=True,
            )
            first.append(r)
        stray = [r.cell for r in first if r.cell.section == "a" and outside(r)]
        more = [Cell(c.section, c.arguments, max(10, round(AGAIN * part)), attempt=1) for c in stray]
        return first, list(pool.imap(run_cell, more))


# ---------------------------------------------------------------- the page


def line(*cells: Any) -> str:
    return "| " + " | ".join(str(c) for c in cells) + " |"


def head(*cells: str) -> list[str]:
    return ["", line(*cells), "|" + "---|" * len(cells)]


def prose(text: str) -> list[str]:
    """A paragraph, wrapped, after an empty line."""
    return ["", *textwrap.wrap(" ".join(text.split()), 118, break_long_words=False, break_on_hyphens=False)]


def with_error(r: Rates, name: str) -> str:
    return f"{r.rejected[name]:.4f} ± {r.error(name):.4f}"


def section_a(results: list[Rates], again: list[Rates]) -> list[str]:
    c = demo().covariates
    out = ["", "## Every kind under every null, in the null's own world"]
    out += prose(f"""
        The embedding is the demo cache ({len(c.symbols)} usable genes, {demo().geometry.n_layers} layers) and never changes.
        In each repetition a structure is drawn (gene sets of about {SET}, {PAIRS} graded pairs of a graph with hubs,
        {REGULATORS} regulators × {TARGETS} targets), with a pull towards highly expressed genes and, under family_block,
        with whole families; then its genes are permuted as the null says they may be, by a generator that is not the
        engine's. So labels are exchangeable in the null's own sense and often in no wider one. The test is the full
        scan, max-T over all views of the kind, m = {M}, a new bank in every repetition. P(p ≤ .05) is exactly .05 when no
        two arrangements tie; ties count against rejection.
    """)
    out += head("test kind", "views", "null", "repetitions", "p ≤ .05 (± s.e.)", "p ≤ .01 (± s.e.)", f"in {LOW}–{HIGH}")
    mine = sorted(
        (r for r in results if r.cell.section == "a"), key=lambda r: tuple(CATALOGUE).index(r.cell.arguments[0])
    )
    for r in mine:
        name, null = r.cell.arguments
        views = n_views(CATALOGUE[name], demo().geometry.n_layers, N_AXES)
        verdict = "no" if outside(r) else "yes"
        counts = (with_error(r, "p ≤ .05"), with_error(r, "p ≤ .01"))
        out.append(line(name, views, null, f"{r.cell.repetitions:,}", *counts, verdict))
    rates = [r.rejected["p ≤ .05"] for r in mine]
    error = math.sqrt(ALPHA * (1 - ALPHA) / REPETITIONS)
    chance = 2 * norm.sf((HIGH - ALPHA) / error)
    out += prose(f"""
        Mean over the {len(mine)} cells {np.mean(rates):.4f}, smallest {min(rates):.4f}, largest {max(rates):.4f}. At
        {REPETITIONS:,} repetitions the standard error of an exact test is {error:.4f}, so an exact cell falls outside
        {LOW}–{HIGH} with probability {chance:.3f}, and of {len(mine)} cells {chance * len(mine):.1f} are expected to. A
        cell outside is repeated with another seed and {AGAIN:,} repetitions, and both are printed. Outside: {len(again)}.
    """)
    if again:
        out += head("test kind", "null", "repetitions", "p ≤ .05 (± s.e.)", f"in {LOW}–{HIGH}")
        for r in again:
            counts = (f"{r.cell.repetitions:,}", with_error(r, "p ≤ .05"), "no" if outside(r) else "yes")
            out.append(line(*r.cell.arguments, *counts))
    return out


def section_b(results: list[Rates]) -> list[str]:
    out = ["", "## A confound: labels that lean on expression or on families"]
    out += prose(f"""
        Sets of about {SET} genes that know nothing of the embedding. *Pull w*: genes are drawn with weight exp(w × normal
        score of mean expression); w = 0 is uniform. *Families*: whole families of two to four members, drawn at random.
        The pull is continuous, so strata remove it only up to what varies within a stratum. Same embedding, scan and m
        as above; a claim uses the largest p over its companion nulls.
    """)
    out += head("test kind", "labels", "repetitions", *(f"{n}: p ≤ .05" for n in NULLS), "largest p ≤ .05")
    for r in (r for r in results if r.cell.section == "b"):
        name, labels = r.cell.arguments
        said = labels if labels == "families" else f"pull {labels}"
        out.append(line(name, said, f"{r.cell.repetitions:,}", *(with_error(r, n) for n in (*NULLS, "largest"))))
    out += prose("""
        No single null holds everywhere: stratified ignores families, and family_block matches families of several members
        for expression only coarsely, or not at all where fewer than 20 share their size. The largest p of the three is
        what a claim uses; with nothing to confound (pull 0) it rejects far below .05, which is its cost.
    """)
    out += prose("""
        The same in a made world of 1,000 genes where the strength is known: the only axis is b·expression + √(1 − b²)·noise,
        membership is logistic in expression (slope .8), detection follows expression with noise, test: axis_separation
        on that axis.
    """)
    out += head("b", "repetitions", "gene_label: p ≤ .05", "stratified: p ≤ .05")
    for r in (r for r in results if r.cell.section == "b made"):
        counts = (with_error(r, "gene_label"), with_error(r, "stratified"))
        out.append(line(*r.cell.arguments, f"{r.cell.repetitions:,}", *counts))
    return out


def section_c(results: list[Rates]) -> list[str]:
    out = ["", "## Gene pairs as independent observations"]
    out += prose(f"""
        A pair graph with hubs is laid over the genes at random, so pairs tell nothing about similarity. The statistic is
        one: the rank sum of the pairs' similarities among all pairs. It is judged twice, two-sided: by the Mann–Whitney
        formula, which takes pairs as independent, and by permuting genes over the graph (m = {M}). *Made*: new points in
        three dimensions with unequal norms in every repetition; *demo*: cosine at the last layer of the demo cache.
    """)
    out += head("embedding", "genes", "pairs", "repetitions", "pairs independent: p ≤ .05", "genes permuted: p ≤ .05")
    for r in (r for r in results if r.cell.section == "c"):
        where, n, wanted = r.cell.arguments
        counts = (with_error(r, "pairs independent"), with_error(r, "genes permuted"))
        out.append(line(where, n, f"{wanted:,}", f"{r.cell.repetitions:,}", *counts))
    return out + prose("""
        A gene far from the rest makes all of its pairs far at once; the formula counts each of them as new evidence. This
        is why no test here offers pairs as independent samples.
    """)


def section_d(results: list[Rates]) -> list[str]:
    out = ["", "## k/m against (k + 1)/(m + 1)"]
    out += prose("""
        Without ties k is uniform on 0 … m under the null, so P(k/m ≤ α) = (⌊αm⌋ + 1)/(m + 1) and
        P((k + 1)/(m + 1) ≤ α) = ⌊α(m + 1)⌋/(m + 1). The first two columns are that law at α = .05, the third the
        probability that k/m prints an exact zero, the fourth that at least one of 183 null tests does. Measured:
        axis_separation under gene_label on the demo cache.
    """)
    measured = {r.cell.arguments[0]: r for r in results if r.cell.section == "d"}
    laws = ("k/m ≤ .05", "(k+1)/(m+1) ≤ .05", "k/m = 0", "a zero in 183 tests")
    out += head("m", *laws, "repetitions", "measured k/m", "measured (k+1)/(m+1)", "measured zeros")
    for m in (15, 50, 100, 200, 500, 1000):
        zero = 1 / (m + 1)
        plain = (math.floor(ALPHA * m + 1e-9) + 1) / (m + 1)
        kept = math.floor(ALPHA * (m + 1) + 1e-9) / (m + 1)
        law = (f"{plain:.4f}", f"{kept:.4f}", f"{zero:.4f}", f"{1 - (1 - zero) ** 183:.3f}")
        seen: tuple[str, ...] = ("", "", "", "")
        if m in measured:
            r = measured[m]
            seen = (f"{r.cell.repetitions:,}", *(with_error(r, n) for n in ("k/m", "(k+1)/(m+1)", "zero")))
        out.append(line(m, *law, *seen))
    return out


def page(results: list[Rates], again: list[Rates], date: str) -> str:
    out = ["<!-- Made by benchmarks/calibration.py. Do not edit. -->", "", "# Calibration"]
    out += prose(f"""
        How often a test says p ≤ .05 when nothing is there, measured {date} by `benchmarks/calibration.py`. Rates are
        printed with their Monte-Carlo standard error. Seeds are fixed: the same code prints the same page.
    """)
    out += section_a(results, again) + section_b(results) + section_c(results) + section_d(results)
    out += ["", "## How to make this page again", "", "```", "python benchmarks/calibration.py", "```"]
    out += prose(
        "About 14 minutes of processor time, over two processes; a busy machine takes longer. `--share 0.05` is a quick look."
    )
    return "\n".join(out) + "\n"


def main() -> int:
    """Measure and write the page; returns the exit code."""
    arguments = argparse.ArgumentParser(description="Write docs/calibration.md.")
    arguments.add_argument("--share", type=float, default=1.0, help="share of the repetitions")
    arguments.add_argument("--processes", type=int, default=2, help="worker processes")
    arguments.add_argument("--out", type=Path, help="page to write (default: docs/calibration.md, if --share is 1)")
    arguments.add_argument("--date", default="2026-11-23", help="date printed on the page")
    given = arguments.parse_args()
    start = time.perf_counter()
    results, again = measure(given.share, given.processes)
    text = page(results, again, given.date)
    out = given.out or (ROOT / "docs" / "calibration.md" if given.share == 1 else None)
    if out is not None:
        out.write_text(text, encoding="utf-8")
    print(text)
    print(f"{time.perf_counter() - start:.0f} s with {given.processes} processes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
