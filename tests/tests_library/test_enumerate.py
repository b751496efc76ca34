"""All labellings, once each: against brute force over every permutation, and against SciPy's exact tests."""

import itertools
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact, hypergeom, mannwhitneyu, spearmanr

from hyposcreen.tests_library.catalogue import CATALOGUE
from hyposcreen.tests_library.engine.bank import Bank
from hyposcreen.tests_library.engine.enumerate import (
    LIMIT,
    Labellings,
    carried,
    count_arrangements,
    labellings,
    labellings_of,
)
from hyposcreen.tests_library.engine.maxt import exceedances, moments, p_value, standardise
from hyposcreen.tests_library.run import scan
from hyposcreen.tests_library.statistics.base import Entity
from hyposcreen.tests_library.statistics.layers import layer_contrasts

KINDS = [CATALOGUE[name] for name in ("axis_separation", "cohesion", "graded_gradient", "copole_rate", "edge_auroc")]


def every(found: Labellings) -> np.ndarray:
    return np.concatenate([found.arrangements(a, b) for a, b in found.blocks()])


def exact_p(totals: np.ndarray, alternative: str) -> float:
    """What ``run.scan`` makes of totals, the observed one first."""
    z = standardise(totals, moments(totals), alternative)
    return p_value(exceedances(z.max(axis=1)), len(totals) - 1)


def gene_set(*members: int) -> Entity:
    return Entity("gene_set", members=np.array(members, np.int64))


