"""The integer sums that every statistic is made of.

All inputs are integers, so a sum does not depend on order, chunks, threads or device. Each kernel is a loop for numba
and a NumPy expression; :data:`HAVE_NUMBA` chooses, and tests hold the two equal.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import HAVE_NUMBA, jit

Arrangements = NDArray[np.int32]
_NUMPY_CELLS = 1 << 23
"""Elements a NumPy expression may hold at once, so that the fallback stays small."""


def set_sums(table: NDArray[np.int32], members: NDArray[np.int64], arrangements: Arrangements) -> NDArray[np.int64]:
    """Σ over members i of ``table[a[i], v]``: int64 [P, V] from table [n, V], members [m], arrangements [P, n]."""
    out = np.zeros((len(arrangements), table.shape[1]), np.int64)
    if HAVE_NUMBA:
        # int32 accumulators are twice as fast; they hold every rank sum of a universe below 92,000 genes
        largest = max(-int(table.min()), int(table.max())) * len(members)
        wide: type[np.int32] | type[np.int64] = np.int32 if largest < 1 << 31 else np.int64
        _set_sums_loop(table, members, arrangements, np.empty(table.shape[1], wide), out)
        return out
    for rows in _chunks(len(arrangements), len(members) * table.shape[1]):
        out[rows] = table[arrangements[rows][:, members]].sum(axis=1, dtype=np.int64)
    return out


def pair_sums(
    table: NDArray[np.int32], pairs: NDArray[np.int64], weights: NDArray[np.int64], arrangements: Arrangements
) -> NDArray[np.int64]:
    """Σ over pairs (i, j) of ``weight · table[a[i], a[j], v]``: int64 [P, V] from table [n, n, V], pairs [p, 2]."""
    out = np.zeros((len(arrangements), table.shape[2]), np.int64)
    if HAVE_NUMBA:
        _pair_sums_loop(table, pairs, weights, arrangements, out)
        return out
    for rows in _chunks(len(arrangements), len(pairs) * table.shape[2]):
        block = arrangements[rows]
        values = table[block[:, pairs[:, 0]], block[:, pairs[:, 1]]].astype(np.int64)
        out[rows] = (values * weights[None, :, None]).sum(axis=1)
    return out


def same_pole_counts(pole: NDArray[np.int8], pairs: NDArray[np.int64], arrangements: Arrangements) -> NDArray[np.int64]:
    """Pairs whose two genes lie in the same pole: int64 [P, V] from pole [n, V] with entries −1, 0, +1."""
    out = np.zeros((len(arrangements), pole.shape[1]), np.int64)
    if HAVE_NUMBA:
        _same_pole_loop(pole, pairs, arrangements, out)
        return out
    for rows in _chunks(len(arrangements), len(pairs) * pole.shape[1]):
        block = arrangements[rows]
        out[rows] = (pole[block[:, pairs[:, 0]]] * pole[block[:, pairs[:, 1]]] == 1).sum(axis=1)
    return out


def edge_sums(table: NDArray[np.int32], edges: NDArray[np.int64], arrangements: Arrangements) -> NDArray[np.int64]:
    """Σ over edges (r, t) of ``table[r, a[t], v]``: regulators stay, targets are permuted. Table [R, n, V], int64 [P, V]."""
    out = np.zeros((len(arrangements), table.shape[2]), np.int64)
    if HAVE_NUMBA:
        _edge_sums_loop(table, edges, arrangements, out)
        return out
    for rows in _chunks(len(arrangements), len(edges) * table.shape[2]):
        values = table[edges[None, :, 0], arrangements[rows][:, edges[:, 1]]]
        out[rows] = values.sum(axis=1, dtype=np.int64)
    return out


def gram_moments(
    table: NDArray[np.int32], members: NDArray[np.int64], arrangements: Arrangements
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Integer moments of the sub-matrix G = table[a[S], a[S], v]: (Σᵢⱼ G, Σᵢ (Σⱼ G)², Σᵢⱼ G²), each int64 [P, V].

    ``table`` is a symmetric int32 [n, n, V] with |entries| ≤ 2¹⁵, which keeps all three sums inside int64 for sets of
    up to 1,000 genes.
    """
    shape = (len(arrangements), table.shape[2])
    total, rows_sq, squares = (np.zeros(shape, np.int64) for _ in range(3))
    if HAVE_NUMBA:
        _gram_moments_loop(table, members, arrangements, total, rows_sq, squares)
        return total, rows_sq, squares
    for rows in _chunks(len(arrangements), len(members) ** 2 * table.shape[2]):
        block = arrangements[rows][:, members]
        g = table[block[:, :, None], block[:, None, :]].astype(np.int64)
        row_sums = g.sum(axis=2)
        total[rows] = row_sums.sum(axis=1)
        rows_sq[rows] = (row_sums**2).sum(axis=1)
        squares[rows] = (g**2).sum(axis=(1, 2))
    return total, rows_sq, squares


