"""How alike are two layers on the genes of a set? Seven measures, each for consecutive layers and the first against the last.

Every measure is compared with that of as many other genes, so what all genes share (a block that moves little, a common
contraction) is in the null already. Sets much more or much less alike than others both count: all are two-sided.

No draw calls LAPACK, and a BLAS only for integers whose sums are exact in any order. The spectral axes, made once from the
whole embedding, are the one place where LAPACK enters; they are quantised before a draw sees them. What is computed in
floating point is element by element, in a fixed order, and is rounded to 2⁻²⁰ before it is compared.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.jit import as_numpy
from ..engine.kernels import Arrangements, pair_sums
from ..engine.philox import philox_words
from ..engine.similarity import (
    UNIT_BITS,
    above_rounding,
    axis_moments,
    block_moments,
    chunks,
    cosine_of,
    eigen,
    inverse_root,
    product,
    root_mean_square,
    to_units,
    total,
    unbiased_hsic,
)
from ..spaces import QUANTUM, Geometry
from .base import Entity, Prepared, TestKind, View, affine
from .coordinates import layer_span, spanning, step_layers, steps

AXIS_BITS = 18
CCA_AXES = 5
RIDGE = 2.0**-10
SUBSPACE = 3
DIRECTIONS = 32
DISTANCE_BITS = 20
PROJECTION_BITS = 14
WEIGHT_BITS = 14

Measure = Callable[[Arrangements], NDArray[np.float64]]


def _layer_pairs(geometry: Geometry) -> NDArray[np.int64]:
    """The layers that are compared: int64 [V, 2]."""
    return np.array([step_layers(name) for name in steps(geometry.n_layers)], np.int64).reshape(-1, 2)


def _views(geometry: Geometry) -> tuple[View, ...]:
    span = layer_span(geometry.n_layers)
    return tuple(View(span, name) for name in steps(geometry.n_layers))


def _rounded(geometry: Geometry, measure: Measure) -> Prepared:
    """A measure in floating point, float64 [P, V], rounded to 2⁻²⁰."""
    views = _views(geometry)

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return to_units(measure(arrangements))

    return Prepared(views, sums, *affine(len(views), 2.0**-UNIT_BITS, 0.0))


def with_selves(pairs: NDArray[np.int64], columns: int) -> NDArray[np.int64]:
    """``pairs`` [V, 2] and after them each column with itself: int64 [V + columns, 2]."""
    return np.concatenate([pairs, np.stack([np.arange(columns)] * 2, axis=1)])


def _prepare_cka(geometry: Geometry, entity: Entity) -> Prepared:
    members, pairs = entity.need_members(), _layer_pairs(geometry)
    table = geometry.cosine_int16()

    def measure(arrangements: Arrangements) -> NDArray[np.float64]:
        return debiased_cka(table, members, arrangements, pairs, len(members))

    return _rounded(geometry, measure)


def debiased_cka(
    table: NDArray[np.int32],
    members: NDArray[np.int64],
    arrangements: Arrangements,
    pairs: NDArray[np.int64],
    size: NDArray[np.int64] | int,
) -> NDArray[np.float64]:
    """Debiased CKA of the played set between columns of ``table`` int32 [n, n, Q], |entries| ≤ 2¹⁵: float64 [P, V].

    ``size``: members that count, at least 4; where it differs between draws, int64 [P, 1]. A kernel whose own unbiased
    HSIC is 0, up to rounding, has no structure to compare and gives 0. The unbiased HSIC is an inner product of U-centred
    matrices (Székely & Rizzo 2014), so the value lies in −1 … 1.
    """
    a, b = pairs.T
    products, row_products, totals = block_moments(table, members, arrangements, with_selves(pairs, table.shape[2]))
    v, each = len(pairs), (totals, totals)
    cross = unbiased_hsic(products[:, :v], row_products[:, :v], (totals[:, a], totals[:, b]), size)
    own = unbiased_hsic(products[:, v:], row_products[:, v:], each, size)
    own = above_rounding(own, products[:, v:])
    return cosine_of(cross, own[:, a], own[:, b])


def _prepare_laplacian(geometry: Geometry, entity: Entity) -> Prepared:
    members, pairs = entity.need_members(), _layer_pairs(geometry)
    table = geometry.remember("graph weights", lambda: _graph_weights(geometry))
    both, m, v = with_selves(pairs, geometry.n_layers), len(members), len(pairs)
    first, second = both.T

    def measure(arrangements: Arrangements) -> NDArray[np.float64]:
        products, degree_products, volume = block_moments(table, members, arrangements, both)
        # tr(L L') = Σ_i d_i d'_i + Σ_ij W_ij W'_ij, and tr L is the volume Σ_i d_i
        shared = volume[:, first].astype(np.float64) * volume[:, second].astype(np.float64) / (m - 1)
        inner = (products + degree_products) - shared
        own = above_rounding(inner[:, v:], degree_products[:, v:])
        return cosine_of(inner[:, :v], own[:, pairs[:, 0]], own[:, pairs[:, 1]])

    return _rounded(geometry, measure)


def _graph_weights(geometry: Geometry) -> NDArray[np.int16]:
    return np.stack([graph_weights(geometry.cosine(q)) for q in range(geometry.n_layers)], axis=2)


def graph_weights(cosine: NDArray[np.int64]) -> NDArray[np.int16]:
    """Edge weights (1 + d² / σ²)⁻² in units of 2⁻¹⁴ from cosines in units of 2⁻³⁰: int16 [n, n], diagonal 0.

    d² = 2 − 2·cos, and σ² the d² that a tenth of all pairs stay within, so that an edge is local at every layer. The
    rational quadratic kernel stands in for the Gaussian because it needs division alone: the last bits of an exponential
    differ between mathematical libraries.
    """
    n = len(cosine)
    squared = np.maximum((1 << 30) - cosine, 0) * 2
    upper = squared[np.triu_indices(n, 1)]
    width = max(1, int(np.partition(upper, len(upper) // 10)[len(upper) // 10]))
    spread = 1 + squared / width
    weights = np.rint((1 << WEIGHT_BITS) / (spread * spread)).astype(np.int16)
    np.fill_diagonal(weights, 0)
    return weights


def _axis_scores(geometry: Geometry) -> NDArray[np.float64]:
    """Scores on the spectral axes with their lengths kept, in whole numbers of at most 18 bits: float64 [L, n, k].

    Axes come quantised; their lengths are rounded to 2⁻¹⁸ of the longest before they multiply anything.
    """
    out = np.empty((geometry.n_layers, geometry.n, geometry.n_axes))
    for q in range(geometry.n_layers):
        length = geometry.axis_scale(q)
        longest = max(float(length.max()), np.finfo(np.float64).tiny)
        whole = np.rint(np.ldexp(length / longest, AXIS_BITS)).astype(np.int64)
        out[q] = (geometry.local_axes(q) * whole) >> 30  # below 2³⁰ · 2¹⁸
    return out


def _set_moments(geometry: Geometry, entity: Entity, axes: int) -> "Callable[[Arrangements], _Moments]":
    members, pairs = entity.need_members(), _layer_pairs(geometry)
    scores = geometry.remember("axis scores of all layers", lambda: _axis_scores(geometry))[:, :, :axes]
    both, v = with_selves(pairs, geometry.n_layers), len(pairs)

    def moments(arrangements: Arrangements) -> _Moments:
        moved = axis_moments(scores, members, arrangements, both)
        return moved[:v], moved[v:]

    return moments


_Moments = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Second moments between the layers of each step [V, k, k, P] and within each layer [L, k, k, P]."""


