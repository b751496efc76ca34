"""Pair distance contrast and shared poles, against scikit-learn, plain sets and relabelled entities."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, rankdata
from sklearn.metrics import roc_auc_score

from hyposcreen.tests_library.engine import kernels
from hyposcreen.tests_library.run import scan
from hyposcreen.tests_library.statistics.base import Entity, TestKind, View
from hyposcreen.tests_library.statistics.pairs import MULTI_AXIS_COPOLE, PAIR_PROXIMITY

KINDS = pytest.mark.parametrize("kind", [PAIR_PROXIMITY, MULTI_AXIS_COPOLE], ids=lambda kind: kind.name)


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


def close_pairs(geometry, layer: int, p: int) -> Entity:
    """The ``p`` most similar pairs of a layer."""
    upper = np.stack(np.triu_indices(geometry.n, 1), axis=1)
    order = np.argsort(-geometry.cosine(layer)[upper[:, 0], upper[:, 1]], kind="stable")
    return Entity("gene_pairs", pairs=upper[order[:p]], grades=np.ones(p, np.int64))


@pytest.fixture(params=[0, 1], ids=["distinct", "ties"])
def tied_world(request, world):
    w = world(rows=60, seed=20)
    if request.param:
        for X in w.layers:
            X[:9] = X[0]
            X[30:40] = X[30]
        w.geometry = w.again()
    return w


def test_proximity_is_the_auroc_of_listed_pairs(tied_world, entity):
    w = tied_world
    e = entity("gene_pairs", w, np.random.default_rng(2), size=20)
    listed = {tuple(sorted(pair)) for pair in e.pairs.tolist()}
    upper = np.triu_indices(60, 1)
    label = [pair in listed for pair in zip(*(u.tolist() for u in upper), strict=True)]
    got = effects(PAIR_PROXIMITY, w.geometry, e)
    assert len(got) == 3
    for view, effect in got.items():
        cosine = w.geometry.cosine(int(view.layer[1:]))[upper]
        assert effect == pytest.approx(roc_auc_score(label, cosine), abs=1e-12)


def test_shared_poles_are_counted_with_plain_sets(tied_world, entity):
    w = tied_world
    e = entity("gene_pairs", w, np.random.default_rng(4), size=20)
    got = effects(MULTI_AXIS_COPOLE, w.geometry, e)
    assert [v.coordinate for v in got] == ["SV2-7", "SV1-10"] * 3
    for view, effect in got.items():
        low, high = (int(v) for v in view.coordinate[2:].split("-"))
        count = 0
        for k in range(low - 1, high):
            rank = rankdata(w.geometry.local_axes(int(view.layer[1:]))[:, k])
            ends = {i for i in range(60) if rank[i] > 45}, {i for i in range(60) if rank[i] < 16}
            count += sum(i in end and j in end for i, j in e.pairs.tolist() for end in ends)
        assert effect == pytest.approx(count / len(e.pairs), abs=1e-12)


@KINDS
@given(seed=st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_an_arrangement_is_a_relabelled_pair_graph(kind, seed, world, entity):
    w = world(rows=30, seed=5)
    rng = np.random.default_rng(seed)
    e = entity("gene_pairs", w, rng, size=8)
    a = rng.permutation(30).astype(np.int32)
    moved = Entity("gene_pairs", pairs=a[e.pairs].astype(np.int64), grades=e.grades)
    flipped = Entity("gene_pairs", pairs=np.ascontiguousarray(e.pairs[:, ::-1]), grades=e.grades)
    assert effects(kind, w.geometry, e, a) == effects(kind, w.geometry, moved)
    assert effects(kind, w.geometry, e) == effects(kind, w.geometry, flipped)


@KINDS
def test_numpy_and_compiled_sums_are_equal(kind, world, entity, monkeypatch):
    if not kernels.HAVE_NUMBA:
        pytest.skip("numba is not here, so there is one path only")
    w = world(rows=40, seed=6)
    prepared = kind.prepare(w.geometry, entity("gene_pairs", w, np.random.default_rng(1)))
    a = np.stack([np.random.default_rng(s).permutation(40) for s in range(50)]).astype(np.int32)
    fast = prepared.sums(a)
    monkeypatch.setattr(kernels, "HAVE_NUMBA", False)
    np.testing.assert_array_equal(fast, prepared.sums(a))
    assert (fast.std(axis=0) > 0).all()


@KINDS
def test_close_pairs_are_found(kind, world):
    w = world(rows=60, seed=7)
    e = close_pairs(w.geometry, 1, 40)
    assert k_of(kind, w, e) == 0
    assert effects(PAIR_PROXIMITY, w.geometry, e)[View("L1", "cosine")] == 1


@KINDS
def test_random_pairs_are_not_found_more_often_than_the_level(kind, world, entity):
    w = world(rows=40, dim=8, n_layers=2, seed=8)
    rng = np.random.default_rng(9)
    small = sum(k_of(kind, w, entity("gene_pairs", w, rng, size=8), seed=s) < 10 for s in range(200))
    assert binom.ppf(1e-4, 200, 0.1) <= small <= binom.ppf(1 - 1e-4, 200, 0.1)


@KINDS
def test_degenerate_universes_give_finite_numbers(kind, world):
    narrow = world(rows=20, dim=3, n_layers=1, seed=10)
    flat = [np.ones((20, 3), np.float32)]
    everything = np.stack(np.triu_indices(20, 1), axis=1)
    for geometry in (narrow.geometry, narrow.again(layers=flat)):
        for pairs in (everything, everything[:10]):
            got = effects(kind, geometry, Entity("gene_pairs", pairs=pairs, grades=np.ones(len(pairs), np.int64)))
            assert np.isfinite(list(got.values())).all()
    assert set(effects(PAIR_PROXIMITY, narrow.again(layers=flat), Entity("gene_pairs", pairs=pairs)).values()) == {0.5}
    assert [
        v.coordinate for v in MULTI_AXIS_COPOLE.prepare(narrow.geometry, Entity("gene_pairs", pairs=pairs)).views
    ] == ["SV1-3"]
