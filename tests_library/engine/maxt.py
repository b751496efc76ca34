"""From integer statistics to one p-value: standardise, take the maximum over views, count.

The standardising mean and sd of a view are taken over all m + 1 arrangements, the observed one included. They are then
symmetric in the arrangements, so the rank of the observed maximum among all maxima is exactly uniform under the null
and p = (k + 1) / (m + 1) is exact for any m (Westfall & Young 1993; Phipson & Smyth 2010), for skewed statistics too.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .jit import HAVE_NUMBA, jit

Alternative = Literal["greater", "less", "two-sided"]
_SUM_BITS = 62


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and sd of each view's statistic over all arrangements: float64 [V] each; sd 0 means a broken null."""

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]


def moments(totals: NDArray[np.int64]) -> Moments:
    """Mean and sd over axis 0 of int64 [m + 1, V], through integer sums only, so the bits depend on nothing else.

    Deviations are shifted right by a power of two just large enough that the sum of squares fits in 62 bits. The shift
    depends on the set of arrangements and not on which is the observed one.
    """
    n = totals.shape[0]
    low, high, above_low = _bounds(totals)
    centre = low + np.rint(above_low / n).astype(np.int64)
    mean = centre + (above_low - n * (centre - low)) / n
    widest = np.maximum(high - centre, centre - low)
    shift = np.array([_shift(int(w), n) for w in widest.tolist()], dtype=np.int64)
    squares = _squares(totals, centre, shift)
    sd = np.empty(totals.shape[1])
    for v, (squared, by) in enumerate(zip(squares.tolist(), shift.tolist(), strict=True)):
        offset = float(mean[v] - centre[v]) / (1 << by)
        sd[v] = math.sqrt(max(0.0, squared / n - offset * offset)) * (1 << by)
    return Moments(mean, sd)


def standardise(totals: NDArray[np.int64], m: Moments, alternative: Alternative) -> NDArray[np.float64]:
    """Standardised statistic, larger = more extreme: float64 [m + 1, V]. A view with sd 0 is 0 everywhere."""
    safe = np.where(m.sd > 0, m.sd, np.inf)
    if HAVE_NUMBA:
        out = np.empty(totals.shape)
        _standardise_loop(totals, m.mean, safe, alternative == "two-sided", alternative == "less", out)
        return out
    z = (totals - m.mean) / safe
    if alternative == "two-sided":
        return np.asarray(np.abs(z))
    return z if alternative == "greater" else -z


def exceedances(values: NDArray[np.float64], observed: float | None = None) -> int:
    """k: how many of ``values[1:]`` are at least ``observed`` (default ``values[0]``)."""
    return int((values[1:] >= (values[0] if observed is None else observed)).sum())


def p_value(k: int, m: int) -> float:
    """(k + 1) / (m + 1): never 0 (Phipson & Smyth 2010)."""
    if not 0 <= k <= m:
        raise ValueError(f"k = {k} must lie between 0 and m = {m}")
    return (k + 1) / (m + 1)


def _shift(widest: int, n: int) -> int:
    """By how many bits deviations of at most ``widest`` are shifted right, so that n of their squares sum to under 2⁶²."""
    return max(0, math.ceil((2 * widest.bit_length() + n.bit_length() - _SUM_BITS) / 2))


def _bounds(totals: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Smallest and largest of each column and the sum of what is above the smallest: int64 [V] each."""
    if not HAVE_NUMBA:
        low = totals.min(axis=0)
        return low, totals.max(axis=0), (totals - low).sum(axis=0)
    low, high, total = totals[0].copy(), totals[0].copy(), np.zeros(totals.shape[1], np.int64)
    _bounds_loop(totals, low, high, total)
    return low, high, total - len(totals) * (low - totals[0])


def _squares(totals: NDArray[np.int64], centre: NDArray[np.int64], shift: NDArray[np.int64]) -> NDArray[np.int64]:
    """Σ (|total − centre| >> shift)² of each column: int64 [V]."""
    out = np.zeros(totals.shape[1], np.int64)
    if HAVE_NUMBA:
        _squares_loop(totals, centre, shift, out)
        return out
    shifted = np.abs(totals - centre) >> shift
    return np.asarray((shifted * shifted).sum(axis=0))


@jit
def _bounds_loop(
    totals: NDArray[np.int64], low: NDArray[np.int64], high: NDArray[np.int64], above_first: NDArray[np.int64]
) -> None:
    """Sums are taken from the first row on, so that they stay small."""
    for p in range(totals.shape[0]):
        for v in range(totals.shape[1]):
            low[v] = min(low[v], totals[p, v])
            high[v] = max(high[v], totals[p, v])
            above_first[v] += totals[p, v] - totals[0, v]


@jit
def _squares_loop(
    totals: NDArray[np.int64], centre: NDArray[np.int64], shift: NDArray[np.int64], out: NDArray[np.int64]
) -> None:
    for p in range(totals.shape[0]):
        for v in range(totals.shape[1]):
            shifted = abs(totals[p, v] - centre[v]) >> shift[v]
            out[v] += shifted * shifted


@jit
def _standardise_loop(
    totals: NDArray[np.int64],
    mean: NDArray[np.float64],
    sd: NDArray[np.float64],
    two_sided: bool,
    less: bool,
    out: NDArray[np.float64],
) -> None:
    for p in range(totals.shape[0]):
        for v in range(totals.shape[1]):
            z = (totals[p, v] - mean[v]) / sd[v]
            out[p, v] = abs(z) if two_sided else -z if less else z
