"""Each statistic against an independent implementation: scikit-learn, SciPy, NumPy, or plain Python sets."""

import numpy as np
import pytest
from scipy.stats import hypergeom, mannwhitneyu, rankdata
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from hyposcreen.tests_library.catalogue import CATALOGUE
from hyposcreen.tests_library.run import scan
from hyposcreen.tests_library.statistics.base import Entity, View
from hyposcreen.tests_library.statistics.classifier import grouped_folds
from hyposcreen.tests_library.statistics.layers import layer_contrasts


def effects(kind: str, geometry, entity) -> dict[View, float]:
    """What a person reads for the observed labelling."""
    prepared = CATALOGUE[kind].prepare(geometry, entity)
    totals = prepared.sums(np.arange(geometry.n, dtype=np.int32)[None])
    assert totals.dtype == np.int64
    return dict(zip(prepared.views, prepared.offset + prepared.scale * totals[0], strict=True))


def cosine(X: np.ndarray) -> np.ndarray:
    """Cosine similarity of the gene-centred matrix, in floating point."""
    Y = X.astype(np.float64) - X.astype(np.float64).mean(axis=0)
    Y /= np.linalg.norm(Y, axis=1)[:, None]
    return Y @ Y.T


@pytest.fixture(params=[0, 1], ids=["distinct", "ties"])
def tied_world(request, world):
    """With and without blocks of identical genes, which tie everywhere."""
    w = world(rows=60, seed=20)
    if request.param:
        layers = [X.copy() for X in w.layers]
        for X in layers:
            X[:9] = X[0]
            X[30:40] = X[30]
        w.layers, w.geometry = layers, w.again(layers=layers)
    return w


def test_axis_separation_is_the_auroc_and_the_rank_sum_test(tied_world):
    w = tied_world
    members = np.array([0, 1, 5, 17, 30, 33, 44, 50])
    label = np.isin(np.arange(60), members)
    got = effects("axis_separation", w.geometry, Entity("gene_set", members=members))
    assert len(got) == 30
    for view, effect in got.items():
        score = w.geometry.local_axes(int(view.layer[1:]))[:, int(view.coordinate[2:]) - 1]
        assert effect == pytest.approx(roc_auc_score(label, score), abs=1e-12)
        U = mannwhitneyu(score[label], score[~label]).statistic
        assert effect == pytest.approx(U / (8 * 52), abs=1e-12)


def test_pole_enrichment_is_fishers_exact_test(world):
    w = world(rows=60, seed=21)
    score = w.geometry.local_axes(0)[:, 0]
    members = np.sort(np.concatenate([np.argsort(score)[-5:], np.argsort(score)[:7]]))
    view = View("L0", "SV1+")
    m = 9999
    found = scan(
        w.geometry,
        w.covariates,
        CATALOGUE["pole_enrichment"],
        Entity("gene_set", members=members),
        subsets={"one": frozenset({view})},
        nulls=("gene_label",),
        m=m,
        seed=3,
    )[0].subsets["one"]
    numbers = found.views[0]
    observed = len(set(np.argsort(score)[-15:]) & set(members))
    assert numbers.statistic == observed == 5
    assert numbers.effect == pytest.approx(observed / 12, abs=1e-15)
    null = hypergeom(60, 15, 12)
    exact = null.sf(observed - 1)
    assert (found.k + 1) / (m + 1) == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / m))
    assert numbers.null_mean == pytest.approx(null.mean() / 12, abs=4 * null.std() / 12 / np.sqrt(m))
    assert numbers.null_sd == pytest.approx(null.std() / 12, rel=0.03)


def test_poles_plus_and_minus_are_top_and_bottom(world):
    w = world(rows=60, seed=22)
    members = np.arange(12)
    got = effects("pole_enrichment", w.geometry, Entity("gene_set", members=members))
    for q in range(3):
        for k in range(10):
            order = np.argsort(w.geometry.local_axes(q)[:, k])
            for sign, pole in (("+", order[-15:]), ("-", order[:15])):
                assert 12 * got[View(f"L{q}", f"SV{k + 1}{sign}")] == pytest.approx(len(set(pole) & set(range(12))))


