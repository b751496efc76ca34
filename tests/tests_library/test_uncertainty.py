"""Intervals of rows against definitions written out, and against their own promise: coverage in populations that are known."""

from collections import Counter

import numpy as np
import pytest
from scipy.stats import binom, t
from sklearn.metrics import roc_auc_score

from hyposcreen.tests_library.catalogue import CATALOGUE
from hyposcreen.tests_library.intervals import (
    cross_validated_interval,
    delong_interval,
    jackknife_interval,
    t_quantile,
)
from hyposcreen.tests_library.rivals import rival_aurocs
from hyposcreen.tests_library.spaces import Geometry
from hyposcreen.tests_library.statistics.base import Entity, View
from hyposcreen.tests_library.uncertainty import (
    DECLARED,
    MAX_GROUPS,
    MISSING,
    effect_intervals,
    effective_clusters,
)


def geometry_of(X: np.ndarray, families: list[str] | None = None, n_axes: int = 8) -> Geometry:
    rows = np.arange(len(X))
    return Geometry([X.astype(np.float32)], rows, rows, families or [f"g{i}" for i in rows], n_axes)


def effect_of(geometry: Geometry, kind: str, entity: Entity, view: View) -> float:
    prepared = CATALOGUE[kind].prepare(geometry, entity)
    v = prepared.views.index(view)
    total = prepared.sums(np.arange(geometry.n, dtype=np.int32)[None])[0, v]
    return float(prepared.offset[v] + prepared.scale[v] * total)


def interval_of(geometry: Geometry, kind: str, entity: Entity, view: View, seed: int = 0):
    return effect_intervals(geometry, CATALOGUE[kind], entity, [view], seed)[view]


def members_of(genes) -> Entity:
    return Entity("gene_set", members=np.sort(np.asarray(genes)).astype(np.int64))


# the formulas


def test_the_jackknife_of_a_mean_is_its_t_interval():
    x = np.random.default_rng(0).gamma(2, size=15)
    got = jackknife_interval(x.mean(), [(x.sum() - v) / 14 for v in x])
    half = t.ppf(0.975, 14) * x.std(ddof=1) / np.sqrt(15)
    assert (got.low, got.high) == pytest.approx((x.mean() - half, x.mean() + half), abs=1e-5)
    with pytest.raises(ValueError, match="here is one"):
        jackknife_interval(0.5, [0.5])
    assert t_quantile(19) == pytest.approx(t.ppf(0.975, 19), abs=1e-6)


def obuchowski(x, y, cx, cy) -> float:
    """Variance of an AUROC with clusters, Obuchowski 1997 equations 4 to 6, in floats and loops."""
    psi = (x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])
    theta, a, b = psi.mean(), len(x), len(y)
    every = sorted({*cx, *cy})
    v10 = {c: sum(psi[i].mean() - theta for i in range(a) if cx[i] == c) for c in every}
    v01 = {c: sum(psi[:, j].mean() - theta for j in range(b) if cy[j] == c) for c in every}
    i10, i01, i = len(set(cx)), len(set(cy)), len(every)
    s10 = i10 / ((i10 - 1) * a) * sum(v * v for v in v10.values())
    s01 = i01 / ((i01 - 1) * b) * sum(v * v for v in v01.values())
    s11 = i / (i - 1) * sum(v10[c] * v01[c] for c in every)
    return s10 / a + s01 / b + 2 * s11 / (a * b)


def test_delong_with_clusters_is_obuchowskis_variance():
    rng = np.random.default_rng(1)
    for _ in range(20):
        x, y = np.round(rng.normal(0.3, 1, 14), 1), np.round(rng.normal(0, 1, 30), 1)
        cx, cy = rng.integers(0, 6, 14).tolist(), rng.integers(0, 9, 30).tolist()
        got = delong_interval(x, y, clusters=(cx, cy))
        half = t.ppf(0.975, len(set(cx)) - 1) * np.sqrt(max(0, obuchowski(x, y, cx, cy)))
        expected = max(0, got.estimate - half), min(1, got.estimate + half)
        assert (got.low, got.high) == pytest.approx(expected, abs=1e-5)


