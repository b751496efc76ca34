"""Gene sets on the nearest-neighbour graph, against scikit-learn, networkx and plain Python."""

import itertools

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.neighbors import NearestNeighbors

from hyposcreen.tests_library.engine import knn
from hyposcreen.tests_library.engine.communities import local_moves, louvain
from hyposcreen.tests_library.engine.knn import neighbour_count, neighbour_ranks, symmetric_graph
from hyposcreen.tests_library.engine.maxt import p_value
from hyposcreen.tests_library.run import scan
from hyposcreen.tests_library.statistics.base import Entity
from hyposcreen.tests_library.statistics.neighbours import (
    COMMUNITY,
    NEIGHBOURHOOD_PURITY,
    PRECISION_AT_K,
    SET_CONNECTIVITY,
    SET_TRANSITIVITY,
    SPECTRAL_GAP,
    spectral_gap,
)

KINDS = (NEIGHBOURHOOD_PURITY, PRECISION_AT_K, SET_CONNECTIVITY, SET_TRANSITIVITY, SPECTRAL_GAP, COMMUNITY)
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
MEMBERS = np.array([0, 3, 4, 9, 17, 21, 30, 33, 44, 50, 52, 59])


def effects(kind, geometry, members) -> np.ndarray:
    """What a person reads for the observed set, one value a layer."""
    prepared = kind.prepare(geometry, Entity("gene_set", members=np.asarray(members)))
    totals = prepared.sums(np.arange(geometry.n, dtype=np.int32)[None])
    assert totals.dtype == np.int64
    return prepared.offset + prepared.scale * totals[0]


def cosine(X: np.ndarray) -> np.ndarray:
    Y = X.astype(np.float64) - X.astype(np.float64).mean(axis=0)
    Y /= np.linalg.norm(Y, axis=1)[:, None]
    return Y @ Y.T


def nearest(X: np.ndarray, k: int) -> np.ndarray:
    """The k nearest genes of each gene, by scikit-learn."""
    distance = np.maximum(0, 1 - cosine(X))
    np.fill_diagonal(distance, 0)
    return NearestNeighbors(n_neighbors=k, metric="precomputed").fit(distance).kneighbors(return_distance=False)


def graph(X: np.ndarray, k: int) -> nx.Graph:
    out = nx.Graph()
    out.add_nodes_from(range(len(X)))
    out.add_edges_from((i, int(j)) for i, row in enumerate(nearest(X, k)) for j in row)
    return out


def test_the_number_of_neighbours_follows_the_root_of_the_universe():
    assert [neighbour_count(n) for n in (2, 4, 6, 30, 60, 382, 5000)] == [1, 3, 5, 5, 8, 20, 71]


def test_purity_and_precision_count_members_among_the_nearest(world):
    w = world(rows=60, seed=1)
    inside = set(MEMBERS.tolist())
    for q in range(3):
        for kind, k in ((NEIGHBOURHOOD_PURITY, 8), (PRECISION_AT_K, len(MEMBERS) - 1)):
            lists = nearest(w.layers[q], k)
            share = np.mean([len(inside & set(lists[i].tolist())) / k for i in MEMBERS])
            assert effects(kind, w.geometry, MEMBERS)[q] == pytest.approx(share, abs=1e-12)


def test_connectivity_and_transitivity_are_those_of_networkx(world):
    w = world(rows=60, seed=2)
    close = np.sort(np.argsort(-w.geometry.cosine(0)[7])[:14])
    for members, q in itertools.product((MEMBERS, close), range(3)):
        induced = graph(w.layers[q], 8).subgraph(members.tolist())
        assert effects(SET_CONNECTIVITY, w.geometry, members)[q] == pytest.approx(nx.density(induced), abs=1e-12)
        assert effects(SET_TRANSITIVITY, w.geometry, members)[q] == pytest.approx(
            nx.transitivity(induced), abs=2.0**-20
        )
    assert effects(SET_TRANSITIVITY, w.geometry, close)[0] > 0.3


def test_a_set_without_triads_has_transitivity_zero(world):
    w = world(rows=60, seed=2)
    apart = list(nx.maximal_independent_set(graph(w.layers[0], 8), seed=0))[:10]
    assert effects(SET_TRANSITIVITY, w.geometry, np.sort(apart))[0] == 0


