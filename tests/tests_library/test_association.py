"""Mantel, partial Mantel and attention against NumPy's correlations and least squares on whole matrices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, pearsonr, rankdata

from hyposcreen.tests_library.engine import kernels
from hyposcreen.tests_library.run import scan
from hyposcreen.tests_library.spaces import Geometry
from hyposcreen.tests_library.statistics import association
from hyposcreen.tests_library.statistics.association import (
    ATTENTION_GEOMETRY,
    MANTEL,
    PARTIAL_MANTEL,
    correlations,
    exact_dot,
    residuals,
)
from hyposcreen.tests_library.statistics.base import Entity, TestKind, View

ALL = pytest.mark.parametrize("kind", [MANTEL, PARTIAL_MANTEL, ATTENTION_GEOMETRY], ids=lambda kind: kind.name)


def effects(kind: TestKind, geometry, entity, arrangement=None) -> dict[View, float]:
    prepared = kind.prepare(geometry, entity)
    a = np.arange(geometry.n, dtype=np.int32) if arrangement is None else arrangement
    total = prepared.sums(a[None])
    assert total.dtype == np.int64
    return dict(zip(prepared.views, prepared.offset + prepared.scale * total[0], strict=True))


def k_of(kind: TestKind, w, entity, m=99, seed=3) -> int:
    views = {"all": frozenset(kind.prepare(w.geometry, entity).views)}
    return (
        scan(w.geometry, w.covariates, kind, entity, subsets=views, nulls=("gene_label",), m=m, seed=seed)[0]
        .subsets["all"]
        .k
    )


def complete(w, seed=0):
    """The world with what newer caches carry: covariates, and directed mean attention of blocks 1 and 2."""
    w.geometry.covariates = {"expression": w.covariates.expression, "detection": w.covariates.detection}
    rng = np.random.default_rng(seed)
    n = w.geometry.n
    w.geometry.attention = {q: rng.integers(0, 50, (n, n)) for q in range(1, w.geometry.n_layers)}
    return w


def grade_vector(entity: Entity, n: int) -> np.ndarray:
    matrix = np.zeros((n, n))
    for (i, j), grade in zip(entity.pairs.tolist(), entity.grades.tolist(), strict=True):
        matrix[i, j] = matrix[j, i] = grade
    return matrix[np.triu_indices(n, 1)]


def test_mantel_is_the_correlation_over_all_pairs(world, entity):
    w = world(rows=45, seed=1)
    e = entity("gene_pairs", w, np.random.default_rng(1), size=30)
    upper = np.triu_indices(45, 1)
    got = effects(MANTEL, w.geometry, e)
    assert len(got) == 3
    for view, effect in got.items():
        ranks = rankdata(w.geometry.cosine(int(view.layer[1:]))[upper])
        assert effect == pytest.approx(pearsonr(grade_vector(e, 45), ranks).statistic, abs=1e-12)


@pytest.mark.parametrize("covariates", [True, False], ids=["expression and detection", "lengths"])
def test_partial_mantel_correlates_with_least_squares_residuals(covariates, world, entity):
    w = world(rows=40, seed=2)
    if covariates:
        complete(w)
    e = entity("gene_pairs", w, np.random.default_rng(1), size=30)
    i, j = np.triu_indices(40, 1)
    for view, effect in effects(PARTIAL_MANTEL, w.geometry, e).items():
        q = int(view.layer[1:])
        Y = w.layers[q].astype(np.float64)
        lengths = np.linalg.norm(Y - Y.mean(axis=0), axis=1)
        columns = (w.covariates.expression, w.covariates.detection) if covariates else (lengths,)
        X = np.stack([np.ones(len(i)), *(rankdata(np.round(np.abs(x[i] - x[j]), 8)) for x in columns)], axis=1)
        y = rankdata(w.geometry.cosine(q)[i, j])
        left = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
        assert effect == pytest.approx(pearsonr(grade_vector(e, 40), rankdata(left)).statistic, abs=1e-5)


def test_partial_mantel_does_not_see_what_expression_explains(world):
    """Genes of like expression are alike, and get the high grades: only the plain correlation is taken in."""
    w = complete(world(rows=60, n_layers=1, seed=3))
    angle = w.covariates.expression
    noise = 0.2 * np.random.default_rng(4).standard_normal((60, 6))
    X = np.concatenate([np.cos(angle)[:, None], np.sin(angle)[:, None], noise], axis=1).astype(np.float32)
    mirrored = np.concatenate([X, -X])  # so that centring moves nothing
    w.geometry = Geometry([mirrored], np.arange(120), np.arange(60), [str(i) for i in range(120)], 2)
    complete(w)
    i, j = np.triu_indices(60, 1)
    grades = 10 - rankdata(np.abs(angle[i] - angle[j])).astype(np.int64) * 10 // (len(i) + 1)
    e = Entity("gene_pairs", pairs=np.stack([i, j], axis=1), grades=grades)
    plain = effects(MANTEL, w.geometry, e)[View("L0", "cosine")]
    partial = effects(PARTIAL_MANTEL, w.geometry, e)[View("L0", "residual cosine")]
    assert plain > 0.2
    assert abs(partial) < plain / 5


def test_attention_is_correlated_inside_the_set(world):
    w = complete(world(rows=40, seed=5))
    members = np.array([0, 2, 5, 11, 12, 20, 33, 39])
    i, j = np.triu_indices(40, 1)
    inside = np.isin(i, members) & np.isin(j, members)
    got = effects(ATTENTION_GEOMETRY, w.geometry, Entity("gene_set", members=members))
    assert [view.name for view in got] == ["L1·attention", "L2·attention"]
    for view, effect in got.items():
        q = int(view.layer[1:])
        A = w.geometry.attention[q]
        first, second = rankdata((A + A.T)[i, j]), rankdata(w.geometry.cosine(q)[i, j])
        assert effect == pytest.approx(pearsonr(first[inside], second[inside]).statistic, abs=2e-3)


def test_a_cache_without_attention_has_no_views(world):
    w = world(rows=20, seed=5)
    prepared = ATTENTION_GEOMETRY.prepare(w.geometry, Entity("gene_set", members=np.arange(8)))
    assert prepared.views == ()
    assert prepared.sums(np.arange(20, dtype=np.int32)[None]).shape == (1, 0)


def test_within_set_correlations_of_huge_sets_do_not_overflow():
    """1,600 genes with every entry at its bound: twice the square of the number of pairs no longer fits."""
    rng = np.random.default_rng(6)
    n = 1600
    a, noise = (np.triu(4096 * rng.choice([-1, 1], (n, n)), 1).astype(np.int32) for _ in range(2))
    a, b = a + a.T, np.where(rng.random((n, n)) < 0.5, a, noise)
    b = np.triu(b, 1) + np.triu(b, 1).T
    full = np.full_like(a, 4096)
    got = correlations(
        np.stack([a, full], axis=2), np.stack([b, full], axis=2), np.arange(n), np.arange(n, dtype=np.int32)[None]
    )
    upper = np.triu_indices(n, 1)
    assert got[0, 0] / 2**20 == pytest.approx(pearsonr(a[upper], b[upper]).statistic, abs=1e-3)
    assert got[0, 1] == 0


@ALL
@given(seed=st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_an_arrangement_is_a_relabelled_entity(kind, seed, world, entity_of):
    w = complete(world(rows=30, seed=7))
    rng = np.random.default_rng(seed)
    e = entity_of(kind, w, rng)
    a = rng.permutation(30).astype(np.int32)
    moved = (
        Entity("gene_set", members=a[e.members].astype(np.int64))
        if e.members is not None
        else Entity("gene_pairs", pairs=a[e.pairs].astype(np.int64), grades=e.grades)
    )
    assert effects(kind, w.geometry, e, a) == effects(kind, w.geometry, moved)


@ALL
def test_numpy_and_compiled_sums_are_equal(kind, world, entity_of, monkeypatch):
    if not kernels.HAVE_NUMBA:
        pytest.skip("numba is not here, so there is one path only")
    w = complete(world(rows=40, seed=8))
    prepared = kind.prepare(w.geometry, entity_of(kind, w, np.random.default_rng(1)))
    a = np.stack([np.random.default_rng(s).permutation(40) for s in range(50)]).astype(np.int32)
    fast = prepared.sums(a)
    monkeypatch.setattr(kernels, "HAVE_NUMBA", False)
    monkeypatch.setattr(association, "HAVE_NUMBA", False)
    monkeypatch.setattr(association, "_NUMPY_CELLS", 700)
    np.testing.assert_array_equal(fast, prepared.sums(a))
    assert (fast.std(axis=0) > 0).all()


def test_planted_associations_are_found(world):
    w = complete(world(rows=50, seed=9))
    i, j = np.triu_indices(50, 1)
    order = np.argsort(-w.geometry.cosine(1)[i, j])[:60]
    e = Entity("gene_pairs", pairs=np.stack([i, j], axis=1)[order], grades=np.arange(60, 0, -1, dtype=np.int64))
    assert k_of(MANTEL, w, e) == 0
    assert k_of(PARTIAL_MANTEL, w, e) == 0
    members = np.arange(12)
    w.geometry.attention[2][:12, :12] = -w.geometry.cosine(2)[:12, :12]
    s = Entity("gene_set", members=members)
    assert k_of(ATTENTION_GEOMETRY, w, s) == 0
    assert effects(ATTENTION_GEOMETRY, w.geometry, s)[View("L2", "attention")] < -0.4


@ALL
def test_random_labels_are_not_found_more_often_than_the_level(kind, world, entity_of):
    w = complete(world(rows=40, dim=8, n_layers=2, seed=10))
    rng = np.random.default_rng(11)
    small = sum(k_of(kind, w, entity_of(kind, w, rng), seed=s) < 10 for s in range(200))
    assert binom.ppf(1e-4, 200, 0.1) <= small <= binom.ppf(1 - 1e-4, 200, 0.1)


@given(seed=st.integers(0, 2**31), k=st.integers(1, 3), twin=st.booleans())
@settings(max_examples=40, deadline=None)
def test_residuals_are_those_of_least_squares(seed, k, twin):
    rng = np.random.default_rng(seed)
    X = rng.integers(-(2**24), 2**24, (k, 60))
    X -= X.sum(axis=1, keepdims=True) // 60
    X[:, 0] -= X.sum(axis=1)
    columns = [*X, -3 * X[0], np.zeros(60, np.int64)] if twin else [*X]
    y = X[0] * 2 + rng.integers(-1000, 1000, 60)
    y[0] -= y.sum()
    left = residuals(y, columns) / 1024
    expected = y - X.T @ np.linalg.lstsq(X.T.astype(float), y.astype(float), rcond=None)[0]
    np.testing.assert_allclose(left, expected, atol=1e-2)


@given(st.lists(st.tuples(st.integers(-(2**32) + 1, 2**32 - 1), st.integers(-(2**32) + 1, 2**32 - 1)), max_size=30))
def test_exact_dot_is_exact(rows):
    x, y = (np.array([row[side] for row in rows], dtype=np.int64) for side in (0, 1))
    assert exact_dot(x, y) == sum(a * b for a, b in rows)


def test_exact_dot_holds_at_its_largest_entries():
    x = np.full(1 << 19, -(2**32) + 1)
    assert exact_dot(x, x) == (1 << 19) * (2**32 - 1) ** 2
    assert exact_dot(x, -x) == -(1 << 19) * (2**32 - 1) ** 2


@ALL
def test_degenerate_universes_give_finite_numbers(kind, world):
    w = complete(world(rows=20, dim=3, n_layers=2, seed=12))
    everything = np.stack(np.triu_indices(20, 1), axis=1)
    flat = w.again(layers=[np.ones((20, 3), np.float32)] * 2)
    flat.covariates = {"expression": np.zeros(20), "detection": np.ones(20)}
    flat.attention = {1: np.zeros((20, 20), np.int64)}
    for geometry in (w.geometry, flat):
        entities = [
            Entity("gene_pairs", pairs=p, grades=np.ones(len(p), np.int64)) for p in (everything, everything[:10])
        ]
        for e in [Entity("gene_set", members=np.arange(8))] if kind.entity == "gene_set" else entities:
            got = np.array(list(effects(kind, geometry, e).values()))
            assert np.isfinite(got).all()
            if geometry is flat:
                assert (got == 0).all()


def test_missing_grades_and_covariates_are_named(world):
    w = world(rows=20)
    e = Entity("gene_pairs", pairs=np.stack(np.triu_indices(6, 1), axis=1))
    with pytest.raises(ValueError, match="no grades"):
        MANTEL.prepare(w.geometry, e)
    w.geometry.covariates = {"expression": np.zeros(20)}
    with pytest.raises(ValueError, match="detection is missing"):
        PARTIAL_MANTEL.prepare(w.geometry, e)
