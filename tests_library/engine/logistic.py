"""Cross-validated ridge logistic regression for many labellings at once, with the same bits on every machine.

A labelling costs a few Newton steps (iteratively reweighted least squares) in each fold. Standardised coordinates,
weights, residuals and coefficients are rounded to fixed steps, so that every matrix product adds float64 numbers that are
integers below 2⁵³: exact, in whatever order a BLAS adds them. The logistic function is read from a table whose entries are
correctly rounded; the small systems are solved by a Cholesky factorisation written out in single +, −, ×, ÷ and square
roots. The number of steps is fixed, so the statistic is one function of the labels, converged or not.

Source: Hastie, Tibshirani & Friedman 2009, 4.4.1; ridge penalty: le Cessie & van Houwelingen 1992.
"""

import decimal
import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .discriminant import AUROC_BITS
from .jit import HAVE_NUMBA, as_numpy, jit
from .kernels import Arrangements

RIDGE = 1.0
"""½ · RIDGE · ‖slopes‖² is added to the negative log-likelihood of standardised coordinates; the intercept is free."""
STEPS = 5
_X_BITS = 11
_BETA_BITS = 20
_BETA_MOST = float(1 << (_BETA_BITS + 6))
"""Coefficients stay within ±64, where 11 of them times any coordinate keep a score below 2⁵³."""
_TABLE_BITS = 8
_TABLE_END = 16
_EXACT = 52
_MIN_SD = 1e-12
_BLOCK = 256
"""Labellings worked on together; results do not depend on it."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold. ``train`` and ``test``: gene positions; ``X`` [train, d + 1] and ``held`` [test, d + 1]: coordinates in units
    of 2⁻¹¹ with the constant first; ``products`` [train, (d + 1)(d + 2)/2]: X_a · X_b for a ≤ b. Float64 holding integers.
    """

    train: NDArray[np.int64]
    test: NDArray[np.int64]
    X: Floats
    held: Floats
    products: Floats


@dataclass(frozen=True, eq=False)
class Logistic:
    """Label-free half: the folds of ``n`` genes, and the bits that weights may have so that sums over n stay exact."""

    n: int
    weight_bits: int
    folds: tuple[Fold, ...]


def prepare_logistic(X: Floats, fold: NDArray[np.int64]) -> Logistic:
    """Standardise features X [n, d] over all genes, round them, and lay them out by fold number 0 … F−1 [n]."""
    n = len(X)
    Z = np.stack([np.full(n, float(1 << _X_BITS)), *(_standardised(column) for column in X.T)], axis=1)
    a, b = np.triu_indices(Z.shape[1])
    folds = []
    for f in range(int(fold.max()) + 1):
        train, test = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
        folds.append(Fold(train, test, Z[train], Z[test], np.ascontiguousarray(Z[train][:, a] * Z[train][:, b])))
    # Σ w·|X_a·X_b| ≤ n/4 by Cauchy–Schwarz, a standardised column having Σ X² = n: the bits that are left go to w
    return Logistic(n, _EXACT - 2 * _X_BITS - n.bit_length() + 2, tuple(folds))


def _standardised(x: Floats) -> Floats:
    """(x − mean) / sd in whole units of 2⁻¹¹, 0 without variance. Sums are correctly rounded, so no order matters."""
    centred = x - math.fsum(x.tolist()) / len(x)
    sd = math.sqrt(math.fsum((centred * centred).tolist()) / len(x))
    return np.rint(centred / sd * (1 << _X_BITS)) if sd > _MIN_SD else np.zeros(len(x))


def logistic_auroc(model: Logistic, members: NDArray[np.int64], arrangements: Arrangements) -> NDArray[np.int64]:
    """Pooled within-fold AUROC of held-out scores in units of 2⁻²⁰, int64 [P]; 1/2 where no fold has both classes.

    A comparison is a pair (positive, negative) in one test fold; ties count one half. As ``discriminant_auroc``.
    """
    out = np.zeros(len(arrangements), np.int64)
    for s in range(0, len(arrangements), _BLOCK):
        block = arrangements[s : s + _BLOCK]
        label = np.zeros((len(block), model.n), np.bool_)
        np.put_along_axis(label, block[:, members].astype(np.int64), values=True, axis=1)
        wins, comparisons = np.zeros((2, len(block)), np.int64)
        for fold in model.folds:
            beta = coefficients(fold, label[:, fold.train], model.weight_bits)
            count_wins(beta @ fold.held.T, label[:, fold.test], wins, comparisons)
        found = (wins << AUROC_BITS) // np.maximum(1, 2 * comparisons)
        out[s : s + _BLOCK] = np.where(comparisons == 0, 1 << (AUROC_BITS - 1), found)
    return out


def coefficients(fold: Fold, label: NDArray[np.bool_], weight_bits: int) -> Floats:
    """Intercept and slopes after :data:`STEPS` Newton steps from 0, in units of 2⁻²⁰: float64 integers [P, d + 1].

    ``label`` [P, train]. Steps that would leave ±64 end there, so perfectly separated labels stay finite.
    """
    P, d = len(label), fold.X.shape[1]
    beta = np.zeros((P, d))
    weight, residual = np.empty(label.shape), np.empty(label.shape)
    slopes = np.full(d, RIDGE)
    slopes[0] = 0.0
    fill = _weigh_loop if HAVE_NUMBA else _weigh_numpy
    for _ in range(STEPS):
        fill(beta @ fold.X.T, label, _table(weight_bits), float(1 << weight_bits), weight, residual)
        gradient = residual @ fold.X * 2.0 ** -(weight_bits + _X_BITS) - slopes * (beta * 2.0**-_BETA_BITS)
        hessian = weight @ fold.products * 2.0 ** -(weight_bits + 2 * _X_BITS)
        step = solve(hessian, slopes, gradient)
        beta = np.clip(beta + np.rint(step * 2.0**_BETA_BITS), -_BETA_MOST, _BETA_MOST)
    return beta


