"""Seven measures of how alike two layers are, each against an independent implementation or its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes, subspace_angles
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import laplacian
from scipy.spatial.distance import cdist
from scipy.stats import binom, energy_distance
from statsmodels.multivariate.cancorr import CanCorr

from hyposcreen.tests_library.engine import similarity
from hyposcreen.tests_library.engine.jit import HAVE_NUMBA
from hyposcreen.tests_library.run import scan
from hyposcreen.tests_library.statistics import alignment
from hyposcreen.tests_library.statistics.alignment import (
    CCA,
    CKA,
    ENERGY_DISTANCE,
    LAPLACIAN_ALIGNMENT,
    PRINCIPAL_ANGLES,
    PROCRUSTES,
    SLICED_WASSERSTEIN,
)
from hyposcreen.tests_library.statistics.base import Entity

KINDS = (CKA, CCA, PROCRUSTES, PRINCIPAL_ANGLES, SLICED_WASSERSTEIN, ENERGY_DISTANCE, LAPLACIAN_ALIGNMENT)
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
MEMBERS = np.array([0, 2, 3, 5, 17, 21, 30, 33, 41, 44, 50, 52])
STEPS = ["L0-L1", "L1-L2", "L0-L2"]


def gene_set(members) -> Entity:
    return Entity("gene_set", members=np.asarray(members, np.int64))


def effects(kind, geometry, members=MEMBERS) -> dict[tuple[int, int], float]:
    prepared = kind.prepare(geometry, gene_set(members))
    totals = prepared.sums(np.arange(geometry.n, dtype=np.int32)[None])
    assert totals.dtype == np.int64
    assert [v.name for v in prepared.views] == [f"L0:L{geometry.n_layers - 1}·{s}" for s in STEPS]
    values = prepared.offset + prepared.scale * totals[0]
    return {(int(s[1]), int(s[4])): float(e) for s, e in zip(STEPS, values, strict=True)}


def p_of(kind, w, members, m=199) -> tuple[float, str, dict[str, float]]:
    """The p-value of the scan over all steps, the step that attains it, and the effect of each step."""
    entity = gene_set(members)
    every = frozenset(kind.prepare(w.geometry, entity).views)
    (found,) = scan(w.geometry, w.covariates, kind, entity, subsets={"all": every}, nulls=("gene_label",), m=m, seed=3)
    part = found.subsets["all"]
    return (part.k + 1) / (m + 1), part.best.coordinate, {v.view.coordinate: v.effect for v in part.views}


def centred(X) -> np.ndarray:
    Y = np.asarray(X, np.float64)
    return Y - Y.mean(axis=0)


def total_variance_one(X) -> np.ndarray:
    Y = centred(X)
    return Y / np.sqrt((Y**2).sum(axis=1).mean())


def scores(geometry, q, k=None) -> np.ndarray:
    """The set's centred scores on the axes, in floating point."""
    full = geometry.local_axes(q) * 2.0**-30 * geometry.axis_scale(q)
    return centred(full[MEMBERS][:, :k])


def test_debiased_cka_is_song_and_kornbliths(world):
    """The U-centring form (Székely & Rizzo 2014), which shares no term with the one in use."""

    def u_centred(K):
        K = K.copy()
        np.fill_diagonal(K, 0)
        m = len(K)
        row = K.sum(axis=1)
        out = K - row[:, None] / (m - 2) - row[None] / (m - 2) + K.sum() / ((m - 1) * (m - 2))
        np.fill_diagonal(out, 0)
        return out

    w = world(rows=60, seed=51)
    K = [u_centred(w.geometry.cosine(q)[np.ix_(MEMBERS, MEMBERS)] * 2.0**-30) for q in range(3)]
    for (a, b), effect in effects(CKA, w.geometry).items():
        exact = (K[a] * K[b]).sum() / np.sqrt((K[a] ** 2).sum() * (K[b] ** 2).sum())
        assert effect == pytest.approx(exact, abs=2e-4)


@given(st.integers(0, 2**32 - 1), st.integers(8, 12))
def test_debiased_cka_never_leaves_minus_one_to_one_and_is_zero_for_a_constant_kernel(seed, m):
    rng = np.random.default_rng(seed)
    table = rng.integers(-(2**15), 2**15 + 1, (12, 12, 3)).astype(np.int32)
    table[:, :, 2] = rng.integers(-(2**15), 2**15 + 1)
    table = np.minimum(table, table.transpose(1, 0, 2))
    arrangements = np.stack([rng.permutation(12) for _ in range(9)]).astype(np.int32)
    pairs = np.array([[0, 1], [0, 2], [2, 2], [1, 1]])
    got = alignment.debiased_cka(table, np.arange(m), arrangements, pairs, m)
    assert (np.abs(got[:, 0]) <= 1 + 1e-9).all()
    assert (got[:, 0] != 0).any()
    assert not got[:, 1:3].any()
    np.testing.assert_allclose(got[:, 3], 1, atol=1e-12)


