"""Sums over all pairs of genes of a set, for many sets at once, by tables of the sums of four columns.

Looking up every pair of every draw costs m² / 2 places in memory a draw, and the table of a large universe is far larger than
any cache. Here columns are taken four at a time: the 16 sums that a choice among them can have are made once, and each draw
adds the one that its four bits name, for some rows and all views side by side. A draw costs n² / 8 additions of
neighbours, whatever the size of its set. All is integer, so both ways give the same bits.

Source: the method of Arlazarov, Dinic, Kronrod and Faradzhev (1970), with integer instead of Boolean sums.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import HAVE_NUMBA, jit
from .kernels import Arrangements, gram_moments, pair_sums

_COLUMNS = 32
"""Columns taken together, in eight tables of four; rows are cut at the same places."""
_LANES = 128
"""Rows × views added side by side: eight tables of so many numbers stay near the processor."""
_FEWEST_DRAWS = 64
"""Tables are not worth making for fewer."""
_NARROW = 2048
"""Sets of at most so many genes have sums of squared row sums below 2⁶³."""
_SPLIT = 16
"""Row sums are squared as high · 2¹⁶ + low, so that no part passes 2⁶³."""
_PAIRS_PAY, _MOMENTS_PAY = 10, 7
"""Sets of more than this part of the universe are quicker by tables (measured from 380 to 5,000 genes)."""


def within_sums(
    table: NDArray[np.signedinteger[Any]], members: NDArray[np.int64], arrangements: Arrangements
) -> NDArray[np.int64]:
    """Σ_{i<j∈S} ``table[a[i], a[j], v]``: int64 [P, V] from a symmetric table [n, n, V] with a diagonal of 0, members [m]."""
    if pays(len(table), len(members) * _PAIRS_PAY, len(arrangements)):
        return subset_pairs(table, indicators(members, arrangements)) // 2
    i, j = np.triu_indices(len(members), 1)
    pairs = np.stack([members[i], members[j]], axis=1)
    return pair_sums(table, pairs, np.ones(len(pairs), np.int64), arrangements)


def within_moments(
    table: NDArray[np.int32], members: NDArray[np.int64], arrangements: Arrangements
) -> tuple[NDArray[np.int64], NDArray[np.int64] | NDArray[np.float64], NDArray[np.int64]]:
    """:func:`~.kernels.gram_moments` by the quicker way, for sets of any size.

    In sets of more than 2,048 genes the squares of row sums can pass 2⁶³. Their sum, the second value, is then the float64
    nearest to the exact sum, or its neighbour; the same one on every machine.
    """
    wide = len(members) > _NARROW
    if not wide and not pays(len(table), len(members) * _MOMENTS_PAY, len(arrangements)):
        return gram_moments(table, members, arrangements)
    chosen = indicators(members, arrangements)
    total, high, cross, low = subset_rows(table, chosen)
    squares = subset_pairs(table, chosen, squared=True)
    rest = (cross << (_SPLIT + 1)) + low
    if wide:
        return total, np.ldexp(high.astype(np.float64), 2 * _SPLIT) + rest, squares
    return total, (high << (2 * _SPLIT)) + rest, squares


def pays(n: int, reach: int, draws: int) -> bool:
    """Whether tables are quicker than looking up every pair. It decides on time alone, never on a number."""
    return HAVE_NUMBA and draws >= _FEWEST_DRAWS and reach > n


def indicators(members: NDArray[np.int64], arrangements: Arrangements) -> NDArray[np.uint8]:
    """Which genes the members are played by: 0 and 1, uint8 [P, n rounded up to whole columns of a table]."""
    draws, n = arrangements.shape
    out = np.zeros((draws, -(-n // _COLUMNS) * _COLUMNS), np.uint8)
    np.put_along_axis(out, arrangements[:, members].astype(np.int64), 1, axis=1)
    return out


def subset_pairs(
    table: NDArray[np.signedinteger[Any]], chosen: NDArray[np.uint8], squared: bool = False
) -> NDArray[np.int64]:
    """Σ_{i,j∈S} of a symmetric ``table[i, j, v]``, or of its squares, the diagonal included: int64 [P, V]."""
    n, views = len(table), table.shape[2]
    collect = _collect if HAVE_NUMBA else _collect_numpy
    out = np.zeros((len(chosen), views), np.int64)
    codes, room = np.packbits(chosen, axis=1, bitorder="little"), _Room(len(chosen))
    peak = int(np.abs(table).max(initial=0)) ** (2 if squared else 1)
    for corner in range(0, n, _COLUMNS):
        # the matrix is symmetric: what lies beyond this corner of the diagonal is read once and counted twice
        for low, high, times in ((corner, corner + _COLUMNS, 1), (corner + _COLUMNS, chosen.shape[1], 2)):
            if low < high:
                named, kind = np.ascontiguousarray(codes[:, low // 8 : high // 8]), _holds(peak * (high - low))
                for rows in _rows(corner, min(corner + _COLUMNS, n), views):
                    block = _block(table, rows, low, high, _holds(peak * _COLUMNS), squared)
                    found = _chosen_sums(block, named, room.zeros(block.shape[1], kind))
                    collect(found, np.ascontiguousarray(chosen[:, rows]), times, out)
    return out


def subset_rows(table: NDArray[np.int32], chosen: NDArray[np.uint8]) -> tuple[NDArray[np.int64], ...]:
    """(Σ r, Σ h², Σ h·l, Σ l²) over the rows i of the set, r_i = Σ_{j∈S} ``table[i, j, v]`` = h · 2¹⁶ + l: int64 [P, V] each.

    |entries| ≤ 2¹⁵ and fewer than 2¹⁶ genes, so |r| < 2³¹.
    """
    n, views = len(table), table.shape[2]
    collect = _collect_squares if HAVE_NUMBA else _collect_squares_numpy
    out = np.zeros((4, len(chosen), views), np.int64)
    codes, room = np.packbits(chosen, axis=1, bitorder="little"), _Room(len(chosen))
    for rows in _rows(0, n, views):
        block = _block(table, rows, 0, chosen.shape[1], np.int32, squared=False)
        found = _chosen_sums(block, codes, room.zeros(block.shape[1], np.int32))
        collect(found, np.ascontiguousarray(chosen[:, rows]), out)
    return out[0], out[1], out[2], out[3]


class _Room:
    """Memory for one block's sums after another: asked of the system anew for each, a fifth of the time went into clearing it."""

    def __init__(self, draws: int) -> None:
        self._draws = draws
        self._bytes = np.zeros(0, np.uint8)

    def zeros(self, lanes: int, kind: type[np.int32] | type[np.int64]) -> NDArray[Any]:
        """Zeros [P, lanes], in the place of those before."""
        needed = self._draws * lanes * np.dtype(kind).itemsize
        if len(self._bytes) < needed:
            self._bytes = np.zeros(needed, np.uint8)
        out = self._bytes[:needed].view(kind).reshape(self._draws, lanes)
        out[:] = 0
        return out


