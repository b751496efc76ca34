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
    if draw < 0 or count < 0 or draw >> 32:
        raise ValueError(f"draw {draw} and count {count} must lie in 0 … 2³² − 1")
    pairs = (count + 1) // 2
    point = np.zeros((pairs, 2), dtype=np.int64)
    open_pairs = np.arange(pairs)
    attempt = 0
    while len(open_pairs):
        tried = _points(key, draw, attempt, open_pairs)
        inside = (tried**2).sum(axis=1) < 1 << (2 * _HALF)
        point[open_pairs[inside]] = tried[inside]
        open_pairs = open_pairs[~inside]
        attempt += 1
    s = np.ldexp((point**2).sum(axis=1).astype(np.float64), -2 * _HALF)
    radius = np.sqrt(-2 * log(s) / s)
    return np.asarray(np.ldexp(point, -_HALF) * radius[:, None]).reshape(-1)[:count]


def _points(key: tuple[int, int], draw: int, attempt: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """One candidate for each of ``pairs``: odd integers in (−2³¹, 2³¹), int64 [len(pairs), 2]."""
    block, second = np.unique(pairs // 2, return_inverse=True)
    k0, k1, c1, c2 = (np.full(1, v, np.uint64) for v in (*key, draw, attempt))
    words = as_numpy(philox_words)(block.astype(np.uint64), c1, c2, np.full(1, _PURPOSE), k0, k1)
    word = np.stack(words).astype(np.int64)
    first = 2 * (pairs % 2)
    chosen = np.stack([word[first, second], word[first + 1, second]], axis=1)
    return (chosen >> 1) * 2 + 1 - (1 << _HALF)
