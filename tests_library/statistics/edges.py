"""Directed, signed edges: targets near their regulator, activation against repression, a common direction, closed loops.

Every statistic is a function of a graph. The shared nulls keep the regulators where they are and let other genes play the
targets. Two nulls of the edges' own draw other graphs: ``rewired`` keeps how many regulators each target has,
``target_shuffle`` does not. ``sign_shuffle`` leaves the graph alone and deals its signs anew.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.edge_kernels import closing_edges, edge_sums, weighted_edge_sums
from ..engine.kernels import Arrangements
from ..engine.rewire import SignedEdges, rewired, sign_draws, target_draws
from ..spaces import Geometry
from .base import Entity, OwnDraws, Prepared, TestKind, View, affine
from .coordinates import WINDOW
from .regulators import STEP_UNIT, place, rank_tables, step_tables, window_views

MIN_SIGNED = 5
"""Activating and repressing edges each, of regulators that have both, below which their contrast is not made."""
MIN_CLOSING = 5
"""Edges that close a loop, of regulators that also have others, below which their contrast is not made."""
_WEIGHT = 1 << 20

Targets = NDArray[np.int32]
"""The target of every edge in every draw, [P, e]; an edge keeps its regulator and its sign."""


@dataclass(frozen=True, eq=False)
class _Graph:
    """Edges with regulators numbered 0 … R−1 (``rows`` are their cache rows); int64 [e] each, ``own`` int64 [R]."""

    rows: NDArray[np.int64]
    regulators: NDArray[np.int64]
    targets: NDArray[np.int64]
    signs: NDArray[np.int64]
    own: NDArray[np.int64]
    n: int

    @classmethod
    def of(cls, universe: NDArray[np.int64], entity: Entity) -> "_Graph":
        edges = entity.need_edges()
        rows, regulators = np.unique(edges[:, 0], return_inverse=True)
        signs = np.zeros(len(edges), np.int64) if entity.signs is None else entity.signs
        position = {row: i for i, row in enumerate(universe.tolist())}
        own = np.array([position.get(row, -1) for row in rows.tolist()], np.int64)
        return cls(rows, regulators.astype(np.int64), edges[:, 1].astype(np.int64), signs, own, len(universe))

    def arranged(self, arrangements: Arrangements) -> Targets:
        """The targets when gene i is played by gene ``a[i]``."""
        return np.ascontiguousarray(arrangements[:, self.targets])

    def own_draws(self, statistic: Callable[[Targets], NDArray[np.int64]]) -> dict[str, OwnDraws]:
        """``statistic`` of the graphs of each null that draws graphs."""

        def draws(make: Callable[[SignedEdges, tuple[int, int], int, int], Targets]) -> OwnDraws:
            def draw(key: tuple[int, int], start: int, stop: int) -> NDArray[np.int64]:
                edges = SignedEdges(self.regulators, self.targets, self.signs, self.own, self.n)
                return statistic(make(edges, key, start, stop))

            return draw

        return {"rewired": draws(rewired), "target_shuffle": draws(target_draws)}


def _prepare_edges(geometry: Geometry, entity: Entity) -> Prepared:
    graph = _Graph.of(geometry.universe, entity)
    views = window_views(geometry)
    tables = rank_tables(geometry, graph.rows)
    edges = np.stack([graph.regulators, graph.targets], axis=1)
    each = np.stack([graph.regulators, np.arange(len(edges))], axis=1)
    targets = np.bincount(graph.regulators, minlength=len(graph.rows))
    possible = geometry.n - (graph.own >= 0)
    comparisons = max(1, int((targets * np.maximum(0, possible - targets)).sum()))

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return edge_sums(tables, edges, arrangements)

    own = graph.own_draws(lambda drawn: edge_sums(tables, each, drawn))
    return Prepared(views, sums, *affine(len(views), 1 / (2 * comparisons), 0.5), own)


def _shares(regulators: NDArray[np.int64], marked: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Weights of the contrast of marked with other edges, within regulators: (int64 [P, e], their norm [P]).

    A regulator with p marked and q other edges gives its marked edges weight q · c and the others −p · c, where
    c = round(2²⁰ / (p + q)). They sum to exactly 0, so what all its edges share cancels, and regulators count by
    p·q / (p + q), the weight of a difference of two means. The norm is Σ c·p·q. ``marked`` is bool [P, e].
    """
    R = int(regulators.max(initial=-1)) + 1
    total = np.bincount(regulators, minlength=R)
    order = np.argsort(regulators, kind="stable")
    present, first = np.unique(regulators[order], return_index=True)
    p = np.zeros((len(marked), R), np.int64)
    p[:, present] = np.add.reduceat(marked[:, order], first, axis=1, dtype=np.int64)
    q = total - p
    c = np.rint(_WEIGHT / np.maximum(1, total)).astype(np.int64)
    weights = np.where(marked, (q * c)[:, regulators], -(p * c)[:, regulators])
    return weights, (p * q * c).sum(axis=1)