def test_every_gene_a_cluster_gives_delongs_variance_with_a_t_quantile():
    rng = np.random.default_rng(2)
    x, y = rng.normal(0.3, 1, 40), rng.normal(0, 1, 50)
    plain = delong_interval(x, y)
    alone = delong_interval(x, y, clusters=(range(40), range(40, 90)))
    wider = t_quantile(39) / 1.959963985
    assert alone.high - alone.estimate == pytest.approx(wider * (plain.high - plain.estimate), rel=1e-5)
    with pytest.raises(ValueError, match=r"40 \+ 50 scores and 40 \+ 3 labels"):
        delong_interval(x, y, clusters=(range(40), range(3)))
    with pytest.raises(ValueError, match="two each"):
        delong_interval(x, y, clusters=([1] * 40, range(50)))


def test_families_that_share_their_scores_widen_delongs_interval_to_its_coverage():
    rng = np.random.default_rng(3)
    covered = Counter()
    for _ in range(300):
        x = np.repeat(rng.standard_normal(15), 4)  # 15 families of four identical paralogs: the truth is 1/2
        y = rng.standard_normal(200)
        families = (np.repeat(np.arange(15), 4).tolist(), list(range(100, 300)))
        clustered, plain = delong_interval(x, y, clusters=families), delong_interval(x, y)
        covered["families"] += clustered.low <= 0.5 <= clustered.high
        covered["genes"] += plain.low <= 0.5 <= plain.high
    assert covered["families"] >= binom.ppf(1e-4, 300, 0.94)
    assert covered["genes"] < 230


def test_the_interval_over_folds_is_its_definition():
    rng = np.random.default_rng(4)
    n = 60
    positive, folds, clusters = rng.random(n) < 0.3, rng.integers(0, 3, n), rng.integers(0, 25, n)
    scores = np.round(rng.normal(positive * 1.0, 1) * 3).astype(int)
    got = cross_validated_interval(scores.tolist(), positive.tolist(), folds.tolist(), clusters.tolist())
    wins = comparisons = 0.0
    influence = np.zeros(n)
    met = np.zeros(n)
    for i in np.flatnonzero(positive):
        for j in np.flatnonzero(~positive):
            if folds[i] == folds[j]:
                won = float(scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j])
                wins, comparisons = wins + won, comparisons + 1
                influence[[i, j]] += won
                met[[i, j]] += 1
    auroc = wins / comparisons
    influence -= met * auroc
    g = len(set(clusters[positive].tolist()))
    squares = sum(influence[clusters == c].sum() ** 2 for c in range(25))
    half = t.ppf(0.975, g - 1) * np.sqrt(g / (g - 1) * squares) / comparisons
    assert got.estimate == pytest.approx(auroc)
    assert (got.low, got.high) == pytest.approx((max(0, auroc - half), min(1, auroc + half)), abs=1e-5)
    with pytest.raises(ValueError, match="a positive and a negative in one fold"):
        cross_validated_interval([1, 2], [True, False], [0, 1], ["a", "b"])


# which kind gets which


def test_declarations_name_kinds_that_exist_and_say_one_thing():
    assert set(DECLARED) <= set(CATALOGUE)
    for name, declared in DECLARED.items():
        assert (declared.method is None) == (declared.missing in MISSING), name
        if declared.method == "regulator_jackknife":
            assert CATALOGUE[name].entity == "edges"
        if declared.method in {"delong", "family_bootstrap", "cross_validated_delong"}:
            assert CATALOGUE[name].entity == "gene_set"


def test_an_auroc_of_genes_gets_delong_over_families():
    rng = np.random.default_rng(5)
    X = rng.standard_normal((90, 10)) * 2.0 ** -np.arange(10)
    families = [f"f{i // 2}" for i in range(90)]
    geometry = geometry_of(X, families)
    genes = rng.choice(90, 16, replace=False)
    view = View("L0", "SV2")
    got = interval_of(geometry, "axis_separation", members_of(genes), view)
    scores = geometry.local_axes(0)[:, 1]
    others = np.setdiff1d(np.arange(90), genes)
    expected = delong_interval(
        scores[genes], scores[others], clusters=([families[i] for i in genes], [families[i] for i in others])
    )
    assert (got.low, got.high, got.method) == (expected.low, expected.high, "delong")
    assert expected.estimate == pytest.approx(effect_of(geometry, "axis_separation", members_of(genes), view))
    assert expected.estimate == pytest.approx(roc_auc_score(np.isin(np.arange(90), genes), scores))


