"""Statistics over layers against plain definitions, and the null that permutes the order of layers."""

import math
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, rankdata
from sklearn.metrics import roc_auc_score

from hyposcreen.tests_library.engine.jit import HAVE_NUMBA
from hyposcreen.tests_library.engine.similarity import row_ranks, unit_variance
from hyposcreen.tests_library.run import scan
from hyposcreen.tests_library.statistics import layers as under_test
from hyposcreen.tests_library.statistics.base import Entity, View
from hyposcreen.tests_library.statistics.layers import (
    CENTROID_TRAJECTORY,
    CHANGE_POINT,
    CONVERGENCE,
    LAYER_ORDER,
    LAYER_TRAJECTORY,
    LAYER_TRANSIENT,
    ends_and_trend,
    layer_order_draws,
    layer_orders,
    splits,
    transients,
)

KINDS = (LAYER_TRANSIENT, CHANGE_POINT, CONVERGENCE, CENTROID_TRAJECTORY)
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
KEY = (11, 12)


def gene_set(members) -> Entity:
    return Entity("gene_set", members=np.asarray(members, np.int64))


def effects(kind, geometry, entity) -> dict[str, float]:
    prepared = kind.prepare(geometry, entity)
    totals = prepared.sums(np.arange(geometry.n, dtype=np.int32)[None])
    assert totals.dtype == np.int64
    assert len(set(prepared.views)) == totals.shape[1]
    assert {view.layer for view in prepared.views} == {f"L0:L{geometry.n_layers - 1}"}
    assert kind.coordinates.singles(geometry.n_layers, 10) == tuple(view.coordinate for view in prepared.views)
    return {v.coordinate: e for v, e in zip(prepared.views, prepared.offset + prepared.scale * totals[0], strict=True)}


def p_of(kind, w, entity, m=199, null="gene_label", views=None) -> tuple[float, View]:
    every = frozenset(kind.prepare(w.geometry, entity).views if views is None else views)
    (found,) = scan(w.geometry, w.covariates, kind, entity, subsets={"all": every}, nulls=(null,), m=m, seed=3)
    return (found.subsets["all"].k + 1) / (m + 1), found.subsets["all"].best


def cohesion_by_layer(geometry, members) -> np.ndarray:
    upper = np.triu_indices(geometry.n, 1)
    inside = np.isin(upper[0], members) & np.isin(upper[1], members)
    return np.array([roc_auc_score(inside, geometry.cosine(q)[upper]) for q in range(geometry.n_layers)])


def test_transients_and_change_points_are_contrasts_of_aurocs(world):
    w = world(rows=50, n_layers=5, seed=31)
    members = np.arange(3, 14)
    auroc = cohesion_by_layer(w.geometry, members)
    got = effects(LAYER_TRANSIENT, w.geometry, gene_set(members))
    assert set(got) == {"L1", "L2", "L3"}
    for name, effect in got.items():
        q = int(name[1:])
        assert effect == pytest.approx(auroc[q] - (auroc[q - 1] + auroc[q + 1]) / 2, abs=1e-12)
    got = effects(CHANGE_POINT, w.geometry, gene_set(members))
    assert set(got) == {f"from L{s}" for s in range(1, 5)}
    for name, effect in got.items():
        s = int(name[6:])
        assert effect == pytest.approx(auroc[s:].mean() - auroc[:s].mean(), abs=1e-12)


@pytest.mark.parametrize("n_layers", [1, 2, 3, 4, 7, 13])
def test_contrasts_are_whole_numbers_that_sum_to_zero(n_layers):
    made = {f: f(n_layers) for f in (transients, splits, ends_and_trend)}
    assert [len(c) for c in made.values()] == [max(0, n_layers - 2), n_layers - 1, min(2, n_layers - 1)]
    for weights in (w for c in made.values() for w in c.values()):
        assert weights.dtype == np.int64
        assert weights.shape == (n_layers,)
        assert weights.sum() == 0
        assert math.gcd(*weights.tolist()) in {1, 2}
        assert weights.any()


