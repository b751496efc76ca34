"""Strata: like genes together, never too few to exchange, the same on every machine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyposcreen.tests_library.engine.bank import Bank
from hyposcreen.tests_library.nulls import NULLS, exchange, strata, study_load


@given(st.integers(1, 700), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=150, deadline=None)
def test_strata_are_even_and_large_enough(n, seed, ties):
    rng = np.random.default_rng(seed)
    expression, detection = (rng.integers(0, 4, n).astype(float) if ties else rng.random(n) for _ in range(2))
    groups = strata("stratified", expression, detection)
    sizes = np.bincount(groups)
    assert groups.dtype == np.int64
    assert sizes.min() >= 10 or len(sizes) == 1
    assert np.ptp(sizes) <= 1
    assert len(sizes) <= 25
    if n >= 250:
        assert len(sizes) == 25
    if n >= 20:
        assert len(sizes) > 1
    assert (strata("stratified", expression, detection) == groups).all()


def test_strata_order_expression_first_and_detection_inside():
    rng = np.random.default_rng(0)
    expression, detection = rng.random(300), rng.random(300)
    groups = strata("stratified", expression, detection)
    outer = groups // 5
    for b in range(4):
        assert expression[outer == b].max() < expression[outer == b + 1].min()
    for g in range(24):
        if g % 5 < 4:
            assert detection[groups == g].max() < detection[groups == g + 1].min()


def test_ties_go_by_position_and_monotone_changes_do_nothing():
    rough = np.random.default_rng(2).integers(0, 3, (2, 300)).astype(float)
    order = sorted(range(300), key=lambda i: (rough[0][i], i))
    expected = np.empty(300, int)
    for b in range(5):
        inside = sorted(sorted(order[60 * b : 60 * b + 60]), key=lambda i: rough[1][i])
        for place, gene in enumerate(inside):
            expected[gene] = 5 * b + place // 12
    assert (strata("stratified", *rough) == expected).all()
    flat = np.zeros(40)
    assert (strata("stratified", flat, flat) == np.repeat(np.arange(4), 10)).all()
    rng = np.random.default_rng(1)
    expression, detection = rng.random(300), rng.random(300)
    logged = strata("stratified", np.log(expression), detection**3)
    assert (logged == strata("stratified", expression, detection)).all()


def test_gene_label_has_one_stratum_and_an_unknown_null_is_named():
    assert (strata("gene_label", np.arange(5.0), np.arange(5.0)) == 0).all()
    with pytest.raises(ValueError, match="'rotation'"):
        strata("rotation", np.arange(5.0), np.arange(5.0))


def test_declarations_carry_their_own_name():
    assert all(null.name == name for name, null in NULLS.items())
    for null in NULLS.values():
        assert all((null.preserves, null.destroys, null.assumes))
        rule = exchange(null.name, np.arange(30.0), np.arange(30.0), [f"f{i // 2}" for i in range(30)])
        assert len(rule.strata) == 30


def test_study_load_halves_each_stratum_and_keeps_expression_and_detection_apart():
    rng = np.random.default_rng(4)
    expression, detection, named = rng.random(400), rng.random(400), rng.integers(0, 4, 400)
    load = study_load(named, np.zeros(400, np.int64))
    groups = strata("stratified", expression, detection, load)
    assert np.unique(groups, return_counts=True)[1].min() >= 5
    assert 20 < len(np.unique(groups)) <= 50
    for pair in np.unique(groups // 2):
        low, high = (np.flatnonzero(groups == 2 * pair + half) for half in (0, 1))
        assert len(high) == 0 or load[low].max() < load[high].min()
    outer = groups // 2 // 5
    for b in range(3):
        assert expression[outer == b].max() < expression[outer == b + 1].min()


def test_study_load_adds_mid_ranks_of_annotations_and_degree():
    from scipy.stats import rankdata

    named, degree = np.array([0, 2, 2, 5]), np.array([7, 0, 0, 0])
    expected = 2 * rankdata(named) + 2 * rankdata(degree)
    assert study_load(named, degree).tolist() == expected.tolist()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_a_draw_leaves_the_strata_of_the_loads_it_moves(seed):
    """Load belongs to labels: after a swap inside strata, the strata made anew from the moved loads are the same."""
    rng = np.random.default_rng(seed)
    expression, detection = rng.random(300), rng.random(300)
    load = study_load(rng.integers(0, 5, 300), rng.integers(0, 3, 300))
    groups = strata("stratified", expression, detection, load)
    moved = Bank((int(seed), 1), groups).arrangements(1, 2)[0]
    again = strata("stratified", expression, detection, load[np.argsort(moved)])
    assert (again == groups).all()
    assert (load[np.argsort(moved)] != load).any()