@cache
def _table(bits: int) -> Floats:
    """Logistic function at 0, 2⁻⁸, …, 16 in units of 2^−bits, not rounded to them; from ``decimal``, the same everywhere."""
    with decimal.localcontext(decimal.Context(prec=30)):
        points = [decimal.Decimal(i) / (1 << _TABLE_BITS) for i in range((_TABLE_END << _TABLE_BITS) + 2)]
        return np.array([float((1 << bits) / (1 + (-x).exp())) for x in points])


@jit
def _weigh_loop(
    score: Floats, label: NDArray[np.bool_], table: Floats, one: float, weight: Floats, residual: Floats
) -> None:
    """For scores in units of 2⁻³¹: w = σ(1 − σ) and y − σ, in whole units of 1 / ``one``."""
    to_table = 2.0 ** (_TABLE_BITS - _X_BITS - _BETA_BITS)
    end = float(_TABLE_END << _TABLE_BITS)
    for p in range(score.shape[0]):
        for i in range(score.shape[1]):
            x = min(abs(score[p, i]) * to_table, end)
            below = int(x)
            part = (x - below) * (table[below + 1] - table[below])
            sigma = table[below] + part
            if score[p, i] < 0:
                sigma = one - sigma
            weight[p, i] = np.rint(sigma * (one - sigma) / one)
            residual[p, i] = np.rint((one if label[p, i] else 0.0) - sigma)


def _weigh_numpy(
    score: Floats, label: NDArray[np.bool_], table: Floats, one: float, weight: Floats, residual: Floats
) -> None:
    """The same numbers as :func:`_weigh_loop`, by the same operations."""
    x = np.minimum(np.abs(score) * 2.0 ** (_TABLE_BITS - _X_BITS - _BETA_BITS), float(_TABLE_END << _TABLE_BITS))
    below = x.astype(np.int64)
    sigma = table[below] + (x - below) * (table[below + 1] - table[below])
    sigma = np.where(score < 0, one - sigma, sigma)
    weight[:] = np.rint(sigma * (one - sigma) / one)
    residual[:] = np.rint(np.where(label, one, 0.0) - sigma)


def solve(hessian: Floats, ridge: Floats, right: Floats) -> Floats:
    """Solve (H + diag(ridge)) x = right for each row: upper triangles [P, d(d + 1)/2], [d], [P, d] → [P, d].

    Cholesky in single operations, in one order for every row. A pivot below 2⁻⁴⁰ is taken for 2⁻⁴⁰.
    """
    d = right.shape[1]
    place = np.zeros((d, d), np.int64)
    place[np.triu_indices(d)] = np.arange(d * (d + 1) // 2)
    if HAVE_NUMBA:
        out = np.empty_like(right)
        _solve_loop(hessian, ridge, right, place, out)
        return out
    side_by_side = np.empty((d, len(right)))
    as_numpy(_solve_row)(hessian.T, ridge, right.T, place, np.zeros((d, d, len(right))), side_by_side)
    return np.ascontiguousarray(side_by_side.T)


@jit
def _solve_loop(hessian: Floats, ridge: Floats, right: Floats, place: NDArray[np.int64], out: Floats) -> None:
    lower = np.zeros(place.shape)
    for p in range(len(right)):
        _solve_row(hessian[p], ridge, right[p], place, lower, out[p])


@jit
def _solve_row(
    hessian: Floats, ridge: Floats, right: Floats, place: NDArray[np.int64], lower: Floats, out: Floats
) -> None:
    """One system where compiled; in NumPy every entry is a vector [P] and this is P systems."""
    d = len(ridge)
    for j in range(d):
        pivot = hessian[place[j, j]] + ridge[j]
        ahead = right[j]
        for k in range(j):
            pivot = pivot - lower[j, k] * lower[j, k]
            ahead = ahead - lower[j, k] * out[k]
        lower[j, j] = np.sqrt(np.maximum(pivot, 2.0**-40))
        out[j] = ahead / lower[j, j]
        for i in range(j + 1, d):
            value = hessian[place[j, i]]
            for k in range(j):
                value = value - lower[i, k] * lower[j, k]
            lower[i, j] = value / lower[j, j]
    for t in range(d):
        j = d - 1 - t
        back = out[j]
        for k in range(j + 1, d):
            back = back - lower[k, j] * out[k]
        out[j] = back / lower[j, j]


def count_wins(
    score: Floats, label: NDArray[np.bool_], wins: NDArray[np.int64], comparisons: NDArray[np.int64]
) -> None:
    """Add 2 for each (positive, negative) of a row of ``score`` [P, t] that the positive wins, 1 for a tie, to wins [P]."""
    if HAVE_NUMBA:
        _wins_loop(score, label, wins, comparisons)
        return
    for p in range(len(score)):
        difference = score[p, label[p]][:, None] - score[p, ~label[p]][None, :]
        wins[p] += int(2 * (difference > 0).sum() + (difference == 0).sum())
        comparisons[p] += difference.size


@jit
def _wins_loop(
    score: Floats, label: NDArray[np.bool_], wins: NDArray[np.int64], comparisons: NDArray[np.int64]
) -> None:
    t = score.shape[1]
    for p in range(score.shape[0]):
        for i in range(t):
            if label[p, i]:
                mine = score[p, i]
                for j in range(t):
                    other = np.int64(not label[p, j])
                    comparisons[p] += other
                    wins[p] += other * (np.int64(mine > score[p, j]) + np.int64(mine >= score[p, j]))
