"""Procedures that test one value after another, and e-values: columns for the eye.

Each function takes the whole sequence in the order of testing and returns, for every step, the level the procedure gave
that test and whether it rejected. What each controls holds for hypotheses fixed *before* their data were seen. An adaptive
proposer that chose them after seeing results on the same genes breaks that premise for every function here, e-BH and
the version of LOND for dependent p-values included: none controls anything then (simulated: probability of a false
discovery 1.00). They are printed, never decided on. Nor are p-values of one run independent: they share genes and
arrangements.

A p-value must lie in (0, 1] (here it is (k + 1) / (m + 1), so it is never 0), an e-value in [0, ∞), alpha in (0, 1);
``ValueError`` names the first value that does not.

Notation: γ_1, γ_2, … ≥ 0 with Σ γ_t ≤ 1; D_t the rejections before test t; τ_j the step of the j-th rejection.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KAPPA = 0.5
"""Exponent of the calibrator; 0.5 gives e = 1 / (2·√p)."""


@dataclass(frozen=True)
class Steps:
    """What a procedure did, one entry a test, in the order of testing.

    A p-value is rejected where p ≤ level, an e-value where e ≥ 1 / level.
    """

    levels: tuple[float, ...]
    rejected: tuple[bool, ...]


def lond(p: Sequence[float], alpha: float = 0.05, *, dependent: bool = False) -> Steps:
    """LOND: levels based on the number of discoveries.

    Controls: FDR ≤ alpha for independent or positively dependent (PRDS) p-values; with ``dependent``, under any
    dependence, by the Benjamini–Yekutieli-type factor 1 / H_t.
    Formula: α_t = α·γ_t·(D_t + 1), with ``dependent`` divided by H_t = Σ_{i≤t} 1/i.
    Defaults: γ_t = 0.07720838·ln(max(t, 2)) / (t·exp(√ln t)).
    Reference: Javanmard & Montanari 2015, arXiv:1502.06197, and 2018, Ann. Statist. 46:526; PRDS: Zrnic, Ramdas &
    Jordan 2021, JMLR 22(33).
    """
    p = _checked_p(p, alpha)
    levels, rejected = [], []
    discoveries, harmonic = 0, 0.0
    for t, (value, gamma) in enumerate(zip(p, _gammas_lord(len(p)), strict=True), start=1):
        level = alpha * gamma * (discoveries + 1)
        if dependent:
            harmonic += 1 / t
            level /= harmonic
        levels.append(level)
        rejected.append(value <= level)
        discoveries += rejected[-1]
    return Steps(tuple(levels), tuple(rejected))


def lord_plus_plus(p: Sequence[float], alpha: float = 0.05, *, w0: float | None = None) -> Steps:
    """LORD++: levels based on recent discoveries.

    Controls: FDR ≤ alpha for independent p-values; mFDR where each null p-value is super-uniform given the past.
    Formula: α_t = w0·γ_t + (α − w0)·γ_{t−τ_1} + α·Σ_{j≥2} γ_{t−τ_j}, over the rejections before t.
    Defaults: γ as in :func:`lond`; initial wealth w0 = α / 10; 0 < w0 < α.
    Reference: Javanmard & Montanari 2018, Ann. Statist. 46:526; the ++: Ramdas, Yang, Wainwright & Jordan 2017,
    arXiv:1710.00499.
    """
    p = _checked_p(p, alpha)
    wealth = _initial_wealth(w0, alpha / 10, alpha)
    gamma = np.array(_gammas_lord(len(p)))
    ahead, reward = wealth * gamma, alpha - wealth
    levels, rejected = [], []
    for t, value in enumerate(p):
        level = float(ahead[t])
        levels.append(level)
        rejected.append(value <= level)
        if rejected[-1]:
            _pay(ahead, gamma, t + 1, reward)
            reward = alpha
    return Steps(tuple(levels), tuple(rejected))


def saffron(p: Sequence[float], alpha: float = 0.05, *, w0: float | None = None, lam: float = 0.5) -> Steps:
    """SAFFRON: LORD++ that estimates the share of true nulls from the p-values above λ; Storey's idea, online.

    Controls: FDR ≤ alpha for independent p-values; mFDR where each null p-value is super-uniform given the past.
    Formula: α_t = min(λ, (1 − λ)·(w0·γ_{1+N_t} + (α − w0)·γ_{1+N_t−N_{τ_1}} + α·Σ_{j≥2} γ_{1+N_t−N_{τ_j}})), N_t the number
    of p > λ before test t. It is :func:`addis` with τ = 1.
    Defaults: γ_j = 0.4374901658·j^−1.6; λ = 0.5; w0 = α / 2; 0 < w0 < α.
    Reference: Ramdas, Zrnic, Wainwright & Jordan 2018, ICML, arXiv:1802.09098.
    """
    return addis(p, alpha, w0=w0, lam=lam, tau=1.0)


def addis(
    p: Sequence[float], alpha: float = 0.05, *, w0: float | None = None, lam: float = 0.25, tau: float = 0.5
) -> Steps:
    """ADDIS: SAFFRON that also discards p-values above τ, which conservative nulls give too often.

    Controls: FDR ≤ alpha for independent, uniformly conservative null p-values; mFDR under the same given the past.
    Formula: α_t = min(λ, (τ − λ)·(w0·γ_{1+N_t} + (α − w0)·γ_{1+N_t−N_{τ_1}} + α·Σ_{j≥2} γ_{1+N_t−N_{τ_j}})), N_t the number
    of p with λ < p ≤ τ before test t.
    Defaults: γ as in :func:`saffron`; λ = 0.25; τ = 0.5; w0 = α / 2; 0 < w0 < α and 0 < λ < τ ≤ 1.
    Reference: Tian & Ramdas 2019, NeurIPS, arXiv:1905.11465.
    """
    p = _checked_p(p, alpha)
    wealth = _initial_wealth(w0, alpha / 2, alpha)
    if not 0 < lam < tau <= 1:
        raise ValueError(f"lam = {lam} and tau = {tau} must satisfy 0 < lam < tau <= 1")
    gamma = np.array([gamma_saffron(t) for t in range(1, len(p) + 1)])
    ahead, reward = wealth * gamma, alpha - wealth
    levels, rejected = [], []
    waited = 0
    level = None
    for value in p:
        if level is None:
            level = min(lam, (tau - lam) * float(ahead[waited]))
        levels.append(level)
        rejected.append(value <= level)
        if rejected[-1]:
            _pay(ahead, gamma, waited, reward)
            reward, level = alpha, None
        if lam < value <= tau:
            waited, level = waited + 1, None
    return Steps(tuple(levels), tuple(rejected))


def e_lond(e: Sequence[float], alpha: float = 0.05) -> Steps:
    """e-LOND: LOND on e-values.

    Controls: FDR ≤ alpha under any dependence between e-values, each of mean ≤ 1 under its null.
    Formula: α_t = α·γ_t·(D_t + 1); rejected where e ≥ 1 / α_t.
    Defaults: γ as in :func:`lond`.
    Reference: Xu & Ramdas 2024, AISTATS, arXiv:2311.06412.
    """
    e = _checked_e(e, alpha)
    levels, rejected = [], []
    discoveries = 0
    for t, value in enumerate(e, start=1):
        level = alpha * gamma_lord(t) * (discoveries + 1)
        levels.append(level)
        rejected.append(value >= 1 / level)
        discoveries += rejected[-1]
    return Steps(tuple(levels), tuple(rejected))


def e_bh(e: Sequence[float], alpha: float = 0.05) -> Steps:
    """e-BH: Benjamini–Hochberg on n e-values; offline, so the order is irrelevant and every level is the same.

    Controls: FDR ≤ alpha under any dependence between e-values, each of mean ≤ 1 under its null.
    Formula: rejects the k̂ largest, k̂ = max{k: k·e_[k] ≥ n / α} with e_[1] ≥ e_[2] ≥ …; level = α·max(k̂, 1) / n.
    Defaults: none.
    Reference: Wang & Ramdas 2022, JRSS B 84:822, arXiv:2009.02824.
    """
    e = _checked_e(e, alpha)
    n = len(e)
    ordered = sorted(e, reverse=True)
    found = max((k for k in range(1, n + 1) if ordered[k - 1] >= 1 / (alpha * k / n)), default=0)
    level = alpha * max(found, 1) / n if n else 0.0
    return Steps((level,) * n, tuple(value >= 1 / level for value in e))


def calibrate(p: float, kappa: float = KAPPA) -> float:
    """An e-value from a p-value: e = κ·p^(κ − 1).

    ∫₀¹ κ·u^(κ−1) du = 1 and the function falls, so E[e] ≤ 1 for a super-uniform p. e-values merge by their mean under
    any dependence; they buy that with power: at κ = 0.5, e reaches 20 only at p = 0.000625.
    Defaults: κ = 0.5; 0 < κ < 1.
    Reference: Vovk & Wang 2021, Ann. Statist. 49:1736, arXiv:1912.06116; the family: Shafer et al. 2011.
    """
    _check_p([p])
    if not 0 < kappa < 1:
        raise ValueError(f"kappa = {kappa} is not in (0, 1)")
    return kappa * math.pow(p, kappa - 1)


def gamma_lord(t: int) -> float:
    """γ_t of LOND and LORD++, t ≥ 1: 0.07720838·ln(max(t, 2)) / (t·exp(√ln t)); sums to 1 at most."""
    return 0.07720838 * math.log(max(t, 2)) / (t * math.exp(math.sqrt(math.log(t))))


def _gammas_lord(n: int) -> list[float]:
    """:func:`gamma_lord` of 1 … n, to the same bits; a ledger of a hundred thousand rows asks for all of them at once."""
    log, exp, sqrt = math.log, math.exp, math.sqrt
    logs = [log(t) for t in range(2, n + 1)]
    later = [0.07720838 * x / (t * exp(sqrt(x))) for t, x in enumerate(logs, start=2)]
    return [gamma_lord(1), *later][:n]


def gamma_saffron(t: int) -> float:
    """γ_t of SAFFRON and ADDIS, t ≥ 1: 0.4374901658·t^−1.6; the constant is 1 / ζ(1.6)."""
    return 0.4374901658 * math.pow(t, -1.6)


def _pay(ahead: NDArray[np.float64], gamma: NDArray[np.float64], start: int, amount: float) -> None:
    """A rejection pays ``amount``, spread over γ from ``start`` on; both arrays are [n]."""
    ahead[start:] += amount * gamma[: len(gamma) - start]


def _initial_wealth(w0: float | None, default: float, alpha: float) -> float:
    wealth = default if w0 is None else w0
    if not 0 < wealth < alpha:
        raise ValueError(f"w0 = {wealth} is not in (0, alpha = {alpha})")
    return wealth


def _checked_p(p: Sequence[float], alpha: float) -> list[float]:
    _check_alpha(alpha)
    _check_p(p)
    return list(map(float, p))


def _checked_e(e: Sequence[float], alpha: float) -> list[float]:
    _check_alpha(alpha)
    for value in e:
        if not 0 <= value < math.inf:
            raise ValueError(f"e = {value} is not in [0, ∞); an e-value is finite because no p-value here is 0")
    return [float(value) for value in e]


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha = {alpha} is not in (0, 1)")


def _check_p(p: Sequence[float]) -> None:
    if p and not (min(p) > 0 and max(p) <= 1 and all(map(math.isfinite, p))):
        wrong = next(value for value in p if not 0 < value <= 1)
        raise ValueError(f"p = {wrong} is not in (0, 1]; a p-value here is (k + 1) / (m + 1)")
