"""The price of a later look: the levels add up, the charge is needed, and it is enough."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from hyposcreen.tests_library.multiplicity import charged_level, split_alpha, step_down, transcripts

alphas = st.floats(1e-9, 0.5)


@given(alphas, st.integers(1, 200))
def test_shares_are_equal_and_never_add_up_to_more_than_alpha(alpha: float, looks: int) -> None:
    shares = split_alpha(alpha, looks)
    assert len(shares) == looks and len(set(shares)) == 1
    total = sum(map(Fraction, shares))
    assert total <= Fraction(alpha)
    assert float(total) == pytest.approx(alpha, rel=1e-14)


@given(alphas)
def test_one_look_pays_nothing(alpha: float) -> None:
    assert split_alpha(alpha, 1) == (alpha,)
    assert transcripts([]) == 1
    assert charged_level(alpha, transcripts([])) == alpha


@given(alphas, st.lists(st.integers(0, 30), max_size=6))
def test_a_level_is_alpha_over_two_to_the_bits_and_never_above_it(alpha: float, rows: list[int]) -> None:
    shown = transcripts(rows)
    bits = sum(math.log2(r + 1) for r in rows)
    level = charged_level(alpha, shown)
    assert level == pytest.approx(alpha / 2**bits, rel=1e-9)
    assert Fraction(level) * shown <= Fraction(alpha)
    assert charged_level(alpha, shown * 2) < level


@given(alphas, st.randoms(use_true_random=False), st.integers(1, 3))
def test_levels_over_everything_that_could_be_shown_add_up_to_alpha(alpha: float, chance, depth: int) -> None:
    """Also where the number of rows of a look depends on what was shown before it."""

    def leaves(rows: list[int], left: int) -> list[float]:
        if not left:
            return [charged_level(alpha, transcripts(rows))]
        here = chance.randint(0, 4)
        return [level for _count in range(here + 1) for level in leaves([*rows, here], left - 1)]

    total = sum(map(Fraction, leaves([], depth)))
    assert total <= Fraction(alpha)
    assert float(total) == pytest.approx(alpha, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: split_alpha(0.05, 0), "at least one look"),
        (lambda: transcripts([3, -1]), "not -1"),
        (lambda: charged_level(0.05, 0), "at least one transcript"),
    ],
)
def test_what_is_no_look_is_refused(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


# An adversary. Look 1 holds true effects of graded strength, whose statistics share genes with the null sets of look 2.
# How many of them were confirmed tells where the luck of the sealed genes lies; the adversary tests the null set it favours.

ALPHA, WORLDS, GENES, SIZE, NULLS = 0.1, 400, 120, 8, 4
COPIES = (1, 2, 4, 8)
"""Null set i is part of 2^i rows of look 1: as a binary number, their count names every null set that was lucky."""


def one_world(seed: int, m: int) -> tuple[int, list[float]]:
    """How many rows of look 1 are confirmed, and p of each null set, on ``m`` shared arrangements of the sealed genes."""
    rng = np.random.default_rng(seed)
    score = rng.normal(size=GENES)
    order = np.argsort(rng.random((m + 1, GENES)), axis=1)  # arrangement 0 is the observed one: random labels, all null
    luck = [score[order[:, i * SIZE : (i + 1) * SIZE]].sum(axis=1) for i in range(NULLS)]
    # A true effect that is confirmed where luck helps it: its statistic is the null set's own plus what the signal adds.
    rows = {}
    for i, copies in enumerate(COPIES):
        strong = luck[i].copy()
        strong[0] += 0.9 * luck[i].std()
        rows |= {f"{i}.{c}": strong for c in range(copies)}
    confirmed = sum(step_down({name: v})[name].p <= ALPHA / 2 for name, v in rows.items())
    return confirmed, [step_down({"null": v})["null"].p for v in luck]


@pytest.fixture(scope="module")
def adversary() -> list[tuple[int, float]]:
    """Every world: rows shown as confirmed at look 1, and p of the one null set the adversary then chose."""
    return [(shown, p[choose(shown)]) for shown, p in (one_world(seed, 399) for seed in range(WORLDS))]


def choose(shown: int) -> int:
    """The first null set whose copies are in the count; the count tells it exactly."""
    return next((i for i, copies in enumerate(COPIES) if shown & copies), 0)


def test_a_look_chosen_by_an_uncharged_count_exceeds_its_level(adversary) -> None:
    level = split_alpha(ALPHA, 2)[1]
    false = sum(p <= level for _, p in adversary)
    assert len({shown for shown, _ in adversary}) > 8, "the count must tell something"
    assert false > binom.ppf(1 - 1e-9, WORLDS, level), false


def test_a_charged_look_keeps_its_level_whatever_was_shown(adversary) -> None:
    level = charged_level(split_alpha(ALPHA, 2)[1], transcripts([sum(COPIES)]))
    assert level > 1 / 400, "a level that no p can reach would prove nothing"
    false = sum(p <= level for _, p in adversary)
    assert false <= binom.ppf(0.999, WORLDS, split_alpha(ALPHA, 2)[1]), false


@settings(max_examples=20)
@given(st.integers(1, 40))
def test_the_charge_is_the_smallest_that_holds_for_every_world(rows: int) -> None:
    """A world in which an uncharged look errs exactly (R + 1) times too often, so the charge cannot be made smaller.

    One uniform number U decides all. Row r of look 1 is confirmed where U < r / (R + 1), so the count says in which of
    R + 1 intervals U lies. The null of look 2 made for that interval has p = U minus its left end, modulo 1: uniform.
    """
    level = charged_level(0.02, transcripts([rows]))
    u = (np.arange(40_000) + 0.5) / 40_000
    count = sum((u < r / (rows + 1)).astype(int) for r in range(1, rows + 1))
    left = (rows - count) / (rows + 1)
    p = (u - left) % 1.0
    assert np.mean(p <= level) == pytest.approx(0.02, rel=0.1)
    assert np.mean(p <= 0.02) == pytest.approx(min(1.0, 0.02 * (rows + 1)), rel=0.1)
