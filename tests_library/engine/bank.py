"""The permutation bank: which gene stands in for which, shared by every hypothesis on one gene universe.

A bank is named by ``sha256(seed ‖ null ‖ genes ‖ strata)``. Arrangement 0 is the observed one (identity); arrangement j ≥ 1
permutes genes within strata by a Fisher–Yates shuffle driven by Philox, and any block of arrangements can be made alone.
Because all hypotheses of a universe read the same arrangements, the maximum over any set of their statistics has its
joint null distribution for free (Westfall & Young 1993), whatever the dependence between them.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .jit import HAVE_NUMBA, jit
from .philox import bounded, philox_words

BLOCK = 1024
"""Arrangements made at once; results do not depend on it."""
_CACHE_BYTES = 96 << 20


@dataclass(frozen=True, eq=False)
class Bank:
    """Arrangements of ``n`` genes within strata, gene by gene or in whole units.

    ``strata`` is int64 [n]; equal numbers may be exchanged. ``units``, int64 [n], makes genes with equal numbers move
    together: all units of a stratum have the same size, and the t-th gene of one is played by the t-th of another.
    ``key`` are the two 32-bit words of the Philox key. Raises ``ValueError`` for a stratum of units of unequal size.
    """

    key: tuple[int, int]
    strata: NDArray[np.int64]
    units: NDArray[np.int64] | None = None

    @property
    def n(self) -> int:
        """Number of genes in the universe."""
        return len(self.strata)

    @cached_property
    def _movers(self) -> "_Units | None":
        return None if self.units is None else _Units.of(self.units, self.strata)

    @cached_property
    def _order(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        strata = self.strata if self._movers is None else self._movers.strata
        order = np.argsort(strata, kind="stable").astype(np.int64)
        _, sizes = np.unique(strata, return_counts=True)
        return order, sizes.astype(np.int64)

    def arrangements(self, start: int, stop: int) -> NDArray[np.int32]:
        """Arrangements ``start … stop−1`` as int32 [stop − start, n]: gene i is played by gene ``a[i]``."""
        if not 0 <= start < stop:
            raise ValueError(f"arrangements {start}..{stop} is not a forward range from 0")
        order, sizes = self._order
        fill = _fill_loop if HAVE_NUMBA else _fill_numpy
        out = np.empty((stop - start, len(order)), dtype=np.int32)
        fill(out, start, order, sizes, np.uint64(self.key[0]), np.uint64(self.key[1]))
        return out if self._movers is None else self._movers.genes(out)

    def blocks(self, m: int) -> list[tuple[int, int]]:
        """The ranges that cover arrangements 0 … m (m null draws and the observed one)."""
        return [(s, min(s + BLOCK, m + 1)) for s in range(0, m + 1, BLOCK)]


@dataclass(frozen=True, eq=False)
class _Units:
    """Units as rows of genes: ``members`` [genes sorted by unit], ``start`` and ``strata`` by unit."""

    members: NDArray[np.int64]
    start: NDArray[np.int64]
    strata: NDArray[np.int64]
    unit_of: NDArray[np.int64]
    offset: NDArray[np.int64]

    @classmethod
    def of(cls, units: NDArray[np.int64], strata: NDArray[np.int64]) -> "_Units":
        _, unit_of, sizes = np.unique(units, return_inverse=True, return_counts=True)
        members = np.argsort(unit_of, kind="stable").astype(np.int64)
        start = (np.cumsum(sizes) - sizes).astype(np.int64)
        by_unit = strata[members[start]]
        for stratum in np.unique(by_unit).tolist():
            if len(np.unique(sizes[by_unit == stratum])) > 1:
                raise ValueError(
                    f"stratum {stratum} mixes units of different size; they cannot stand in for each other"
                )
        offset = np.empty(len(units), dtype=np.int64)
        offset[members] = np.arange(len(units)) - start[unit_of[members]]
        return cls(members, start, by_unit, unit_of.astype(np.int64), offset)

    def genes(self, units: NDArray[np.int32]) -> NDArray[np.int32]:
        """Arrangements of units [P, U] → arrangements of genes [P, n]."""
        places: NDArray[np.int64] = self.start[units[:, self.unit_of]] + self.offset
        arranged: NDArray[np.int32] = self.members[places].astype(np.int32)
        return arranged


def bank_key(
    seed: int,
    null: str,
    symbols: tuple[str, ...],
    strata: NDArray[np.int64],
    units: NDArray[np.int64] | None = None,
) -> tuple[int, int]:
    """The Philox key of a bank: the first 64 bits of sha256 over seed, null, gene names in order, strata and units."""
    groups = [strata] if units is None else [strata, units]
    text = "\x1f".join((str(seed), null, "\x1e".join(symbols), *(",".join(map(str, g.tolist())) for g in groups)))
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


class BankCache:
    """Keeps blocks up to a fixed number of bytes; arrangements are the same without it.

    What came first stays. Every scan reads the blocks of its banks in the same order, and dropping the oldest would then
    drop each block just before it is needed again.
    """

    def __init__(self, limit_bytes: int = _CACHE_BYTES) -> None:
        self._room = limit_bytes
        self._blocks: dict[tuple[tuple[int, int], int, int, int], NDArray[np.int32]] = {}

    def get(self, bank: Bank, start: int, stop: int) -> NDArray[np.int32]:
        """``bank.arrangements(start, stop)``, remembered where there is room, read-only."""
        name = (bank.key, bank.n, start, stop)
        if name in self._blocks:
            return self._blocks[name]
        block = bank.arrangements(start, stop)
        block.flags.writeable = False
        if block.nbytes <= self._room:
            self._room -= block.nbytes
            self._blocks[name] = block
        return block


@jit
def _fill_loop(
    out: NDArray[np.int32],
    start: int,
    order: NDArray[np.int64],
    sizes: NDArray[np.int64],
    k0: np.uint64,
    k1: np.uint64,
) -> None:
    """Fill rows of ``out``: one Fisher–Yates shuffle a stratum; draw t of a row is the t-th swap over all strata."""
    n = len(order)
    shuffled = np.empty(n, np.int64)
    zero = np.uint64(0)
    for row in range(out.shape[0]):
        permutation = start + row
        shuffled[:] = order
        if permutation > 0:
            draw = 0
            base = 0
            w0 = w1 = w2 = w3 = zero
            for size in sizes:
                for i in range(size - 1):
                    if draw % 2 == 0:
                        w0, w1, w2, w3 = philox_words(np.uint64(draw // 2), np.uint64(permutation), zero, zero, k0, k1)
                        high, low = w0, w1
                    else:
                        high, low = w2, w3
                    j = i + np.int64(bounded(high, low, np.uint64(size - i)))
                    tmp = shuffled[base + i]
                    shuffled[base + i] = shuffled[base + j]
                    shuffled[base + j] = tmp
                    draw += 1
                base += size
        for i in range(n):
            out[row, order[i]] = shuffled[i]


def _fill_numpy(
    out: NDArray[np.int32],
    start: int,
    order: NDArray[np.int64],
    sizes: NDArray[np.int64],
    k0: np.uint64,
    k1: np.uint64,
) -> None:
    """The same rows as :func:`_fill_loop`, one vectorised swap at a time."""
    rows = np.arange(out.shape[0])
    permutation = (start + rows).astype(np.uint64)
    moving = permutation > 0
    shuffled = np.repeat(order[None, :], len(rows), axis=0)
    zero = np.zeros(len(rows), np.uint64)
    draw = base = 0
    words: tuple[NDArray[np.uint64], ...] = (zero,) * 4
    for size in sizes.tolist():
        for i in range(size - 1):
            if draw % 2 == 0:
                words = philox_words(zero + np.uint64(draw // 2), permutation, zero, zero, k0 + zero, k1 + zero)
            high, low = words[2 * (draw % 2)], words[2 * (draw % 2) + 1]
            j = i + bounded(high, low, np.uint64(size - i)).astype(np.int64)
            j = base + np.where(moving, j, i)
            left = shuffled[rows, base + i].copy()
            shuffled[rows, base + i] = shuffled[rows, j]
            shuffled[rows, j] = left
            draw += 1
        base += size
    out[:, order] = shuffled
