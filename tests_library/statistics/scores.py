"""Scores that a gene has without any label: where it lies in the cloud of all genes, and how the cloud looks around it."""

import numpy as np
from numpy.typing import NDArray

from ..engine.elementary import log
from ..engine.kernels import Arrangements, set_sums
from ..engine.knn import neighbour_count
from ..spaces import Geometry, centred_ranks
from .base import Entity, Prepared, TestKind, View, affine
from .coordinates import fixed
from .neighbours import graph, rank_table

SCORES = ("norm", "local dimension", "clustering", "hubness", "centrality")
_ONE = 1 << 30
_LOG_BITS = 20
_RATIO_BITS = 30


def _prepare(geometry: Geometry, entity: Entity) -> Prepared:
    members = entity.need_members()
    m, n = len(members), geometry.n
    table = geometry.remember("gene score table", lambda: _rank_table(geometry))
    views = tuple(View(f"L{q}", score) for q in range(geometry.n_layers) for score in SCORES)

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return set_sums(table, members, arrangements)

    return Prepared(views, sums, *affine(len(views), 1 / (2 * m * max(1, n - m)), 0.5))


def _rank_table(geometry: Geometry) -> NDArray[np.int32]:
    return np.ascontiguousarray(
        np.concatenate([centred_ranks(gene_scores(geometry, q)) for q in range(geometry.n_layers)], axis=1)
    )


def gene_scores(geometry: Geometry, layer: int) -> NDArray[np.int64]:
    """Every score of every gene of the universe at ``layer``, in the order of :data:`SCORES`: int64 [n, 5].

    Units differ and only the order is used: squared norm of the fixed-point coordinates, minus the summed log distance
    ratios (2⁻²⁰; the larger, the higher the dimension), clustering coefficient (2⁻³⁰), number of lists, summed cosine
    (2⁻³⁰). Every one is an exact integer function of exact integers but for the logarithm, which is rounded.
    """
    similarity = geometry.cosine(layer)
    near = graph(geometry, layer)
    listed = rank_table(geometry)[:, :, layer] < neighbour_count(geometry.n)
    coordinates = geometry.unit(layer)[geometry.universe]
    return np.stack(
        [
            (coordinates**2).sum(axis=1).astype(np.int64),  # integers below 2⁵³: exact in any order
            -summed_log_ratios(similarity, neighbour_count(geometry.n)),
            clustering(near),
            listed.sum(axis=0, dtype=np.int64),
            similarity.sum(axis=1) - np.diag(similarity),
        ],
        axis=1,
    )


def summed_log_ratios(similarity: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Σ_{j<k} ln(d_k² / d_j²) over the k nearest neighbours of each gene, in units of 2⁻²⁰: int64 [n].

    d² is the squared chord 2 − 2·cos, at least one unit of 2⁻³⁰ (for genes in one place). The maximum-likelihood
    dimension of Levina & Bickel is 2·(k − 1) over this sum, so its order is the order of the dimensions, reversed.
    MacKay & Ghahramani: over several genes the *inverse* dimension is to be averaged, which a sum of these is.
    """
    distance = _ONE - similarity
    np.fill_diagonal(distance, np.iinfo(np.int64).max)
    nearest = np.sort(np.partition(distance, k - 1, axis=1)[:, :k], axis=1)
    logs = np.rint(np.ldexp(log(np.maximum(nearest, 1)), _LOG_BITS)).astype(np.int64)
    return np.asarray((logs[:, -1:] - logs).sum(axis=1))


def clustering(near: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Local clustering coefficient in units of 2⁻³⁰, rounded down: int64 [n]; 0 for genes with fewer than two neighbours."""
    neighbours = [np.flatnonzero(row) for row in near]
    paths = np.array([int(near[np.ix_(at, at)].sum()) for at in neighbours], dtype=np.int64)  # a triangle counts twice
    degree = near.sum(axis=1, dtype=np.int64)
    return np.asarray((paths << _RATIO_BITS) // np.maximum(1, degree * (degree - 1)))


GENE_SCORE = TestKind(
    name="gene_score",
    family="geometry",
    entity="gene_set",
    alternative="two-sided",
    effect_unit="AUROC",
    coordinates=fixed(*SCORES),
    min_size=5,
    asks="Do the genes of the set have unusual places in the cloud of all genes: far out, central, in dense, hub-like, "
    "clustered or high-dimensional surroundings?",
    formula="T = Σ_{i∈S} (2·rank(score_i) − (n + 1)), mid-ranks; AUROC = 1/2 + T / (2·m·(n − m)). Scores: norm = length of "
    "the centred vector; local dimension = (k − 1) / Σ_{j<k} ln(d_k/d_j), d = chord to the j-th nearest gene; clustering = "
    "share of a gene's pairs of neighbours that are neighbours; hubness = number of genes that list it among their k "
    "nearest; centrality = mean cosine to all other genes; k = max(5, √n rounded), ties at the k-th place by a fixed "
    "pseudo-random order, a neighbour is a gene that lists it or is listed by it",
    null_preserves="each gene's scores, the set size, overlaps between sets",
    assumes="labels exchangeable over genes (within strata): norm, centrality and hubness follow expression, so read the "
    "stratified null; any dependence between scores and layers",
    source="Mann & Whitney 1947; dimension: Levina & Bickel 2004, MacKay & Ghahramani 2005; clustering: Watts & Strogatz "
    "1998; hubness (k-occurrence): Radovanović et al. 2010",
    prepare=_prepare,
)
