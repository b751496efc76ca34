"""Strata: like genes together, never too few to exchange, the same on every machine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyposcreen.tests_library.nulls import NULLS, exchange, strata


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
