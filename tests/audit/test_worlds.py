"""The generator of worlds is itself tested: what it destroys is gone, what it keeps is kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, mannwhitneyu

from hyposcreen.tests_library.nulls import like_genes
from hyposcreen.tests_library.worlds import confounded_world, null_world, planted_world

N = 300
SYMBOLS = tuple(f"G{i}" for i in range(N))


def covariates(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    expression = rng.gamma(1.0, size=N)
    return expression, np.clip(expression / 4 + 0.1 * rng.random(N), 0, 1)


@given(number=st.integers(1, 10_000), seed=st.integers(0, 2**31))
def test_a_null_world_permutes_genes_within_strata(number: int, seed: int) -> None:
    expression, detection = covariates()
    groups = like_genes(expression, detection)
    world = null_world(number, seed, SYMBOLS, groups)
    assert sorted(world.tolist()) == list(range(N))
    assert np.array_equal(groups[world], groups)
    assert not np.array_equal(world, np.arange(N))


def test_a_null_world_destroys_an_association_within_strata() -> None:
    """A score that separates a set perfectly before is uniform among the worlds' rank sums after."""
    expression, detection = covariates()
    groups = like_genes(expression, detection)
    score = np.random.default_rng(1).normal(size=N)
    members = np.concatenate(
        [np.flatnonzero(groups == g)[np.argsort(score[groups == g])[-3:]] for g in np.unique(groups)]
    )
    outside = np.setdiff1d(np.arange(N), members)
    assert mannwhitneyu(score[members], score[outside]).pvalue < 1e-10
    pvalues = []
    for number in range(1, 401):
        moved = null_world(number, 7, SYMBOLS, groups)[members]
        pvalues.append(mannwhitneyu(score[moved], score[np.setdiff1d(np.arange(N), moved)]).pvalue)
    share = np.mean(np.array(pvalues) < 0.05)
    assert share < 0.09  # 0.05 plus 3.7 standard errors; fewer is possible because strata are balanced


def test_every_gene_is_as_likely_to_carry_a_label() -> None:
    groups = np.repeat(np.arange(5), N // 5)
    counts = np.zeros(N)
    for number in range(1, 2001):
        counts[null_world(number, 3, SYMBOLS, groups)[0]] += 1
    inside = counts[groups == groups[0]]
    assert counts[groups != groups[0]].sum() == 0
    assert chisquare(inside).pvalue > 1e-4


def test_a_confounded_world_ties_labels_to_expression_and_to_nothing_else() -> None:
    expression, detection = covariates()
    groups = like_genes(expression, detection)
    annotated = (np.arange(N) < 60).astype(np.int64) * 3
    ranks, within = [], []
    for number in range(1, 101):
        world = confounded_world(number, 5, SYMBOLS, groups, expression, annotated)
        assert sorted(world.tolist()) == list(range(N))
        labelled = np.zeros(N, dtype=bool)
        labelled[world[annotated > 0]] = True
        ranks.append(mannwhitneyu(expression[labelled], expression[~labelled], alternative="greater").pvalue)
        within.append(
            np.mean(
                [np.flatnonzero(labelled[groups == g]).mean() for g in np.unique(groups) if labelled[groups == g].any()]
            )
        )
    assert np.mean(np.array(ranks) < 1e-3) > 0.95
    middle = np.mean([(np.sum(groups == g) - 1) / 2 for g in np.unique(groups)])
    assert abs(np.mean(within) - middle) < 0.35  # no place within a stratum is preferred


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_a_planted_world_moves_the_share_it_names(share: float) -> None:
    groups = np.zeros(N, dtype=np.int64)
    null = null_world(1, 9, SYMBOLS, groups)
    members, targets = np.arange(20), np.arange(200, 280)
    world = planted_world(null, members, targets, share)
    assert sorted(world.tolist()) == list(range(N))
    before = np.isin(null[members], targets).sum()
    after = np.isin(world[members], targets).sum()
    assert after == max(before, round(share * 20))
