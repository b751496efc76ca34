"""Random graphs: margins kept, every graph equally likely, and a p-value that is exact however short the walk."""

import hashlib
import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from hyposcreen.tests_library.engine import bank, rewire
from hyposcreen.tests_library.engine.rewire import SignedEdges, blocks_of, rewired, sign_draws, target_draws

OUTSIDE = -1


def edges_of(pairs, own, n, signs=None) -> SignedEdges:
    rows = np.array(pairs, dtype=np.int64)
    signs = np.zeros(len(rows), np.int64) if signs is None else np.asarray(signs, np.int64)
    return SignedEdges(rows[:, 0], rows[:, 1], signs, np.asarray(own, np.int64), n)


def random_graph(seed: int, regulators: int = 9, n: int = 40, e: int = 60) -> SignedEdges:
    """Half of the regulators lie in the universe; genes of low number are popular targets."""
    rng = np.random.default_rng(seed)
    own = np.full(regulators, OUTSIDE)
    own[::2] = rng.choice(n, len(own[::2]), replace=False)
    cells = np.array([(r, t) for r in range(regulators) for t in range(n) if own[r] != t])
    weight = np.exp(-cells[:, 1] / (n / 3)) + 1e-3
    chosen = rng.choice(len(cells), min(e, len(cells)), replace=False, p=weight / weight.sum())
    return edges_of(cells[chosen], own, n, rng.choice([-1, 0, 1], len(chosen), p=[0.2, 0.3, 0.5]))


def as_graph(g: SignedEdges, targets) -> frozenset:
    return frozenset(zip(g.regulators.tolist(), np.asarray(targets).tolist(), g.signs.tolist(), strict=True))


def margins(g: SignedEdges, targets) -> tuple[Counter, Counter]:
    return (
        Counter(zip(g.regulators.tolist(), g.signs.tolist(), strict=True)),
        Counter(zip(np.asarray(targets).tolist(), g.signs.tolist(), strict=True)),
    )


def all_graphs(g: SignedEdges) -> list[frozenset]:
    """Every signed graph with the margins of ``g``, by brute force: each regulator's sets of targets, sign by sign."""
    choices = []
    for r in range(len(g.own)):
        free = [t for t in range(g.n) if t != g.own[r]]
        signs = sorted(g.signs[g.regulators == r].tolist())
        placed = {
            frozenset((r, t, s) for t, s in zip(some, signs, strict=True))
            for some in itertools.permutations(free, len(signs))
        }
        choices.append(placed)
    wanted = margins(g, g.targets)[1]
    graphs = (frozenset().union(*parts) for parts in itertools.product(*choices))
    return [graph for graph in graphs if Counter((t, s) for _, t, s in graph) == wanted]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12), st.integers(3, 70), st.integers(1, 90))
def test_margins_signs_and_simplicity_are_kept(seed, regulators, n, e):
    g = random_graph(seed, regulators, max(n, regulators), e)
    for targets in rewired(g, (seed, 7), 0, 6):
        assert margins(g, targets) == margins(g, g.targets)
        assert len(as_graph(g, targets)) == len(g.targets)
        assert len(np.unique(g.regulators * g.n + targets)) == len(targets)
        assert (targets != g.own[g.regulators]).all()
    for targets in target_draws(g, (seed, 7), 0, 6):
        assert len(np.unique(g.regulators * g.n + targets)) == len(targets)
        assert (targets != g.own[g.regulators]).all()
        assert targets.min() >= 0
        assert targets.max() < g.n


@pytest.mark.parametrize("draws", [rewired, target_draws])
def test_a_draw_depends_on_the_key_and_its_number_alone(draws):
    g = random_graph(1)
    block = draws(g, (5, 6), 0, 40)
    assert (block[0] == g.targets).all()
    for j in (0, 1, 17, 39):
        assert (draws(g, (5, 6), j, j + 1) == block[j]).all()
    assert (draws(g, (5, 6), 13, 29) == block[13:29]).all()
    assert len({as_graph(g, row) for row in block}) == 40
    assert not (draws(g, (5, 7), 1, 40) == block[1:]).all(axis=1).any()