def test_a_classifier_gets_the_interval_of_its_own_auroc():
    rng = np.random.default_rng(6)
    X = rng.standard_normal((120, 10)) * 2.0 ** -np.arange(10)
    X[:25, 1] += 1.5
    geometry = geometry_of(X, n_axes=10)
    view = View("L0", "SV2-7")
    effect = effect_of(geometry, "role_classifier", members_of(range(25)), view)
    got = interval_of(geometry, "role_classifier", members_of(range(25)), view)
    assert got.low < effect < got.high
    assert got.low + got.high == pytest.approx(2 * effect, abs=1e-5) or got.high == 1.0
    assert (got.method, got.units) == ("cross_validated_delong", 25)


def test_the_jackknife_leaves_out_families_and_counts_the_statistic_anew():
    rng = np.random.default_rng(7)
    X = rng.standard_normal((70, 10))
    families = [f"f{i // 2}" for i in range(70)]
    geometry = geometry_of(X, families)
    genes = np.arange(7, 30)  # 7 without its sister, the others two by two
    got = interval_of(geometry, "cohesion", members_of(genes), View("L0", "cosine"))
    upper = np.triu_indices(70, 1)
    cosine = geometry.cosine(0)[upper]

    def auroc(members):
        return roc_auc_score(np.isin(upper[0], members) & np.isin(upper[1], members), cosine)

    left_out = [auroc([i for i in genes if families[i] != f]) for f in sorted({families[i] for i in genes})]
    expected = jackknife_interval(auroc(genes), left_out)
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert (got.units, got.method, got.level) == (len(left_out), "family_jackknife", 0.95)


def test_a_set_left_out_by_playing_another_is_the_set_left_out(entity_of, world):
    """Sets of one size share one bound statistic; binding each of them must give the same interval."""
    made = world(rows=80, n_layers=4)
    rng = np.random.default_rng(8)
    for name in ("neighbourhood_purity", "layer_trajectory", "cka", "attention_geometry", "cross_cache_cka"):
        kind = CATALOGUE[name]
        entity_of(kind, made, rng)
        entity = members_of(rng.choice(80, 24, replace=False))
        views = kind.prepare(made.geometry, entity).views
        families = [made.families[made.universe[i]] for i in entity.members.tolist()]
        names = sorted(set(families))
        assert 6 <= len(names) <= MAX_GROUPS
        grows = DECLARED[name].grows or (lambda _: 1.0)
        for view, got in effect_intervals(made.geometry, kind, entity, views, 0).items():
            parts = [members_of(entity.members[np.array(families) != f]) for f in names]
            effects = [effect_of(made.geometry, name, e, view) / grows(e.size) for e in (entity, *parts)]
            expected = jackknife_interval(effects[0], effects[1:])
            low, high = DECLARED[name].bounds
            ends = max(low, expected.low * grows(entity.size)), min(high, expected.high * grows(entity.size))
            assert (got.low, got.high) == pytest.approx(ends, abs=1e-12), (name, view)