def _traces(within: NDArray[np.float64]) -> NDArray[np.float64]:
    """tr A of every layer and draw: float64 [L, P], in a fixed order."""
    out = np.zeros((within.shape[0], within.shape[3]))
    for i in range(within.shape[1]):
        out += within[:, i, i]
    return out


def _prepare_cca(geometry: Geometry, entity: Entity) -> Prepared:
    axes = min(CCA_AXES, entity.size // 3, geometry.n_axes)
    moments = _set_moments(geometry, entity, axes)
    pairs = _layer_pairs(geometry)

    def measure(arrangements: Arrangements) -> NDArray[np.float64]:
        between, within = moments(arrangements)
        roots = [inverse_root(A, RIDGE) for A in within]
        out = np.empty((len(arrangements), len(pairs)))
        for v, (a, b) in enumerate(pairs.tolist()):
            canonical = product(product(roots[a], between[v]), roots[b].transpose(1, 0, 2))
            out[:, v] = total(canonical * canonical) / axes
        return out

    return _rounded(geometry, measure)


def _prepare_procrustes(geometry: Geometry, entity: Entity) -> Prepared:
    moments = _set_moments(geometry, entity, geometry.n_axes)
    pairs = _layer_pairs(geometry)

    def measure(arrangements: Arrangements) -> NDArray[np.float64]:
        between, within = moments(arrangements)
        square = _traces(within)
        out = np.empty((len(arrangements), len(pairs)))
        for v, (a, b) in enumerate(pairs.tolist()):
            out[:, v] = nuclear_norm(cosine_of(between[v], square[a], square[b]))
        return out

    return _rounded(geometry, measure)


def nuclear_norm(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of singular values of [k, k, B]: float64 [B], as roots of the eigenvalues of CᵀC.

    Squaring costs half the digits of a singular value near 0: an error below 2⁻²⁶ of the largest, under the rounding.
    """
    values, _ = eigen(product(matrices.transpose(1, 0, 2), matrices), vectors=False)
    out = np.zeros(matrices.shape[2])
    for value in values:
        out += np.sqrt(np.maximum(value, 0.0))
    return out


def _prepare_angles(geometry: Geometry, entity: Entity) -> Prepared:
    moments = _set_moments(geometry, entity, geometry.n_axes)
    pairs, k = _layer_pairs(geometry), min(SUBSPACE, geometry.n_axes)

    def measure(arrangements: Arrangements) -> NDArray[np.float64]:
        between, within = moments(arrangements)
        bases = [leading_axes(A, trace, k) for A, trace in zip(within, _traces(within), strict=True)]
        out = np.empty((len(arrangements), len(pairs)))
        for v, (a, b) in enumerate(pairs.tolist()):
            cosines = product(product(bases[a].transpose(1, 0, 2), between[v]), bases[b])
            out[:, v] = total(cosines * cosines) / k
        return out

    return _rounded(geometry, measure)


def leading_axes(A: NDArray[np.float64], trace: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """W [axes, k, B] with WᵀAW = I: the ``k`` axes of largest variance. An axis without variance is 0."""
    some = np.where(trace > 0, trace, 1.0)
    values, vectors = eigen(A / some)
    order = np.argsort(-values, axis=0, kind="stable")[:k]
    top = np.take_along_axis(values, order, axis=0)
    turned = np.take_along_axis(vectors, order[None], axis=1)
    real = top > QUANTUM  # a billionth of the variance is rounding, not an axis
    length = np.where(real, 1.0 / np.sqrt(np.where(real, top, 1.0)), 0.0) / np.sqrt(some)
    return np.asarray(turned * length)


def _prepare_wasserstein(geometry: Geometry, entity: Entity) -> Prepared:
    members, pairs = entity.need_members(), _layer_pairs(geometry)
    table = geometry.remember("projections of all layers", lambda: _projections(geometry))

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        out = np.empty((len(arrangements), len(pairs)), np.int64)
        for rows in chunks(len(arrangements), len(members) * DIRECTIONS):
            played = arrangements[rows][:, members]
            ordered = [np.sort(layer[:, played], axis=2).astype(np.int64) for layer in table]
            for v, (a, b) in enumerate(pairs.tolist()):
                moved = ordered[a] - ordered[b]
                out[rows, v] = (moved * moved).sum(axis=(0, 2))
        return out

    unit = 2.0 ** (-2 * PROJECTION_BITS) / (DIRECTIONS * len(members))
    return Prepared(_views(geometry), sums, *affine(len(pairs), unit, 0.0))


def _projections(geometry: Geometry) -> NDArray[np.int32]:
    """√dim · x·θ for every layer and direction, in units of 2⁻¹⁴, layers scaled to unit total variance: int32 [L, K, n].

    Over all directions its mean square is that of x. Sums of squared differences fit in int64: the squared lengths of
    all genes sum to n, so no sum passes 4 · n · dim · K · 2²⁸.
    """
    turn = directions(geometry.layers[0].shape[1])
    scale = np.sqrt(geometry.layers[0].shape[1] / (turn * turn).sum(axis=0))
    out = np.empty((geometry.n_layers, DIRECTIONS, geometry.n), np.int32)
    for q in range(geometry.n_layers):
        rows = geometry.unit(q)[geometry.universe]
        shadow = (rows @ turn) * (scale / root_mean_square(rows))  # whole numbers below 2⁵⁰, exact in any order
        out[q] = np.rint(np.ldexp(shadow, PROJECTION_BITS)).astype(np.int32).T
    return out


def directions(dim: int) -> NDArray[np.float64]:
    """Fixed nearly Gaussian directions: whole numbers below 2¹⁷, float64 [dim, K], from Philox with a key of their own.

    Each entry is the sum of four centred 16-bit words: a Gaussian would need a logarithm.
    """
    digest = hashlib.sha256(b"sliced Wasserstein directions").digest()
    key = [np.full((1, 1), int.from_bytes(digest[s : s + 4], "little"), np.uint64) for s in (0, 4)]
    row = np.arange(dim, dtype=np.uint64)[:, None]
    column = np.arange(DIRECTIONS, dtype=np.uint64)[None, :]
    zero = np.zeros((1, 1), np.uint64)
    words: Any = as_numpy(philox_words)(row, column, zero, zero, *key)
    high = np.stack([np.broadcast_to(w >> np.uint64(16), (dim, DIRECTIONS)) for w in words]).astype(np.float64)
    return np.asarray(high.sum(axis=0) - 2.0 * ((1 << 16) - 1))


def _prepare_energy(geometry: Geometry, entity: Entity) -> Prepared:
    members = entity.need_members()
    table = geometry.remember("energy distances of all steps", lambda: _energy_table(geometry))
    i, j = np.triu_indices(len(members))
    pairs = np.stack([members[i], members[j]], axis=1)
    weights = np.where(i == j, 1, 2).astype(np.int64)

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return pair_sums(table, pairs, weights, arrangements)

    views = _views(geometry)
    return Prepared(views, sums, *affine(len(views), 2.0**-DISTANCE_BITS / len(members) ** 2, 0.0))


def _energy_table(geometry: Geometry) -> NDArray[np.int32]:
    """‖x_i − y_j‖ + ‖x_j − y_i‖ − ‖x_i − x_j‖ − ‖y_i − y_j‖ of every step in units of 2⁻²⁰: int32 [n, n, V].

    Its mean over a set is the energy distance of the two clouds, so a draw is a look-up. Layers are scaled to unit total
    variance: a distance stays below 2·√n, far inside int32.
    """
    rows = [geometry.unit(q)[geometry.universe] for q in range(geometry.n_layers)]
    lengths = [root_mean_square(r) for r in rows]
    squares = [np.diag(_grams(r, r)) for r in rows]

    def apart(a: int, b: int) -> NDArray[np.float64]:
        cross = _grams(rows[a], rows[b]) / (lengths[a] * lengths[b])
        own = squares[a][:, None] / (lengths[a] * lengths[a]) + squares[b][None, :] / (lengths[b] * lengths[b])
        return np.asarray(np.sqrt(np.maximum(own - 2 * cross, 0.0)))

    pairs = _layer_pairs(geometry)
    within = [apart(q, q) for q in range(geometry.n_layers)]
    out = np.empty((geometry.n, geometry.n, len(pairs)), np.int32)
    for v, (a, b) in enumerate(pairs.tolist()):
        across = apart(a, b)
        out[:, :, v] = np.rint(np.ldexp(across + across.T - (within[a] + within[b]), DISTANCE_BITS))
    return out


def _grams(X: NDArray[np.float64], Y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(X @ Y.T)  # whole numbers below 2⁵³: exact, whatever the BLAS does with the order


def _kind(**header: Any) -> TestKind:
    """What the seven kinds share."""
    return TestKind(
        family="alignment",
        entity="gene_set",
        alternative="two-sided",
        coordinates=spanning(steps),
        universe=False,
        **header,
    )


_LABELS = "labels exchangeable over genes (within strata); layers are never samples"
_STREAM = (
    "labels exchangeable over genes (within strata); the layers are those of one residual network, whose coordinates are "
    "shared"
)

CKA = _kind(
    name="cka",
    effect_unit="debiased CKA",
    min_size=8,
    asks="Is the set's similarity structure more, or less, alike in two layers than that of as many other genes?",
    formula="HSIC(K, L) / √(HSIC(K, K) · HSIC(L, L)), K and L the cosine matrices of the set at the two layers, HSIC the "
    "unbiased estimator; 0 where a kernel has none of its own",
    null_preserves="the similarity matrices of all layers together, and the set size",
    assumes=_LABELS,
    source="Kornblith et al. 2019; unbiased HSIC: Song et al. 2012",
    prepare=_prepare_cka,
    staged=True,
)

CCA = _kind(
    name="cca",
    effect_unit="mean squared canonical correlation",
    min_size=9,
    asks="Do the leading spectral axes order the genes of the set more, or less, alike in two layers than other genes?",
    # A third of the set at most, and never more than 5 axes: with as many axes as genes every canonical correlation is 1.
    # The ridge is relative to each axis, so the value does not depend on how long an axis is.
    formula="Σ ρ_c² / k over the canonical correlations of the set's scores on SV1–k of the two layers, k = min(5, ⌊|S|/3⌋),"
    " with a ridge of 2⁻¹⁰ of each axis's variance",
    null_preserves="the scores on the axes of all layers together, and the set size, on which the value depends strongly",
    assumes=_LABELS,
    source="Hotelling 1936; ridge: Vinod 1976; mean over layers' directions: Raghu et al. 2017",
    prepare=_prepare_cca,
    staged=True,
)

PROCRUSTES = _kind(
    name="procrustes",
    effect_unit="Procrustes similarity",
    min_size=8,
    asks="Can one rotation carry the set's shape from layer to layer better, or worse, than that of as many other genes?",
    formula="‖XᵀY‖_* / (‖X‖_F · ‖Y‖_F), X and Y the set's centred scores on all kept spectral axes, lengths kept",
    null_preserves="the scores on the axes of all layers together, and the set size",
    assumes=_LABELS,
    source="Schönemann 1966; as a similarity of representations: Ding et al. 2021",
    prepare=_prepare_procrustes,
    staged=True,
)

PRINCIPAL_ANGLES = _kind(
    name="principal_angles",
    effect_unit="mean squared cosine",
    min_size=8,
    asks="Do the set's own main directions of spread order its genes alike in two layers, more or less than other sets?",
    formula="‖UᵀV‖_F² / 3, U and V orthonormal bases, over the genes of the set, of its three largest principal components "
    "within the kept spectral axes of each layer",
    null_preserves="the scores on the axes of all layers together, and the set size",
    assumes=_LABELS,
    source="Björck & Golub 1973",
    prepare=_prepare_angles,
    staged=True,
)

SLICED_WASSERSTEIN = _kind(
    name="sliced_wasserstein",
    effect_unit="squared distance in units of total variance",
    min_size=5,
    asks="Does the set's cloud of points, whichever gene is where in it, change more, or less, between layers than others do?",
    formula="dim · mean_θ mean_i (x_(i) − y_(i))², x and y the set's projections on direction θ at the two layers in order of "
    "size, each layer scaled to unit total variance; 32 fixed directions, the same for all sets and draws",
    null_preserves="the coordinates of all layers together, the directions and the set size",
    assumes=_STREAM,
    source="Bonneel et al. 2015",
    prepare=_prepare_wasserstein,
    staged=True,
)

ENERGY_DISTANCE = _kind(
    name="energy_distance",
    effect_unit="root-mean-square lengths",
    min_size=5,
    asks="Does the set's cloud of points differ between two layers by more, or less, than that of as many other genes?",
    formula="2·mean_ij ‖x_i − y_j‖ − mean_ij ‖x_i − x_j‖ − mean_ij ‖y_i − y_j‖, x and y the set at the two layers, each "
    "layer scaled to unit total variance",
    null_preserves="the distances within and between all layers, and the set size",
    assumes=_STREAM,
    source="Székely & Rizzo 2013",
    prepare=_prepare_energy,
)

LAPLACIAN_ALIGNMENT = _kind(
    name="laplacian_alignment",
    effect_unit="Laplacian correlation",
    min_size=8,
    asks="Is the set's neighbourhood graph more, or less, alike in two layers than that of as many other genes?",
    # Every Laplacian holds much of the complete graph's; without taking it out all values are near 1.
    formula="⟨L, L'⟩ / √(⟨L, L⟩·⟨L', L'⟩) with ⟨L, L'⟩ = tr LL' − tr L · tr L' / (|S| − 1), L = D − W the set's graph "
    "Laplacian with the complete graph's part taken out, W_ij = (1 + d_ij² / σ²)⁻², d² = 2 − 2·cos, σ² the d² of the "
    "closest tenth of all pairs of the layer",
    null_preserves="the weight matrices of all layers together, and the set size",
    assumes=_LABELS,
    source="trace inner product of graph Laplacians, e.g. Dong et al. 2016; rational quadratic kernel",
    prepare=_prepare_laplacian,
    staged=True,
)
