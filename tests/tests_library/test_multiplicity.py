"""Many tests, one error rate."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.stats.multitest import multipletests

from hyposcreen.tests_library.multiplicity import (
    Adjusted,
    largest_over_nulls,
    single_step,
    step_down,
    weighted,
)


def random_maxima(seed: int, hypotheses: int = 6, m: int = 40, ties: bool = False) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(hypotheses, m + 1)) * rng.uniform(0.5, 4, (hypotheses, 1))
    values[: hypotheses // 2, 0] += 3
    if ties:
        values = np.rint(values)
    return {f"H{h}": row for h, row in enumerate(values)}


cases = st.builds(random_maxima, st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(2, 40), st.booleans())


def scaled(values: np.ndarray) -> np.ndarray:
    """Exactly rounded mean and sd, so that values which tie on paper fall the same way here and there."""
    mean = math.fsum(values) / len(values)
    variance = math.fsum((values - mean) ** 2) / len(values)
    return (values - mean) / math.sqrt(variance) if variance > 0 else 0 * values


def naive_step_down(maxima: dict[str, np.ndarray]) -> dict[str, float]:
    """Westfall & Young 1993, algorithm 4.1, as it is written: one hypothesis at a time, one draw at a time."""
    z = {h: scaled(v) for h, v in maxima.items()}
    remaining, p, last = set(z), {}, 0.0
    while remaining:
        top = max(remaining, key=lambda h: (z[h][0], h))
        hits = [max(z[h][b] for h in remaining) >= z[top][0] for b in range(1, len(z[top]))]
        last = max(last, (1 + sum(hits)) / (1 + len(hits)))
        p[top] = last
        remaining.remove(top)
    return p


@given(cases)
@settings(max_examples=60, deadline=None)
def test_step_down_is_algorithm_4_1(maxima):
    got = step_down(maxima)
    expected = naive_step_down(maxima)
    assert {h: a.p for h, a in got.items()} == pytest.approx(expected)


@given(cases)
@settings(max_examples=60, deadline=None)
def test_single_step_counts_the_universe(maxima):
    universe = np.max(list(maxima.values()), axis=0)
    m = len(universe) - 1
    for h, adjusted in single_step(maxima, universe).items():
        k = sum(u >= maxima[h][0] for u in universe[1:])
        assert adjusted == Adjusted(k, (k + 1) / (m + 1))
        own = sum(v >= maxima[h][0] for v in maxima[h][1:])
        assert adjusted.k >= own


@given(cases)
@settings(max_examples=60, deadline=None)
def test_step_down_is_monotone_and_never_below_the_raw_p(maxima):
    got = step_down(maxima)
    in_order = [got[h].k for h in sorted(maxima, key=lambda h: -scaled(maxima[h])[0])]
    assert in_order == sorted(in_order)
    for h, v in maxima.items():
        assert got[h].k >= (v[1:] >= v[0]).sum()


@given(cases, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_names_and_their_order_change_nothing(maxima, random):
    names = list(maxima)
    random.shuffle(names)
    renamed = dict(zip(maxima, names, strict=True))
    again = {renamed[h]: v for h, v in sorted(maxima.items(), reverse=True)}
    one, two = step_down(maxima), step_down(again)
    assert all(one[h] == two[renamed[h]] for h in maxima)
    universe = np.max(list(maxima.values()), axis=0)
    assert all(single_step(maxima, universe)[h] == single_step(again, universe)[renamed[h]] for h in maxima)


def test_step_down_of_independent_hypotheses_is_no_worse_than_holm():
    """With exact marginal p from the same draws; max-T uses the joint distribution, Holm its worst case."""
    rng = np.random.default_rng(11)
    m = 19_999
    values = np.abs(rng.standard_normal((20, m + 1)))
    values[:, 0] = np.linspace(1.0, 4.2, 20)
    maxima = {f"H{h:02}": v for h, v in enumerate(values)}
    raw = np.array([((v[1:] >= v[0]).sum() + 1) / (m + 1) for v in values])
    holm = multipletests(raw, method="holm")[1]
    got = np.array([step_down(maxima)[h].p for h in maxima])
    error = 4 * np.sqrt(20 * holm / m)  # Holm multiplies the Monte-Carlo error of a raw p by up to 20
    assert (got <= holm + error).all()
    sidak = multipletests(raw, method="holm-sidak")[1]  # what step-down max-T is under independence
    np.testing.assert_allclose(got, sidak, atol=0.02)


def test_a_hypothesis_that_scans_much_does_not_drown_one_that_scans_little():
    rng = np.random.default_rng(12)
    wide = rng.normal(3.0, 0.3, 1000)  # a maximum over fifty views sits high, also when nothing is there
    narrow = rng.normal(0.0, 1.0, 1000)
    narrow[0] = 4.5
    wide[0] = 3.0
    assert step_down({"wide": wide, "narrow": narrow})["narrow"].p < 0.01
    assert single_step({"narrow": narrow[:]}, np.maximum(wide, narrow))["narrow"].p < 0.01


def test_broken_and_empty_lists():
    assert step_down({}) == {}
    flat = np.zeros(100)
    good = np.r_[5.0, np.random.default_rng(0).normal(size=99)]
    got = step_down({"flat": flat, "good": good})
    assert got["good"].p == 0.01
    assert got["flat"].p > 0.5


@pytest.mark.parametrize("method", ["single_step", "step_down"])
def test_family_wise_error_holds_with_real_signals_beside_the_nulls(method):
    """300 data sets, 4 planted signals and 12 dependent nulls: any false discovery in at most 5 % of them."""
    rng = np.random.default_rng(13)
    trials, m, false, found = 300, 199, 0, 0
    for _ in range(trials):
        common = rng.standard_normal(m + 1)
        values = {f"N{h}": 0.6 * common + 0.8 * rng.standard_normal(m + 1) for h in range(12)}
        values |= {f"S{h}": rng.standard_normal(m + 1) for h in range(4)}
        for h in range(4):
            values[f"S{h}"][0] += 6
        universe = np.max(list(values.values()), axis=0)
        adjusted = step_down(values) if method == "step_down" else single_step(values, universe)
        rejected = {h for h, a in adjusted.items() if a.p <= 0.05}
        false += any(h.startswith("N") for h in rejected)
        found += sum(h.startswith("S") for h in rejected)
    assert binom.ppf(0.0005, trials, 0.02) <= false <= binom.ppf(0.999, trials, 0.05)
    assert found > 0.95 * 4 * trials


def test_weighted_groups():
    assert weighted(Adjusted(0, 0.01), 0.5) == 0.02
    assert weighted(Adjusted(98, 0.99), 0.5) == 1.0
    assert weighted(Adjusted(0, 0.01), 1.0) == 0.01
    for weight in (0.0, -0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=str(weight)):
            weighted(Adjusted(0, 0.01), weight)


def test_a_claim_uses_its_largest_p():
    assert largest_over_nulls({"gene_label": 0.01, "stratified": 0.2}) == ("stratified", 0.2)
    assert largest_over_nulls({"gene_label": 0.2, "stratified": 0.01}) == ("gene_label", 0.2)