@pytest.mark.parametrize("shape", [(9, 40, 60), (3, 4, 6), (2, 70, 65), (12, 130, 250)])
def test_compiled_and_numpy_draws_are_the_same_bits(shape, monkeypatch):
    if not rewire.HAVE_NUMBA:
        pytest.skip("numba is not here, so there is one path only")
    g = random_graph(2, *shape)
    fast = rewired(g, (8, 9), 0, 12), target_draws(g, (8, 9), 0, 12), rewired(g, (8, 9), 5, 9)
    monkeypatch.setattr(rewire, "HAVE_NUMBA", False)
    monkeypatch.setattr(bank, "HAVE_NUMBA", False)
    slow = rewired(g, (8, 9), 0, 12), target_draws(g, (8, 9), 0, 12), rewired(g, (8, 9), 5, 9)
    for a, b in zip(fast, slow, strict=True):
        assert a.dtype == b.dtype == np.int32
        assert (a == b).all()


def test_a_refused_word_is_drawn_again_alike_on_both_paths():
    """Real bounds refuse one word in millions, this one about half; the NumPy path goes on with stream 1 where it must."""
    item, bound, key = 5, np.uint64((1 << 31) + 1), (np.uint64(1), np.uint64(2))
    streams = np.uint64(0), np.uint64(1)
    python = rewire.as_numpy(rewire._item_draw)
    refused = 0
    for draw in map(np.uint64, range(200)):
        word = rewire.philox_words(np.uint64(item // 4), draw, streams[0], np.uint64(rewire._TARGETS), *key)[item % 4]
        got = int(rewire._item_draw(item, draw, bound, streams[0], *key))
        if rewire.uneven(word, bound):
            refused += 1
            assert got == python(item, draw, bound, streams[1], *key)
        else:
            assert got == int(word) * int(bound) >> 32
        assert 0 <= got < bound
    assert 60 < refused < 140


TINY = {
    "bipartite": edges_of([(0, 0), (0, 1), (1, 0), (1, 2), (2, 3), (2, 1), (3, 3)], [OUTSIDE] * 4, 4),
    "directed": edges_of([(0, 1), (0, 2), (1, 2), (2, 3), (3, 0), (3, 1)], [0, 1, 2, 3], 4),
    "triangle": edges_of([(0, 1), (1, 2), (2, 0)], [0, 1, 2], 3),
    "hub": edges_of([(0, 0), (1, 1), (2, 2), (3, 3), (4, 0), (4, 1), (4, 2)], [OUTSIDE, 0, OUTSIDE, 4, 3], 5),
    "signed": edges_of(
        [(0, 0), (1, 1), (2, 2), (0, 3), (1, 4), (2, 0)], [OUTSIDE, 3, OUTSIDE], 5, [1, 1, 1, -1, -1, -1]
    ),
}


@pytest.mark.parametrize("name", TINY)
def test_every_graph_with_these_margins_is_equally_likely(name):
    """Against a full enumeration. Without rotations the triangle could not turn round."""
    g = TINY[name]
    graphs = all_graphs(g)
    assert len(set(graphs)) == len(graphs) > 1
    draws = 300 * len(graphs)
    seen = Counter(as_graph(g, row) for row in rewired(g, (11, 12), 1, draws + 1))
    assert set(seen) == set(graphs)
    assert chisquare([seen[graph] for graph in graphs]).pvalue > 1e-3


def observed_ranks(g: SignedEdges, graphs: list[frozenset], repeats: int, m: int) -> Counter:
    """How often a uniformly drawn observed graph comes 1st … (m + 1)-th among itself and its draws, ties at random."""
    rng = np.random.default_rng(3)
    value = dict(zip(graphs, rng.permutation(len(graphs)), strict=True))
    ranks: Counter = Counter()
    for repeat in range(repeats):
        edges = sorted(graphs[rng.integers(len(graphs))])
        one = edges_of([e[:2] for e in edges], g.own, g.n, [e[2] for e in edges])
        score = np.array([value[as_graph(one, row)] for row in rewired(one, (repeat, 99), 0, m + 1)])
        above, ties = int((score[1:] > score[0]).sum()), int((score[1:] == score[0]).sum())
        ranks[above + int(rng.integers(ties + 1))] += 1
    return ranks


@pytest.mark.parametrize("name", ["bipartite", "directed", "signed"])
def test_p_is_exact_even_for_a_walk_of_one_step(name, monkeypatch):
    """Besag & Clifford: the rank of a uniform graph among its draws is uniform, whatever the number of steps."""
    monkeypatch.setattr(rewire, "blocks_of", lambda _: 1)
    g, m = TINY[name], 4
    ranks = observed_ranks(g, all_graphs(g), 3000, m)
    assert chisquare([ranks[r] for r in range(m + 1)]).pvalue > 1e-3


def test_without_the_way_back_p_would_not_be_exact(monkeypatch):
    """The same check fails when the hub is the observed graph itself, so it can see what it is there to see."""
    name = "_walk_loop" if rewire.HAVE_NUMBA else "_walk_numpy"
    real = getattr(rewire, name)

    def forward_only(out, origin, *rest):
        if rest[-3] == rewire._BACKWARD:
            out[:] = origin
        else:
            real(out, origin, *rest)

    monkeypatch.setattr(rewire, "blocks_of", lambda _: 1)
    monkeypatch.setattr(rewire, name, forward_only)
    g, m = TINY["directed"], 4
    ranks = observed_ranks(g, all_graphs(g), 3000, m)
    assert chisquare([ranks[r] for r in range(m + 1)]).pvalue < 1e-6


@pytest.mark.parametrize("e", [1, 2, 3, 15, 164, 2_000])
def test_a_walk_makes_at_least_ten_attempts_an_edge(e):
    blocks = blocks_of(e)
    assert blocks % 8 == 0
    attempts = 2 * (blocks // 8 * 7) + blocks // 8
    assert 10 * e <= attempts < max(961, 10 * e + 15)


def test_draws_forget_the_observed_graph():
    """The share of edges a draw has in common with the observed graph, and with another draw, is that of far walks."""
    g = random_graph(4, 20, 300, 200)
    draws = rewired(g, (1, 1), 0, 400)
    kept = (draws[1:] == draws[0]).mean()
    between = (draws[1:-1] == draws[2:]).mean()
    far = (rewired(g, (2, 1), 1, 400) == draws[1:]).mean()
    assert kept == pytest.approx(far, abs=0.01)
    assert between == pytest.approx(far, abs=0.01)


def test_targets_are_uniform_sets_without_the_regulator_itself():
    g = edges_of([(0, 0), (0, 1), (1, 2), (1, 3)], [3, OUTSIDE], 5)
    sets = [
        (frozenset(a), frozenset(b))
        for a in itertools.combinations([0, 1, 2, 4], 2)
        for b in itertools.combinations(range(5), 2)
    ]
    rows = target_draws(g, (4, 4), 1, 300 * len(sets) + 1).tolist()
    seen = Counter((frozenset(row[:2]), frozenset(row[2:])) for row in rows)
    assert set(seen) == set(sets)
    assert chisquare([seen[s] for s in sets]).pvalue > 1e-3


def test_a_regulator_of_every_other_gene_keeps_them_all():
    g = edges_of([(0, t) for t in (1, 2, 3)] + [(1, 0), (1, 3)], [0, OUTSIDE], 4)
    for draw in target_draws(g, (1, 2), 0, 50):
        assert set(draw[:3].tolist()) == {1, 2, 3}


def test_signs_are_shuffled_within_regulators_uniformly():
    groups, signs = np.array([0, 1, 0, 0, 1, 1]), np.array([1, -1, -1, 1, 1, -1])
    draws = sign_draws(groups, signs, (3, 3), 0, 9001)
    assert (draws[0] == signs).all()
    for r in (0, 1):
        assert (draws[:, groups == r].sum(axis=1) == signs[groups == r].sum()).all()
    seen = Counter(map(tuple, draws[1:].tolist()))
    assert len(seen) == 9
    assert chisquare(list(seen.values())).pvalue > 1e-3
    assert (sign_draws(groups, signs, (3, 3), 70, 80) == draws[70:80]).all()


def test_edges_that_cannot_be_rewired_are_refused():
    with pytest.raises(ValueError, match="twice"):
        edges_of([(0, 1), (0, 1)], [OUTSIDE], 3)
    with pytest.raises(ValueError, match="itself"):
        edges_of([(0, 1)], [1], 3)


def test_one_edge_and_a_full_graph_stay_what_they_are():
    alone = edges_of([(0, 2)], [OUTSIDE], 3)
    assert (rewired(alone, (1, 2), 0, 5) == 2).all()
    full = edges_of([(r, t) for r in range(3) for t in range(4)], [OUTSIDE] * 3, 4)
    assert (rewired(full, (1, 2), 0, 5) == full.targets).all()


def test_the_draws_are_what_they_were():
    """A stored ledger is replayed bit by bit, so these may never change."""
    pairs = [(r, (7 * r + 5 * k + k * k) % 40) for r in range(8) for k in range(6)]
    pairs = sorted({(r, t) for r, t in pairs if t != 3 * r})
    g = edges_of(pairs, [3 * r for r in range(8)], 40, [i % 3 - 1 for i in range(len(pairs))])
    digest = hashlib.sha256(rewired(g, (1, 2), 0, 30).tobytes() + target_draws(g, (1, 2), 0, 30).tobytes())
    assert digest.hexdigest()[:16] == "804cbeae55080ef7"
