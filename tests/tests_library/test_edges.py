"""Edge statistics against brute force, their nulls against each other, and rates of rejection where nothing is there."""

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from scipy.stats import binom, rankdata

from hyposcreen.tests_library.engine import bank, edge_kernels, kernels, ranks, rewire, steps
from hyposcreen.tests_library.engine.bank import Bank
from hyposcreen.tests_library.nulls import NULLS, OWN_NULLS, NullModel
from hyposcreen.tests_library.run import scan
from hyposcreen.tests_library.statistics import edges as kinds
from hyposcreen.tests_library.statistics.base import Entity, View
from hyposcreen.tests_library.statistics.edges import (
    DIRECTED_DISPLACEMENT,
    EDGE_AUROC,
    FEED_FORWARD_LOOP,
    SIGNED_EDGE_SPLIT,
)

KINDS = (EDGE_AUROC, SIGNED_EDGE_SPLIT, DIRECTED_DISPLACEMENT, FEED_FORWARD_LOOP)
OWN = {
    "edge_auroc": ("rewired", "target_shuffle"),
    "signed_edge_split": ("sign_shuffle",),
    "directed_displacement": ("rewired", "target_shuffle"),
    "feed_forward_loop": ("rewired",),
}
by_name = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
by_null = pytest.mark.parametrize(
    ("kind", "null"), [(k, null) for k in KINDS for null in OWN[k.name]], ids=lambda x: getattr(x, "name", x)
)
REGULATORS = [2, 5, 11, 17, 23, 29, 36, 70, 75]
"""Cache rows; the last two lie outside the universe of 60."""


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """The nulls by name, whether the library lists them yet or not."""
    for name in ("rewired", "target_shuffle", "sign_shuffle"):
        if name not in OWN_NULLS:
            monkeypatch.setitem(OWN_NULLS, name, NullModel(name, "", "", "", joint=False))


@pytest.fixture(scope="module")
def w(world):
    return world(rows=80, dim=12, seed=51, universe=np.arange(60))


def network(rng, per_regulator=9, n=60) -> Entity:
    """Random edges with many among regulators, so that loops exist, and signs of all three sorts."""
    edges = []
    for r in REGULATORS:
        weight = np.where(np.isin(np.arange(n), REGULATORS), 6.0, 1.0)
        weight[[r] if r < n else []] = 0
        edges += [(r, t) for t in rng.choice(n, per_regulator, replace=False, p=weight / weight.sum())]
    return Entity("edges", edges=np.array(edges, np.int64), signs=rng.choice([-1, 0, 1], len(edges)).astype(np.int64))


def identity(n=60) -> np.ndarray:
    return np.arange(n, dtype=np.int32)[None]


def effects(kind, geometry, entity) -> dict[View, float]:
    prepared = kind.prepare(geometry, entity)
    totals = prepared.sums(identity(geometry.n))
    assert totals.dtype == np.int64
    return dict(zip(prepared.views, prepared.offset + prepared.scale * totals[0], strict=True))


def scores(w, view: View) -> np.ndarray:
    """U·S of the window by a plain SVD, float64 [rows, axes]."""
    Y = w.layers[int(view.layer[1:])].astype(np.float64)
    U, S, _ = np.linalg.svd(Y - Y.mean(axis=0), full_matrices=False)
    low, high = (int(v) for v in view.coordinate[2:].split("-"))
    return (U * S)[:, low - 1 : high]


def quantiles(w, view: View) -> dict[tuple[int, int], float]:
    """Rank of each gene's similarity to each regulator among the other genes, in shares of the universe."""
    x = scores(w, view)
    x = x / np.linalg.norm(x, axis=1)[:, None]
    out = {}
    for r in REGULATORS:
        others = [g for g in range(60) if g != r]
        out |= {(r, g): q / 60 for g, q in zip(others, rankdata(x[others] @ x[r]), strict=True)}
    return out


