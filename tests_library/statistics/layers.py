"""Gene sets over layers: the course of cohesion, convergence on a medoid, and how far the centroid travels.

Layers are never samples. What is permuted is which gene is which; the order of the layers is permuted only in the
companion null :data:`LAYER_ORDER`, which is printed and decides nothing.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.bank import Bank
from ..engine.jit import HAVE_NUMBA, jit
from ..engine.kernels import Arrangements, set_sums
from ..engine.similarity import chunks, row_ranks, unit_variance
from ..nulls import OWN_NULLS
from ..spaces import Geometry
from .base import Entity, OwnDraws, Prepared, TestKind, View
from .coordinates import layer_span, spanning, step_layers, steps
from .within import within_auroc_scale, within_pairs, within_rank_sums

EXACT_ORDERS = 100_000
"""All orders of the layers are enumerated up to this many (8 layers)."""

LAYER_ORDER = OWN_NULLS["layer_order"]


def layer_order_draws(totals: NDArray[np.int64], weights: NDArray[np.int64]) -> OwnDraws:
    """Draws of contrasts Σ_q w_q·T_q with the layers in another order; draw 0 keeps theirs.

    ``totals`` int64 [L]: the statistic of the observed set at each layer. ``weights`` int64 [L, V]: one contrast a view.
    Draw j is the same order for every hypothesis with the same key. With up to 8 layers, every L! draws from draw 0 on are
    all orders once, the observed first and the others shuffled by the key: a p-value of L! draws is exact, one of fewer
    is sampled without replacement, and no number of draws makes it smaller than 1 / L!.
    """

    def draw(key: tuple[int, int], start: int, stop: int) -> NDArray[np.int64]:
        return np.asarray(totals[layer_orders(len(totals), key, start, stop)] @ weights)

    return draw


def layer_orders(n_layers: int, key: tuple[int, int], start: int, stop: int) -> NDArray[np.int64]:
    """Orders ``start … stop−1`` of the layers: int64 [stop − start, L]; order 0 is the observed one."""
    if n_layers < 2:
        return np.zeros((stop - start, n_layers), np.int64)
    count = math.factorial(n_layers)
    if count > EXACT_ORDERS:
        return Bank(key, np.zeros(n_layers, np.int64)).arrangements(start, stop).astype(np.int64)
    first, last = start // count, (stop - 1) // count
    # arrangement 0 of a bank is the identity, so round c of all orders is shuffled by arrangement c + 1
    shuffled = Bank(key, np.zeros(count - 1, np.int64)).arrangements(first + 1, last + 2) + 1
    number = np.concatenate([np.zeros((len(shuffled), 1), np.int32), shuffled], axis=1).ravel()
    orders: NDArray[np.int64] = _all_orders(n_layers)[number[start - first * count : stop - first * count]]
    return orders


@lru_cache(maxsize=8)
def _all_orders(n_layers: int) -> NDArray[np.int64]:
    return np.array(list(permutations(range(n_layers))), dtype=np.int64)


Contrasts = dict[str, NDArray[np.int64]]
LayerSums = Callable[[Arrangements], NDArray[np.int64]]


def transients(n_layers: int) -> Contrasts:
    """2·T_q − T_{q−1} − T_{q+1} of every interior layer: integer weights int64 [L] by name."""
    out = {}
    for q in range(1, n_layers - 1):
        weights = np.zeros(n_layers, np.int64)
        weights[[q - 1, q, q + 1]] = -1, 2, -1
        out[f"L{q}"] = weights
    return out


def splits(n_layers: int) -> Contrasts:
    """Mean from layer q on minus the mean before it, in whole numbers without a common factor: int64 [L] by name."""
    out = {}
    for q in range(1, n_layers):
        weights = np.where(np.arange(n_layers) < q, -(n_layers - q), q)
        out[f"from L{q}"] = (weights // math.gcd(q, n_layers - q)).astype(np.int64)
    return out


def ends_and_trend(n_layers: int) -> Contrasts:
    """Last layer minus the first, and the linear trend (with two layers they would be one): int64 [L] by name."""
    q = np.arange(n_layers)
    change = (q == n_layers - 1).astype(np.int64) - (q == 0).astype(np.int64)
    trend = (2 * q - (n_layers - 1)).astype(np.int64)
    return {"change": change, "trend": trend} if n_layers > 2 else {"change": change} if n_layers == 2 else {}


def layer_contrasts(n_layers: int) -> Contrasts:
    """:func:`ends_and_trend`, and from three layers on the bend (quadratic), which neither of them sees: int64 [L] by name."""
    out = ends_and_trend(n_layers)
    if n_layers > 2:
        q = np.arange(n_layers)
        bend = 6 * q * q - 6 * q * (n_layers - 1) + (n_layers - 1) * (n_layers - 2)
        out["bend"] = (bend // np.gcd.reduce(bend)).astype(np.int64)
    return out


def _stacked(contrasts: Contrasts, n_layers: int) -> NDArray[np.int64]:
    """Weights [L, V]; V = 0 where there are too few layers for any."""
    return np.array(list(contrasts.values()), np.int64).reshape(-1, n_layers).T


def _contrast(geometry: Geometry, contrasts: Contrasts, by_layer: LayerSums, auroc_scale: float) -> Prepared:
    """Contrasts of a rank statistic that ``by_layer`` gives for each layer. The effect is a difference of mean AUROCs."""
    weights = _stacked(contrasts, geometry.n_layers)
    span = layer_span(geometry.n_layers)
    views = tuple(View(span, name) for name in contrasts)
    scale = auroc_scale * 2 / np.abs(weights).sum(axis=0)
    observed = by_layer(np.arange(geometry.n, dtype=np.int32)[None])[0]

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return np.asarray(by_layer(arrangements) @ weights)

    own = {LAYER_ORDER.name: layer_order_draws(observed, weights)}
    orders = math.factorial(geometry.n_layers)
    every = {LAYER_ORDER.name: orders} if 1 < orders <= EXACT_ORDERS else {}
    return Prepared(views, sums, scale, np.zeros(len(views)), own, every)


def _prepare_cohesion_contrast(contrasts: Callable[[int], Contrasts], geometry: Geometry, entity: Entity) -> Prepared:
    members = entity.need_members()
    scale = within_auroc_scale(geometry, within_pairs(members))
    return _contrast(geometry, contrasts(geometry.n_layers), within_rank_sums(geometry, members), scale)


def _prepare_convergence(geometry: Geometry, entity: Entity) -> Prepared:
    members = entity.need_members()
    table = geometry.remember("row ranks of all layers", lambda: _row_rank_table(geometry))

    def by_layer(arrangements: Arrangements) -> NDArray[np.int64]:
        return medoid_sums(table, members, arrangements)

    comparisons = (len(members) - 1) * max(1, geometry.n - len(members))
    return _contrast(geometry, ends_and_trend(geometry.n_layers), by_layer, 1 / (2 * comparisons))


def _row_rank_table(geometry: Geometry) -> NDArray[Any]:
    """Row ranks of every layer: [n, n, L], in two bytes where they fit, as the table is the largest thing here."""
    small = np.int16 if geometry.n <= np.iinfo(np.int16).max else np.int32
    return np.stack([row_ranks(geometry.cosine(q)).astype(small) for q in range(geometry.n_layers)], axis=2)


def medoid_sums(table: NDArray[Any], members: NDArray[np.int64], arrangements: Arrangements) -> NDArray[np.int64]:
    """Σ over the other members j of ``table[c, a[j], q]``, c the medoid of the played set: int64 [P, L].

    ``table`` int16 or int32 [n, n, L] has a diagonal of 0. The medoid is the played member with the largest sum over all members
    and all layers; of several, the one that comes first in the universe.
    """
    out = np.zeros((len(arrangements), table.shape[2]), np.int64)
    if HAVE_NUMBA:
        _medoid_loop(table, members, arrangements, out)
    else:
        _medoid_numpy(table, members, arrangements, out)
    return out


@jit
def _medoid_loop(
    table: NDArray[Any], members: NDArray[np.int64], arrangements: Arrangements, out: NDArray[np.int64]
) -> None:
    m, layers = len(members), table.shape[2]
    sums = np.empty(layers, np.int64)
    for p in range(arrangements.shape[0]):
        best, medoid = np.int64(0), np.int64(-1)
        for i in range(m):
            a = arrangements[p, members[i]]
            sums[:] = 0
            for j in range(m):
                b = arrangements[p, members[j]]
                for q in range(layers):
                    sums[q] += table[a, b, q]
            over_layers = sums.sum()
            if medoid < 0 or over_layers > best or (over_layers == best and a < medoid):
                best, medoid = over_layers, np.int64(a)
                out[p] = sums


def _medoid_numpy(
    table: NDArray[Any], members: NDArray[np.int64], arrangements: Arrangements, out: NDArray[np.int64]
) -> None:
    for rows in chunks(len(arrangements), len(members) ** 2 * table.shape[2]):
        played = arrangements[rows][:, members]
        sums = table[played[:, :, None], played[:, None, :]].sum(axis=2, dtype=np.int64)
        over_layers = sums.sum(axis=2)
        best = over_layers == over_layers.max(axis=1, keepdims=True)
        medoid = np.where(best, played, len(table)).argmin(axis=1)
        out[rows] = sums[np.arange(len(played)), medoid]


def _prepare_centroid(geometry: Geometry, entity: Entity) -> Prepared:
    members = entity.need_members()
    names = steps(geometry.n_layers)
    moves, unit = geometry.remember("displacements of genes", lambda: displacements(geometry, names))
    dim = moves.shape[1] // max(1, len(names))
    span = layer_span(geometry.n_layers)
    views = tuple(View(span, name) for name in names)

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        out = np.zeros((len(arrangements), len(names)), np.int64)
        for rows in chunks(len(arrangements) if names else 0, moves.shape[1]):
            centroid = set_sums(moves, members, arrangements[rows]).reshape(-1, len(names), dim)
            out[rows] = (centroid * centroid).sum(axis=2)
        return out

    return Prepared(views, sums, unit / len(members) ** 2, np.zeros(len(views)))


def displacements(geometry: Geometry, names: tuple[str, ...]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """How every gene moves in each step, beyond what all genes do: int32 [n, steps · dim], and [steps] 1 / mean square.

    Coordinates of a layer are divided by the root of its total variance (so that global contraction is no movement),
    subtracted, and centred on the universe (so that a common drift is none). Bits are chosen such that the squared length
    of a sum over any number of genes fits in int64: entries below 2ᵇ, n·2ᵇ a coordinate, dim coordinates.
    """
    dim = geometry.layers[0].shape[1]
    bits = min(20, (62 - dim.bit_length()) // 2 - geometry.n.bit_length())
    moves = np.zeros((geometry.n, len(names), dim), np.int32)
    mean_square = np.ones(len(names))
    for v, name in enumerate(names):
        before, after = (unit_variance(geometry.unit(q)[geometry.universe]) for q in step_layers(name))
        fine = np.rint(np.ldexp(after - before, 30)).astype(np.int64)
        centred = fine - fine.sum(axis=0) // geometry.n
        shift = max(0, int(np.abs(centred).max()).bit_length() - bits)
        moves[:, v] = centred >> shift
        mean_square[v] = max(1, int((moves[:, v].astype(np.int64) ** 2).sum())) / geometry.n
    return moves.reshape(geometry.n, -1), 1 / mean_square


LAYER_TRAJECTORY = TestKind(
    name="layer_trajectory",
    family="trajectory",
    entity="gene_set",
    alternative="two-sided",
    effect_unit="AUROC change",
    coordinates=spanning(lambda n_layers: tuple(layer_contrasts(n_layers))),
    min_size=5,
    asks="Does the cohesion of the set change over the layers, beyond what all genes do?",
    formula="T = Σ_l w_l · T_l with T_l the cohesion statistic of layer l and w a contrast: change (last − first), trend "
    "(linear), bend (quadratic)",
    null_preserves="the similarity matrices of all layers together; ranks within a layer remove global contraction",
    assumes="labels exchangeable over genes (within strata); layers are never samples",
    source="polynomial contrasts (Fisher 1925) of a rank statistic",
    prepare=lambda geometry, entity: _prepare_cohesion_contrast(layer_contrasts, geometry, entity),
    nulls=(LAYER_ORDER.name,),
)

LAYER_TRANSIENT = TestKind(
    name="layer_transient",
    family="trajectory",
    entity="gene_set",
    alternative="two-sided",
    effect_unit="AUROC difference",
    coordinates=spanning(lambda n_layers: tuple(transients(n_layers))),
    min_size=5,
    asks="Is the set closer together, or less close, at one layer than at the two layers beside it?",
    formula="T = 2·T_q − T_{q−1} − T_{q+1} with T_q the cohesion statistic of interior layer q; effect = AUROC of layer q "
    "minus the mean AUROC of its neighbours",
    null_preserves="the similarity matrices of all layers together; ranks within a layer remove global contraction",
    assumes="labels exchangeable over genes (within strata); layers are never samples",
    source="second difference of a rank statistic (Mann & Whitney 1947 on pairs)",
    prepare=lambda geometry, entity: _prepare_cohesion_contrast(transients, geometry, entity),
    nulls=(LAYER_ORDER.name,),
)

CHANGE_POINT = TestKind(
    name="change_point",
    family="trajectory",
    entity="gene_set",
    alternative="two-sided",
    effect_unit="AUROC change",
    coordinates=spanning(lambda n_layers: tuple(splits(n_layers))),
    min_size=5,
    asks="Does the cohesion of the set step up or down at some layer, beyond what all genes do?",
    formula="T = Σ_q w_q · T_q, w the whole-number multiple of (mean from layer s on − mean before s), one view for each s; "
    "the maximum of the standardised |T| over s is the scan",
    null_preserves="the similarity matrices of all layers together; ranks within a layer remove global contraction",
    assumes="labels exchangeable over genes (within strata); layers are never samples",
    source="scan for one change in mean, Page 1955; maximum over splits by max-T, Westfall & Young 1993",
    prepare=lambda geometry, entity: _prepare_cohesion_contrast(splits, geometry, entity),
    nulls=(LAYER_ORDER.name,),
)

CONVERGENCE = TestKind(
    name="convergence",
    family="trajectory",
    entity="gene_set",
    alternative="two-sided",
    effect_unit="AUROC change",
    coordinates=spanning(lambda n_layers: tuple(ends_and_trend(n_layers))),
    min_size=5,
    asks="Do the genes of the set move towards their own focus, its most central member, over the layers?",
    formula="c = the member with the largest Σ_q Σ_{j∈S} r_q(c, j), r_q(c, j) = centred mid-rank of cos(c, j) among the "
    "n − 1 other genes at layer q; T_q = Σ_{j∈S} r_q(c, j); T = Σ_q w_q · T_q with w: change (last − first), trend "
    "(linear); effect = change of the AUROC of members against others in the eyes of c",
    # The focus is chosen on all layers alike, so the choice favours neither end. Ranks in the eyes of the focus do not
    # change when it comes nearer to all genes (a hub), only when its members overtake other genes.
    null_preserves="the similarity matrices of all layers together; every draw chooses the focus of its own set",
    assumes="labels exchangeable over genes (within strata); layers are never samples",
    source="medoid (Kaufman & Rousseeuw 1987) with ranks as in Mann & Whitney 1947",
    prepare=_prepare_convergence,
    nulls=(LAYER_ORDER.name,),
    universe=False,
)

CENTROID_TRAJECTORY = TestKind(
    name="centroid_trajectory",
    family="trajectory",
    entity="gene_set",
    alternative="greater",
    effect_unit="squared displacement ratio",
    coordinates=spanning(steps),
    min_size=5,
    asks="Does the set travel as one between layers: does its centroid move further than that of as many other genes?",
    formula="‖mean_{i∈S} d_i‖² / mean_i ‖d_i‖² with d_i = x_i(b) / s_b − x_i(a) / s_a, centred on all genes, s_q² = mean "
    "squared length at layer q (total variance, so global contraction is no movement); 1 / |S| on average for genes that "
    "move independently",
    null_preserves="every gene's displacement and the number of genes averaged",
    assumes="labels exchangeable over genes (within strata); the layers are those of one residual network, whose blocks "
    "add to a stream with shared coordinates, so that a difference of two layers has a meaning",
    source="residual stream: Elhage et al. 2021; squared length of a mean displacement under permutation of genes",
    prepare=_prepare_centroid,
    universe=False,
)
