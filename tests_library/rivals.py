"""What the row of a classifier is held against: the AUROC that the same classifier reaches without the embedding.

Asks: could the role be read from how long a gene's vector is, how much it is expressed, or how much has been written about
it? Formula and effect: :func:`.statistics.baselines.baseline_aurocs`, on the folds of the classifier. The null of a row keeps
the embedding and permutes labels, so it does not see a role that expression tells; the stratified null does in part.
The numbers are printed beside the row's own AUROC. They decide nothing: a promoted list, a route and a verdict never read
them. A classifier that its rivals match has found no geometry, whatever its p.
"""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from .engine.elementary import log
from .spaces import Geometry
from .statistics.base import Entity, TestKind, View
from .statistics.baselines import baseline_aurocs
from .statistics.classifier import grouped_folds

FAMILY = "classifier"
"""Test kinds of this family have rivals."""


def rival_aurocs(
    geometry: Geometry,
    kind: TestKind,
    entity: Entity,
    views: Collection[View],
    studied: Mapping[str, NDArray[np.int64]],
) -> dict[View, dict[str, float]]:
    """Cross-validated AUROC of the members of ``entity`` from each block alone, by view and name; none for other kinds.

    ``norm``: length of the centred vector at the layer of the view. ``expression and detection``: ln(1 + mean expression)
    and detection rate. ``degree``: the columns of ``studied``, int64 [n] each, counts of *other* annotations and partners of
    a gene (with the tested one among them the label would be its own feature). Blocks that the geometry or the caller
    does not know are left out.
    """
    if kind.family != FAMILY:
        return {view: {} for view in views}
    members = entity.need_members()
    blocks: dict[str, NDArray[np.float64]] = {}
    known = geometry.covariates
    if "expression" in known and "detection" in known:
        blocks["expression and detection"] = np.stack([log(1.0 + known["expression"]), known["detection"]], axis=1)
    if studied:
        blocks["degree"] = np.stack([column.astype(np.float64) for column in studied.values()], axis=1)
    fold = grouped_folds([geometry.families[row] for row in geometry.universe.tolist()])
    norms = {f"L{q}": _norm(geometry, q)[:, None] for q in sorted({int(view.layer[1:]) for view in views})}
    by_layer = baseline_aurocs(members, fold, norms)
    others = baseline_aurocs(members, fold, blocks)
    return {view: {"norm": by_layer[view.layer]} | others for view in views}


def _norm(geometry: Geometry, layer: int) -> NDArray[np.float64]:
    """Lengths of the centred vectors, float64 [n]; sums of squares of integers, so the same on every machine."""
    unit = geometry.unit(layer)[geometry.universe]
    lengths: NDArray[np.float64] = np.sqrt((unit * unit).sum(axis=1))
    return lengths