def _rows(first: int, end: int, views: int) -> list[slice]:
    """Rows taken together: some of the same 32, so that they have one corner of the diagonal."""
    step = 1
    while step * 2 * views <= _LANES and step < _COLUMNS:
        step *= 2
    return [slice(start, min(start + step, end)) for start in range(first, end, step)]


def _block(
    table: NDArray[np.signedinteger[Any]], rows: slice, low: int, high: int, kind: type, squared: bool
) -> NDArray[Any]:
    """Columns ``low … high − 1`` of some rows, all views of a row together: [high − low, rows · views], zeros beyond n."""
    part = table[rows, low : min(high, len(table))]
    out = np.zeros((high - low, *part.shape[::2]), kind)
    values = out[: part.shape[1]]
    values[:] = part.transpose(1, 0, 2)
    if squared:
        values *= values
    return out.reshape(high - low, -1)


def _holds(largest: int) -> type[np.int32] | type[np.int64]:
    """The narrowest integers for sums up to ``largest``: half the bytes are twice as many side by side."""
    return np.int32 if largest < 1 << 31 else np.int64


def _chosen_sums(block: NDArray[Any], codes: NDArray[np.uint8], out: NDArray[Any]) -> NDArray[Any]:
    """Σ over the chosen columns j of ``block[j]``, in ``out``, zeros [P, lanes]; ``codes`` holds eight columns in a byte, the
    lowest first.
    """
    if not HAVE_NUMBA:  # sums below 2⁵³ are exact in float64, in any order
        bits = np.unpackbits(codes, axis=1, bitorder="little").astype(np.float64)
        out[:] = bits @ block.astype(np.float64)
        return out
    _look_up(block, codes, np.zeros((8, 16, block.shape[1]), block.dtype), out)
    return out