def by_hand_convergence(geometry, members) -> np.ndarray:
    """AUROC of members against all others in the eyes of the medoid, by layer, from loops and scikit-learn."""
    n = geometry.n
    nearness = {}
    for c in members:
        others = np.array([g for g in range(n) if g != c])
        per_layer = []
        for q in range(geometry.n_layers):
            rank = rankdata(geometry.cosine(q)[c, others])
            per_layer.append(sum(2 * r - n for g, r in zip(others, rank, strict=True) if g in members))
        nearness[int(c)] = sum(per_layer)
    focus = min(c for c in nearness if nearness[c] == max(nearness.values()))
    others = np.array([g for g in range(n) if g != focus])
    label = np.isin(others, members)
    return np.array([roc_auc_score(label, geometry.cosine(q)[focus, others]) for q in range(geometry.n_layers)])


@pytest.mark.parametrize("tied", [False, True])
def test_convergence_is_the_change_of_an_auroc_around_the_medoid(tied, world):
    w = world(rows=40, n_layers=4, seed=32)
    layers = [X.copy() for X in w.layers]
    if tied:
        for X in layers:
            X[2:8] = X[2]
    geometry = w.again(layers=layers)
    members = np.array([2, 3, 5, 11, 19, 30, 31])
    auroc = by_hand_convergence(geometry, members)
    got = effects(CONVERGENCE, geometry, gene_set(members))
    assert got["change"] == pytest.approx(auroc[-1] - auroc[0], abs=1e-12)
    assert got["trend"] == pytest.approx(auroc @ np.array([-3, -1, 1, 3]) * 2 / 8, abs=1e-12)


def test_row_ranks_are_midranks_among_the_others():
    similarity = np.random.default_rng(1).integers(-3, 4, (9, 9))
    similarity += similarity.T
    got = row_ranks(similarity)
    for i in range(9):
        others = [j for j in range(9) if j != i]
        assert got[i, others].tolist() == (2 * rankdata(similarity[i, others]) - 9).tolist()
        assert got[i, i] == 0


@pytest.mark.skipif(not HAVE_NUMBA, reason="without numba there is one path only")
def test_medoids_are_the_same_on_both_paths_even_where_genes_tie():
    rng = np.random.default_rng(2)
    table = rng.integers(-2, 3, (30, 30, 3)).astype(np.int32)  # few values: many sets have several medoids
    table[np.arange(30), np.arange(30)] = 0
    arrangements = np.stack([rng.permutation(30) for _ in range(300)]).astype(np.int32)
    members = np.array([4, 1, 20, 9, 15], np.int64)
    fast, slow = (np.zeros((300, 3), np.int64) for _ in range(2))
    under_test._medoid_loop(table, members, arrangements, fast)
    under_test._medoid_numpy(table, members, arrangements, slow)
    assert (fast == slow).all()
    assert len(np.unique(fast)) > 5


def test_centroid_displacement_is_that_of_the_scaled_layers(world):
    w = world(rows=60, n_layers=4, seed=33, universe=np.arange(5, 55))
    members = np.array([0, 3, 9, 20, 33, 49])
    scaled = []
    for X in w.layers:
        Y = X.astype(np.float64)
        Y = (Y - Y.mean(axis=0))[5:55]
        scaled.append(Y / np.sqrt((Y**2).sum(axis=1).mean()))
    got = effects(CENTROID_TRAJECTORY, w.geometry, gene_set(members))
    assert list(got) == ["L0-L1", "L1-L2", "L2-L3", "L0-L3"]
    for name, effect in got.items():
        a, b = int(name[1]), int(name[4])
        d = scaled[b] - scaled[a]
        d -= d.mean(axis=0)
        exact = (d[members].mean(axis=0) ** 2).sum() / (d**2).sum(axis=1).mean()
        assert effect == pytest.approx(exact, rel=1e-4)


