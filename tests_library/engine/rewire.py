"""Random graphs that keep the margins of an observed one: rewired edges, and targets drawn within each regulator.

**Rewiring** keeps, separately for activating, repressing and unsigned edges, how many each regulator has and how many
each target has. No edge is doubled and no regulator regulates itself. An edge is a *slot*: its regulator and sign stay
where they are, its target moves. One step picks slots of one sign and exchanges their targets (two slots: a swap; three:
a rotation one way or the other, by a fair bit), unless an edge would then be there twice or be a self-loop. Which slots
are picked depends on the random words alone, never on the graph, and a step and its undoing are equally likely. So the
uniform distribution stays what it is under every step, even though some words favour a slot by a part in 2³².

**Why p is exact.** A chain that starts at the observed graph and stops after k steps has not forgotten it, so its draws
and the observed graph are not exchangeable. The parallel method of Besag & Clifford (Generalized Monte Carlo
significance tests, Biometrika 1989) needs no forgetting: walk k steps *back* from the observed graph to a hub, then k
steps forward from the hub for every draw. If the observed graph is uniform, it is itself such a walk forward from the
hub. Given the hub, it and all draws are then independent and alike: exchangeable, whatever k is. k decides power only:
too few steps leave draws that resemble the observed graph, and p stays large.

**How many steps.** :data:`ATTEMPTS` = 10 attempts an edge. An attempt touches two slots, so one that is never refused
leaves a slot untouched with probability e⁻²⁰, one that is refused half of the time with e⁻¹⁰; the way back
to the hub doubles that. Swaps alone cannot reverse a directed triangle, rotations can: with both, every simple directed
graph with given degrees can be reached (Erdős, Miklós & Toroczkai 2010) where one sign is alone. Where signs bind too
much for that, p is exact among the graphs that can be reached.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bank import Bank
from .jit import HAVE_NUMBA, as_numpy, jit
from .philox import bounded, philox_words, uneven

ATTEMPTS = 10
"""Exchanges tried for each edge, from the observed graph to the hub and again from the hub to each draw."""
_PERIOD, _TRIES = 8, 15
"""Eight blocks of random words make fifteen attempts: seven blocks two swaps each, the eighth a rotation."""
_LEAST = 64
"""Periods at the least, so that rare rotations turn small graphs round too."""
_FORWARD, _BACKWARD = 0, 1
"""Third word of the counter: walks from the hub, and the one walk to it."""
_WALK, _TARGETS = 1, 2
"""Fourth word of the counter; a :class:`Bank` under the same key has 0."""
_CHUNK = 1 << 10
_NUMPY_CELLS = 1 << 23
_ONE, _SIX, _U32 = np.uint64(1), np.uint64(6), np.uint64(32)
_MASK6, _LOW = np.uint64(63), np.uint64(0xFFFFFFFF)


@dataclass(frozen=True, eq=False)
class SignedEdges:
    """Edges of ``R`` regulators into a universe of ``n`` genes.

    ``regulators`` int64 [e], numbers 0 … R−1; ``targets`` int64 [e], positions in the universe; ``signs`` int64 [e];
    ``own`` int64 [R], the position of each regulator in the universe, −1 outside. Raises ``ValueError`` for an edge that
    is there twice and for a self-loop: neither can be kept or moved by an exchange.
    """

    regulators: NDArray[np.int64]
    targets: NDArray[np.int64]
    signs: NDArray[np.int64]
    own: NDArray[np.int64]
    n: int

    def __post_init__(self) -> None:
        if len(np.unique(self.regulators * self.n + self.targets)) < len(self.targets):
            raise ValueError("an edge is there twice; edges to be rewired must be distinct")
        if (self.own[self.regulators] == self.targets).any():
            raise ValueError("a regulator regulates itself; edges to be rewired must have no self-loop")

    @cached_property
    def taken(self) -> NDArray[np.bool_]:
        """Where no edge may be added, bool [R, n]: the edges, and each regulator's own place."""
        taken = np.zeros((len(self.own), self.n), np.bool_)
        taken[self.regulators, self.targets] = True
        inside = np.flatnonzero(self.own >= 0)
        taken[inside, self.own[inside]] = True
        return taken


