"""Gene sets as shapes: persistent homology of their points on the unit sphere, in degrees 0 and 1."""

import numpy as np
from numpy.typing import NDArray

from ..engine.homology import BITS, chords, loop_finder, loop_lengths, tree_lengths
from ..engine.jit import as_numpy
from ..engine.kernels import Arrangements
from ..engine.philox import philox_words
from ..spaces import Geometry
from .base import Entity, Prepared, TestKind, View, affine
from .coordinates import fixed

LARGEST_SET = 60
"""Genes that persistence_h1 looks at. Its work grows with about the fourth power of their number."""
_SAMPLE_KEY = (0x73616D70, 0x6C653630)
_SAMPLE_PURPOSE = 4


def _chord_table(geometry: Geometry) -> NDArray[np.int32]:
    return geometry.remember(
        "chords", lambda: np.stack([chords(geometry.cosine(q)) for q in range(geometry.n_layers)], axis=2)
    )


def _views(geometry: Geometry) -> tuple[View, ...]:
    return tuple(View(f"L{q}", "chord") for q in range(geometry.n_layers))


def _prepare_h0(geometry: Geometry, entity: Entity) -> Prepared:
    members, table = entity.need_members(), _chord_table(geometry)

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return tree_lengths(table, members, arrangements)

    return Prepared(_views(geometry), sums, *affine(geometry.n_layers, 2.0**-BITS / (len(members) - 1), 0.0))


def _prepare_h1(geometry: Geometry, entity: Entity) -> Prepared:
    members, table, find = looked_at(entity.need_members()), _chord_table(geometry), loop_finder()

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return loop_lengths(table, members, arrangements, find)

    return Prepared(_views(geometry), sums, *affine(geometry.n_layers, 2.0**-BITS, 0.0))


def looked_at(members: NDArray[np.int64]) -> NDArray[np.int64]:
    """The members themselves, or 60 of a larger set: those with the smallest Philox word of their position, in order.

    Which they are depends on the positions of the members in the universe alone. The sample is drawn once and then
    permuted like any set, so the test is exact; it is a test of those genes.
    """
    if len(members) <= LARGEST_SET:
        return members
    c1, c2, c3, k0, k1 = (np.full(1, v, np.uint64) for v in (0, 0, _SAMPLE_PURPOSE, *_SAMPLE_KEY))
    words = as_numpy(philox_words)(members.astype(np.uint64), c1, c2, c3, k0, k1)
    return np.sort(members[np.lexsort((words[1], words[0]))[:LARGEST_SET]])


_FILTRATION = "Vietoris–Rips filtration of the set's points by chord distance √(2 − 2·cos), in whole units of 2⁻²⁰"
_NULL = "the similarity matrix, and the set size, on which the number of bars depends"
_ASSUMES = "labels exchangeable over genes (within strata)"

PERSISTENCE_H0 = TestKind(
    name="persistence_h0",
    family="topology",
    entity="gene_set",
    alternative="two-sided",
    effect_unit="chord",
    coordinates=fixed("chord"),
    min_size=5,
    asks="Is the set strung together by shorter or longer steps than other sets of its size?",
    formula=f"T = total length of the m − 1 bars in degree 0, the minimum spanning tree; effect = T / (m − 1); {_FILTRATION}",
    null_preserves=_NULL,
    assumes=_ASSUMES,
    source="Edelsbrunner & Harer 2010; spanning tree of a subset as a test: Friedman & Rafsky 1979",
    prepare=_prepare_h0,
    universe=False,
)

PERSISTENCE_H1 = TestKind(
    name="persistence_h1",
    family="topology",
    entity="gene_set",
    alternative="two-sided",
    effect_unit="chord",
    coordinates=fixed("chord"),
    min_size=10,
    asks="Do the points of the set lie around loops, more or less than those of other sets of its size?",
    formula=f"T = total length of the bars in degree 1 over ℤ/2; {_FILTRATION}",
    null_preserves=_NULL,
    assumes=f"{_ASSUMES}; a set of more than {LARGEST_SET} genes is represented by {LARGEST_SET} of them, which a fixed "
    "pseudo-random order of positions chooses once, and the row speaks of those",
    source="Edelsbrunner & Harer 2010; computed by Ripser (Bauer 2021) in gudhi",
    prepare=_prepare_h1,
    universe=False,
    staged=True,
)
