"""Cross-validated linear discriminant AUROC for many labellings at once, in integers.

With labels coded 0/1, the least-squares direction equals Fisher's linear discriminant up to scale. For gene i in test fold
f the score is x_i · A_f · Σ_{j ∈ positives outside f} (1, x_j), where A_f depends on the genes outside f and on no label.
So one small solve a fold serves every labelling, and a labelling costs one gather. Coordinates and weights are rounded
to integers before the gather, which makes scores, ties and counts exact.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .jit import HAVE_NUMBA, jit
from .kernels import Arrangements

_X_BITS = 16
_W_BITS = 28
AUROC_BITS = 20
_MIN_SD = 1e-12


@dataclass(frozen=True, eq=False)
class Discriminant:
    """Label-free half: integer features [n, d + 1] (first column the constant), weights [n, d + 1], fold [n]."""

    features: NDArray[np.int64]
    weights: NDArray[np.int64]
    fold: NDArray[np.int64]


def prepare_discriminant(X: NDArray[np.float64], fold: NDArray[np.int64]) -> Discriminant:
    """Solve each fold once for features X [n, d] and fold numbers 0 … F−1 [n]."""
    sd = X.std(axis=0)
    Z = np.rint((X - X.mean(axis=0)) / np.where(sd > _MIN_SD, sd, 1.0) * (1 << _X_BITS))
    Z = np.clip(Z, -(1 << (_X_BITS + 4)), 1 << (_X_BITS + 4))
    features = np.concatenate([np.full((len(Z), 1), float(1 << _X_BITS)), Z], axis=1)
    weights = np.zeros_like(features)
    for f in range(int(fold.max()) + 1):
        train, test = features[fold != f], features[fold == f]
        inverse = np.linalg.pinv(train.T @ train, hermitian=True)
        weights[fold == f] = test[:, 1:] @ inverse[1:, :]
    scale = np.abs(weights).max()
    whole = np.rint(weights / (scale if scale > 0 else 1.0) * (1 << _W_BITS))
    return Discriminant(features.astype(np.int64), whole.astype(np.int64), fold.astype(np.int64))


def discriminant_auroc(d: Discriminant, members: NDArray[np.int64], arrangements: Arrangements) -> NDArray[np.int64]:
    """Pooled within-fold AUROC of held-out scores in units of 2⁻²⁰, int64 [P]; 1/2 where no fold has both classes.

    A comparison is a pair (positive, negative) in one test fold; ties count one half.
    """
    out = np.zeros(len(arrangements), np.int64)
    if HAVE_NUMBA:
        order = np.argsort(d.fold, kind="stable").astype(np.int64)
        starts = np.searchsorted(d.fold[order], np.arange(int(d.fold.max()) + 2)).astype(np.int64)
        place = np.argsort(order).astype(np.int64)
        by_place = np.ascontiguousarray(d.weights[order].T)
        _auroc_loop(d.features, by_place, d.fold, starts, place, members, arrangements, out)
        return out
    for p, arrangement in enumerate(arrangements):
        out[p] = _auroc_numpy(d, arrangement[members].astype(np.int64))
    return out


def _auroc_numpy(d: Discriminant, positives: NDArray[np.int64]) -> int:
    wins = comparisons = 0
    for f in range(int(d.fold.max()) + 1):
        inside = d.fold[positives] == f
        total = d.features[positives[~inside]].sum(axis=0)
        negatives = np.setdiff1d(np.flatnonzero(d.fold == f), positives)
        mine = d.weights[positives[inside]] @ total
        theirs = d.weights[negatives] @ total
        difference = mine[:, None] - theirs[None, :]
        wins += int(2 * (difference > 0).sum() + (difference == 0).sum())
        comparisons += difference.size
    return 1 << (AUROC_BITS - 1) if comparisons == 0 else (wins << AUROC_BITS) // (2 * comparisons)


@jit
def _auroc_loop(
    features: NDArray[np.int64],
    weights: NDArray[np.int64],
    fold: NDArray[np.int64],
    starts: NDArray[np.int64],
    place: NDArray[np.int64],
    members: NDArray[np.int64],
    arrangements: Arrangements,
    out: NDArray[np.int64],
) -> None:
    """Genes stand fold by fold: ``starts`` [F + 1] of the folds, ``place`` [n] of the genes, ``weights`` [d, n] by place.

    A positive is compared with every gene of its fold. Among k positives that adds exactly k² half wins (two a pair, one
    for each with itself), so they are taken off at the end and no gene has to be asked whether it is negative.
    """
    d, n = weights.shape
    folds = len(starts) - 1
    held_out = np.empty((folds, d), np.int64)
    total = np.empty(d, np.int64)
    positives = np.empty(folds, np.int64)
    score = np.empty(n, np.int64)
    for p in range(arrangements.shape[0]):
        held_out[:] = 0
        positives[:] = 0
        for i in members:
            a = arrangements[p, i]
            positives[fold[a]] += 1
            for c in range(d):
                held_out[fold[a], c] += features[a, c]
        for c in range(d):
            total[c] = held_out[:, c].sum()
        wins = np.int64(0)
        comparisons = np.int64(0)
        for f in range(folds):
            mine = score[starts[f] : starts[f + 1]]
            mine[:] = 0
            for c in range(d):
                t = total[c] - held_out[f, c]
                for q in range(len(mine)):
                    mine[q] += weights[c, starts[f] + q] * t
            wins -= positives[f] * positives[f]
            comparisons += positives[f] * (len(mine) - positives[f])
        for i in members:
            a = arrangements[p, i]
            s = score[place[a]]
            for q in range(starts[fold[a]], starts[fold[a] + 1]):
                wins += np.int64(s > score[q]) + np.int64(s >= score[q])
        if comparisons == 0:
            out[p] = 1 << (AUROC_BITS - 1)
        else:
            out[p] = (wins << AUROC_BITS) // (2 * comparisons)