def test_contraction_of_all_genes_is_no_movement(world):
    w = world(rows=40, n_layers=2, seed=34)
    shrunk = w.again(layers=[w.layers[0], (w.layers[0] / 8 + 1).astype(np.float32)])
    other = w.again(layers=[w.layers[0], w.layers[1] / 8])
    assert max(np.abs(unit_variance(shrunk.unit(1)) - unit_variance(shrunk.unit(0))).ravel()) < 1e-5
    assert effects(CENTROID_TRAJECTORY, other, gene_set(range(9))) == pytest.approx(
        effects(CENTROID_TRAJECTORY, w.geometry, gene_set(range(9))), rel=1e-6
    )


@each_kind
def test_an_arrangement_is_a_relabelled_set(kind, world):
    w = world(rows=45, n_layers=4, seed=35)
    rng = np.random.default_rng(5)
    members = np.sort(rng.choice(45, 11, replace=False))
    arrangements = np.stack([rng.permutation(45) for _ in range(20)]).astype(np.int32)
    got = kind.prepare(w.geometry, gene_set(members)).sums(arrangements)
    identity = np.arange(45, dtype=np.int32)[None]
    for a, row in zip(arrangements, got, strict=True):
        assert (kind.prepare(w.geometry, gene_set(np.sort(a[members]))).sums(identity)[0] == row).all()
    assert (got.std(axis=0) > 0).all()


def planted(world, move) -> "tuple":
    """A world of five layers in which ``move(q, X, members, rng)`` changes what the members do, and their set."""
    w = world(rows=120, n_layers=5, seed=36)
    rng = np.random.default_rng(6)
    members = np.sort(rng.choice(120, 14, replace=False))
    layers = [X.copy() for X in w.layers]
    for q, X in enumerate(layers):
        move(q, X, members)
    w.layers, w.geometry = layers, w.again(layers=layers)
    return w, gene_set(members)


def pull(strength):
    """Members move towards one of them, by ``strength(q)`` of the way."""

    def move(q, X, members):
        X[members] += strength(q) * (X[members[3]] - X[members])

    return move


@pytest.mark.parametrize(
    ("kind", "move", "best"),
    [
        (LAYER_TRANSIENT, pull(lambda q: 0.8 * (q == 2)), "L2"),
        (CHANGE_POINT, pull(lambda q: 0.8 * (q >= 3)), "from L3"),
        (CONVERGENCE, pull(lambda q: 0.2 * q), "trend"),
        (CENTROID_TRAJECTORY, lambda q, X, members: X.__setitem__(members, X[members] + (q >= 2)), "L1-L2"),
    ],
    ids=[kind.name for kind in KINDS],
)
def test_a_planted_course_is_found_where_it_is(kind, move, best, world):
    w, entity = planted(world, move)
    p, view = p_of(kind, w, entity)
    assert p == 1 / 200
    assert view.coordinate in {best, "change"} if kind is CONVERGENCE else view.coordinate == best
    assert effects(kind, w.geometry, entity)[view.coordinate] > 0


@each_kind
def test_sets_of_no_meaning_are_significant_as_often_as_they_should(kind, world):
    w = world(rows=80, n_layers=4, seed=37)
    rng = np.random.default_rng(7)
    p = [p_of(kind, w, gene_set(np.sort(rng.choice(80, 9, replace=False))), m=99)[0] for _ in range(200)]
    assert binom.ppf(1e-4, 200, 0.1) <= sum(x <= 0.1 for x in p) <= binom.isf(1e-4, 200, 0.1)
    assert binom.ppf(1e-4, 200, 0.5) <= sum(x <= 0.5 for x in p) <= binom.isf(1e-4, 200, 0.5)


@each_kind
@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_few_layers_ties_and_the_smallest_set_give_finite_integers(kind, n_layers, world):
    w = world(rows=12, n_layers=n_layers, seed=38)
    same = [np.ones_like(X) for X in w.layers]
    for geometry in (w.geometry, w.again(layers=same)):
        entity = gene_set(range(kind.min_size))
        prepared = kind.prepare(geometry, entity)
        arrangements = np.stack([np.arange(12), np.arange(12)[::-1]]).astype(np.int32)
        totals = prepared.sums(arrangements)
        names = kind.coordinates.singles(n_layers, 10)
        assert totals.shape == (2, len(names))
        assert totals.dtype == np.int64
        assert np.isfinite(prepared.offset + prepared.scale * totals).all()
        if geometry is not w.geometry:
            assert not totals.any()
        for draw in prepared.own.values():
            assert draw(KEY, 0, 5).shape == (5, len(names))


