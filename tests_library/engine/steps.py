"""Directions between points on an integer grid, rounded to integers: sums of them do not depend on order or machine."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import HAVE_NUMBA, jit


def unit_steps(
    points: NDArray[np.float64], rows: NDArray[np.int64], origin: int, unit: int, out: NDArray[np.int16]
) -> None:
    """Unit vectors from ``points[origin]`` to ``points[rows]``, in units of 1 / ``unit``, into ``out`` int16 [n, w].

    ``points`` [genes, w] hold integers of at most 22 bits and ``unit`` is a power of two, so all but one square root and one
    division is exact, and those are rounded as IEEE 754 says. Equal points have the vector 0.
    """
    if HAVE_NUMBA:
        _unit_steps_loop(points, rows, origin, float(unit), out)
        return
    steps = points[rows] - points[origin]
    length = np.sqrt((steps**2).sum(axis=1))
    out[:] = np.rint(unit * steps / np.where(length > 0, length, 1.0)[:, None])


@jit
def _unit_steps_loop(
    points: NDArray[np.float64], rows: NDArray[np.int64], origin: int, unit: float, out: NDArray[Any]
) -> None:
    width = points.shape[1]
    step = np.empty(width)
    for i in range(len(rows)):
        square = 0.0
        for k in range(width):
            step[k] = points[rows[i], k] - points[origin, k]
            square += step[k] * step[k]
        length = np.sqrt(square) if square > 0 else 1.0
        for k in range(width):
            out[i, k] = np.int16(np.rint(unit * step[k] / length))