def _contrasted(regulators: NDArray[np.int64], marked: NDArray[np.bool_]) -> tuple[int, int]:
    """Marked and other edges of the regulators that have both, which alone enter a contrast. ``marked`` [e]."""
    R = int(regulators.max(initial=-1)) + 1
    p = np.bincount(regulators[marked], minlength=R)
    q = np.bincount(regulators[~marked], minlength=R)
    both = (p > 0) & (q > 0)
    return int(p[both].sum()), int(q[both].sum())


def _lacks_signs(entity: Entity, universe: NDArray[np.int64]) -> str:
    graph = _Graph.of(universe, entity)
    known = np.flatnonzero(graph.signs)
    activating, repressing = _contrasted(graph.regulators[known], graph.signs[known] > 0)
    if min(activating, repressing) >= MIN_SIGNED:
        return ""
    return (
        f"{activating} activating and {repressing} repressing edges of regulators that have both, and signed_edge_split "
        f"needs {MIN_SIGNED} or more of either"
    )


def _closing(graph: _Graph) -> NDArray[np.bool_]:
    """Which edges close a loop, bool [e]."""
    found: NDArray[np.bool_] = closing_edges(
        graph.regulators, graph.targets.astype(np.int32)[None], graph.own, graph.n
    )[0]
    return found


def _lacks_loops(entity: Entity, universe: NDArray[np.int64]) -> str:
    graph = _Graph.of(universe, entity)
    closing, others = _contrasted(graph.regulators, _closing(graph))
    if min(closing, others) >= MIN_CLOSING:
        return ""
    return (
        f"{closing} edges that close a loop and {others} others, of regulators that have both, and feed_forward_loop "
        f"needs {MIN_CLOSING} or more of either"
    )


def _nothing(views: tuple[View, ...], nulls: tuple[str, ...]) -> Prepared:
    """Too little to test: a statistic that is 0 whatever is drawn, so p = 1 and the null is named as broken."""

    def draw(_key: Any, start: int, stop: int) -> NDArray[np.int64]:
        return np.zeros((stop - start, len(views)), np.int64)

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return np.zeros((len(arrangements), len(views)), np.int64)

    return Prepared(views, sums, *affine(len(views), 0.0, 0.0), dict.fromkeys(nulls, draw))


def _prepare_signs(geometry: Geometry, entity: Entity) -> Prepared:
    graph = _Graph.of(geometry.universe, entity)
    views = window_views(geometry)
    known = np.flatnonzero(graph.signs)
    regulators, activating = graph.regulators[known], graph.signs[known] > 0
    if min(_contrasted(regulators, activating)) < MIN_SIGNED:
        return _nothing(views, SIGNED_EDGE_SPLIT.nulls)
    tables = rank_tables(geometry, graph.rows)
    observed = graph.targets[known].astype(np.int32)[None]
    weights, norm = _shares(regulators, activating[None])

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        targets = np.ascontiguousarray(arrangements[:, graph.targets[known]])
        return weighted_edge_sums(tables, regulators, targets, weights)

    def shuffled(key: tuple[int, int], start: int, stop: int) -> NDArray[np.int64]:
        signs = sign_draws(regulators, activating.astype(np.int64), key, start, stop)
        return weighted_edge_sums(tables, regulators, observed, _shares(regulators, signs > 0)[0])

    scale = 1 / (2 * geometry.n * int(norm[0]))
    return Prepared(views, sums, *affine(len(views), scale, 0.0), {"sign_shuffle": shuffled})


