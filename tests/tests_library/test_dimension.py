"""Dimensions of a set against NumPy, SciPy and the published definitions; made clouds against their theory."""

import hashlib

import numpy as np
import pytest
from scipy.stats import binom, entropy
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import NearestNeighbors

from hyposcreen.tests_library.engine import twonn
from hyposcreen.tests_library.engine.clouds import axis_weights, gaussian_cosines, picks, shuffled_cosines
from hyposcreen.tests_library.engine.maxt import exceedances, moments, p_value, standardise
from hyposcreen.tests_library.engine.spectra import centred, cosines
from hyposcreen.tests_library.run import scan
from hyposcreen.tests_library.statistics.base import Entity
from hyposcreen.tests_library.statistics.dimension import (
    ENTROPY_RANK,
    FEATURE_SHUFFLE,
    K90,
    MATCHED_GAUSSIAN,
    TWO_NN,
    entropy_rank,
    k90,
    shares,
)

KINDS = (ENTROPY_RANK, K90, TWO_NN)
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
every_cloud = pytest.mark.parametrize(
    ("kind", "null"), [(kind, null) for kind in KINDS for null in kind.nulls], ids=lambda x: getattr(x, "name", x)
)
MEMBERS = np.array([0, 3, 4, 9, 17, 21, 30, 33, 44, 50, 52, 59])
KEY = (17, 4)
ONE = 1 << 30


def prepared_for(kind, geometry, members):
    return kind.prepare(geometry, Entity("gene_set", members=np.asarray(members)))


def effects(kind, geometry, members) -> np.ndarray:
    prepared = prepared_for(kind, geometry, members)
    totals = prepared.sums(np.arange(geometry.n, dtype=np.int32)[None])
    assert totals.dtype == np.int64
    return prepared.offset + prepared.scale * totals[0]


def unit(X: np.ndarray) -> np.ndarray:
    Y = X.astype(np.float64) - X.astype(np.float64).mean(axis=0)
    return Y / np.linalg.norm(Y, axis=1)[:, None]


def facco(points: np.ndarray) -> float:
    """TwoNN as published: a line through the origin fitted to the lower 90 % of the ordered ratios."""
    distance, _ = NearestNeighbors(n_neighbors=2).fit(points).kneighbors()
    ratio = np.sort(distance[:, 1] / distance[:, 0])
    n = len(points)
    kept = int(n * 0.9)
    fit = LinearRegression(fit_intercept=False)
    fit.fit(np.log(ratio[:kept, None]), -np.log(1 - np.arange(1, kept + 1) / n))
    return float(fit.coef_[0])


def test_spectral_dimensions_are_those_of_principal_components(world):
    w = world(rows=60, seed=1)
    for q in range(3):
        share = PCA().fit(unit(w.layers[q])[MEMBERS]).explained_variance_ratio_
        assert effects(ENTROPY_RANK, w.geometry, MEMBERS)[q] == pytest.approx(np.exp(entropy(share)), abs=1e-4)
        got = effects(K90, w.geometry, MEMBERS)[q]
        components = PCA(n_components=0.9, svd_solver="full").fit(unit(w.layers[q])[MEMBERS]).n_components_
        assert np.ceil(got) == components
        exact = np.interp(0.9, np.concatenate([[0], np.cumsum(share)]), np.arange(len(share) + 1))
        assert got == pytest.approx(exact, abs=1e-4)


def test_two_nn_is_the_published_fit(world):
    w = world(rows=60, seed=2)
    for q in range(3):
        for members in (MEMBERS, np.arange(10), np.arange(60)):
            exact = facco(unit(w.layers[q])[members])
            assert effects(TWO_NN, w.geometry, members)[q] == pytest.approx(np.log(exact), abs=1e-4)


