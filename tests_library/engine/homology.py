"""Persistent homology of many subsets of points, on distances that are whole numbers, so that sums are exact.

Degree 0 is the minimum spanning tree (Prim). Degree 1 comes from a kept library, gudhi, which wraps Ripser (both MIT).
"""

from collections.abc import Callable
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from .jit import HAVE_NUMBA, jit
from .kernels import Arrangements

BITS = 20
"""Distances are in units of 2⁻²⁰; the largest chord, 2, is 2²¹, which float32 holds exactly too."""
_NUMPY_CELLS = 1 << 22
_AT_ONCE = 64
"""Draws handed to the library in one call."""
_MISSING = (
    "persistence_h1 needs the packages gudhi and scikit-learn, and they cannot be imported here: "
    "pip install 'gudhi>=3.13' scikit-learn"
)


def chords(similarity: NDArray[np.int64]) -> NDArray[np.int32]:
    """Chord distance √(2 − 2·cos) in units of 2⁻²⁰, rounded: int32 [n, n] from cosines in units of 2⁻³⁰; diagonal 0.

    A square root is correctly rounded by IEEE, so the whole numbers are the same on every machine.
    """
    squared = np.ldexp(np.maximum(0, (1 << 30) - similarity).astype(np.float64), 1 - 30)
    distance: NDArray[np.int32] = np.rint(np.ldexp(np.sqrt(squared), BITS)).astype(np.int32)
    np.fill_diagonal(distance, 0)
    return distance


def tree_lengths(
    distance: NDArray[np.int32], members: NDArray[np.int64], arrangements: Arrangements
) -> NDArray[np.int64]:
    """Length of the minimum spanning tree of every draw's genes: int64 [P, V] from distance int32 [n, n, V].

    It is the total length of the H0 bars of the Vietoris–Rips filtration. Ties change the tree and never its length.
    """
    out = np.zeros((len(arrangements), distance.shape[2]), np.int64)
    if HAVE_NUMBA:
        _tree_loop(distance, members, arrangements, out)
        return out
    step = max(1, _NUMPY_CELLS // (len(members) * distance.shape[2]))
    for start in range(0, len(out), step):
        rows = slice(start, start + step)
        out[rows] = _tree_numpy(distance, arrangements[rows][:, members])
    return out


def _tree_numpy(distance: NDArray[np.int32], genes: NDArray[np.int32]) -> NDArray[np.int64]:
    """Prim's algorithm on every draw and view at once: a step adds the gene nearest to the tree."""
    far = np.iinfo(np.int32).max
    draws, m = genes.shape
    views = np.arange(distance.shape[2])
    row = np.arange(draws)[:, None]
    reach = distance[genes, genes[:, :1]]  # [P, m, V]: distance of each gene from the tree
    reach[:, 0] = far
    inside = np.zeros(reach.shape, dtype=bool)
    inside[:, 0] = True
    length = np.zeros((draws, len(views)), np.int64)
    for _ in range(m - 1):
        added = reach.argmin(axis=1)
        length += reach[row, added, views]
        inside[row, added, views] = True
        new = distance[genes[:, :, None], genes[row, added][:, None, :], views]
        reach = np.where(inside, far, np.minimum(reach, new))
    return length


@jit
def _tree_loop(
    distance: NDArray[np.int32], members: NDArray[np.int64], arrangements: Arrangements, out: NDArray[np.int64]
) -> None:
    m = len(members)
    reach = np.empty(m, np.int32)
    gene = np.empty(m, np.int64)
    for p in range(arrangements.shape[0]):
        for v in range(distance.shape[2]):
            for i in range(m):
                gene[i] = arrangements[p, members[i]]
            for i in range(1, m):
                reach[i] = distance[gene[i], gene[0], v]
            for outside in range(m - 1, 0, -1):  # places 1 … outside are not in the tree yet
                nearest = 1
                for i in range(2, outside + 1):
                    if reach[i] < reach[nearest]:
                        nearest = i
                out[p, v] += reach[nearest]
                added = gene[nearest]
                gene[nearest], reach[nearest] = gene[outside], reach[outside]
                for i in range(1, outside):
                    reach[i] = min(reach[i], distance[gene[i], added, v])


LoopLengths = Callable[[list[NDArray[np.float64]]], list[NDArray[np.float64]]]


def loop_finder() -> LoopLengths:
    """Distance matrices → H1 bars (birth, death) of each, float64 [bars, 2]. ``ImportError`` says what to install."""
    try:
        rips = import_module("gudhi.sklearn.rips_persistence")  # here, because it takes a second
    except ImportError as error:
        raise ImportError(_MISSING) from error
    persistence = rips.RipsPersistence(
        homology_dimensions=1, input_type="full distance matrix", homology_coeff_field=2, n_jobs=1
    )

    def find(matrices: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        return list(persistence.fit_transform(matrices))

    return find


def loop_lengths(
    distance: NDArray[np.int32], members: NDArray[np.int64], arrangements: Arrangements, find: LoopLengths
) -> NDArray[np.int64]:
    """Total length of the H1 bars of the Vietoris–Rips filtration over ℤ/2 of every draw's genes: int64 [P, V].

    Bars of degree 1 begin and end at edge lengths, which are whole numbers, so their sum is exact.
    """
    genes = np.sort(arrangements[:, members], axis=1)
    out = np.empty((len(genes), distance.shape[2]), np.int64)
    for start in range(0, len(genes), _AT_ONCE):
        chosen = genes[start : start + _AT_ONCE]
        blocks = np.moveaxis(distance[chosen[:, :, None], chosen[:, None, :]], 3, 1).astype(np.float64)
        bars = find(list(blocks.reshape(-1, *blocks.shape[2:])))
        lengths = np.array([int((b[:, 1] - b[:, 0]).sum()) for b in bars], dtype=np.int64)
        out[start : start + _AT_ONCE] = lengths.reshape(len(chosen), -1)
    return out
