"""Integer sums over edges whose targets or weights differ from draw to draw, and the edges that close a feed-forward loop."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import HAVE_NUMBA, jit

_NUMPY_CELLS = 1 << 22


def weighted_edge_sums(
    table: NDArray[np.int32], regulators: NDArray[np.int64], targets: NDArray[np.int32], weights: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Σ over edges e of ``weights[p, e] · table[regulators[e], targets[p, e], v]``: int64 [P, V].

    ``table`` [R, n, V], ``regulators`` [e]; ``targets`` and ``weights`` [P, e], or one row that serves all draws.
    """
    draws = max(len(targets), len(weights))
    out = np.zeros((draws, table.shape[2]), np.int64)
    if HAVE_NUMBA:
        _weighted_loop(table, regulators, targets, weights, out)
        return out
    step = max(1, _NUMPY_CELLS // max(1, len(regulators) * table.shape[2]))
    for s in range(0, draws, step):
        rows = np.arange(s, min(s + step, draws))
        t = targets[rows if len(targets) > 1 else slice(None)]
        w = weights[rows if len(weights) > 1 else slice(None)]
        out[rows] = (table[regulators[None, :], t] * w[:, :, None]).sum(axis=1)
    return out


@jit
def _weighted_loop(
    table: NDArray[np.int32],
    regulators: NDArray[np.int64],
    targets: NDArray[np.int32],
    weights: NDArray[np.int64],
    out: NDArray[np.int64],
) -> None:
    for p in range(out.shape[0]):
        t = targets[p if len(targets) > 1 else 0]
        w = weights[p if len(weights) > 1 else 0]
        for e in range(len(regulators)):
            for v in range(out.shape[1]):
                out[p, v] += w[e] * table[regulators[e], t[e], v]


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
