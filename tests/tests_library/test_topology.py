"""Persistent homology of gene sets, against SciPy's spanning trees, gudhi's simplex trees and shapes one can draw."""

import builtins
import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.stats import binom

from hyposcreen.tests_library.engine import homology
from hyposcreen.tests_library.engine.homology import chords, loop_finder, loop_lengths, tree_lengths
from hyposcreen.tests_library.engine.maxt import p_value
from hyposcreen.tests_library.run import scan
from hyposcreen.tests_library.statistics.base import Entity
from hyposcreen.tests_library.statistics.topology import LARGEST_SET, PERSISTENCE_H0, PERSISTENCE_H1, looked_at

KINDS = (PERSISTENCE_H0, PERSISTENCE_H1)
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
MEMBERS = np.array([0, 3, 4, 9, 17, 21, 30, 33, 44, 50, 52, 59])
ONE = 1 << 30


@pytest.fixture(autouse=True)
def _needs_gudhi(request):
    if "h1" in request.node.name or "loop" in request.node.name:
        pytest.importorskip("gudhi")


def prepared_for(kind, geometry, members):
    return kind.prepare(geometry, Entity("gene_set", members=np.asarray(members)))


def effects(kind, geometry, members) -> np.ndarray:
    prepared = prepared_for(kind, geometry, members)
    totals = prepared.sums(np.arange(geometry.n, dtype=np.int32)[None])
    assert totals.dtype == np.int64
    return prepared.offset + prepared.scale * totals[0]


def unit(X: np.ndarray) -> np.ndarray:
    Y = X.astype(np.float64) - X.astype(np.float64).mean(axis=0)
    return Y / np.linalg.norm(Y, axis=1)[:, None]


def distances(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[:, None] - points[None, :], axis=2)


def simplex_tree_loops(distance: np.ndarray) -> np.ndarray:
    """H1 bars by gudhi's simplex tree: another algorithm than the one the test kind calls."""
    import gudhi

    tree = gudhi.RipsComplex(distance_matrix=distance).create_simplex_tree(max_dimension=2)
    tree.compute_persistence(homology_coeff_field=2)
    return tree.persistence_intervals_in_dimension(1).reshape(-1, 2)


def test_h0_is_the_minimum_spanning_tree(world):
    w = world(rows=60, seed=1)
    for q, members in itertools.product(range(3), (MEMBERS, np.arange(5), np.arange(60))):
        tree = minimum_spanning_tree(distances(unit(w.layers[q])[members]))
        assert tree.nnz == len(members) - 1
        assert effects(PERSISTENCE_H0, w.geometry, members)[q] == pytest.approx(tree.sum() / tree.nnz, abs=1e-5)


def test_h1_is_the_total_persistence_of_the_simplex_tree(world):
    w = world(rows=60, seed=2)
    for q, members in itertools.product(range(3), (MEMBERS, np.arange(10), np.arange(5, 40))):
        bars = simplex_tree_loops(distances(unit(w.layers[q])[members]))
        assert np.isfinite(bars).all()
        got = effects(PERSISTENCE_H1, w.geometry, members)[q]
        assert got == pytest.approx((bars[:, 1] - bars[:, 0]).sum(), abs=1e-4)
    assert got > 0.1


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 9), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_loops_of_tied_distances_are_those_of_the_simplex_tree(m, values, seed):
    """Whole numbers tie all the time, and need not obey the triangle inequality."""
    half = np.triu(np.random.default_rng(seed).integers(1, 1 + values, (m, m)), 1)
    distance = (half + half.T).astype(np.int32)
    got = loop_lengths(distance[:, :, None], np.arange(m), np.arange(m, dtype=np.int32)[None], loop_finder())[0, 0]
    bars = simplex_tree_loops(distance.astype(float))
    assert got == (bars[:, 1] - bars[:, 0]).sum()


