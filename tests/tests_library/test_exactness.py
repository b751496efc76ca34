"""The claim of the product: every p-value is exact or conservative for its stated null."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from hyposcreen.tests_library.catalogue import CATALOGUE
from hyposcreen.tests_library.engine.maxt import exceedances, moments, p_value, standardise
from hyposcreen.tests_library.nulls import NULLS, like_genes
from hyposcreen.tests_library.run import scan
from hyposcreen.tests_library.statistics.base import Entity

KINDS = tuple(kind for kind in CATALOGUE.values() if not kind.needs)
"""Kinds that need a partner cache or attention are calibrated in test_crossmodel.py and test_association.py."""
by_name = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
GRAPH = {"signed_edge_split", "feed_forward_loop"}
"""These need edges of both signs, or loops, which a random entity lacks; test_edges.py calibrates them on graphs that fit."""
PLAIN = tuple(kind for kind in KINDS if kind.name not in GRAPH)
by_plain = pytest.mark.parametrize("kind", PLAIN, ids=lambda kind: kind.name)
FOLLOW_EXPRESSION = {
    "axis_separation", "pole_enrichment", "cohesion", "effective_dimension", "role_classifier", "layer_trajectory",
    "copole_rate", "graded_gradient", "edge_auroc",
}  # fmt: skip
"""Kinds whose statistic the made confound moves; the others see too little of it for a shuffle of labels to fail."""


def p_of(totals: np.ndarray, alternative: str) -> float:
    """What ``run.scan`` does with totals, the observed one first: one p over all views."""
    z = standardise(totals, moments(totals), alternative)
    return p_value(exceedances(z.max(axis=1)), len(totals) - 1)


def assert_super_uniform(p_values: list[float]) -> None:
    """P(p ≤ a) ≤ a for every a the p-values take."""
    p = np.sort(np.array(p_values))
    assert (np.arange(1, len(p) + 1)[np.searchsorted(p, p, side="right") - 1] / len(p) <= p + 1e-12).all()


def tiny_entity(kind: str) -> Entity:
    if kind == "gene_set":
        return Entity("gene_set", members=np.array([0, 2, 5]))
    if kind == "gene_pairs":
        return Entity("gene_pairs", pairs=np.array([[0, 1], [0, 2], [3, 4]]), grades=np.array([1, 2, 2]))
    return Entity("edges", edges=np.array([[7, 0], [7, 1], [8, 1], [8, 4]]), signs=np.ones(4, np.int64))


@pytest.fixture(scope="module")
def tiny(world):
    """Seven genes under test of a cache of twelve, so regulators 7 and 8 lie outside the universe."""
    return world(rows=12, dim=11, n_layers=3, seed=31, universe=np.arange(7))


@by_name
def test_with_every_arrangement_p_is_exactly_the_rank(kind, tiny):
    """All 5,040 permutations of 7 genes as the bank; every one of them in turn is the observed labelling."""
    group = np.array(list(itertools.permutations(range(7))), np.int32)
    totals = kind.prepare(tiny.geometry, tiny_entity(kind.entity)).sums(group)
    z = standardise(totals, moments(totals), kind.alternative).max(axis=1)
    p_all = [(z >= observed).sum() / len(z) for observed in np.unique(z)]
    assert min(p_all) >= 1 / 5040
    weights = [np.flatnonzero(z == observed)[0] for observed in np.unique(z)]
    for expected, row in list(zip(p_all, weights, strict=True))[:: max(1, len(weights) // 12)]:
        others = np.delete(totals, row, axis=0)
        assert p_of(np.concatenate([totals[row : row + 1], others]), kind.alternative) == pytest.approx(expected)
    assert_super_uniform([(z >= observed).sum() / len(z) for observed in z])


@by_name
def test_monte_carlo_p_is_super_uniform_over_everything_that_can_happen(kind, world):
    """Four genes, two draws: every labelling with every possible bank. A full enumeration, without any tolerance.

    If the labelling is uniform and draws are independent and uniform, all 24³ triples (observed, draw 1, draw 2) of
    group elements are equally likely. A moment that leaves the observed one out, p = k / m, or ``>`` for ``≥`` fail here.
    """
    w = world(rows=12, dim=11, n_layers=3, seed=32, universe=np.arange(4))
    entity = {
        "gene_set": Entity("gene_set", members=np.array([0, 2])),
        "gene_pairs": Entity("gene_pairs", pairs=np.array([[0, 1], [0, 2], [1, 3]]), grades=np.array([1, 2, 3])),
        "edges": Entity("edges", edges=np.array([[7, 0], [7, 1], [8, 1]]), signs=np.ones(3, np.int64)),
    }[kind.entity]
    group = np.array(list(itertools.permutations(range(4))), np.int32)
    totals, weight = np.unique(kind.prepare(w.geometry, entity).sums(group), axis=0, return_counts=True)
    p_values = []
    for observed, (one, two) in itertools.product(
        range(len(totals)), itertools.combinations_with_replacement(range(len(totals)), 2)
    ):
        times = weight[observed] * weight[one] * weight[two] * (1 if one == two else 2)
        p_values += [p_of(totals[[observed, one, two]], kind.alternative)] * times
    assert len(p_values) == 24**3
    assert_super_uniform(p_values)


def test_max_t_over_different_statistics_is_exact_too():
    """Skewed, tied, constant and heavy-tailed views together; every possible pair of draws of a 12-element orbit."""
    rng = np.random.default_rng(5)
    totals = np.stack(
        [
            np.rint(rng.exponential(50, 12)).astype(int),
            rng.integers(0, 2, 12),
            np.full(12, 7),
            np.rint(rng.standard_cauchy(12) * 1e6).astype(int),
        ],
        axis=1,
    )
    cyclic = (np.arange(12)[:, None] + np.arange(12)[None, :]) % 12
    pairs = list(itertools.product(range(12), repeat=2))
    for alternative in ("greater", "two-sided"):
        triples = [[o, cyclic[o, a], cyclic[o, b]] for o in range(12) for a, b in pairs]
        assert_super_uniform([p_of(totals[triple], alternative) for triple in triples])


def rejections(kind, w, entities, nulls, m=99) -> dict[str, int]:
    """Rejections at .05 under each null, one seed a data set."""
    prepared = kind.prepare(w.geometry, entities[0])
    views = {"all": frozenset(prepared.views)}
    count = dict.fromkeys(nulls, 0)
    for seed, e in enumerate(entities):
        for found in scan(w.geometry, w.covariates, kind, e, subsets=views, nulls=nulls, m=m, seed=seed):
            count[found.null] += p_value(found.subsets["all"].k, m) <= 0.05
    return count


@by_plain
def test_rejects_at_its_level_when_nothing_is_there(kind, world, entity_of):
    """400 random entities at .05 (80 for a dear test): within the 99.9 % binomial interval."""
    w = world(rows=50, n_layers=3, seed=33)
    rng = np.random.default_rng(34)
    repeats = 80 if kind.staged else 400
    entities = [entity_of(kind, w, rng) for _ in range(repeats)]
    count = rejections(kind, w, entities, tuple(NULLS))
    low, high = binom.interval(0.999, repeats, 0.05)
    for null, k in count.items():
        assert k <= high, (null, k)
        if (
            kind.name != "directed_displacement"
        ):  # a draw may send a target to its own regulator, which counts as extreme
            assert k >= low, (null, k)


def confounded(world, kind):
    """Highly expressed genes lie to one side of the first axis or, for a test of dimension, vary in few dimensions."""
    w = world(rows=100, n_layers=3, seed=35)
    rng = np.random.default_rng(36)
    expression = rng.permutation(100).astype(np.float64)
    direction = rng.standard_normal(12)
    if kind.name == "effective_dimension":
        flat = np.where(np.arange(12) < 2, 1.0, 1.0 - 0.95 * expression[:, None] / 100)
        layers = [(X * flat).astype(np.float32) for X in w.layers]
    else:
        layers = [(X + np.outer(expression / 15, direction)).astype(np.float32) for X in w.layers]
    w.covariates = replace(w.covariates, expression=expression, detection=rng.random(100))
    w.geometry = w.again(layers=layers)
    groups = like_genes(w.covariates.expression, w.covariates.detection)
    of_stratum = np.array([expression[groups == g].mean() for g in range(groups.max() + 1)])
    return w, (of_stratum / of_stratum.max())[groups]


@by_plain
def test_stratified_holds_under_a_confound_where_gene_label_fails(kind, world):
    """Labels depend on the stratum alone: true for ``stratified``, false for ``gene_label``."""
    w, weight = confounded(world, kind)
    rng = np.random.default_rng(37)
    entities = []
    repeats = 60 if kind.staged else 200
    for _ in range(repeats):
        genes = np.sort(rng.choice(100, 16, replace=False, p=weight**3 / (weight**3).sum()))
        if kind.entity == "gene_set":
            entities.append(Entity("gene_set", members=genes))
        elif kind.entity == "gene_pairs":
            upper = np.stack(np.triu_indices(16, 1), axis=1)
            pairs = genes[upper[rng.choice(len(upper), 40, replace=False)]]
            expected = weight[pairs].sum(axis=1)  # the grade follows expression too
            entities.append(Entity("gene_pairs", pairs=pairs, grades=np.rint(4 * expected).astype(np.int64)))
        else:
            top = np.flatnonzero(weight > 0.9)[:2]  # two highly expressed regulators
            edges = np.array([(r, t) for r in top for t in genes if t not in top])
            entities.append(Entity("edges", edges=edges, signs=np.ones(len(edges), np.int64)))
    count = rejections(kind, w, entities, ("gene_label", "stratified"))
    if kind.name in FOLLOW_EXPRESSION:
        assert count["gene_label"] > 0.3 * repeats, count
    assert count["stratified"] <= binom.ppf(0.999, repeats, 0.05), count


def test_a_scan_has_one_p_and_no_view_can_beat_it(world):
    """k of the maximum is at least the smallest k of its views, and the best view attains the maximum."""
    w = world(rows=60, seed=38)
    kind = CATALOGUE["axis_separation"]
    members = np.arange(10)
    views = kind.prepare(w.geometry, Entity("gene_set", members=members)).views
    subsets = {"all": frozenset(views), "L1": frozenset(v for v in views if v.layer == "L1")}
    for found in scan(
        w.geometry,
        w.covariates,
        kind,
        Entity("gene_set", members=members),
        subsets=subsets,
        nulls=tuple(NULLS),
        m=199,
        seed=1,
    ):
        every, one = found.subsets["all"], found.subsets["L1"]
        assert (every.maximum == found.overall).all()
        assert (one.maximum <= every.maximum).all()
        for part in (every, one):
            assert part.k == exceedances(part.maximum)
            assert part.k >= min(v.k for v in part.views)
            best = next(v for v in part.views if v.view == part.best)
            assert best.z == part.maximum[0] == max(v.z for v in part.views)
        assert found.broken == ()


@by_plain
def test_every_number_of_a_scan_from_its_totals(kind, world, entity_of):
    """z standardises over all m + 1 arrangements, the observed included; null_mean is over the m draws alone."""
    w = world(rows=40, n_layers=3, seed=40)
    e = entity_of(kind, w, np.random.default_rng(0))
    prepared = kind.prepare(w.geometry, e)
    for null in NULLS:
        totals = prepared.sums(w.covariates.bank(null, 5).arrangements(0, 30))
        effect = prepared.offset + prepared.scale * totals
        found = scan(
            w.geometry, w.covariates, kind, e, subsets={"all": frozenset(prepared.views)}, nulls=(null,), m=29, seed=5
        )[0]
        z = (totals - totals.mean(axis=0)) / totals.std(axis=0)
        z = {"greater": z, "less": -z, "two-sided": np.abs(z)}[kind.alternative]
        for v, numbers in enumerate(found.subsets["all"].views):
            assert numbers.view == prepared.views[v]
            assert numbers.statistic == totals[0, v]
            assert numbers.effect == pytest.approx(effect[0, v])
            assert numbers.null_mean == pytest.approx(effect[1:, v].mean())
            assert numbers.null_sd == pytest.approx(effect[:, v].std())
            assert numbers.z == pytest.approx(z[0, v])
            assert numbers.k == (np.round(z[1:, v], 9) >= np.round(z[0, v], 9)).sum()
        np.testing.assert_allclose(found.overall, z.max(axis=1), atol=1e-9)
        assert found.subsets["all"].k == (np.round(found.overall[1:], 9) >= np.round(found.overall[0], 9)).sum()


def test_a_view_without_variance_is_named_and_never_extreme(world):
    w = world(rows=60, seed=39)
    layers = [w.layers[0], np.zeros_like(w.layers[1]), w.layers[2]]
    kind = CATALOGUE["cohesion"]
    e = Entity("gene_set", members=np.arange(8))
    views = kind.prepare(w.geometry, e).views
    found = scan(
        w.again(layers=layers),
        w.covariates,
        kind,
        e,
        subsets={"all": frozenset(views)},
        nulls=("gene_label",),
        m=99,
        seed=1,
    )[0]
    assert [v.layer for v in found.broken] == ["L1"]
    broken = next(v for v in found.subsets["all"].views if v.view.layer == "L1")
    assert (broken.k, broken.z, broken.null_sd, broken.effect) == (99, 0.0, 0.0, 0.5)


def test_scan_refuses_what_it_cannot_do(world):
    w = world()
    kind = CATALOGUE["cohesion"]
    arguments = {"subsets": {}, "nulls": ("gene_label",), "m": 9, "seed": 0}
    with pytest.raises(ValueError, match=r"4 genes, and cohesion needs 5"):
        scan(w.geometry, w.covariates, kind, Entity("gene_set", members=np.arange(4)), **arguments)
    foreign = {
        "all": frozenset(
            CATALOGUE["axis_separation"].prepare(w.geometry, Entity("gene_set", members=np.arange(9))).views
        )
    }
    with pytest.raises(ValueError, match="L0·SV1"):
        scan(
            w.geometry,
            w.covariates,
            kind,
            Entity("gene_set", members=np.arange(9)),
            **(arguments | {"subsets": foreign}),
        )
    with pytest.raises(ValueError, match="'rotation'"):
        scan(
            w.geometry,
            w.covariates,
            kind,
            Entity("gene_set", members=np.arange(9)),
            **(arguments | {"nulls": ("rotation",)}),
        )
    with pytest.raises(ValueError, match="gene_pairs"):
        CATALOGUE["copole_rate"].prepare(w.geometry, Entity("gene_set", members=np.arange(9)))
