"""How well the effect of a row is known: which kind of test gets which interval, and the interval of one entity.

Asks: had other gene families (regulators, for edges) carried this label, how far would the effect have moved?
Formula: of :mod:`.intervals`. An AUROC of genes gets DeLong's variance over families, a mean over genes a bootstrap of
families, other averages and ratios the jackknife: the statistic is computed again, by its own code, without one family
(regulator) at a time; beyond 20 clusters, without one of 20 balanced groups of them.
What it covers: the choice of the labelled genes among genes like them. What it does not cover: the choice of the view (it is
that of the best view, and not adjusted for it), other cells, another training of the model, targets that regulators share.
A pair is left out with either of its families, so intervals of pairs are wide, by √2 at most.
Assumes: clusters independent, and a statistic that is a smooth function of means. Where that does not hold there is no
interval, and :data:`Missing` says why.
It describes genes A, where the view was chosen, and decides nothing.
Source: see :mod:`.intervals`; jackknife of nodes for pairs: Snijders & Borgatti 1999.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .engine.discriminant import prepare_discriminant
from .intervals import (
    LEVEL,
    Interval,
    cluster_bootstrap,
    cross_validated_interval,
    delong_interval,
    jackknife_interval,
)
from .spaces import Geometry
from .statistics.base import Entity, Prepared, TestKind, View
from .statistics.classifier import grouped_folds

Method = Literal["delong", "cross_validated_delong", "family_bootstrap", "family_jackknife", "regulator_jackknife"]
Missing = Literal["size_dependent", "not_smooth", "entangled", "few_clusters", "too_thin", "no_spread", "undeclared"]

MISSING: Mapping[str, str] = MappingProxyType(
    {
        "size_dependent": "the effect changes with the number of genes or pairs, so leaving some out measures that instead",
        "not_smooth": "the statistic jumps when a gene is left out, or is flat to first order, and no resampling is valid",
        "entangled": "leaving a regulator out changes what the edges of the others are",
        "few_clusters": "fewer than 5 families or regulators (counted by their weight) to tell the spread from",
        "too_thin": "without one of its clusters there is too little left to compute the statistic",
        "no_spread": "the effect is the same whichever cluster is left out, which says nothing about its spread",
        "undeclared": "this kind of test declares no interval",
    }
)
"""Reasons for having no interval, and their words."""

MIN_CLUSTERS = 5.0
"""Effective number of clusters, (Σ n)² / Σ n², below which there is no interval."""
MAX_GROUPS = 20
"""Clusters beyond this many are left out in groups; a quantile of t with 19 degrees is 7 % above the normal one."""
DRAWS = 999
"""Bootstrap draws; (draws + 1) · 2.5 % is a whole number."""
_AT_ONCE = 256


@dataclass(frozen=True)
class EffectInterval:
    """The interval of an effect at one view, or why there is none (``low`` and ``high`` are then ``None``)."""

    low: float | None = None
    high: float | None = None
    level: float = LEVEL
    method: Method | Literal[""] = ""
    units: int = 0
    """Clusters, or groups of clusters, that were left out or drawn."""
    missing: Missing | Literal[""] = ""


@dataclass(frozen=True)
class Declared:
    """How the effect of a kind varies: a method, or the reason why none is valid."""

    method: Method | None = None
    missing: Missing | Literal[""] = ""
    bounds: tuple[float, float] = (0.0, 1.0)
    """Where the effect must lie; the interval is cut there."""
    grows: Callable[[int], float] | None = None
    """The effect's factor that depends on the number of genes alone; it is divided out before genes are left out."""


_SIGNED = (-1.0, 1.0)
_SETS = Declared("family_jackknife")
_CHANGE = Declared("family_jackknife", bounds=_SIGNED)