def test_cohesion_is_the_auroc_over_pairs(tied_world):
    w = tied_world
    members = np.array([0, 1, 5, 17, 30, 33, 44, 50])
    upper = np.triu_indices(60, 1)
    inside = np.isin(upper[0], members) & np.isin(upper[1], members)
    got = effects("cohesion", w.geometry, Entity("gene_set", members=members))
    for q in range(3):
        exact = roc_auc_score(inside, w.geometry.cosine(q)[upper])
        assert got[View(f"L{q}", "cosine")] == pytest.approx(exact, abs=1e-12)
        in_floats = roc_auc_score(inside, np.round(cosine(w.layers[q])[upper], 6))
        assert got[View(f"L{q}", "cosine")] == pytest.approx(in_floats, abs=1e-3)


def test_layer_trajectory_is_a_contrast_of_cohesion(world):
    w = world(rows=50, n_layers=5, seed=23)
    e = Entity("gene_set", members=np.arange(3, 14))
    by_layer = np.array(list(effects("cohesion", w.geometry, e).values())) - 0.5
    got = effects("layer_trajectory", w.geometry, e)
    assert [v.coordinate for v in got] == ["change", "trend", "bend"]
    for view, effect in got.items():
        weights = layer_contrasts(5)[view.coordinate]
        assert view.layer == "L0:L4"
        assert effect == pytest.approx(by_layer @ weights * 2 / np.abs(weights).sum(), abs=1e-12)
    assert got[View("L0:L4", "change")] == pytest.approx(by_layer[-1] - by_layer[0], abs=1e-12)


@pytest.mark.parametrize("n_layers", [2, 3, 4, 7, 13])
def test_contrasts_cancel_what_all_layers_share(n_layers):
    contrasts = layer_contrasts(n_layers)
    assert set(contrasts) == ({"change", "trend", "bend"} if n_layers > 2 else {"change"})
    for weights in contrasts.values():
        assert weights.dtype == np.int64
        assert weights.sum() == 0
        assert weights.any()
    if n_layers > 2:
        assert contrasts["bend"] @ contrasts["trend"] == contrasts["bend"] @ contrasts["change"] == 0
        x = np.arange(n_layers)
        np.testing.assert_allclose(np.polyfit(x, contrasts["bend"], 2)[0] > 0, True)
        np.testing.assert_allclose(np.polyval(np.polyfit(x, contrasts["bend"], 2), x), contrasts["bend"], atol=1e-9)


def test_graded_gradient_is_the_slope_on_quantiles(world, entity):
    w = world(rows=40, seed=24)
    e = entity("gene_pairs", w, np.random.default_rng(1), size=30)
    upper = np.triu_indices(40, 1)
    got = effects("graded_gradient", w.geometry, e)
    for q in range(3):
        quantile = np.zeros((40, 40))
        quantile[upper] = rankdata(w.geometry.cosine(q)[upper]) / len(upper[0])
        quantile += quantile.T
        slope = np.polyfit(rankdata(e.grades) / len(e.grades), quantile[e.pairs[:, 0], e.pairs[:, 1]], 1)[0]
        assert got[View(f"L{q}", "cosine")] == pytest.approx(slope, abs=1e-12)


def test_a_gradient_without_grades_is_refused(world):
    pairs = np.array([[0, 1], [2, 3]])
    with pytest.raises(ValueError, match="grades"):
        CATALOGUE["graded_gradient"].prepare(world().geometry, Entity("gene_pairs", pairs=pairs))


def test_copole_rate_is_counted_with_plain_sets(tied_world, entity):
    w = tied_world
    e = entity("gene_pairs", w, np.random.default_rng(2), size=40)
    got = effects("copole_rate", w.geometry, e)
    for view, effect in got.items():
        score = w.geometry.local_axes(int(view.layer[1:]))[:, int(view.coordinate[2:]) - 1]
        rank = rankdata(score)  # a gene is in the top pole when its mid-rank is one of the 15 largest ranks
        top = {i for i in range(60) if rank[i] > 45}
        bottom = {i for i in range(60) if rank[i] < 16}
        same = sum((i in top and j in top) or (i in bottom and j in bottom) for i, j in e.pairs.tolist())
        assert effect == pytest.approx(same / len(e.pairs), abs=1e-12)


