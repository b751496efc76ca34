"""Nearest neighbours in integers: who is the r-th nearest of whom, and what of that lies inside a set.

Similarities are integers, so order and ties are exact. Each kernel is a loop for numba and a NumPy expression with equal
results.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import HAVE_NUMBA, as_numpy, jit
from .kernels import Arrangements
from .philox import philox_words
from .ranks import in_order

SMALLEST_K = 5
_TIE_KEY = (0x6E656172, 0x65737421)
_TIE_PURPOSE = 2
_NUMPY_CELLS = 1 << 22


def neighbour_count(n: int) -> int:
    """k of the k-nearest-neighbour graph of n genes: max(5, √n rounded), at most n − 1."""
    return min(n - 1, max(SMALLEST_K, round(math.sqrt(n))))


def neighbour_ranks(similarity: NDArray[np.int64]) -> NDArray[np.int16]:
    """Place of gene j among the neighbours of gene i, nearest = 0, the gene itself last: int16 [n, n] from int64 [n, n].

    Genes that are equally near to i stand in a pseudo-random order: by the 64-bit Philox number with counter (j, i, 0, 2)
    under a fixed key. It depends on the two positions alone, so no gene is favoured everywhere and no name matters.
    ``ValueError`` above 32,768 genes.
    """
    n = len(similarity)
    if n > 1 << 15:
        raise ValueError(f"neighbour ranks hold up to 32,768 genes, here are {n}")
    ranks = np.empty((n, n), np.int16)
    place = np.arange(n, dtype=np.int16)
    for i, row in enumerate(similarity):
        distance = -row
        distance[i] = distance.max() + 1
        order, tied = in_order(distance)
        if tied:
            order = np.lexsort((_tie_words(i, n), distance))
        ranks[i, order] = place
    return ranks


def _tie_words(i: int, n: int) -> NDArray[np.uint64]:
    c1, c2, c3, k0, k1 = (np.full(1, v, np.uint64) for v in (i, 0, _TIE_PURPOSE, *_TIE_KEY))
    high, low, _, _ = as_numpy(philox_words)(np.arange(n, dtype=np.uint64), c1, c2, c3, k0, k1)
    words: NDArray[np.uint64] = (high << np.uint64(32)) | low
    return words


def symmetric_graph(ranks: NDArray[np.int16], k: int) -> NDArray[np.bool_]:
    """The kNN graph: an edge where either gene is among the k nearest of the other. bool [n, n], no loops."""
    near = ranks < k
    np.fill_diagonal(near, val=False)
    return np.asarray(near | near.T)


def pairs_below(
    table: NDArray[Any], members: NDArray[np.int64], bound: int, arrangements: Arrangements
) -> NDArray[np.int64]:
    """Ordered pairs (i, j) of members, i ≠ j, with ``table[a[i], a[j], v] < bound``: int64 [P, V] from int [n, n, V]."""
    out = np.zeros((len(arrangements), table.shape[2]), np.int64)
    if HAVE_NUMBA:
        _pairs_below_loop(table, members, bound, arrangements, out)
        return out
    others = ~np.eye(len(members), dtype=bool)[None, :, :, None]
    for rows in _chunks(len(arrangements), len(members) ** 2 * table.shape[2]):
        block = arrangements[rows][:, members]
        out[rows] = ((table[block[:, :, None], block[:, None, :]] < bound) & others).sum(axis=(1, 2))
    return out


def triads_and_triangles(
    apart: NDArray[np.uint8], members: NDArray[np.int64], arrangements: Arrangements
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Paths of two edges and triangles of the graph inside the set, int64 [P, V] each.

    ``apart`` uint8 [n, n, V] is symmetric, 0 for an edge and 1 for none, 1 on the diagonal.
    """
    shape = (len(arrangements), apart.shape[2])
    triads, triangles = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    if HAVE_NUMBA:
        _triangles_loop(apart, members, arrangements, triads, triangles)
        return triads, triangles
    for rows in _chunks(len(arrangements), len(members) ** 2 * apart.shape[2]):
        block = arrangements[rows][:, members]
        # counts below 2²⁴ are exact in float32, whatever the order of a matrix product
        edges = np.moveaxis(apart[block[:, :, None], block[:, None, :]] == 0, 3, 1).astype(np.float32)
        degree = edges.sum(axis=3).astype(np.int64)
        triads[rows] = (degree * (degree - 1) // 2).sum(axis=2)
        triangles[rows] = ((edges @ edges) * edges).astype(np.int64).sum(axis=(2, 3)) // 6
    return triads, triangles


def same_label_pairs(
    labels: NDArray[np.int32], members: NDArray[np.int64], arrangements: Arrangements
) -> NDArray[np.int64]:
    """Pairs of members whose labels are equal: int64 [P, V] from labels 0, 1, … int32 [n, V]."""
    out = np.zeros((len(arrangements), labels.shape[1]), np.int64)
    count = int(labels.max()) + 1
    if HAVE_NUMBA:
        _same_label_loop(labels, members, count, arrangements, out)
        return out
    for rows in _chunks(len(arrangements), len(members) * labels.shape[1]):
        block = labels[arrangements[rows][:, members]]
        for label in range(count):
            inside = (block == label).sum(axis=1, dtype=np.int64)
            out[rows] += inside * (inside - 1) // 2
    return out


def _chunks(n: int, cells: int) -> list[slice]:
    step = max(1, _NUMPY_CELLS // max(1, cells))
    return [slice(s, min(s + step, n)) for s in range(0, n, step)]


@jit
def _pairs_below_loop(
    table: NDArray[Any],
    members: NDArray[np.int64],
    bound: int,
    arrangements: Arrangements,
    out: NDArray[np.int64],
) -> None:
    m, views = len(members), table.shape[2]
    for p in range(arrangements.shape[0]):
        for i in range(m):
            a = arrangements[p, members[i]]
            for j in range(m):
                if i == j:
                    continue
                b = arrangements[p, members[j]]
                for v in range(views):
                    out[p, v] += table[a, b, v] < bound


@jit
def _triangles_loop(
    apart: NDArray[np.uint8],
    members: NDArray[np.int64],
    arrangements: Arrangements,
    triads: NDArray[np.int64],
    triangles: NDArray[np.int64],
) -> None:
    m, views = len(members), apart.shape[2]
    later = np.empty((m, m), np.int64)  # later[i, :count[i]]: neighbours of i that come after it
    count = np.empty(m, np.int64)
    degree = np.empty(m, np.int64)
    for p in range(arrangements.shape[0]):
        for v in range(views):
            count[:] = 0
            degree[:] = 0
            for i in range(m):
                a = arrangements[p, members[i]]
                for j in range(i + 1, m):
                    if apart[a, arrangements[p, members[j]], v] == 0:
                        later[i, count[i]] = j
                        count[i] += 1
                        degree[i] += 1
                        degree[j] += 1
            for i in range(m):
                triads[p, v] += degree[i] * (degree[i] - 1) // 2
                for s in range(count[i]):
                    a = arrangements[p, members[later[i, s]]]
                    for t in range(s + 1, count[i]):
                        triangles[p, v] += apart[a, arrangements[p, members[later[i, t]]], v] == 0


@jit
def _same_label_loop(
    labels: NDArray[np.int32],
    members: NDArray[np.int64],
    count: int,
    arrangements: Arrangements,
    out: NDArray[np.int64],
) -> None:
    seen = np.zeros((labels.shape[1], count), np.int64)
    for p in range(arrangements.shape[0]):
        seen[:] = 0
        for i in members:
            a = arrangements[p, i]
            for v in range(labels.shape[1]):
                out[p, v] += seen[v, labels[a, v]]
                seen[v, labels[a, v]] += 1
