"""Worlds for the nulls every test has, for ``calibration.py``: the demo cache, and labels that lean on what they may lean on.

Labels are drawn by NumPy's generator, never by the engine's. What a null calls exchangeable is computed here from its
rule (:func:`hyposcreen.tests_library.nulls.exchange`) and permuted here.
"""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from hyposcreen.embeddings_cache.families import gene_families
from hyposcreen.embeddings_cache.store import open_cache
from hyposcreen.tests_library.catalogue import N_AXES
from hyposcreen.tests_library.nulls import exchange, study_load
from hyposcreen.tests_library.run import Covariates
from hyposcreen.tests_library.spaces import Geometry, pair_ranks, quantise
from hyposcreen.tests_library.statistics.base import Entity, TestKind

ROOT = Path(__file__).resolve().parents[1]
SET, PAIRS, REGULATORS, TARGETS, POOL = 20, 60, 8, 8, 100
"""Members of a set, pairs, regulators and targets of each; regulators are drawn from a pool whose tables are then kept."""
Rng = np.random.Generator


@dataclass(frozen=True, eq=False)
class World:
    """An embedding that never changes while labels are drawn anew."""

    geometry: Geometry
    covariates: Covariates
    rank: NDArray[np.float64]
    """Normal scores of mean expression, [n]."""


@dataclass(frozen=True, eq=False)
class Case:
    """What one repetition tests: an entity on a geometry, and the covariates its nulls read."""

    geometry: Geometry
    covariates: Covariates
    entity: Entity


@cache
def demo() -> World:
    """The demo cache: all usable genes, all layers, the grammar's ten axes; no study load."""
    cached = open_cache(ROOT / "embeddings_cache" / "demo" / "cache")
    usable = np.flatnonzero(cached.genes.usable).astype(np.int64)
    families = gene_families(cached.genes.symbol)
    geometry = Geometry(cached.layers, usable, usable, families, N_AXES)
    symbols = tuple(cached.genes.symbol[r] for r in usable)
    expression = np.asarray(cached.genes.mean_expression)[usable]
    kin = tuple(families[r] for r in usable)
    covariates = Covariates(symbols, expression, np.asarray(cached.genes.detection)[usable], kin)
    return World(geometry, covariates, normal_scores(expression))


