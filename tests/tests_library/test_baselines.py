"""The logistic classifier as a test kind, and what features without geometry reach, against scikit-learn."""

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from hyposcreen.tests_library.run import scan
from hyposcreen.tests_library.statistics.base import Entity, View
from hyposcreen.tests_library.statistics.baselines import LOGISTIC_CLASSIFIER, baseline_aurocs
from hyposcreen.tests_library.statistics.classifier import ROLE_CLASSIFIER, grouped_folds


def effects(kind, geometry, entity) -> dict[View, float]:
    prepared = kind.prepare(geometry, entity)
    total = prepared.sums(np.arange(geometry.n, dtype=np.int32)[None])
    assert total.dtype == np.int64
    return dict(zip(prepared.views, prepared.offset + prepared.scale * total[0], strict=True))


def pooled(model, X, label, fold) -> float:
    """Cross-validated AUROC over the comparisons within test folds."""
    wins = comparisons = 0.0
    for f in range(fold.max() + 1):
        test = fold == f
        pairs = label[test].sum() * (~label[test]).sum()
        if pairs:
            wins += pairs * roc_auc_score(label[test], model.fit(X[~test], label[~test]).decision_function(X[test]))
            comparisons += pairs
    return wins / comparisons


def leaning(w, size=14, seed=0) -> Entity:
    """Genes that lie high on the third axis of layer 0, give or take."""
    score = w.geometry.local_axes(0)[:, 2] + np.random.default_rng(seed).normal(0, 2**28, w.geometry.n)
    return Entity("gene_set", members=np.sort(np.argsort(score)[-size:]).astype(np.int64))


def k_of(w, entity, m=99, seed=1) -> int:
    kind = LOGISTIC_CLASSIFIER
    views = {"all": frozenset(kind.prepare(w.geometry, entity).views)}
    return (
        scan(w.geometry, w.covariates, kind, entity, subsets=views, nulls=("gene_label",), m=m, seed=seed)[0]
        .subsets["all"]
        .k
    )


def test_the_kind_is_cross_validated_logistic_regression(world):
    w = world(rows=90, seed=26)
    e = leaning(w)
    label, fold = np.isin(np.arange(90), e.members), grouped_folds(w.families)
    got = effects(LOGISTIC_CLASSIFIER, w.geometry, e)
    assert list(got) == list(effects(ROLE_CLASSIFIER, w.geometry, e))
    for view, effect in got.items():
        low, high = (int(v) for v in view.coordinate[2:].split("-"))
        X = w.geometry.local_axes(int(view.layer[1:]))[:, low - 1 : high] / 2.0**30
        X = (X - X.mean(axis=0)) / X.std(axis=0)
        assert effect == pytest.approx(pooled(LogisticRegression(tol=1e-10), X, label, fold), abs=4e-3)
    assert got[View("L0", "SV2-7")] > 0.8


def test_an_arrangement_is_a_relabelled_set(world):
    w = world(rows=60, seed=3)
    e = leaning(w)
    rng = np.random.default_rng(2)
    a = np.stack([rng.permutation(60) for _ in range(6)]).astype(np.int32)
    totals = LOGISTIC_CLASSIFIER.prepare(w.geometry, e).sums(a)
    for row, total in zip(a, totals, strict=True):
        moved = LOGISTIC_CLASSIFIER.prepare(w.geometry, Entity("gene_set", members=row[e.members].astype(np.int64)))
        np.testing.assert_array_equal(moved.sums(np.arange(60, dtype=np.int32)[None])[0], total)


def test_a_planted_role_is_found_and_random_sets_are_not(world, entity):
    w = world(rows=60, dim=8, n_layers=1, seed=5)
    assert k_of(w, leaning(w, size=20)) == 0
    rng = np.random.default_rng(6)
    small = sum(k_of(w, entity("gene_set", w, rng), seed=s) < 10 for s in range(150))
    assert binom.ppf(1e-4, 150, 0.1) <= small <= binom.ppf(1 - 1e-4, 150, 0.1)


def test_the_smallest_set_in_a_flat_and_narrow_world(world):
    w = world(rows=20, dim=2, n_layers=1, seed=7)
    e = Entity("gene_set", members=np.arange(8))
    assert [v.coordinate for v in effects(LOGISTIC_CLASSIFIER, w.geometry, e)] == ["SV1-2"]
    assert set(effects(LOGISTIC_CLASSIFIER, w.again(layers=[np.ones((20, 2), np.float32)]), e).values()) == {0.5}


def test_baselines_are_cross_validated_discriminants():
    rng = np.random.default_rng(8)
    n = 120
    fold = grouped_folds([f"family{i // 2}" for i in range(n)])
    expression, degree = rng.gamma(2, size=n), rng.poisson(3, n).astype(float)
    members = np.sort(np.argsort(expression + rng.normal(0, 1, n))[-25:])
    label = np.isin(np.arange(n), members)
    features = {
        "norm": rng.random((n, 1)),
        "expression and detection": np.stack([expression, rng.random(n)], axis=1),
        "degree": degree[:, None],
    }
    got = baseline_aurocs(members, fold, features)
    assert list(got) == list(features)
    for name, X in features.items():
        assert got[name] == pytest.approx(pooled(LinearDiscriminantAnalysis(), X, label, fold), abs=1e-4)
    assert got["expression and detection"] > 0.75
    assert abs(got["norm"] - 0.5) < 0.2


def test_a_baseline_and_the_classifier_share_folds_and_engine(world):
    """Fed the coordinates themselves, the baseline is the role classifier."""
    w = world(rows=60, seed=9)
    e = leaning(w)
    fold = grouped_folds(w.families)
    X = {"window": w.geometry.local_axes(1)[:, 1:7].astype(np.float64)}
    assert baseline_aurocs(e.members, fold, X)["window"] == effects(ROLE_CLASSIFIER, w.geometry, e)[View("L1", "SV2-7")]


def test_baselines_at_their_edges():
    fold = np.arange(20) % 5
    members = np.arange(8)
    assert baseline_aurocs(members, fold, {}) == {}
    assert baseline_aurocs(members, fold, {"flat": np.ones((20, 1))}) == {"flat": 0.5}
    assert baseline_aurocs(np.arange(20), fold, {"x": np.random.default_rng(0).random((20, 1))}) == {"x": 0.5}
    for wrong in (np.ones(20), np.ones((19, 1)), np.full((20, 1), np.nan)):
        with pytest.raises(ValueError, match="'x' must be a finite table with 20 rows"):
            baseline_aurocs(members, fold, {"x": wrong})