@jit
def _look_up(block: NDArray[Any], codes: NDArray[np.uint8], tables: NDArray[Any], out: NDArray[Any]) -> None:
    lanes, own = block.shape[1], block.dtype.type  # left to itself, numba adds in 64 bits, half as many at once
    for g in range(0, codes.shape[1], 4):
        for t in range(8):
            for bit in range(4):
                column, half = g * 8 + t * 4 + bit, 1 << bit
                for s in range(half):
                    for x in range(lanes):
                        tables[t, half + s, x] = tables[t, s, x] + block[column, x]
        for p in range(codes.shape[0]):
            first, second, third, fourth = codes[p, g], codes[p, g + 1], codes[p, g + 2], codes[p, g + 3]
            a, b, c, d = tables[0, first & 15], tables[1, first >> 4], tables[2, second & 15], tables[3, second >> 4]
            e, f, h, i = tables[4, third & 15], tables[5, third >> 4], tables[6, fourth & 15], tables[7, fourth >> 4]
            sums = out[p]
            for x in range(lanes):
                sums[x] += own(a[x] + b[x] + c[x] + d[x] + e[x] + f[x] + h[x] + i[x])


@jit
def _collect(found: NDArray[Any], chosen: NDArray[np.uint8], times: int, out: NDArray[np.int64]) -> None:
    views = out.shape[1]
    for p in range(out.shape[0]):
        for i in range(chosen.shape[1]):
            if chosen[p, i]:
                for v in range(views):
                    out[p, v] += times * np.int64(found[p, i * views + v])


def _collect_numpy(found: NDArray[Any], chosen: NDArray[np.uint8], times: int, out: NDArray[np.int64]) -> None:
    out += times * _kept(found, chosen).sum(axis=1)


def _collect_squares_numpy(found: NDArray[Any], chosen: NDArray[np.uint8], out: NDArray[np.int64]) -> None:
    r = _kept(found, chosen)
    high, low = r >> _SPLIT, r & ((1 << _SPLIT) - 1)
    for place, values in enumerate((r, high * high, high * low, low * low)):
        out[place] += values.sum(axis=1)


def _kept(found: NDArray[Any], chosen: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Sums of the rows of a set, 0 for other rows: int64 [P, rows, V]."""
    rows = found.reshape(len(found), chosen.shape[1], -1).astype(np.int64)
    return np.asarray(rows * chosen[:, :, None])


@jit
def _collect_squares(found: NDArray[np.int32], chosen: NDArray[np.uint8], out: NDArray[np.int64]) -> None:
    views = out.shape[2]
    for p in range(out.shape[1]):
        for i in range(chosen.shape[1]):
            if chosen[p, i]:
                for v in range(views):
                    r = np.int64(found[p, i * views + v])
                    high = r >> 16
                    low = r & 65535
                    out[0, p, v] += r
                    out[1, p, v] += high * high
                    out[2, p, v] += high * low
                    out[3, p, v] += low * low