def blocks_of(edges: int) -> int:
    """Blocks of random words a walk reads: whole periods with at least ``ATTEMPTS`` attempts an edge, and at least 64."""
    return _PERIOD * max(_LEAST, -(-ATTEMPTS * edges // _TRIES))


def rewired(edges: SignedEdges, key: tuple[int, int], start: int, stop: int) -> NDArray[np.int32]:
    """Targets of the edges in draws ``start … stop−1``: int32 [stop − start, e]; edge i keeps its regulator and sign.

    Draw 0 is the observed graph, draw j ≥ 1 a function of the key and j alone.
    """
    slots = _Slots.of(edges, key)
    observed = edges.targets[slots.edge].astype(np.int32)
    walk = _walk_loop if HAVE_NUMBA else _walk_numpy
    k0, k1 = (np.uint64(k) for k in key)
    fixed = (slots.regulator, slots.first, slots.size, blocks_of(len(observed)))
    hub = np.empty((1, len(observed)), np.int32)
    walk(hub, observed, edges.taken, *fixed, 0, _BACKWARD, k0, k1)
    taken = edges.taken.copy()
    taken[slots.regulator, observed] = False
    taken[slots.regulator, hub[0]] = True
    walked = np.empty((stop - start, len(observed)), np.int32)
    walk(walked, hub[0], taken, *fixed, start, _FORWARD, k0, k1)
    out = np.empty_like(walked)
    out[:, slots.edge] = walked
    if start == 0:
        out[0] = edges.targets
    return out


@dataclass(frozen=True, eq=False)
class _Slots:
    """Edges in the order of their signs, shuffled within a sign; all int64 [e].

    The shuffle makes every order of the edges equally likely, so slots are alike before the first step, not only graphs.
    ``first`` and ``size`` are the range of slots of a slot's own sign.
    """

    edge: NDArray[np.int64]
    regulator: NDArray[np.int64]
    first: NDArray[np.int64]
    size: NDArray[np.int64]

    @classmethod
    def of(cls, edges: SignedEdges, key: tuple[int, int]) -> "_Slots":
        by_sign = np.argsort(edges.signs, kind="stable")
        edge = Bank(key, edges.signs).arrangements(1, 2)[0][by_sign].astype(np.int64)
        _, sizes = np.unique(edges.signs, return_counts=True)
        first = np.repeat(np.cumsum(sizes) - sizes, sizes).astype(np.int64)
        return cls(edge, edges.regulators[edge], first, np.repeat(sizes, sizes).astype(np.int64))


@jit
def _walk_loop(
    out: NDArray[np.int32],
    origin: NDArray[np.int32],
    origin_taken: NDArray[np.bool_],
    regulator: NDArray[np.int64],
    first: NDArray[np.int64],
    size: NDArray[np.int64],
    blocks: int,
    start: int,
    direction: int,
    k0: np.uint64,
    k1: np.uint64,
) -> None:
    """Each row of ``out`` [P, e]: where a walk from ``origin`` ends. A walk back takes its steps from the last to the first."""
    words = np.empty((4, _CHUNK), np.uint32)
    picks = np.empty((_CHUNK, 4), np.uint32)
    narrow_first, narrow_size = first.astype(np.uint32), size.astype(np.uint32)
    bits, origin_slots = _packed(origin_taken), _packed_slots(regulator, origin, origin_taken.shape[1])
    taken, slots = np.empty_like(bits), np.empty_like(origin_slots)
    chunks = (blocks + _CHUNK - 1) // _CHUNK
    for p in range(out.shape[0]):
        taken[:] = bits
        slots[:] = origin_slots
        for c in range(chunks):
            begin = (chunks - 1 - c if direction == _BACKWARD else c) * _CHUNK
            count = min(_CHUNK, blocks - begin)
            _draw_words(words, count, begin, start + p, direction, k0, k1)
            _pick_slots(picks, words, count, narrow_first, narrow_size)
            for i in range(count):
                k = count - 1 - i if direction == _BACKWARD else i
                w, x, y, z = (
                    np.uint64(picks[k, 0]),
                    np.uint64(picks[k, 1]),
                    np.uint64(picks[k, 2]),
                    np.uint64(picks[k, 3]),
                )
                if (begin + k) % _PERIOD == _PERIOD - 1:
                    _rotate(slots, taken, w, x, y, z)
                elif direction == _BACKWARD:
                    _swap(slots, taken, y, z)
                    _swap(slots, taken, w, x)
                else:
                    _swap(slots, taken, w, x)
                    _swap(slots, taken, y, z)
        for i in range(len(slots)):
            out[p, i] = slots[i] & _LOW


@jit
def _packed(taken: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """One bit a cell, rows of ceil(n / 64) words one after the other: uint64, small enough for a near cache."""
    width = (taken.shape[1] + 63) // 64
    out = np.zeros(taken.shape[0] * width, np.uint64)
    for r in range(taken.shape[0]):
        for t in range(taken.shape[1]):
            if taken[r, t]:
                out[r * width + t // 64] |= _ONE << np.uint64(t % 64)
    return out


@jit
def _packed_slots(regulator: NDArray[np.int64], target: NDArray[np.int32], n: int) -> NDArray[np.uint64]:
    """A slot as one word: where the row of its regulator begins in :func:`_packed` (high half), and its target (low)."""
    width = (n + 63) // 64
    out = np.empty(len(target), np.uint64)
    for i in range(len(target)):
        out[i] = (np.uint64(regulator[i] * width) << _U32) | np.uint64(target[i])
    return out


@jit
def _draw_words(
    words: NDArray[np.uint32], count: int, begin: int, draw: int, direction: int, k0: np.uint64, k1: np.uint64
) -> None:
    """Blocks ``begin … begin + count − 1`` of a walk, uint32 [4, count]: a loop of its own, without a branch."""
    for i in range(count):
        w0, w1, w2, w3 = philox_words(
            np.uint64(begin + i), np.uint64(draw), np.uint64(direction), np.uint64(_WALK), k0, k1
        )
        words[0, i] = w0
        words[1, i] = w1
        words[2, i] = w2
        words[3, i] = w3


@jit
def _pick_slots(
    picks: NDArray[np.uint32],
    words: NDArray[np.uint32],
    count: int,
    first: NDArray[np.uint32],
    size: NDArray[np.uint32],
) -> None:
    """Words become slots, uint32 [count, 4]: (x, y, v, w), two swaps; in each last block of a period (x, y, z, way round)."""
    e = np.uint64(len(first))
    for k in range(count):
        x, v = bounded(np.uint64(words[0, k]), e), bounded(np.uint64(words[2, k]), e)
        picks[k, 0] = x
        picks[k, 1] = first[x] + bounded(np.uint64(words[1, k]), np.uint64(size[x]))
        picks[k, 2] = v
        picks[k, 3] = first[v] + bounded(np.uint64(words[3, k]), np.uint64(size[v]))
    for k in range(_PERIOD - 1, count, _PERIOD):  # chunks are whole periods
        x = picks[k, 0]
        picks[k, 2] = first[x] + bounded(np.uint64(words[2, k]), np.uint64(size[x]))
        picks[k, 3] = words[3, k] & np.uint32(1)


@jit
def _swap(slots: Any, taken: Any, x: Any, y: Any) -> None:
    """Two slots trade targets. Equal slots, regulators or targets would double an edge, so they are refused.

    Without a branch: whether a swap is refused is a coin toss for the processor, and guessing costs more than the work.
    """
    a, b = slots[x], slots[y]
    r, q, s, t = a >> _U32, b >> _U32, a & _LOW, b & _LOW
    s_word, s_bit, t_word, t_bit = s >> _SIX, s & _MASK6, t >> _SIX, t & _MASK6
    free = (((taken[r + t_word] >> t_bit) | (taken[q + s_word] >> s_bit)) & _ONE) ^ _ONE
    s_flip, t_flip = free << s_bit, free << t_bit
    taken[r + s_word] ^= s_flip
    taken[q + t_word] ^= t_flip
    taken[r + t_word] ^= t_flip
    taken[q + s_word] ^= s_flip
    change = (s ^ t) * free
    slots[x] = a ^ change
    slots[y] = b ^ change


@jit
def _rotate(slots: Any, taken: Any, x: Any, y: Any, z: Any, turn: Any) -> None:
    """Three slots pass their targets on: x takes y's, y takes z's, z takes x's; or the other way round."""
    if turn == _ONE:
        y, z = z, y
    a, b, c = slots[x], slots[y], slots[z]
    if _holds(taken, a, b) | _holds(taken, b, c) | _holds(taken, c, a):
        return
    for old, new in ((a, b), (b, c), (c, a)):
        _flip(taken, old, old)
        _flip(taken, old, new)
    slots[x] = (a & ~_LOW) | (b & _LOW)
    slots[y] = (b & ~_LOW) | (c & _LOW)
    slots[z] = (c & ~_LOW) | (a & _LOW)


@jit
def _holds(taken: Any, of: Any, to: Any) -> Any:
    """Whether the regulator of slot ``of`` has the target of slot ``to``."""
    target = to & _LOW
    return (taken[(of >> _U32) + (target >> _SIX)] >> (target & _MASK6)) & _ONE


@jit
def _flip(taken: Any, of: Any, to: Any) -> None:
    target = to & _LOW
    taken[(of >> _U32) + (target >> _SIX)] ^= _ONE << (target & _MASK6)


def _walk_numpy(
    out: NDArray[np.int32],
    origin: NDArray[np.int32],
    origin_taken: NDArray[np.bool_],
    regulator: NDArray[np.int64],
    first: NDArray[np.int64],
    size: NDArray[np.int64],
    blocks: int,
    start: int,
    direction: int,
    k0: np.uint64,
    k1: np.uint64,
) -> None:
    """The same rows as :func:`_walk_loop`, all draws of a chunk side by side."""
    step = max(1, _NUMPY_CELLS // origin_taken.size)
    for s in range(0, len(out), step):
        target = out[s : s + step]
        target[:] = origin
        taken = np.repeat(origin_taken[None], len(target), axis=0)
        draws = np.arange(start + s, start + s + len(target), dtype=np.uint64)
        for b in range(blocks - 1, -1, -1) if direction == _BACKWARD else range(blocks):
            words = [w.astype(np.int64) for w in _words_numpy(b, draws, direction, _WALK, k0, k1)]
            x, y = _slots_numpy(first, size, words[:2])
            v, w = _slots_numpy(first, size, words[2:])
            if b % _PERIOD == _PERIOD - 1:
                z = first[x] + _pick_numpy(words[2], size[x])
                turn = (words[3] & 1).astype(np.bool_)
                moves: list[tuple[NDArray[np.int64], ...]] = [(x, np.where(turn, z, y), np.where(turn, y, z))]
            else:
                moves = [(v, w), (x, y)] if direction == _BACKWARD else [(x, y), (v, w)]
            for move in moves:
                _pass_on_numpy(target, taken, regulator, np.stack(move, axis=1))


def _words_numpy(
    block: Any, draws: NDArray[np.uint64], stream: int, domain: int, k0: np.uint64, k1: np.uint64
) -> tuple[NDArray[np.uint64], ...]:
    zero = np.zeros_like(draws)
    c2, c3 = np.uint64(stream) + zero, np.uint64(domain) + zero
    words: tuple[NDArray[np.uint64], ...] = as_numpy(philox_words)(
        np.uint64(block) + zero, draws, c2, c3, k0 + zero, k1 + zero
    )
    return words


def _pick_numpy(word: NDArray[np.int64], below: Any) -> NDArray[np.int64]:
    picked: NDArray[np.int64] = (word * below) >> 32
    return picked


def _slots_numpy(
    first: NDArray[np.int64], size: NDArray[np.int64], words: list[NDArray[np.int64]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    x = _pick_numpy(words[0], len(first))
    return x, first[x] + _pick_numpy(words[1], size[x])


def _pass_on_numpy(
    target: NDArray[np.int32], taken: NDArray[np.bool_], regulator: NDArray[np.int64], slots: NDArray[np.int64]
) -> None:
    """In each row the slots [P, 2 or 3] pass their targets on, each taking the next one's, unless an edge is then double."""
    rows = np.arange(len(target))[:, None]
    old = target[rows, slots]
    new = np.roll(old, -1, axis=1)
    free = ~taken[rows, regulator[slots], new].any(axis=1)
    rows, slots, old, new = rows[free], slots[free], old[free], new[free]
    taken[rows, regulator[slots], old] = False
    taken[rows, regulator[slots], new] = True
    target[rows, slots] = new


def target_draws(edges: SignedEdges, key: tuple[int, int], start: int, stop: int) -> NDArray[np.int32]:
    """Targets of the edges in draws ``start … stop−1``, int32 [stop − start, e]: each regulator draws its own.

    A regulator draws as many distinct genes of the universe as it has targets, itself excluded, all such sets equally
    likely (a partial Fisher–Yates shuffle). Draw 0 is the observed graph.
    """
    order = np.argsort(edges.regulators, kind="stable").astype(np.int64)
    owner = edges.regulators[order]
    degree = np.bincount(owner, minlength=len(edges.own))
    place = np.arange(len(order)) - (np.cumsum(degree) - degree)[owner]
    bound = (edges.n - (edges.own[owner] >= 0) - place).astype(np.uint64)
    fill = _targets_loop if HAVE_NUMBA else _targets_numpy
    drawn = np.empty((stop - start, len(order)), np.int32)
    k0, k1 = (np.uint64(k) for k in key)
    fill(drawn, start, place, bound, edges.n, k0, k1)
    drawn += (edges.own[owner] >= 0) & (drawn >= edges.own[owner])  # the place of the regulator itself is left out
    out = np.empty_like(drawn)
    out[:, order] = drawn
    if start == 0:
        out[0] = edges.targets
    return out


@jit
def _targets_loop(
    out: NDArray[np.int32],
    start: int,
    place: NDArray[np.int64],
    bound: NDArray[np.uint64],
    n: int,
    k0: np.uint64,
    k1: np.uint64,
) -> None:
    """Rows of ``out`` [P, e]: item i, the ``place[i]``-th of its regulator, takes one of the ``bound[i]`` left in the pool."""
    pool = np.arange(n).astype(np.int32)
    chosen = np.empty(len(place), np.int64)
    for p in range(out.shape[0]):
        for i in range(len(place)):
            if place[i] == 0:
                _put_back(pool, place, chosen, i)
            chosen[i] = place[i] + np.int64(_item_draw(i, np.uint64(start + p), bound[i], np.uint64(0), k0, k1))
            out[p, i] = pool[chosen[i]]
            pool[chosen[i]] = pool[place[i]]
            pool[place[i]] = out[p, i]
        _put_back(pool, place, chosen, len(place))


@jit
def _put_back(pool: NDArray[np.int32], place: NDArray[np.int64], chosen: NDArray[np.int64], end: int) -> None:
    """Undo the exchanges of the regulator whose last item is ``end − 1``, so that the pool is in order again."""
    i = end - 1
    while i >= 0:
        held = pool[place[i]]
        pool[place[i]] = pool[chosen[i]]
        pool[chosen[i]] = held
        if place[i] == 0:
            return
        i -= 1


@jit
def _item_draw(i: int, draw: Any, bound: Any, stream: Any, k0: Any, k1: Any) -> Any:
    """An unbiased number below ``bound`` for item i, from the first stream at or after ``stream`` that is not refused."""
    while True:
        block = philox_words(np.uint64(i // 4), draw, stream, np.uint64(_TARGETS), k0, k1)
        word = block[i % 4]
        if not uneven(word, bound):
            return bounded(word, bound)
        stream += np.uint64(1)


def _targets_numpy(
    out: NDArray[np.int32],
    start: int,
    place: NDArray[np.int64],
    bound: NDArray[np.uint64],
    n: int,
    k0: np.uint64,
    k1: np.uint64,
) -> None:
    """The same rows as :func:`_targets_loop`, all draws side by side."""
    step = max(1, _NUMPY_CELLS // max(n, len(place)))
    for s in range(0, len(out), step):
        rows = np.arange(len(out[s : s + step]))
        draws = (start + s + rows).astype(np.uint64)
        pool = np.empty((len(rows), n), np.int32)
        for i in range(len(place)):
            if i % 4 == 0:
                words = _words_numpy(i // 4, draws, 0, _TARGETS, k0, k1)
            if place[i] == 0:
                pool[:] = np.arange(n)
            chosen = place[i] + as_numpy(bounded)(words[i % 4], bound[i]).astype(np.int64)
            for p in np.flatnonzero(as_numpy(uneven)(words[i % 4], bound[i])).tolist():
                chosen[p] = place[i] + int(_item_draw(i, draws[p], bound[i], np.uint64(1), k0, k1))
            taken = pool[rows, chosen]
            pool[rows, chosen] = pool[:, place[i]]
            pool[:, place[i]] = taken
            out[s + rows, i] = taken


def sign_draws(
    groups: NDArray[np.int64], signs: NDArray[np.int64], key: tuple[int, int], start: int, stop: int
) -> NDArray[np.int64]:
    """Signs shuffled within ``groups`` (regulators), int64 [stop − start, e]; draw 0 is the observed one."""
    return np.asarray(signs[Bank(key, groups).arrangements(start, stop)])
