"""The worlds of ``core_worlds.py``: a relabelled demo cache, what may be said of it, and a searcher that reads everything.

No ledger, no file and no process inside a world; everything free of labels is made once a process (:func:`core`).
"""

import tempfile
from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyposcreen.agent.config import Config
from hyposcreen.agent.project import Side, open_project
from hyposcreen.embeddings_cache.families import gene_families
from hyposcreen.tests_library.catalogue import CATALOGUE, coordinate_options, layer_options, scanned_views
from hyposcreen.tests_library.engine.bank import BLOCK
from hyposcreen.tests_library.engine.maxt import exceedances, moments, p_value, standardise
from hyposcreen.tests_library.multiplicity import largest_over_nulls
from hyposcreen.tests_library.nulls import NULLS, like_genes, study_load
from hyposcreen.tests_library.run import Covariates, NullScan, scan
from hyposcreen.tests_library.sequential import rungs
from hyposcreen.tests_library.spaces import Geometry
from hyposcreen.tests_library.statistics.base import Entity, View
from hyposcreen.tests_library.worlds import confounded_world, null_world

KINDS = ("axis_separation", "cohesion", "pole_enrichment")
SETS, LARGEST, LAYERS, AXES = 20, 32, (0, 4), 5
TESTS, WIDE_IN_A_ROW = 183, 2
M_EXPLORE, M_LOOK = 3_999, 199
SEED = 20261123


# ---------------------------------------------------------------- what never changes


@dataclass(frozen=True, eq=False)
class Universe:
    """One side: its cache rows, geometry and covariates without study load."""

    rows: NDArray[np.int64]
    geometry: Geometry
    covariates: Covariates


@dataclass(frozen=True, eq=False)
class Core:
    """Everything free of labels, made once a process; ``sets`` are cache rows before any relabelling."""

    sets: Mapping[str, NDArray[np.int64]]
    studied: frozenset[str]
    """Sets that count towards a gene's study load (controls do not)."""
    usable: NDArray[np.int64]
    symbols: tuple[str, ...]
    expression: NDArray[np.float64]
    strata: NDArray[np.int64]
    """Of the usable genes: what a null world permutes within."""
    sides: Mapping[Side, Universe]
    cache_rows: int
    digest: str


@cache
def core() -> Core:
    """The demo cache, its split and some of its gene sets, reduced as the page says."""
    with tempfile.TemporaryDirectory() as folder:
        project = open_project(Path(folder), Config())
    genes, cached = project.cache.genes, project.cache
    usable = np.flatnonzero(project.split >= 0).astype(np.int64)
    families = gene_families(genes.symbol)
    layers = [cached.layers[q] for q in LAYERS]
    shared: dict[Any, Any] = {}
    sides = {}
    for side in Side:
        rows = project.rows(side, None)
        covariates = Covariates(
            tuple(genes.symbol[r] for r in rows),
            np.asarray(genes.mean_expression)[rows],
            np.asarray(genes.detection)[rows],
            tuple(families[r] for r in rows),
            matched=project.matched(side, None),
        )
        sides[side] = Universe(rows, Geometry(layers, usable, rows, families, AXES, shared), covariates)
    plain = [a for a in project.annotations.values() if a.kind == "gene_set" and a.background is None]
    chosen = [a for a in plain if len(project.labelled_rows(a.name)) <= LARGEST][:SETS]
    expression = np.asarray(genes.mean_expression)[usable]
    return Core(
        sets={a.name: project.labelled_rows(a.name) for a in chosen},
        studied=frozenset(a.name for a in chosen if a.role != "negative_control"),
        usable=usable,
        symbols=tuple(genes.symbol[r] for r in usable),
        expression=expression,
        strata=like_genes(expression, np.asarray(genes.detection)[usable]),
        sides=sides,
        cache_rows=len(project.split),
        digest=cached.digest,
    )


def relabelling(kind: str, number: int) -> NDArray[np.int64]:
    """Gene ``world[i]`` carries the labels of gene i: a permutation of cache rows within the usable ones, int64 [genes]."""
    c = core()
    if kind == "null":
        local = null_world(number, SEED, c.symbols, c.strata)
    else:
        count = np.zeros(c.cache_rows, dtype=np.int64)
        for rows in c.sets.values():
            count[rows] += 1
        local = confounded_world(number, SEED, c.symbols, c.strata, c.expression, count[c.usable])
    world = np.arange(c.cache_rows, dtype=np.int64)
    world[c.usable] = c.usable[local]
    return world