@pytest.mark.parametrize("window", [(2, 7), (1, 10)])
def test_edge_auroc_is_the_weighted_mean_of_aurocs_within_regulators(window, world):
    """Regulators 3 and 8 lie inside the universe, 50 and 55 outside; similarity comes from a plain SVD."""
    low, high = window
    w = world(rows=60, seed=25, universe=np.arange(45))
    rng = np.random.default_rng(3)
    targets = {3: rng.choice(np.arange(4, 45), 9, replace=False), 8: [9, 10, 44], 50: [0, 1, 2, 3], 55: [3, 8, 12]}
    edges = np.array([(r, t) for r, ts in targets.items() for t in ts])
    got = effects("edge_auroc", w.geometry, Entity("edges", edges=edges, signs=np.ones(len(edges), np.int64)))
    for q in range(3):
        Y = w.layers[q].astype(np.float64)
        Y -= Y.mean(axis=0)
        U, S, _ = np.linalg.svd(Y, full_matrices=False)
        scores = (U * S)[:, low - 1 : high]
        scores = scores / np.linalg.norm(scores, axis=1)[:, None]
        total = comparisons = 0.0
        for r, ts in targets.items():
            others = np.array([g for g in range(45) if g != r])
            label = np.isin(others, ts)
            weight = label.sum() * (~label).sum()
            total += weight * roc_auc_score(label, scores[others] @ scores[r])
            comparisons += weight
        assert got[View(f"L{q}", f"SV{low}-{high}")] == pytest.approx(total / comparisons, abs=1e-9)


@pytest.mark.parametrize("size", [8, 30])
def test_role_classifier_is_cross_validated_lda(size, world):
    w = world(rows=90, seed=26)
    rng = np.random.default_rng(size)
    score = w.geometry.local_axes(0)[:, 2] + rng.normal(0, 2**29, 90)
    members = np.sort(np.argsort(score)[-size:])
    label = np.isin(np.arange(90), members)
    fold = grouped_folds(w.families)
    got = effects("role_classifier", w.geometry, Entity("gene_set", members=members))
    assert len(got) == 6
    for view, effect in got.items():
        low, high = (int(v) for v in view.coordinate[2:].split("-"))
        X = w.geometry.local_axes(int(view.layer[1:]))[:, low - 1 : high] / 2.0**30
        wins = comparisons = 0.0
        for f in range(5):
            test = fold == f
            if label[test].all() or not label[test].any():
                continue
            model = LinearDiscriminantAnalysis().fit(X[~test], label[~test])
            pairs = label[test].sum() * (~label[test]).sum()
            wins += pairs * roc_auc_score(label[test], model.decision_function(X[test]))
            comparisons += pairs
        assert effect == pytest.approx(wins / comparisons, abs=1e-4)
    assert got[View("L0", "SV2-7")] > 0.6


def test_families_stay_in_one_fold_and_folds_are_balanced():
    rng = np.random.default_rng(0)
    families = [f"f{i}" for i in rng.integers(0, 40, 200)]
    fold = grouped_folds(families)
    assert all(len({int(fold[i]) for i in range(200) if families[i] == f}) == 1 for f in set(families))
    assert np.ptp(np.bincount(fold, minlength=5)) <= 3
    order = rng.permutation(200)
    assert (grouped_folds([families[i] for i in order]) == fold[order]).all()


def test_effective_dimension_is_the_participation_ratio(world):
    w = world(rows=60, seed=27)
    members = np.array([0, 3, 5, 17, 21, 30, 33, 44, 50, 52])
    got = effects("effective_dimension", w.geometry, Entity("gene_set", members=members))
    for q in range(3):
        Y = w.layers[q].astype(np.float64) - w.layers[q].astype(np.float64).mean(axis=0)
        Y = Y[members] / np.linalg.norm(Y[members], axis=1)[:, None]
        eigenvalues = np.linalg.svd(Y - Y.mean(axis=0), compute_uv=False) ** 2
        ratio = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
        assert got[View(f"L{q}", "unit sphere")] == pytest.approx(ratio, abs=1e-3)


def test_planted_signals_are_found_and_point_the_right_way(world):
    """One planted effect a direction, so that no sign can be swapped unnoticed."""
    w = world(rows=60, seed=28)
    low = np.argsort(w.geometry.local_axes(0)[:, 0])[:10]
    assert effects("axis_separation", w.geometry, Entity("gene_set", members=low))[View("L0", "SV1")] == 0
    close = np.argsort(-w.geometry.cosine(2)[7])[:10]
    got = effects("cohesion", w.geometry, Entity("gene_set", members=close))
    assert got[View("L2", "cosine")] > 0.8
    spread = effects("effective_dimension", w.geometry, Entity("gene_set", members=np.arange(10)))
    tight = effects("effective_dimension", w.geometry, Entity("gene_set", members=close))
    assert tight[View("L2", "unit sphere")] < spread[View("L2", "unit sphere")]
