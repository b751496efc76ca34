"""Fewer draws where a row is clearly nothing: rules for when a Monte-Carlo test may stop, as pure functions.

Two rules, both valid for every m: P(p ≤ t) ≤ t for every t when labels are exchangeable.

*Ladder* (:func:`climb`). After each rung's draws, p = (k + 1) / (m + 1) is computed afresh from all draws so far, moments
included; the test stops at the first rung whose p is above that rung's threshold, and a test that passes every rung has
made all m draws. **Why it is valid.** Let c_1, c_2, … be the thresholds, 0 at the last rung, and p_s the p at rung s, each
valid by itself because mean and sd are symmetric in the arrangements 0 … m_s. Fix t, and let j be the first rung with
c_j < t. A test stopped before j reports p > c_s ≥ t. Any other reaches j: it stops there with p_j, or it passes with
p_j ≤ c_j < t. So {p ≤ t} lies inside {p_j ≤ t}, whose probability is at most t. Nothing else is used: neither the
dependence between rungs, nor that moments are fixed, nor any order of the thresholds. A row that passes every rung has,
bit for bit, the numbers of a test that never asked. **What would break it:** stopping because p is *small*; letting one
test's draws depend on another's p (two subsets of views that stop together; tests/tests_library/test_sequential.py has
both counter-examples in numbers); moments without the observed arrangement.

*Besag–Clifford* (:func:`besag_clifford`). Stop at the h-th draw that is at least as extreme as the observed; p = h / l after l
draws, else (k + 1) / (m + 1). It needs a statistic that does not change while draws come in, so moments cannot be
recomputed; :func:`piloted` takes them from draws that are then put aside. With h from :func:`curtailed` the decision at one
alpha is that of all m draws, always. Source: Besag & Clifford 1991, Biometrika 78:301.

Which: the ladder where one p is a maximum over standardised views, as everywhere in this package; Besag–Clifford for a
single statistic that needs no moments. At the same decision at .05 they cost a null row about the same
(:func:`most_mean_draws`, and the test beside it).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from .engine.maxt import Alternative, moments, p_value, standardise

EPSILON = 1e-9
"""Keeps alpha · (m + 1) from falling below an integer that it is on paper."""


@dataclass(frozen=True)
class Rung:
    """After ``draws`` draws, stop where p is above ``stop_above``."""

    draws: int
    stop_above: float


LADDER = (Rung(63, 0.4), Rung(255, 0.2), Rung(1023, 0.1))
"""A row with p ≤ .05 in the end is stopped with probability below 1e-9 at any rung, for fixed moments (:func:`missed`)."""


@dataclass(frozen=True)
class Counted:
    """k of m draws; the p that a rule reports is always of the form (k + 1) / (m + 1)."""

    k: int
    m: int

    @property
    def p(self) -> float:
        """(k + 1) / (m + 1)."""
        return p_value(self.k, self.m)


def rungs(m: int, ladder: Sequence[Rung] = LADDER) -> tuple[Rung, ...]:
    """The rungs of ``ladder`` below ``m``, and the last one, which always stops. ``ValueError`` unless they ascend."""
    if m < 1:
        raise ValueError(f"m = {m} must be at least 1")
    below = [rung for rung in ladder if rung.draws < m]
    steps = [0, *(rung.draws for rung in below)]
    if any(a >= b for a, b in pairwise(steps)):
        raise ValueError(f"the rungs of a ladder must ascend from 1 draw, not {steps[1:]}")
    return (*below, Rung(m, 0.0))


def climb(count_after: Callable[[int], int], m: int, ladder: Sequence[Rung] = LADDER) -> Counted:
    """Climb until a rung stops the test. ``count_after(draws)`` is k over draws 1 … draws, everything computed afresh."""
    for rung in rungs(m, ladder):
        counted = Counted(count_after(rung.draws), rung.draws)
        if counted.p > rung.stop_above:
            break
    return counted


def missed(rung: Rung, m: int, alpha: float) -> float:
    """The largest probability that ``rung`` stops a test which would have p ≤ ``alpha`` after all ``m`` draws.

    For a fixed statistic: given that K of m draws are at least as extreme, those among the first ``rung.draws`` are
    hypergeometric. Where moments are computed afresh this is no bound but the usual size: a view whose null has rare, huge
    outliers can look different before the first of them (the test has such a case). Validity does not rest on it.
    """
    from scipy.stats import hypergeom

    most = floor(alpha * (m + 1) + EPSILON) - 1
    if most < 0 or rung.draws >= m:
        return 0.0
    stops_from = floor(
        rung.stop_above * (rung.draws + 1) + EPSILON
    )  # the smallest k with (k + 1) / (draws + 1) above it
    return float(hypergeom.sf(stops_from - 1, m, most, rung.draws))


def most_mean_draws(m: int, ladder: Sequence[Rung] = LADDER) -> float:
    """An upper bound on the mean number of draws of a null test: P(a rung is passed) ≤ its threshold, rung by rung."""
    steps = rungs(m, ladder)
    total, reached, before = 0.0, 1.0, 0
    for rung in steps:
        total += reached * (rung.draws - before)
        before = rung.draws
        reached = min(reached, floor(rung.stop_above * (rung.draws + 1) + EPSILON) / (rung.draws + 1))
    return total


def besag_clifford(
    hits: Callable[[int, int], NDArray[np.bool_]], m: int, h: int, block: int = 64, start: int = 1
) -> Counted:
    """Draws ``start`` … ``start + m − 1`` until the ``h``-th hit; (h − 1, l − 1) after l draws, else all of k and m.

    ``hits(a, b)`` is bool [b − a]: whether draw a … b−1 is at least as extreme as the observed, by a statistic that is the
    same for all draws. The result does not depend on ``block``. ``ValueError`` unless 1 ≤ h ≤ m.
    """
    if not 1 <= h <= m:
        raise ValueError(f"h = {h} must lie between 1 and m = {m}")
    k = 0
    for a in range(0, m, block):
        found = hits(start + a, start + min(a + block, m))
        places = np.flatnonzero(found)
        if k + len(places) >= h:
            drawn = a + int(places[h - k - 1]) + 1
            return Counted(h - 1, drawn - 1)
        k += len(places)
    return Counted(k, m)


def curtailed(alpha: float, m: int) -> int:
    """The h with which Besag–Clifford decides at ``alpha`` as all ``m`` draws do; ``ValueError`` where m is too small.

    With k ≥ h = ⌈alpha · (m + 1)⌉ draws already, (k + 1) / (m + 1) > alpha whatever follows; and h / l > alpha for every l ≤ m.
    """
    h = ceil(alpha * (m + 1) - EPSILON)
    if floor(alpha * (m + 1) + EPSILON) < 1:
        raise ValueError(f"with m = {m} draws no p can reach alpha = {alpha}")
    return h


def piloted(
    draws: Callable[[int, int], NDArray[np.int64]], alternative: Alternative, m: int, h: int, pilot: int
) -> Counted:
    """Besag–Clifford on the maximum over standardised views, moments from draws 1 … ``pilot``, which are not counted.

    ``draws(start, stop)`` is int64 [stop − start, V], draw 0 the observed one. Given the pilot, the observed and the later
    draws are exchangeable and their statistic is fixed, so p is valid. A view without variance in the pilot is left out.
    """
    moment = moments(draws(1, pilot + 1))
    observed = standardise(draws(0, 1), moment, alternative).max(axis=1)[0]

    def hits(start: int, stop: int) -> NDArray[np.bool_]:
        maxima = standardise(draws(start, stop), moment, alternative).max(axis=1)
        return np.asarray(maxima >= observed)

    return besag_clifford(hits, m, h, start=pilot + 1)
