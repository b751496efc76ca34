"""Gene sets as clouds of points: cohesion and effective dimension. The course of cohesion over layers is in ``layers.py``."""

import numpy as np
from numpy.typing import NDArray

from ..engine.kernels import Arrangements
from ..engine.subsets import within_moments
from ..spaces import COSINE_SCALE, Geometry
from .base import Entity, Prepared, TestKind, View, affine
from .coordinates import fixed
from .within import within_auroc_scale, within_pairs, within_rank_sums

DIMENSION_BITS = 20


def _prepare_cohesion(geometry: Geometry, entity: Entity) -> Prepared:
    members = entity.need_members()
    views = tuple(View(f"L{q}", "cosine") for q in range(geometry.n_layers))
    scale = within_auroc_scale(geometry, within_pairs(members))
    return Prepared(views, within_rank_sums(geometry, members), *affine(len(views), scale, 0.5))


def participation_ratio(
    total: NDArray[np.int64],
    rows_sq: NDArray[np.int64] | NDArray[np.float64],
    squares: NDArray[np.int64],
    m: int,
    trace: int,
) -> NDArray[np.float64]:
    """(tr K)² / tr K² of the doubly centred Gram matrix K of m points, from integer moments of the uncentred one."""
    tr = trace - total / m
    frobenius = squares - 2 * (rows_sq / m) + (total / m) ** 2
    return np.asarray(np.where(frobenius > 0, tr * tr / np.where(frobenius > 0, frobenius, 1.0), 0.0))


def _prepare_dimension(geometry: Geometry, entity: Entity) -> Prepared:
    members = entity.need_members()
    table = geometry.cosine_int16()
    views = tuple(View(f"L{q}", "unit sphere") for q in range(geometry.n_layers))

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        ratio = participation_ratio(
            *within_moments(table, members, arrangements), len(members), len(members) * COSINE_SCALE
        )
        return np.rint(ratio * (1 << DIMENSION_BITS)).astype(np.int64)

    return Prepared(views, sums, *affine(len(views), 2.0**-DIMENSION_BITS, 0.0))


COHESION = TestKind(
    name="cohesion",
    family="geometry",
    entity="gene_set",
    alternative="greater",
    effect_unit="AUROC",
    coordinates=fixed("cosine"),
    min_size=5,
    asks="Are the genes of the set closer to each other than pairs of genes are in general?",
    formula="T = Σ_{i<j∈S} (2·rank(cos_ij) − (N + 1)) over all N = n(n − 1)/2 pairs; AUROC = 1/2 + T / (2·M·(N − M))",
    null_preserves="the similarity matrix and the set size; genes are permuted, pairs are never independent",
    assumes="labels exchangeable over genes (within strata)",
    source="Mann & Whitney 1947 on pairs with permutation of genes (Mantel 1967)",
    prepare=_prepare_cohesion,
)

EFFECTIVE_DIMENSION = TestKind(
    name="effective_dimension",
    family="spectrum",
    entity="gene_set",
    alternative="less",
    effect_unit="dimensions",
    coordinates=fixed("unit sphere"),
    min_size=8,
    asks="Does the set occupy fewer dimensions of the unit sphere than as many other genes do?",
    formula="participation ratio (tr K)² / tr K², K = doubly centred cosine matrix of the set",
    null_preserves="the set size, on which the ratio depends strongly; the similarity matrix",
    assumes="labels exchangeable over genes (within strata)",
    source="participation ratio as effective rank, e.g. Gao et al. 2017",
    prepare=_prepare_dimension,
)