def normal_scores(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard normal quantiles of the mid-ranks, float64 [n]."""
    return np.asarray(norm.ppf((rankdata(values) - 0.5) / len(values)))


# ---------------------------------------------------------------- labels that a null calls exchangeable


@cache
def made_load() -> NDArray[np.int64]:
    """A study load for the demo's genes, int64 [n]: made annotation counts and degrees, higher for expressed genes."""
    rng = np.random.default_rng(0)
    fame = 0.5 * demo().rank + 0.7 * rng.standard_normal(demo().geometry.n)
    return study_load(rng.poisson(np.exp(1 + fame)).astype(np.int64), rng.poisson(np.exp(0.5 + fame)).astype(np.int64))


@cache
def exchangeable(null: str, loaded: bool) -> list[NDArray[np.int64]]:
    """What the null lets trade places in the demo cache: for each stratum its units as rows of genes, int64 [units, size]."""
    c = demo().covariates
    rule = exchange(null, c.expression, c.detection, c.families, made_load() if loaded else None)
    units = np.arange(len(rule.strata)) if rule.units is None else rule.units
    genes = [np.flatnonzero(units == u) for u in range(int(units.max()) + 1)]
    stratum = np.array([rule.strata[g[0]] for g in genes])
    return [np.stack([genes[u] for u in np.flatnonzero(stratum == s)]) for s in np.unique(stratum)]


def relabelled(null: str, loaded: bool, rng: Rng) -> NDArray[np.int64]:
    """A permutation of the demo's genes that ``null`` calls exchangeable, int64 [n]."""
    out = np.empty(demo().geometry.n, dtype=np.int64)
    for rows in exchangeable(null, loaded):
        out[rows] = rows[rng.permutation(len(rows))]
    return out


def weighted_genes(score: NDArray[np.float64], size: int, pull: float, rng: Rng) -> NDArray[np.int64]:
    """``size`` genes, drawn with weight exp(pull × score)."""
    weight = np.exp(pull * score)
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


def null_case(kind: TestKind, null: str, loaded: bool, rng: Rng) -> Case:
    """Labels that are exchangeable as ``null`` says and, where it allows, tied to expression, families and study load.

    A structure is drawn with a pull towards expressed genes (with ``loaded``: and towards well-studied ones); its genes are
    then replaced by a permutation of the null's own kind. A gene's study load comes from its labels, so it moves with them.
    """
    world = demo()
    move = relabelled(null, loaded, rng)
    score = world.rank + normal_scores(made_load()) if loaded else world.rank
    entity = null_entity(kind, null, move, score, rng)
    if not loaded:
        return Case(world.geometry, world.covariates, entity)
    load = np.empty_like(made_load())
    load[move] = made_load()
    c = world.covariates
    return Case(world.geometry, Covariates(c.symbols, c.expression, c.detection, c.families, load), entity)


def null_entity(kind: TestKind, null: str, move: NDArray[np.int64], score: NDArray[np.float64], rng: Rng) -> Entity:
    """A structure that leans on ``score`` [n] (gene sets under family_block: half of it whole families), then moved."""
    world, n = demo(), len(move)
    if kind.entity == "gene_set":
        base = weighted_genes(score, SET, 1.0, rng)
        if null == "family_block":
            base = np.union1d(weighted_genes(score, SET // 2, 1.0, rng), whole_families(world, SET // 2, rng))
        return Entity("gene_set", members=np.sort(move[base]))
    if kind.entity == "gene_pairs":
        pairs = move[hub_pairs(n, PAIRS, rng)]
        return Entity("gene_pairs", pairs=pairs, grades=rng.integers(400, 1000, len(pairs)).astype(np.int64))
    rows = world.geometry.universe[rng.choice(POOL, REGULATORS, replace=False)]
    edges = [(int(r), int(t)) for r in rows for t in move[weighted_genes(score, TARGETS, 1.0, rng)]]
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


# ---------------------------------------------------------------- worlds with nothing but a confound


def one_axis(strength: float, cause: NDArray[np.float64], rng: Rng) -> Geometry:
    """One layer of n genes whose only axis is strength·cause + √(1 − strength²)·noise; ``cause`` float64 [n], variance 1."""
    n = len(cause)
    X = 0.5 * rng.standard_normal((n, 8))
    X[:, 0] = 4 * (strength * cause + math.sqrt(1 - strength * strength) * rng.standard_normal(n))
    everyone = np.arange(n)
    return Geometry([X.astype(np.float32)], everyone, everyone, [str(i) for i in everyone], 1)


def leaning_members(cause: NDArray[np.float64], rng: Rng) -> NDArray[np.int64]:
    """Genes in a set with probability logistic in ``cause``: slope .8, about 5 % of all."""
    return np.flatnonzero(rng.random(len(cause)) < 1 / (1 + np.exp(3.2 - 0.8 * cause)))


def expression_confound(strength: float, rng: Rng) -> Case:
    """The axis and the labels both follow expression, and nothing else; detection follows expression with noise."""
    expression = rng.standard_normal(1_000)
    geometry, members = one_axis(strength, expression, rng), leaning_members(expression, rng)
    detection = 1 / (1 + np.exp(-expression)) + 0.05 * rng.standard_normal(1_000)
    names = tuple(str(i) for i in range(1_000))
    return Case(geometry, Covariates(names, expression, detection), Entity("gene_set", members=members))


def load_confound(strength: float, rng: Rng) -> tuple[Case, Covariates]:
    """The axis and the labels both follow study load, and nothing else; also the covariates with that load."""
    fame, n = rng.standard_normal(1_000), 1_000
    load = study_load(*(rng.poisson(np.exp(a + fame)).astype(np.int64) for a in (1.5, 1.0)))
    cause = normal_scores(load)
    geometry, members = one_axis(strength, cause, rng), leaning_members(cause, rng)
    plain = (tuple(str(i) for i in range(n)), rng.standard_normal(n), rng.standard_normal(n))
    return Case(geometry, Covariates(*plain), Entity("gene_set", members=members)), Covariates(*plain, load=load)


def made_pair_ranks(n: int, rng: Rng) -> NDArray[np.int32]:
    """Ranks of Euclidean closeness between n points in three dimensions with unequal norms, int32 [n, n, 1]."""
    X = rng.standard_normal((n, 3)) * np.exp(0.5 * rng.standard_normal((n, 1)))
    distance = np.sqrt(((X[:, None] - X[None]) ** 2).sum(axis=2))
    return pair_ranks(quantise(-distance.reshape(-1, 1)).reshape(n, n))[:, :, None]