def test_spectral_gap_is_that_of_the_normalised_laplacian(world):
    w = world(rows=60, seed=3)
    for q in range(3):
        weighted = nx.Graph()
        C = cosine(w.layers[q])
        for i, j in itertools.combinations(MEMBERS.tolist(), 2):
            weighted.add_edge(i, j, weight=(1 + C[i, j]) / 2)
        assert effects(SPECTRAL_GAP, w.geometry, MEMBERS)[q] == pytest.approx(
            nx.normalized_laplacian_spectrum(weighted)[1], abs=2e-6
        )


def test_spectral_gap_falls_when_a_set_falls_apart(world):
    ones = np.full((5, 5), 1 << 30)
    knot = np.block([[ones, ones], [ones, ones]])
    parts = np.block([[ones, -ones], [-ones, ones]])
    alone = knot.copy()
    alone[0, 1:] = alone[1:, 0] = -(1 << 30)
    assert spectral_gap(knot[None])[0] == pytest.approx(10 / 9, abs=1e-9)
    assert spectral_gap(parts[None])[0] == pytest.approx(0, abs=1e-9)
    assert spectral_gap(alone[None])[0] == pytest.approx(0, abs=1e-9)


def test_communities_are_as_modular_as_those_of_networkx(world):
    for seed in range(4):
        near = symmetric_graph(neighbour_ranks(world(rows=90, seed=seed).geometry.cosine(1)), 6)
        G = nx.from_numpy_array(near)
        found = louvain(near)
        groups = [set(np.flatnonzero(found == c).tolist()) for c in range(found.max() + 1)]
        theirs = max(
            nx.community.modularity(G, nx.community.louvain_communities(G, seed=s, threshold=0)) for s in range(3)
        )
        greedy = nx.community.modularity(G, nx.community.greedy_modularity_communities(G))
        assert nx.community.modularity(G, groups) > max(greedy, theirs) - 0.03


def test_communities_find_a_planted_partition():
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(4), 20)
    chance = np.where(truth[:, None] == truth, 0.5, 0.02)
    upper = np.triu(rng.random((80, 80)) < chance, 1)
    assert (louvain(upper | upper.T) == truth).all()
    assert (louvain(np.zeros((4, 4), dtype=bool)) == np.arange(4)).all()


def test_no_single_move_improves_the_first_communities(world):
    """Local moves end where modularity, recomputed from scratch, cannot grow by moving one gene."""
    near = symmetric_graph(neighbour_ranks(world(rows=40, seed=5).geometry.cosine(0)), 5)
    G = nx.from_numpy_array(near)
    label = local_moves(near.astype(np.float64))

    def modularity(labels: np.ndarray) -> float:
        return nx.community.modularity(G, [set(np.flatnonzero(labels == c).tolist()) for c in np.unique(labels)])

    best = modularity(label)
    for i, c in itertools.product(range(40), np.unique(label)):
        moved = label.copy()
        moved[i] = c
        assert modularity(moved) <= best + 1e-12


def test_community_counts_pairs_in_one_community(world):
    w = world(rows=60, seed=6)
    got = effects(COMMUNITY, w.geometry, MEMBERS)
    for q in range(3):
        label = louvain(symmetric_graph(neighbour_ranks(w.geometry.cosine(q)), 8))
        pairs = list(itertools.combinations(MEMBERS.tolist(), 2))
        assert got[q] == pytest.approx(np.mean([label[i] == label[j] for i, j in pairs]), abs=1e-12)


def test_ranks_order_by_similarity_and_break_ties_without_favourites():
    rng = np.random.default_rng(1)
    half = np.triu(rng.integers(0, 4, (50, 50)), 1)
    similarity = (half + half.T).astype(np.int64)
    before = similarity.copy()
    ranks = neighbour_ranks(similarity)
    assert (similarity == before).all()
    assert (np.sort(ranks, axis=1) == np.arange(50)).all()
    assert (np.diag(ranks) == 49).all()
    for i in range(50):
        order = np.argsort(ranks[i])[:-1]
        assert (np.diff(similarity[i, order]) <= 0).all()
    equal = neighbour_ranks(np.zeros((400, 400), np.int64))
    listed = (equal < 20).sum(axis=0)  # by chance: mean 20, sd 4.4; by position it would be 400 for the first 20 genes
    assert listed.max() < 45
    assert listed.min() > 3


def test_too_many_genes_for_ranks_are_refused():
    with pytest.raises(ValueError, match="32,768"):
        neighbour_ranks(np.broadcast_to(np.zeros((1, 1), np.int64), (32_769, 32_769)))


