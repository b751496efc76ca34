"""Directed edges of regulators: targets near their regulator in a spectral window."""

import numpy as np
from numpy.typing import NDArray

from ..engine.kernels import Arrangements, edge_sums
from ..spaces import Geometry, centred_ranks
from .base import Entity, Prepared, TestKind, View, affine
from .coordinates import WINDOW, windows


def _prepare_edges(geometry: Geometry, entity: Entity) -> Prepared:
    edges = entity.need_edges()
    regulators, local = np.unique(edges[:, 0], return_inverse=True)
    local_edges = np.stack([local, edges[:, 1]], axis=1).astype(np.int64)
    views = tuple(View(f"L{q}", f"SV{a}-{b}") for q in range(geometry.n_layers) for a, b in windows(geometry.n_axes))
    table = np.stack([_within_regulator_ranks(geometry, view, regulators) for view in views], axis=2)
    targets = np.bincount(local, minlength=len(regulators))
    possible = geometry.n - np.isin(regulators, geometry.universe).astype(np.int64)
    comparisons = max(1, int((targets * np.maximum(0, possible - targets)).sum()))

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return edge_sums(table, local_edges, arrangements)

    return Prepared(views, sums, *affine(len(views), 1 / (2 * comparisons), 0.5))


def _within_regulator_ranks(geometry: Geometry, view: View, regulators: NDArray[np.int64]) -> NDArray[np.int32]:
    """Doubled centred mid-ranks of each regulator's similarities to the other genes.

    Real edges have no self-loop, but a draw may send a target to its own regulator. It then counts as the most similar
    gene, which it is, so such a draw can only be more extreme and the test only more conservative.
    """
    layer = int(view.layer[1:])
    low, high = (int(v) for v in view.coordinate[2:].split("-"))
    out = np.zeros((len(regulators), geometry.n), np.int32)
    for r, row in enumerate(regulators):
        others = np.flatnonzero(geometry.universe != row)
        similarity = geometry.window_similarity(layer, low, high, int(row))
        out[r] = len(others) - 1
        out[r, others] = centred_ranks(similarity[others, None])[:, 0]
    return out


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
)
