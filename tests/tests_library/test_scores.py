"""Label-free gene scores against scikit-learn, networkx and the formulas written out."""

import networkx as nx
import numpy as np
import pytest
from scipy.stats import binom, rankdata, spearmanr
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from hyposcreen.tests_library.engine.knn import neighbour_count
from hyposcreen.tests_library.engine.maxt import p_value
from hyposcreen.tests_library.run import scan
from hyposcreen.tests_library.statistics.base import Entity, View
from hyposcreen.tests_library.statistics.scores import GENE_SCORE, SCORES, clustering, gene_scores, summed_log_ratios

MEMBERS = np.array([0, 3, 4, 9, 17, 21, 30, 33, 44, 50, 52, 59])


def prepared_for(geometry, members):
    return GENE_SCORE.prepare(geometry, Entity("gene_set", members=np.asarray(members)))


def effects(geometry, members) -> dict[View, float]:
    prepared = prepared_for(geometry, members)
    totals = prepared.sums(np.arange(geometry.n, dtype=np.int32)[None])
    assert totals.dtype == np.int64
    return dict(zip(prepared.views, prepared.offset + prepared.scale * totals[0], strict=True))


def oracle(X: np.ndarray, k: int) -> dict[str, np.ndarray]:
    """Every score in floating point, from its definition."""
    Y = X.astype(np.float64) - X.astype(np.float64).mean(axis=0)
    unit = Y / np.linalg.norm(Y, axis=1)[:, None]
    distance, index = NearestNeighbors(n_neighbors=k).fit(unit).kneighbors()
    G = nx.Graph((i, int(j)) for i, row in enumerate(index) for j in row)
    local = nx.clustering(G)
    return {
        "norm": np.linalg.norm(Y, axis=1),
        "local dimension": 1 / np.mean(np.log(distance[:, -1:] / distance[:, :-1]), axis=1),
        "clustering": np.round([local[i] for i in range(len(X))], 12),
        "hubness": np.bincount(index.ravel(), minlength=len(X)),
        "centrality": (unit @ unit.sum(axis=0) - 1) / (len(X) - 1),
    }


def test_every_score_is_the_auroc_of_its_definition(world):
    w = world(rows=60, seed=1)
    got = effects(w.geometry, MEMBERS)
    label = np.isin(np.arange(60), MEMBERS)
    assert len(got) == 3 * 5
    for q in range(3):
        for name, score in oracle(w.layers[q], 8).items():
            assert got[View(f"L{q}", name)] == pytest.approx(roc_auc_score(label, score), abs=1e-9), (q, name)


def test_scores_have_the_values_of_their_definitions(world):
    w = world(rows=60, seed=2)
    exact = oracle(w.layers[1], 8)
    scores = gene_scores(w.geometry, 1)
    assert scores.dtype == np.int64
    np.testing.assert_allclose(2 * 7 / (-scores[:, 1] / 2**20), exact["local dimension"], rtol=1e-4)
    np.testing.assert_allclose(scores[:, 2] / 2**30, exact["clustering"], atol=1e-8)
    assert (scores[:, 3] == exact["hubness"]).all()
    np.testing.assert_allclose(scores[:, 4] / 2**30 / 59, exact["centrality"], atol=1e-5)
    ratio = np.sqrt(scores[:, 0]) / exact["norm"]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)


def test_local_dimension_of_a_flat_patch_is_its_dimension():
    """Points of a small d-dimensional patch of a sphere; inverse dimensions averaged as MacKay & Ghahramani say."""
    rng = np.random.default_rng(0)
    for d in (2, 5):
        X = np.concatenate([0.05 * rng.uniform(-1, 1, (1500, d)), np.ones((1500, 1))], axis=1)
        X /= np.linalg.norm(X, axis=1)[:, None]
        similarity = np.rint(X @ X.T * 2**30).astype(np.int64)
        inverse = summed_log_ratios(similarity, 20) / 2**20 / 2 / 19
        assert 1 / inverse.mean() == pytest.approx(d, rel=0.12)


