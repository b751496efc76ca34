"""Can the role of a gene be read from its spectral coordinates? Cross-validated, folds grouped by gene family."""

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..engine.discriminant import AUROC_BITS, Discriminant, discriminant_auroc, prepare_discriminant
from ..engine.kernels import Arrangements
from ..spaces import Geometry
from .base import Entity, Prepared, TestKind, View, affine
from .coordinates import WINDOW, windows

FOLDS = 5


def grouped_folds(families: Sequence[str], folds: int = FOLDS) -> NDArray[np.int64]:
    """Fold of each gene, int64 [n]: whole families stay together, folds are balanced, order by sha256 of the family.

    Without grouping, a paralog in the training folds would tell the label of its twin in the test fold.
    """
    sizes = Counter(families)
    load = [0] * folds
    of: dict[str, int] = {}
    for family in sorted(sizes, key=lambda f: (-sizes[f], hashlib.sha256(f.encode()).hexdigest())):
        fold = min(range(folds), key=lambda f: (load[f], f))
        of[family] = fold
        load[fold] += sizes[family]
    return np.array([of[f] for f in families], dtype=np.int64)


def _prepare(geometry: Geometry, entity: Entity) -> Prepared:
    members = entity.need_members()
    fold = geometry.remember("folds", lambda: grouped_folds([geometry.families[r] for r in geometry.universe]))
    views = tuple(View(f"L{q}", f"SV{a}-{b}") for q in range(geometry.n_layers) for a, b in windows(geometry.n_axes))
    models = [_model(geometry, view, fold) for view in views]

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return np.stack([discriminant_auroc(model, members, arrangements) for model in models], axis=1)

    return Prepared(views, sums, *affine(len(views), 2.0**-AUROC_BITS, 0.0))


def _model(geometry: Geometry, view: View, fold: NDArray[np.int64]) -> Discriminant:
    low, high = (int(v) for v in view.coordinate[2:].split("-"))
    features = geometry.local_axes(int(view.layer[1:]))[:, low - 1 : high].astype(np.float64)
    return geometry.remember(("discriminant", view), lambda: prepare_discriminant(features, fold))


ROLE_CLASSIFIER = TestKind(
    name="role_classifier",
    family="classifier",
    entity="gene_set",
    alternative="greater",
    effect_unit="AUROC",
    coordinates=WINDOW,
    min_size=8,
    asks="Can membership of a gene be predicted from its coordinates in a spectral window?",
    formula="five-fold cross-validated linear discriminant; effect = Σ wins / Σ comparisons over (member, non-member) "
    "pairs within test folds",
    null_preserves="the coordinates, the folds, the number of members; the fold stays with the gene",
    assumes="labels exchangeable over genes (within strata)",
    source="Fisher 1936; permutation test of a classifier: Ojala & Garriga 2010",
    prepare=_prepare,
    universe=False,
    staged=True,
)
