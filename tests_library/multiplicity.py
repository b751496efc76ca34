"""Many tests, one error rate: single-step and step-down max-T, and weighted groups.

They carry the claim of the product; they are our own and rest on shared arrangements, and Holm takes over where
a null draws for each hypothesis apart. The columns that are only printed stand in :mod:`.printed`.

The last part is the price of looking more than once at the same held-out genes: :func:`split_alpha`, :func:`transcripts`,
:func:`charged_level`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from .engine.maxt import exceedances, p_value


@dataclass(frozen=True)
class Adjusted:
    """k_adj of m draws and p_adj = (k_adj + 1) / (m + 1)."""

    k: int
    p: float


def single_step(
    maxima: Mapping[str, NDArray[np.float64]], universe_maximum: NDArray[np.float64]
) -> dict[str, Adjusted]:
    """Single-step max-T against everything that could have been said.

    ``maxima[h]`` is hypothesis h's own maximum over its views, ``universe_maximum`` the maximum over every view of every
    entity and kind, both float64 [m + 1] with the observed first, on the same arrangements. Any hypothesis is a maximum
    over a subset of the universe, so the family-wise error is controlled strongly, whichever were looked at and why
    (Westfall & Young 1993, under subset pivotality: labels of true nulls are jointly exchangeable).
    """
    m = len(universe_maximum) - 1
    out = {}
    for name, own in maxima.items():
        k = exceedances(universe_maximum, observed=float(own[0]))
        out[name] = Adjusted(k, p_value(k, m))
    return out


def step_down(maxima: Mapping[str, NDArray[np.float64]]) -> dict[str, Adjusted]:
    """Step-down max-T over a frozen list, each statistic first standardised over its own m + 1 arrangements.

    Standardising lets a hypothesis that scans one view compete with one that scans fifty. Mean and sd include the
    observed arrangement, so exchangeability, and with it exactness, is kept. Same assumptions as :func:`single_step`.
    Adjusted p are monotone in the order of the observed statistics (Westfall & Young 1993, algorithm 4.1).
    """
    if not maxima:
        return {}
    scaled = {name: _standardised(values) for name, values in maxima.items()}
    order = sorted(scaled, key=lambda name: (-scaled[name][0], name))
    m = len(next(iter(scaled.values()))) - 1
    running = np.full(m + 1, -np.inf)
    counts = {}
    for name in reversed(order):
        running = np.maximum(running, scaled[name])
        counts[name] = exceedances(running, observed=float(scaled[name][0]))
    out: dict[str, Adjusted] = {}
    worst = 0
    for name in order:
        worst = max(worst, counts[name])
        out[name] = Adjusted(worst, p_value(worst, m))
    return out


def bonferroni(adjusted: Adjusted, families: int) -> Adjusted:
    """The same row among ``families`` families whose arrangements are not shared: p times their number, at most 1."""
    return Adjusted(adjusted.k, min(1.0, adjusted.p * families))


def holm(maxima: Mapping[str, NDArray[np.float64]]) -> dict[str, Adjusted]:
    """Holm's step-down over hypotheses whose arrangements are not shared: any dependence (Holm 1979).

    ``maxima[h]`` is float64 [m + 1] with the observed first; k is the row's own count.
    """
    m = {name: len(values) - 1 for name, values in maxima.items()}
    k = {name: exceedances(values) for name, values in maxima.items()}
    p = {name: p_value(k[name], m[name]) for name in maxima}
    out: dict[str, Adjusted] = {}
    worst = 0.0
    for rank, name in enumerate(sorted(p, key=lambda name: (p[name], name))):
        worst = max(worst, min(1.0, p[name] * (len(p) - rank)))
        out[name] = Adjusted(k[name], worst)
    return out


def weighted(adjusted: Adjusted, weight: float) -> float:
    """p of a group that holds the share ``weight`` of alpha: min(1, p / weight) (weighted Bonferroni over groups)."""
    if not 0 < weight <= 1:
        raise ValueError(f"a group's weight must lie in (0, 1], not {weight}")
    return min(1.0, adjusted.p / weight)


def largest_over_nulls(by_null: Mapping[str, float]) -> tuple[str, float]:
    """A claim uses the largest p over its companion nulls; ties go to the null named last."""
    return max(by_null.items(), key=lambda item: (item[1], item[0]))


def split_alpha(alpha: float, looks: int) -> tuple[float, ...]:
    """``alpha`` in ``looks`` equal shares, each rounded down: the exact sum of the floats is at most ``alpha``."""
    if looks < 1:
        raise ValueError(f"a run has at least one look, not {looks}")
    return (_rounded_down(Fraction(alpha) / looks),) * looks


def transcripts(rows: Sequence[int]) -> int:
    """How many different things earlier looks could have shown, if each showed only how many of its rows were confirmed.

    ``rows[i]`` is the number R_i of rows of look i, which may depend on what the looks before it showed. A count out of R
    rows has R + 1 values, so the answer is Π (R_i + 1), and log2 of it is the number of bits shown.
    """
    if any(r < 0 for r in rows):
        raise ValueError(f"a look has no fewer than 0 rows, not {min(rows)}")
    return math.prod(r + 1 for r in rows)


def charged_level(alpha: float, shown: int) -> float:
    """alpha / ``shown``, rounded down: the level of a look whose rows were chosen after one of ``shown`` transcripts.

    Asks: what was confirmed among rows that somebody chose after seeing something of the same held-out data? For each
    single transcript t the chosen rows are fixed before the data are drawn, so a test with strong control of the
    family-wise error at level a_t errs with probability at most a_t, and the union over transcripts at most Σ a_t. With
    a_t = alpha / shown(t) this is at most alpha: along any tree of looks Σ 1 / shown(t) = 1 (Kraft's equality), even where
    the number of rows of a look depends on what was shown before. This is alpha / 2^bits with bits = log2(shown)
    (description-length bound; Russo & Zou 2016 and Dwork et al. 2015 treat the general case).

    Assumes that nothing else of the data was seen, and that whatever the arrangements leave unchanged (sizes, strata) is
    given: a permutation test is valid conditional on it, so it costs nothing.
    """
    if shown < 1:
        raise ValueError(f"there is at least one transcript (nothing was shown), not {shown}")
    return _rounded_down(Fraction(alpha) / shown)


def _rounded_down(value: Fraction) -> float:
    """The largest float that is not above ``value``."""
    near = float(value)
    return near if Fraction(near) <= value else math.nextafter(near, 0.0)


def _standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    n = len(values)
    mean = math.fsum(values.tolist()) / n  # exactly rounded, so the bits depend on no summation order
    variance = math.fsum(((values - mean) ** 2).tolist()) / n
    return (values - mean) / math.sqrt(variance) if variance > 0 else np.zeros(n)