def mean_difference(rows: list[tuple[int, bool, float]]) -> float:
    """Least-squares effect of a mark on a value with one level a regulator: rows of (regulator, marked, value)."""
    regulators = sorted({r for r, _, _ in rows})
    X = np.array([[marked, *(r == other for other in regulators)] for r, marked, _ in rows], float)
    return float(np.linalg.lstsq(X, np.array([value for *_, value in rows]), rcond=None)[0][0])


def test_signed_edge_split_is_the_regression_on_sign_within_regulators(w):
    e = network(np.random.default_rng(1))
    for view, effect in effects(SIGNED_EDGE_SPLIT, w.geometry, e).items():
        q = quantiles(w, view)
        rows = [(r, s > 0, q[r, t]) for (r, t), s in zip(e.edges.tolist(), e.signs.tolist(), strict=True) if s]
        assert effect == pytest.approx(mean_difference(rows), abs=1e-6)


def test_feed_forward_loop_is_the_regression_on_closing_edges_of_networkx(w):
    e = network(np.random.default_rng(2))
    graph = nx.DiGraph(e.edges.tolist())
    closing = [bool(set(graph.predecessors(s)) & set(graph.predecessors(t))) for s, t in e.edges.tolist()]
    assert 10 < sum(closing) < len(closing) - 10
    for view, effect in effects(FEED_FORWARD_LOOP, w.geometry, e).items():
        q = quantiles(w, view)
        rows = [(s, c, q[s, t]) for (s, t), c in zip(e.edges.tolist(), closing, strict=True)]
        assert effect == pytest.approx(mean_difference(rows), abs=1e-4)


def test_directed_displacement_is_the_mean_cosine_between_steps(w):
    e = network(np.random.default_rng(3))
    for view, effect in effects(DIRECTED_DISPLACEMENT, w.geometry, e).items():
        x = scores(w, view)
        steps = np.array([x[t] - x[r] for r, t in e.edges.tolist()])
        steps /= np.linalg.norm(steps, axis=1)[:, None]
        cosine = steps @ steps.T
        assert effect == pytest.approx(cosine[~np.eye(len(steps), dtype=bool)].mean(), abs=2e-3)


@pytest.mark.parametrize("kind", [EDGE_AUROC, SIGNED_EDGE_SPLIT, DIRECTED_DISPLACEMENT], ids=lambda kind: kind.name)
def test_an_arrangement_is_the_same_edges_with_other_targets(kind, w):
    e = network(np.random.default_rng(4))
    prepared = kind.prepare(w.geometry, e)
    whole = 0
    for row in Bank((3, 1), np.zeros(60, np.int64)).arrangements(0, 60):
        targets = row[e.edges[:, 1]]
        if (targets == e.edges[:, 0]).any():
            continue
        whole += 1
        moved = replace(e, edges=np.stack([e.edges[:, 0], targets], axis=1).astype(np.int64))
        assert (prepared.sums(row[None]) == kind.prepare(w.geometry, moved).sums(identity())).all()
    assert whole > 5


def test_an_arrangement_keeps_which_edges_close_loops(w):
    """The shared nulls move the targets under the loops of the observed graph."""
    e = network(np.random.default_rng(5))
    prepared = FEED_FORWARD_LOOP.prepare(w.geometry, e)
    graph = nx.DiGraph(e.edges.tolist())
    closing = [bool(set(graph.predecessors(s)) & set(graph.predecessors(t))) for s, t in e.edges.tolist()]
    row = next(
        a for a in Bank((3, 1), np.zeros(60, np.int64)).arrangements(1, 90) if (a[e.edges[:, 1]] != e.edges[:, 0]).all()
    )
    got = prepared.scale * prepared.sums(row[None])[0]
    for view, effect in zip(prepared.views, got, strict=True):
        q = quantiles(w, view)
        rows = [(s, c, q[s, int(row[t])]) for (s, t), c in zip(e.edges.tolist(), closing, strict=True)]
        assert effect == pytest.approx(mean_difference(rows), abs=1e-4)