@pytest.mark.parametrize("n_layers", [2, 3, 4, 5])
def test_every_round_holds_each_order_once_and_starts_with_the_observed(n_layers):
    count = math.factorial(n_layers)
    orders = layer_orders(n_layers, KEY, 0, 3 * count)
    for s in range(0, 3 * count, count):
        assert orders[s].tolist() == list(range(n_layers))
        assert sorted(map(tuple, orders[s : s + count].tolist())) == list(permutations(range(n_layers)))
    if n_layers > 3:
        assert (orders[:count] != orders[count : 2 * count]).any()
        assert (orders[:count] != layer_orders(n_layers, (11, 13), 0, count)).any()


@pytest.mark.parametrize("n_layers", [2, 5, 8, 9, 13])
@given(cuts=st.lists(st.integers(1, 399), max_size=4, unique=True))
def test_an_order_depends_on_its_number_alone(n_layers, cuts):
    ends = [0, *sorted(cuts), 400]
    parts = [layer_orders(n_layers, KEY, a, b) for a, b in pairwise(ends)]
    whole = layer_orders(n_layers, KEY, 0, 400)
    assert (np.concatenate(parts) == whole).all()
    assert whole[0].tolist() == list(range(n_layers))
    assert (np.sort(whole, axis=1) == np.arange(n_layers)).all()


def test_the_p_value_of_all_orders_is_the_exact_one():
    """T rises over five layers: only the reversed order has as large a |trend|, so p = 2 / 120 and not less."""
    totals, weights = np.array([0, 10, 25, 30, 60]), ends_and_trend(5)["trend"][:, None]
    exact = [abs(totals[list(order)] @ weights[:, 0]) for order in permutations(range(5))]
    expected = sum(x >= abs(totals @ weights[:, 0]) for x in exact)
    assert expected == 2
    drawn = np.abs(layer_order_draws(totals, weights)(KEY, 0, 960)[:, 0])
    assert drawn[0] == abs(totals @ weights[:, 0])
    assert (drawn >= drawn[0]).sum() == 8 * expected


@pytest.mark.parametrize(
    "kind", [LAYER_TRAJECTORY, LAYER_TRANSIENT, CHANGE_POINT, CONVERGENCE], ids=lambda kind: kind.name
)
def test_the_order_null_permutes_the_observed_layers_and_never_decides(kind, world):
    w, entity = planted(world, pull(lambda q: 0.2 * q))
    prepared = kind.prepare(w.geometry, entity)
    assert kind.nulls == tuple(prepared.own) == (LAYER_ORDER.name,)
    assert not LAYER_ORDER.decides
    draws = prepared.own[LAYER_ORDER.name](KEY, 0, 240)
    assert (draws[0] == prepared.sums(np.arange(120, dtype=np.int32)[None])[0]).all()
    assert len(np.unique(draws, axis=0)) > 1
    again = w.again(layers=[w.layers[q] for q in layer_orders(5, KEY, 7, 8)[0]])
    assert (kind.prepare(again, entity).sums(np.arange(120, dtype=np.int32)[None])[0] == draws[7]).all()


def test_the_order_null_reaches_no_smaller_p_than_the_number_of_orders_allows(world, monkeypatch):
    from hyposcreen.tests_library import nulls

    monkeypatch.setitem(nulls.OWN_NULLS, LAYER_ORDER.name, LAYER_ORDER)
    w, entity = planted(world, pull(lambda q: 0.2 * q))
    trend = [v for v in CONVERGENCE.prepare(w.geometry, entity).views if v.coordinate == "trend"]
    p, _ = p_of(CONVERGENCE, w, entity, m=599, null=LAYER_ORDER.name, views=trend)
    assert p >= 1 / 120
    assert p <= 0.05