# ---------------------------------------------------------------- one world


@dataclass(frozen=True, order=True)
class Sentence:
    """What a searcher may say: a kind, a set, and which of the views it scans."""

    test: str
    name: str
    layers: str = "all"
    coordinates: str = "all"

    @property
    def id(self) -> str:
        """Unique in a world."""
        return f"{self.test}({self.name}) {self.layers} {self.coordinates}"

    @property
    def wide(self) -> bool:
        """Whether it scans every view of its kind."""
        return self.layers == self.coordinates == "all"

    @property
    def views(self) -> frozenset[View]:
        """The views it scans."""
        return _views(self.test, self.layers, self.coordinates)


@cache
def _views(test: str, layers: str, coordinates: str) -> frozenset[View]:
    return scanned_views(CATALOGUE[test], len(LAYERS), AXES, layers, coordinates)


@dataclass(frozen=True)
class Seen:
    """What the searcher is shown of a sentence on genes A, under the null that speaks for it."""

    sentence: Sentence
    p: float
    statistic: float
    best: View
    p_best: float
    """p of the best view alone, not corrected for the scan."""


class World:
    """One relabelled world: entities and covariates of each side, and every scan made in it.

    ``labels`` is a relabelling of cache rows. ``seed`` belongs to the world: had all worlds the same arrangements, their
    errors would not be independent, and their mean would be that of one bank.
    """

    def __init__(self, labels: NDArray[np.int64], seed: int) -> None:
        self.labels, self.seed = labels, seed
        self._totals: dict[tuple[str, str, str], NDArray[np.int64]] = {}
        self._scores: dict[tuple[tuple[str, str, str], int], NDArray[np.float64]] = {}
        self._seen: dict[tuple[Sentence, str], Seen] = {}
        for side in core().sides.values():
            side.geometry.forget_draws()  # of the last world

    @cached_property
    def members(self) -> Mapping[Side, Mapping[str, NDArray[np.int64]]]:
        """Positions of each set's members in the universe of each side."""
        out = {}
        for side, universe in core().sides.items():
            place = np.full(core().cache_rows, -1, dtype=np.int64)
            place[universe.rows] = np.arange(len(universe.rows))
            local = {name: np.sort(place[self.labels[rows]]) for name, rows in core().sets.items()}
            out[side] = {name: rows[rows >= 0] for name, rows in local.items()}
        return out

    @cached_property
    def covariates(self) -> Mapping[Side, Covariates]:
        """Covariates of each side with the study load of this world's labels."""
        out = {}
        for side, universe in core().sides.items():
            count = np.zeros(len(universe.rows), dtype=np.int64)
            for name in core().studied:
                count[self.members[side][name]] += 1
            out[side] = replace(universe.covariates, load=study_load(count, np.zeros_like(count)))
        return out

    @cached_property
    def combinations(self) -> tuple[Sentence, ...]:
        """The wide sentence of every (kind, set) that is testable on genes A; Route U covers exactly these."""
        on_a = self.members[Side.EXPLORE]
        return tuple(Sentence(t, s) for s in core().sets for t in KINDS if len(on_a[s]) >= CATALOGUE[t].min_size)

    def entity(self, side: Side, name: str) -> Entity:
        return Entity("gene_set", members=self.members[side][name])

    def explore(self, sentence: Sentence, nulls: Sequence[str]) -> Seen:
        """The row on genes A: the null with the largest p speaks; each null stops early where the row is nothing."""
        by_null = {null: self._explore(sentence, null) for null in nulls}
        null, _ = largest_over_nulls({name: seen.p for name, seen in by_null.items()})
        return by_null[null]

    def _explore(self, sentence: Sentence, null: str) -> Seen:
        if (sentence, null) not in self._seen:
            views = all_views(sentence.test)
            columns = [v for v, view in enumerate(views) if view in sentence.views]
            for rung in rungs(M_EXPLORE):
                z = self._z(sentence, null, rung.draws)
                maximum = z[:, columns].max(axis=1)
                p = p_value(exceedances(maximum), rung.draws)
                if p > rung.stop_above:
                    break
            best = columns[int(np.argmax(z[0, columns]))]
            p_best = p_value(exceedances(z[:, best]), rung.draws)
            self._seen[(sentence, null)] = Seen(sentence, p, float(maximum[0]), views[best], p_best)
        return self._seen[(sentence, null)]

    def _z(self, sentence: Sentence, null: str, m: int) -> NDArray[np.float64]:
        """Standardised statistics of every view of the kind over m + 1 arrangements, float64 [m + 1, V]."""
        name = (sentence.test, sentence.name, null)
        if (name, m) not in self._scores:
            before = self._totals.get(name, np.empty((0, len(all_views(sentence.test))), np.int64))
            ranges = [(a, min(a + BLOCK, m + 1)) for a in range(len(before), m + 1, BLOCK)]
            self._totals[name] = np.concatenate([before, *(self._sums(name, a, b) for a, b in ranges)])
            alternative = CATALOGUE[sentence.test].alternative
            self._scores[(name, m)] = standardise(self._totals[name], moments(self._totals[name]), alternative)
        return self._scores[(name, m)]

    def _sums(self, name: tuple[str, str, str], start: int, stop: int) -> NDArray[np.int64]:
        test, annotation, null = name
        geometry = core().sides[Side.EXPLORE].geometry
        sums = CATALOGUE[test].prepare(geometry, self.entity(Side.EXPLORE, annotation)).sums
        return sums(geometry.banks.get(self.covariates[Side.EXPLORE].bank(null, self.seed), start, stop))

    def scan(self, side: Side, wide: Sentence, said: Iterable[Sentence]) -> tuple[NullScan, ...]:
        """run.scan of one combination on one side under every null; its subsets are the sentences' ids."""
        return scan(
            core().sides[side].geometry, self.covariates[side], CATALOGUE[wide.test], self.entity(side, wide.name),
            subsets={s.id: s.views for s in said}, nulls=tuple(NULLS), m=M_LOOK, seed=self.seed,
        )  # fmt: skip


