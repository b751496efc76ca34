"""Strata: like genes together, never too few to exchange, the same on every machine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyposcreen.tests_library.engine.bank import Bank
from hyposcreen.tests_library.nulls import NULLS, coarse_strata, exchange, like_genes, study_load


def halves(genes, ranks, fewest):
    """The definition, told plainly: cut at the median of the wider covariate until halves would be too few."""
    if len(genes) < 2 * fewest:
        return [set(genes)]
    spread = [max(r[g] for g in genes) - min(r[g] for g in genes) for r in ranks]
    wider = ranks[1] if spread[1] > spread[0] else ranks[0]
    order = sorted(genes, key=lambda g: wider[g])
    half = len(order) // 2
    return [*halves(order[:half], ranks, fewest), *halves(order[half:], ranks, fewest)]


@given(st.integers(1, 400), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=100, deadline=None)
def test_like_genes_are_the_leaves_of_a_tree_cut_at_medians(n, seed, ties):
    rng = np.random.default_rng(seed)
    values = [rng.integers(0, 4, n).astype(float) if ties else rng.random(n) for _ in range(2)]
    groups = like_genes(*values)
    ranks = [{g: place for place, g in enumerate(sorted(range(n), key=lambda i, v=v: (v[i], i)))} for v in values]
    assert groups.dtype == np.int64
    found = {frozenset(np.flatnonzero(groups == g).tolist()) for g in range(groups.max() + 1)}
    assert found == {frozenset(leaf) for leaf in halves(list(range(n)), ranks, 8)}
    assert all(8 <= len(leaf) <= 15 for leaf in found) or n < 8


def test_like_genes_ignore_monotone_changes_and_are_near_in_both_covariates():
    rng = np.random.default_rng(6)
    expression, detection = rng.random(800), rng.random(800)
    groups = like_genes(expression, detection)
    assert (like_genes(np.log(expression), detection**3) == groups).all()
    coarse = coarse_strata(expression, detection)
    for values in (expression, detection):
        within = [np.ptp(values[groups == g]) for g in range(groups.max() + 1)]
        assert np.mean(within) < 0.75 * np.mean([np.ptp(values[coarse == g]) for g in range(25)])


@pytest.mark.parametrize(("cut", "least", "most"), [(like_genes, 0.0, 0.06), (coarse_strata, 0.1, 1.0)])
def test_a_set_of_expressed_genes_hardly_stands_out_among_like_genes(cut, least, most):
    """Labels follow expression smoothly and the score is made of it: neither null is true, the fine one is nearly so.

    Expected under a true null: .025. Detection goes with expression, as it does in cells (rank correlation .94 here).
    """
    rng = np.random.default_rng(11)
    expression = np.arange(763) / 763
    score, weight = expression**3, np.linspace(0.01, 1, 763) ** 4
    inside = cut(expression, expression + 0.1 * rng.standard_normal(763))[:, None]
    means, variances = (np.array([fact(score[row]) for row in inside == inside.T]) for fact in (np.mean, np.var))
    false = 0
    for _ in range(400):
        labelled = rng.choice(763, 35, replace=False, p=weight / weight.sum())
        z = (score[labelled] - means[labelled]).sum() / np.sqrt(variances[labelled].sum())
        false += abs(z) > 2.2414  # two-sided .025
    assert least <= false / 400 <= most


def test_a_wider_universe_may_have_cut_the_strata():
    given_strata = np.arange(30) // 3
    rule = exchange("stratified", np.arange(30.0), np.arange(30.0), ["f"] * 30, None, given_strata)
    assert (rule.strata == given_strata).all()
    assert (exchange("stratified", np.arange(30.0), np.arange(30.0), ["f"] * 30).strata != given_strata).any()


@given(st.integers(1, 700), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=150, deadline=None)
def test_coarse_strata_are_even_and_large_enough(n, seed, ties):
    rng = np.random.default_rng(seed)
    expression, detection = (rng.integers(0, 4, n).astype(float) if ties else rng.random(n) for _ in range(2))
    groups = coarse_strata(expression, detection)
    sizes = np.bincount(groups)
    assert groups.dtype == np.int64
    assert sizes.min() >= 10 or len(sizes) == 1
    assert np.ptp(sizes) <= 1
    assert len(sizes) <= 25
    if n >= 250:
        assert len(sizes) == 25
    if n >= 20:
        assert len(sizes) > 1
    assert (coarse_strata(expression, detection) == groups).all()


def test_strata_order_expression_first_and_detection_inside():
    rng = np.random.default_rng(0)
    expression, detection = rng.random(300), rng.random(300)
    groups = coarse_strata(expression, detection)
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
    assert (coarse_strata(*rough) == expected).all()
    flat = np.zeros(40)
    assert (coarse_strata(flat, flat) == np.repeat(np.arange(4), 10)).all()
    rng = np.random.default_rng(1)
    expression, detection = rng.random(300), rng.random(300)
    logged = coarse_strata(np.log(expression), detection**3)
    assert (logged == coarse_strata(expression, detection)).all()


def test_gene_label_has_one_stratum_and_an_unknown_null_is_named():
    assert (exchange("gene_label", np.arange(5.0), np.arange(5.0), list("abcde")).strata == 0).all()
    with pytest.raises(ValueError, match="'rotation'"):
        exchange("rotation", np.arange(5.0), np.arange(5.0), list("abcde"))


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
    groups = coarse_strata(expression, detection, load)
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
    groups = coarse_strata(expression, detection, load)
    moved = Bank((int(seed), 1), groups).arrangements(1, 2)[0]
    again = coarse_strata(expression, detection, load[np.argsort(moved)])
    assert (again == groups).all()
    assert (load[np.argsort(moved)] != load).any()
