"""Confidence intervals of an effect: how well a number is known, beside the p-value that says whether it is nothing.

Four intervals. :func:`delong_interval` is for the AUROC of one set of genes against others and takes genes, or whole
clusters of genes, as independent; :func:`cross_validated_interval` is its like for a classifier that was fitted fold by
fold. :func:`cluster_bootstrap` is for a mean of scores and resamples whole clusters.
:func:`jackknife_interval` is for any smooth statistic and is made of its values with one cluster left out. Clusters are
gene families for sets and pairs, regulators for edges; :mod:`.uncertainty` says which kind of test gets which.

An interval is for a view that was fixed beforehand. At a view chosen as the best of many it is *not* adjusted for the
choice: its centre is too far out and its coverage below its level. It decides no claim.

Sources: DeLong, DeLong & Clarke-Pearson 1988, placements from ranks as in Sun & Xu 2014, clusters as in Obuchowski 1997;
folds: LeDell, Petersen & van der Laan 2015;
percentile bootstrap, Efron & Tibshirani 1993; resampling of clusters, Field & Welsh 2007; jackknife of clusters with a t
quantile, Tukey 1958, MacKinnon, Nielsen & Webb 2023.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .engine.jit import as_numpy
from .engine.philox import bounded, philox_words, uneven
from .spaces import centred_ranks, quantise

DRAWS = 1999
"""Bootstrap draws: (draws + 1) · 2.5 % is a whole number, so both ends are order statistics."""
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with a two-sided confidence interval of nominal coverage ``level``; low = high where nothing varies."""

    estimate: float
    low: float
    high: float
    level: float


def delong_interval(
    positive: ArrayLike,
    negative: ArrayLike,
    level: float = LEVEL,
    clusters: "tuple[Sequence[str | int], Sequence[str | int]] | None" = None,
) -> Interval:
    """AUROC of scores ``positive`` [a] over ``negative`` [b] (ties one half), with its interval cut to [0, 1].

    The variance is var(V₁₀) / a + var(V₀₁) / b, where V₁₀ is the share of negatives below a positive and V₀₁ the share of
    positives above a negative. It is exact in rational numbers up to one square root. Without ``clusters`` it assumes
    independent genes, with paralogs in both samples it is too narrow, and the quantile is normal. Where all placements are
    equal, as with constant scores or an AUROC of 0 or 1, the variance is 0 and the interval has no width: read it as "no
    estimate of the spread", not as certainty.

    ``clusters`` labels the positives [a] and the negatives [b]; a label may occur in both. V₁₀ and V₀₁ are then summed within
    clusters, their covariance inside mixed clusters counts, and the quantile is that of t with one degree of freedom less
    than clusters that hold a positive. With every gene a cluster of its own the variance is DeLong's.

    Raises ``ValueError`` for fewer than two positives or negatives (or clusters of them), labels that do not match the scores,
    non-finite scores, or a level outside (0, 1).
    """
    first, second = _scores(positive, "positive"), _scores(negative, "negative")
    a, b = len(first), len(second)
    if min(a, b) < 2:
        raise ValueError(f"DeLong's variance needs two positives and two negatives, here are {a} and {b}")
    _, codes = np.unique(np.concatenate([first, second]), return_inverse=True)
    codes = codes.astype(np.int64)
    pooled = _doubled_ranks(codes)
    # twice the number of scores of the other class that lie below (ties one half)
    below = pooled[:a] - _doubled_ranks(codes[:a])
    above = 2 * a - (pooled[a:] - _doubled_ranks(codes[a:]))
    auroc = Fraction(int(below.sum()), 2 * a * b)
    if clusters is None:
        tail = (
            round(NormalDist().inv_cdf(0.5 + _checked(level) / 2) * 2**30) / 2**30
        )  # its logarithm is the machine's own
        variance = _variance(below, 2 * b) / a + _variance(above, 2 * a) / b
    else:
        variance, positives = _clustered_variance(below, above, clusters)
        tail = t_quantile(positives - 1, level)
    half = tail * math.sqrt(variance)
    estimate = float(auroc)
    return Interval(estimate, max(0.0, estimate - half), min(1.0, estimate + half), level)


