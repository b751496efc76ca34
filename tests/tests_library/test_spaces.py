"""Coordinates of genes: axes, signs, poles, cosine; what must not change them, and what must."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from hyposcreen.tests_library.spaces import Geometry, centred_ranks, pair_ranks, poles, quantise, spectral_scores


def tables(geometry: Geometry) -> dict[str, np.ndarray]:
    """Every integer table a kernel may read."""
    out = {"pair ranks": geometry.pair_ranks(), "cosine int16": geometry.cosine_int16()}
    for q in range(geometry.n_layers):
        out |= {
            f"local axes {q}": geometry.local_axes(q),
            f"axis ranks {q}": geometry.axis_ranks(q),
            f"poles {q}": geometry.poles(q),
            f"cosine {q}": geometry.cosine(q),
            f"window {q}": geometry.window_similarity(q, 2, 7, int(geometry.universe[3])),
        }
    return out


def assert_same(one: dict[str, np.ndarray], two: dict[str, np.ndarray], names: str = "") -> None:
    assert one.keys() == two.keys()
    for name, table in one.items():
        if names in name:
            assert (table == two[name]).all(), name


@pytest.mark.parametrize("seed", range(5))
def test_spectral_scores_are_those_of_a_full_svd(seed, world):
    X = world(rows=70, dim=20, seed=seed).layers[0].astype(np.float64)
    scores = spectral_scores(X, 10)
    Y = X - X.mean(axis=0)
    U, S, _ = np.linalg.svd(Y, full_matrices=False)
    np.testing.assert_allclose(np.linalg.norm(scores, axis=0), S[:10], rtol=1e-10)
    expected = U[:, :10] * S[:10]
    expected *= np.sign((expected * scores).sum(axis=0))
    np.testing.assert_allclose(scores, expected, atol=1e-9 * S[0])


def test_the_gene_with_the_largest_score_is_positive(world):
    scores = spectral_scores(world(seed=3).layers[0], 10)
    assert (scores.max(axis=0) == np.abs(scores).max(axis=0)).all()
    X = world(seed=3).layers[0]
    np.testing.assert_allclose(spectral_scores(-X, 10)[:, 0].max(), np.abs(scores[:, 0]).max())


def test_signs_follow_the_previous_layer(world):
    w = world(rows=80, n_layers=6, seed=1)
    flipped = w.again(layers=[w.layers[0], -w.layers[1], *w.layers[2:]])
    for q in range(1, 6):
        before, after = (w.geometry.axes(k).astype(float) for k in (q - 1, q))
        assert ((before * after).sum(axis=0) > 0).all()
    # an axis is a line: flipping a layer as a whole changes nothing
    assert (flipped.axis_ranks(1) == w.geometry.axis_ranks(1)).all()


def test_scores_are_quantised_before_they_are_ranked():
    scores = np.array([[1.0], [0.5], [0.5 + 2.0**-40], [-0.25]])
    assert quantise(scores)[:, 0].tolist() == [2**30, 2**29, 2**29, -(2**28)]
    assert centred_ranks(quantise(scores))[:, 0].tolist() == [3, 0, 0, -3]
    assert quantise(np.zeros((3, 1))).tolist() == [[0], [0], [0]]


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=30))
def test_centred_ranks_are_doubled_mid_ranks(values):
    ranks = centred_ranks(np.array(values, np.int64)[:, None])[:, 0]
    assert ranks.tolist() == (2 * rankdata(values) - (len(values) + 1)).tolist()
    assert ranks.sum() == 0


@given(st.integers(4, 80), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_poles_hold_a_quarter_each_and_tied_genes_share_their_fate(n, seed):
    rng = np.random.default_rng(seed)
    distinct = poles(centred_ranks(rng.permutation(n)[:, None].astype(np.int64)))[:, 0]
    assert (distinct == 1).sum() == (distinct == -1).sum() == n // 4
    values = rng.integers(0, 5, n)
    pole = poles(centred_ranks(values[:, None].astype(np.int64)))[:, 0]
    for value in np.unique(values):
        assert len(set(pole[values == value].tolist())) == 1
    assert (poles(centred_ranks(-values[:, None]))[:, 0] == -pole).all()


def test_22_identical_rows_share_their_pole_wherever_they_stand(world):
    """The all-zero rows of arXiv:2602.22247: one sort puts some of them into a pole, mid-ranks never do."""
    w = world(rows=100, seed=4)
    layers = [X.copy() for X in w.layers]
    for X in layers:
        X[:22] = 0
    order = np.random.default_rng(0).permutation(100)
    one = w.again(layers=layers)
    two = w.again(layers=[X[order] for X in layers])
    for q in range(3):
        assert len(np.unique(one.poles(q)[:22], axis=0)) == 1
        assert len(np.unique(one.axis_ranks(q)[:22], axis=0)) == 1
        agree = (one.poles(q)[order] == two.poles(q)).all(axis=0)
        mirrored = (one.poles(q)[order] == -two.poles(q)).all(axis=0)
        assert (agree | mirrored).all()


def test_adding_one_vector_to_every_gene_changes_no_table(world):
    """Values on a dyadic grid, so that float32 holds the shifted matrix exactly, with a shift far above the spread."""
    w = world(rows=60, seed=5)
    grid = [np.round(X * 2**10).astype(np.float32) / 2**10 for X in w.layers]
    shift = np.round(np.random.default_rng(9).normal(0, 300, grid[0].shape[1]) * 2**5).astype(np.float32) / 2**5
    one = w.again(layers=grid)
    two = w.again(layers=[X + shift for X in grid])
    assert_same(tables(one), tables(two), "ranks")
    assert_same(tables(one), tables(two), "poles")
    for q in range(3):  # eigenvectors may differ in their last bits; ranks, above, may not
        assert np.abs(one.local_axes(q) - two.local_axes(q)).max() <= 1
        assert np.abs(one.cosine(q) - two.cosine(q)).max() < 2**12


def test_cosine_is_that_of_the_centred_matrix(world):
    w = world(rows=50, seed=6)
    shifted = w.again(layers=[X + np.float32(100) for X in w.layers])
    for geometry, X in ((w.geometry, w.layers[1]), (shifted, shifted.layers[1])):
        Y = X.astype(np.float64) - X.astype(np.float64).mean(axis=0)
        Y /= np.linalg.norm(Y, axis=1)[:, None]
        assert np.abs(geometry.cosine(1) * 2.0**-30 - Y @ Y.T).max() < 1e-5
        assert np.abs(geometry.cosine_int16()[:, :, 1] * 2.0**-15 - Y @ Y.T).max() < 2**-14
    assert (np.diag(w.geometry.cosine(1)) == 2**30).all()


@pytest.mark.parametrize("poison", [np.nan, np.inf, -3.0e38, 1.0])
@pytest.mark.filterwarnings("error")
def test_masked_rows_never_change_a_table(poison, world):
    masked = [0, 17, 59]
    w = world(rows=60, seed=7, masked=masked)
    layers = [X.copy() for X in w.layers]
    for X in layers:
        X[masked] = poison
    assert_same(tables(w.geometry), tables(w.again(layers=layers)))
    assert (w.geometry.axes(0)[masked] == 0).all()


def test_a_masked_gene_may_not_be_tested(world):
    w = world(rows=30, masked=[4])
    with pytest.raises(ValueError, match=r"\[4\]"):
        w.again(universe=np.array([3, 4, 5]))


def test_a_subset_of_the_universe_is_ranked_on_its_own(world):
    """Axes come from all usable genes; ranks, poles and pair ranks from the genes under test alone."""
    w = world(rows=60, seed=8)
    subset = np.sort(np.random.default_rng(2).choice(60, 25, replace=False))
    part = w.again(universe=subset)
    for q in range(3):
        assert (part.local_axes(q) == w.geometry.local_axes(q)[subset]).all()
        expected = np.stack([2 * rankdata(c) - 26 for c in w.geometry.local_axes(q)[subset].T], axis=1)
        assert (part.axis_ranks(q) == expected).all()
        assert ((part.poles(q) == 1).sum(axis=0) == 25 // 4).all()
        similarity = w.geometry.cosine(q)[np.ix_(subset, subset)]
        assert (part.cosine(q) == similarity).all()
        upper = np.triu_indices(25, 1)
        ranks = part.pair_ranks()[:, :, q]
        assert (ranks[upper] == 2 * rankdata(similarity[upper]) - (len(upper[0]) + 1)).all()
        assert (ranks == ranks.T).all()
        assert (np.diag(ranks) == 0).all()


def test_pair_ranks_of_ties_and_of_two_genes():
    flat = np.ones((4, 4), np.int64)
    assert (pair_ranks(flat) == 0).all()
    assert (pair_ranks(np.array([[5, 1], [1, 5]])) == 0).all()


def test_sides_share_the_axes_and_nothing_else(world):
    w = world(rows=40)
    shared: dict = {}
    one = w.again(shared=shared, universe=np.arange(0, 20))
    two = w.again(shared=shared, universe=np.arange(20, 40))
    assert one.axes(1) is two.axes(1)
    assert one.axis_ranks(1) is not two.axis_ranks(1)
    assert one.axis_ranks(1) is one.axis_ranks(1)
    assert (two.axis_ranks(1) == w.again(universe=np.arange(20, 40)).axis_ranks(1)).all()


def test_no_more_axes_than_there_are(world):
    assert world(rows=30, dim=4).geometry.n_axes == 4
    w = world(rows=30)
    assert w.again(usable=np.arange(6), universe=np.arange(6)).n_axes == 5