def test_a_circle_is_one_loop():
    """Twelve points on a circle: a loop is born at the step to the next point and dies at the inscribed triangle."""
    angle = np.arange(12) * np.pi / 6
    similarity = np.rint(np.cos(angle[:, None] - angle) * ONE).astype(np.int64)
    distance = chords(similarity)
    everyone = np.arange(12)
    got = loop_lengths(distance[:, :, None], everyone, everyone.astype(np.int32)[None], loop_finder())[0, 0]
    assert got / 2**20 == pytest.approx(np.sqrt(3) - 2 * np.sin(np.pi / 12), abs=1e-5)
    steps = tree_lengths(distance[:, :, None], everyone, everyone.astype(np.int32)[None])[0, 0]
    assert steps / 2**20 == pytest.approx(11 * 2 * np.sin(np.pi / 12), abs=1e-4)


def test_chords_are_the_distances_on_the_sphere():
    similarity = np.array([[ONE, 0, -ONE], [0, ONE, ONE // 2], [-ONE, ONE // 2, ONE]])
    expected = [[0, np.sqrt(2), 2], [np.sqrt(2), 0, 1], [2, 1, 0]]
    assert (chords(similarity) == np.rint(np.array(expected) * 2**20)).all()
    assert chords(np.full((2, 2), ONE + 1)).tolist() == [[0, 0], [0, 0]]


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 20), st.integers(1, 1000), st.integers(0, 2**32 - 1))
def test_both_paths_of_the_tree_are_equal(m, values, seed):
    if not homology.HAVE_NUMBA:
        pytest.skip("numba is not here, so there is one path only")
    rng = np.random.default_rng(seed)
    half = np.triu(rng.integers(0, values, (2, 25, 25)), 1)
    distance = np.ascontiguousarray((half + half.transpose(0, 2, 1)).transpose(1, 2, 0), dtype=np.int32)
    arrangements = np.stack([rng.permutation(25) for _ in range(7)]).astype(np.int32)
    members = rng.choice(25, m, replace=False)
    fast = tree_lengths(distance, members, arrangements)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(homology, "HAVE_NUMBA", False)
        patch.setattr(homology, "_NUMPY_CELLS", 100)
        slow = tree_lengths(distance, members, arrangements)
    assert fast.dtype == slow.dtype == np.int64
    assert (fast == slow).all()


@every_kind
def test_a_draw_is_the_set_of_the_genes_that_stand_in(kind, world):
    w = world(rows=60, seed=3)
    rng = np.random.default_rng(0)
    arrangements = np.stack([rng.permutation(60) for _ in range(6)]).astype(np.int32)
    prepared = prepared_for(kind, w.geometry, MEMBERS)
    totals = prepared.sums(arrangements)
    assert totals.shape == (6, 3)
    for a, row in zip(arrangements, totals, strict=True):
        assert (prepared.offset + prepared.scale * row == effects(kind, w.geometry, np.sort(a[MEMBERS]))).all()


def test_draws_of_h1_do_not_depend_on_how_many_are_asked_for(world, monkeypatch):
    w = world(rows=60, seed=4)
    rng = np.random.default_rng(0)
    arrangements = np.stack([rng.permutation(60) for _ in range(11)]).astype(np.int32)
    prepared = prepared_for(PERSISTENCE_H1, w.geometry, MEMBERS)
    together = prepared.sums(arrangements)
    monkeypatch.setattr(homology, "_AT_ONCE", 3)
    assert (prepared.sums(arrangements) == together).all()
    assert (np.concatenate([prepared.sums(a[None]) for a in arrangements]) == together).all()


def test_a_large_set_is_represented_by_a_fixed_sample():
    members = np.sort(np.random.default_rng(0).choice(500, 140, replace=False))
    sample = looked_at(members)
    assert len(sample) == LARGEST_SET == len(np.unique(sample))
    assert np.isin(sample, members).all()
    assert (np.diff(sample) > 0).all()
    assert (looked_at(members[::-1]) == sample).all()
    kept_or_other = np.setdiff1d(members, sample)[:80]
    fewer = np.setdiff1d(members, kept_or_other)  # leaving out genes that are not looked at changes nothing
    assert (looked_at(fewer) == sample).all()
    assert looked_at(members[:LARGEST_SET]) is not members
    assert (looked_at(members[:LARGEST_SET]) == members[:LARGEST_SET]).all()
    spread = np.searchsorted(members, sample)  # over the whole set, not its first 60
    assert spread.min() < 10
    assert spread.max() > 130


def test_h1_of_a_large_set_is_that_of_its_sample(world):
    w = world(rows=90, seed=5, n_layers=1)
    members = np.arange(80)
    assert (
        effects(PERSISTENCE_H1, w.geometry, members) == effects(PERSISTENCE_H1, w.geometry, looked_at(members))
    ).all()


def p_of(kind, world, geometry, members, m=99, seed=1) -> float:
    found = scan(
        geometry,
        world.covariates,
        kind,
        Entity("gene_set", members=members),
        subsets={"all": frozenset(prepared_for(kind, geometry, members).views)},
        nulls=("gene_label",),
        m=m,
        seed=seed,
    )[0]
    return p_value(found.subsets["all"].k, m)


@every_kind
def test_a_ring_of_genes_is_found(kind, world):
    """The set lies on a circle of its own: shorter steps than usual, and a large loop."""
    w = world(rows=120, dim=24, seed=6)
    members = np.sort(np.random.default_rng(1).choice(120, 20, replace=False))
    angle = np.arange(20) * np.pi / 10
    ring = 3 * np.stack([np.cos(angle), np.sin(angle)], axis=1) @ np.eye(2, 24)
    layers = [X.copy() for X in w.layers]
    for X in layers:
        X[members] = ring
    assert p_of(kind, w, w.again(layers=layers), members, m=199) <= 0.01


@every_kind
def test_random_sets_are_not_found_more_often_than_said(kind, world):
    w = world(rows=80, seed=7, n_layers=1)
    rng = np.random.default_rng(3)
    repeats = 200 if kind is PERSISTENCE_H0 else 100
    sets = [np.sort(rng.choice(80, 12, replace=False)) for _ in range(repeats)]
    found = [p_of(kind, w, w.geometry, s, m=39, seed=i) <= 0.1 for i, s in enumerate(sets)]
    low, high = binom.ppf([1e-4, 1 - 1e-4], repeats, 0.1)
    assert low <= sum(found) <= high


@every_kind
@pytest.mark.parametrize("what", ["one place", "two places", "one layer", "whole universe"])
def test_degenerate_input_gives_a_number(kind, what, world):
    w = world(rows=24, seed=8, n_layers=1 if what == "one layer" else 2)
    members = np.arange(24) if what == "whole universe" else 2 * np.arange(kind.min_size)
    prepared = prepared_for(kind, w.again(layers=w.degenerate(what)), members)
    totals = prepared.sums(np.stack([np.arange(24), np.arange(24)[::-1]]).astype(np.int32))
    assert totals.dtype == np.int64
    assert totals.shape == (2, len(w.layers))
    assert (totals >= 0).all()
    if what == "two places":  # no step within a place, and no loop of two places
        assert (totals == 0).all()
    if what == "whole universe":
        assert (totals[0] == totals[1]).all()


def test_without_the_library_h1_says_what_to_install(world, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "gudhi"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(homology, "import_module", lambda name: builtins.__import__("no_such_library_of_loops"))
    w = world(rows=60, seed=9)
    with pytest.raises(ImportError, match=r"persistence_h1 needs the packages gudhi and scikit-learn.*pip install"):
        prepared_for(PERSISTENCE_H1, w.geometry, MEMBERS)
    assert prepared_for(PERSISTENCE_H0, w.geometry, MEMBERS).views


def test_the_library_is_loaded_only_when_loops_are_asked_for():
    code = (
        "import sys, hyposcreen.tests_library.statistics.topology; "
        "print([name for name in ('gudhi', 'sklearn', 'joblib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
