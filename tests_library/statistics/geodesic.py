"""Gene sets by distance along the cloud: hops on the graph of nearest neighbours, not a straight line through the middle."""

import numpy as np
from numpy.typing import NDArray

from ..engine.kernels import Arrangements, pair_sums
from ..spaces import Geometry
from .base import Entity, Prepared, TestKind, View, affine
from .coordinates import fixed
from .neighbours import graph
from .within import within_pairs


def hops(near: NDArray[np.bool_]) -> NDArray[np.int16]:
    """Fewest edges between any two genes of a symmetric graph bool [n, n]: int16 [n, n], diagonal 0.

    Genes that no path joins are one hop farther than the farthest that one joins.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import shortest_path

    found = shortest_path(csr_array(near.astype(np.float64)), directed=False, unweighted=True)
    joined = np.isfinite(found)
    out: NDArray[np.int16] = np.where(joined, found, found[joined].max() + 1).astype(np.int16)
    return out


def _table(geometry: Geometry) -> NDArray[np.int16]:
    return geometry.remember(
        "hop table", lambda: np.stack([hops(graph(geometry, q)) for q in range(geometry.n_layers)], axis=2)
    )


def _prepare(geometry: Geometry, entity: Entity) -> Prepared:
    pairs, table = within_pairs(entity.need_members()), _table(geometry)
    ones = np.ones(len(pairs), np.int64)
    views = tuple(View(f"L{q}", "geodesic") for q in range(geometry.n_layers))

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return pair_sums(table, pairs, ones, arrangements)

    return Prepared(views, sums, *affine(len(views), 1 / len(pairs), 0.0))


GEODESIC_DISTANCE = TestKind(
    name="geodesic_distance",
    family="neighbours",
    entity="gene_set",
    alternative="less",
    effect_unit="hops",
    coordinates=fixed("geodesic"),
    min_size=5,
    asks="Are the genes of the set fewer steps apart, along the graph of nearest neighbours, than other sets of its size?",
    formula="T = Σ_{i<j∈S} hops(i, j); effect = 2·T / (m·(m − 1)), the mean; hops on the graph of set_connectivity; genes "
    "that no path joins count one hop more than the farthest joined ones",
    null_preserves="the graph with its hubs and parts, and the set size",
    assumes="labels exchangeable over genes (within strata); pairs are never independent",
    source="geodesic distance on a neighbourhood graph: Tenenbaum, de Silva & Langford 2000; permutation of genes as in QAP",
    prepare=_prepare,
    universe=False,
)
