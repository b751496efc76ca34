"""Random rotations of spectral axes, and the ranks of genes on the rotated axes, in integers.

A claim about *an axis* must beat what a random direction of the same space gives: for a coherent gene set, any direction
separates it. Draw 0 is the identity; draw j ≥ 1 is a Haar-distributed orthogonal matrix made of Philox normals, so the
observed frame is one of m + 1 exchangeable ones under the null that the axes are no special directions.
"""

import numpy as np
from numpy.typing import NDArray

from .jit import HAVE_NUMBA, jit
from .normals import normals_of

_BITS = 20
_SCORE_BITS = 28
"""Rotations are rounded to 2⁻²⁰ and coordinates to 2⁻²⁸, so products are exact in int64 and no last bit decides a rank."""
MOST_GENES = 1 << 15
"""Ranks are int16."""


def rotations(key: tuple[int, int], start: int, stop: int, k: int) -> NDArray[np.int64]:
    """Rotations ``start … stop−1`` of ``k`` axes in units of 2⁻²⁰: int64 [stop − start, k, k], columns are the new axes.

    Gram–Schmidt of a matrix of independent normals is Haar distributed (Mezzadri 2007). Every operation is element by
    element in a fixed order, so the bits depend on no BLAS.
    """
    G = normals_of(key, start, stop, k * k).reshape(stop - start, k, k)
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


def rotated_ranks(scores: NDArray[np.int64], turns: NDArray[np.int64]) -> NDArray[np.int16]:
    """Doubled centred mid-ranks of all genes on rotated axes: int16 [P, n, L·k], entries in −(n−1) … n−1.

    ``scores`` int64 [L, n, k] from :func:`white`, ``turns`` int64 [P, k, k]. Column ``q·k + c`` is axis c of layer q, as in
    the table of axis ranks. Raises ``ValueError`` for more than 32,768 genes, whose ranks int16 cannot hold.
    """
    layers, n, k = scores.shape
    if n > MOST_GENES:
        raise ValueError(f"{n} genes; ranks on rotated axes are made for at most {MOST_GENES}")
    out = np.empty((len(turns), n, layers * k), np.int16)
    if HAVE_NUMBA:
        _ranks_loop(np.ascontiguousarray(scores.transpose(0, 2, 1).astype(np.float64)), turns, out)
        return out
    for p, turn in enumerate(turns):
        for q in range(layers):
            turned = (scores[q] @ turn) >> _BITS
            for c in range(k):
                everyone = np.sort(turned[:, c])
                less, up_to = (np.searchsorted(everyone, turned[:, c], side) for side in ("left", "right"))
                out[p, :, q * k + c] = less + up_to - n
    return out


def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.zeros(len(a))
    for i in range(a.shape[1]):
        total += a[:, i] * b[:, i]
    return total


@jit
def _ranks_loop(columns: NDArray[np.float64], turns: NDArray[np.int64], out: NDArray[np.int16]) -> None:
    """``columns`` [L, k, n]. Sums are of integers below 2⁵², so float64, which a processor adds several at a time, is exact."""
    layers, k, n = columns.shape
    total = np.empty(n, np.float64)
    keys = np.empty(n, np.uint32)
    order = np.empty(n, np.int32)
    spare = np.empty(n, np.int32)
    for p in range(turns.shape[0]):
        for q in range(layers):
            for c in range(k):
                total[:] = 0
                for e in range(k):
                    weight = np.float64(turns[p, e, c])
                    for i in range(n):
                        total[i] += columns[q, e, i] * weight
                for i in range(n):  # |score| < 2³¹, so the shifted key is a positive number of 32 bits
                    keys[i] = np.uint32(np.int64(np.floor(total[i] * 2.0**-_BITS)) + np.int64(2147483648))
                _sort(keys, order, spare)
                _mid_ranks(keys, order, out[p, :, q * k + c])


@jit
def _sort(keys: NDArray[np.uint32], order: NDArray[np.int32], spare: NDArray[np.int32]) -> None:
    """``order`` becomes a permutation that sorts ``keys``: radix sort, one byte a pass, so no comparison mispredicts."""
    n = len(keys)
    counts = np.zeros((4, 256), np.int32)
    for i in range(n):
        order[i] = i
        for byte in range(4):
            counts[byte, (keys[i] >> np.uint32(8 * byte)) & np.uint32(255)] += 1
    for byte in range(4):
        shift = np.uint32(8 * byte)
        start = np.int32(0)
        for value in range(256):
            held = counts[byte, value]
            counts[byte, value] = start
            start += held
        for i in range(n):
            value = (keys[order[i]] >> shift) & np.uint32(255)
            spare[counts[byte, value]] = order[i]
            counts[byte, value] += 1
        for i in range(n):
            order[i] = spare[i]


@jit
def _mid_ranks(keys: NDArray[np.uint32], order: NDArray[np.int32], out: NDArray[np.int16]) -> None:
    """Genes that tie share the mean of their ranks: first + last place of their run, from 0, gives 2·rank − (n + 1) + n − 1."""
    n = len(keys)
    i = 0
    while i < n:
        j = i
        while j + 1 < n and keys[order[j + 1]] == keys[order[i]]:
            j += 1
        for t in range(i, j + 1):
            out[order[t]] = i + j + 1 - n
        i = j + 1
