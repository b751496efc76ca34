"""A set's geometry in another cache: partners, neighbours kept, and CKA across caches."""

import numpy as np
import pytest
from scipy.stats import binom, rankdata
from sklearn.neighbors import NearestNeighbors

from hyposcreen.tests_library.engine import similarity
from hyposcreen.tests_library.run import scan
from hyposcreen.tests_library.statistics.base import Entity, View
from hyposcreen.tests_library.statistics.crossmodel import (
    CROSS_CACHE_CKA,
    CROSS_CACHE_NEIGHBOURS,
    Partner,
    neighbours,
    partner_from_layers,
)

KINDS = (CROSS_CACHE_NEIGHBOURS, CROSS_CACHE_CKA)
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
MEMBERS = np.array([0, 2, 3, 5, 17, 21, 30, 33, 41, 44, 50, 52])


def gene_set(members) -> Entity:
    return Entity("gene_set", members=np.asarray(members, np.int64))


def join(geometry, *partners: Partner):
    geometry.partners = {partner.name: partner for partner in partners}
    return geometry


def effects(kind, geometry, members=MEMBERS) -> dict[View, float]:
    prepared = kind.prepare(geometry, gene_set(members))
    totals = prepared.sums(np.arange(geometry.n, dtype=np.int32)[None])
    assert totals.dtype == np.int64
    return dict(zip(prepared.views, prepared.offset + prepared.scale * totals[0], strict=True))


def p_of(kind, w, members, views=None, m=199) -> float:
    every = frozenset(kind.prepare(w.geometry, gene_set(members)).views if views is None else views)
    (found,) = scan(
        w.geometry, w.covariates, kind, gene_set(members), subsets={"all": every}, nulls=("gene_label",), m=m, seed=3
    )
    return (found.subsets["all"].k + 1) / (m + 1)


def unit_rows(X, rows=slice(None)) -> np.ndarray:
    Y = X.astype(np.float64)
    Y = (Y - Y.mean(axis=0))[rows]
    return Y / np.linalg.norm(Y, axis=1)[:, None]


def turned(X, seed, dim) -> np.ndarray:
    """The same shape in other coordinates of another dimension."""
    basis, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, X.shape[1])))
    return (X @ basis.T).astype(np.float32)


@pytest.fixture
def pair(world):
    """A world of three layers, and a partner with other noise, two layers, 16 dimensions and its genes in another order."""
    w, other = world(rows=60, seed=71), world(rows=60, seed=72)
    order = np.random.default_rng(1).permutation(60)
    layers = [turned(w.layers[q] + 0.6 * other.layers[q], 2, 16)[order] for q in (0, 2)]
    rows = np.argsort(order)
    join(w.geometry, partner_from_layers(layers, rows, "second seed"))
    return w, layers, rows


def test_a_partner_holds_the_cosines_of_its_own_layers_in_the_order_of_this_universe(pair):
    w, layers, rows = pair
    partner = w.geometry.partners["second seed"]
    assert partner.has.all()
    for X, cosine in zip(layers, partner.cosines, strict=True):
        assert cosine.dtype == np.int64
        Y = unit_rows(X)[rows]
        np.testing.assert_allclose(cosine * 2.0**-30, Y @ Y.T, atol=1e-4)


def test_a_partner_with_gaps_and_masked_rows(world):
    w = world(rows=30, seed=73)
    rows = np.arange(20)
    rows[[3, 7]] = -1
    layers = [X.copy() for X in w.layers]
    for X in layers:
        X[[3, 25]] = np.nan  # masked there; 25 is in nobody's universe
    usable = np.setdiff1d(np.arange(30), [3, 25])
    partner = partner_from_layers(layers, rows, "gaps", usable)
    assert np.flatnonzero(~partner.has).tolist() == [3, 7]
    whole = w.again(layers=layers, usable=usable, universe=usable)
    at = np.searchsorted(usable, rows[partner.has])
    for q in range(3):
        assert (partner.cosines[q][np.ix_(partner.has, partner.has)] == whole.cosine(q)[np.ix_(at, at)]).all()
        assert not partner.cosines[q][3].any()
        assert not partner.cosines[q][:, 7].any()


@pytest.mark.parametrize("rows", [[-1, -1, 0], [0, 1, 1]])
def test_a_partner_without_two_genes_or_with_a_row_named_twice_is_refused(rows, world):
    with pytest.raises(ValueError, match="needs two genes in common"):
        partner_from_layers(world().layers, np.array(rows), "bad")


