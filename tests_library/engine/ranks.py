"""Doubled centred mid-ranks of integers: the form in which every rank statistic reads its scores."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import HAVE_NUMBA, jit

_KEY_BITS = 63
"""A value above the smallest and its place share one int64 while they need no more bits than this."""


def in_order(values: NDArray[np.int64]) -> tuple[NDArray[np.int64], bool]:
    """(places of the n values in ascending order int64 [n], equal values in the order of their places; whether any are equal)."""
    keys, place_bits = _sorted_keys(values)
    if keys is None:
        places = np.argsort(values, kind="stable")
        ordered = values[places]
    else:
        places, ordered = keys & ((1 << place_bits) - 1), keys >> place_bits
    return places, bool((ordered[1:] == ordered[:-1]).any())


def mid_ranks(values: NDArray[np.int64]) -> NDArray[np.int32]:
    """2·rank − (n + 1) of each of n values, equal values sharing their mean rank: int32 [n], summing to 0."""
    keys, place_bits = _sorted_keys(values) if HAVE_NUMBA else (None, 0)
    if keys is not None:
        out = np.empty(len(values), np.int32)
        _spread(keys, place_bits, out)
        return out
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    doubled = (2 * ends - counts + 1) - (len(values) + 1)
    ranks: NDArray[np.int32] = doubled[inverse].astype(np.int32)
    return ranks


def _sorted_keys(values: NDArray[np.int64]) -> tuple[NDArray[np.int64] | None, int]:
    """(words of value and place, sorted; bits of the place), or ``None`` where both do not fit into one word.

    Sorting such words is sorting with places, at a third of the time.
    """
    if not len(values):
        return None, 0
    low, place_bits = int(values.min()), len(values).bit_length()
    if (int(values.max()) - low).bit_length() + place_bits > _KEY_BITS:
        return None, 0
    keys = ((values - low) << place_bits) | np.arange(len(values))
    keys.sort()
    return keys, place_bits


@jit
def _spread(keys: NDArray[np.int64], place_bits: int, out: NDArray[Any]) -> None:
    """Give each run of equal values in sorted ``keys`` its rank, at the places that the low bits name."""
    n = len(keys)
    places = (1 << place_bits) - 1
    start = 0
    while start < n:
        value = keys[start] >> place_bits
        stop = start + 1
        while stop < n and keys[stop] >> place_bits == value:
            stop += 1
        for i in range(start, stop):
            out[keys[i] & places] = start + stop - n
        start = stop
