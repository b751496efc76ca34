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
    reference = totals.min(axis=0)
    centre = reference + np.rint((totals - reference).sum(axis=0) / n).astype(np.int64)
    deviation = totals - centre
    mean = centre + deviation.sum(axis=0) / n
    sd = np.empty(totals.shape[1])
    for v in range(totals.shape[1]):
        column = np.abs(deviation[:, v])
        shift = max(0, math.ceil((2 * int(column.max()).bit_length() + n.bit_length() - _SUM_BITS) / 2))
        squares = int(((column >> shift) ** 2).sum())
        offset = float(mean[v] - centre[v]) / (1 << shift)
        sd[v] = math.sqrt(max(0.0, squares / n - offset * offset)) * (1 << shift)
    return Moments(mean, sd)


def standardise(totals: NDArray[np.int64], m: Moments, alternative: Alternative) -> NDArray[np.float64]:
    """Standardised statistic, larger = more extreme: float64 [m + 1, V]. A view with sd 0 is 0 everywhere."""
    safe = np.where(m.sd > 0, m.sd, np.inf)
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