@by_null
def test_a_draw_is_the_statistic_of_the_drawn_graph(kind, null, w, monkeypatch):
    monkeypatch.setattr(kinds, "MIN_CLOSING", 0)
    e = network(np.random.default_rng(6))
    prepared = kind.prepare(w.geometry, e)
    key = (21, 22)
    totals = prepared.own[null](key, 0, 12)
    assert totals.dtype == np.int64
    assert totals.shape == (12, len(prepared.views))
    assert (totals[0] == prepared.sums(identity())[0]).all()
    assert (prepared.own[null](key, 5, 9) == totals[5:9]).all()
    assert len(np.unique(totals, axis=0)) == 12
    rows, regulators = np.unique(e.edges[:, 0], return_inverse=True)
    own = np.where(rows < 60, rows, -1)
    graph = rewire.SignedEdges(regulators, e.edges[:, 1], e.signs, own, 60)
    for j in range(12):
        if null == "sign_shuffle":
            known = np.flatnonzero(e.signs)
            signs = np.zeros(len(e.signs), np.int64)
            dealt = rewire.sign_draws(regulators[known], (e.signs[known] > 0).astype(np.int64), key, j, j + 1)[0]
            signs[known] = 2 * dealt - 1
            drawn = replace(e, signs=signs)
            assert (np.bincount(regulators, signs) == np.bincount(regulators, e.signs)).all()
        else:
            make = {"rewired": rewire.rewired, "target_shuffle": rewire.target_draws}[null]
            targets = make(graph, key, j, j + 1)[0].astype(np.int64)
            drawn = replace(e, edges=np.stack([e.edges[:, 0], targets], axis=1))
        fresh = kind.prepare(w.geometry, drawn)
        effect = fresh.offset + fresh.scale * fresh.sums(identity())[0]
        if kind is FEED_FORWARD_LOOP:  # its unit is the spread of the observed loops: compare up to that factor
            effect = effect / fresh.scale * prepared.scale
        np.testing.assert_allclose(prepared.offset + prepared.scale * totals[j], effect, atol=1e-12)


@by_name
def test_compiled_and_numpy_paths_are_the_same_bits(kind, w, monkeypatch):
    if not rewire.HAVE_NUMBA:
        pytest.skip("numba is not here, so there is one path only")
    e = network(np.random.default_rng(7))
    rows = Bank((1, 2), np.zeros(60, np.int64)).arrangements(0, 40)

    def everything() -> list[np.ndarray]:
        prepared = kind.prepare(w.again(), e)  # tables of regulators are made again, too
        return [prepared.sums(rows), *(prepared.own[null]((5, 6), 0, 20) for null in OWN[kind.name])]

    fast = everything()
    for module in (bank, edge_kernels, kernels, ranks, rewire, steps):
        monkeypatch.setattr(module, "HAVE_NUMBA", False)
    for a, b in zip(fast, everything(), strict=True):
        assert (a == b).all()


def p_values(w, kind, e, nulls, m=99, seed=1) -> dict[str, float]:
    prepared = kind.prepare(w.geometry, e)
    views = {"all": frozenset(prepared.views)}
    found = scan(w.geometry, w.covariates, kind, e, subsets=views, nulls=nulls, m=m, seed=seed)
    return {one.null: (one.subsets["all"].k + 1) / (one.m + 1) for one in found}