def test_cca_is_statsmodels_canonical_correlation(world):
    w = world(rows=60, seed=52)
    for (a, b), effect in effects(CCA, w.geometry).items():
        X, Y = scores(w.geometry, a, 4), scores(w.geometry, b, 4)  # twelve genes: four axes
        assert effect == pytest.approx((CanCorr(X, Y).cancorr ** 2).mean(), abs=0.01)  # without the ridge
        A, B, C = X.T @ X, Y.T @ Y, X.T @ Y
        A, B = A + 2.0**-10 * np.diag(np.diag(A)), B + 2.0**-10 * np.diag(np.diag(B))
        exact = np.trace(np.linalg.solve(A, C) @ np.linalg.solve(B, C.T)) / 4
        assert effect == pytest.approx(exact, abs=1e-3)


def test_procrustes_is_scipys(world):
    w = world(rows=60, seed=53)
    for (a, b), effect in effects(PROCRUSTES, w.geometry).items():
        X, Y = scores(w.geometry, a), scores(w.geometry, b)
        _, nuclear = orthogonal_procrustes(X, Y)
        assert effect == pytest.approx(nuclear / np.linalg.norm(X) / np.linalg.norm(Y), abs=1e-4)


def test_principal_angles_are_scipys(world):
    w = world(rows=60, seed=54)
    bases = [np.linalg.svd(scores(w.geometry, q), full_matrices=False)[0][:, :3] for q in range(3)]
    for (a, b), effect in effects(PRINCIPAL_ANGLES, w.geometry).items():
        assert effect == pytest.approx((np.cos(subspace_angles(bases[a], bases[b])) ** 2).mean(), abs=1e-3)


def test_sliced_wasserstein_solves_the_assignment_on_every_direction(world):
    w = world(rows=60, seed=55)
    theta = alignment.directions(12)
    theta = theta / np.linalg.norm(theta, axis=0)
    clouds = [total_variance_one(X)[MEMBERS] @ theta for X in w.layers]
    for (a, b), effect in effects(SLICED_WASSERSTEIN, w.geometry).items():
        cost = []
        for x, y in zip(clouds[a].T, clouds[b].T, strict=True):
            squared = (x[:, None] - y[None]) ** 2
            cost.append(squared[linear_sum_assignment(squared)].mean())
        assert effect == pytest.approx(12 * np.mean(cost), rel=1e-3)


def test_directions_are_fixed_whole_numbers_that_look_gaussian():
    theta = alignment.directions(400)
    assert theta.shape == (400, alignment.DIRECTIONS)
    assert (theta == np.rint(theta)).all()
    assert np.abs(theta).max() < 2**17
    assert (theta[:50] == alignment.directions(50)).all()
    z = theta.ravel() / theta.std()
    assert abs(z.mean()) < 0.05
    assert abs((z**4).mean() - 2.7) < 0.15  # four uniform words: kurtosis 3 − 1.2 / 4
    gram = np.corrcoef(theta.T)
    assert np.abs(gram[np.triu_indices(len(gram), 1)]).max() < 0.25


def test_energy_distance_is_its_definition_and_scipys_in_one_dimension(world):
    w = world(rows=60, seed=56)
    flat = w.again(layers=[X[:, :1] for X in w.layers])
    for geometry in (w.geometry, flat):
        clouds = [total_variance_one(X)[MEMBERS] for X in geometry.layers]
        for (a, b), effect in effects(ENERGY_DISTANCE, geometry).items():
            x, y = clouds[a], clouds[b]
            exact = 2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean()
            assert effect == pytest.approx(exact, abs=1e-5)
            if geometry is flat:
                assert effect == pytest.approx(energy_distance(x[:, 0], y[:, 0]) ** 2, abs=1e-5)


