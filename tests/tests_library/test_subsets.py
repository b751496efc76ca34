"""Sums over the pairs of large sets, by tables of column sums: the bits of looking up every pair."""

import os
import subprocess
import sys

import numpy as np
import pytest

from hyposcreen.tests_library.engine import subsets
from hyposcreen.tests_library.engine.jit import HAVE_NUMBA
from hyposcreen.tests_library.engine.kernels import gram_moments, pair_sums
from hyposcreen.tests_library.statistics.geometry import participation_ratio


def symmetric(rng, n, views, peak, diagonal=True):
    half = np.tril(rng.integers(-peak, peak + 1, (views, n, n)), -1)
    table = half + half.transpose(0, 2, 1)
    if diagonal:
        table[:, np.arange(n), np.arange(n)] = peak
    return np.ascontiguousarray(table.transpose(1, 2, 0)).astype(np.int32)


def draws(rng, n, count):
    return np.stack([rng.permutation(n) for _ in range(count)]).astype(np.int32)


@pytest.mark.parametrize(
    ("n", "views", "m", "peak"),
    [(40, 1, 9, 5), (64, 13, 63, 1 << 30), (97, 5, 40, 4000), (130, 200, 12, 1 << 15), (33, 3, 33, 1 << 26)],
)
def test_pair_sums_are_those_of_every_pair(n, views, m, peak):
    rng = np.random.default_rng(n)
    table = symmetric(rng, n, views, peak, diagonal=False)
    members, arrangements = rng.choice(n, m, replace=False), draws(rng, n, subsets._FEWEST_DRAWS)
    i, j = np.triu_indices(m, 1)
    pairs = np.stack([members[i], members[j]], axis=1)
    wanted = pair_sums(table, pairs, np.ones(len(pairs), np.int64), arrangements)
    found = subsets.subset_pairs(table, subsets.indicators(members, arrangements)) // 2
    assert found.dtype == np.int64 and found.tolist() == wanted.tolist()
    assert subsets.within_sums(table, members, arrangements).tolist() == wanted.tolist()
    assert subsets.within_sums(table, members, arrangements[:1]).tolist() == wanted[:1].tolist()


@pytest.mark.parametrize(("n", "views", "m"), [(40, 1, 9), (97, 13, 60), (65, 5, 65)])
def test_moments_are_those_of_the_gathered_matrix(n, views, m):
    rng = np.random.default_rng(n)
    table = symmetric(rng, n, views, 1 << 15)
    members, arrangements = rng.choice(n, m, replace=False), draws(rng, n, subsets._FEWEST_DRAWS)
    wanted = gram_moments(table, members, arrangements)
    found = subsets.within_moments(table, members, arrangements)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == np.int64 and ours.tolist() == theirs.tolist()
    chosen = subsets.indicators(members, arrangements)
    assert subsets.subset_pairs(table, chosen, squared=True).tolist() == wanted[2].tolist()


def test_the_way_is_chosen_by_size_alone_and_not_for_a_few_draws():
    if not HAVE_NUMBA:
        assert not subsets.pays(100, 1000, 1000)
        return
    assert subsets.pays(100, 101, 64) and not subsets.pays(100, 100, 64) and not subsets.pays(100, 1000, 63)


def test_squared_row_sums_of_a_very_large_set_do_not_overflow():
    """2,700 genes in one place: every cosine is 1, and Σ r² = m³ · 2³⁰ passes 2⁶³, where the set fills no dimension."""
    n, m = 2720, 2700
    table = np.full((n, n, 1), 1 << 15, np.int32)
    arrangements = np.arange(n, dtype=np.int32)[None]
    total, rows_sq, squares = subsets.within_moments(table, np.arange(m), arrangements)
    assert rows_sq.dtype == np.float64 and int(rows_sq[0, 0]) == m**3 << 30 > 1 << 63
    assert (total[0, 0], squares[0, 0]) == (m**2 << 15, m**2 << 30)
    assert participation_ratio(total, rows_sq, squares, m, m << 15)[0, 0] == 0


def test_without_numba_the_numbers_are_the_same():
    """The other path, in another process, on moments of a set that is too large for 64 bits and of one that is not."""
    program = (
        "import numpy as np\n"
        "from hyposcreen.tests_library.engine import subsets\n"
        "subsets._NARROW = 20\n"
        "rng = np.random.default_rng(5)\n"
        "half = np.tril(rng.integers(-9999, 9999, (3, 50, 50)), -1)\n"
        "table = np.ascontiguousarray((half + half.transpose(0, 2, 1)).transpose(1, 2, 0)).astype(np.int32)\n"
        "a = np.stack([rng.permutation(50) for _ in range(70)]).astype(np.int32)\n"
        "for m in (11, 31):\n"
        "    print([x.tolist() for x in subsets.within_moments(table, np.arange(m), a)])\n"
        "    print(subsets.within_sums(table, np.arange(m), a).tolist())\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "HYPOSCREEN_NO_NUMBA": off},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for off in ("0", "1")
    ]
    assert said[0] == said[1] and said[0].count("\n") == 4
