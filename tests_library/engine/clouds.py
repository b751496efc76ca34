"""Clouds of points to compare a set with: Gaussian ones, and ones whose coordinates were shuffled apart.

Both are made of exact integers and Philox words, so a cloud is a pure function of key and draw.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .jit import as_numpy
from .normals import normals_of
from .philox import bounded, philox_words
from .spectra import cosines

_WEIGHT_BITS = 17
"""A standard normal here is below 2⁴, so a coordinate is below 2²¹ and products of two, summed over up to 2¹¹, are exact."""
_PURPOSE = 3


def axis_weights(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviations about the origin along the principal axes of points [n, d]: integers in float64 [d].

    In units of 2⁻¹⁷ of the largest, so the last bits of LAPACK do not matter. All zero for points in the origin.
    """
    spread = np.sqrt(np.maximum(0.0, np.linalg.eigvalsh(points.T @ points)))[::-1]
    largest = spread[0] if spread[0] > 0 else 1.0
    return np.asarray(np.rint(np.ldexp(spread / largest, _WEIGHT_BITS)))


def gaussian_cosines(
    weights: Sequence[NDArray[np.float64]], m: int, key: tuple[int, int], start: int, stop: int
) -> list[NDArray[np.int64]]:
    """Cosines between m points of a Gaussian cloud with the given axes, for each layer: int64 [stop − start, m, m] each.

    Axis k of every layer is driven by the same normals, as the layers of a real embedding go together.
    """
    d = max(len(w) for w in weights)
    z = normals_of(key, start, stop, m * d).reshape(stop - start, m, d)
    return [cosines(np.rint(z[:, :, : len(w)] * w)) for w in weights]


def shuffled_cosines(
    layers: Sequence[NDArray[np.float64]], m: int, key: tuple[int, int], start: int, stop: int
) -> list[NDArray[np.int64]]:
    """Cosines between m points whose every coordinate is drawn from its own random genes: int64 [stop − start, m, m] each.

    ``layers``: integers in float64 [n, d] each. A coordinate takes m different genes, the same ones at every layer.
    """
    d = layers[0].shape[1]
    genes = np.stack([picks(len(layers[0]), d, m, key, draw) for draw in range(start, stop)])
    columns = np.arange(d)
    return [cosines(points[genes, columns]) for points in layers]


def picks(n: int, d: int, m: int, key: tuple[int, int], draw: int) -> NDArray[np.int64]:
    """For each of d coordinates, m different numbers below n: int64 [m, d], by a partial Fisher–Yates shuffle.

    Step t of coordinate c uses word t % 4 of the block with counter (t // 4, draw, c, 3), floored to the range: a value is
    preferred by at most n / 2³².
    """
    zero = np.zeros((1, 1), np.uint64)
    blocks = np.arange((m + 3) // 4, dtype=np.uint64)[:, None]
    coordinate = np.arange(d, dtype=np.uint64)[None, :]
    k0, k1, c1, c3 = (zero + np.uint64(v) for v in (*key, draw, _PURPOSE))
    words = np.stack(as_numpy(philox_words)(blocks, c1, coordinate, c3, k0, k1), axis=1).reshape(-1, d)
    places = np.repeat(np.arange(n)[:, None], d, axis=1)
    columns = np.arange(d)
    for t in range(m):
        partner = t + as_numpy(bounded)(words[t], np.uint64(n - t)).astype(np.int64)
        places[t], places[partner, columns] = places[partner, columns], places[t].copy()
    return places[:m]
