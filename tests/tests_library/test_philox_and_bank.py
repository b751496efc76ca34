"""Random numbers and arrangements: known answers, exact strata, any block alone, the same bits on both paths."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from hyposcreen.tests_library.engine.bank import Bank, BankCache, _fill_loop, _fill_numpy, bank_key
from hyposcreen.tests_library.engine.philox import bounded, philox
from hyposcreen.tests_library.run import null_bank

ONES = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((ONES,) * 4, (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_known_answers_of_random123(counter, key, answer):
    assert philox(counter, key) == answer


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(1, 2**31 - 1))
def test_bounded_is_the_exact_multiply_shift(high, low, bound):
    words = [np.array([v], np.uint64) for v in (high, low, bound)]
    expected = ((high << 32 | low) * bound) >> 64
    assert int(getattr(bounded, "py_func", bounded)(*words)[0]) == expected
    assert 0 <= expected < bound


strata_lists = st.lists(st.integers(0, 4), min_size=1, max_size=40)
words = st.integers(0, 2**32 - 1)


@given(strata_lists, words, words, st.integers(0, 5), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_rows_are_permutations_within_strata(strata, k0, k1, start, count):
    groups = np.array(strata, np.int64)
    rows = Bank((k0, k1), groups).arrangements(start, start + count)
    assert rows.dtype == np.int32
    for row in rows:
        assert sorted(row.tolist()) == list(range(len(groups)))
        assert (groups[row] == groups).all()


@given(strata_lists, words, words, st.integers(0, 2000), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_compiled_and_numpy_rows_are_the_same_bits(strata, k0, k1, start, count):
    bank = Bank((k0, k1), np.array(strata, np.int64))
    order, sizes = bank._order
    rows = [np.full((count, bank.n), -1, np.int32) for _ in range(2)]
    for fill, out in zip((_fill_loop, _fill_numpy), rows, strict=True):
        fill(out, start, order, sizes, np.uint64(k0), np.uint64(k1))
    assert (rows[0] == rows[1]).all()
    assert (rows[0] == bank.arrangements(start, start + count)).all()


def test_bank_rows_follow_the_published_algorithm_word_by_word():
    """Forward Fisher–Yates in plain integers: draw t takes half a Philox block with counter (t // 2, row, 0, 0)."""
    groups = np.array([1, 0, 1, 1, 0, 2, 1, 0], np.int64)
    key = (0xDEADBEEF, 0x01234567)
    got = Bank(key, groups).arrangements(0, 40)
    for row in range(40):
        expected, draw = list(range(len(groups))), 0
        for group in np.unique(groups) if row else ():
            places = np.flatnonzero(groups == group).tolist()
            genes = places.copy()
            for i in range(len(places) - 1):
                block = philox((draw // 2, row, 0, 0), key)
                high, low = block[2 * (draw % 2)], block[2 * (draw % 2) + 1]
                j = i + (((high << 32 | low) * (len(places) - i)) >> 64)
                genes[i], genes[j] = genes[j], genes[i]
                draw += 1
            for place, gene in zip(places, genes, strict=True):
                expected[place] = gene
        assert got[row].tolist() == expected


def test_arrangement_zero_is_the_observed_one():
    assert (Bank((3, 4), np.zeros(30, np.int64)).arrangements(0, 1)[0] == np.arange(30)).all()
    assert not (Bank((3, 4), np.zeros(30, np.int64)).arrangements(1, 2)[0] == np.arange(30)).all()


@given(st.lists(st.integers(1, 60), max_size=5))
@settings(max_examples=30, deadline=None)
def test_any_split_into_blocks_gives_the_same_rows(cuts):
    bank = Bank((11, 12), np.arange(25) % 3)
    whole = bank.arrangements(0, 61)
    edges = sorted({0, 61, *cuts})
    assert (np.concatenate([bank.arrangements(a, b) for a, b in itertools.pairwise(edges)]) == whole).all()


def test_blocks_cover_every_arrangement_once():
    bank = Bank((1, 1), np.zeros(4, np.int64))
    for m in (1, 1022, 1023, 1024, 1025, 9999):
        covered = [j for start, stop in bank.blocks(m) for j in range(start, stop)]
        assert covered == list(range(m + 1))


def test_a_backward_range_is_refused():
    bank = Bank((1, 1), np.zeros(4, np.int64))
    for start, stop in ((3, 3), (4, 2), (-1, 2)):
        with pytest.raises(ValueError, match=rf"{start}\.\.{stop}"):
            bank.arrangements(start, stop)


def test_all_arrangements_are_equally_likely():
    """4 genes: 24 permutations; 2 + 3 genes in strata: 12. Chi-square at 1e-4 with a fixed key."""
    for groups, universe in ((np.zeros(4, np.int64), 24), (np.array([0, 1, 0, 1, 1]), 12)):
        rows = Bank((2024, 7), groups).arrangements(1, 24_001)
        _, counts = np.unique(rows, axis=0, return_counts=True)
        assert len(counts) == universe
        assert chisquare(counts).pvalue > 1e-4


def test_consecutive_arrangements_are_not_correlated():
    rows = Bank((2024, 8), np.zeros(3, np.int64)).arrangements(1, 18_001)
    code = rows @ np.array([9, 3, 1])
    joint = np.unique(np.stack([code[:-1:2], code[1::2]], axis=1), axis=0, return_counts=True)[1]
    assert len(joint) == 36
    assert chisquare(joint).pvalue > 1e-4


def test_the_key_changes_with_seed_null_gene_order_and_strata():
    groups = np.array([0, 0, 1, 1])
    base = (7, "gene_label", ("A", "B", "C", "D"), groups)
    others = [
        (8, *base[1:]),
        (7, "stratified", *base[2:]),
        (7, "gene_label", ("B", "A", "C", "D"), groups),
        (7, "gene_label", ("AB", "", "C", "D"), groups),
        (*base[:3], np.array([0, 1, 0, 1])),
    ]
    keys = {bank_key(*arguments) for arguments in (base, *others)}
    assert len(keys) == len(others) + 1
    assert bank_key(*base) == bank_key(7, "gene_label", ("A", "B", "C", "D"), groups.copy())


def test_one_universe_has_one_bank_a_null(world):
    covariates = world(rows=40).covariates
    assert null_bank(covariates, "gene_label", 1).key == null_bank(covariates, "gene_label", 1).key
    assert null_bank(covariates, "gene_label", 1).key != null_bank(covariates, "stratified", 1).key
    assert len(np.unique(null_bank(covariates, "stratified", 1).strata)) > 1


def test_the_block_cache_keeps_what_fits_and_never_changes_a_row():
    bank = Bank((5, 6), np.zeros(20, np.int64))
    other = Bank((6, 5), np.zeros(20, np.int64))
    cache = BankCache(limit_bytes=3 * 10 * 20 * 4)
    for _ in range(2):
        for b in (bank, other):
            for start in range(0, 60, 10):
                block = cache.get(b, start, start + 10)
                assert (block == b.arrangements(start, start + 10)).all()
                assert not block.flags.writeable
    assert sum(block.nbytes for block in cache._blocks.values()) == 3 * 10 * 20 * 4


def test_a_scan_longer_than_the_cache_still_finds_its_first_blocks(monkeypatch):
    """Blocks are read in the same order again and again; dropping the oldest would never find one."""
    bank = Bank((5, 6), np.zeros(20, np.int64))
    cache = BankCache(limit_bytes=4 * 10 * 20 * 4)
    made = []
    whole = Bank.arrangements
    monkeypatch.setattr(Bank, "arrangements", lambda self, a, b: (made.append(a), whole(self, a, b))[1])
    for _ in range(3):
        for start in range(0, 60, 10):
            cache.get(bank, start, start + 10)
    assert len(made) == 6 + 2 + 2
