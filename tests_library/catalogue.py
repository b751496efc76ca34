"""Every test kind, declared. The grammar, the documentation and ``screen tests`` are made from this table.

A new test is one new file in ``statistics/`` and one line here.
"""

from collections.abc import Mapping
from types import MappingProxyType

from .nulls import NULLS, null_model
from .statistics.alignment import (
    CCA,
    CKA,
    ENERGY_DISTANCE,
    LAPLACIAN_ALIGNMENT,
    PRINCIPAL_ANGLES,
    PROCRUSTES,
    SLICED_WASSERSTEIN,
)
from .statistics.association import ATTENTION_GEOMETRY, MANTEL, PARTIAL_MANTEL
from .statistics.axis import AXIS_SEPARATION, POLE_ENRICHMENT
from .statistics.base import TestKind, View
from .statistics.classifier import ROLE_CLASSIFIER
from .statistics.coordinates import axis_number, layer_span
from .statistics.crossmodel import CROSS_CACHE_CKA, CROSS_CACHE_NEIGHBOURS
from .statistics.dimension import ENTROPY_RANK, K90, TWO_NN
from .statistics.edges import DIRECTED_DISPLACEMENT, EDGE_AUROC, FEED_FORWARD_LOOP, SIGNED_EDGE_SPLIT
from .statistics.geodesic import GEODESIC_DISTANCE
from .statistics.geometry import COHESION, EFFECTIVE_DIMENSION
from .statistics.layers import CENTROID_TRAJECTORY, CHANGE_POINT, CONVERGENCE, LAYER_TRAJECTORY, LAYER_TRANSIENT
from .statistics.neighbours import (
    COMMUNITY,
    NEIGHBOURHOOD_PURITY,
    PRECISION_AT_K,
    SET_CONNECTIVITY,
    SET_TRANSITIVITY,
    SPECTRAL_GAP,
)
from .statistics.pairs import COPOLE_RATE, GRADED_GRADIENT, MULTI_AXIS_COPOLE, PAIR_PROXIMITY
from .statistics.scores import GENE_SCORE
from .statistics.topology import PERSISTENCE_H0, PERSISTENCE_H1

N_AXES = 10
"""Spectral axes offered to the grammar."""

CATALOGUE: Mapping[str, TestKind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            AXIS_SEPARATION,
            POLE_ENRICHMENT,
            COHESION,
            GENE_SCORE,
            NEIGHBOURHOOD_PURITY,
            PRECISION_AT_K,
            SET_CONNECTIVITY,
            SET_TRANSITIVITY,
            SPECTRAL_GAP,
            COMMUNITY,
            GEODESIC_DISTANCE,
            EFFECTIVE_DIMENSION,
            ENTROPY_RANK,
            K90,
            TWO_NN,
            PERSISTENCE_H0,
            PERSISTENCE_H1,
            ROLE_CLASSIFIER,
            LAYER_TRAJECTORY,
            LAYER_TRANSIENT,
            CHANGE_POINT,
            CENTROID_TRAJECTORY,
            CONVERGENCE,
            CKA,
            CCA,
            PROCRUSTES,
            PRINCIPAL_ANGLES,
            SLICED_WASSERSTEIN,
            ENERGY_DISTANCE,
            LAPLACIAN_ALIGNMENT,
            COPOLE_RATE,
            MULTI_AXIS_COPOLE,
            PAIR_PROXIMITY,
            GRADED_GRADIENT,
            MANTEL,
            PARTIAL_MANTEL,
            EDGE_AUROC,
            SIGNED_EDGE_SPLIT,
            DIRECTED_DISPLACEMENT,
            FEED_FORWARD_LOOP,
            ATTENTION_GEOMETRY,
            CROSS_CACHE_NEIGHBOURS,
            CROSS_CACHE_CKA,
        )
    }
)
"""Test kinds by name."""


def companion_nulls(kind: TestKind) -> tuple[str, ...]:
    """Every null a hypothesis of this kind is tested under: those all kinds have, then its own."""
    return (*NULLS, *kind.nulls)


def deciding_nulls(kind: TestKind) -> tuple[str, ...]:
    """The nulls a claim of this kind must beat; the others are printed."""
    return tuple(null for null in companion_nulls(kind) if null_model(null).decides)


def layer_options(kind: TestKind, n_layers: int) -> dict[str, tuple[str, ...]]:
    """What a hypothesis may say about layers → the layers it scans. Contrasts span all layers and offer no choice."""
    if kind.coordinates.spans:
        return {"all": (layer_span(n_layers),)}
    names = tuple(f"L{q}" for q in range(kind.coordinates.first, n_layers))
    options = {"all": names}
    if len(names) >= 4:
        options |= {"early": names[: len(names) // 2], "late": names[-(len(names) // 2) :]}
    return options | {name: (name,) for name in names}


def coordinate_options(kind: TestKind, n_layers: int, n_axes: int) -> dict[str, tuple[str, ...]]:
    """What a hypothesis may say about coordinates → the coordinates it scans."""
    singles = kind.coordinates.singles(n_layers, n_axes)
    options = {"all": singles}
    if kind.coordinates.banded and n_axes > 5:
        low = tuple(c for c in singles if axis_number(c) <= 5)
        options |= {"SV1-5": low, f"SV6-{n_axes}": tuple(c for c in singles if c not in low)}
    return options if len(singles) == 1 else options | {c: (c,) for c in singles}


def scanned_views(kind: TestKind, n_layers: int, n_axes: int, layers: str, coordinates: str) -> frozenset[View]:
    """The views a hypothesis scans; ``ValueError`` names the value that the grammar does not know."""
    by_layer = layer_options(kind, n_layers)
    by_coordinate = coordinate_options(kind, n_layers, n_axes)
    if layers not in by_layer:
        raise ValueError(f"layers '{layers}' is not one of {', '.join(by_layer)} for test {kind.name}")
    if coordinates not in by_coordinate:
        raise ValueError(f"coordinates '{coordinates}' is not one of {', '.join(by_coordinate)} for test {kind.name}")
    return frozenset(View(q, c) for q in by_layer[layers] for c in by_coordinate[coordinates])


def n_views(kind: TestKind, n_layers: int, n_axes: int) -> int:
    """Elementary statistics one entity has under this kind: the full scan."""
    return len(scanned_views(kind, n_layers, n_axes, "all", "all"))