def test_shapes_that_disagree_are_refused(world):
    has = np.ones(5, bool)
    for cosines in ((), (np.zeros((4, 4), np.int64),)):
        with pytest.raises(ValueError, match="5 × 5"):
            Partner("bad", cosines, has)
    geometry = join(world(rows=40).geometry, Partner("small", (np.zeros((5, 5), np.int64),), has))
    for kind in KINDS:
        with pytest.raises(ValueError, match="describes 5 genes, the universe has 40"):
            kind.prepare(geometry, gene_set(range(10)))


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        (5, 5, [0, 1, 2, 3, 4]),
        (3, 2, [0, 0, 1]),
        (2, 13, [0, 12]),
        (5, 13, [0, 3, 6, 9, 12]),
        (13, 5, [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4]),
        (1, 4, [0]),
        (4, 1, [0, 0, 0, 0]),
    ],
)
def test_layers_meet_at_the_same_relative_depth(here, there, expected):
    partner = Partner("p", (np.zeros((1, 1), np.int64),) * there, np.ones(1, bool))
    got = [partner.layer_at(q, here) for q in range(here)]
    assert got == expected
    if here > 1:
        exact = np.arange(here) * (there - 1) / (here - 1)
        assert np.abs(got - exact).max() <= 0.5


def test_neighbours_kept_are_scikit_learns(pair):
    w, layers, rows = pair
    got = effects(CROSS_CACHE_NEIGHBOURS, w.geometry)
    assert [v.name for v in got] == [f"L{q}·second seed" for q in range(3)]
    for q in range(3):
        both = unit_rows(w.layers[q]), unit_rows(layers[[0, 0, 1][q]])[rows]
        near = [NearestNeighbors(n_neighbors=10).fit(X).kneighbors(return_distance=False) for X in both]
        kept = [len(set(near[0][i]) & set(near[1][i])) / 10 for i in MEMBERS]
        assert got[View(f"L{q}", "second seed")] == pytest.approx(np.mean(kept), abs=0.01)


def test_neighbours_that_tie_share_their_fate():
    cosine = np.array([[9, 5, 5, 1, 0], [5, 9, 3, 2, 1], [5, 3, 9, 0, 0], [1, 2, 0, 9, 7], [0, 1, 0, 7, 9]])
    for k in (1, 2, 3):
        got = neighbours(cosine, k)
        assert not got.diagonal().any()
        for i in range(5):
            others = [j for j in range(5) if j != i]
            assert got[i, others].tolist() == (rankdata(cosine[i, others]) >= 5 - k).tolist()
    assert neighbours(cosine, 1)[0].sum() == 0
    assert neighbours(cosine, 2)[0].tolist() == [False, True, True, False, False]


def by_hand_cka(K, L) -> float:
    """From U-centred matrices (Székely & Rizzo 2014)."""
    parts = []
    for kernel in (K, L):
        M = kernel - np.diag(np.diag(kernel))
        m, row = len(M), M.sum(axis=1)
        U = M - (row[:, None] + row[None]) / (m - 2) + M.sum() / ((m - 1) * (m - 2))
        parts.append(U - np.diag(np.diag(U)))
    return (parts[0] * parts[1]).sum() / np.linalg.norm(parts[0]) / np.linalg.norm(parts[1])


@pytest.mark.parametrize("lacking", [[], [3, 21, 40]])
def test_cross_cache_cka_is_that_of_the_members_both_have(lacking, pair):
    w, layers, rows = pair
    rows = rows.copy()
    rows[lacking] = -1
    partner = partner_from_layers(layers, rows, "other", np.arange(60))
    geometry = join(w.again(), partner)
    both = [i for i in MEMBERS if i not in lacking]
    got = effects(CROSS_CACHE_CKA, geometry)
    for q in range(3):
        here = geometry.cosine(q)[np.ix_(both, both)] * 2.0**-30
        there = unit_rows(layers[[0, 0, 1][q]])[rows[both]]
        assert got[View(f"L{q}", "other")] == pytest.approx(by_hand_cka(here, there @ there.T), abs=1e-3)


def test_a_gene_that_the_partner_lacks_counts_as_the_mean(pair):
    w, layers, rows = pair
    rows = rows.copy()
    rows[[3, 21]] = -1
    geometry = join(w.again(), partner_from_layers(layers, rows, "other"))
    prepared = CROSS_CACHE_NEIGHBOURS.prepare(geometry, gene_set([3, 21]))
    assert not prepared.sums(np.arange(60, dtype=np.int32)[None]).any()
    everyone = CROSS_CACHE_NEIGHBOURS.prepare(geometry, gene_set(range(60)))
    assert not everyone.sums(np.arange(60, dtype=np.int32)[None]).any()
    assert (everyone.offset > 0.2).all()


