"""The permutation bank: which gene stands in for which, shared by every hypothesis on one gene universe.

A bank is named by ``sha256(seed ‖ null ‖ genes ‖ strata)``. Arrangement 0 is the observed one (identity); arrangement j ≥ 1
permutes genes within strata by a Fisher–Yates shuffle driven by Philox, and any block of arrangements can be made alone.
Because all hypotheses of a universe read the same arrangements, the maximum over any set of their statistics has its
joint null distribution for free (Westfall & Young 1993), whatever the dependence between them.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import HAVE_NUMBA, as_numpy, jit
from .kept import Kept
from .philox import bounded, philox_words, uneven

BLOCK = 1024
"""Arrangements made at once; results do not depend on it."""
_CACHE_BYTES = 320 << 20
"""Room for the 15 blocks that a look draws of 5,000 genes, so several kinds meet the same ones; a small universe needs little."""
_NUMPY_CELLS = 1 << 20
"""Places the NumPy path shuffles at once, so that it stays small."""
_MASK = np.uint64(0xFFFFFFFF)
_U32 = np.uint64(32)


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
    def _places(self) -> "_Places":
        return _Places.of(self.strata if self._movers is None else self._movers.strata)

    def arrangements(self, start: int, stop: int) -> NDArray[np.int32]:
        """Arrangements ``start … stop−1`` as int32 [stop − start, n]: gene i is played by gene ``a[i]``."""
        if not 0 <= start < stop:
            raise ValueError(f"arrangements {start}..{stop} is not a forward range from 0")
        to = self._places
        fill = _fill_loop if HAVE_NUMBA else _fill_numpy
        out = np.empty((stop - start, len(to.order)), dtype=np.int32)
        k0, k1 = (np.uint64(k) for k in self.key)
        fill(out, start, to.order, to.first, to.bound, to.identity, k0, k1)
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
    """Blocks of arrangements, kept up to a fixed number of bytes; arrangements are the same without it."""

    def __init__(self, limit_bytes: int = _CACHE_BYTES) -> None:
        self._kept = Kept(limit_bytes)

    def get(self, bank: Bank, start: int, stop: int) -> NDArray[np.int32]:
        """``bank.arrangements(start, stop)``, remembered where there is room, read-only."""
        return self._kept.get((bank.key, bank.n, start, stop), lambda: bank.arrangements(start, stop))


@dataclass(frozen=True, eq=False)
class _Places:
    """The layout of a shuffle. Places are the movers sorted by stratum; place t belongs to mover ``order[t]``, int32 [n].

    An inside-out Fisher–Yates shuffle gives place t, the i-th of its stratum, a partner among the i + 1 places from
    ``first[t]`` to t itself (``bound[t]`` = i + 1), both uint32 [n]. Its random word is word ``t // B`` of the Philox
    block with counter (t % B, arrangement, stream, 0), B = ceil(n / 4): stream 0, or the first later stream whose word
    is not refused. So neighbouring places lie in neighbouring counters, which a compiler can work on side by side.
    """

    order: NDArray[np.int32]
    first: NDArray[np.uint32]
    bound: NDArray[np.uint32]
    identity: bool
    """Whether places and movers are the same, as they are with one stratum."""

    @classmethod
    def of(cls, strata: NDArray[np.int64]) -> "_Places":
        order = np.argsort(strata, kind="stable").astype(np.int32)
        _, sizes = np.unique(strata, return_counts=True)
        first = np.repeat(np.cumsum(sizes) - sizes, sizes)
        t = np.arange(len(order))
        return cls(order, first.astype(np.uint32), (t - first + 1).astype(np.uint32), bool((order == t).all()))


@jit
def _fill_loop(
    out: NDArray[np.int32],
    start: int,
    order: NDArray[np.int32],
    first: NDArray[np.uint32],
    bound: NDArray[np.uint32],
    identity: bool,
    k0: np.uint64,
    k1: np.uint64,
) -> None:
    """Fill rows of ``out`` [P, n]. Each step is a loop of its own over a row, which stays in the nearest cache."""
    n = len(order)
    words = np.empty((4, (n + 3) // 4), np.uint32)
    partner = words.reshape(-1)
    scratch = np.empty(n, np.int32)
    for p in range(out.shape[0]):
        arrangement = np.uint64(start + p)
        if start + p == 0:
            for t in range(n):
                out[p, t] = t
            continue
        _draw_words(words, arrangement, k0, k1)
        if _choose_partners(partner, first, bound):
            _draw_again(partner, arrangement, first, bound, k0, k1)
        places = out[p] if identity else scratch
        for t in range(n):  # place t takes what its partner holds, and the partner takes what was at home in t
            q = partner[t]
            places[t] = places[q]
            places[q] = t
        if not identity:
            for t in range(n):
                out[p, order[t]] = order[places[t]]


@jit
def _draw_words(words: NDArray[np.uint32], arrangement: np.uint64, k0: np.uint64, k1: np.uint64) -> None:
    """Stream 0 of one arrangement, uint32 [4, B]. Without a branch, so that several counters are computed at once."""
    zero = np.uint64(0)
    for b in range(words.shape[1]):
        w0, w1, w2, w3 = philox_words(np.uint64(b), arrangement, zero, zero, k0, k1)
        words[0, b] = w0
        words[1, b] = w1
        words[2, b] = w2
        words[3, b] = w3


@jit
def _choose_partners(partner: NDArray[np.uint32], first: NDArray[np.uint32], bound: NDArray[np.uint32]) -> bool:
    """Words become partners, in place. True if a word may have to be refused: a division-free check that is rarely true."""
    doubtful = np.int64(0)
    for t in range(len(bound)):
        product = np.uint64(partner[t]) * np.uint64(bound[t])
        doubtful += (product & _MASK) < np.uint64(bound[t])
        partner[t] = first[t] + (product >> _U32)
    return bool(doubtful > 0)


@jit
def _draw_again(
    partner: NDArray[np.uint32],
    arrangement: np.uint64,
    first: NDArray[np.uint32],
    bound: NDArray[np.uint32],
    k0: np.uint64,
    k1: np.uint64,
) -> None:
    """Replace the partners whose word must be refused."""
    zero = np.uint64(0)
    blocks = (len(bound) + 3) // 4
    for t in range(len(bound)):
        word = philox_words(np.uint64(t % blocks), arrangement, zero, zero, k0, k1)[t // blocks]
        if uneven(word, np.uint64(bound[t])):
            partner[t] = first[t] + _later_draw(t, blocks, arrangement, np.uint64(bound[t]), k0, k1)


@jit
def _later_draw(t: int, blocks: int, arrangement: Any, bound: Any, k0: Any, k1: Any) -> Any:
    """A number below ``bound`` for place t, from the first stream after 0 whose word is not refused."""
    stream = np.uint64(1)
    while True:
        block = philox_words(np.uint64(t % blocks), arrangement, stream, np.uint64(0), k0, k1)
        word = block[t // blocks]
        if not uneven(word, bound):
            return bounded(word, bound)
        stream += np.uint64(1)


def _fill_numpy(
    out: NDArray[np.int32],
    start: int,
    order: NDArray[np.int32],
    first: NDArray[np.uint32],
    bound: NDArray[np.uint32],
    identity: bool,  # noqa: ARG001 - one signature for both
    k0: np.uint64,
    k1: np.uint64,
) -> None:
    """The same rows as :func:`_fill_loop`, all rows at once, one place after the other."""
    step = max(1, _NUMPY_CELLS // len(order))
    for s in range(0, len(out), step):
        rows = out[s : s + step]
        partner = _partners_numpy(np.arange(start + s, start + s + len(rows), dtype=np.uint64), first, bound, k0, k1)
        at = np.arange(len(rows))
        places = np.empty((len(order), len(rows)), np.int32)
        for t in range(len(order)):
            places[t] = places[partner[:, t], at]
            places[partner[:, t], at] = t
        rows[:, order] = order[places].T


def _partners_numpy(
    arrangement: NDArray[np.uint64],
    first: NDArray[np.uint32],
    bound: NDArray[np.uint32],
    k0: np.uint64,
    k1: np.uint64,
) -> NDArray[np.int64]:
    """The partner of every place in each of the given arrangements: int64 [P, n]."""
    n = len(bound)
    blocks = (n + 3) // 4
    zero = np.zeros((1, 1), np.uint64)
    counter = np.arange(blocks, dtype=np.uint64)[None, :]
    words = as_numpy(philox_words)(counter, arrangement[:, None], zero, zero, k0 + zero, k1 + zero)
    word = np.concatenate([np.broadcast_to(w, (len(arrangement), blocks)) for w in words], axis=1)[:, :n]
    wide = bound.astype(np.uint64)
    partner: NDArray[np.int64] = (first + as_numpy(bounded)(word, wide)).astype(np.int64)
    for p, t in np.argwhere(as_numpy(uneven)(word, wide)).tolist():
        partner[p, t] = int(first[t]) + int(_later_draw(t, blocks, arrangement[p], wide[t], k0, k1))
    partner[arrangement == 0] = np.arange(n)
    return partner
