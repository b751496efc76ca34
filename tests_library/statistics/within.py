"""Sums over the pairs within a gene set. Several kinds ask for them on the same arrangements; they are made once.

A look tests one set under all its kinds in turn, so the sums of the last few blocks are enough to remember.
"""

import weakref
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..engine.kernels import Arrangements
from ..engine.subsets import within_sums
from ..spaces import Geometry

_BLOCKS = 32
"""Three nulls of five blocks, for one set, twice."""


def within_pairs(members: NDArray[np.int64]) -> NDArray[np.int64]:
    """All unordered pairs of members: int64 [m(m − 1)/2, 2]."""
    i, j = np.triu_indices(len(members), 1)
    return np.stack([members[i], members[j]], axis=1)


def within_auroc_scale(geometry: Geometry, pairs: NDArray[np.int64]) -> float:
    """What turns a sum of doubled centred ranks over ``pairs`` into an AUROC minus one half."""
    others = geometry.n * (geometry.n - 1) // 2 - len(pairs)
    return 1 / (2 * len(pairs) * max(1, others))


def within_rank_sums(geometry: Geometry, members: NDArray[np.int64]) -> Callable[[Arrangements], NDArray[np.int64]]:
    """Σ_{i<j∈S} of the doubled centred rank of cosine over all pairs of the universe: arrangements [P, n] → int64 [P, L]."""
    table = geometry.pair_ranks()
    recent = geometry.remember("recent within sums", _Recent)

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return recent.get(members.tobytes(), arrangements, lambda: within_sums(table, members, arrangements))

    return sums


class _Recent:
    """The sums of the last blocks asked for. A block is known by being the same array, which a weak reference tells."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[bytes, int], tuple[weakref.ref[Arrangements], NDArray[np.int64]]] = OrderedDict()

    def get(self, name: bytes, arrangements: Arrangements, make: Callable[[], NDArray[np.int64]]) -> NDArray[np.int64]:
        if arrangements.flags.writeable:  # it may hold other arrangements when it is seen again
            return make()
        key = (name, id(arrangements))
        held = self._made.get(key)
        if held is not None and held[0]() is arrangements:
            self._made.move_to_end(key)
            return held[1]
        sums = make()
        sums.flags.writeable = False
        self._made[key] = (weakref.ref(arrangements), sums)
        if len(self._made) > _BLOCKS:
            self._made.popitem(last=False)
        return sums
