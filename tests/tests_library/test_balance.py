"""Balance against averages over drawn arrangements, against all permutations of a small universe, and by hand."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyposcreen.tests_library.balance import THRESHOLD, balance
from hyposcreen.tests_library.engine.bank import Bank
from hyposcreen.tests_library.nulls import NULLS, Exchange, exchange


@pytest.mark.parametrize("null", list(NULLS))
def test_the_expectation_is_the_average_over_many_arrangements(null):
    rng = np.random.default_rng(1)
    n, draws = 90, 4000
    families = [f"f{i // 3}" if i < 45 else f"g{i // 2}" if i < 60 else f"single{i}" for i in rng.permutation(n)]
    expression, detection = rng.gamma(2, size=n), rng.random(n)
    rule = exchange(null, expression, detection, families)
    carriers = rng.choice(n, 25)  # some genes carry several labels
    covariates = {"expression": expression, "detection": detection, "other": rng.standard_normal(n)}
    got = balance(rule, carriers, covariates)
    a = Bank((1, 2), rule.strata, rule.units).arrangements(1, draws + 1)[:, carriers]
    for name, x in covariates.items():
        means = x[a].mean(axis=1)
        sampled = (x[carriers].mean() - means.mean()) / x.std()
        assert got[name] == pytest.approx(sampled, abs=5 * means.std() / x.std() / np.sqrt(draws))
        assert means.std() > 0


def test_all_permutations_of_six_genes_give_the_same_number():
    x = np.array([0.0, 1.0, 5.0, 2.0, 9.0, 4.0])
    strata = np.array([0, 1, 0, 1, 1, 0])
    carriers = np.array([0, 1, 1])
    ours = balance(Exchange(strata), carriers, {"x": x})["x"]
    means = []
    for first in permutations([0, 2, 5]):
        for second in permutations([1, 3, 4]):
            a = np.empty(6, int)
            a[[0, 2, 5]], a[[1, 3, 4]] = first, second
            means.append(x[a[carriers]].mean())
    assert ours == pytest.approx((x[carriers].mean() - np.mean(means)) / x.std(), abs=1e-12)
    assert abs(ours) > THRESHOLD


def test_units_stand_in_for_each_other_place_by_place():
    """Two families of two: the first gene of one is played by the first gene of the other."""
    x = np.array([0.0, 10.0, 2.0, 30.0])
    rule = Exchange(np.zeros(4, np.int64), np.array([0, 0, 1, 1]))
    assert balance(rule, np.array([0]), {"x": x})["x"] == pytest.approx(-1 / x.std())
    assert balance(rule, np.array([3]), {"x": x})["x"] == pytest.approx(10 / x.std())
    apart = Exchange(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]))
    assert balance(apart, np.array([3, 0]), {"x": x})["x"] == 0, "units that cannot move are compared with themselves"


def test_matching_on_a_covariate_balances_it():
    rng = np.random.default_rng(2)
    n = 250
    expression, detection = rng.gamma(2, size=n), rng.random(n)
    high = np.argsort(expression)[-40:]
    free, matched = (
        balance(exchange(null, expression, detection, []), high, {"expression": expression})["expression"]
        for null in ("gene_label", "stratified")
    )
    assert free > 1
    assert abs(matched) < free / 4


@given(seed=st.integers(0, 2**31), scale=st.sampled_from([1e-200, 1.0, 1e200]), shift=st.floats(-3, 3))
@settings(max_examples=40, deadline=None)
def test_the_number_has_no_unit_and_no_order(seed, scale, shift):
    rng = np.random.default_rng(seed)
    x, strata, carriers = rng.random(30), rng.integers(0, 3, 30), rng.integers(0, 30, 8)
    got = balance(Exchange(strata), carriers, {"x": x})["x"]
    assert balance(Exchange(strata), carriers[::-1], {"x": x})["x"] == got
    assert balance(Exchange(strata), carriers, {"x": (x + shift) * scale})["x"] == pytest.approx(got, abs=1e-9)
    assert balance(Exchange(strata), np.arange(30), {"x": x})["x"] == pytest.approx(0, abs=1e-12)


def test_a_constant_covariate_is_balanced_and_nonsense_is_refused():
    rule = Exchange(np.zeros(4, np.int64))
    some = np.array([1, 2])
    assert balance(rule, some, {"c": np.full(4, 0.1)}) == {"c": 0.0}
    assert balance(rule, some, {}) == {}
    with pytest.raises(ValueError, match="no gene carries"):
        balance(rule, np.array([], np.int64), {})
    with pytest.raises(ValueError, match="outside the universe"):
        balance(rule, np.array([4]), {})
    for wrong in (np.ones(3), np.array([1, 2, 3, np.nan])):
        with pytest.raises(ValueError, match="'c' must be 4 finite"):
            balance(rule, some, {"c": wrong})