def _chunks(n: int, cells: int) -> list[slice]:
    step = max(1, _NUMPY_CELLS // max(1, cells))
    return [slice(s, min(s + step, n)) for s in range(0, n, step)]


@jit
def _set_sums_loop(
    table: NDArray[np.int32],
    members: NDArray[np.int64],
    arrangements: Arrangements,
    acc: NDArray[Any],
    out: NDArray[np.int64],
) -> None:
    views = table.shape[1]
    eights = len(members) // 8 * 8
    for p in range(arrangements.shape[0]):
        acc[:] = 0
        a = arrangements[p]
        for e in range(0, eights, 8):  # eight rows at once: the accumulator is read and written an eighth as often
            g, h, i, j = a[members[e]], a[members[e + 1]], a[members[e + 2]], a[members[e + 3]]
            q, r, s, t = a[members[e + 4]], a[members[e + 5]], a[members[e + 6]], a[members[e + 7]]
            for v in range(views):
                four = table[g, v] + table[h, v] + table[i, v] + table[j, v]
                acc[v] += four + table[q, v] + table[r, v] + table[s, v] + table[t, v]
        for e in range(eights, len(members)):
            i = a[members[e]]
            for v in range(views):
                acc[v] += table[i, v]
        for v in range(views):
            out[p, v] = acc[v]


@jit
def _pair_sums_loop(
    table: NDArray[np.int32],
    pairs: NDArray[np.int64],
    weights: NDArray[np.int64],
    arrangements: Arrangements,
    out: NDArray[np.int64],
) -> None:
    views = table.shape[2]
    for p in range(arrangements.shape[0]):
        for e in range(pairs.shape[0]):
            i = arrangements[p, pairs[e, 0]]
            j = arrangements[p, pairs[e, 1]]
            w = weights[e]
            for v in range(views):
                out[p, v] += w * table[i, j, v]


@jit
def _same_pole_loop(
    pole: NDArray[np.int8], pairs: NDArray[np.int64], arrangements: Arrangements, out: NDArray[np.int64]
) -> None:
    views = pole.shape[1]
    acc = np.empty(views, np.int32)
    for p in range(arrangements.shape[0]):
        acc[:] = 0
        for e in range(pairs.shape[0]):
            i = arrangements[p, pairs[e, 0]]
            j = arrangements[p, pairs[e, 1]]
            for v in range(views):
                acc[v] += pole[i, v] * pole[j, v] == 1
        for v in range(views):
            out[p, v] = acc[v]


@jit
def _edge_sums_loop(
    table: NDArray[np.int32], edges: NDArray[np.int64], arrangements: Arrangements, out: NDArray[np.int64]
) -> None:
    views = table.shape[2]
    for p in range(arrangements.shape[0]):
        for e in range(edges.shape[0]):
            r = edges[e, 0]
            t = arrangements[p, edges[e, 1]]
            for v in range(views):
                out[p, v] += table[r, t, v]


@jit
def _gram_moments_loop(
    table: NDArray[np.int32],
    members: NDArray[np.int64],
    arrangements: Arrangements,
    total: NDArray[np.int64],
    rows_sq: NDArray[np.int64],
    squares: NDArray[np.int64],
) -> None:
    views = table.shape[2]
    m = len(members)
    sums = np.empty((m, views), np.int64)
    for p in range(arrangements.shape[0]):
        for i in range(m):
            a = arrangements[p, members[i]]
            for v in range(views):
                g = np.int64(table[a, a, v])
                sums[i, v] = g
                squares[p, v] += g * g
        for i in range(m):
            a = arrangements[p, members[i]]
            for j in range(i):  # the matrix is symmetric: each pair is read once and counted twice
                b = arrangements[p, members[j]]
                for v in range(views):
                    g = np.int64(table[a, b, v])
                    sums[i, v] += g
                    sums[j, v] += g
                    squares[p, v] += 2 * g * g
        for i in range(m):
            for v in range(views):
                total[p, v] += sums[i, v]
                rows_sq[p, v] += sums[i, v] * sums[i, v]