@every_kind
def test_a_draw_is_the_set_of_the_genes_that_stand_in(kind, world):
    w = world(rows=60, seed=7)
    rng = np.random.default_rng(0)
    arrangements = np.stack([rng.permutation(60) for _ in range(6)]).astype(np.int32)
    prepared = kind.prepare(w.geometry, Entity("gene_set", members=MEMBERS))
    totals = prepared.sums(arrangements)
    assert totals.shape == (6, len(prepared.views)) == (6, 3)
    for a, row in zip(arrangements, totals, strict=True):
        got = prepared.offset + prepared.scale * row
        assert (got == effects(kind, w.geometry, np.sort(a[MEMBERS]))).all()
        assert (prepared.sums(a[None])[0] == row).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 25), st.integers(0, 2**32 - 1))
def test_both_paths_count_the_same(m, seed):
    if not knn.HAVE_NUMBA:
        pytest.skip("numba is not here, so there is one path only")
    rng = np.random.default_rng(seed)
    half = np.triu(rng.integers(0, 5, (30, 30, 2)).transpose(2, 0, 1), 1).transpose(1, 2, 0)
    table = (half + half.transpose(1, 0, 2)).astype(np.int16)
    apart = (table < 2).astype(np.uint8)
    apart[np.arange(30), np.arange(30)] = 1
    labels = rng.integers(0, 4, (30, 2)).astype(np.int32)
    members = rng.choice(30, m, replace=False)
    arrangements = np.stack([rng.permutation(30) for _ in range(5)]).astype(np.int32)

    def counts() -> list[np.ndarray]:
        return [
            knn.pairs_below(table, members, 3, arrangements),
            *knn.triads_and_triangles(apart, members, arrangements),
            knn.same_label_pairs(labels, members, arrangements),
        ]

    fast = counts()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(knn, "HAVE_NUMBA", False)
        patch.setattr(knn, "_NUMPY_CELLS", 1000)
        slow = counts()
    for a, b in zip(fast, slow, strict=True):
        assert a.dtype == b.dtype == np.int64
        assert (a == b).all()


def p_of(kind, world, members, m=99, seed=1, geometry=None) -> float:
    geometry = geometry or world.geometry
    views = {"all": frozenset(kind.prepare(geometry, Entity("gene_set", members=members)).views)}
    found = scan(
        geometry,
        world.covariates,
        kind,
        Entity("gene_set", members=members),
        subsets=views,
        nulls=("gene_label",),
        m=m,
        seed=seed,
    )[0]
    return p_value(found.subsets["all"].k, m)


@every_kind
def test_a_tight_set_is_found(kind, world):
    """Two thirds of the set lie around one gene and a third around another, far from it (which a gap calls two parts)."""
    w = world(rows=120, dim=24, seed=8)
    rng = np.random.default_rng(0)
    members = np.sort(rng.choice(120, 18, replace=False))
    layers = [X.copy() for X in w.layers]
    for X in layers:
        X[members] = X[members[0]] + 0.15 * X[members]
        X[members[12:]] -= 2 * X[members[0]]
    assert p_of(kind, w, members, m=199, geometry=w.again(layers=layers)) <= 0.01


@every_kind
def test_random_sets_are_not_found_more_often_than_said(kind, world):
    w = world(rows=80, seed=9, n_layers=2)
    rng = np.random.default_rng(3)
    found = [p_of(kind, w, np.sort(rng.choice(80, 14, replace=False)), seed=s) <= 0.1 for s in range(200)]
    low, high = binom.ppf([1e-4, 1 - 1e-4], 200, 0.1)
    assert (low if kind is not SET_TRANSITIVITY else 1) <= sum(found) <= high


@every_kind
@pytest.mark.parametrize("what", ["one place", "two places", "one layer", "whole universe"])
def test_degenerate_input_gives_a_number(kind, what, world):
    w = world(rows=24, seed=10, n_layers=1 if what == "one layer" else 2)
    members = np.arange(24 if what == "whole universe" else kind.min_size)
    prepared = kind.prepare(w.again(layers=w.degenerate(what)), Entity("gene_set", members=members))
    totals = prepared.sums(np.stack([np.arange(24), np.arange(24)[::-1]]).astype(np.int32))
    assert totals.dtype == np.int64
    assert totals.shape == (2, len(w.layers))
    effect = prepared.offset + prepared.scale * totals
    assert (np.abs(effect) <= 2).all()
