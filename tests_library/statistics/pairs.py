"""Gene pairs: co-pole rate, poles shared over the axes of a window, distance contrast and graded gradient.

Partners that are alike in every direction share poles of any axis. A claim about poles must therefore also beat random
axes, which keep the pairs and turn the axes.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..engine.kernels import Arrangements, pair_sums, same_pole_counts
from ..spaces import Geometry, centred_ranks, pole_edge
from .axis import random_axis
from .base import Entity, Prepared, TestKind, View, affine
from .coordinates import AXES, WINDOW, fixed, windows


def _prepare_copole(geometry: Geometry, entity: Entity) -> Prepared:
    pairs = entity.need_pairs()
    table = geometry.remember("co-pole table", lambda: _pole_columns(geometry))
    views = tuple(View(f"L{q}", f"SV{k + 1}") for q in range(geometry.n_layers) for k in range(geometry.n_axes))

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return same_pole_counts(table, pairs, arrangements)

    own = {"random_axis": random_axis(geometry, *_on_rotated_axes(geometry, pairs))}
    return Prepared(views, sums, *affine(len(views), 1 / len(pairs), 0.0), own)


def _pole_columns(geometry: Geometry) -> NDArray[np.int8]:
    return np.ascontiguousarray(np.concatenate([geometry.poles(q) for q in range(geometry.n_layers)], axis=1))


def _on_rotated_axes(
    geometry: Geometry, pairs: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Callable[[NDArray[np.int16]], NDArray[np.int64]]]:
    """The paired genes, int64 [g], and their co-pole counts [P, L·k] from their ranks [P, g, L·k] on rotated axes."""
    genes, inverse = np.unique(pairs, return_inverse=True)
    local = inverse.reshape(pairs.shape).astype(np.int64)
    edge = pole_edge(geometry.n)
    once = np.arange(len(genes), dtype=np.int32)[None]

    def counts(ranks: NDArray[np.int16]) -> NDArray[np.int64]:
        draws, _, axes = ranks.shape
        pole = (ranks >= edge).astype(np.int8) - (ranks <= -edge).astype(np.int8)
        side_by_side = np.ascontiguousarray(pole.transpose(1, 0, 2)).reshape(len(genes), draws * axes)
        return same_pole_counts(side_by_side, local, once).reshape(draws, axes)

    return genes, counts


def _prepare_shared_poles(geometry: Geometry, entity: Entity) -> Prepared:
    pairs = entity.need_pairs()
    table = geometry.remember("co-pole table", lambda: _pole_columns(geometry))
    spans = windows(geometry.n_axes)
    views = tuple(View(f"L{q}", f"SV{a}-{b}") for q in range(geometry.n_layers) for a, b in spans)

    def by_window(counts: NDArray[np.int64]) -> NDArray[np.int64]:
        by_axis = counts.reshape(-1, geometry.n_layers, geometry.n_axes)
        sums = np.stack([by_axis[:, :, a - 1 : b].sum(axis=2) for a, b in spans], axis=2)
        return sums.reshape(len(counts), len(views))

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return by_window(same_pole_counts(table, pairs, arrangements))

    genes, counts = _on_rotated_axes(geometry, pairs)
    own = {"random_axis": random_axis(geometry, genes, lambda ranks: by_window(counts(ranks)))}
    return Prepared(views, sums, *affine(len(views), 1 / len(pairs), 0.0), own)


def _prepare_proximity(geometry: Geometry, entity: Entity) -> Prepared:
    pairs = entity.need_pairs()
    table = geometry.pair_ranks()
    views = tuple(View(f"L{q}", "cosine") for q in range(geometry.n_layers))
    ones = np.ones(len(pairs), np.int64)
    others = geometry.n * (geometry.n - 1) // 2 - len(pairs)

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return pair_sums(table, pairs, ones, arrangements)

    return Prepared(views, sums, *affine(len(views), 1 / (2 * len(pairs) * max(1, others)), 0.5))


def _prepare_gradient(geometry: Geometry, entity: Entity) -> Prepared:
    pairs = entity.need_pairs()
    if entity.grades is None:
        raise ValueError("a graded gradient needs graded pairs; this annotation has no grades")
    weights = centred_ranks(entity.grades[:, None])[:, 0].astype(np.int64)
    table = geometry.pair_ranks()
    views = tuple(View(f"L{q}", "cosine") for q in range(geometry.n_layers))
    total = geometry.n * (geometry.n - 1) // 2
    # slope of the similarity quantile (rank / number of pairs) on the grade quantile
    spread = max(1, int((weights**2).sum()))
    scale = len(pairs) / total / spread

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return pair_sums(table, pairs, weights, arrangements)

    return Prepared(views, sums, *affine(len(views), scale, 0.0))


COPOLE_RATE = TestKind(
    name="copole_rate",
    family="pairs",
    entity="gene_pairs",
    alternative="greater",
    effect_unit="co-pole rate",
    coordinates=AXES,
    min_size=10,
    asks="Do paired genes lie in the same pole of a spectral axis more often than other genes do?",
    formula="T = Σ_{(i,j)} [pole_i · pole_j = 1], poles = outer quarters by mid-rank; effect = T / pairs",
    null_preserves="each gene's number of pairs and the whole pair graph; genes are permuted, never pairs",
    assumes="genes exchangeable as carriers of the pair graph's nodes (within strata)",
    source="co-pole definition: arXiv:2602.22247; permutation of nodes: QAP, Hubert & Schultz 1976",
    prepare=_prepare_copole,
    nulls=("random_axis",),
)

GRADED_GRADIENT = TestKind(
    name="graded_gradient",
    family="pairs",
    entity="gene_pairs",
    alternative="greater",
    effect_unit="rank slope",
    coordinates=fixed("cosine"),
    min_size=20,
    asks="Are pairs with a higher grade of evidence more similar than pairs with a lower grade?",
    formula="T = Σ g_ij · r_ij, g = centred mid-rank of the grade among pairs, r = centred mid-rank of cosine among all "
    "pairs; effect = slope of similarity quantile on grade quantile",
    null_preserves="the graded pair graph; genes are permuted over it",
    assumes="genes exchangeable as carriers of the graph's nodes (within strata)",
    source="linear-by-linear association with ranks (Mantel 1963), permutation of nodes as in QAP",
    prepare=_prepare_gradient,
    uses="grades",
)

PAIR_PROXIMITY = TestKind(
    name="pair_proximity",
    family="pairs",
    entity="gene_pairs",
    alternative="greater",
    effect_unit="AUROC",
    coordinates=fixed("cosine"),
    min_size=10,
    asks="Are paired genes more similar than pairs of genes are in general?",
    formula="T = Σ_{(i,j)} (2·rank(cos_ij) − (N + 1)), rank among all N = n(n − 1)/2 pairs; AUROC = 1/2 + T / (2·p·(N − p)) "
    "for p pairs",
    null_preserves="each gene's number of pairs and the whole pair graph; genes are permuted, never pairs",
    assumes="genes exchangeable as carriers of the pair graph's nodes (within strata)",
    source="Mann & Whitney 1947 on pairs; permutation of nodes: QAP, Hubert & Schultz 1976",
    prepare=_prepare_proximity,
)

MULTI_AXIS_COPOLE = TestKind(
    name="multi_axis_copole",
    family="pairs",
    entity="gene_pairs",
    alternative="greater",
    effect_unit="shared poles a pair",
    coordinates=WINDOW,
    min_size=10,
    asks="On how many axes of a spectral window do paired genes lie in the same pole: more than other genes do?",
    formula="T = Σ_{(i,j)} Σ_{k in window} [pole_ik · pole_jk = 1], poles = outer quarters by mid-rank; effect = T / pairs",
    null_preserves="each gene's number of pairs, the whole pair graph, and each gene's poles on all axes together",
    assumes="genes exchangeable as carriers of the pair graph's nodes (within strata)",
    source="co-pole definition: arXiv:2602.22247; permutation of nodes: QAP, Hubert & Schultz 1976",
    prepare=_prepare_shared_poles,
    nulls=("random_axis",),
    universe=False,
)