def test_a_pair_is_left_out_with_either_of_its_families():
    rng = np.random.default_rng(9)
    geometry = geometry_of(rng.standard_normal((60, 10)), [f"f{i // 3}" for i in range(60)])
    pairs = np.stack([rng.permutation(60)[:40], rng.permutation(60)[:40]], axis=1)
    pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1).astype(np.int64)
    entity = Entity("gene_pairs", pairs=pairs, grades=np.ones(len(pairs), np.int64))
    view = View("L0", "SV3")
    same = (geometry.poles(0)[pairs[:, 0], 2] * geometry.poles(0)[pairs[:, 1], 2]) == 1
    touched = [same[(pairs // 3 != f).all(axis=1)].mean() for f in sorted(set((pairs // 3).ravel().tolist()))]
    expected = jackknife_interval(same.mean(), touched)
    got = interval_of(geometry, "copole_rate", entity, view)
    assert got.units == len(touched) == MAX_GROUPS
    assert (got.low, got.high) == pytest.approx((max(0, expected.low), min(1, expected.high)), abs=1e-12)


def test_many_families_are_left_out_in_groups_that_nothing_random_decides():
    rng = np.random.default_rng(10)
    geometry = geometry_of(rng.standard_normal((150, 10)))
    entity = members_of(rng.choice(150, 70, replace=False))
    first, second = (interval_of(geometry, "cohesion", entity, View("L0", "cosine"), seed) for seed in (1, 2))
    assert first == second
    assert first.units == MAX_GROUPS
    drawn = [interval_of(geometry, "pole_enrichment", entity, View("L0", "SV1+"), seed) for seed in (*range(9), 0)]
    assert drawn[0] == drawn[-1]
    assert len(set(drawn)) > 1


# where there is none


def test_there_is_no_interval_where_none_is_valid():
    rng = np.random.default_rng(11)
    X = rng.standard_normal((80, 10))
    family = ["one"] * 12 + [f"g{i}" for i in range(68)]
    geometry = geometry_of(X, family)
    few = members_of([*range(12), 20, 21])
    assert effective_clusters(["one"] * 12 + ["a", "b"]) == pytest.approx(14**2 / 146)
    cases = {
        "few_clusters": interval_of(geometry, "cohesion", few, View("L0", "cosine")),
        "size_dependent": interval_of(geometry, "k90", members_of(range(20, 40)), View("L0", "unit sphere")),
        "not_smooth": interval_of(geometry, "two_nn", members_of(range(20, 40)), View("L0", "unit sphere")),
    }
    outside = np.flatnonzero(geometry.poles(0)[:, 0] < 1)
    outside = outside[outside >= 12][:10]
    cases["no_spread"] = interval_of(geometry, "pole_enrichment", members_of(outside), View("L0", "SV1+"))
    hub = np.array([(r, r + 20 + i) for r in range(1, 7) for i in range(4)], dtype=np.int64)
    signs = np.tile([1, -1, -1, -1], 6).astype(np.int64)
    thin = Entity("edges", edges=hub[:20], signs=signs[:20])  # five activating edges: one regulator less is too few
    cases["too_thin"] = interval_of(geometry, "signed_edge_split", thin, View("L0", "SV2-7"))
    for reason, got in cases.items():
        assert (got.low, got.high, got.method, got.missing) == (None, None, "", reason)
        assert MISSING[reason]


def test_a_kind_that_declares_nothing_gets_nothing(monkeypatch):
    from hyposcreen.tests_library import uncertainty

    monkeypatch.setattr(uncertainty, "DECLARED", {})
    geometry = geometry_of(np.random.default_rng(12).standard_normal((40, 8)))
    got = interval_of(geometry, "cohesion", members_of(range(10)), View("L0", "cosine"))
    assert (got.low, got.missing) == (None, "undeclared")


# coverage


def population(rng: np.random.Generator) -> tuple[Geometry, np.ndarray]:
    """400 genes in families of one to three; genes 0 … 199 are those a label is drawn from, shifted, families alike."""
    X = rng.standard_normal((400, 10)) * 2.0 ** -np.linspace(0, 2, 10)
    families, i = np.zeros(400, int), 0
    for f in range(400):
        size = int(rng.integers(1, 4))
        families[i : i + size] = f
        X[i : i + size] = 0.4 * X[i : i + size] + X[i]
        i += size
        if i >= 400:
            break
    X[:200, 1] += 0.8
    return geometry_of(X, [f"f{f}" for f in families]), families


@pytest.mark.parametrize(
    ("kind", "view"),
    [
        ("axis_separation", View("L0", "SV1")),
        ("pole_enrichment", View("L0", "SV1+")),
        ("cohesion", View("L0", "cosine")),
        ("neighbourhood_purity", View("L0", "kNN")),
    ],
)
def test_sets_of_families_drawn_from_a_population_are_covered(kind, view):
    """20 families are drawn as a set; the truth is the mean effect of such sets."""
    rng = np.random.default_rng(13)
    geometry, families = population(rng)
    offered = np.unique(families[:200])

    def draw() -> Entity:
        return members_of(np.flatnonzero(np.isin(families, rng.choice(offered, 20, replace=False))))

    truth = np.mean([effect_of(geometry, kind, draw(), view) for _ in range(400)])
    found = [interval_of(geometry, kind, draw(), view) for _ in range(200)]
    covered = sum(i.low <= truth <= i.high for i in found)
    assert binom.ppf(1e-3, 200, 0.92) <= covered


def test_pairs_among_drawn_genes_are_covered_and_not_much_too_often():
    """A fixed graph over a population; genes are drawn, and the pairs among them are the annotation."""
    rng = np.random.default_rng(14)
    X = rng.standard_normal((300, 10)) * 2.0 ** -np.linspace(0, 2, 10)
    geometry = geometry_of(X)
    upper = np.stack(np.triu_indices(300, 1), axis=1)
    likely = 0.02 + 0.25 * (np.abs(X[upper[:, 0], 0] - X[upper[:, 1], 0]) < 0.4)
    graph = upper[rng.random(len(upper)) < likely].astype(np.int64)
    view = View("L0", "SV1")
    truth = effect_of(geometry, "copole_rate", Entity("gene_pairs", pairs=graph), view)
    covered, width, rates = 0, [], []
    for _ in range(150):
        genes = rng.choice(300, 60, replace=False)
        pairs = graph[np.isin(graph, genes).all(axis=1)]
        got = interval_of(geometry, "copole_rate", Entity("gene_pairs", pairs=pairs), view)
        rates.append(effect_of(geometry, "copole_rate", Entity("gene_pairs", pairs=pairs), view))
        covered += got.low <= truth <= got.high
        width.append(got.high - got.low)
    assert covered >= binom.ppf(1e-3, 150, 0.92)
    assert np.mean(width) <= 2 * np.sqrt(2) * t_quantile(MAX_GROUPS - 1) * np.std(rates)


def test_regulators_drawn_from_a_population_are_covered():
    """Regulators differ in how close their targets are; 20 of 200 are drawn with all their targets."""
    rng = np.random.default_rng(15)
    geometry = geometry_of(rng.standard_normal((300, 10)))
    edges = {}
    for r in range(200):
        order = np.argsort(-geometry.window_similarity(0, 2, 7, r), kind="stable")
        reach = int(rng.integers(30, 299))
        edges[r] = [(r, int(i)) for i in rng.choice(order[1:reach], int(rng.integers(3, 9)), replace=False)]

    def some(regulators) -> Entity:
        rows = np.array([e for r in regulators for e in edges[int(r)]], dtype=np.int64)
        return Entity("edges", edges=rows, signs=np.ones(len(rows), np.int64))

    view = View("L0", "SV2-7")
    truth = effect_of(geometry, "edge_auroc", some(range(200)), view)
    found = [interval_of(geometry, "edge_auroc", some(rng.choice(200, 20, replace=False)), view) for _ in range(120)]
    assert sum(i.low <= truth <= i.high for i in found) >= binom.ppf(1e-3, 120, 0.92)


# rivals of a classifier


def test_rivals_say_what_expression_norm_and_degree_reach_alone():
    rng = np.random.default_rng(16)
    X = rng.standard_normal((150, 10))
    expression, counts = rng.gamma(2, size=150), rng.integers(0, 9, 150)
    members = np.argsort(-expression)[:30]
    rows = np.arange(150)
    covariates = {"expression": expression, "detection": rng.random(150)}
    geometry = Geometry([X.astype(np.float32)], rows, rows, [f"g{i}" for i in rows], 10, covariates=covariates)
    classifier = CATALOGUE["role_classifier"]
    view = View("L0", "SV2-7")

    def rivals(genes, counts) -> dict[str, float]:
        return rival_aurocs(geometry, classifier, members_of(genes), [view, View("L0", "SV1-10")], counts)[view]

    found = rivals(members, {"other degree": counts})
    assert list(found) == ["norm", "expression and detection", "degree"]
    assert found["expression and detection"] > 0.95
    assert abs(found["degree"] - 0.5) < 0.2
    lengths = np.linalg.norm(X - X.mean(axis=0), axis=1)
    by_norm = rivals(np.argsort(-lengths)[:30], {})
    assert by_norm["norm"] > 0.95
    assert "degree" not in by_norm
    other = CATALOGUE["cohesion"]
    assert rival_aurocs(geometry, other, members_of(members), [View("L0", "cosine")], {}) == {View("L0", "cosine"): {}}
