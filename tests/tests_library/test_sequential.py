"""Rules that stop a Monte-Carlo test early must leave P(p ≤ t) ≤ t for every t. Proofs in words, then in numbers.

The question put to the staged rule of ``run.scan`` was whether moments may be computed afresh at each stage. They may.
Proof: let c_s be the threshold of stage s (0 at the last) and p_s the p of all its draws, with moments over 0 … m_s. Each
p_s is valid alone, because its moments treat the observed arrangement like every other. Fix t and let j be the first
stage with c_j < t. A test that stops before j reports p > c_s ≥ t. One that reaches j either stops there and reports p_j,
or has p_j ≤ c_j < t. Hence {p ≤ t} ⊂ {p_j ≤ t} and P(p ≤ t) ≤ P(p_j ≤ t) ≤ t. The proof needs one p for each stopping
decision and stopping on *large* p only; without either it fails, as the two counter-examples below show.

What the proof does not say is that a staged test decides as all its draws would. For fixed moments it does, up to a
hypergeometric tail; for moments computed afresh there is a made case in which it does not.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from hyposcreen.tests_library.engine.maxt import exceedances, moments, p_value, standardise
from hyposcreen.tests_library.sequential import (
    LADDER,
    Counted,
    Rung,
    besag_clifford,
    climb,
    curtailed,
    missed,
    most_mean_draws,
    piloted,
    rungs,
)

REPEATS = 20_000
GRID = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])


def maximum_k(totals: np.ndarray, m: int, alternative: str = "two-sided") -> int:
    """k over draws 1 … m of the maximum over views, moments over 0 … m: what ``run.scan`` counts at a stage."""
    part = totals[: m + 1]
    return exceedances(standardise(part, moments(part), alternative).max(axis=1))


def assert_valid(p: np.ndarray) -> None:
    """P(p ≤ t) ≤ t on a grid, up to four standard errors."""
    for t in GRID:
        rate = (p <= t + 1e-12).mean()
        assert rate <= t + 4 * np.sqrt(t * (1 - t) / len(p)), (t, rate)


def skewed(rng: np.random.Generator, m: int) -> np.ndarray:
    """Three views of one draw: heavy-tailed, skewed, and a count with ties; dependent, int64 [m + 1, 3]."""
    base = rng.standard_normal(m + 1)
    heavy = rng.standard_cauchy(m + 1) * 1000
    return np.stack(
        [heavy + 500 * base, 1000 * np.exp(base), np.rint(base + rng.exponential(1, m + 1))], axis=1
    ).astype(np.int64)


# ---------------------------------------------------------------- the ladder is valid


def test_the_ladder_is_valid_with_moments_computed_afresh():
    """20,000 null tests, three dependent views, small rungs so that moments move a great deal between them."""
    rng = np.random.default_rng(1)
    p, drawn = np.empty(REPEATS), np.empty(REPEATS)
    for i in range(REPEATS):
        totals = skewed(rng, 79)
        found = climb(lambda m, t=totals: maximum_k(t, m), 79, (Rung(9, 0.4), Rung(29, 0.2)))
        p[i], drawn[i] = found.p, found.m
    assert_valid(p)
    assert drawn.mean() <= most_mean_draws(79, (Rung(9, 0.4), Rung(29, 0.2))) * 1.02
    assert (p <= 0.05).mean() > 0.03  # valid because it is exact where it decides, not because it never rejects


@pytest.mark.parametrize("thresholds", [(0.7, 0.5), (0.4, 0.8), (0.5, 0.5)], ids=str)
def test_the_ladder_is_super_uniform_over_everything_that_can_happen(thresholds):
    """Every sequence of observed and four draws from a group of five: an enumeration, without any tolerance."""
    ladder = (Rung(2, thresholds[0]), Rung(3, thresholds[1]))
    orbit = np.array([[0, 0], [1, 1], [2, 9], [5, 3], [30, 4]])
    p = np.array(
        [
            climb(lambda m, t=orbit[list(draws)]: maximum_k(t, m, "greater"), 4, ladder).p
            for draws in itertools.product(range(5), repeat=5)
        ]
    )
    assert all((p <= t + 1e-12).mean() <= t + 1e-12 for t in np.unique(p))
    assert len(np.unique(p)) > 3


@given(st.lists(st.integers(0, 8), min_size=2, max_size=60), st.lists(st.floats(0, 1), min_size=1, max_size=3))
@settings(max_examples=80)
def test_whoever_passes_every_rung_has_the_numbers_of_a_test_that_never_asked(values, thresholds):
    totals = np.array(values, np.int64)[:, None] * np.array([1, 3])
    m = len(values) - 1
    ladder = [Rung(3 * (s + 1), c) for s, c in enumerate(thresholds)]
    found = climb(lambda draws: maximum_k(totals, draws), m, ladder)
    passed = [Counted(maximum_k(totals, r.draws), r.draws) for r in rungs(m, ladder) if r.draws <= found.m]
    assert found == passed[-1]
    if found.m == m:
        assert found == Counted(maximum_k(totals, m), m)
        assert all(one.p <= rung.stop_above for one, rung in zip(passed[:-1], ladder, strict=False))
    else:
        assert found.p > rungs(m, ladder)[len(passed) - 1].stop_above


# ---------------------------------------------------------------- what would break it


def test_stopping_on_a_small_p_is_not_valid():
    """Counter-example: rank p at 4 and at 19 draws, stopped where the first is ≤ .2. P(p ≤ .2) is .2 + what comes later."""
    ranks = np.random.default_rng(3).random((REPEATS, 20))
    first, last = (((ranks[:, 1 : m + 1] >= ranks[:, :1]).sum(axis=1) + 1) / (m + 1) for m in (4, 19))
    p = np.where(first <= 0.2, first, last)
    assert (p <= 0.2 + 1e-12).mean() > 0.2 + 4 * 0.003


def test_two_subsets_that_share_a_stopping_decision_are_not_valid():
    """Counter-example to ``all(p > c for every subset)``: B's small p gives A a second chance exactly when A needs one.

    B = −A, stages of 4 and 9 draws, c = .2. A stops with B unless A is the lowest of the first five, where p_A = 1 and
    p_B = .2. So P(p_A ≤ .8) = .8 + P(lowest of five, and two or more of the next five below) = .8445.
    """
    values = np.random.default_rng(4).random((REPEATS, 10))
    p_a, p_b = ([], [])
    for m in (4, 9):
        p_a.append(((values[:, 1 : m + 1] >= values[:, :1]).sum(axis=1) + 1) / (m + 1))
        p_b.append(((values[:, 1 : m + 1] <= values[:, :1]).sum(axis=1) + 1) / (m + 1))
    stopped = (p_a[0] > 0.2) & (p_b[0] > 0.2)
    shared = np.where(stopped, p_a[0], p_a[1])
    assert (shared <= 0.8 + 1e-12).mean() == pytest.approx(0.8445, abs=4 * 0.0026)
    alone = np.where(p_a[0] > 0.2, p_a[0], p_a[1])
    assert_valid(alone)


def test_a_staged_decision_may_differ_where_moments_change():
    """Validity is one thing, the same decision another: sixty views whose null has one huge outlier each.

    Before its outlier a view looks normal and the maximum over views is large; after it, its ordinary draws shrink to 0. A
    row that one calm view makes significant in the end is stopped early. It costs power in a made case, never validity.
    """
    rng = np.random.default_rng(5)
    m, views = 1999, 60
    totals = rng.standard_normal((m + 1, views + 1)) * 1000
    for v in range(views):
        totals[rng.integers(1, m + 1), v] = 1e7
    totals[0] = 0
    totals[0, views] = 2900  # z = 2.9 at the calm view
    whole = totals.astype(np.int64)
    assert p_value(maximum_k(whole, m), m) <= 0.05
    assert climb(lambda draws: maximum_k(whole, draws), m).m < m


# ---------------------------------------------------------------- sizes


def test_missed_is_the_hypergeometric_tail():
    """Of 1,999 draws 99 are hits; the first 20 of them hold 4 or more with this probability."""
    assert missed(Rung(20, 0.2), 1999, 0.05) == pytest.approx(
        sum(hypergeom.pmf(k, 1999, 99, 20) for k in range(4, 21)), rel=1e-9
    )
    rng = np.random.default_rng(6)
    hits = np.zeros(1999, bool)
    hits[:99] = True
    counts = np.array([rng.permutation(hits)[:20].sum() for _ in range(4000)])
    rate = ((counts + 1) / 21 > 0.2).mean()
    assert rate == pytest.approx(missed(Rung(20, 0.2), 1999, 0.05), abs=4 * np.sqrt(rate / 4000))
    assert missed(Rung(20, 0.2), 15, 0.05) == 0.0


@pytest.mark.parametrize("m", [999, 1999, 4999, 99_999])
def test_the_rungs_keep_the_decision_at_promotion_for_fixed_moments(m):
    assert all(missed(rung, m, 0.05) < 1e-9 for rung in rungs(m))


def test_a_null_row_costs_fewer_draws():
    """The bound against uniform p: m = 1,999, thresholds and all."""
    rng = np.random.default_rng(7)
    drawn = []
    for u in rng.random(4000):
        hits = rng.random(1999) < u
        drawn.append(climb(lambda m, h=hits: int(h[:m].sum()), 1999).m)
    two_stages = most_mean_draws(1999, (Rung(255, 0.2), Rung(1023, 0.2)))
    error = np.std(drawn) / np.sqrt(len(drawn))
    assert np.mean(drawn) <= most_mean_draws(1999) + 4 * error
    assert most_mean_draws(1999) < 0.7 * two_stages
    besag = [
        besag_clifford(lambda a, b, u=u: rng.random(b - a) < u, 1999, curtailed(0.05, 1999)).m for u in rng.random(4000)
    ]
    assert np.mean(besag) == pytest.approx(np.mean(drawn), rel=0.15)  # the same decision at about the same cost


@pytest.mark.parametrize("bad", [(Rung(9, 0.2), Rung(9, 0.2)), (Rung(0, 0.2),), (Rung(20, 0.1), Rung(9, 0.2))])
def test_a_ladder_that_does_not_ascend_is_refused(bad):
    with pytest.raises(ValueError, match="ascend"):
        rungs(99, bad)
    with pytest.raises(ValueError, match="m = 0"):
        rungs(0)
    assert rungs(63, LADDER) == (Rung(63, 0.0),)
    assert [rung.draws for rung in rungs(2000)] == [63, 255, 1023, 2000]


# ---------------------------------------------------------------- Besag–Clifford


def naive(hits: np.ndarray, m: int, h: int) -> Counted:
    """Besag & Clifford 1991, one draw at a time."""
    k = 0
    for drawn in range(1, m + 1):
        k += bool(hits[drawn - 1])
        if k == h:
            return Counted(h - 1, drawn - 1)
    return Counted(k, m)


@given(st.lists(st.booleans(), min_size=1, max_size=80), st.integers(1, 80), st.integers(1, 30))
def test_besag_clifford_is_the_published_rule_for_any_block(hits, h, block):
    m = len(hits)
    h = min(h, m)
    values = np.array(hits)
    found = besag_clifford(lambda a, b: values[a - 1 : b - 1], m, h, block)
    assert found == naive(values, m, h)
    assert found.p >= 1 / (m + 1)


@given(st.integers(20, 400), st.integers(0, 2**32 - 1), st.sampled_from([0.01, 0.05, 0.1, 0.25]))
@settings(max_examples=200)
def test_the_curtailed_rule_decides_as_all_draws_do(m, seed, alpha):
    rng = np.random.default_rng(seed)
    hits = rng.random(m) < rng.random() * 3 * alpha
    if alpha * (m + 1) < 1:
        with pytest.raises(ValueError, match=f"m = {m}"):
            curtailed(alpha, m)
        return
    found = besag_clifford(lambda a, b: hits[a - 1 : b - 1], m, curtailed(alpha, m))
    assert (found.p <= alpha + 1e-12) == (p_value(int(hits.sum()), m) <= alpha + 1e-12)


def test_besag_clifford_is_exact_without_ties():
    """P(p ≤ t) = t at every p it can report for a continuous statistic: h / l and (k + 1) / (m + 1)."""
    values = np.random.default_rng(8).random((REPEATS, 100))
    p = np.array([besag_clifford(lambda a, b, v=v: v[a:b] >= v[0], 99, 5).p for v in values])
    for t in (0.01, 0.03, 0.05, 5 / 90, 0.1, 0.25, 0.5):
        assert (p <= t + 1e-12).mean() == pytest.approx(t, abs=4 * np.sqrt(t * (1 - t) / REPEATS))


def test_a_pilot_keeps_besag_clifford_valid_for_standardised_views():
    rng = np.random.default_rng(9)
    p = np.empty(REPEATS // 4)
    for i in range(len(p)):
        totals = skewed(rng, 79)
        p[i] = piloted(lambda a, b, t=totals: t[a:b], "greater", 59, 6, 20).p
    assert_valid(p)
    assert (p <= 0.1).mean() > 0.07


def test_a_pilot_draw_is_never_counted():
    totals = np.array([[5], [9], [9], [1], [1], [1], [1]])
    assert piloted(lambda a, b: totals[a:b], "greater", 3, 2, 3) == Counted(0, 3)
    flat = np.array([[5, 5], [3, 3], [3, 3], [9, 1], [1, 9]])
    assert piloted(lambda a, b: flat[a:b], "greater", 2, 1, 2) == Counted(0, 0)  # no variance: never extreme


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(ValueError, match="h = 5"):
        besag_clifford(lambda a, b: np.zeros(b - a, bool), 4, 5)
    with pytest.raises(ValueError, match=r"alpha = 0\.01"):
        curtailed(0.01, 50)
