"""Random numbers and arrangements: known answers, exact strata, any block alone, the same bits on both paths."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from hyposcreen.tests_library.engine import bank as module
from hyposcreen.tests_library.engine.bank import Bank, BankCache, _fill_loop, _fill_numpy, bank_key
from hyposcreen.tests_library.engine.jit import as_numpy
from hyposcreen.tests_library.engine.philox import bounded, philox, uneven

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


@given(st.integers(0, 2**32 - 1), st.integers(1, 2**32 - 1))
def test_bounded_is_the_exact_multiply_shift(word, bound):
    got = as_numpy(bounded)(np.array([word], np.uint64), np.array([bound], np.uint64))
    assert int(got[0]) == word * bound >> 32 < bound


@given(st.integers(1, 2**32 - 1), st.data())
def test_every_value_below_a_bound_has_the_same_number_of_accepted_words(bound, data):
    """Words of one value are consecutive, and only the first of them can be refused."""
    value = data.draw(st.integers(0, bound - 1))
    first, after = (-(-v * 2**32 // bound) for v in (value, value + 1))
    words = np.array([first, min(first + 1, after - 1), after - 1], np.uint64)
    assert as_numpy(bounded)(words, np.uint64(bound)).tolist() == [value] * 3
    refused = as_numpy(uneven)(words, np.uint64(bound)).tolist()
    assert after - first - refused[0] == 2**32 // bound
    assert after - first == 1 or refused[1:] == [False, False]


def test_refused_words_are_drawn_again_from_later_streams_on_both_paths():
    """Bounds no universe reaches, so that about a quarter of all words, and again a quarter of those, are refused."""
    n, blocks, key = 61, 16, (0xC0FFEE, 9)
    bound = np.full(n, 3 << 30, np.uint32)
    first = np.arange(n, dtype=np.uint32)
    words = [np.uint64(k) for k in key]
    streams = set()
    for arrangement in (1, 2, 77):
        expected = []
        for t in range(n):
            stream = 0
            while (word := philox((t % blocks, arrangement, stream, 0), key)[t // blocks]) * (3 << 30) % 2**32 < 2**30:
                stream += 1
            streams.add(stream)
            expected.append(t + (word * (3 << 30) >> 32))
        table = np.empty((4, blocks), np.uint32)
        module._draw_words(table, np.uint64(arrangement), *words)
        partner = table.reshape(-1)
        assert module._choose_partners(partner, first, bound)
        module._draw_again(partner, np.uint64(arrangement), first, bound, *words)
        assert partner[:n].tolist() == expected
        assert module._partners_numpy(np.array([arrangement], np.uint64), first, bound, *words)[0].tolist() == expected
    assert {0, 1, 2} <= streams


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
    to = bank._places
    rows = [np.full((count, bank.n), -1, np.int32) for _ in range(2)]
    for fill, out in zip((_fill_loop, _fill_numpy), rows, strict=True):
        fill(out, start, to.order, to.first, to.bound, to.identity, np.uint64(k0), np.uint64(k1))
    assert (rows[0] == rows[1]).all()
    assert (rows[0] == bank.arrangements(start, start + count)).all()


def test_bank_rows_follow_the_published_algorithm_word_by_word():
    """Inside-out Fisher–Yates in plain integers: place t takes word t // 2 of the block with counter (t % 2, row, 0, 0)."""
    groups = np.array([1, 0, 1, 1, 0, 2, 1, 0], np.int64)
    key = (0xDEADBEEF, 0x01234567)
    got = Bank(key, groups).arrangements(0, 40)
    for row in range(40):
        expected, place = list(range(len(groups))), 0
        for group in np.unique(groups) if row else ():
            home = np.flatnonzero(groups == group).tolist()
            genes: list[int] = []
            for i, gene in enumerate(home):
                word = philox((place % 2, row, 0, 0), key)[place // 2]
                j = word * (i + 1) >> 32
                genes.append(gene)
                genes[i], genes[j] = genes[j], gene
                place += 1
            for at, gene in zip(home, genes, strict=True):
                expected[at] = gene
        assert got[row].tolist() == expected


def test_the_numpy_path_gives_the_same_rows_in_small_steps(monkeypatch):
    bank = Bank((5, 5), np.arange(30) % 4)
    whole = bank.arrangements(0, 50)
    monkeypatch.setattr(module, "HAVE_NUMBA", False)
    monkeypatch.setattr(module, "_NUMPY_CELLS", 7 * 30)
    assert (bank.arrangements(0, 50) == whole).all()


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


def test_every_gene_visits_every_place_and_every_neighbour_equally_often():
    rows = Bank((2024, 9), np.zeros(37, np.int64)).arrangements(1, 20_001)
    for gene in range(37):
        at = np.argmax(rows == gene, axis=1)
        after = rows[np.arange(len(rows)), (at + 1) % 37]
        assert chisquare(np.bincount(at, minlength=37)).pvalue > 1e-5
        assert chisquare(np.delete(np.bincount(after, minlength=37), gene)).pvalue > 1e-5


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
    assert covariates.bank("gene_label", 1).key == covariates.bank("gene_label", 1).key
    assert covariates.bank("gene_label", 1).key != covariates.bank("stratified", 1).key
    assert len(np.unique(covariates.bank("stratified", 1).strata)) > 1


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
    assert cache._kept.nbytes == 3 * 10 * 20 * 4


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
