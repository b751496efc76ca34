"""Philox4x32-10, the counter-based generator behind every permutation.

A counter-based generator has no state: draw ``(draw, permutation, stream)`` of key ``(k0, k1)`` is a pure function, so
any row of a bank can be made alone, in any order, on any machine. Source: Salmon et al., "Parallel random numbers: as
easy as 1, 2, 3", SC'11; checked against the known answers published with Random123.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import as_numpy, jit

M0 = 0xD2511F53
M1 = 0xCD9E8D57
W0 = 0x9E3779B9
W1 = 0xBB67AE85
MASK = 0xFFFFFFFF
ROUNDS = 10

_U32 = np.uint64(32)
_MASK = np.uint64(MASK)
_ONE = np.uint64(1)
_M0 = np.uint64(M0)
_M1 = np.uint64(M1)
_W0 = np.uint64(W0)
_W1 = np.uint64(W1)


@jit
def philox_words(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Four 32-bit words (held in uint64) for one counter and key; scalars when compiled, arrays in NumPy.

    All arguments are ``uint64`` below 2**32. Products of two 32-bit words fit in uint64, so no step can overflow.
    """
    for _ in range(ROUNDS):
        p0 = _M0 * c0
        p1 = _M1 * c2
        n0 = (p1 >> _U32) ^ c1 ^ k0
        n2 = (p0 >> _U32) ^ c3 ^ k1
        c0, c1, c2, c3 = n0, p1 & _MASK, n2, p0 & _MASK
        k0 = (k0 + _W0) & _MASK
        k1 = (k1 + _W1) & _MASK
    return c0, c1, c2, c3


@jit
def bounded(word: Any, bound: Any) -> Any:
    """An integer in [0, bound) from one 32-bit word: floor(word · bound / 2³²); bound < 2³²."""
    return (word * bound) >> _U32


@jit
def uneven(word: Any, bound: Any) -> Any:
    """Whether :func:`bounded` must refuse ``word`` and take another.

    2³² words do not divide evenly among ``bound`` values. Refusing 2³² mod bound of them, those whose product ends in a
    number below it, leaves every value the same number of words, so an accepted draw has no bias at all. Source: Lemire,
    "Fast random integer generation in an interval", ACM Trans. Model. Comput. Simul. 2019.
    """
    return ((word * bound) & _MASK) < (_MASK + _ONE) % bound


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """One Philox4x32-10 block from plain integers (for known-answer tests and readers)."""
    words: list[NDArray[np.uint64]] = [np.asarray([v & MASK], dtype=np.uint64) for v in (*counter, *key)]
    a, b, c, d = (int(w[0]) for w in as_numpy(philox_words)(*words))
    return a, b, c, d
