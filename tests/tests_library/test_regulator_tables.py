"""Tables of regulators and sums over edges against plain NumPy and SciPy, and against themselves with no room to keep any."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from hyposcreen.embeddings_cache.store import SHIPPED, open_cache
from hyposcreen.tests_library.engine import edge_kernels, ranks, steps
from hyposcreen.tests_library.engine.bank import Bank
from hyposcreen.tests_library.engine.jit import HAVE_NUMBA
from hyposcreen.tests_library.engine.kept import Kept
from hyposcreen.tests_library.spaces import Geometry
from hyposcreen.tests_library.statistics import regulators as tables
from hyposcreen.tests_library.statistics.base import Entity
from hyposcreen.tests_library.statistics.edges import DIRECTED_DISPLACEMENT, EDGE_AUROC

seeds = st.integers(0, 2**32 - 1)
some = settings(max_examples=60)


@pytest.fixture(scope="module")
def demo() -> Geometry:
    """Two thirds of the genes of the shipped cache, so that some regulators are no genes of the universe."""
    cache = open_cache(SHIPPED["demo"])
    usable = np.flatnonzero(cache.genes.usable).astype(np.int64)
    return Geometry(cache.layers, usable, usable[np.arange(len(usable)) % 3 > 0], cache.genes.symbol, 10)


@pytest.fixture(scope="module", params=["demo", "random", "ties"])
def geometry(request, world) -> Geometry:
    if request.param == "demo":
        return request.getfixturevalue("demo")
    w = world(rows=70, dim=14, seed=81, universe=np.arange(50))
    if request.param == "random":
        return w.geometry
    twins = [X.copy() for X in w.layers]
    for X in twins:
        X[20:30] = X[10:20]
    return w.again(layers=twins)


@given(seeds, st.sampled_from([1, 3, 50, 2**31, 2**60, 2**62]))
@some
def test_mid_ranks_are_those_of_scipy(seed, spread):
    """The widest values do not fit into one word with their place, and take the other way."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-spread, spread, int(rng.integers(1, 200)))
    got = ranks.mid_ranks(values)
    assert got.dtype == np.int32
    assert (got == 2 * rankdata(values) - (len(values) + 1)).all()
    order, tied = ranks.in_order(values)
    assert (order == np.argsort(values, kind="stable")).all()
    assert tied == (len(np.unique(values)) < len(values))


def test_mid_ranks_of_nothing_are_nothing():
    assert len(ranks.mid_ranks(np.zeros(0, np.int64))) == 0


@pytest.mark.parametrize("inside", [True, False])
def test_ranks_within_a_regulator_are_plain_ranks_of_its_cosines(geometry, inside):
    outside = np.setdiff1d(geometry.usable, geometry.universe)
    for row in (geometry.universe if inside else outside)[[0, 5, -1]].tolist():
        got = tables.within_regulator_ranks(geometry, row)
        assert got.dtype == np.int16
        others = geometry.universe != row
        for v, view in enumerate(tables.window_views(geometry)):
            cosine = geometry.window_similarity(*tables.place(view), row)
            assert (got[others, v] == 2 * rankdata(cosine[others]) - (others.sum() + 1)).all()
            assert (got[~others, v] == others.sum() - 1).all()


@pytest.mark.parametrize("numba", [True, False])
def test_steps_are_unit_vectors_of_rounded_coordinates(geometry, numba, monkeypatch):
    monkeypatch.setattr(steps, "HAVE_NUMBA", numba and HAVE_NUMBA)
    row = int(geometry.universe[12])
    got = tables.regulator_steps(geometry, row)
    assert got.dtype == np.int16
    at = 0
    for layer, low, high in map(tables.place, tables.window_views(geometry)):
        scale = geometry.axis_scale(layer)[low - 1 : high]
        x = np.rint(geometry.axes(layer)[:, low - 1 : high] * (scale / scale.max()) * 2.0**-9)
        for i, other in enumerate(geometry.universe.tolist()):
            step = x[other] - x[row]
            length = np.sqrt((step**2).sum())
            wanted = np.rint(4096 * step / length) if length else 0 * step
            assert (got[i, at : at + len(step)] == wanted).all()
        at += high - low + 1
    assert at == got.shape[1]