def _prepare_displacement(geometry: Geometry, entity: Entity) -> Prepared:
    graph = _Graph.of(geometry.universe, entity)
    views = window_views(geometry)
    tables = step_tables(geometry, graph.rows)
    widths = [high - low + 1 for _, low, high in map(place, views)]
    first = np.cumsum([0, *widths[:-1]]).astype(np.int64)
    e = len(graph.targets)
    each = np.stack([graph.regulators, np.arange(e)], axis=1)

    def resultant(targets: Targets) -> NDArray[np.int64]:
        squares = edge_sums(tables, each, targets) ** 2
        length = np.sqrt(np.add.reduceat(squares, first, axis=1).astype(np.float64))
        # an edge drawn onto its own regulator points nowhere; it is counted as if it pointed with the others
        nowhere = (targets == graph.own[graph.regulators]).sum(axis=1)
        return np.asarray(np.rint((length + STEP_UNIT * nowhere[:, None]) ** 2).astype(np.int64))

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return resultant(graph.arranged(arrangements))

    pairs = max(1, e * (e - 1))
    effect = affine(len(views), 1 / (pairs * STEP_UNIT**2), -e / pairs)
    return Prepared(views, sums, *effect, graph.own_draws(resultant))


def _prepare_loops(geometry: Geometry, entity: Entity) -> Prepared:
    graph = _Graph.of(geometry.universe, entity)
    views = window_views(geometry)
    observed = _closing(graph)[None]
    if min(_contrasted(graph.regulators, observed[0])) < MIN_CLOSING:
        return _nothing(views, FEED_FORWARD_LOOP.nulls)
    tables = rank_tables(geometry, graph.rows)
    fixed = _shares(graph.regulators, observed)

    def contrast(targets: Targets, shares: tuple[NDArray[np.int64], NDArray[np.int64]]) -> NDArray[np.int64]:
        weights, norm = shares
        totals = weighted_edge_sums(tables, graph.regulators, targets, weights)
        return np.rint(totals / np.sqrt(np.maximum(1, norm))[:, None]).astype(np.int64)

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return contrast(graph.arranged(arrangements), fixed)

    def redrawn(targets: Targets) -> NDArray[np.int64]:
        closing = closing_edges(graph.regulators, targets, graph.own, graph.n)
        return contrast(targets, _shares(graph.regulators, closing))

    own = {"rewired": graph.own_draws(redrawn)["rewired"]}
    scale = 1 / (2 * geometry.n * float(np.sqrt(fixed[1][0])))
    return Prepared(views, sums, *affine(len(views), scale, 0.0), own)


EDGE_AUROC = TestKind(
    name="edge_auroc",
    family="edges",
    entity="edges",
    alternative="greater",
    effect_unit="AUROC",
    coordinates=WINDOW,
    min_size=10,
    asks="In a spectral window, is a regulator closer to its targets than to other genes?",
    formula="T = Σ_{(r,t)} (2·rank_r(cos(x_r, x_t)) − (n_r + 1)); effect = 1/2 + T / (2·Σ_r m_r·(n_r − m_r)), the "
    "comparison-weighted mean AUROC within regulators",
    null_preserves="each regulator's number of targets, each target's number of regulators, co-regulation",
    assumes="targets exchangeable over genes (within strata); regulators fixed",
    source="Mann & Whitney 1947 within regulators; SV2–7 window: arXiv:2602.22247",
    prepare=_prepare_edges,
    nulls=("rewired", "target_shuffle"),
)

