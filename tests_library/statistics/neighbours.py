"""Gene sets on the graph of nearest neighbours: purity, precision, edges, triangles, spectral gap, communities."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..engine.communities import louvain
from ..engine.kernels import Arrangements
from ..engine.knn import (
    neighbour_count,
    neighbour_ranks,
    pairs_below,
    same_label_pairs,
    symmetric_graph,
    triads_and_triangles,
)
from ..engine.spectra import BITS, submatrix_statistic
from ..spaces import Geometry
from .base import Entity, Prepared, TestKind, View, affine
from .coordinates import fixed

_ONE = 1 << 30


def rank_table(geometry: Geometry) -> NDArray[np.int16]:
    """Place of gene j among the neighbours of gene i by cosine, nearest = 0, at each layer: int16 [n, n, L]."""
    return geometry.remember(
        "neighbour rank table",
        lambda: np.stack([neighbour_ranks(geometry.cosine(q)) for q in range(geometry.n_layers)], axis=2),
    )


def graph(geometry: Geometry, layer: int) -> NDArray[np.bool_]:
    """The symmetric kNN graph of the universe at ``layer``: bool [n, n]."""
    return symmetric_graph(rank_table(geometry)[:, :, layer], neighbour_count(geometry.n))


def _apart_table(geometry: Geometry) -> NDArray[np.uint8]:
    return geometry.remember(
        "neighbour gap table",
        lambda: np.stack([(~graph(geometry, q)).astype(np.uint8) for q in range(geometry.n_layers)], axis=2),
    )


def _community_table(geometry: Geometry) -> NDArray[np.int32]:
    return geometry.remember(
        "neighbour communities",
        lambda: np.stack([louvain(graph(geometry, q)) for q in range(geometry.n_layers)], axis=1),
    )


Sums = Callable[[Arrangements], NDArray[np.int64]]


def _prepared(geometry: Geometry, coordinate: str, sums: Sums, scale: float) -> Prepared:
    views = tuple(View(f"L{q}", coordinate) for q in range(geometry.n_layers))
    return Prepared(views, sums, *affine(len(views), scale, 0.0))


def _prepare_purity(geometry: Geometry, entity: Entity) -> Prepared:
    members, table, k = entity.need_members(), rank_table(geometry), neighbour_count(geometry.n)
    return _prepared(geometry, "kNN", lambda a: pairs_below(table, members, k, a), 1 / (len(members) * k))


def _prepare_precision(geometry: Geometry, entity: Entity) -> Prepared:
    members, table = entity.need_members(), rank_table(geometry)
    others = len(members) - 1
    return _prepared(geometry, "kNN", lambda a: pairs_below(table, members, others, a), 1 / (len(members) * others))


def _prepare_connectivity(geometry: Geometry, entity: Entity) -> Prepared:
    members, table = entity.need_members(), _apart_table(geometry)
    m = len(members)
    return _prepared(geometry, "kNN", lambda a: pairs_below(table, members, 1, a) // 2, 2 / (m * (m - 1)))


def _prepare_transitivity(geometry: Geometry, entity: Entity) -> Prepared:
    members, table = entity.need_members(), _apart_table(geometry)

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        triads, triangles = triads_and_triangles(table, members, arrangements)
        return ((3 * triangles) << BITS) // np.maximum(1, triads)

    return _prepared(geometry, "kNN", sums, 2.0**-BITS)


def _prepare_gap(geometry: Geometry, entity: Entity) -> Prepared:
    members = entity.need_members()
    tables = [geometry.cosine(q) for q in range(geometry.n_layers)]
    return _prepared(geometry, "cosine", lambda a: submatrix_statistic(tables, members, a, spectral_gap), 2.0**-BITS)


def spectral_gap(similarity: NDArray[np.int64]) -> NDArray[np.float64]:
    """Second smallest eigenvalue of the normalised Laplacian with weights (1 + cos)/2: float64 [P] from int64 [P, m, m].

    Degrees are exact integers, and the matrix is made of them element by element. A gene without any weight (its cosine
    with all others is −1) is a part of its own, which makes the gap 0.
    """
    m = similarity.shape[-1]
    weights = similarity + _ONE
    weights[:, np.arange(m), np.arange(m)] = 0
    root = np.sqrt(weights.sum(axis=2).astype(np.float64))
    safe = np.where(root > 0, root, 1.0)
    affinity = weights / safe[:, :, None] / safe[:, None, :]
    affinity[:, np.arange(m), np.arange(m)] = np.where(root > 0, 0.0, 1.0)
    gaps = 1.0 - np.linalg.eigvalsh((affinity + affinity.transpose(0, 2, 1)) / 2)[:, -2]
    return np.asarray(gaps, dtype=np.float64)


def _prepare_community(geometry: Geometry, entity: Entity) -> Prepared:
    members, labels = entity.need_members(), _community_table(geometry)
    m = len(members)
    return _prepared(geometry, "kNN", lambda a: same_label_pairs(labels, members, a), 2 / (m * (m - 1)))


_GRAPH = (
    "neighbours by cosine of the centred vectors; k = max(5, √n rounded); an edge where either gene lists the other"
)
_TIES = "ties at a place are broken by a fixed pseudo-random order (Philox of the two positions)"
_NULL = "the similarity matrix, hence every neighbour list with its hubs, and the set size"
_ASSUMES = "labels exchangeable over genes (within strata); pairs are never independent"

NEIGHBOURHOOD_PURITY = TestKind(
    name="neighbourhood_purity",
    family="neighbours",
    entity="gene_set",
    alternative="greater",
    effect_unit="share of neighbours",
    coordinates=fixed("kNN"),
    min_size=5,
    asks="Are the nearest neighbours of the genes of the set genes of the set?",
    formula="T = Σ_{i∈S} |S ∩ N_k(i)|, N_k(i) = the k genes nearest to i by cosine, k = max(5, √n rounded); "
    f"effect = T / (m·k), at most (m − 1)/k; {_TIES}",
    null_preserves=_NULL,
    assumes=_ASSUMES,
    source="k-nearest-neighbour statistic: Schilling 1986; Henze 1988",
    prepare=_prepare_purity,
    universe=False,
)

PRECISION_AT_K = TestKind(
    name="precision_at_k",
    family="neighbours",
    entity="gene_set",
    alternative="greater",
    effect_unit="precision",
    coordinates=fixed("kNN"),
    min_size=5,
    asks="Does a gene of the set find the rest of the set at the top of its list of nearest genes?",
    formula="T = Σ_{i∈S} |S ∩ N_{m−1}(i)|, N_{m−1}(i) = the m − 1 genes nearest to i by cosine; effect = T / (m·(m − 1)), "
    f"the mean R-precision; {_TIES}",
    null_preserves=_NULL,
    assumes=_ASSUMES,
    source="R-precision, e.g. Manning, Raghavan & Schütze 2008, chapter 8",
    prepare=_prepare_precision,
    universe=False,
)

SET_CONNECTIVITY = TestKind(
    name="set_connectivity",
    family="neighbours",
    entity="gene_set",
    alternative="greater",
    effect_unit="edge density",
    coordinates=fixed("kNN"),
    min_size=5,
    asks="Are there more edges of the nearest-neighbour graph inside the set than inside other sets of its size?",
    formula=f"T = edges of the graph with both ends in S; effect = 2·T / (m·(m − 1)); {_GRAPH}; {_TIES}",
    null_preserves=_NULL,
    assumes=_ASSUMES,
    source="join count (Moran 1948) on a kNN graph, permutation of genes as in QAP",
    prepare=_prepare_connectivity,
    universe=False,
)

SET_TRANSITIVITY = TestKind(
    name="set_transitivity",
    family="neighbours",
    entity="gene_set",
    alternative="two-sided",
    effect_unit="transitivity",
    coordinates=fixed("kNN"),
    min_size=10,
    asks="Inside the set, are neighbours of a gene neighbours of each other, more or less than inside other sets?",
    formula="T = 3·triangles / triads of the graph induced by S, rounded down to 2⁻²⁰, 0 where it has no triad (a path of "
    f"two edges); {_GRAPH}; {_TIES}",
    null_preserves=_NULL,
    assumes=f"{_ASSUMES}; a loosely connected set has few triads and its ratio varies much",
    source="Luce & Perry 1949; Newman, Watts & Strogatz 2002",
    prepare=_prepare_transitivity,
    universe=False,
)

SPECTRAL_GAP = TestKind(
    name="spectral_gap",
    family="neighbours",
    entity="gene_set",
    alternative="two-sided",
    effect_unit="eigenvalue",
    coordinates=fixed("cosine"),
    min_size=8,
    asks="Is the set one knot of genes (large gap), or does it fall into parts (small gap), unlike other sets of its size?",
    formula="T = second smallest eigenvalue of I − D^(−1/2)·W·D^(−1/2), w_ij = (1 + cos_ij)/2 for i ≠ j in S, D = row sums; "
    "rounded to 2⁻²⁰. All pairs have a weight: the induced kNN graph of most sets is in pieces, where the gap is 0 for the "
    "set and for nearly every draw and says nothing",
    null_preserves="the similarity matrix and the set size",
    assumes=_ASSUMES,
    source="Fiedler 1973; normalised Laplacian: Chung 1997",
    prepare=_prepare_gap,
    universe=False,
    staged=True,
)

COMMUNITY = TestKind(
    name="community",
    family="neighbours",
    entity="gene_set",
    alternative="greater",
    effect_unit="share of pairs",
    coordinates=fixed("kNN"),
    min_size=5,
    asks="Does the set gather in few communities of the nearest-neighbour graph?",
    formula="T = pairs of S in one community; effect = 2·T / (m·(m − 1)); communities by the Louvain method in exact integers, "
    f"once a layer, from the graph alone; {_GRAPH}; {_TIES}",
    null_preserves="the communities with their sizes, and the set size",
    assumes=_ASSUMES,
    source="Blondel et al. 2008; modularity: Newman & Girvan 2004",
    prepare=_prepare_community,
    universe=False,
)
