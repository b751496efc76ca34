"""From files to counts, from counts to tokens."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyposcreen.embeddings_cache import CacheError
from hyposcreen.embeddings_cache.cells import cells_from_counts
from hyposcreen.embeddings_cache.recipes import Recipe, bin_counts, hashed_uniform, named_recipe, tokens_of_cell

COUNTS = np.array([[0, 3, 1, 0], [5, 0, 0, 0], [0, 0, 0, 0], [1, 1, 2, 0]])
SYMBOLS = ("A", "B", "C", "D")


def test_dense_and_sparse_counts_are_the_same_cells():
    sparse = pytest.importorskip("scipy.sparse", reason="makes the sparse matrices")
    dense = cells_from_counts(COUNTS, SYMBOLS, source="test")
    for form in (sparse.csr_matrix, sparse.csc_matrix, sparse.coo_matrix):
        assert cells_from_counts(form(COUNTS.astype(np.float32)), SYMBOLS, source="test").digest == dense.digest
    genes, counts = dense.cell(3)
    assert list(genes) == [0, 1, 2] and list(counts) == [1, 1, 2]
    assert len(dense.cell(2)[0]) == 0


def test_gene_summary_is_over_all_cells():
    mean, detected = cells_from_counts(COUNTS, SYMBOLS, source="test").gene_summary()
    totals = np.maximum(COUNTS.sum(axis=1, keepdims=True), 1)
    np.testing.assert_allclose(mean, np.log1p(COUNTS / totals * 1e4).mean(axis=0))
    np.testing.assert_array_equal(detected, (COUNTS > 0).mean(axis=0))


@pytest.mark.parametrize(
    ("matrix", "says"),
    [
        (COUNTS - 0.5, "scaled or regressed"),
        (np.log1p(COUNTS), "no whole number of molecules: give raw counts"),
        (np.where(COUNTS == 5, np.nan, COUNTS), "not finite"),
        (COUNTS[:, :3], "3 columns but 4 gene symbols"),
    ],
)
def test_what_is_no_count_table_is_refused(matrix, says):
    with pytest.raises(CacheError, match=says):
        cells_from_counts(matrix, SYMBOLS, source="test")


def test_repeated_symbols_and_missing_labels_are_refused():
    with pytest.raises(CacheError, match="gene 'A' more than once"):
        cells_from_counts(COUNTS, ("A", "B", "A", "D"), source="test")
    with pytest.raises(CacheError, match="4 cells but 2 labels"):
        cells_from_counts(COUNTS, SYMBOLS, source="test", labels=("x", "y"))


def test_bins_of_distinct_values_cover_the_range():
    bins = bin_counts(np.arange(1, 5001), 51)
    assert bins.min() >= 1 and bins.max() == 50 and len(np.unique(bins)) >= 50
    assert (np.diff(bins) >= 0).all()
    assert (bins == np.round(bins)).sum() >= 4950  # only a value on one of the 50 edges has two bins


def test_equal_counts_share_the_middle_of_the_bins_they_span():
    counts = np.array([1] * 6 + [2] * 3 + [9])
    expected = bin_counts(counts, 51)
    assert len(set(expected[:6])) == 1
    uniform = np.random.default_rng(0).random((20000, 1))
    drawn = np.array([bin_counts(counts, 51, "seeded", np.full(10, u[0])) for u in uniform[:4000]])
    np.testing.assert_allclose(drawn.mean(axis=0), expected, atol=0.6)
    assert drawn.min() >= 1 and drawn.max() <= 50 and (drawn == np.round(drawn)).all()


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_bins_depend_only_on_ranks(counts):
    counts = np.array(counts)
    bins = bin_counts(counts, 51)
    assert (bins >= 1).all() and (bins <= 50).all()
    np.testing.assert_array_equal(bins, bin_counts(counts * 1024, 51))
    order = np.random.default_rng(0).permutation(len(counts))
    np.testing.assert_array_equal(bins[order], bin_counts(counts[order], 51))


def test_long_cells_keep_a_random_subset_without_changing_bins():
    genes, counts = np.arange(3000), np.arange(3000) % 17 + 1
    everything = bin_counts(counts, 51)
    first = tokens_of_cell(genes, counts, Recipe(max_tokens=1200), seed=0, cell=4)
    assert len(first[0]) == 1199 and (np.diff(first[0]) > 0).all()
    np.testing.assert_array_equal(first[1], everything[first[0]])
    again = tokens_of_cell(genes, counts, Recipe(max_tokens=1200), seed=0, cell=4)
    np.testing.assert_array_equal(first[0], again[0])
    for seed, cell in ((1, 4), (0, 5)):
        other = tokens_of_cell(genes, counts, Recipe(max_tokens=1200), seed=seed, cell=cell)
        assert 300 < len(np.intersect1d(first[0], other[0])) < 700


def test_the_papers_recipe_reads_the_most_expressed_genes_unbinned():
    recipe = named_recipe("paper-2602.22247")
    counts = np.random.default_rng(2).integers(1, 30, 900)
    genes, values = tokens_of_cell(np.arange(900) * 2, counts, recipe, seed=0, cell=4, library_size=8000.0)
    assert len(genes) == 512 and (np.diff(genes) > 0).all() and not recipe.cls and not recipe.is_random
    by_hand = sorted(range(900), key=lambda i: (-counts[i], i))[:512]
    assert sorted(by_hand) == (genes // 2).tolist()
    np.testing.assert_allclose(values, np.log1p(counts[genes // 2] / 8000.0 * 1e4), rtol=1e-6)
    short = tokens_of_cell(np.arange(3), np.array([1, 2, 1]), recipe, seed=1, cell=0)
    np.testing.assert_allclose(short[1], np.log1p([2500.0, 5000.0, 2500.0]), rtol=1e-6)


def test_hashed_uniform_is_uniform_and_never_changes():
    draws = hashed_uniform(7, 3, np.arange(50000), stream=1)
    assert draws.min() >= 0 and draws.max() < 1
    assert abs(draws.mean() - 0.5) < 0.01 and abs(draws.var() - 1 / 12) < 0.002
    assert [value.hex() for value in draws[:2].tolist()] == ["0x1.de1114339eadap-1", "0x1.679ff5b3b8232p-1"]


def test_recipes_have_names():
    assert named_recipe("official") == Recipe()
    assert named_recipe("official-seeded").ties == "seeded"
    assert named_recipe("official", "seeded") == named_recipe("official-seeded", "seeded")
    assert named_recipe("official-seeded", "expected") == Recipe()
    with pytest.raises(CacheError, match="recipe 'best' is unknown: choose one of official, official-seeded, paper"):
        named_recipe("best")
    with pytest.raises(CacheError, match="tie rule 'low' is unknown: choose one of expected, seeded"):
        named_recipe("official", "low")
    with pytest.raises(CacheError, match="has no bins, so it has no tie rule 'seeded'"):
        named_recipe("paper-2602.22247", "seeded")
    with pytest.raises(CacheError, match="needs one uniform number per gene"):
        bin_counts(np.array([1, 2]), 51, "seeded")
