"""Confidence intervals of an effect: how well a number is known, beside the p-value that says whether it is nothing.

Two intervals. :func:`delong_interval` is for the AUROC of one set of genes against others and takes genes as independent.
:func:`cluster_bootstrap` is for a mean of scores and resamples whole clusters: gene families for a gene set,
regulators for edges.

An interval is for a view that was fixed beforehand. At a view chosen as the best of many it is *not* adjusted for the
choice: its centre is too far out and its coverage below its level. It decides no claim.

Sources: DeLong, DeLong & Clarke-Pearson 1988, placements from ranks as in Sun & Xu 2014; percentile bootstrap, Efron &
Tibshirani 1993; resampling of clusters, Field & Welsh 2007.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
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


def delong_interval(positive: ArrayLike, negative: ArrayLike, level: float = LEVEL) -> Interval:
    """AUROC of scores ``positive`` [a] over ``negative`` [b] (ties one half), with its normal interval cut to [0, 1].

    The variance is var(V₁₀) / a + var(V₀₁) / b, where V₁₀ is the share of negatives below a positive and V₀₁ the share of
    positives above a negative. It is exact in rational numbers up to one square root. Assumes independent genes: with
    paralogs in both samples it is too narrow. Where all placements are equal, as with constant scores or an AUROC of 0
    or 1, the variance is 0 and the interval has no width: read it as "no estimate of the spread", not as certainty.

    Raises ``ValueError`` for fewer than two positives or negatives, non-finite scores, or a level outside (0, 1).
    """
    first, second = _scores(positive, "positive"), _scores(negative, "negative")
    a, b = len(first), len(second)
    if min(a, b) < 2:
        raise ValueError(f"DeLong's variance needs two positives and two negatives, here are {a} and {b}")
    tail = round(NormalDist().inv_cdf(0.5 + _checked(level) / 2) * 2**30) / 2**30  # its logarithm is the machine's own
    _, codes = np.unique(np.concatenate([first, second]), return_inverse=True)
    codes = codes.astype(np.int64)
    pooled = _doubled_ranks(codes)
    # twice the number of scores of the other class that lie below (ties one half)
    below = pooled[:a] - _doubled_ranks(codes[:a])
    above = 2 * a - (pooled[a:] - _doubled_ranks(codes[a:]))
    auroc = Fraction(int(below.sum()), 2 * a * b)
    variance = _variance(below, 2 * b) / a + _variance(above, 2 * a) / b
    half = tail * math.sqrt(variance)
    estimate = float(auroc)
    return Interval(estimate, max(0.0, estimate - half), min(1.0, estimate + half), level)


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
