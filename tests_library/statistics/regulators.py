"""What each regulator sees of the universe: how near every gene is, and in which direction, in every spectral window.

One table a regulator, made when it is read and kept for all annotations, draws and intervals that have the regulator. Of
2,500 genes and 26 views (13 layers) the ranks of a regulator are 130 kB and its steps 1 MB.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.kept import Kept
from ..engine.kernels import narrow
from ..engine.ranks import mid_ranks
from ..engine.steps import unit_steps
from ..spaces import Geometry
from .base import View
from .coordinates import windows

STEP_UNIT = 1 << 12
"""Length of a unit displacement: squares of sums over 2¹⁸ edges fit in int64."""
_COORDINATE_BITS = 21
"""|coordinate| ≤ 2²¹, so squared distances over up to 2⁷ axes are exact in float64."""
_KEPT_BYTES = 384 << 20
"""Room for the ranks, and as much for the steps, of a universe: ranks of 1,500 regulators of 5,000 genes in 26 views."""


@dataclass(frozen=True, eq=False)
class RegulatorTables:
    """The tables of regulators (cache rows), by number; what has no room in ``kept`` is made again when it is read again."""

    rows: tuple[int, ...]
    kept: Kept
    make: Callable[[int], NDArray[Any]]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, regulator: int, /) -> NDArray[Any]:
        row = self.rows[regulator]
        return self.kept.get(row, lambda: self.make(row))


def window_views(geometry: Geometry) -> tuple[View, ...]:
    """Every window of every layer."""
    return tuple(View(f"L{q}", f"SV{a}-{b}") for q in range(geometry.n_layers) for a, b in windows(geometry.n_axes))


def place(view: View) -> tuple[int, int, int]:
    """Layer, first and last axis (1-based) of a window view."""
    low, high = (int(v) for v in view.coordinate[2:].split("-"))
    return int(view.layer[1:]), low, high


def rank_tables(geometry: Geometry, regulators: NDArray[np.int64]) -> RegulatorTables:
    """Ranks of all genes within each regulator (cache rows [R]) in every view: :func:`within_regulator_ranks`."""
    kept = geometry.remember("regulator ranks", lambda: Kept(_KEPT_BYTES))
    return RegulatorTables(tuple(regulators.tolist()), kept, lambda row: within_regulator_ranks(geometry, row))


def step_tables(geometry: Geometry, regulators: NDArray[np.int64]) -> RegulatorTables:
    """Steps from each regulator (cache rows [R]) to all genes in every view: :func:`regulator_steps`."""
    kept = geometry.remember("regulator steps", lambda: Kept(_KEPT_BYTES))
    return RegulatorTables(tuple(regulators.tolist()), kept, lambda row: regulator_steps(geometry, row))


def within_regulator_ranks(geometry: Geometry, regulator: int) -> NDArray[Any]:
    """Doubled centred mid-ranks of a regulator's similarities to the other genes: int16 (int32 if need be) [n, V].

    Real edges have no self-loop, but a draw may send a target to its own regulator. It then counts as the most similar
    gene, which it is, so such a draw can only be more extreme and the test only more conservative.
    """
    others = np.flatnonzero(geometry.universe != regulator)
    views = window_views(geometry)
    out = np.full((geometry.n, len(views)), len(others) - 1, np.int32)
    for v, view in enumerate(views):
        out[others, v] = mid_ranks(geometry.window_similarity(*place(view), regulator)[others])
    return narrow(out)


def regulator_steps(geometry: Geometry, regulator: int) -> NDArray[Any]:
    """Unit vectors from a regulator to each gene in units of 2⁻¹², view beside view: int16 [n, C].

    Equal points have the vector 0. Coordinates are rounded to integers before they are subtracted.
    """
    windows_of = [(view, *place(view)) for view in window_views(geometry)]
    out = np.empty((geometry.n, sum(high - low + 1 for _, _, low, high in windows_of)), np.int16)
    at = 0
    for view, layer, low, high in windows_of:
        x = geometry.remember(("rounded window", view), partial(_rounded, geometry, layer, low, high))
        width = high - low + 1
        unit_steps(x, geometry.universe, regulator, STEP_UNIT, out[:, at : at + width])
        at += width
    return out


def _rounded(geometry: Geometry, layer: int, low: int, high: int) -> NDArray[np.float64]:
    """Coordinates of all cache rows in a window, rounded to a common unit: float64 holding integers [genes, w]."""
    lengths = geometry.axis_scale(layer)[low - 1 : high]
    relative = lengths / max(float(lengths.max()), np.finfo(np.float64).tiny)
    return np.asarray(np.rint(geometry.axes(layer)[:, low - 1 : high] * relative * 2.0 ** (_COORDINATE_BITS - 30)))
