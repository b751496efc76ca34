"""Intervals against structural components by brute force, SciPy's bootstrap, and their own promise: coverage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, bootstrap, chisquare, norm
from sklearn.metrics import roc_auc_score

from hyposcreen.tests_library.intervals import _resampled, cluster_bootstrap, delong_interval


def delong_by_definition(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """AUROC and variance from the structural components of DeLong 1988."""
    psi = (x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])
    return psi.mean(), psi.mean(axis=1).var(ddof=1) / len(x) + psi.mean(axis=0).var(ddof=1) / len(y)


@given(seed=st.integers(0, 2**31), a=st.integers(2, 12), b=st.integers(2, 15), ties=st.booleans())
@settings(max_examples=60, deadline=None)
def test_delong_is_its_definition(seed, a, b, ties):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(0.5, size=a), rng.normal(size=b)
    if ties:
        x, y = np.round(x), np.round(y)
    got = delong_interval(x, y, 0.9)
    auroc, variance = delong_by_definition(x, y)
    half = norm.ppf(0.95) * np.sqrt(variance)
    assert got.estimate == pytest.approx(auroc, abs=1e-12)
    assert got.estimate == pytest.approx(roc_auc_score([1] * a + [0] * b, np.concatenate([x, y])), abs=1e-12)
    assert (got.low, got.high) == pytest.approx((max(0, auroc - half), min(1, auroc + half)), abs=1e-8)
    mirrored = delong_interval(y, x, 0.9)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((got.low, got.high), abs=1e-12)


def test_delong_agrees_with_a_bootstrap():
    rng = np.random.default_rng(3)
    x, y = rng.normal(0.7, size=150), rng.normal(size=200)
    got = delong_interval(x, y)
    aurocs = []
    for _ in range(3000):
        u, v = rng.choice(x, 150), np.sort(rng.choice(y, 200))
        aurocs.append((np.searchsorted(v, u) + np.searchsorted(v, u, side="right")).mean() / 400)
    assert (got.low, got.high) == pytest.approx(np.quantile(aurocs, [0.025, 0.975]), abs=0.008)


def test_delong_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(4)
    truth = norm.cdf(0.8 / np.sqrt(2))
    found = [delong_interval(rng.normal(0.8, size=40), rng.normal(size=60)) for _ in range(1000)]
    covered = sum(i.low <= truth <= i.high for i in found)
    assert binom.ppf(1e-4, 1000, 0.93) <= covered <= binom.ppf(1 - 1e-4, 1000, 0.96)


def test_delong_at_its_edges():
    for x, y, auroc in (([1, 1], [1, 1, 1], 0.5), ([3, 4], [1, 2], 1.0), ([1, 2], [3, 4], 0.0)):
        got = delong_interval(x, y)
        assert (got.estimate, got.low, got.high) == (auroc, auroc, auroc)
    with pytest.raises(ValueError, match="two positives and two negatives, here are 1 and 3"):
        delong_interval([1], [1, 2, 3])
    with pytest.raises(ValueError, match="finite"):
        delong_interval([1, np.nan], [1, 2])
    with pytest.raises(ValueError, match="level 1"):
        delong_interval([1, 2], [1, 2], level=1)


def test_single_genes_as_clusters_give_scipys_percentile_bootstrap():
    x = np.random.default_rng(5).gamma(2, size=60)
    ours = cluster_bootstrap(x, range(60), seed=1, draws=9999)
    theirs = bootstrap(
        (x,), np.mean, n_resamples=9999, method="percentile", rng=np.random.default_rng(6)
    ).confidence_interval
    assert ours.estimate == pytest.approx(x.mean(), abs=1e-8)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_every_draw_is_a_mean_over_whole_clusters():
    rng = np.random.default_rng(7)
    x, labels = rng.standard_normal(25), [f"reg{i}" for i in rng.integers(0, 6, 25)]
    got = cluster_bootstrap(x, labels, seed=3, draws=199, level=0.9)
    groups = [x[np.array(labels) == name] for name in sorted(set(labels))]
    means = np.sort([np.concatenate([groups[c] for c in row]).mean() for row in _resampled(len(groups), 199, 3)])
    assert (got.low, got.high) == pytest.approx((means[9], means[189]), abs=1e-8)


def test_clusters_widen_the_interval_to_its_coverage():
    """Scores share most of their variance within a cluster: genes as samples cover far too seldom, clusters do not."""
    rng = np.random.default_rng(8)
    clusters = np.repeat(np.arange(40), 5)
    covered = np.zeros(2, int)
    for world in range(300):
        x = rng.standard_normal(40)[clusters] + 0.3 * rng.standard_normal(200)
        for c, labels in enumerate((clusters, np.arange(200))):
            got = cluster_bootstrap(x, labels.tolist(), seed=world, draws=399)
            covered[c] += got.low <= 0 <= got.high
    assert binom.ppf(1e-4, 300, 0.92) <= covered[0] <= binom.ppf(1 - 1e-4, 300, 0.96)
    assert covered[1] < 220


def test_picks_are_uniform_and_depend_on_the_seed_and_their_draw_alone():
    picks = _resampled(7, 3000, 11)
    assert chisquare(np.bincount(picks.ravel(), minlength=7)).pvalue > 1e-4
    assert all(chisquare(np.bincount(picks[:, place], minlength=7)).pvalue > 1e-5 for place in range(7))
    np.testing.assert_array_equal(picks[:50], _resampled(7, 50, 11))
    assert (picks[:50] != _resampled(7, 50, 12)).any()
    assert picks.min() == 0
    assert picks.max() == 6


def test_refused_words_are_drawn_again_from_the_next_stream(monkeypatch):
    from hyposcreen.tests_library import intervals

    plain = _resampled(7, 20, 1)
    seen = []

    def refuse_once(word, bound):
        seen.append(word)
        return np.zeros(word.shape, bool) | ((len(seen) == 1) & (np.arange(7) == 2))

    monkeypatch.setattr(intervals, "uneven", refuse_once)
    again = _resampled(7, 20, 1)
    assert len(seen) == 2
    assert (seen[0] != seen[1])[:, 2].all()
    np.testing.assert_array_equal(np.delete(again, 2, axis=1), np.delete(plain, 2, axis=1))
    assert (again[:, 2] != plain[:, 2]).any()


def test_bootstrap_at_its_edges():
    same = cluster_bootstrap([0.3] * 6, "aabbcc", seed=1)
    assert (same.low, same.high) == (same.estimate, same.estimate)
    assert same.estimate == pytest.approx(0.3)
    zero = cluster_bootstrap([0.0] * 4, "aabb", seed=1)
    assert (zero.estimate, zero.low, zero.high) == (0, 0, 0)
    with pytest.raises(ValueError, match="here is one"):
        cluster_bootstrap([1.0, 2.0], "aa", seed=1)
    with pytest.raises(ValueError, match="2 scores and 3 cluster"):
        cluster_bootstrap([1.0, 2.0], "abc", seed=1)
    with pytest.raises(ValueError, match="20 draws are too few"):
        cluster_bootstrap([1.0, 2.0], "ab", seed=1, draws=20)
    with pytest.raises(ValueError, match="finite"):
        cluster_bootstrap([1.0, np.inf], "ab", seed=1)