def planted(kind, w) -> Entity:
    """Edges that show what the kind asks for, in SV2–7 of layer 0."""
    view = View("L0", "SV2-7")
    q, x = quantiles(w, view), scores(w, view)
    edges, signs = [], []
    for r in REGULATORS:
        others = [g for g in range(60) if g != r]
        if kind is DIRECTED_DISPLACEMENT:  # targets lie ahead of their regulator, as far as they lie aside
            step = x[others] - x[r]
            ahead = step[:, 0] / np.linalg.norm(step, axis=1)
            chosen = [others[i] for i in np.argsort(-ahead)[:7]]
        elif kind is EDGE_AUROC:
            chosen = sorted(others, key=lambda g: -q[r, g])[:7]
        else:  # close ones are activated, far ones repressed
            chosen = sorted(others, key=lambda g: -q[r, g])[2:6] + sorted(others, key=lambda g: q[r, g])[2:6]
        edges += [(r, t) for t in chosen]
        signs += [1 if i < 4 else -1 for i in range(len(chosen))]
    return Entity("edges", edges=np.array(edges, np.int64), signs=np.array(signs, np.int64))


def planted_loops(w) -> Entity:
    """Master regulators 70 and 75 have every other regulator and, of each, its four nearest genes; far ones are its own."""
    q = quantiles(w, View("L0", "SV2-7"))
    inside = [r for r in REGULATORS if r < 60]
    edges = {(70, r) for r in inside}
    for r in inside:
        order = sorted((g for g in range(60) if g not in REGULATORS), key=lambda g: -q[r, g])
        edges |= {(r, t) for t in order[:4] + order[-4:]} | {(70, t) for t in order[:4]}
    shared = {t for s, t in edges if s == 70}
    edges = {(s, t) for s, t in edges if s == 70 or t not in shared or q[s, t] > 0.6}
    return Entity("edges", edges=np.array(sorted(edges), np.int64), signs=np.ones(len(edges), np.int64))


@by_name
def test_a_planted_signal_is_found_under_every_null(kind, w):
    e = planted_loops(w) if kind is FEED_FORWARD_LOOP else planted(kind, w)
    p = p_values(w, kind, e, ("gene_label", "stratified", *OWN[kind.name]), m=299)
    assert max(p.values()) <= 0.02, p
    view = View("L0", "SV2-7")
    assert effects(kind, w.geometry, e)[view] > {"edge_auroc": 0.8}.get(kind.name, 0.1)


def test_repressed_targets_that_are_closer_show_a_negative_effect(w):
    e = planted(SIGNED_EDGE_SPLIT, w)
    other = replace(e, signs=-e.signs)
    view = View("L0", "SV2-7")
    effect = effects(SIGNED_EDGE_SPLIT, w.geometry, other)[view]
    assert effect == -effects(SIGNED_EDGE_SPLIT, w.geometry, e)[view] < -0.1
    assert p_values(w, SIGNED_EDGE_SPLIT, other, ("sign_shuffle",), m=299)["sign_shuffle"] <= 0.02


@by_null
def test_where_nothing_is_there_the_rate_of_rejection_is_the_level(kind, null, w):
    """Edges drawn as the null says: graphs of fixed margins, free targets, or signs dealt by lot."""
    base = network(np.random.default_rng(9))
    rows, regulators = np.unique(base.edges[:, 0], return_inverse=True)
    graph = rewire.SignedEdges(regulators, base.edges[:, 1], base.signs, np.where(rows < 60, rows, -1), 60)
    make = rewire.rewired if null == "rewired" else rewire.target_draws
    worlds = make(graph, (77, 78), 1, 151).astype(np.int64)
    signs = rewire.sign_draws(regulators, base.signs, (77, 78), 1, 151)
    hits = 0
    for j in range(150):
        targets = base.edges[:, 1] if null == "sign_shuffle" else worlds[j]
        e = Entity(
            "edges",
            edges=np.stack([base.edges[:, 0], targets], axis=1),
            signs=signs[j] if null == "sign_shuffle" else base.signs,
        )
        hits += p_values(w, kind, e, (null,), m=39, seed=j)[null] <= 0.1
    assert binom.ppf(5e-4, 150, 0.1) <= hits <= binom.ppf(1 - 5e-4, 150, 0.1)


