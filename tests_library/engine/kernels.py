"""The integer sums that every statistic is made of.

All inputs are integers, so a sum does not depend on order, chunks, threads or device. Each kernel is a loop for numba
and a NumPy expression; :data:`HAVE_NUMBA` chooses, and tests hold the two equal.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import HAVE_NUMBA, jit

Arrangements = NDArray[np.int32]
Table = NDArray[np.int16] | NDArray[np.int32]
_NUMPY_CELLS = 1 << 23
"""Elements a NumPy expression may hold at once, so that the fallback stays small."""
_POLE_PAIRS = 15
_LOW_HALVES = np.uint64(0x0F0F0F0F0F0F0F0F)
_FOUR = np.uint64(4)


def narrow(table: Table) -> Table:
    """The same numbers as int16 where they fit (ranks of up to 32,768 genes do): half the memory to read, same sums."""
    fits = table.dtype == np.int16 or (len(table) and table.min() >= -(1 << 15) and table.max() < 1 << 15)
    return table.astype(np.int16, copy=False) if fits else table


def set_sums(table: Table, members: NDArray[np.int64], arrangements: Arrangements) -> NDArray[np.int64]:
    """Σ over members i of ``table[a[i], v]``: int64 [P, V] from table [n, V], members [m], arrangements [P, n]."""
    out = np.empty((len(arrangements), table.shape[1]), np.int64)
    if HAVE_NUMBA:
        _gather(narrow(table), members, arrangements, out)
        return out
    for rows in chunks(len(arrangements), len(members) * table.shape[1]):
        out[rows] = table[arrangements[rows][:, members]].sum(axis=1, dtype=np.int64)
    return out


def pair_sums(
    table: NDArray[np.signedinteger[Any]],
    pairs: NDArray[np.int64],
    weights: NDArray[np.int64],
    arrangements: Arrangements,
) -> NDArray[np.int64]:
    """Σ over pairs (i, j) of ``weight · table[a[i], a[j], v]``: int64 [P, V] from table [n, n, V], pairs [p, 2]."""
    out = np.zeros((len(arrangements), table.shape[2]), np.int64)
    if HAVE_NUMBA:
        _pair_sums_loop(table, pairs, weights, arrangements, out)
        return out
    for rows in chunks(len(arrangements), len(pairs) * table.shape[2]):
        block = arrangements[rows]
        values = table[block[:, pairs[:, 0]], block[:, pairs[:, 1]]].astype(np.int64)
        out[rows] = (values * weights[None, :, None]).sum(axis=1)
    return out


def same_pole_counts(pole: NDArray[np.int8], pairs: NDArray[np.int64], arrangements: Arrangements) -> NDArray[np.int64]:
    """Pairs whose two genes lie in the same pole: int64 [P, V] from pole [n, V] with entries −1, 0, +1."""
    out = np.empty((len(arrangements), pole.shape[1]), np.int64)
    if HAVE_NUMBA:
        _same_pole_loop(_pole_words(pole), pairs, arrangements, out)
        return out
    for rows in chunks(len(arrangements), len(pairs) * pole.shape[1]):
        block = arrangements[rows]
        out[rows] = (pole[block[:, pairs[:, 0]]] * pole[block[:, pairs[:, 1]]] == 1).sum(axis=1)
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
    for rows in chunks(len(arrangements), len(members) ** 2 * table.shape[2]):
        block = arrangements[rows][:, members]
        g = table[block[:, :, None], block[:, None, :]].astype(np.int64)
        row_sums = g.sum(axis=2)
        total[rows] = row_sums.sum(axis=1)
        rows_sq[rows] = (row_sums**2).sum(axis=1)
        squares[rows] = (g**2).sum(axis=(1, 2))
    return total, rows_sq, squares


def chunks(n: int, cells: int) -> list[slice]:
    """Slices of ``range(n)`` small enough that ``cells`` numbers each are few together."""
    step = max(1, _NUMPY_CELLS // max(1, cells))
    return [slice(s, min(s + step, n)) for s in range(0, n, step)]


def _gather(table: Table, places: NDArray[np.int64], arrangements: Arrangements, out: NDArray[np.int64]) -> None:
    """``out[p, v]`` = Σ over e of ``table[a[places[e]], v]``."""
    # int32 accumulators are twice as fast; they hold every rank sum of a universe below 92,000 genes
    largest = max(-int(table.min()), int(table.max())) * len(places)
    wide: type[np.int32] | type[np.int64] = np.int32 if largest < 1 << 31 else np.int64
    _gather_loop(table, places, arrangements, np.empty(table.shape[1], wide), out)


@jit
def _gather_loop(
    table: Table,
    places: NDArray[np.int64],
    arrangements: Arrangements,
    acc: NDArray[Any],
    out: NDArray[np.int64],
) -> None:
    views = table.shape[1]
    eights = len(places) // 8 * 8
    a = np.empty(len(places), np.int64)
    for p in range(arrangements.shape[0]):
        acc[:] = 0
        for e in range(len(places)):  # together: these reads wait for memory side by side, not one after the other
            a[e] = arrangements[p, places[e]]
        for e in range(0, eights, 8):  # eight rows at once: the accumulator is read and written an eighth as often
            g, h, i, j, q, r, s, t = a[e], a[e + 1], a[e + 2], a[e + 3], a[e + 4], a[e + 5], a[e + 6], a[e + 7]
            for v in range(views):
                four = np.int32(table[g, v]) + np.int32(table[h, v]) + np.int32(table[i, v]) + np.int32(table[j, v])
                last = np.int32(table[q, v]) + np.int32(table[r, v]) + np.int32(table[s, v]) + np.int32(table[t, v])
                acc[v] += four + last
        for e in range(eights, len(places)):
            i = a[e]
            for v in range(views):
                acc[v] += np.int32(table[i, v])
        for v in range(views):
            out[p, v] = acc[v]


@jit
def _pair_sums_loop(
    table: NDArray[np.signedinteger[Any]],
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


def _pole_words(pole: NDArray[np.int8]) -> NDArray[np.uint64]:
    """Poles as one byte a view, 1 for top and 16 for bottom, eight views to a word: uint64 [n + 1, ⌈V / 8⌉].

    ``words[i] & words[j]`` then holds a 1 in one half of a byte for a shared pole. The last row is empty.
    """
    n, views = pole.shape
    code = np.zeros((n + 1, -(-views // 8) * 8), np.uint8)
    code[:n, :views] = (pole == 1) + 16 * (pole == -1).astype(np.uint8)
    return code.view(np.uint64)


@jit
def _same_pole_loop(
    words: NDArray[np.uint64], pairs: NDArray[np.int64], arrangements: Arrangements, out: NDArray[np.int64]
) -> None:
    """Eight views are counted in one word. Half a byte holds 15 pairs, a byte twice eight such halves, then acc takes over."""
    views, width = out.shape[1], words.shape[1]
    padded = -(-len(pairs) // _POLE_PAIRS) * _POLE_PAIRS
    left, right = np.full(padded, len(words) - 1, np.int64), np.full(padded, len(words) - 1, np.int64)
    halves, whole, acc = np.empty(width, np.uint64), np.empty(width, np.uint64), np.empty(width * 8, np.int32)
    count = whole.view(np.uint8)
    for p in range(arrangements.shape[0]):
        acc[:] = 0
        whole[:] = 0
        for e in range(len(pairs)):
            left[e], right[e] = arrangements[p, pairs[e, 0]], arrangements[p, pairs[e, 1]]
        for start in range(0, padded, _POLE_PAIRS):
            halves[:] = 0
            for e in range(start, start + _POLE_PAIRS, 5):
                a, b, c, d, f = left[e], left[e + 1], left[e + 2], left[e + 3], left[e + 4]
                g, h, i, j, k = right[e], right[e + 1], right[e + 2], right[e + 3], right[e + 4]
                for w in range(width):
                    two = (words[a, w] & words[g, w]) + (words[b, w] & words[h, w])
                    two += (words[c, w] & words[i, w]) + (words[d, w] & words[j, w])
                    halves[w] += two + (words[f, w] & words[k, w])
            for w in range(width):
                whole[w] += (halves[w] & _LOW_HALVES) + ((halves[w] >> _FOUR) & _LOW_HALVES)
            if start // _POLE_PAIRS % 8 == 7 or start + _POLE_PAIRS == padded:
                for v in range(views):
                    acc[v] += count[v]
                whole[:] = 0
        for v in range(views):
            out[p, v] = acc[v]


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
