"""Random rotations of spectral axes, and the ranks of genes on the rotated axes, in integers.

A claim about *an axis* must beat what a random direction of the same space gives: for a coherent gene set, any direction
separates it. Draw 0 is the identity; draw j ≥ 1 is a Haar-distributed orthogonal matrix made of Philox normals, so the
observed frame is one of m + 1 exchangeable ones under the null that the axes are no special directions.
"""

import numpy as np
from numpy.typing import NDArray

from .jit import HAVE_NUMBA, jit
from .normals import normals

_BITS = 20
_SCORE_BITS = 28
"""Rotations are rounded to 2⁻²⁰ and coordinates to 2⁻²⁸, so products are exact in int64 and no last bit decides a rank."""


def rotations(key: tuple[int, int], start: int, stop: int, k: int) -> NDArray[np.int64]:
    """Rotations ``start … stop−1`` of ``k`` axes in units of 2⁻²⁰: int64 [stop − start, k, k], columns are the new axes.

    Gram–Schmidt of a matrix of independent normals is Haar distributed (Mezzadri 2007). Every operation is element by
    element in a fixed order, so the bits depend on no BLAS.
    """
    G = np.stack([normals(key, draw, k * k).reshape(k, k) for draw in range(start, stop)])
    Q = np.zeros_like(G)
    for c in range(k):
        column = G[:, :, c].copy()
        for _ in range(2):  # once more against rounding
            for earlier in range(c):
                overlap = _dot(Q[:, :, earlier], column)
                column -= overlap[:, None] * Q[:, :, earlier]
        Q[:, :, c] = column / np.sqrt(_dot(column, column))[:, None]
    out = np.rint(Q * (1 << _BITS)).astype(np.int64)
    if start == 0:
        out[0] = np.eye(k, dtype=np.int64) << _BITS
    return out


def white(axes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Axes [n, k] with columns of length 1 in units of 2⁻²⁸: int64. No axis weighs more than another."""
    out = np.zeros(axes.shape, np.int64)
    for c in range(axes.shape[1]):
        column = axes[:, c]
        peak = int(np.abs(column).max())
        if peak:
            length = float(sum(int(v) ** 2 for v in column.tolist())) ** 0.5
            out[:, c] = np.rint(column / length * (1 << _SCORE_BITS)).astype(np.int64)
    return out


def rotated_ranks(scores: NDArray[np.int64], genes: NDArray[np.int64], turns: NDArray[np.int64]) -> NDArray[np.int32]:
    """Doubled centred mid-ranks of ``genes`` on rotated axes: int32 [P, g, L·k].

    ``scores`` int64 [L, n, k] from :func:`white`, ``genes`` int64 [g] positions, ``turns`` int64 [P, k, k]. A rank counts
    all n genes; entries lie in −(n−1) … n−1. Column ``q·k + c`` is axis c of layer q, as in the table of axis ranks.
    """
    layers, n, k = scores.shape
    out = np.empty((len(turns), len(genes), layers * k), np.int32)
    if HAVE_NUMBA:
        _ranks_loop(scores, genes, turns, out)
        return out
    for p, turn in enumerate(turns):
        for q in range(layers):
            turned = (scores[q] @ turn) >> _BITS
            for c in range(k):
                mine, everyone = turned[genes, c][:, None], turned[:, c][None, :]
                less, equal = (everyone < mine).sum(axis=1), (everyone == mine).sum(axis=1)
                out[p, :, q * k + c] = 2 * less + equal - n
    return out


def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.zeros(len(a))
    for i in range(a.shape[1]):
        total += a[:, i] * b[:, i]
    return total


@jit
def _ranks_loop(
    scores: NDArray[np.int64], genes: NDArray[np.int64], turns: NDArray[np.int64], out: NDArray[np.int32]
) -> None:
    """Sums are of integers below 2⁵², so float64, which the processor does four at a time, is exact in any order."""
    layers, n, k = scores.shape
    columns = scores.transpose(0, 2, 1).astype(np.float64)
    total = np.empty(n, np.float64)
    turned = np.empty(n, np.int32)
    for p in range(turns.shape[0]):
        for q in range(layers):
            for c in range(k):
                total[:] = 0
                for e in range(k):
                    weight = np.float64(turns[p, e, c])
                    for i in range(n):
                        total[i] += columns[q, e, i] * weight
                for i in range(n):
                    turned[i] = np.int32(np.floor(total[i] * 2.0**-_BITS))
                for g in range(len(genes)):
                    mine = turned[genes[g]]
                    twice = np.int32(0)
                    for i in range(n):
                        twice += np.int32(turned[i] < mine) + np.int32(turned[i] <= mine)
                    out[p, g, q * k + c] = twice - n