def test_popular_targets_near_regulators_fool_target_draws_and_not_rewiring(w):
    """In-degree tied to the geometry: every regulator regulates the same central genes, whatever its own neighbours are."""
    x = scores(w, View("L0", "SV2-7"))
    x /= np.linalg.norm(x, axis=1)[:, None]
    near = (x[:60] @ x[REGULATORS].T).mean(axis=1)
    popular = np.exp(3 * (near - near.mean()) / near.std())
    popular[[r for r in REGULATORS if r < 60]] = 0
    rng = np.random.default_rng(10)
    rejected = dict.fromkeys(OWN["edge_auroc"], 0)
    for seed in range(40):
        edges = [(r, t) for r in REGULATORS for t in rng.choice(60, 6, replace=False, p=popular / popular.sum())]
        e = Entity("edges", edges=np.array(edges, np.int64), signs=np.zeros(len(edges), np.int64))
        for null, p in p_values(w, EDGE_AUROC, e, OWN["edge_auroc"], m=39, seed=seed).items():
            rejected[null] += p <= 0.1
    assert rejected["target_shuffle"] > 25
    assert rejected["rewired"] <= binom.ppf(1 - 1e-3, 40, 0.1)


def test_a_level_of_a_regulator_cancels_exactly():
    """Adding a constant to all similarities of one regulator moves neither contrast."""
    marked = np.random.default_rng(11).random((5, 30)) < 0.4
    regulators = np.repeat(np.arange(6), 5)
    weights, norm = kinds._shares(regulators, marked)
    for r in range(6):
        assert (weights[:, regulators == r].sum(axis=1) == 0).all()
    p = np.array([[marked[j, regulators == r].sum() for r in range(6)] for j in range(5)])
    np.testing.assert_allclose(norm / (1 << 20), (p * (5 - p) / 5).sum(axis=1), rtol=1e-5)


def test_an_edge_drawn_onto_its_own_regulator_never_shortens_the_resultant(w):
    e = network(np.random.default_rng(12))
    prepared = DIRECTED_DISPLACEMENT.prepare(w.geometry, e)
    swap = identity()[0].copy()
    r, t = next((r, t) for r, t in e.edges.tolist() if r < 60)
    swap[[r, t]] = swap[[t, r]]
    with_loop = prepared.sums(swap[None])[0]
    rest = [(s, int(swap[u])) for s, u in e.edges.tolist() if s != int(swap[u])]
    lost = len(e.edges) - len(rest)
    assert lost >= 1
    fewer = replace(e, edges=np.array(rest), signs=np.zeros(len(rest), np.int64))
    without = DIRECTED_DISPLACEMENT.prepare(w.geometry, fewer).sums(identity())[0]
    np.testing.assert_allclose(np.sqrt(with_loop), np.sqrt(without) + lost * 4096, rtol=1e-6)


UNSIGNED = Entity("edges", edges=network(np.random.default_rng(13)).edges, signs=np.zeros(81, np.int64))
SPARSE = Entity(
    "edges", edges=np.array([(r, t) for r in REGULATORS for t in (40, 41, 42)]), signs=np.ones(27, np.int64)
)


@pytest.mark.parametrize(("kind", "e"), [(SIGNED_EDGE_SPLIT, UNSIGNED), (FEED_FORWARD_LOOP, SPARSE)])
def test_too_few_signs_or_loops_are_named_and_not_scanned(kind, e, w):
    assert kind.shortage(e, w.universe).startswith("0 ")
    with pytest.raises(ValueError, match=rf"0 .*{kind.name} needs 5 or more"):
        p_values(w, kind, e, tuple(NULLS), m=19)
    prepared = kind.prepare(w.geometry, e)  # a constant all the same, never an exception
    assert not prepared.sums(Bank((1, 2), np.zeros(60, np.int64)).arrangements(0, 9)).any()
    assert np.isfinite(prepared.scale).all()