SIGNED_EDGE_SPLIT = TestKind(
    name="signed_edge_split",
    family="edges",
    entity="edges",
    alternative="two-sided",
    effect_unit="rank difference",
    coordinates=WINDOW,
    min_size=10,
    asks="In a spectral window, are activated targets closer to their regulator than repressed ones, or farther?",
    formula="T = Σ_r c_r·(q_r·Σ_{t activated} R_rt − p_r·Σ_{t repressed} R_rt), R_rt = 2·rank_r(cos(x_r, x_t)) − (n_r + 1), p_r "
    "activated and q_r repressed targets, c_r = round(2²⁰ / (p_r + q_r)); effect = T / (2·n·Σ_r c_r·p_r·q_r), the mean "
    "difference of ranks in shares of the universe; > 0: activated targets are closer. T = 0 where regulators with both "
    "signs have fewer than 5 edges of either",
    null_preserves="how close each regulator is to its targets as a whole; edges of unknown sign take no part. "
    "sign_shuffle keeps the graph and each regulator's number of either sign; the shared nulls keep the signed graph and "
    "move the targets",
    assumes="sign_shuffle: signs exchangeable over the signed edges of a regulator; shared nulls: targets exchangeable over "
    "genes (within strata); regulators fixed",
    source="rank contrast within blocks: van Elteren 1960, with the weights p·q / (p + q) of a difference of two means",
    prepare=_prepare_signs,
    nulls=("sign_shuffle",),
    universe=False,
    uses="signs",
    lacks=_lacks_signs,
)

DIRECTED_DISPLACEMENT = TestKind(
    name="directed_displacement",
    family="edges",
    entity="edges",
    alternative="greater",
    effect_unit="mean cosine",
    coordinates=WINDOW,
    min_size=10,
    asks="In a spectral window, do the steps from regulator to target share one direction?",
    formula="T = |Σ_{(r,t)} u_rt|², u_rt = (x_t − x_r) / |x_t − x_r| in units of 2⁻¹², 0 for equal points; effect = "
    "(T − E) / (E·(E − 1)) over E edges, the mean cosine between the steps of two edges",
    null_preserves="where the regulators lie and how many targets each has: steps of outlying regulators share a direction "
    "whatever their targets are, and so they do in every draw",
    assumes="targets exchangeable over genes (within strata); regulators fixed",
    source="resultant length of directions, Rayleigh 1919; Mardia & Jupp 2000",
    prepare=_prepare_displacement,
    nulls=("rewired", "target_shuffle"),
    universe=False,
)

FEED_FORWARD_LOOP = TestKind(
    name="feed_forward_loop",
    family="edges",
    entity="edges",
    alternative="greater",
    effect_unit="rank difference",
    coordinates=WINDOW,
    min_size=20,
    asks="In a spectral window, are targets that a regulator shares with a regulator of its own closer to it than its others?",
    formula="an edge s → t closes a loop where some r has both s and t as targets. T = Σ_s c_s·(q_s·Σ_{t closing} R_st − "
    "p_s·Σ_{t other} R_st) / √(Σ_s c_s·p_s·q_s), R_st = 2·rank_s(cos(x_s, x_t)) − (n_s + 1), p_s closing and q_s other "
    "edges of s, c_s = round(2²⁰ / (p_s + q_s)); effect = mean difference of ranks in shares of the universe. T = 0 where "
    "regulators with both kinds of edges have fewer than 5 of either",
    null_preserves="how close each regulator is to its targets as a whole. The shared nulls keep the graph and which edges "
    "close loops, and move the targets; rewired keeps all margins and finds the loops of every drawn graph anew",
    assumes="rewired: every graph with these margins equally likely; shared nulls: targets exchangeable over genes (within "
    "strata); regulators fixed",
    source="the motif: Shen-Orr et al. 2002; contrast within blocks: van Elteren 1960",
    prepare=_prepare_loops,
    nulls=("rewired",),
    universe=False,
    lacks=_lacks_loops,
)