DECLARED: Mapping[str, Declared] = MappingProxyType(
    {
        "axis_separation": Declared("delong"),
        "gene_score": Declared("delong"),
        "role_classifier": Declared("cross_validated_delong"),
        "pole_enrichment": Declared("family_bootstrap"),
        "cohesion": _SETS,
        "set_connectivity": _SETS,
        "set_transitivity": _SETS,
        "community": _SETS,
        "geodesic_distance": Declared("family_jackknife", bounds=(0.0, np.inf)),
        # the share of a gene's k neighbours that m − 1 others can fill
        "neighbourhood_purity": Declared("family_jackknife", grows=lambda m: m - 1.0),
        "layer_trajectory": _CHANGE,
        "layer_transient": _CHANGE,
        "change_point": _CHANGE,
        "cka": _CHANGE,
        "cross_cache_cka": _CHANGE,
        "attention_geometry": _CHANGE,
        "cross_cache_neighbours": Declared("family_bootstrap"),
        "copole_rate": _SETS,
        "multi_axis_copole": Declared("family_jackknife", bounds=(0.0, np.inf)),
        "pair_proximity": _SETS,
        "graded_gradient": Declared("family_jackknife", bounds=(-np.inf, np.inf)),
        "edge_auroc": Declared("regulator_jackknife"),
        "signed_edge_split": Declared("regulator_jackknife", bounds=_SIGNED),
        "directed_displacement": Declared("regulator_jackknife", bounds=_SIGNED),
        "feed_forward_loop": Declared(missing="entangled"),
        **dict.fromkeys(
            # the list of a gene, the rank of a matrix and the fit of axes grow with the set; what is not listed counts as 0
            ("precision_at_k", "spectral_gap", "effective_dimension", "entropy_rank", "k90", "persistence_h0",
             "persistence_h1", "centroid_trajectory", "cca", "procrustes", "principal_angles", "laplacian_alignment",
             "mantel", "partial_mantel"),
            Declared(missing="size_dependent"),
        ),
        # nearest neighbours and medoids are replaced by others; a distance of two distributions is flat at 0
        **dict.fromkeys(
            ("two_nn", "convergence", "sliced_wasserstein", "energy_distance"), Declared(missing="not_smooth")
        ),
    }
)  # fmt: skip
"""Kind → its interval. A kind that is not here gets none (``undeclared``)."""


def effect_intervals(
    geometry: Geometry, kind: TestKind, entity: Entity, views: Collection[View], seed: int
) -> dict[View, EffectInterval]:
    """The interval of the effect of ``entity`` at each of ``views``. ``seed`` is read by the bootstrap alone."""
    declared = DECLARED.get(kind.name, Declared(missing="undeclared"))
    if declared.method is None:
        return dict.fromkeys(views, EffectInterval(missing=declared.missing or "undeclared"))
    clusters = _clusters(geometry, entity)
    if effective_clusters(clusters.labels) < MIN_CLUSTERS:
        return dict.fromkeys(views, EffectInterval(missing="few_clusters"))
    if declared.method in {"family_jackknife", "regulator_jackknife"}:
        return _jackknifed(geometry, kind, entity, views, declared, clusters)
    scored = {"delong": _delong, "family_bootstrap": _bootstrapped, "cross_validated_delong": _cross_validated}
    return {view: scored[declared.method](geometry, kind, entity, view, seed) for view in views}


def effective_clusters(labels: Sequence[str]) -> float:
    """(Σ n)² / Σ n² over cluster sizes n: how many clusters of equal size would be worth as much."""
    _, sizes = np.unique(np.asarray(labels), return_counts=True)
    return float(sizes.sum()) ** 2 / float((sizes.astype(np.int64) ** 2).sum())


@dataclass(frozen=True, eq=False)
class _Clusters:
    """Cluster labels, ``[rows · ends]``: one a gene, two a pair, one an edge."""

    labels: tuple[str, ...]
    ends: int


def _clusters(geometry: Geometry, entity: Entity) -> _Clusters:
    if entity.kind == "edges":
        return _Clusters(tuple(str(row) for row in entity.need_edges()[:, 0].tolist()), 1)
    genes = entity.need_members()[:, None] if entity.kind == "gene_set" else entity.need_pairs()
    families = [geometry.families[row] for row in geometry.universe[genes.ravel()].tolist()]
    return _Clusters(tuple(families), genes.shape[1])


