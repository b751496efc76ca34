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
        _auroc_loop(d.features, d.weights, d.fold, order, starts, members, arrangements, out)
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
def _auroc_loop(  # noqa: PLR0912 - one compiled loop over folds, genes and coordinates
    features: NDArray[np.int64],
    weights: NDArray[np.int64],
    fold: NDArray[np.int64],
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    members: NDArray[np.int64],
    arrangements: Arrangements,
    out: NDArray[np.int64],
) -> None:
    """Genes are visited fold by fold (``order``, ``starts``), so a positive meets only the genes of its own fold."""
    n, d = features.shape
    folds = len(starts) - 1
    total = np.empty((folds, d), np.int64)
    negative = np.ones(n, np.int64)  # by place in ``order``
    score = np.empty(n, np.int64)
    place = np.empty(n, np.int64)
    by_place = np.empty((n, d), np.int64)
    for q in range(n):
        place[order[q]] = q
        by_place[q] = weights[order[q]]
    for p in range(arrangements.shape[0]):
        total[:] = 0
        for i in members:
            a = arrangements[p, i]
            negative[place[a]] = 0
            for f in range(folds):
                if f != fold[a]:
                    for c in range(d):
                        total[f, c] += features[a, c]
        wins = np.int64(0)
        comparisons = np.int64(0)
        for f in range(folds):
            for q in range(starts[f], starts[f + 1]):
                s = np.int64(0)
                for c in range(d):
                    s += by_place[q, c] * total[f, c]
                score[q] = s
        for i in members:
            a = arrangements[p, i]
            mine = score[place[a]]
            for q in range(starts[fold[a]], starts[fold[a] + 1]):
                comparisons += negative[q]
                wins += negative[q] * ((mine > score[q]) + np.int64(mine >= score[q]))
        for i in members:
            negative[place[arrangements[p, i]]] = 1
        if comparisons == 0:
            out[p] = 1 << (AUROC_BITS - 1)
        else:
            out[p] = (wins << AUROC_BITS) // (2 * comparisons)
