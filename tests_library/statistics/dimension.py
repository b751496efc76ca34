"""How many dimensions a gene set fills: entropy of its spectrum, components for 90 % of its variance, and TwoNN."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..engine.clouds import axis_weights, gaussian_cosines, shuffled_cosines
from ..engine.elementary import exp, log
from ..engine.kernels import Arrangements
from ..engine.spectra import BITS, Statistic, centred, submatrix_statistic, whole
from ..engine.twonn import LARGEST_DIMENSION, log_distances, two_nn_dimension
from ..nulls import OWN_NULLS
from ..spaces import Geometry
from .base import Entity, OwnDraws, Prepared, TestKind, View, affine
from .coordinates import fixed

SHARE = 0.9

Clouds = Callable[[tuple[int, int], int, int], list[NDArray[np.int64]]]
"""(Philox key, start, stop) → cosines of the made clouds of draws start … stop − 1: int64 [P, m, m] a layer."""
_CELLS = 1 << 20
"""Coordinates of made clouds held at once."""

MATCHED_GAUSSIAN = OWN_NULLS["matched_gaussian"]

FEATURE_SHUFFLE = OWN_NULLS["feature_shuffle"]


def shares(similarity: NDArray[np.int64]) -> NDArray[np.float64]:
    """Eigenvalues of the doubly centred matrices as shares of their sum, largest first: float64 [P, m].

    From cosines int64 [P, m, m]. All zero for points in one place.
    """
    gram = centred(similarity)
    trace = np.trace(gram, axis1=1, axis2=2).astype(np.float64)
    eigenvalues = np.maximum(0.0, np.linalg.eigvalsh(gram.astype(np.float64))[:, ::-1])
    return np.asarray(np.where(trace > 0, 1.0, 0.0)[:, None] * eigenvalues / np.where(trace > 0, trace, 1.0)[:, None])


def entropy_rank(similarity: NDArray[np.int64]) -> NDArray[np.float64]:
    """exp(−Σ p·ln p) of the shares p: float64 [P], from 1 to m − 1; 0 for points in one place."""
    p = shares(similarity)
    entropy = -(p * log(np.where(p > 0, p, 1.0))).sum(axis=1)
    return np.asarray(np.where(p[:, 0] > 0, exp(entropy), 0.0))


def k90(similarity: NDArray[np.int64]) -> NDArray[np.float64]:
    """Components for 90 % of the variance, the last one in part: float64 [P]; 0 for points in one place.

    k − 1 whole components and the fraction of the k-th that is still needed. It grows continuously with the eigenvalues,
    where a whole number would jump, and ties and last bits would decide on which side.
    """
    p = shares(similarity)
    reached = np.cumsum(p, axis=1)
    whole_ones = np.minimum((reached < SHARE).sum(axis=1), p.shape[1] - 1)
    at = (np.arange(len(p)), whole_ones)
    missing = SHARE - (reached[at] - p[at])
    return np.asarray(np.where(p[at] > 0, whole_ones + missing / np.where(p[at] > 0, p[at], 1.0), 0.0))


def _spectral(statistic: Statistic, shuffle: bool = False) -> Callable[[Geometry, Entity], Prepared]:
    def prepare(geometry: Geometry, entity: Entity) -> Prepared:
        members = entity.need_members()
        tables = [geometry.cosine(q) for q in range(geometry.n_layers)]

        def sums(arrangements: Arrangements) -> NDArray[np.int64]:
            return submatrix_statistic(tables, members, arrangements, statistic)

        def made(matrices: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
            return np.stack([whole(statistic(matrix)) for matrix in matrices], axis=1)

        return _prepared(geometry, len(members), sums, made, shuffle)

    return prepare


def _prepare_two_nn(geometry: Geometry, entity: Entity) -> Prepared:
    members = entity.need_members()
    table = geometry.remember(
        "log distances", lambda: np.stack([log_distances(geometry.cosine(q)) for q in range(geometry.n_layers)], axis=2)
    )
    everyone = np.arange(len(members))

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return whole(log(two_nn_dimension(table, members, arrangements)))

    def made(matrices: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        # every cloud is a view of its own on the same m places
        logs = np.stack([log_distances(cloud) for clouds in zip(*matrices, strict=True) for cloud in clouds], axis=2)
        found = whole(log(two_nn_dimension(logs, everyone, everyone.astype(np.int32)[None])))
        return np.asarray(found.reshape(-1, len(matrices)))

    return _prepared(geometry, len(members), sums, made)


def _prepared(
    geometry: Geometry,
    m: int,
    sums: Callable[[Arrangements], NDArray[np.int64]],
    made: Callable[[Sequence[NDArray[np.int64]]], NDArray[np.int64]],
    shuffle: bool = False,
) -> Prepared:
    """``made``: cosines of made clouds, [P, m, m] a layer → int64 [P, V]."""
    views = tuple(View(f"L{q}", "unit sphere") for q in range(geometry.n_layers))
    points = [geometry.unit(q)[geometry.universe] for q in range(geometry.n_layers)]
    weights = geometry.remember("axis weights", lambda: [axis_weights(p) for p in points])
    clouds: dict[str, Clouds] = {MATCHED_GAUSSIAN.name: lambda *draws: gaussian_cosines(weights, m, *draws)}
    if shuffle:
        clouds[FEATURE_SHUFFLE.name] = lambda *draws: shuffled_cosines(points, m, *draws)
    observed = np.arange(geometry.n, dtype=np.int32)[None]
    step = max(1, _CELLS // (m * max(points[0].shape[1], m)))

    def own(cloud: Clouds) -> OwnDraws:
        def draws(key: tuple[int, int], start: int, stop: int) -> NDArray[np.int64]:
            rows = [sums(observed)] if start == 0 else []
            rows += [made(cloud(key, j, min(j + step, stop))) for j in range(max(1, start), stop, step)]
            return np.concatenate(rows)

        return draws

    return Prepared(
        views, sums, *affine(len(views), 2.0**-BITS, 0.0), own={name: own(cloud) for name, cloud in clouds.items()}
    )


_K = "K = doubly centred cosine matrix of the set (its points on the unit sphere, centred on their mean)"
_NULL = "the set size, on which any dimension depends strongly; the similarity matrix"
_ASSUMES = "labels exchangeable over genes (within strata)"

ENTROPY_RANK = TestKind(
    name="entropy_rank",
    family="spectrum",
    entity="gene_set",
    alternative="two-sided",
    effect_unit="dimensions",
    coordinates=fixed("unit sphere"),
    min_size=8,
    asks="Is the variance of the set spread over fewer or more directions than that of as many other genes?",
    formula=f"exp(−Σ p_k ln p_k), p = eigenvalues of K over their sum, {_K}; rounded to 2⁻²⁰",
    null_preserves=_NULL,
    assumes=_ASSUMES,
    source="effective rank: Roy & Vetterli 2007",
    prepare=_spectral(entropy_rank, shuffle=True),
    nulls=(MATCHED_GAUSSIAN.name, FEATURE_SHUFFLE.name),
    universe=False,
    staged=True,
)

K90 = TestKind(
    name="k90",
    family="spectrum",
    entity="gene_set",
    alternative="two-sided",
    effect_unit="components",
    coordinates=fixed("unit sphere"),
    min_size=8,
    asks="Do fewer or more principal components than usual hold 90 % of the variance of the set?",
    formula="k − 1 + (0.9 − Σ_{j<k} p_j) / p_k with k the first component at which Σ_{j≤k} p_j ≥ 0.9 (the last component "
    f"counts in part), p = eigenvalues of K over their sum, largest first, {_K}; rounded to 2⁻²⁰",
    null_preserves=_NULL,
    assumes=_ASSUMES,
    source="share of explained variance, e.g. Jolliffe 2002, chapter 6; interpolated",
    prepare=_spectral(k90),
    nulls=(MATCHED_GAUSSIAN.name,),
    universe=False,
    staged=True,
)

TWO_NN = TestKind(
    name="two_nn",
    family="spectrum",
    entity="gene_set",
    alternative="two-sided",
    effect_unit="ln dimension",
    coordinates=fixed("unit sphere"),
    min_size=10,
    asks="Do the distances to the two nearest genes of the set speak of a sheet of lower or higher dimension than usual?",
    formula="T = ln d, d = Σ x_i·y_i / Σ x_i² over all but the largest 10 % of x_i = ln(r₂/r₁) in order, y_i = −ln(1 − i/m); "
    "r₁, r₂ = chords to the two nearest other genes of the set; logarithms rounded to 2⁻²⁰; d is at most "
    f"{LARGEST_DIMENSION}, which also stands where all ratios are 1. d itself is skewed (its error is in proportion to it), "
    "and a two-sided test of it would hardly see low dimensions; ln d is not",
    null_preserves=_NULL,
    assumes=f"{_ASSUMES}; the number is a dimension only as far as the density is even around a gene",
    source="Facco et al. 2017",
    prepare=_prepare_two_nn,
    nulls=(MATCHED_GAUSSIAN.name,),
    universe=False,
)
