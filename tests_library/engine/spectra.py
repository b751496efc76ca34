"""Statistics of the similarity matrix of a set, one small matrix a draw and layer.

Eigenvalues come from LAPACK, whose last bits are not the same on every machine. Three things keep them from deciding: the
matrix that is decomposed is made of exact integers (or of element-wise IEEE operations on them), so its bits are fixed; a
draw's genes are sorted first, so two draws of the same genes have the same matrix and tie to the last bit, whatever LAPACK
does; and a statistic is a continuous function of the eigenvalues that is rounded to 2⁻²⁰, which is 10⁹ times coarser than
the error of an eigenvalue, so that on one machine or another a value moves by one step with a chance of about 10⁻⁹, and
by no more than one step. Draws of different genes that lie in the same places have the same matrix but for the order of
its rows; rounding makes them tie, with the same chance of missing by a step.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from .kernels import Arrangements

BITS = 20
"""Statistics are held in units of 2⁻²⁰."""
_CELLS = 1 << 20

Statistic = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""Similarity matrices of sets, int64 [P, m, m] → float64 [P]."""


def submatrix_statistic(
    tables: Sequence[NDArray[np.int64]], members: NDArray[np.int64], arrangements: Arrangements, statistic: Statistic
) -> NDArray[np.int64]:
    """``statistic`` of every draw's rows and columns of every table, in units of 2⁻²⁰: int64 [P, len(tables)]."""
    genes = np.sort(arrangements[:, members], axis=1)
    out = np.empty((len(genes), len(tables)), np.int64)
    step = max(1, _CELLS // len(members) ** 2)
    for start in range(0, len(genes), step):
        block = genes[start : start + step]
        for v, table in enumerate(tables):
            out[start : start + step, v] = whole(statistic(table[block[:, :, None], block[:, None, :]]))
    return out


def whole(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Values in units of 2⁻²⁰, rounded: int64."""
    steps: NDArray[np.int64] = np.rint(np.ldexp(values, BITS)).astype(np.int64)
    return steps


def centred(similarity: NDArray[np.int64]) -> NDArray[np.int64]:
    """m² times the doubly centred matrices, exact: int64 [P, m, m] from int64 [P, m, m] with |entries| ≤ 2³⁰, m < 2¹⁶."""
    m = similarity.shape[-1]
    rows = similarity.sum(axis=-1)
    total = rows.sum(axis=-1)
    return np.asarray(m * m * similarity - m * (rows[:, :, None] + rows[:, None, :]) + total[:, None, None])


def cosines(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Cosines between the points of each cloud, in units of 2⁻³⁰: int64 [P, m, m] from integer coordinates [P, m, d].

    Exact while a sum of d products stays below 2⁵³. A point at the origin has cosine 0 with every point.
    """
    gram = points @ points.transpose(0, 2, 1)
    norm = np.sqrt(np.diagonal(gram, axis1=1, axis2=2))
    safe = np.where(norm > 0, norm, 1.0)
    steps: NDArray[np.int64] = np.rint(np.ldexp(gram / safe[:, :, None] / safe[:, None, :], 30)).astype(np.int64)
    return steps
