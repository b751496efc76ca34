"""What a classifier of roles is held against: another classifier, and the same one on features that are no embedding."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..engine.discriminant import AUROC_BITS, discriminant_auroc, prepare_discriminant
from ..engine.kernels import Arrangements
from ..engine.logistic import Logistic, logistic_auroc, prepare_logistic
from ..spaces import Geometry
from .base import Entity, Prepared, TestKind, View, affine
from .classifier import grouped_folds
from .coordinates import WINDOW, windows


def baseline_aurocs(
    members: NDArray[np.int64], fold: NDArray[np.int64], features: Mapping[str, NDArray[np.float64]]
) -> dict[str, float]:
    """Cross-validated AUROC of membership from each block of features alone, by name.

    Asks: what does a classifier reach without the embedding? A role that can be read from expression is no finding about
    geometry. Usual blocks: ``norm`` [n, 1]; ``expression and detection`` [n, 2]; ``degree`` [n, 1], the number of annotations
    or of network partners of a gene.
    Formula: linear discriminant and pooled within-fold AUROC of :mod:`..engine.discriminant`, as ``role_classifier`` has them.
    Effect: AUROC in [0, 1], 1/2 for chance and where no fold holds both classes. It is printed beside the classifier's own
    and decides nothing.

    ``members`` int64 [m] and ``fold`` int64 [n] (:func:`.classifier.grouped_folds`) are those of the classifier; each block is
    float64 [n, d]. Raises ``ValueError`` for a block of another shape or with a value that is not finite.
    """
    n = len(fold)
    identity = np.arange(n, dtype=np.int32)[None]
    out: dict[str, float] = {}
    for name, block in features.items():
        X = np.asarray(block, dtype=np.float64)
        if X.ndim != 2 or len(X) != n or not np.isfinite(X).all():
            raise ValueError(f"baseline '{name}' must be a finite table with {n} rows, one a gene")
        out[name] = int(discriminant_auroc(prepare_discriminant(X, fold), members, identity)[0]) / (1 << AUROC_BITS)
    return out


def _prepare(geometry: Geometry, entity: Entity) -> Prepared:
    members = entity.need_members()
    views = tuple(View(f"L{q}", f"SV{a}-{b}") for q in range(geometry.n_layers) for a, b in windows(geometry.n_axes))
    models = [_model(geometry, view) for view in views]

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return np.stack([logistic_auroc(model, members, arrangements) for model in models], axis=1)

    return Prepared(views, sums, *affine(len(views), 2.0**-AUROC_BITS, 0.0))


def _model(geometry: Geometry, view: View) -> Logistic:
    def make() -> Logistic:
        low, high = (int(v) for v in view.coordinate[2:].split("-"))
        features = geometry.local_axes(int(view.layer[1:]))[:, low - 1 : high].astype(np.float64)
        return prepare_logistic(features, grouped_folds([geometry.families[r] for r in geometry.universe]))

    return geometry.remember(("logistic", view), make)


LOGISTIC_CLASSIFIER = TestKind(
    name="logistic_classifier",
    family="classifier",
    entity="gene_set",
    alternative="greater",
    effect_unit="AUROC",
    coordinates=WINDOW,
    min_size=8,
    asks="Can membership of a gene be predicted from its coordinates in a spectral window by logistic regression?",
    formula="five-fold cross-validated logistic regression on standardised coordinates, ridge ½·‖slopes‖², 5 Newton steps "
    "from 0; effect = Σ wins / Σ comparisons over (member, non-member) pairs within test folds",
    null_preserves="the coordinates, the folds, the number of members; the fold stays with the gene",
    assumes="labels exchangeable over genes (within strata)",
    source="Hastie, Tibshirani & Friedman 2009; ridge: le Cessie & van Houwelingen 1992; permutation test of a "
    "classifier: Ojala & Garriga 2010",
    prepare=_prepare,
    universe=False,
    staged=True,
)
