"""Second moments of a gene set's similarity blocks, and the small eigenproblems made of them.

Moments are integer sums. What follows in floating point is element by element (+ − × ÷ sqrt, each rounded as IEEE 754
says, no fused steps, a fixed order), so neither a BLAS nor a LAPACK nor a compiler can change a bit of a draw.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import HAVE_NUMBA, as_numpy, jit
from .kernels import Arrangements
from .ranks import mid_ranks

UNIT_BITS = 20
"""A floating-point statistic is rounded to 2⁻²⁰ before it is compared with anything."""
SWEEPS = 10
"""Cyclic Jacobi on 10 × 10 matrices is at rounding level after 6 or 7 sweeps; it is never asked whether it is done."""
_NUMPY_CELLS = 1 << 21


def to_units(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """``values`` in units of 2⁻²⁰, int64 of the same shape."""
    return np.rint(values * (1 << UNIT_BITS)).astype(np.int64)


def root_mean_square(rows: NDArray[np.float64]) -> float:
    """Root of the mean squared length of fixed-point rows [n, dim]; 1 for a layer of zeros.

    The sum is an exact integer, so the root is the same on every machine.
    """
    squares = (rows * rows).sum(axis=1)  # whole numbers below 2⁵³: exact in any order
    return math.sqrt(sum(map(int, squares.tolist())) / len(rows)) or 1.0


def unit_variance(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fixed-point rows [n, dim] scaled to a mean squared length of 1; a layer of zeros stays zero."""
    return rows / root_mean_square(rows)


def row_ranks(similarity: NDArray[np.int64]) -> NDArray[np.int32]:
    """Doubled centred mid-ranks of each row of [n, n] over the other n − 1 genes: int32 [n, n], diagonal 0.

    Row i says how near every gene stands in the eyes of gene i; a gene near to all is no nearer than others there.
    """
    n = len(similarity)
    ranks = np.empty((n, n), np.int32)
    for i, row in enumerate(similarity):
        seen = row.copy()
        seen[i] = row.max() + 1  # itself comes last, which leaves the ranks of the others alone
        ranks[i] = mid_ranks(seen) + 1  # among n − 1 genes and not among n
    np.fill_diagonal(ranks, 0)
    return ranks


