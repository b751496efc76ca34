"""Standard normal numbers that are a pure function of key, draw and position, with the same bits on every machine.

Marsaglia's polar method: a point (u, v) uniform in the square is kept when it falls into the unit disc, with s = u² + v²;
then u·√(−2·ln s / s) and v·√(−2·ln s / s) are independent standard normals. u and v are odd multiples of 2⁻³¹, so
whether a point is kept is decided in integers; the rest is IEEE arithmetic and :func:`.elementary.log`. Source: Marsaglia
& Bray, "A convenient method for generating normal variables", SIAM Review 1964.
"""

import numpy as np
from numpy.typing import NDArray

from .elementary import log
from .jit import as_numpy
from .philox import philox_words

_PURPOSE = np.uint64(1)
"""Last counter word. The permutation bank uses 0, so the two never read the same block."""
_HALF = 31


def normals(key: tuple[int, int], draw: int, count: int) -> NDArray[np.float64]:
    """The first ``count`` standard normals of ``draw`` under a Philox key: float64 [count].

    Number i is one and the same whatever ``count`` is and whichever draws were asked for before. Numbers 4b … 4b + 3 come
    from the blocks with counter (b, draw, attempt, 1); words 0 and 1 make the first point of a block, 2 and 3 the second,
    and a point outside the disc is drawn again with the next attempt. ``ValueError`` for a negative draw or count.
    """
    numbers: NDArray[np.float64] = normals_of(key, draw, draw + 1, count)[0]
    return numbers


def normals_of(key: tuple[int, int], start: int, stop: int, count: int) -> NDArray[np.float64]:
    """:func:`normals` of draws start … stop − 1, made together: float64 [stop − start, count]."""
    if not 0 <= start < stop <= 1 << 32 or count < 0:
        raise ValueError(
            f"draws {start} … {stop - 1} must lie in 0 … 2³² − 1, and their count {count} may not be negative"
        )
    pairs = (count + 1) // 2
    draws = np.arange(start, stop, dtype=np.uint64)
    words = _blocks(key, np.arange((pairs + 1) // 2, dtype=np.uint64)[None], draws[:, None], 0)
    point = _odd(np.stack(words, axis=2).reshape(len(draws), -1, 2)[:, :pairs])
    draw, pair = np.nonzero(_outside(point))
    attempt = 1
    while len(pair):
        words = _blocks(key, (pair // 2).astype(np.uint64), draws[draw], attempt)
        second = pair % 2 == 1
        tried = _odd(np.stack([np.where(second, words[2], words[0]), np.where(second, words[3], words[1])], axis=1))
        point[draw, pair] = tried
        again = _outside(tried)
        draw, pair = draw[again], pair[again]
        attempt += 1
    s = np.ldexp((point * point).sum(axis=2).astype(np.float64), -2 * _HALF)
    radius = np.sqrt(-2 * log(s) / s)
    return np.asarray(np.ldexp(point, -_HALF) * radius[:, :, None]).reshape(len(draws), -1)[:, :count]


def _blocks(
    key: tuple[int, int], block: NDArray[np.uint64], draw: NDArray[np.uint64], attempt: int
) -> tuple[NDArray[np.uint64], ...]:
    """The four words of every counter (block, draw, attempt, 1), arrays that broadcast together."""
    zero = np.zeros_like(draw)
    k0, k1, c2 = (zero + np.uint64(v) for v in (*key, attempt))
    words = as_numpy(philox_words)(block, draw, c2, zero + _PURPOSE, k0, k1)
    return tuple(np.broadcast_arrays(*words))


def _odd(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """32-bit words as odd integers in (−2³¹, 2³¹)."""
    return ((words >> np.uint64(1)).astype(np.int64) << 1) + 1 - (1 << _HALF)


def _outside(point: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.asarray((point * point).sum(axis=-1) >= 1 << (2 * _HALF))