def graph(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Tables [R, n, V] of some width, edges in any order (of some regulators none), targets and weights of several draws."""
    rng = np.random.default_rng(seed)
    R, n, views, draws = (int(k) for k in rng.integers((1, 2, 1, 1), (7, 30, 19, 9)))
    kind, largest = ((np.int16, 2**15), (np.int32, 2**15), (np.int32, 2**24))[int(rng.integers(3))]
    table = rng.integers(-largest, largest, (R, n, views)).astype(kind)
    edges = np.stack([rng.integers(0, R, (count := int(rng.integers(1, 40)))), rng.integers(0, n, count)], axis=1)
    arrangements = np.stack([rng.permutation(n) for _ in range(draws)]).astype(np.int32)
    return table, edges, arrangements, rng.integers(-(2**20), 2**20, (draws, count))


def both_ways(call):
    """The result by compiled loops and by NumPy."""
    found = [call()]
    edge_kernels.HAVE_NUMBA = False
    try:
        found.append(call())
    finally:
        edge_kernels.HAVE_NUMBA = HAVE_NUMBA
    return found


@given(seeds)
@some
def test_sums_over_edges_are_those_of_plain_numpy(seed):
    table, edges, arrangements, _ = graph(seed)
    plain = table[edges[:, 0], arrangements[:, edges[:, 1]]].astype(np.int64).sum(axis=1)
    for got in both_ways(lambda: edge_kernels.edge_sums(table, edges, arrangements)):
        assert got.dtype == np.int64
        assert (got == plain).all()


@given(seeds, st.booleans(), st.booleans())
@some
def test_weighted_sums_over_edges_are_those_of_plain_numpy(seed, one_target, one_weight):
    table, edges, arrangements, weights = graph(seed)
    targets = np.ascontiguousarray(arrangements[:1] if one_target else arrangements)[:, edges[:, 1]]
    weights = weights[:1] if one_weight else weights
    values = table[edges[:, 0], targets].astype(np.int64)
    plain = (weights[:, :, None] * values).sum(axis=1)
    for got in both_ways(lambda: edge_kernels.weighted_edge_sums(table, edges[:, 0], targets, weights)):
        assert got.dtype == np.int64
        assert (got == plain).all()


def test_a_product_too_large_for_floats_is_made_in_integers():
    """2⁴⁴ · 2¹⁵ is beyond 2⁵³, where float64 would lose the odd ones."""
    table = np.full((1, 4, 2), 2**15 - 1, np.int16)
    weights = np.array([[2**44 + 1, 1, -1]])
    got = edge_kernels.weighted_edge_sums(table, np.zeros(3, np.int64), np.array([[0, 1, 2]], np.int32), weights)
    assert got.tolist() == [[(2**44 + 1) * (2**15 - 1)] * 2]


@pytest.mark.parametrize("kind", [EDGE_AUROC, DIRECTED_DISPLACEMENT], ids=lambda kind: kind.name)
def test_without_room_tables_are_made_again_and_nothing_else_changes(kind, world, monkeypatch):
    rng = np.random.default_rng(3)
    rows = (3, 9, 44, 61)
    edges = np.array([(r, t) for r in rows for t in rng.permutation(50)[:6] if t != r], np.int64)
    entity = Entity("edges", edges=edges, signs=np.zeros(len(edges), np.int64))
    drawn = Bank((1, 2), np.zeros(50, np.int64)).arrangements(0, 30)
    made: list[int] = []
    for make in (tables.within_regulator_ranks, tables.regulator_steps):
        counted = lambda geometry, row, make=make: made.append(row) or make(geometry, row)  # noqa: E731
        monkeypatch.setattr(tables, make.__name__, counted)

    def totals(room: int) -> list[np.ndarray]:
        made.clear()
        monkeypatch.setattr(tables, "_KEPT_BYTES", room)
        geometry = world(rows=70, dim=14, seed=82, universe=np.arange(50)).geometry
        prepared, again = kind.prepare(geometry, entity), kind.prepare(geometry, entity)
        return [prepared.sums(drawn), again.sums(drawn), *(own((4, 5), 0, 9) for own in prepared.own.values())]

    kept = totals(1 << 30)
    assert sorted(made) == list(rows)
    remade = totals(0)
    assert len(made) >= 4 * len(rows)
    for one, two in zip(kept, remade, strict=True):
        assert (one == two).all()


def test_what_came_first_is_kept():
    kept = Kept(100)
    tabled = tables.RegulatorTables((7, 8), kept, lambda row: np.full(40 if row == 7 else 90, row, np.int8))
    assert len(tabled) == 2
    assert tabled[0] is tabled[0]
    assert tabled[1] is not tabled[1]
    assert (tabled[1] == 8).all()
    assert kept.nbytes == 40