def _jackknifed(
    geometry: Geometry,
    kind: TestKind,
    entity: Entity,
    views: Collection[View],
    declared: Declared,
    clusters: _Clusters,
) -> dict[View, EffectInterval]:
    assert declared.method is not None
    names, group = np.unique(np.asarray(clusters.labels), return_inverse=True)
    if len(names) > MAX_GROUPS:
        group = grouped_folds(clusters.labels, MAX_GROUPS)
    group = group.reshape(-1, clusters.ends)
    groups = int(group.max()) + 1
    keeps = [(group != g).all(axis=1) for g in range(groups)]
    whole, *parts = _effects(geometry, kind, [entity, *(_kept(entity, keep) for keep in keeps)], views, declared)
    factor = declared.grows(entity.size) if declared.grows else 1.0
    out: dict[View, EffectInterval] = {}
    for view in views:
        known = [part[view] for part in (whole, *parts) if view in part]
        if len(known) <= groups:
            out[view] = EffectInterval(missing="too_thin")
            continue
        found = jackknife_interval(known[0], known[1:])
        scaled = replace(found, low=found.low * factor, high=found.high * factor)
        out[view] = _given(scaled, declared, groups)
    return out


def _effects(
    geometry: Geometry, kind: TestKind, entities: Sequence[Entity], views: Collection[View], declared: Declared
) -> list[dict[View, float]]:
    """The effect of each entity at each view where it can be computed, free of its growth with size."""
    out = []
    for entity, prepared, totals in _computed(geometry, kind, entities):
        factor = declared.grows(entity.size) if declared.grows else 1.0
        places = {} if prepared is None else {view: prepared.views.index(view) for view in views}
        out.append(
            {
                view: float(prepared.offset[v] + prepared.scale[v] * totals[v]) / factor
                for view, v in places.items()
                if prepared is not None and prepared.scale[v] != 0 and factor > 0
            }
        )
    return out


def _computed(
    geometry: Geometry, kind: TestKind, entities: Sequence[Entity]
) -> Iterator[tuple[Entity, Prepared | None, NDArray[np.int64]]]:
    """Each entity, bound (``None`` if it is too small), with its totals int64 [V].

    Sets of one size are played by one bound set, which is much cheaper.
    """
    itself = np.arange(geometry.n, dtype=np.int32)
    bound: dict[int, tuple[Prepared, Iterator[NDArray[np.int64]]]] = {}
    for entity in entities:
        if entity.size < 2:
            yield entity, None, np.zeros(0, np.int64)
        elif entity.kind != "gene_set":
            prepared = kind.prepare(geometry, entity)
            yield entity, prepared, prepared.sums(itself[None])[0]
        else:
            if entity.size not in bound:
                alike = [other.need_members() for other in entities if other.size == entity.size]
                prepared = kind.prepare(geometry, entity)
                cast = np.stack([_cast(geometry.n, alike[0], members) for members in alike])
                bound[entity.size] = prepared, iter(prepared.sums(cast))
            prepared, totals = bound[entity.size]
            yield entity, prepared, next(totals)


def _cast(n: int, roles: NDArray[np.int64], players: NDArray[np.int64]) -> NDArray[np.int32]:
    """An arrangement, int32 [n], in which gene ``roles[i]`` is played by ``players[i]`` and the others by the others."""
    out = np.empty(n, np.int32)
    out[roles] = players
    out[np.delete(np.arange(n), roles)] = np.delete(np.arange(n, dtype=np.int32), players)
    return out