def block_moments(
    table: NDArray[Any], members: NDArray[np.int64], arrangements: Arrangements, pairs: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Integer moments of the blocks K_q = table[a[S], a[S], q] with their diagonals set to 0.

    For each pair of columns (q, r) of ``pairs`` int64 [V, 2]: Σᵢⱼ K_q K_r and Σᵢ (Σⱼ K_q)(Σⱼ K_r), int64 [P, V] each;
    for each column Σᵢⱼ K_q, int64 [P, Q]. ``table`` is a symmetric int16 or int32 [n, n, Q] with |entries| ≤ 2¹⁵, which keeps all
    sums inside int64 for sets of up to 1,000 genes.
    """
    products, row_products = (np.zeros((len(arrangements), len(pairs)), np.int64) for _ in range(2))
    totals = np.zeros((len(arrangements), table.shape[2]), np.int64)
    if HAVE_NUMBA:
        _block_moments_loop(table, members, arrangements, pairs, products, row_products, totals)
    else:
        _block_moments_numpy(table, members, arrangements, pairs, products, row_products, totals)
    return products, row_products, totals


@jit
def _block_moments_loop(
    table: NDArray[Any],
    members: NDArray[np.int64],
    arrangements: Arrangements,
    pairs: NDArray[np.int64],
    products: NDArray[np.int64],
    row_products: NDArray[np.int64],
    totals: NDArray[np.int64],
) -> None:
    m, columns = len(members), table.shape[2]
    sums = np.empty((m, columns), np.int64)
    for p in range(arrangements.shape[0]):
        sums[:] = 0
        for i in range(m):
            a = arrangements[p, members[i]]
            for j in range(i):
                cell = table[a, arrangements[p, members[j]]]
                for q in range(columns):
                    sums[i, q] += cell[q]
                    sums[j, q] += cell[q]
                for v in range(len(pairs)):
                    products[p, v] += 2 * np.int64(cell[pairs[v, 0]]) * np.int64(cell[pairs[v, 1]])
        for i in range(m):
            for q in range(columns):
                totals[p, q] += sums[i, q]
            for v in range(len(pairs)):
                row_products[p, v] += sums[i, pairs[v, 0]] * sums[i, pairs[v, 1]]


def _block_moments_numpy(
    table: NDArray[Any],
    members: NDArray[np.int64],
    arrangements: Arrangements,
    pairs: NDArray[np.int64],
    products: NDArray[np.int64],
    row_products: NDArray[np.int64],
    totals: NDArray[np.int64],
) -> None:
    m = len(members)
    for rows in chunks(len(arrangements), m * m * table.shape[2]):
        played = arrangements[rows][:, members]
        block = table[played[:, :, None], played[:, None, :]].astype(np.int64)
        block[:, np.arange(m), np.arange(m)] = 0
        sums = block.sum(axis=2)
        totals[rows] = sums.sum(axis=1)
        for v, (q, r) in enumerate(pairs.tolist()):
            products[rows, v] = (block[..., q] * block[..., r]).sum(axis=(1, 2))
            row_products[rows, v] = (sums[..., q] * sums[..., r]).sum(axis=1)


def chunks(n: int, cells: int) -> list[slice]:
    """Slices of ``range(n)`` small enough that ``cells`` numbers each fit in memory together."""
    step = max(1, _NUMPY_CELLS // max(1, cells))
    return [slice(s, min(s + step, n)) for s in range(0, n, step)]


def unbiased_hsic(
    products: NDArray[np.int64],
    row_products: NDArray[np.int64],
    totals: tuple[NDArray[np.int64], NDArray[np.int64]],
    m: NDArray[np.int64] | int,
) -> NDArray[np.float64]:
    """m(m − 3) times the unbiased HSIC of two kernels from their :func:`block_moments`; needs m ≥ 4.

    Source: Song et al., "Feature selection via dependence maximization", JMLR 2012, eq. 5.
    """
    size = np.asarray(m, np.float64)
    both = totals[0].astype(np.float64) * totals[1].astype(np.float64)
    return np.asarray(products + both / ((size - 1) * (size - 2)) - 2 * row_products / (size - 2))


def cosine_of(xy: NDArray[np.float64], xx: NDArray[np.float64], yy: NDArray[np.float64]) -> NDArray[np.float64]:
    """xy / (√xx √yy); 0 where either square is not positive, as there is nothing to compare."""
    some = (xx > 0) & (yy > 0)
    length = np.sqrt(np.where(some, xx, 1.0)) * np.sqrt(np.where(some, yy, 1.0))
    return np.where(some, xy / length, 0.0)


def above_rounding(own: NDArray[np.float64], terms: NDArray[np.int64]) -> NDArray[np.float64]:
    """``own``, or 0 where it is under 2⁻³⁰ of the largest of the ``terms`` that cancelled in it.

    A kernel that is the same for all pairs has no structure, but rounding may leave some, and a ratio would blow it up.
    """
    return np.where(own > terms * 2.0**-30, own, 0.0)


def axis_moments(
    scores: NDArray[np.float64], members: NDArray[np.int64], arrangements: Arrangements, pairs: NDArray[np.int64]
) -> NDArray[np.float64]:
    """m·Σ x y − Σx Σy over the played members, for each pair (q, r) of layers: float64 [V, k, k, P].

    ``scores`` float64 [L, n, k] hold integers of at most 18 bits: every sum is exact in any order, so a matrix product
    may be used.
    """
    m, k = len(members), scores.shape[2]
    out = np.empty((len(pairs), k, k, len(arrangements)))
    for rows in chunks(len(arrangements), m * k * scores.shape[0]):
        played = scores[:, arrangements[rows][:, members]]
        sums = played.sum(axis=2).astype(np.int64)
        for v, (q, r) in enumerate(pairs.tolist()):
            second = np.matmul(played[q].transpose(0, 2, 1), played[r]).astype(np.int64)
            centred = m * second - sums[q][:, :, None] * sums[r][:, None, :]
            out[v, :, :, rows] = centred.transpose(1, 2, 0)
    return out


def eigen(matrices: NDArray[np.float64], vectors: bool = True) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eigenvalues [k, B] (not sorted) and eigenvectors in columns [k, k, B] of symmetric matrices [k, k, B].

    Cyclic Jacobi with a fixed number of sweeps (Golub & Van Loan, Matrix Computations, 8.5). LAPACK would be as exact,
    but its last bits differ between machines. Without ``vectors`` their array is empty.
    """
    k, batch = matrices.shape[0], matrices.shape[2]
    A = matrices.copy()
    V = np.zeros((k if vectors else 0, k, batch))
    V[np.arange(len(V)), np.arange(len(V))] = 1.0
    if HAVE_NUMBA:
        _rotate_each(A, V)
    else:
        as_numpy(_rotate)(A, V)
    return np.ascontiguousarray(A[np.arange(k), np.arange(k)]), V


@jit
def _rotate_each(A: NDArray[np.float64], V: NDArray[np.float64]) -> None:
    for b in range(A.shape[2]):
        one, turn = A[:, :, b].copy(), V[:, :, b].copy()
        _rotate(one, turn)
        A[:, :, b] = one
        V[:, :, b] = turn


@jit
def _rotate(A: Any, V: Any) -> None:
    """Jacobi sweeps in place. One matrix [k, k] when compiled; NumPy works on [k, k, B] at once, in the same order."""
    k = A.shape[0]
    for _ in range(SWEEPS):
        for p in range(k - 1):
            for q in range(p + 1, k):
                off = A[p, q] * 1.0
                gap = A[q, q] - A[p, p]
                length = abs(gap) + np.sqrt(gap * gap + 4.0 * off * off)
                t = 2.0 * off * (1.0 - 2.0 * (gap < 0.0)) / (length + 1.0 * (length == 0.0))
                c = 1.0 / np.sqrt(1.0 + t * t)
                s = t * c
                A[p, p] = A[p, p] - t * off
                A[q, q] = A[q, q] + t * off
                A[p, q] = 0.0
                A[q, p] = 0.0
                for r in range(k):
                    if r not in (p, q):
                        x = c * A[r, p] - s * A[r, q]
                        y = s * A[r, p] + c * A[r, q]
                        A[r, p] = x
                        A[p, r] = x
                        A[r, q] = y
                        A[q, r] = y
                for r in range(V.shape[0]):
                    x = c * V[r, p] - s * V[r, q]
                    y = s * V[r, p] + c * V[r, q]
                    V[r, p] = x
                    V[r, q] = y


def inverse_root(A: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
    """R [k, k, B], lower triangular, with R (A + ridge·diag A) Rᵀ = I; rows of an axis without variance are 0."""
    k = A.shape[0]
    lower = np.zeros_like(A)
    inverse = np.zeros_like(A)
    for i in range(k):
        for j in range(i):
            rest = A[i, j].copy()
            for t in range(j):
                rest -= lower[i, t] * lower[j, t]
            lower[i, j] = rest * inverse[j, j]
        rest = A[i, i] * (1.0 + ridge)
        for t in range(i):
            rest -= lower[i, t] * lower[i, t]
        some = rest > 0
        inverse[i, i] = np.where(some, 1.0 / np.sqrt(np.where(some, rest, 1.0)), 0.0)
        for j in range(i):
            total = np.zeros(A.shape[2])
            for t in range(j, i):
                total += lower[i, t] * inverse[t, j]
            inverse[i, j] = -total * inverse[i, i]
    return inverse


def product(X: NDArray[np.float64], Y: NDArray[np.float64]) -> NDArray[np.float64]:
    """X Y for matrices [i, k, B] and [k, j, B], summed in a fixed order: float64 [i, j, B]."""
    out = np.zeros((X.shape[0], Y.shape[1], X.shape[2]))
    for t in range(X.shape[1]):
        out += X[:, t, None] * Y[None, t]
    return out


def total(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over the first two axes of [i, j, B] in a fixed order: float64 [B]."""
    out = np.zeros(X.shape[2])
    for row in X:
        for x in row:
            out += x
    return out