def signed(activating: int, repressing: int) -> Entity:
    """One regulator with both signs; another with activating edges only, which contrast with nothing."""
    edges = [(70, t) for t in range(activating + repressing)] + [(75, t) for t in range(20)]
    return Entity("edges", edges=np.array(edges), signs=np.array([1] * activating + [-1] * repressing + [1] * 20))


@pytest.mark.parametrize(("counts", "enough"), [((5, 5), True), ((4, 30), False), ((30, 4), False), ((30, 5), True)])
def test_five_edges_of_either_sign_are_enough_to_move(counts, enough, w):
    e = signed(*counts)
    shortage = SIGNED_EDGE_SPLIT.shortage(e, w.universe)
    assert (shortage == "") == enough
    if enough:
        found = scan(
            w.geometry, w.covariates, SIGNED_EDGE_SPLIT, e,
            subsets={"all": frozenset(SIGNED_EDGE_SPLIT.prepare(w.geometry, e).views)},
            nulls=(*NULLS, "sign_shuffle"), m=99, seed=1,
        )  # fmt: skip
        assert all(one.broken == () for one in found)
    else:
        assert shortage.startswith(f"{counts[0]} activating and {counts[1]} repressing edges")


def test_loops_are_counted_through_regulators_of_the_universe_alone(w):
    """r → s, both with the same targets: edges of s close loops only where s is a gene that r's edge can name."""
    loops = (
        [(2, 5)] + [(2, t) for t in range(20, 26)] + [(5, t) for t in range(20, 26)] + [(5, t) for t in range(30, 40)]
    )
    e = Entity("edges", edges=np.array(loops), signs=np.ones(len(loops), np.int64))
    assert FEED_FORWARD_LOOP.shortage(e, w.universe) == ""
    elsewhere = np.arange(100, 160)  # the same positions are other genes: no regulator is among them
    assert FEED_FORWARD_LOOP.shortage(e, elsewhere).startswith("0 edges that close a loop")


@by_name
def test_degenerate_embeddings_give_finite_numbers(kind, w, world):
    """Identical genes, one layer, three dimensions."""
    e = network(np.random.default_rng(14))
    same = [np.ones_like(X) for X in w.layers]
    narrow = world(rows=80, dim=3, n_layers=1, seed=5, universe=np.arange(60))
    for geometry in (w.again(layers=same), narrow.geometry):
        prepared = kind.prepare(geometry, e)
        for totals in (
            prepared.sums(Bank((1, 2), np.zeros(60, np.int64)).arrangements(0, 9)),
            *(prepared.own[null]((1, 2), 0, 9) for null in OWN[kind.name]),
        ):
            assert totals.shape == (9, len(prepared.views))
            assert np.isfinite(prepared.offset + prepared.scale * totals).all()
            assert np.abs(totals).max() < 1 << 62


@pytest.mark.parametrize("numba", [True, False])
def test_closing_edges_are_those_of_the_definition(numba, monkeypatch):
    monkeypatch.setattr(edge_kernels, "HAVE_NUMBA", numba and rewire.HAVE_NUMBA)
    rng = np.random.default_rng(15)
    own = np.array([3, -1, 7, 0, 12])
    cells = np.array([(r, t) for r in range(5) for t in range(15) if own[r] != t])
    regulators = np.repeat(np.arange(5), 6)
    targets = np.array(
        [np.concatenate([rng.permutation(cells[cells[:, 0] == r, 1])[:6] for r in range(5)]) for _ in range(30)],
        np.int32,
    )
    got = edge_kernels.closing_edges(regulators, targets, own, 15)
    for row, marks in zip(targets.tolist(), got.tolist(), strict=True):
        edges = set(zip(regulators.tolist(), row, strict=True))
        wanted = [
            any((r, int(own[s])) in edges and (r, t) in edges for r in range(5))
            for s, t in zip(regulators.tolist(), row, strict=True)
        ]
        assert marks == wanted
    assert got.any()
    assert not got.all()
