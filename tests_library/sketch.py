"""A null distribution in a few numbers, to draw it. For the eye: k and m decide, and they are counted, not read off a picture."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 20


def sketch(maximum: NDArray[np.float64]) -> dict[str, Any]:
    """Histogram of the null draws of a standardised maximum.

    ``maximum`` is float64 [m + 1] with the observed first, in null sd. Gives ``observed``, and ``counts`` of the finite draws
    in :data:`BINS` equal bins from ``low`` to ``high``; ends and observed have five significant digits. Without a finite draw
    ``counts`` is empty and the ends are 0.
    """
    draws = maximum[1:]
    finite = draws[np.isfinite(draws)]
    observed = float(maximum[0])
    out: dict[str, Any] = {"low": 0.0, "high": 0.0, "observed": _short(observed) if np.isfinite(observed) else None}
    if not len(finite):
        return out | {"counts": []}
    counts, ends = np.histogram(finite, bins=BINS)
    return out | {"low": _short(float(ends[0])), "high": _short(float(ends[-1])), "counts": counts.tolist()}


def _short(value: float) -> float:
    return float(f"{value:.5g}")
