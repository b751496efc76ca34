"""The TwoNN dimension of many subsets at once, in integers up to the last division.

Source: Facco, d'Errico, Rodriguez & Laio, "Estimating the intrinsic dimension of datasets by a minimal neighborhood
information", Scientific Reports 2017.
"""

import numpy as np
from numpy.typing import NDArray

from .elementary import log
from .jit import HAVE_NUMBA, jit
from .kernels import Arrangements

LARGEST_DIMENSION = 1024
_LOG_BITS = 20
_KEPT_TENTHS = 9
_ONE = 1 << 30
_ROWS = 256
_NUMPY_CELLS = 1 << 22


def log_distances(similarity: NDArray[np.int64]) -> NDArray[np.int32]:
    """ln of the squared chord (but for a constant), in units of 2⁻²⁰: int32 [n, n] from cosines in units of 2⁻³⁰.

    Genes in one place get the distance of one unit. The diagonal is larger than any distance.
    """
    out = np.empty(similarity.shape, np.int32)
    for start in range(0, len(out), _ROWS):
        rows = slice(start, start + _ROWS)
        out[rows] = np.rint(np.ldexp(log(np.maximum(_ONE - similarity[rows], 1)), _LOG_BITS))
    np.fill_diagonal(out, np.iinfo(np.int32).max)
    return out


def two_nn_dimension(
    logs: NDArray[np.int32], members: NDArray[np.int64], arrangements: Arrangements
) -> NDArray[np.float64]:
    """TwoNN dimension of every draw's genes: float64 [P, V] from :func:`log_distances` int32 [n, n, V]; m ≥ 3.

    The sums are exact; one division follows, so the value has the same bits everywhere.
    """
    m = len(members)
    kept = min(m - 1, m * _KEPT_TENTHS // 10)
    y = np.rint(np.ldexp(-log(1.0 - np.arange(1, kept + 1) / m), _LOG_BITS)).astype(np.int64)
    shape = (len(arrangements), logs.shape[2])
    xy, xx = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    if HAVE_NUMBA:
        _two_nn_loop(logs, members, y, arrangements, xy, xx)
    else:
        _two_nn_numpy(logs, members, y, arrangements, xy, xx)
    # x came from squared chords, so it is 2·ln(r₂/r₁): d = 2·Σ xy / Σ xx
    dimension = 2.0 * xy / np.maximum(1, xx)
    return np.asarray(np.where(xx > 0, np.minimum(dimension, LARGEST_DIMENSION), LARGEST_DIMENSION), dtype=np.float64)


def _two_nn_numpy(
    logs: NDArray[np.int32],
    members: NDArray[np.int64],
    y: NDArray[np.int64],
    arrangements: Arrangements,
    xy: NDArray[np.int64],
    xx: NDArray[np.int64],
) -> None:
    step = max(1, _NUMPY_CELLS // (len(members) ** 2 * logs.shape[2]))
    for start in range(0, len(arrangements), step):
        rows = slice(start, start + step)
        block = arrangements[rows][:, members]
        nearest = np.partition(logs[block[:, :, None], block[:, None, :]], 1, axis=2)[:, :, :2].astype(np.int64)
        x = np.sort(nearest[:, :, 1] - nearest[:, :, 0], axis=1)[:, : len(y)]
        xy[rows] = (x * y[None, :, None]).sum(axis=1)
        xx[rows] = (x * x).sum(axis=1)


@jit
def _two_nn_loop(
    logs: NDArray[np.int32],
    members: NDArray[np.int64],
    y: NDArray[np.int64],
    arrangements: Arrangements,
    xy: NDArray[np.int64],
    xx: NDArray[np.int64],
) -> None:
    m, views = len(members), logs.shape[2]
    first = np.empty((m, views), np.int64)
    second = np.empty((m, views), np.int64)
    for p in range(arrangements.shape[0]):
        first[:] = 1 << 40
        second[:] = 1 << 40
        for i in range(m):
            a = arrangements[p, members[i]]
            for j in range(m):
                if i == j:
                    continue
                b = arrangements[p, members[j]]
                for v in range(views):
                    distance = np.int64(logs[a, b, v])
                    second[i, v] = min(second[i, v], max(first[i, v], distance))
                    first[i, v] = min(first[i, v], distance)
        for v in range(views):
            x = np.sort(second[:, v] - first[:, v])
            for t in range(len(y)):
                xy[p, v] += x[t] * y[t]
                xx[p, v] += x[t] * x[t]
