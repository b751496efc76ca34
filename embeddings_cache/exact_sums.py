"""Sums that come out the same in any order: numbers are rounded to a grid on which float64 adds exactly.

A float64 holds whole numbers up to 2^53 exactly. Every addend is therefore rounded to a multiple of 2^-k, with k so small
that the largest sum that can occur stays below 2^52 steps. Then every addition is exact, and the result depends
neither on the order of cells nor on shards, interruptions, threads or atomic adds on a GPU. The price is an error of at
most half a step per addend; with 1,000,000 cells a step is 2^-25 or finer, less than float32 states resolve at 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

try:
    from numba import njit

    HAVE_NUMBA = True
except ImportError:  # the torch path gives the same sums
    HAVE_NUMBA = False

_MANTISSA = 52


def grid_bits(bound: float, count: int) -> int:
    """Return k, the finest grid 2^-k on which ``count`` numbers of magnitude at most ``bound`` add exactly in float64."""
    most = max(bound, 2.0**-500) * max(count, 1)
    return _MANTISSA - 1 - math.ceil(math.log2(most))


def rounder(bits: int) -> float:
    """Return the float64 number that, added and subtracted again, rounds to multiples of 2^-``bits``."""
    return 1.5 * 2.0 ** (_MANTISSA - bits)


def on_grid(values: Tensor, magic: float) -> Tensor:
    """Round a float64 tensor in place; ``magic`` comes from :func:`rounder`."""
    return values.add_(magic).sub_(magic)


def add_states(
    sums: Tensor, squares: Tensor, rows: Tensor, tokens: Tensor, states: Tensor, magic: float, magic_squares: float
) -> None:
    """Add states to the sums of their genes.

    Args:
        sums: float64 ``[n_rows, dim]``, changed in place; a multiple of the grid everywhere.
        squares: float64 ``[n_rows]``, changed in place; sums of squared norms.
        rows: which row each token belongs to, int64 ``[k]``.
        tokens: positions of these tokens in ``states``, int64 ``[k]``.
        states: ``[n_tokens, dim]``, any floating type, finite.
        magic: see :func:`rounder`; for ``sums``.
        magic_squares: the same for ``squares``.
    """
    if HAVE_NUMBA and states.device.type == "cpu" and states.dtype == torch.float32:
        arrays = (sums, squares, rows, tokens, states)
        _add_rows(*(array.numpy() for array in arrays), magic, magic_squares)
        return
    kept = on_grid(states.index_select(0, tokens).to(torch.float64), magic)
    sums.index_add_(0, rows, kept)
    squares.index_add_(0, rows, on_grid(kept.square().sum(dim=1), magic_squares))


def _add_rows_in_python(
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
    rows: NDArray[np.int64],
    tokens: NDArray[np.int64],
    states: NDArray[np.float32],
    magic: float,
    magic_squares: float,
) -> None:
    width = states.shape[1]
    whole = width - width % 4
    for k in range(len(rows)):
        total = sums[rows[k]]
        state = states[tokens[k]]
        for d in range(width):
            total[d] += (np.float64(state[d]) + magic) - magic
        # Four running sums, because one would wait for each addition to end before the next begins.
        a = b = c = e = 0.0
        for d in range(0, whole, 4):
            a += np.float64(state[d]) ** 2
            b += np.float64(state[d + 1]) ** 2
            c += np.float64(state[d + 2]) ** 2
            e += np.float64(state[d + 3]) ** 2
        for d in range(whole, width):
            a += np.float64(state[d]) ** 2
        squares[rows[k]] += (((a + b) + (c + e)) + magic_squares) - magic_squares


_add_rows: Any = njit(cache=True, nogil=True)(_add_rows_in_python) if HAVE_NUMBA else None
