"""Gene sets on spectral axes: separation along an axis, and enrichment at its poles."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..engine.kernels import Arrangements, set_sums
from ..engine.rotation import rotated_ranks, rotations, white
from ..spaces import Geometry, pole_edge
from .base import Entity, OwnDraws, Prepared, TestKind, View, affine
from .coordinates import AXES, POLES

_AT_ONCE = 64
"""Rotations whose ranks are held at once."""


def _prepare_separation(geometry: Geometry, entity: Entity) -> Prepared:
    members = entity.need_members()
    m, n = len(members), geometry.n
    table = geometry.remember("axis table", lambda: _rank_table(geometry))
    views = tuple(View(f"L{q}", f"SV{k + 1}") for q in range(geometry.n_layers) for k in range(geometry.n_axes))

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return set_sums(table, members, arrangements)

    own = {"random_axis": random_axis(geometry, members, lambda ranks: ranks.sum(axis=1, dtype=np.int64))}
    return Prepared(views, sums, *affine(len(views), 1 / (2 * m * max(1, n - m)), 0.5), own)


def _prepare_poles(geometry: Geometry, entity: Entity) -> Prepared:
    members = entity.need_members()
    table = geometry.remember("pole table", lambda: _pole_table(geometry))
    views = tuple(
        View(f"L{q}", f"SV{k + 1}{pole}")
        for q in range(geometry.n_layers)
        for pole in "+-"
        for k in range(geometry.n_axes)
    )

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return set_sums(table, members, arrangements)

    def in_poles(ranks: NDArray[np.int16]) -> NDArray[np.int64]:
        edge, axes = pole_edge(geometry.n), geometry.n_axes
        top, bottom = ((sign * ranks >= edge).sum(axis=1, dtype=np.int64) for sign in (1, -1))
        halves = [part[:, q * axes : (q + 1) * axes] for q in range(geometry.n_layers) for part in (top, bottom)]
        return np.concatenate(halves, axis=1)

    own = {"random_axis": random_axis(geometry, members, in_poles)}
    return Prepared(views, sums, *affine(len(views), 1 / len(members), 0.0), own)


def random_axis(
    geometry: Geometry, genes: NDArray[np.int64], statistic: Callable[[NDArray[np.int16]], NDArray[np.int64]]
) -> OwnDraws:
    """The draws of the random-axis null: ``statistic`` of the ranks [P, g, L·k] of ``genes`` on rotated axes, int64 [P, V]."""
    scores = geometry.remember(
        "white axes", lambda: np.stack([white(geometry.local_axes(q)) for q in range(geometry.n_layers)])
    )

    def draw(key: tuple[int, int], start: int, stop: int) -> NDArray[np.int64]:
        few = ((a, min(a + _AT_ONCE, stop)) for a in range(start, stop, _AT_ONCE))
        return np.concatenate([statistic(_ranks(geometry, scores, key, a, b)[:, genes]) for a, b in few])

    return draw


def _ranks(
    geometry: Geometry, scores: NDArray[np.int64], key: tuple[int, int], start: int, stop: int
) -> NDArray[np.int16]:
    """Ranks [P, n, L·k] on the axes of draws ``start … stop−1``; every set of the universe reads the same, so they are kept."""
    return geometry.rotated.get(
        (key, start, stop), lambda: rotated_ranks(scores, rotations(key, start, stop, geometry.n_axes))
    )


def _rank_table(geometry: Geometry) -> NDArray[np.int32]:
    return np.ascontiguousarray(np.concatenate([geometry.axis_ranks(q) for q in range(geometry.n_layers)], axis=1))


def _pole_table(geometry: Geometry) -> NDArray[np.int32]:
    halves = [
        np.concatenate([geometry.poles(q) == 1, geometry.poles(q) == -1], axis=1) for q in range(geometry.n_layers)
    ]
    return np.ascontiguousarray(np.concatenate(halves, axis=1), dtype=np.int32)


AXIS_SEPARATION = TestKind(
    name="axis_separation",
    family="axis",
    entity="gene_set",
    alternative="two-sided",
    effect_unit="AUROC",
    coordinates=AXES,
    min_size=5,
    asks="Do the genes of the set lie to one side of a spectral axis of the layer?",
    formula="T = Σ_{i∈S} (2·rank(score_i) − (n + 1)); AUROC = 1/2 + T / (2·m·(n − m))",
    null_preserves="the axis, the set size, overlaps between sets; strata in the stratified null",
    assumes="labels exchangeable over genes (within strata); any dependence between views and sets",
    source="Mann & Whitney 1947; max-T: Westfall & Young 1993",
    prepare=_prepare_separation,
    nulls=("random_axis",),
)

POLE_ENRICHMENT = TestKind(
    name="pole_enrichment",
    family="axis",
    entity="gene_set",
    alternative="greater",
    effect_unit="fraction in pole",
    coordinates=POLES,
    min_size=5,
    asks="Is the set over-represented in the top or the bottom quarter of a spectral axis?",
    formula="T = |S ∩ pole|, pole = n // 4 genes with the largest (+) or smallest (−) score; effect = T / m",
    null_preserves="the pole, the set size; unstratified, T is hypergeometric (Fisher's exact test)",
    assumes="labels exchangeable over genes (within strata)",
    source="Fisher 1922; one-sided, both poles scanned as separate views",
    prepare=_prepare_poles,
    nulls=("random_axis",),
)
