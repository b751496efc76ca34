"""How fast graphs are rewired beside igraph: ``python benchmarks/rewiring.py``.

The same directed graph, regulators → genes, with the same number of attempted swaps: ten an edge. Both start each draw
from a copy of the graph. Ours keeps signs as well and pays for its walk to the hub. All in this process on one thread;
only ratios are meant to be read. Both sides are timed in turns, so that a busy machine slows both.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from hyposcreen.tests_library.engine.rewire import ATTEMPTS, SignedEdges, blocks_of, rewired

HOLD = 8.0
GRAPHS = ((100, 1_000, 2_000), (300, 3_000, 10_000))
"""Regulators, genes, edges: a curated network, and a large inferred one."""
DRAWS, TURNS = 40, 7


def network(regulators: int, genes: int, edges: int) -> SignedEdges:
    """Regulators of very different out-degree, genes of very different in-degree, half of the regulators genes themselves."""
    rng = np.random.default_rng(edges)
    own = np.full(regulators, -1)
    own[::2] = rng.choice(genes, len(own[::2]), replace=False)
    weight = np.outer(1 / np.arange(5, regulators + 5), 1 / np.arange(20, genes + 20) ** 0.5)
    inside = np.flatnonzero(own >= 0)
    weight[inside, own[inside]] = 0
    cells = rng.choice(weight.size, edges, replace=False, p=(weight / weight.sum()).ravel())
    r, t = np.divmod(np.sort(cells), genes)
    return SignedEdges(r, t, rng.choice([-1, 0, 1], edges, p=[0.15, 0.35, 0.5]), own, genes)


def as_igraph(edges: SignedEdges) -> Any:
    """The same graph for igraph: regulators inside the universe are the genes they are."""
    import igraph

    outside = np.cumsum(edges.own < 0) - 1 + edges.n
    source = np.where(edges.own >= 0, edges.own, outside)[edges.regulators]
    pairs = list(zip(source.tolist(), edges.targets.tolist(), strict=True))
    return igraph.Graph(n=edges.n + int((edges.own < 0).sum()), edges=pairs, directed=True)


def seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def rows() -> list[tuple[str, float, float, str]]:
    """(name, igraph's seconds / ours for one draw, the ratio to hold, note) for each graph."""
    return [compare(*shape) for shape in GRAPHS]


def compare(regulators: int, genes: int, e: int) -> tuple[str, float, float, str]:
    """One row; both sides in turns, the fastest of each counts."""
    edges = network(regulators, genes, e)
    graph = as_igraph(edges)
    swaps, attempts = ATTEMPTS * e, blocks_of(e) // 8 * 15
    if attempts < swaps:
        raise ValueError(f"{attempts} attempts are fewer than the {swaps} igraph makes")
    rewired(edges, (1, 2), 0, 2)  # compile, or load what was compiled before
    ours, theirs = [], []
    for _ in range(TURNS):
        ours.append(seconds(lambda: rewired(edges, (1, 2), 1, DRAWS + 1)) / DRAWS)
        theirs += [seconds(lambda: graph.copy().rewire(n=swaps)) for _ in range(3)]
    note = f"{min(ours) / attempts * 1e9:.0f} ns an attempt, igraph Graph.rewire {min(theirs) / swaps * 1e9:.0f} ns"
    return f"rewiring, {e:,} edges", min(theirs) / min(ours), HOLD, note


if __name__ == "__main__":
    for name, ratio, hold, note in rows():
        print(f"{name}: {ratio:.1f}× ({'holds' if ratio >= hold else 'MISSES'} {hold:g}×; {note})")