def orbit(strata: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Every permutation that keeps strata and moves units whole, by brute force."""
    rows = []
    for p in itertools.permutations(range(len(strata))):
        a = np.array(p)
        whole = all(len(set(units[a[units == u]])) == 1 and (np.diff(a[units == u]) > 0).all() for u in set(units))
        if whole and (strata[a] == strata).all():
            rows.append(a)
    return np.array(rows, np.int32)


# ---------------------------------------------------------------- known exact tests


def test_a_spearman_rho_of_one_over_five_points_is_two_of_120():
    """The asymptotic p of SciPy is 0 there; t has an infinite value."""
    x = np.array([1, 2, 3, 4, 5])
    y = np.array([10, 20, 30, 40, 50])
    assert spearmanr(x, y).pvalue < 1e-20
    found = labellings_of(np.arange(5), np.zeros(5, np.int64))
    assert found.count == 120
    ranks = 2 * np.argsort(np.argsort(y)) - 4
    totals = (ranks[every(found)] * (2 * x - 6)).sum(axis=1, dtype=np.int64)[:, None]
    assert exact_p(totals, "two-sided") == 2 / 120
    assert exact_p(totals, "greater") == 1 / 120


@pytest.mark.parametrize("members", [(0, 1, 2, 3, 4), (0, 3, 5, 8, 10), (2, 4, 6, 7, 9, 11)])
def test_axis_separation_is_the_exact_mann_whitney_test(world, members):
    w = world(rows=13, dim=3, n_layers=1, seed=2)
    geometry = w.again(n_axes=1)
    found = labellings(gene_set(*members), np.zeros(13, np.int64))
    assert found is not None
    totals = CATALOGUE["axis_separation"].prepare(geometry, gene_set(*members)).sums(every(found))
    score = geometry.local_axes(0)[:, 0]
    inside = np.isin(np.arange(13), members)
    other = mannwhitneyu(score[inside], score[~inside], method="exact")
    assert exact_p(totals, "two-sided") == pytest.approx(other.pvalue, rel=1e-12)
    assert found.count == math.comb(13, len(members))


@pytest.mark.parametrize("members", [(0, 1, 2, 3, 4), (1, 5, 8, 11, 13), (0, 2, 3, 9, 12)])
def test_pole_enrichment_is_fishers_exact_test(world, members):
    w = world(rows=16, dim=3, n_layers=1, seed=3)
    geometry = w.again(n_axes=1)
    found = labellings(gene_set(*members), np.zeros(16, np.int64))
    assert found is not None
    totals = CATALOGUE["pole_enrichment"].prepare(geometry, gene_set(*members)).sums(every(found))
    for v, pole in enumerate((1, -1)):
        in_pole = geometry.poles(0)[:, 0] == pole
        hits = int(in_pole[list(members)].sum())
        table = [[hits, 5 - hits], [in_pole.sum() - hits, 11 - in_pole.sum() + hits]]
        p = exact_p(totals[:, [v]], "greater")
        assert p == pytest.approx(fisher_exact(table, "greater").pvalue, rel=1e-12)
        assert p == pytest.approx(hypergeom.sf(hits - 1, 16, in_pole.sum(), 5), rel=1e-12)


# ---------------------------------------------------------------- brute force


def tiny_entity(kind: str) -> Entity:
    if kind == "gene_set":
        return gene_set(0, 2, 5)
    if kind == "gene_pairs":
        pairs = np.array([[0, 1], [0, 2], [0, 4], [3, 4], [1, 2]])
        return Entity("gene_pairs", pairs=pairs, grades=np.array([1, 1, 2, 2, 3]))
    edges = np.array([[7, 0], [7, 1], [8, 1], [8, 4], [7, 5]])
    return Entity("edges", edges=edges, signs=np.array([1, 1, 1, -1, 1]))


RULES = {
    "one stratum": (np.zeros(7, np.int64), None),
    "strata": (np.array([0, 1, 0, 1, 0, 0, 1]), None),
    "families": (np.array([0, 1, 0, 0, 1, 0, 1]), np.array([0, 5, 0, 2, 6, 2, 7])),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("rule", RULES)
def test_the_labellings_have_the_distribution_of_all_permutations(kind, rule, world):
    """Every value of the statistics (all views jointly) is as frequent as among all permutations the null allows."""
    w = world(rows=12, dim=11, n_layers=2, seed=31, universe=np.arange(7))
    strata, units = RULES[rule]
    entity = tiny_entity(kind.entity)
    found = labellings(entity, strata, units)
    assert found is not None
    sums = kind.prepare(w.geometry, entity).sums
    some, group = sums(every(found)), sums(orbit(strata, np.arange(7) if units is None else units))
    few, many = (Counter(map(tuple, t.tolist())) for t in (some, group))
    assert found.count == len(some) <= len(group)
    assert few.keys() == many.keys()
    assert all(few[value] * len(group) == many[value] * len(some) for value in few)
    assert (some[0] == sums(np.arange(7, dtype=np.int32)[None])[0]).all()


@pytest.mark.parametrize("rule", RULES)
def test_p_is_exactly_the_rank_whichever_labelling_is_the_observed_one(rule, world):
    """P(p ≤ a) ≤ a over all labellings, each in turn the observed one: no simulation, no tolerance."""
    w = world(rows=12, dim=11, n_layers=2, seed=32, universe=np.arange(7))
    strata, units = RULES[rule]
    kind = CATALOGUE["cohesion"]
    first = labellings(gene_set(0, 2, 5), strata, units)
    assert first is not None
    p_values = []
    for a in every(first):
        again = gene_set(*sorted(a[[0, 2, 5]]))
        found = labellings(again, strata, units)
        assert found is not None
        assert found.count == first.count
        p_values.append(exact_p(kind.prepare(w.geometry, again).sums(every(found)), kind.alternative))
    p = np.sort(p_values)
    assert all((p <= a).mean() <= a + 1e-12 for a in p)
    assert p[0] <= 3 / first.count


# ---------------------------------------------------------------- the enumeration itself


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=2, max_size=8),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_each_labelling_comes_once_and_any_range_can_be_made_alone(genes, seed):
    strata, sorts = (np.array(x, np.int64) for x in zip(*genes, strict=True))
    found = labellings_of(sorts, strata)
    by_hand = math.prod(
        math.factorial((strata == s).sum())
        // math.prod(math.factorial(c) for c in Counter(sorts[strata == s].tolist()).values())
        for s in set(strata.tolist())
    )
    assert found.count == by_hand
    a = every(found)
    assert (a[0] == np.arange(len(genes))).all()
    assert (np.sort(a, axis=1) == np.arange(len(genes))).all()
    assert (strata[a] == strata).all()
    carried_at = np.empty_like(a)
    np.put_along_axis(carried_at, a, np.tile(sorts, (len(a), 1)).astype(np.int32), axis=1)
    assert len(np.unique(carried_at, axis=0)) == found.count
    start, stop = sorted(np.random.default_rng(seed).integers(0, found.count + 1, 2).tolist())
    if start < stop:
        assert (found.arrangements(start, stop) == a[start:stop]).all()


def test_genes_of_a_family_stay_together():
    strata, units = np.array([2, 2, 2, 2, 1, 1, 1]), np.array([4, 9, 4, 9, 0, 1, 2])
    found = labellings(gene_set(0, 4), strata, units)
    assert found is not None
    assert found.count == 2 * 3
    drawn = Bank((1, 2), strata, units).arrangements(0, 400)
    by_bank = {tuple(sorted(row[[0, 4]].tolist())) for row in drawn}
    assert {tuple(sorted(row[[0, 4]].tolist())) for row in every(found)} == by_bank


def test_what_genes_carry():
    pairs = Entity("gene_pairs", pairs=np.array([[0, 1], [0, 2], [0, 3]]), grades=np.array([5, 5, 6]))
    assert carried(pairs, 5).tolist() == [1, 2, 2, 3, 0]  # leaves with equal grades are twins
    clique = Entity(
        "gene_pairs", pairs=np.array(list(itertools.combinations(range(4), 2))), grades=np.ones(6, np.int64)
    )
    assert carried(clique, 5).tolist() == [1, 1, 1, 1, 0]
    edges = Entity("edges", edges=np.array([[70, 0], [70, 1], [80, 1], [70, 3]]), signs=np.array([1, 1, 1, -1]))
    assert carried(edges, 4).tolist() == [1, 2, 0, 3]


def test_too_many_and_too_few_are_declined():
    free = np.zeros(400, np.int64)
    assert count_arrangements(gene_set(*range(20)), free) == math.comb(400, 20)
    assert labellings(gene_set(*range(20)), free) is None
    assert labellings(gene_set(1, 2), free) is not None
    assert labellings(gene_set(1, 2), free, limit=math.comb(400, 2) - 1) is None
    assert count_arrangements(gene_set(0, 1), np.arange(4)) == 1
    assert labellings(gene_set(0, 1), np.arange(4)) is None  # nothing can move: nothing can be tested
    assert math.comb(18, 9) < LIMIT


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (-1, 2), (3, 2), (0, 22)])
def test_ranges_outside_are_refused(start, stop):
    found = labellings(gene_set(0, 1), np.zeros(7, np.int64))
    assert found is not None
    with pytest.raises(ValueError, match="forward range"):
        found.arrangements(start, stop)


def test_a_large_universe_is_enumerated_in_blocks():
    """Three genes of 84: 95,284 labellings, in blocks that together are all of them."""
    found = labellings(gene_set(5, 40, 83), np.zeros(84, np.int64))
    assert found is not None
    assert found.count == math.comb(84, 3)
    seen = set()
    for start, stop in found.blocks()[::10]:
        seen |= {tuple(sorted(row)) for row in found.arrangements(start, stop)[:, [5, 40, 83]].tolist()}
    assert len(seen) == sum(stop - start for start, stop in found.blocks()[::10])


# ---------------------------------------------------------------- in a scan


def scanned(w, kind, entity, nulls, m=99, exact=True, staged=False):
    views = {"all": frozenset(kind.prepare(w.geometry, entity).views)}
    return scan(
        w.geometry, w.covariates, kind, entity, subsets=views, nulls=nulls, m=m, seed=4, staged=staged, exact=exact
    )


def test_a_scan_of_a_small_universe_is_the_exact_mann_whitney_test(world):
    w = world(rows=13, dim=3, n_layers=1, seed=2)
    w.geometry = w.again(n_axes=1)
    members = [0, 3, 5, 8, 10]
    (found,) = scanned(w, CATALOGUE["axis_separation"], gene_set(*members), ("gene_label",), m=1999)
    score = w.geometry.local_axes(0)[:, 0]
    other = mannwhitneyu(score[members], np.delete(score, members), method="exact")
    assert found.m == math.comb(13, 5) - 1
    assert (found.subsets["all"].k + 1) / (found.m + 1) == pytest.approx(other.pvalue, rel=1e-12)


@pytest.mark.parametrize("name", ["cohesion", "axis_separation", "role_classifier", "cca"])
def test_a_scan_of_all_labellings_is_brute_force(name, world):
    """Every subset of the universe, the observed one among them, by the statistic itself."""
    w = world(rows=11, dim=4, n_layers=2, seed=6)
    kind = replace(CATALOGUE[name], min_size=3)
    entity = gene_set(1, 4, 7, 8)
    (found,) = scanned(w, kind, entity, ("gene_label",), m=500, staged=kind.staged)
    rest = [g for g in range(11) if g not in (1, 4, 7, 8)]
    subsets = [(1, 4, 7, 8), *(s for s in itertools.combinations(range(11), 4) if s != (1, 4, 7, 8))]
    arrangements = np.zeros((len(subsets), 11), np.int32)
    for row, subset in zip(arrangements, subsets, strict=True):
        row[[1, 4, 7, 8]] = subset
        row[rest] = [g for g in range(11) if g not in subset]
    z = standardise(t := kind.prepare(w.geometry, entity).sums(arrangements), moments(t), kind.alternative).max(axis=1)
    assert (found.subsets["all"].k, found.m) == (exceedances(z), math.comb(11, 4) - 1)


def test_labellings_are_made_only_where_they_are_no_more_than_the_draws(world):
    w = world(rows=40, n_layers=2, seed=7)
    kind, entity = CATALOGUE["cohesion"], gene_set(0, 7, 9, 20, 33)
    count = labellings(entity, *exchange_of(w, "stratified")).count
    assert count > 1000
    assert scanned(w, kind, entity, ("stratified",), m=count - 1)[0].m == count - 1
    drawn, plain = (scanned(w, kind, entity, ("stratified",), m=count - 2, exact=exact)[0] for exact in (True, False))
    assert drawn.m == count - 2
    assert drawn.subsets["all"].k == plain.subsets["all"].k


def exchange_of(w, null):
    rule = w.covariates.exchange(null)
    return rule.strata, rule.units


def test_all_orders_of_the_layers_are_made_once(world):
    w = world(rows=30, n_layers=5, seed=8)
    kind, entity = CATALOGUE["layer_trajectory"], gene_set(0, 3, 4, 9, 17, 20)
    (found,) = scanned(w, kind, entity, ("layer_order",), m=199)
    assert found.m == math.factorial(5) - 1
    totals = CATALOGUE["cohesion"].prepare(w.geometry, entity).sums(np.arange(30, dtype=np.int32)[None])[0]
    weights = np.stack(list(layer_contrasts(5).values()), axis=1)
    t = totals[np.array(list(itertools.permutations(range(5))))] @ weights
    z = standardise(t, moments(t), "two-sided").max(axis=1)
    assert found.subsets["all"].k == exceedances(z)
    assert scanned(w, kind, entity, ("layer_order",), exact=False)[0].m == 99
