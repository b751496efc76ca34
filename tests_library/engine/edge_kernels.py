"""Integer sums over edges, whose targets or weights differ from draw to draw, and the edges that close a feed-forward loop.

Each regulator has a table of its own. All draws read it before the next one is touched, so it stays in a near cache while it is
read, and it need not exist before or after.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .jit import HAVE_NUMBA, jit
from .kernels import Arrangements, Table, chunks, narrow

_NUMPY_CELLS = 1 << 22
_EXACT = 1 << 53
"""Sums of integers up to this are exact in float64, in any order."""


class Tables(Protocol):
    """One table [n, V] of int16 or int32 a regulator: an array [R, n, V], or a sequence that makes each when it is read."""

    def __len__(self) -> int: ...

    def __getitem__(self, regulator: int, /) -> Any: ...


def edge_sums(tables: Tables, edges: NDArray[np.int64], arrangements: Arrangements) -> NDArray[np.int64]:
    """Σ over edges (r, t) of ``tables[r][a[t], v]``: regulators stay, targets are permuted. ``edges`` [e, 2]; int64 [P, V]."""
    order, ranges = _by_regulator(edges[:, 0])
    targets = _by_edge(arrangements, edges[order, 1])
    out = np.zeros((len(arrangements), tables[0].shape[1]), np.int64)
    for r, first, last in ranges:
        table = narrow(tables[r])
        if HAVE_NUMBA:
            _add_rows(table, targets, first, last, out)
            continue
        for rows in chunks(len(out), (last - first) * table.shape[1]):
            out[rows] += table[targets[first:last, rows]].sum(axis=0, dtype=np.int64)
    return out


def weighted_edge_sums(
    tables: Tables, regulators: NDArray[np.int64], targets: NDArray[np.int32], weights: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Σ over edges e of ``weights[p, e] · tables[regulators[e]][targets[p, e], v]``: int64 [P, V].

    ``regulators`` [e]; ``targets`` and ``weights`` [P, e], or one row that serves all draws.
    """
    order, ranges = _by_regulator(regulators)
    if len(targets) == 1 and ranges:
        read = [tables[r][targets[0, order[first:last]]] for r, first, last in ranges]
        return _product(weights[:, order], np.concatenate(read).astype(np.int64))
    played, weight = _by_edge(targets, order), _by_edge(weights, order)
    out = np.zeros((len(targets), tables[0].shape[1]), np.int64)
    for r, first, last in ranges:
        table = narrow(tables[r])
        if HAVE_NUMBA:
            _add_weighted(table, played, weight, first, last, out)
            continue
        for rows in chunks(len(out), (last - first) * table.shape[1]):
            w = weight[first:last, rows if weight.shape[1] > 1 else slice(None), None]
            out[rows] += (w * table[played[first:last, rows]]).sum(axis=0)
    return out


def _by_regulator(regulators: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[tuple[int, int, int]]]:
    """An order of the edges in which those of a regulator are together, and (regulator, first, last + 1) in that order."""
    order = np.argsort(regulators, kind="stable")
    found, first = np.unique(regulators[order], return_index=True)
    ends = np.append(first, len(order))[1:]
    return order, list(zip(found.tolist(), first.tolist(), ends.tolist(), strict=True))


def _by_edge(rows: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any]:
    """Those columns of [P, ·] as contiguous rows [e, P]."""
    return np.ascontiguousarray(np.take(rows.T, places, axis=0))


def _product(weights: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.int64]:
    """``weights @ values`` in integers; by a float64 product where that is exact, which is much faster."""
    if values.size == 0 or _largest(weights) * _largest(values) * len(values) > _EXACT:
        return weights @ values
    return np.asarray((weights.astype(np.float64) @ values.astype(np.float64)).astype(np.int64))


def _largest(values: NDArray[np.int64]) -> int:
    return max(abs(int(values.min())), abs(int(values.max())))


@jit
def _add_rows(table: Table, targets: NDArray[np.int32], first: int, last: int, out: NDArray[np.int64]) -> None:
    """Add ``table[targets[e, p], v]`` of the edges ``first … last − 1`` to ``out[p, v]``.

    Four rows at once: what they add to is read and written a quarter as often.
    """
    views = out.shape[1]
    for p in range(out.shape[0]):
        e = first
        while e + 4 <= last:
            g, h, i, j = targets[e, p], targets[e + 1, p], targets[e + 2, p], targets[e + 3, p]
            for v in range(views):
                out[p, v] += (table[g, v] + table[h, v]) + (table[i, v] + table[j, v])
            e += 4
        while e < last:
            i = targets[e, p]
            for v in range(views):
                out[p, v] += table[i, v]
            e += 1


@jit
def _add_weighted(
    table: Table,
    targets: NDArray[np.int32],
    weights: NDArray[np.int64],
    first: int,
    last: int,
    out: NDArray[np.int64],
) -> None:
    """Add ``weights[e, p] · table[targets[e, p], v]`` of the edges ``first … last − 1`` to ``out[p, v]``."""
    for p in range(out.shape[0]):
        for e in range(first, last):
            i = targets[e, p]
            w = weights[e, p if weights.shape[1] > 1 else 0]
            for v in range(out.shape[1]):
                out[p, v] += w * table[i, v]


def closing_edges(
    regulators: NDArray[np.int64], targets: NDArray[np.int32], own: NDArray[np.int64], n: int
) -> NDArray[np.bool_]:
    """Which edges s → t close a feed-forward loop, bool [P, e]: some regulator r has both s and t among its targets.

    ``regulators`` [e] of 0 … R−1; ``targets`` [P, e], positions among ``n`` genes; ``own`` [R], each regulator's position,
    −1 where it is no gene of the universe. Without self-loops r, s and t are three genes.
    """
    out = np.zeros(targets.shape, np.bool_)
    if HAVE_NUMBA:
        _closing_loop(regulators, targets, own, n, out)
        return out
    inside = np.flatnonzero(own >= 0)
    step = max(1, _NUMPY_CELLS // (len(own) * n))
    for s in range(0, len(targets), step):
        t = targets[s : s + step]
        rows = np.arange(len(t))[:, None]
        edge = np.zeros((len(t), len(own), n), np.float32)
        edge[rows, regulators, t] = 1
        common = np.zeros_like(edge)  # [p, s, t]: regulators of both; counts below 2²⁴ are exact in float32
        common[:, inside] = edge[:, :, own[inside]].transpose(0, 2, 1) @ edge
        out[s : s + step] = common[rows, regulators, t] > 0
    return out


@jit
def _closing_loop(
    regulators: NDArray[np.int64], targets: NDArray[np.int32], own: NDArray[np.int64], n: int, out: NDArray[Any]
) -> None:
    R, edges = len(own), len(regulators)
    edge = np.zeros((R, n), np.bool_)
    above = np.empty((R, R), np.int64)  # the regulators of each regulator
    count = np.empty(R, np.int64)
    for p in range(len(targets)):
        for e in range(edges):
            edge[regulators[e], targets[p, e]] = True
        for s in range(R):
            count[s] = 0
            if own[s] >= 0:
                for r in range(R):
                    if edge[r, own[s]]:
                        above[s, count[s]] = r
                        count[s] += 1
        for e in range(edges):
            s = regulators[e]
            for i in range(count[s]):
                if edge[above[s, i], targets[p, e]]:
                    out[p, e] = True
                    break
        for e in range(edges):
            edge[regulators[e], targets[p, e]] = False