def test_two_nn_recovers_the_dimension_of_a_patch():
    rng = np.random.default_rng(3)
    for d in (2, 4):
        X = np.concatenate([0.05 * rng.uniform(-1, 1, (1200, d)), np.ones((1200, 1))], axis=1)
        X /= np.linalg.norm(X, axis=1)[:, None]
        logs = twonn.log_distances(np.rint(X @ X.T * ONE).astype(np.int64))[:, :, None]
        everyone = np.arange(1200)
        assert twonn.two_nn_dimension(logs, everyone, everyone.astype(np.int32)[None])[0, 0] == pytest.approx(
            d, rel=0.15
        )


def test_known_spectra():
    """Orthogonal points spread evenly over m − 1 directions; pairs of equal points over half as many."""
    apart = np.eye(10, dtype=np.int64) * ONE
    np.testing.assert_allclose(shares(apart[None])[0], [1 / 9] * 9 + [0], atol=1e-12)
    assert entropy_rank(apart[None])[0] == pytest.approx(9, abs=1e-9)
    assert k90(apart[None])[0] == pytest.approx(8.1, abs=1e-9)
    twins = np.kron(np.eye(5, dtype=np.int64), np.ones((2, 2), np.int64)) * ONE
    assert entropy_rank(twins[None])[0] == pytest.approx(4, abs=1e-9)
    line = np.where(np.arange(10)[:, None] // 5 == np.arange(10) // 5, ONE, -ONE)
    assert entropy_rank(line[None])[0] == pytest.approx(1, abs=1e-9)
    assert k90(line[None])[0] == pytest.approx(0.9, abs=1e-9)
    for nothing in (entropy_rank, k90):
        assert nothing(np.full((1, 10, 10), ONE))[0] == 0


def test_the_centred_matrix_is_exact():
    C = np.random.default_rng(0).integers(-ONE, ONE, (3, 8, 8))
    J = [[int(8 * (i == j)) - 1 for j in range(8)] for i in range(8)]
    for c, got in zip(C, centred(C), strict=True):
        exact = np.array(J, dtype=object) @ c.astype(object) @ np.array(J, dtype=object)
        symmetric = np.allclose(c, c.T)
        assert not symmetric
        assert (centred((c + c.T)[None])[0] == exact + exact.T).all()
        assert got.shape == (8, 8)


@every_kind
def test_a_draw_is_the_set_of_the_genes_that_stand_in(kind, world):
    w = world(rows=60, seed=4)
    rng = np.random.default_rng(0)
    arrangements = np.stack([rng.permutation(60) for _ in range(6)]).astype(np.int32)
    prepared = prepared_for(kind, w.geometry, MEMBERS)
    totals = prepared.sums(arrangements)
    assert totals.shape == (6, 3)
    for a, row in zip(arrangements, totals, strict=True):
        assert (prepared.offset + prepared.scale * row == effects(kind, w.geometry, np.sort(a[MEMBERS]))).all()


@every_kind
def test_the_same_genes_in_another_order_tie_to_the_last_bit(kind, world):
    w = world(rows=60, seed=5)
    rng = np.random.default_rng(0)
    shuffled = np.tile(np.arange(60), (50, 1))
    for row in shuffled:
        row[MEMBERS] = rng.permutation(MEMBERS)
    totals = prepared_for(kind, w.geometry, MEMBERS).sums(shuffled.astype(np.int32))
    assert (totals == totals[0]).all()


def test_both_paths_of_two_nn_have_the_same_bits():
    if not twonn.HAVE_NUMBA:
        pytest.skip("numba is not here, so there is one path only")
    rng = np.random.default_rng(6)
    for m in (3, 10, 11, 20, 29):
        half = np.triu(rng.integers(-ONE, ONE + 1, (4, 30, 30)), 1)
        half[0] //= 1 << 28  # ties
        half[0] *= 1 << 28
        logs = np.stack([twonn.log_distances(h + h.T) for h in half], axis=2)
        arrangements = np.stack([rng.permutation(30) for _ in range(9)]).astype(np.int32)
        members = rng.choice(30, m, replace=False)
        fast = twonn.two_nn_dimension(logs, members, arrangements)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(twonn, "HAVE_NUMBA", False)
            patch.setattr(twonn, "_NUMPY_CELLS", 1000)
            slow = twonn.two_nn_dimension(logs, members, arrangements)
        assert fast.tobytes() == slow.tobytes()
        assert np.isfinite(fast).all()


def own_p(kind, geometry, members, null, m=99, seed=1) -> float:
    """The p-value of the maximum over layers under a null that the kind draws itself."""
    totals = prepared_for(kind, geometry, members).own[null]((seed, 0), 0, m + 1)
    return p_value(exceedances(standardise(totals, moments(totals), kind.alternative).max(axis=1)), m)


def scanned(kind, world, geometry, members, m=99, seed=1):
    prepared = prepared_for(kind, geometry, members)
    return scan(
        geometry,
        world.covariates,
        kind,
        Entity("gene_set", members=members),
        subsets={"all": frozenset(prepared.views)},
        nulls=("gene_label",),
        m=m,
        seed=seed,
    )[0].subsets["all"]


@every_kind
def test_a_flat_set_is_found(kind, world):
    """Genes of the set vary along two directions only."""
    w = world(rows=120, dim=24, seed=7)
    members = np.sort(np.random.default_rng(1).choice(120, 24, replace=False))
    layers = [X.copy() for X in w.layers]
    for X in layers:
        X[members] = X[members][:, :2] @ np.random.default_rng(2).standard_normal((2, 24)) + 3 * X[0]
    found = scanned(kind, w, w.again(layers=layers), members, m=199)
    assert p_value(found.k, 199) <= 0.01
    assert all(v.effect < v.null_mean for v in found.views)


@every_kind
def test_random_sets_are_not_found_more_often_than_said(kind, world):
    w = world(rows=80, seed=8, n_layers=2)
    rng = np.random.default_rng(3)
    sets = [np.sort(rng.choice(80, 14, replace=False)) for _ in range(200)]
    found = [p_value(scanned(kind, w, w.geometry, s, seed=i).k, 99) <= 0.1 for i, s in enumerate(sets)]
    low, high = binom.ppf([1e-4, 1 - 1e-4], 200, 0.1)
    assert low <= sum(found) <= high


@every_cloud
def test_own_draws_depend_on_key_and_draw_alone(kind, null, world):
    w = world(rows=60, seed=9)
    prepared = prepared_for(kind, w.geometry, MEMBERS)
    draw = prepared.own[null]
    together = draw(KEY, 0, 9)
    assert together.dtype == np.int64
    assert together.shape == (9, 3)
    assert (together[0] == prepared.sums(np.arange(60, dtype=np.int32)[None])[0]).all()
    assert (np.concatenate([draw(KEY, a, b) for a, b in ((0, 1), (1, 2), (2, 6), (6, 9))]) == together).all()
    assert len({row.tobytes() for row in together}) == 9
    assert not (draw((17, 5), 1, 9) == together[1:]).any(axis=1).any()
    again = prepared_for(kind, w.again(), MEMBERS).own[null]
    assert (again(KEY, 0, 9) == together).all()


@every_cloud
def test_own_nulls_are_printed_and_decide_nothing(kind, null, world):
    declared = {n.name: n for n in (MATCHED_GAUSSIAN, FEATURE_SHUFFLE)}[null]
    assert not declared.joint
    assert not declared.decides
    w = world(rows=60, seed=10)
    prepared = prepared_for(kind, w.geometry, MEMBERS)
    assert set(prepared.own) == set(kind.nulls)


def test_a_gaussian_cloud_has_the_second_moments_of_the_universe(world):
    w = world(rows=200, dim=8, seed=11)
    points = w.geometry.unit(0)[w.geometry.universe]
    weights = axis_weights(points)
    exact = np.linalg.svd(points, compute_uv=False)
    np.testing.assert_allclose(weights / weights[0], exact / exact[0], atol=2.0**-17)
    # as many points of the cloud as the universe has: their spectrum on the sphere is that of the universe
    (mine,) = gaussian_cosines([weights], 200, KEY, 1, 2)
    theirs = cosines(points[None])
    np.testing.assert_allclose(shares(mine)[0][:8], shares(theirs)[0][:8], atol=0.04)
    assert (gaussian_cosines([np.zeros(4)], 5, KEY, 1, 2)[0] == 0).all()


def test_layers_of_a_gaussian_cloud_go_together():
    one, other = gaussian_cosines([np.full(6, 100.0), np.full(6, 100.0)], 9, KEY, 3, 5)
    assert one.shape == (2, 9, 9)
    assert (one == other).all()


def test_shuffled_coordinates_come_from_different_genes_and_lose_their_correlation():
    n, d, m = 40, 6, 40
    values = np.arange(n * d, dtype=np.float64).reshape(n, d) - 100
    genes = picks(n, d, m, KEY, 2)
    assert (np.sort(genes, axis=0) == np.arange(n)[:, None]).all()  # every coordinate: all genes, once
    assert len({column.tobytes() for column in genes.T}) == d
    (shuffled,) = shuffled_cosines([values], m, KEY, 2, 3)
    assert (shuffled == cosines(values[genes, np.arange(d)][None])).all()
    first = np.concatenate([picks(n, 50, 1, KEY, j)[0] for j in range(200)])
    counts = np.bincount(first, minlength=n)  # 10,000 picks: 250 a gene, sd 15.6
    assert counts.min() > 180
    assert counts.max() < 320


def test_a_correlated_embedding_beats_the_feature_shuffle_and_a_gaussian_one_does_not_beat_the_gaussian(world):
    rng = np.random.default_rng(12)
    w = world(rows=150, dim=16, seed=12, n_layers=1)
    mixed = (rng.standard_normal((150, 3)) @ rng.standard_normal((3, 16))).astype(np.float32)
    geometry = w.again(layers=[mixed])
    members = np.arange(20)
    assert own_p(ENTROPY_RANK, geometry, members, FEATURE_SHUFFLE.name) == 0.01
    sets = [np.sort(rng.choice(150, 20, replace=False)) for _ in range(40)]
    gaussian = [own_p(ENTROPY_RANK, geometry, s, MATCHED_GAUSSIAN.name, seed=i) for i, s in enumerate(sets)]
    assert sum(p <= 0.1 for p in gaussian) <= binom.ppf(1 - 1e-4, 40, 0.1)


@every_kind
def test_the_numbers_are_pinned(kind, world):
    """Any change of these bits changes published numbers."""
    w = world(rows=60, seed=13)
    prepared = prepared_for(kind, w.geometry, MEMBERS)
    rng = np.random.default_rng(0)
    arrangements = np.stack([rng.permutation(60) for _ in range(20)]).astype(np.int32)
    totals = [prepared.sums(arrangements), *(prepared.own[null](KEY, 0, 5) for null in sorted(prepared.own))]
    digest = hashlib.sha256(b"".join(t.astype("<i8").tobytes() for t in totals)).hexdigest()[:16]
    assert (
        digest
        == {"entropy_rank": "660fad061218c2b1", "k90": "57044804866f92c1", "two_nn": "57fb5392f13e7534"}[kind.name]
    )


@every_kind
@pytest.mark.parametrize("what", ["one place", "two places", "one layer", "narrow"])
def test_degenerate_input_gives_a_number(kind, what, world):
    w = world(rows=24, seed=14, n_layers=1 if what == "one layer" else 2, dim=1 if what == "narrow" else 12)
    geometry = w.again(layers=w.degenerate(what))
    prepared = prepared_for(kind, geometry, np.arange(kind.min_size) * 2)
    totals = prepared.sums(np.stack([np.arange(24), np.arange(24)[::-1]]).astype(np.int32))
    own = [prepared.own[null](KEY, 0, 4) for null in kind.nulls]
    for t in (totals, *own):
        assert t.dtype == np.int64
        assert t.shape[1] == len(w.layers)
        effect = prepared.offset + prepared.scale * t
        low, high = (-5, np.log(twonn.LARGEST_DIMENSION) + 1e-6) if kind is TWO_NN else (0, kind.min_size - 1 + 1e-6)
        assert ((effect >= low) & (effect <= high)).all()