@cache
def all_views(test: str) -> tuple[View, ...]:
    """Views of a kind in the order of its columns."""
    some = Entity("gene_set", members=np.arange(5))
    return CATALOGUE[test].prepare(core().sides[Side.EXPLORE].geometry, some).views


# ---------------------------------------------------------------- the searcher


def search(world: World, nulls: Sequence[str], rng: np.random.Generator) -> list[Seen]:
    """What a greedy searcher says with full feedback on genes A, in order, at most 183 rows.

    After every second combination, said in random order with all its views, it takes the most extreme row so far and
    narrows it: to its best view, to the layer of that, to the coordinate of that. So it keeps what looks good, sheds the
    correction for the scan, and asks again.
    """
    rows: list[Seen] = []
    ranked: list[Seen] = []
    said: set[Sentence] = set()

    def say(sentence: Sentence) -> None:
        said.add(sentence)
        rows.append(world.explore(sentence, nulls))
        insort(ranked, rows[-1], key=_extreme)

    waiting = [world.combinations[i] for i in rng.permutation(len(world.combinations))]
    while len(rows) < TESTS and (waiting or ranked):
        for sentence in waiting[:WIDE_IN_A_ROW]:
            say(sentence)
        del waiting[:WIDE_IN_A_ROW]
        while ranked:
            closer = next((s for s in narrower(ranked[0].sentence, ranked[0].best) if s not in said), None)
            if closer is not None:
                say(closer)
                break
            del ranked[0]  # everything around it is said
    return rows[:TESTS]


def _extreme(seen: Seen) -> tuple[float, float, str]:
    return seen.p, -seen.statistic, seen.sentence.id


@lru_cache(1 << 14)
def narrower(s: Sentence, best: View) -> tuple[Sentence, ...]:
    """The narrower sentences around the best view of a row."""
    choices = [(best.layer, best.coordinate), (best.layer, s.coordinates), (s.layers, best.coordinate)]
    kind = CATALOGUE[s.test]
    known = layer_options(kind, len(LAYERS)), coordinate_options(kind, len(LAYERS), AXES)
    found = [replace(s, layers=a, coordinates=b if b in known[1] else "all") for a, b in choices]
    return tuple(f for f in found if f.views < s.views)