def cross_validated_interval(
    scores: Sequence[int],
    positive: Sequence[bool],
    folds: Sequence[int],
    clusters: Sequence[str | int],
    level: float = LEVEL,
) -> Interval:
    """Pooled within-fold AUROC of held-out ``scores`` [n], with its interval cut to [0, 1].

    A comparison is a positive and a negative of one fold; folds without both have none. Each gene's wins minus what the
    AUROC expects of them are summed in ``clusters`` [n], squared and added, times g / (g − 1), g clusters that hold a
    positive; the quantile is that of t with g − 1 degrees of freedom. The fitted models are taken as given, so how much
    they would vary is not covered. Integers up to one square root.

    Raises ``ValueError`` without any comparison, or for fewer than two clusters with positives.
    """
    fold = np.asarray(folds)
    labelled = np.asarray(positive, dtype=np.bool_)
    _, codes = np.unique(np.asarray(scores), return_inverse=True)
    wins = np.zeros(len(codes), np.int64)
    opponents = np.zeros(len(codes), np.int64)
    for f in np.unique(fold).tolist():
        up, down = np.flatnonzero((fold == f) & labelled), np.flatnonzero((fold == f) & ~labelled)
        if len(up) and len(down):
            sign = np.sign(codes[up][:, None] - codes[down][None, :]).astype(np.int64) + 1
            wins[up], opponents[up] = sign.sum(axis=1), len(down)
            wins[down], opponents[down] = sign.sum(axis=0), len(up)
    total, comparisons = int(wins[labelled].sum()), int(opponents[labelled].sum())
    g = len({label for label, up in zip(clusters, labelled.tolist(), strict=True) if up})
    if comparisons == 0 or g < 2:
        raise ValueError(
            "an AUROC over folds needs a positive and a negative in one fold, and two clusters of positives"
        )
    sums: dict[str | int, int] = {}
    for label, won, met in zip(clusters, wins.tolist(), opponents.tolist(), strict=True):
        sums[label] = sums.get(label, 0) + won * comparisons - met * total
    variance = Fraction(g * sum(v * v for v in sums.values()), (g - 1) * (2 * comparisons**2) ** 2)
    half, auroc = t_quantile(g - 1, level) * math.sqrt(variance), total / (2 * comparisons)
    return Interval(auroc, max(0.0, auroc - half), min(1.0, auroc + half), level)


def cluster_bootstrap(
    scores: ArrayLike, clusters: Sequence[str | int], seed: int, draws: int = DRAWS, level: float = LEVEL
) -> Interval:
    """Mean of ``scores`` [s] with a percentile interval that resamples whole ``clusters`` [s] with replacement.

    A draw takes as many clusters as there are and averages all scores in them, so large clusters weigh more, as they do in
    the mean itself. Scores are rounded to 2⁻³⁰ of the largest one and summed as integers: the same bits on every machine.
    Draw j takes its words from Philox counters (place, j, stream), key = sha256 of the seed. With few clusters (below about
    20) the interval is too narrow; equal scores give one without width.

    Raises ``ValueError`` for fewer than two clusters, labels that do not match the scores, non-finite scores, or so few
    draws that the ends of the interval lie beyond the outermost draw.
    """
    values = _scores(scores, "score")
    if len(clusters) != len(values):
        raise ValueError(f"{len(values)} scores and {len(clusters)} cluster labels; each score needs its own")
    _, cluster = np.unique(np.asarray(list(clusters)), return_inverse=True)
    sizes = np.bincount(cluster).astype(np.int64)
    if len(sizes) < 2:
        raise ValueError("a bootstrap of clusters needs two clusters, here is one; there is nothing to resample")
    outside = int(np.floor((draws + 1) * (1 - _checked(level)) / 2 + 1e-9))  # 1 − .95 is not exactly .05
    if outside < 1:
        raise ValueError(f"{draws} draws are too few for an interval of level {level}; take {DRAWS}")
    whole = quantise(values[:, None])[:, 0]
    unit = float(np.abs(values).max()) * 2.0**-30
    totals = np.zeros(len(sizes), np.int64)
    np.add.at(totals, cluster, whole)
    drawn = _resampled(len(sizes), draws, seed)
    means = np.sort(totals[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)) * unit
    return Interval(int(whole.sum()) / len(whole) * unit, float(means[outside - 1]), float(means[-outside]), level)


def jackknife_interval(estimate: float, left_out: Sequence[float], level: float = LEVEL) -> Interval:
    """``estimate`` ± t · se from its values with each of g clusters left out, ``left_out`` [g].

    se² = (g − 1) / g · Σ (θ₍₋ⱼ₎ − mean of θ₍₋.₎)², t with g − 1 degrees of freedom. Right for smooth functions of means and for
    U-statistics of independent clusters, a little too wide where clusters differ in size. Sums are correctly rounded, so
    their order decides no bit. With few clusters (below about 10) it is rough.

    Raises ``ValueError`` for fewer than two values, non-finite ones, or a level outside (0, 1).
    """
    values = _scores(left_out, "left-out")
    g = len(values)
    if g < 2:
        raise ValueError("a jackknife needs two clusters, here is one; there is nothing to leave out")
    centre = math.fsum(values.tolist()) / g
    squares = math.fsum((v - centre) ** 2 for v in values.tolist())
    half = t_quantile(g - 1, level) * math.sqrt((g - 1) / g * squares)
    return Interval(estimate, estimate - half, estimate + half, level)