def _kept(entity: Entity, keep: NDArray[np.bool_]) -> Entity:
    """The part of an entity whose rows are kept, bool [size]."""

    def part(rows: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
        return None if rows is None else rows[keep]

    rows = (entity.members, entity.pairs, entity.grades, entity.edges, entity.signs)
    members, pairs, grades, edges, signs = (part(r) for r in rows)
    return Entity(entity.kind, members, pairs, grades, edges, signs)


def _delong(geometry: Geometry, kind: TestKind, entity: Entity, view: View, _seed: int) -> EffectInterval:
    members = entity.need_members()
    scores = _gene_scores(geometry, kind, view)
    inside = np.zeros(geometry.n, np.bool_)
    inside[members] = True
    families = np.array([geometry.families[row] for row in geometry.universe.tolist()])
    if inside.all() or effective_clusters(families[~inside].tolist()) < MIN_CLUSTERS:
        return EffectInterval(missing="few_clusters")
    found = delong_interval(
        scores[inside], scores[~inside], clusters=(families[inside].tolist(), families[~inside].tolist())
    )
    return _given(found, DECLARED[kind.name], len(set(families[inside].tolist())))


def _cross_validated(geometry: Geometry, kind: TestKind, entity: Entity, view: View, _seed: int) -> EffectInterval:
    members = entity.need_members()
    families = [geometry.families[row] for row in geometry.universe.tolist()]
    fold = grouped_folds(families)
    low, high = (int(v) for v in view.coordinate[2:].split("-"))
    features = geometry.local_axes(int(view.layer[1:]))[:, low - 1 : high].astype(np.float64)
    model = geometry.remember(("held-out model", view), lambda: prepare_discriminant(features, fold))
    scores = np.zeros(geometry.n, np.int64)
    for f in range(int(fold.max()) + 1):
        fitted = model.features[members[fold[members] != f]].sum(axis=0)
        scores[fold == f] = model.weights[fold == f] @ fitted
    labels = np.zeros(geometry.n, np.bool_)
    labels[members] = True
    if not any(0 < labels[fold == f].sum() < (fold == f).sum() for f in range(int(fold.max()) + 1)):
        return EffectInterval(missing="too_thin")
    found = cross_validated_interval(scores.tolist(), labels.tolist(), fold.tolist(), families)
    return _given(found, DECLARED[kind.name], len({families[i] for i in members.tolist()}))


def _bootstrapped(geometry: Geometry, kind: TestKind, entity: Entity, view: View, seed: int) -> EffectInterval:
    members = entity.need_members()
    families = [geometry.families[row] for row in geometry.universe[members].tolist()]
    words = f"{seed}\x1f{kind.name}\x1f{view.name}\x1f{','.join(map(str, members.tolist()))}"
    key = int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big")
    found = cluster_bootstrap(_gene_scores(geometry, kind, view)[members], families, key, DRAWS)
    return _given(found, DECLARED[kind.name], len(set(families)))


def _gene_scores(geometry: Geometry, kind: TestKind, view: View) -> NDArray[np.float64]:
    """The effect of each gene alone at ``view``, float64 [n]: of a set of one, played by every gene in turn."""

    def make() -> tuple[tuple[View, ...], NDArray[np.float64]]:
        prepared = kind.prepare(geometry, Entity("gene_set", members=np.zeros(1, np.int64)))
        out = np.empty((geometry.n, len(prepared.views)))
        for start in range(0, geometry.n, _AT_ONCE):
            players = np.arange(start, min(start + _AT_ONCE, geometry.n), dtype=np.int32)
            arrangements = np.zeros((len(players), geometry.n), np.int32)
            arrangements[:, 0] = players  # the only place that a set of one reads
            out[start : start + len(players)] = prepared.offset + prepared.scale * prepared.sums(arrangements)
        return prepared.views, out

    views, scores = geometry.remember(("gene scores", kind.name), make)
    return scores[:, views.index(view)]


def _given(found: Interval, declared: Declared, units: int) -> EffectInterval:
    """The interval as a row keeps it: cut to where the effect can lie, and none where nothing varied."""
    if found.low >= found.high:
        return EffectInterval(missing="no_spread")
    low, high = declared.bounds
    assert declared.method is not None
    return EffectInterval(max(low, found.low), min(high, found.high), found.level, declared.method, units)
