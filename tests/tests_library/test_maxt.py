"""From integer totals to one p-value."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyposcreen.tests_library.engine.maxt import exceedances, moments, p_value, standardise

columns = st.lists(st.lists(st.integers(-(10**6), 10**6), min_size=3, max_size=3), min_size=2, max_size=40)


@given(columns)
def test_moments_are_those_of_numpy(rows):
    totals = np.array(rows, np.int64)
    m = moments(totals)
    np.testing.assert_allclose(m.mean, totals.mean(axis=0), rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(m.sd, totals.std(axis=0), rtol=1e-9, atol=1e-6)


@given(columns, st.randoms(use_true_random=False))
def test_moments_do_not_know_which_arrangement_is_observed(rows, random):
    shuffled = rows.copy()
    random.shuffle(shuffled)
    one, two = moments(np.array(rows, np.int64)), moments(np.array(shuffled, np.int64))
    assert one.mean.tobytes() == two.mean.tobytes()
    assert one.sd.tobytes() == two.sd.tobytes()


@pytest.mark.parametrize("size", [10**3, 10**9, 10**12])
def test_totals_up_to_1e12_with_10001_rows_are_exact(size):
    """Against exact rational arithmetic; NumPy's own int64 sum of squares would overflow from 3·10⁷ on."""
    rng = np.random.default_rng(1)
    totals = np.stack(
        [rng.integers(-size, size, 10_001), rng.integers(size - 500, size, 10_001), np.full(10_001, size)], axis=1
    )
    m = moments(totals)
    for v in range(3):
        values = [int(t) for t in totals[:, v]]
        mean = Fraction(sum(values), len(values))
        sd = math.sqrt(Fraction(sum(t * t for t in values), len(values)) - mean * mean)
        assert m.mean[v] == pytest.approx(float(mean), rel=1e-14, abs=1e-9)
        assert m.sd[v] == pytest.approx(sd, rel=1e-6)
    assert m.sd[2] == 0


def test_a_view_without_variance_is_zero_everywhere():
    totals = np.array([[5, 1], [5, 2], [5, 3]])
    for alternative in ("greater", "less", "two-sided"):
        z = standardise(totals, moments(totals), alternative)
        assert np.isfinite(z).all()
        assert (z[:, 0] == 0).all()
        assert z[:, 1].any()


def test_each_alternative_looks_to_its_own_side():
    totals = np.array([[9, -9], [0, 0], [1, -1], [-1, 1]])
    z = {a: standardise(totals, moments(totals), a) for a in ("greater", "less", "two-sided")}
    assert (z["greater"] == -z["less"]).all()
    assert (z["two-sided"] == np.abs(z["greater"])).all()
    assert z["greater"][0, 0] > 1 > -1 > z["greater"][0, 1]
    assert np.argmax(z["less"][:, 1]) == 0


def test_ties_count_against_the_hypothesis():
    assert exceedances(np.array([2.0, 2.0, 1.0, 3.0, 2.0])) == 3
    assert exceedances(np.array([0.0, 2.0, 1.0, 3.0, 2.0]), observed=2.5) == 1
    assert exceedances(np.array([9.0, 2.0])) == 0


@given(st.integers(0, 10**5), st.integers(1, 10**5))
@settings(max_examples=200)
def test_p_is_never_zero_and_never_above_one(k, m):
    if k > m:
        with pytest.raises(ValueError, match=str(k)):
            p_value(k, m)
    else:
        assert 0 < p_value(k, m) <= 1
        assert p_value(k, m) == (k + 1) / (m + 1)
    with pytest.raises(ValueError, match="-1"):
        p_value(-1, m)