def test_a_set_the_partner_hardly_has_cannot_look_alike(pair):
    w, layers, rows = pair
    rows = rows.copy()
    rows[MEMBERS[:5]] = -1
    w.geometry = join(w.again(), partner_from_layers(layers, rows, "other"))
    assert set(effects(CROSS_CACHE_CKA, w.geometry).values()) == {0.0}
    assert p_of(CROSS_CACHE_CKA, w, MEMBERS) > 0.9


@each_kind
def test_an_arrangement_is_a_relabelled_set_on_every_path(kind, pair, monkeypatch):
    w, layers, rows = pair
    rows = rows.copy()
    rows[[3, 21, 40]] = -1
    join(w.geometry, *w.geometry.partners.values(), partner_from_layers(layers, rows, "other"))
    rng = np.random.default_rng(4)
    arrangements = np.stack([rng.permutation(60) for _ in range(20)]).astype(np.int32)
    prepared = kind.prepare(w.geometry, gene_set(MEMBERS))
    got = prepared.sums(arrangements)
    assert got.shape == (20, 6)
    identity = np.arange(60, dtype=np.int32)[None]
    for a, row in zip(arrangements, got, strict=True):
        assert (kind.prepare(w.geometry, gene_set(np.sort(a[MEMBERS]))).sums(identity)[0] == row).all()
    assert (got.std(axis=0) > 0).all()
    monkeypatch.setattr(similarity, "HAVE_NUMBA", False)
    assert (prepared.sums(arrangements) == got).all()


@each_kind
def test_a_set_that_alone_is_the_same_elsewhere_is_found(kind, world):
    """The partner agrees with this cache on the members and, to a much smaller part, on other genes."""
    w, other = world(rows=150, seed=74), world(rows=150, seed=75)
    members = np.sort(np.random.default_rng(5).choice(150, 15, replace=False))
    layers = [X + 1.5 * Y for X, Y in zip(w.layers, other.layers, strict=True)]
    for X, Y in zip(layers, w.layers, strict=True):
        X[members] = Y[members]
    join(w.geometry, partner_from_layers([turned(X, 6, 20) for X in layers], np.arange(150), "second seed"))
    assert p_of(kind, w, members) == 1 / 200
    strangers = np.setdiff1d(np.arange(150), members)[:15]
    assert p_of(kind, w, strangers) > 0.02


@each_kind
def test_sets_of_no_meaning_are_significant_as_often_as_they_should(kind, pair):
    w, layers, rows = pair
    rows = rows.copy()
    rows[::6] = -1
    join(w.geometry, *w.geometry.partners.values(), partner_from_layers(layers, rows, "other"))
    rng = np.random.default_rng(9)
    p = [p_of(kind, w, np.sort(rng.choice(60, 12, replace=False)), m=99) for _ in range(200)]
    assert binom.ppf(1e-4, 200, 0.1) <= sum(x <= 0.1 for x in p) <= binom.isf(1e-4, 200, 0.1)
    assert binom.ppf(1e-4, 200, 0.5) <= sum(x <= 0.5 for x in p) <= binom.isf(1e-4, 200, 0.5)


@each_kind
def test_no_partner_means_no_view(kind, world):
    prepared = kind.prepare(world(rows=20).geometry, gene_set(range(kind.min_size)))
    assert prepared.views == ()
    assert prepared.sums(np.arange(20, dtype=np.int32)[None]).shape == (1, 0)
    assert prepared.scale.shape == prepared.offset.shape == (0,)


@each_kind
@pytest.mark.parametrize("what", ["one point", "twins", "few genes"])
def test_degenerate_partners_give_finite_integers(kind, what, world):
    w = world(rows=14, seed=76)
    layers = [X.copy() for X in w.layers]
    rows = np.arange(14)
    for X in layers:
        if what == "one point":
            X[:] = 1
        elif what == "twins":
            X[:10] = X[0]
    if what == "few genes":
        rows[2:] = -1
    join(w.geometry, partner_from_layers(layers, rows, "poor"))
    prepared = kind.prepare(w.geometry, gene_set(range(kind.min_size)))
    totals = prepared.sums(np.stack([np.arange(14), np.arange(14)[::-1]]).astype(np.int32))
    assert totals.dtype == np.int64
    assert totals.shape == (2, 3)
    assert (np.abs(prepared.offset + prepared.scale * totals) <= 1 + 1e-9).all()