def test_clustering_needs_two_neighbours():
    triangle_and_tail = np.zeros((5, 5), dtype=bool)
    for i, j in ((0, 1), (1, 2), (0, 2), (2, 3)):
        triangle_and_tail[i, j] = triangle_and_tail[j, i] = True
    assert clustering(triangle_and_tail).tolist() == [1 << 30, 1 << 30, (1 << 30) // 3, 0, 0]


def test_equal_scores_have_equal_ranks(world):
    """Hubness is a count, so it ties; every gene of a tie has the mean of its ranks."""
    w = world(rows=60, seed=3)
    hubness = gene_scores(w.geometry, 0)[:, SCORES.index("hubness")]
    assert len(np.unique(hubness)) < 40
    everyone = [prepared_for(w.geometry, [i]).sums(np.arange(60, dtype=np.int32)[None])[0, 3] for i in range(60)]
    assert (np.array(everyone) == 2 * rankdata(hubness) - 61).all()


def test_a_draw_is_the_set_of_the_genes_that_stand_in(world):
    w = world(rows=60, seed=4)
    rng = np.random.default_rng(0)
    arrangements = np.stack([rng.permutation(60) for _ in range(6)]).astype(np.int32)
    prepared = prepared_for(w.geometry, MEMBERS)
    for a, row in zip(arrangements, prepared.sums(arrangements), strict=True):
        assert (prepared.offset + prepared.scale * row == list(effects(w.geometry, np.sort(a[MEMBERS])).values())).all()


def p_of(world, geometry, members, score, m=99, seed=1) -> float:
    views = frozenset(View(f"L{q}", s) for q in range(geometry.n_layers) for s in SCORES if score in {s, "any"})
    found = scan(
        geometry,
        world.covariates,
        GENE_SCORE,
        Entity("gene_set", members=members),
        subsets={"all": views},
        nulls=("gene_label",),
        m=m,
        seed=seed,
    )[0]
    return p_value(found.subsets["all"].k, m)


def planted(X: np.ndarray, members: np.ndarray, score: str) -> np.ndarray:
    rng = np.random.default_rng(5)
    out = X.copy()
    if score == "norm":
        out[members] *= 4
    elif score == "centrality":
        out += X[0] * 0.5  # a common direction, which centring removes but for the genes that go against it
        out[members] -= X[0] * 1.5
    elif score == "local dimension":
        out[members] = X[0] + 0.5 * rng.standard_normal((len(members), 1)) * X[1]
    elif score == "hubness":  # nothing in the many small directions: closer to everyone than others are
        out[members, 6:] = 0
    else:  # a knot: each gene of it is in the others' lists, and the lists' genes list each other
        out[members] = X[0] + 0.1 * X[members]
    return out


@pytest.mark.parametrize("score", SCORES)
def test_a_planted_score_is_found(score, world):
    w = world(rows=120, dim=24, seed=6)
    members = np.sort(np.random.default_rng(1).choice(120, 15, replace=False))
    geometry = w.again(layers=[planted(X, members, score) for X in w.layers])
    assert p_of(w, geometry, members, score, m=199) <= 0.01
    assert p_of(w, geometry, members, "any", m=199) <= 0.02


def test_random_sets_are_not_found_more_often_than_said(world):
    w = world(rows=80, seed=7, n_layers=2)
    rng = np.random.default_rng(3)
    found = [p_of(w, w.geometry, np.sort(rng.choice(80, 14, replace=False)), "any", seed=s) <= 0.1 for s in range(200)]
    low, high = binom.ppf([1e-4, 1 - 1e-4], 200, 0.1)
    assert low <= sum(found) <= high


def test_scores_do_not_depend_on_the_names_or_scale_of_the_embedding(world):
    w = world(rows=60, seed=8)
    louder = w.again(layers=[4 * X for X in w.layers])
    assert (gene_scores(louder, 2) == gene_scores(w.geometry, 2)).all()
    order = np.random.default_rng(2).permutation(60)
    turned = w.again(layers=[X[order] for X in w.layers])
    for column in range(5):
        assert (
            spearmanr(gene_scores(turned, 2)[:, column], gene_scores(w.geometry, 2)[order, column]).statistic > 1 - 1e-9
        )


@pytest.mark.parametrize("what", ["one place", "two places", "one layer", "few genes"])
def test_degenerate_input_gives_a_number(what, world):
    rows = 7 if what == "few genes" else 24
    w = world(rows=rows, seed=9, n_layers=1 if what == "one layer" else 2)
    assert neighbour_count(rows) < rows
    geometry = w.again(layers=w.degenerate(what))
    prepared = prepared_for(geometry, np.arange(GENE_SCORE.min_size))
    totals = prepared.sums(np.stack([np.arange(rows), np.arange(rows)[::-1]]).astype(np.int32))
    assert totals.dtype == np.int64
    assert totals.shape == (2, 5 * len(w.layers))
    if what == "one place":
        assert (totals[:, [0, 1, 4]] == 0).all()  # every gene is the same; lists are then by lot
    effect = prepared.offset + prepared.scale * totals
    assert ((effect >= 0) & (effect <= 1)).all()