@cache
def t_quantile(degrees: int, level: float = LEVEL) -> float:
    """The (1 + level) / 2 quantile of Student's t, rounded to 2⁻²⁰ so that libraries cannot differ in it."""
    from scipy.special import stdtrit

    return round(float(stdtrit(degrees, 0.5 + _checked(level) / 2)) * 2**20) / 2**20


def _clustered_variance(
    below: NDArray[np.int64], above: NDArray[np.int64], clusters: "tuple[Sequence[str | int], Sequence[str | int]]"
) -> tuple[Fraction, int]:
    """Obuchowski's variance of an AUROC, and the number of clusters that hold a positive.

    ``below`` [a] and ``above`` [b] are the placements in units of 1 / 2b and 1 / 2a. The covariance of mixed clusters may
    make it negative where everything is nearly equal; it is then 0.
    """
    a, b = len(below), len(above)
    if (len(clusters[0]), len(clusters[1])) != (a, b):
        raise ValueError(
            f"{a} + {b} scores and {len(clusters[0])} + {len(clusters[1])} labels; each score needs its own"
        )
    wins = int(below.sum())
    sums: tuple[dict[str | int, int], dict[str | int, int]] = ({}, {})
    for side, placed, others in ((0, below, a), (1, above, b)):
        for label, value in zip(clusters[side], placed.tolist(), strict=True):
            sums[side][label] = sums[side].get(label, 0) + value * others - wins
    few = min(len(sums[0]), len(sums[1]))
    if few < 2:
        raise ValueError("clusters of positives and of negatives must be two each, here is one; there is no variance")
    first, second = (
        Fraction(len(side) * sum(v * v for v in side.values()), (len(side) - 1) * n * n)
        for side, n in ((sums[0], a), (sums[1], b))
    )
    every = len(sums[0].keys() | sums[1].keys())
    mixed = sum(v * sums[1].get(label, 0) for label, v in sums[0].items())
    total = first + second + Fraction(2 * every * mixed, (every - 1) * a * b)
    return max(Fraction(0), total / (2 * a * b) ** 2), len(sums[0])


def _resampled(n: int, draws: int, seed: int) -> NDArray[np.int64]:
    """``draws`` rows of ``n`` uniform picks from 0 … n − 1, int64 [draws, n]; row j depends on the seed and j alone."""
    digest = hashlib.sha256(f"{seed}\x1fcluster bootstrap".encode()).digest()
    k0, k1 = (np.full((1, 1), int.from_bytes(digest[i : i + 4], "little"), np.uint64) for i in (0, 4))
    place = np.arange(n, dtype=np.uint64)[None, :]
    draw = np.arange(draws, dtype=np.uint64)[:, None]
    zero, bound = np.zeros((1, 1), np.uint64), np.uint64(n)
    word = as_numpy(philox_words)(place, draw, zero, zero, k0, k1)[0]
    stream = zero
    while (refused := as_numpy(uneven)(word, bound)).any():
        stream = stream + np.uint64(1)
        word = np.where(refused, as_numpy(philox_words)(place, draw, stream, zero, k0, k1)[0], word)
    picks: NDArray[np.int64] = as_numpy(bounded)(word, bound).astype(np.int64)
    return picks


def _doubled_ranks(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Twice the mid-rank, from 2 upwards, int64 [n]."""
    return centred_ranks(values[:, None])[:, 0].astype(np.int64) + len(values) + 1


def _variance(doubled: NDArray[np.int64], unit: int) -> Fraction:
    """Unbiased variance of ``doubled / unit``, exactly."""
    n, total = len(doubled), int(doubled.sum())
    squares = sum(v * v for v in doubled.tolist())
    return Fraction(n * squares - total * total, n * (n - 1) * unit * unit)


def _scores(values: ArrayLike, name: str) -> NDArray[np.float64]:
    out = np.asarray(values, dtype=np.float64)
    if out.ndim != 1 or not np.isfinite(out).all():
        raise ValueError(f"{name} values must be one row of finite numbers")
    return out


def _checked(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level {level} must lie between 0 and 1")
    return level
