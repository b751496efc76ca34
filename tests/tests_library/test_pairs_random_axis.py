"""Pairs on random axes: co-pole counts against plain sets on turned coordinates, and close pairs that follow no axis."""

import numpy as np
import pytest
from scipy.stats import binom, rankdata

from hyposcreen.tests_library.engine import kernels
from hyposcreen.tests_library.engine.rotation import rotations, white
from hyposcreen.tests_library.run import Covariates, scan
from hyposcreen.tests_library.spaces import Geometry
from hyposcreen.tests_library.statistics.base import Entity
from hyposcreen.tests_library.statistics.coordinates import windows
from hyposcreen.tests_library.statistics.pairs import COPOLE_RATE, MULTI_AXIS_COPOLE

KINDS = pytest.mark.parametrize("kind", [COPOLE_RATE, MULTI_AXIS_COPOLE], ids=lambda kind: kind.name)
KEY = (3, 8)


def graded(pairs) -> Entity:
    return Entity("gene_pairs", pairs=np.asarray(pairs, np.int64), grades=np.ones(len(pairs), np.int64))


def flat_world(X: np.ndarray) -> tuple[Geometry, Covariates]:
    n, rng = len(X), np.random.default_rng(1)
    everyone = np.arange(n)
    geometry = Geometry([X.astype(np.float32)], everyone, everyone, [str(i) for i in range(n)], X.shape[1])
    return geometry, Covariates(tuple(f"g{i}" for i in range(n)), rng.random(n), rng.random(n))


def counted_with_sets(geometry, pairs, turn, layer) -> list[int]:
    turned = (white(geometry.local_axes(layer)) @ turn) >> 20
    out = []
    for column in turned.T:
        rank, n = rankdata(column), geometry.n
        ends = {i for i in range(n) if rank[i] > n - n // 4}, {i for i in range(n) if rank[i] < n // 4 + 1}
        out.append(sum(a in end and b in end for a, b in pairs.tolist() for end in ends))
    return out


def test_draws_are_counts_of_shared_poles_on_turned_axes(world, entity):
    w = world(rows=40, dim=12, n_layers=2, seed=4)
    e = entity("gene_pairs", w, np.random.default_rng(2), size=10)
    turns = rotations(KEY, 0, 6, 10)
    rate = COPOLE_RATE.prepare(w.geometry, e).own["random_axis"](KEY, 0, 6)
    shared = MULTI_AXIS_COPOLE.prepare(w.geometry, e).own["random_axis"](KEY, 0, 6)
    for p in range(6):
        counts = [counted_with_sets(w.geometry, e.pairs, turns[p], q) for q in range(2)]
        assert rate[p].tolist() == counts[0] + counts[1]
        assert shared[p].tolist() == [sum(one[a - 1 : b]) for one in counts for a, b in windows(10)]
    assert len({tuple(row) for row in rate.tolist()}) == 6


@KINDS
def test_a_draw_depends_on_its_number_alone_and_draw_0_is_observed(kind, world, entity):
    w = world(rows=40, seed=6)
    e = entity("gene_pairs", w, np.random.default_rng(3))
    prepared = kind.prepare(w.geometry, e)
    draw = prepared.own["random_axis"]
    every = draw(KEY, 0, 130)
    assert every[0].tolist() == prepared.sums(np.arange(40, dtype=np.int32)[None])[0].tolist()
    assert (kind.prepare(w.again(), e).own["random_axis"](KEY, 77, 79) == every[77:79]).all()


@KINDS
def test_numpy_and_compiled_draws_are_equal(kind, world, entity, monkeypatch):
    if not kernels.HAVE_NUMBA:
        pytest.skip("numba is not here, so there is one path only")
    w = world(rows=40, seed=6)
    draw = kind.prepare(w.geometry, entity("gene_pairs", w, np.random.default_rng(1))).own["random_axis"]
    fast = draw(KEY, 0, 70)
    monkeypatch.setattr(kernels, "HAVE_NUMBA", False)
    np.testing.assert_array_equal(fast, draw(KEY, 0, 70))


def p_by_null(kind, geometry, covariates, e, m=999, seed=1, nulls=("gene_label", "random_axis")) -> dict[str, float]:
    views = {"all": frozenset(kind.prepare(geometry, e).views)}
    found = scan(geometry, covariates, kind, e, subsets=views, nulls=nulls, m=m, seed=seed)
    return {one.null: (one.subsets["all"].k + 1) / (one.m + 1) for one in found}


def test_close_pairs_that_follow_no_axis_beat_shuffled_labels_and_not_random_axes():
    """Partners that are alike in every direction share poles of any axis; partners alike in one, of that one."""
    rng = np.random.default_rng(5)
    pairs = np.arange(80).reshape(40, 2)
    lengths = 2.0 ** np.arange(5, -1, -1)
    X = rng.standard_normal((200, 6)) * lengths
    everywhere, one_axis = X.copy(), X.copy()
    everywhere[pairs[:, 1]] = X[pairs[:, 0]] + 0.3 * rng.standard_normal((40, 6)) * lengths
    one_axis[pairs[:, 1], 1] = X[pairs[:, 0], 1]
    p = p_by_null(COPOLE_RATE, *flat_world(everywhere), graded(pairs))
    assert p["gene_label"] < 0.01
    assert p["random_axis"] > 0.1
    p = p_by_null(COPOLE_RATE, *flat_world(one_axis), graded(pairs))
    assert p["gene_label"] < 0.01
    assert p["random_axis"] < 0.05


@KINDS
def test_pairs_that_prefer_no_direction_are_rejected_at_the_level(kind):
    """Spherical noise: turning the axes changes nothing in distribution, so p ≤ .1 in a tenth of worlds."""
    small = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((60, 3))
        X[1:40:2] = X[0:40:2] + 0.5 * rng.standard_normal((20, 3))
        pairs = graded(np.arange(40).reshape(20, 2))
        p = p_by_null(kind, *flat_world(X), pairs, m=59, seed=seed, nulls=("random_axis",))
        small += p["random_axis"] <= 0.1
    assert binom.ppf(1e-4, 120, 0.1) <= small <= binom.ppf(1 - 1e-4, 120, 0.1)