def test_laplacian_alignment_is_the_correlation_of_scipys_laplacians(world):
    w = world(rows=60, seed=57)
    complete = np.eye(12) - 1 / 12  # what every Laplacian holds of the complete graph
    parts = []
    for q in range(3):
        cos = w.geometry.cosine(q) * 2.0**-30
        squared = 2 - 2 * cos
        upper = np.sort(squared[np.triu_indices(60, 1)])
        W = (1 + squared / upper[len(upper) // 10]) ** -2.0
        np.fill_diagonal(W, 0)
        L = laplacian(W[np.ix_(MEMBERS, MEMBERS)])
        parts.append(L - np.trace(L @ complete) / np.trace(complete @ complete) * complete)
    for (a, b), effect in effects(LAPLACIAN_ALIGNMENT, w.geometry).items():
        exact = np.trace(parts[a] @ parts[b]) / np.linalg.norm(parts[a]) / np.linalg.norm(parts[b])
        assert effect == pytest.approx(exact, abs=1e-3)


@each_kind
def test_an_arrangement_is_a_relabelled_set(kind, world):
    w = world(rows=60, seed=58)
    rng = np.random.default_rng(5)
    arrangements = np.stack([rng.permutation(60) for _ in range(15)]).astype(np.int32)
    got = kind.prepare(w.geometry, gene_set(MEMBERS)).sums(arrangements)
    identity = np.arange(60, dtype=np.int32)[None]
    for a, row in zip(arrangements, got, strict=True):
        assert (kind.prepare(w.geometry, gene_set(np.sort(a[MEMBERS]))).sums(identity)[0] == row).all()
    assert (got.std(axis=0) > 0).all()


@each_kind
def test_a_draw_is_the_same_alone_in_a_batch_and_without_numba(kind, world, monkeypatch):
    w = world(rows=60, seed=59)
    rng = np.random.default_rng(6)
    arrangements = np.stack([rng.permutation(60) for _ in range(40)]).astype(np.int32)
    prepared = kind.prepare(w.geometry, gene_set(MEMBERS))
    whole = prepared.sums(arrangements)
    assert (prepared.sums(arrangements[7:8]) == whole[7]).all()
    monkeypatch.setattr(similarity, "_NUMPY_CELLS", 1000)
    assert (prepared.sums(arrangements) == whole).all()
    monkeypatch.setattr(similarity, "HAVE_NUMBA", False)
    again = w.again()
    assert (kind.prepare(again, gene_set(MEMBERS)).sums(arrangements) == whole).all()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_two_equal_layers_are_as_alike_as_can_be(kind, world):
    w = world(rows=60, seed=60)
    for second in (w.layers[0], (w.layers[0] * 4 + 2).astype(np.float32)):
        geometry = w.again(layers=[w.layers[0], second, w.layers[2]])
        found = effects(kind, geometry)
        alike = 0 if kind in {SLICED_WASSERSTEIN, ENERGY_DISTANCE} else 1
        assert found[0, 1] == pytest.approx(alike, abs=5e-3 if kind is CCA else 1e-4)  # the ridge
        assert abs(found[0, 2] - alike) > 5e-3


@pytest.mark.parametrize("kind", [CKA, CCA, PROCRUSTES, PRINCIPAL_ANGLES, LAPLACIAN_ALIGNMENT], ids=lambda k: k.name)
def test_a_scrambled_set_is_found(kind, world):
    """Members swap places among themselves in the last layer: their cloud stays, who is where in it does not."""
    w = world(rows=150, seed=61)
    rng = np.random.default_rng(7)
    members = np.sort(rng.choice(150, 15, replace=False))
    last = w.layers[1].copy()
    last[members] = last[np.roll(members, 1)]
    w.layers[2], w.geometry = last, w.again(layers=[*w.layers[:2], last])
    p, best, found = p_of(kind, w, members)
    assert p == 1 / 200
    assert best in {"L1-L2", "L0-L2"}
    assert found[best] < 0.8


@pytest.mark.parametrize("kind", [SLICED_WASSERSTEIN, ENERGY_DISTANCE], ids=lambda k: k.name)
def test_a_moved_cloud_is_found_and_a_scrambled_one_is_not(kind, world):
    w = world(rows=150, seed=62)
    rng = np.random.default_rng(8)
    members = np.sort(rng.choice(150, 15, replace=False))
    scrambled, moved = w.layers[1].copy(), w.layers[1].copy()
    scrambled[members] = scrambled[np.roll(members, 1)]
    moved[members] += 1.0
    plain = effects(kind, w.again(layers=[*w.layers[:2], w.layers[1]]), members)
    assert effects(kind, w.again(layers=[*w.layers[:2], scrambled]), members) == pytest.approx(plain, abs=1e-6)
    w.layers[2], w.geometry = moved, w.again(layers=[*w.layers[:2], moved])
    p, best, _ = p_of(kind, w, members)
    assert p == 1 / 200
    assert best in {"L1-L2", "L0-L2"}


@each_kind
def test_sets_of_no_meaning_are_significant_as_often_as_they_should(kind, world):
    w = world(rows=80, seed=63)
    rng = np.random.default_rng(9)
    p = [p_of(kind, w, np.sort(rng.choice(80, 10, replace=False)), m=99)[0] for _ in range(200)]
    assert binom.ppf(1e-4, 200, 0.1) <= sum(x <= 0.1 for x in p) <= binom.isf(1e-4, 200, 0.1)
    assert binom.ppf(1e-4, 200, 0.5) <= sum(x <= 0.5 for x in p) <= binom.isf(1e-4, 200, 0.5)


@each_kind
@pytest.mark.parametrize("n_layers", [1, 2, 3])
@pytest.mark.parametrize("what", ["plain", "one point", "one dimension", "twins", "an outlier"])
def test_degenerate_clouds_and_the_smallest_set_give_finite_integers(kind, n_layers, what, world):
    w = world(rows=14, n_layers=n_layers, seed=64)
    layers = [X.copy() for X in w.layers]
    for X in layers:
        if what == "one point":
            X[:] = 1
        elif what == "twins":
            X[:10] = X[0]
        elif what == "an outlier":
            X[3] *= 1e6
    if what == "one dimension":
        layers = [X[:, :1] for X in layers]
    geometry = w.again(layers=layers)
    prepared = kind.prepare(geometry, gene_set(range(kind.min_size)))
    with np.errstate(all="raise", under="ignore"):
        totals = prepared.sums(np.stack([np.arange(14), np.arange(14)[::-1]]).astype(np.int32))
    names = kind.coordinates.singles(n_layers, 10)
    assert totals.dtype == np.int64
    assert totals.shape == (2, len(names)) == (2, len(prepared.views))
    values = prepared.offset + prepared.scale * totals
    if kind in {SLICED_WASSERSTEIN, ENERGY_DISTANCE}:
        assert (values >= -1e-5).all()
        assert (values <= 4 * 14 * 12).all()
    else:
        assert (np.abs(values) <= 1 + 1e-5).all()
    if what == "one point":
        assert not totals.any()


@given(st.integers(0, 2**32 - 1), st.integers(1, 10), st.integers(0, 9))
def test_jacobi_finds_the_eigenvalues_and_vectors_of_lapack(seed, k, rank):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((6, k, max(1, min(rank, k)))) * 4.0 ** -rng.integers(0, 6, k)[:, None]
    X[0] = 0
    A = X @ X.transpose(0, 2, 1)
    A[1] = np.eye(k)
    values, vectors = similarity.eigen(np.ascontiguousarray(A.transpose(1, 2, 0)))
    for b in range(6):
        top = max(1e-300, np.abs(A[b]).max())
        np.testing.assert_allclose(np.sort(values[:, b]), np.linalg.eigvalsh(A[b]), atol=1e-13 * k * top)
        V = vectors[:, :, b]
        np.testing.assert_allclose(V.T @ V, np.eye(k), atol=1e-13 * k)
        np.testing.assert_allclose(V @ np.diag(values[:, b]) @ V.T, A[b], atol=1e-13 * k * top)
    only, none = similarity.eigen(np.ascontiguousarray(A.transpose(1, 2, 0)), vectors=False)
    assert (only == values).all()
    assert none.shape == (0, k, 6)


@pytest.mark.skipif(not HAVE_NUMBA, reason="without numba there is one path only")
@given(st.integers(0, 2**32 - 1), st.integers(1, 10))
def test_jacobi_and_moments_are_the_same_bits_on_both_paths(seed, k):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((k, 3, 5)) * 8.0 ** -rng.integers(0, 9, 5)
    A = np.einsum("itb,jtb->ijb", X, X)
    table = rng.integers(-(2**15), 2**15 + 1, (12, 12, k)).astype(np.int32)
    table = np.minimum(table, table.transpose(1, 0, 2))
    members = rng.permutation(12)[:7].astype(np.int64)
    arrangements = np.stack([rng.permutation(12) for _ in range(9)]).astype(np.int32)
    pairs = rng.integers(0, k, (4, 2)).astype(np.int64)
    fast = (*similarity.eigen(A), *similarity.block_moments(table, members, arrangements, pairs))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity, "HAVE_NUMBA", False)
        slow = (*similarity.eigen(A), *similarity.block_moments(table, members, arrangements, pairs))
    for one, other in zip(fast, slow, strict=True):
        assert one.tobytes() == other.tobytes()


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_the_inverse_root_whitens(seed, k):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((9, k)) * 10.0 ** rng.integers(-3, 6, k)
    A = X.T @ X
    dead = A.copy()
    dead[0] = dead[:, 0] = 0
    roots = similarity.inverse_root(np.stack([A, dead], axis=2), 0.25)
    for b, matrix in enumerate((A, dead)):
        R = roots[:, :, b]
        white = R @ (matrix + 0.25 * np.diag(np.diag(matrix))) @ R.T
        expected = np.eye(k)
        expected[0, 0] = 1 - b
        np.testing.assert_allclose(white, expected, atol=1e-8)
        assert (np.triu(R, 1) == 0).all()
