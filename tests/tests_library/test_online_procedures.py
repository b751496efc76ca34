"""Online procedures and e-values against naive formulas, the online-fdr package, and what must hold whatever the numbers.

None of these columns decides anything; a wrong number in them would still be a wrong number in a published table.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyposcreen.tests_library.online import (
    Steps,
    addis,
    calibrate,
    e_bh,
    e_lond,
    gamma_lord,
    gamma_saffron,
    lond,
    lord_plus_plus,
    saffron,
)

P = [2.0e-7, 0.041, 0.0007, 0.63, 0.00004, 0.33, 0.98, 0.002, 0.47, 0.0011, 1.0, 0.21, 0.0003, 0.55, 0.012]
"""Made by hand: strong, weak and null values, on both sides of 0.25 and 0.5."""

OVER_P: dict[str, Callable[..., Steps]] = {
    "lond": lond,
    "lond, dependent": lambda p, alpha=0.05: lond(p, alpha, dependent=True),
    "lord++": lord_plus_plus,
    "saffron": saffron,
    "addis": addis,
}
OVER_E: dict[str, Callable[..., Steps]] = {"e-lond": e_lond, "e-bh": e_bh}

p_values = st.lists(
    st.one_of(
        st.floats(1e-12, 1.0), st.integers(0, 999).map(lambda k: (k + 1) / 1000), st.sampled_from([0.25, 0.5, 1.0])
    ),
    max_size=40,
)
e_values = st.lists(st.floats(0, 1e6), max_size=30)
alphas = st.sampled_from([0.01, 0.05, 0.2])


# Naive: every level from the definition, from the whole past, each time.


def naive_lond(p, alpha, dependent=False):
    def level(t, rejected):
        j = t + 1
        g = 0.07720838 * math.log(max(j, 2)) / (j * math.exp(math.sqrt(math.log(j))))
        return alpha * g * (sum(rejected) + 1) / (sum(1 / i for i in range(1, j + 1)) if dependent else 1)

    return naive(p, level)


def naive_lord(p, alpha, w0):
    def level(t, rejected):
        taus = [i for i, r in enumerate(rejected) if r]
        value = w0 * gamma_lord(t + 1)
        for order, tau in enumerate(taus):
            value += (alpha if order else alpha - w0) * gamma_lord(t - tau)
        return value

    return naive(p, level)


def naive_saffron(p, alpha, w0, lam):
    """Ramdas et al. 2018: C_{j+} counts candidates after the j-th rejection."""

    def level(t, rejected):
        candidates = [value <= lam for value in p[:t]]
        value = w0 * gamma_saffron(t + 1 - sum(candidates))
        for order, tau in enumerate(i for i, r in enumerate(rejected) if r):
            value += (alpha if order else alpha - w0) * gamma_saffron(t - tau - sum(candidates[tau + 1 :]))
        return min(lam, (1 - lam) * value)

    return naive(p, level)


def naive_addis(p, alpha, w0, lam, tau):
    """Tian & Ramdas 2019: S^t selected so far, kappa* the selected up to a rejection, C_{j+} candidates after it."""

    def level(t, rejected):
        selected = [value <= tau for value in p[:t]]
        candidates = [value <= lam for value in p[:t]]
        value = w0 * gamma_saffron(sum(selected) - sum(candidates) + 1)
        for order, kappa in enumerate(i for i, r in enumerate(rejected) if r):
            offset = sum(selected) - sum(selected[: kappa + 1]) - sum(candidates[kappa + 1 :])
            value += (alpha if order else alpha - w0) * gamma_saffron(offset + 1)
        return min(lam, (tau - lam) * value)

    return naive(p, level)


def naive(p, level):
    levels, rejected = [], []
    for t, value in enumerate(p):
        levels.append(level(t, rejected))
        rejected.append(value <= levels[-1])
    return levels, rejected


NAIVE = {
    "lond": naive_lond,
    "lond, dependent": lambda p, alpha: naive_lond(p, alpha, dependent=True),
    "lord++": lambda p, alpha: naive_lord(p, alpha, alpha / 10),
    "saffron": lambda p, alpha: naive_saffron(p, alpha, alpha / 2, 0.5),
    "addis": lambda p, alpha: naive_addis(p, alpha, alpha / 2, 0.25, 0.5),
}


@pytest.mark.parametrize("name", OVER_P)
@settings(max_examples=60, deadline=None)
@given(p=p_values, alpha=alphas)
def test_levels_are_those_of_the_formula(name, p, alpha):
    steps = OVER_P[name](p, alpha)
    levels, rejected = NAIVE[name](p, alpha)
    assert steps.levels == pytest.approx(levels, rel=1e-12, abs=0)
    assert steps.rejected == tuple(rejected)


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("lond", [1, 3, 5, 13]),
        ("lond, dependent", [1, 5]),
        ("lord++", [1, 5, 13]),
        ("saffron", [1, 3, 5, 8, 10, 13]),
        ("addis", [1, 3, 5, 8, 10, 13, 15]),
    ],
)
def test_rejections_on_a_fixed_vector(name, places):
    assert [t for t, hit in enumerate(OVER_P[name](P).rejected, start=1) if hit] == places


def test_the_first_levels_by_hand():
    assert lond([0.5]).levels[0] == pytest.approx(0.05 * 0.07720838 * math.log(2), rel=1e-15)
    assert lord_plus_plus([0.5]).levels[0] == pytest.approx(0.005 * 0.07720838 * math.log(2), rel=1e-15)
    assert saffron([0.5]).levels[0] == pytest.approx(0.5 * 0.025 * 0.4374901658, rel=1e-15)
    assert addis([0.5]).levels[0] == pytest.approx(0.25 * 0.025 * 0.4374901658, rel=1e-15)


# Identities.


def test_lond_without_rejections_spends_alpha_gamma():
    n = 50
    quiet = lond([1.0] * n)
    assert quiet.levels == pytest.approx([0.05 * gamma_lord(t) for t in range(1, n + 1)], rel=1e-15)
    assert not any(quiet.rejected)


def test_the_dependent_lond_divides_by_harmonic_numbers():
    harmonic = np.cumsum(1 / np.arange(1, 31))
    plain, dependent = lond([1.0] * 30).levels, lond([1.0] * 30, dependent=True).levels
    assert np.array(dependent) * harmonic == pytest.approx(plain, rel=1e-13)


def test_saffron_is_addis_that_discards_nothing():
    assert saffron(P) == addis(P, lam=0.5, tau=1.0)


def test_discarded_values_leave_no_trace_in_addis():
    kept = [value for value in P if value <= 0.5]
    with_noise, without = addis(P), addis(kept)
    places = [i for i, value in enumerate(P) if value <= 0.5]
    assert tuple(with_noise.levels[i] for i in places) == without.levels


def test_candidates_cost_saffron_nothing():
    assert len(set(saffron([0.4] * 20).levels)) == 1


def test_e_lond_on_reciprocals_is_lond():
    assert e_lond([1 / value for value in P]).rejected == lond(P).rejected
    assert e_lond([1 / value for value in P]).levels == lond(P).levels


def test_the_gammas_sum_to_one_at_most():
    n = 200_000
    v = math.sqrt(math.log(n))
    tail = 2 * math.exp(-v) * (v**3 + 3 * v**2 + 6 * v + 6)  # ∫_n^∞ ln x / (x·exp(√ln x)) dx, by u = √ln x
    total = math.fsum(gamma_lord(t) for t in range(1, n + 1)) + 0.07720838 * tail
    assert 0.97 < total <= 1
    tail = 0.4374901658 * n**-0.6 / 0.6
    assert math.fsum(gamma_saffron(t) for t in range(1, n + 1)) + tail == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("e", "hits"), [(19.9, 0), (20.0, 10), (1e5, 10)])
def test_e_bh_of_equal_values_is_all_or_nothing_at_one_over_alpha(e, hits):
    assert sum(e_bh([e] * 10, 0.05).rejected) == hits


def test_e_bh_on_a_fixed_vector():
    steps = e_bh([1.0, 90.0, 0.0, 70.0, 55.0, 3.0], 0.05)  # needs 120, 60, 40 for the largest, second, third
    assert steps.rejected == (False, True, False, True, True, False)
    assert steps.levels == pytest.approx([0.025] * 6, rel=1e-15)
    assert e_bh([119.0, 59.0, 39.0, 29.0, 23.0, 19.0], 0.05) == Steps((0.05 / 6,) * 6, (False,) * 6)


@given(e=e_values, order=st.randoms(use_true_random=False), alpha=alphas)
def test_e_bh_does_not_depend_on_the_order(e, order, alpha):
    places = list(range(len(e)))
    order.shuffle(places)
    assert e_bh([e[i] for i in places], alpha).rejected == tuple(e_bh(e, alpha).rejected[i] for i in places)


@given(e=e_values, alpha=alphas)
def test_e_bh_is_the_definition(e, alpha):
    n = len(e)
    ordered = sorted(e, reverse=True)
    expected = max((k for k in range(1, n + 1) if k * ordered[k - 1] * alpha >= n * (1 + 1e-9)), default=0)
    at_most = max((k for k in range(1, n + 1) if k * ordered[k - 1] * alpha >= n * (1 - 1e-9)), default=0)
    hits = sum(e_bh(e, alpha).rejected)
    assert expected <= hits <= max(at_most, expected)


@pytest.mark.parametrize("name", [*OVER_P, *OVER_E])
@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.integers(0, 9999), max_size=30), pair=st.tuples(st.floats(0.001, 0.4), st.floats(1, 2)))
def test_more_alpha_never_rejects_less(name, values, pair):
    alpha, factor = pair
    p = [(k + 1) / 10_000 for k in values]
    run = OVER_P.get(name) or OVER_E[name]
    sequence = p if name in OVER_P else [1 / value for value in p]
    little, much = run(sequence, alpha), run(sequence, alpha * factor)
    assert all(b or not a for a, b in zip(little.rejected, much.rejected, strict=True))
    assert all(b >= a * (1 - 1e-12) for a, b in zip(little.levels, much.levels, strict=True))


@pytest.mark.parametrize("name", [*OVER_P, "e-lond"])
@settings(max_examples=40, deadline=None)
@given(p=p_values.filter(bool), cut=st.integers(1, 39))
def test_a_level_never_knows_its_own_value_or_the_future(name, p, cut):
    run = OVER_P.get(name) or OVER_E[name]
    sequence = p if name in OVER_P else [1 / value for value in p]
    whole = run(sequence)
    part = run(sequence[:cut])
    assert part.levels == whole.levels[:cut]
    changed = run([*sequence[:-1], 1.0])
    assert changed.levels == whole.levels


@pytest.mark.parametrize("name", [*OVER_P, *OVER_E])
@given(data=st.data())
def test_a_rejection_is_a_value_beyond_its_level(name, data):
    if name in OVER_P:
        p = data.draw(p_values)
        steps = OVER_P[name](p)
        assert steps.rejected == tuple(value <= level for value, level in zip(p, steps.levels, strict=True))
    else:
        e = data.draw(e_values)
        steps = OVER_E[name](e)
        assert steps.rejected == tuple(value >= 1 / level for value, level in zip(e, steps.levels, strict=True))


# The calibrator.


@given(p=st.floats(1e-300, 1.0))
def test_the_calibrator_at_one_half(p):
    assert calibrate(p) == pytest.approx(1 / (2 * math.sqrt(p)), rel=1e-12)


@pytest.mark.parametrize("kappa", [0.1, 0.5, 0.9])
def test_the_calibrator_has_mean_one_on_uniform_p(kappa):
    edges = np.geomspace(1e-250, 1.0, 20_001)
    middle = np.sqrt(edges[:-1]) * np.sqrt(edges[1:])
    mean = sum(calibrate(float(u), kappa) * w for u, w in zip(middle, np.diff(edges), strict=True))
    assert mean == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("m", [99, 1999])
def test_the_calibrator_has_mean_below_one_on_permutation_p(m):
    assert np.mean([calibrate((k + 1) / (m + 1)) for k in range(m + 1)]) <= 1


# Guards.

BROKEN = [math.nan, 0.0, -0.1, 1.0000001, math.inf]


@pytest.mark.parametrize("value", BROKEN)
@pytest.mark.parametrize("name", OVER_P)
def test_what_is_no_p_value_is_refused(name, value):
    with pytest.raises(ValueError, match=r"not in \(0, 1\]"):
        OVER_P[name]([0.5, value])


@pytest.mark.parametrize("value", BROKEN)
def test_the_calibrator_refuses_what_is_no_p_value(value):
    with pytest.raises(ValueError, match=r"not in \(0, 1\]"):
        calibrate(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1e-9])
@pytest.mark.parametrize("name", OVER_E)
def test_what_is_no_e_value_is_refused(name, value):
    with pytest.raises(ValueError, match="e = "):
        OVER_E[name]([1.0, value])


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.05, math.nan])
@pytest.mark.parametrize("name", [*OVER_P, *OVER_E])
def test_what_is_no_error_rate_is_refused(name, alpha):
    with pytest.raises(ValueError, match="alpha"):
        (OVER_P.get(name) or OVER_E[name])([0.5], alpha)


def test_parameters_outside_the_theorems_are_refused():
    for call in (
        lambda: lord_plus_plus([0.5], w0=0.05),
        lambda: saffron([0.5], w0=0.0),
        lambda: saffron([0.5], lam=1.0),
        lambda: addis([0.5], lam=0.5, tau=0.5),
        lambda: addis([0.5], tau=1.1),
        lambda: calibrate(0.5, 1.0),
        lambda: calibrate(0.5, 0.0),
    ):
        with pytest.raises(ValueError, match=r"must satisfy|not in"):
            call()


@pytest.mark.parametrize("name", [*OVER_P, *OVER_E])
def test_nothing_in_nothing_out(name):
    assert (OVER_P.get(name) or OVER_E[name])([]) == Steps((), ())


# Against the online-fdr package (BSD-3), which keeps state and takes one value at a time.


@pytest.fixture(scope="module")
def package():
    pytest.importorskip("online_fdr.p_values", reason="the oracle needs: pip install 'online-fdr>=1.0'")
    from online_fdr.e_values.batch import EBH
    from online_fdr.e_values.sequential import ELond
    from online_fdr.e_values.toolbox import p_to_e_power
    from online_fdr.p_values.investing.addis.addis import Addis
    from online_fdr.p_values.investing.lond.lond import Lond
    from online_fdr.p_values.investing.lord.plus_plus import LordPlusPlus
    from online_fdr.p_values.investing.saffron.saffron import Saffron

    return {
        "lond": Lond,
        "lond, dependent": lambda a: Lond(a, dependent=True),
        "lord++": lambda a: LordPlusPlus(a, wealth=a / 10),
        "saffron": lambda a: Saffron(a, wealth=a / 2, lambda_=0.5),
        "addis": lambda a: Addis(a, wealth=a / 2, lambda_=0.25, tau=0.5),
        "e-lond": ELond,
        "e-bh": EBH,
        "calibrate": p_to_e_power,
    }


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("name", [*OVER_P, "e-lond"])
def test_the_package_gives_the_same_levels_and_rejections(package, name, alpha, share):
    rng = np.random.default_rng(20)
    p = np.where(rng.random(300) < share, rng.random(300) ** 8, rng.random(300))
    p = ((np.floor(p * 1e6) + 1) / (1e6 + 1)).tolist()
    sequence = p if name in OVER_P else [1 / value for value in p]
    theirs = package[name](alpha)
    rejected, levels = [], []
    for value in sequence:
        rejected.append(theirs.test_one(value))
        levels.append(theirs.last_test_level)
    ours = (OVER_P.get(name) or OVER_E[name])(sequence, alpha)
    assert ours.levels == pytest.approx(levels, rel=1e-11)
    assert ours.rejected == tuple(rejected)
    assert sum(rejected) > 0 or share < 0.5


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_the_package_gives_the_same_e_values(package, alpha):
    rng = np.random.default_rng(21)
    p = ((np.floor(rng.random(200) ** 9 * 1e6) + 1) / (1e6 + 1)).tolist()
    e = [calibrate(value) for value in p]
    assert e == pytest.approx([package["calibrate"](value, 0.5) for value in p], rel=1e-14)
    assert list(e_bh(e, alpha).rejected) == package["e-bh"](alpha).test_batch(e)
