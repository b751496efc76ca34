"""Is a set's geometry in this cache like that in another one: another seed, another model, the untrained control?

Another cache enters as a :class:`Partner`: cosines between the genes of this universe, as that cache places them. Each
layer here meets the partner's layer at the same relative depth. Coordinates are never compared, only similarities, so the
two caches may have different dimensions.

Two caches of one data set share its cells: what agrees between seeds is technically stable, and no more confirmed for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..engine.kernels import Arrangements, set_sums
from ..engine.similarity import UNIT_BITS, row_ranks, to_units
from ..spaces import Geometry
from .alignment import debiased_cka
from .base import Entity, Prepared, TestKind, View, affine
from .coordinates import fixed

NEIGHBOURS = 10
MIN_MEMBERS = 8
"""Genes of a set that a partner must have, below which its debiased CKA is too noisy to use and counts as 0."""


@dataclass(frozen=True, eq=False)
class Partner:
    """Another cache, seen from the universe of this one.

    ``cosines``: one int64 [n, n] for each of its layers, in units of 2⁻³⁰, in the order of this universe; 0 in rows and
    columns of genes it lacks. ``has`` bool [n]: genes it has. Raises ``ValueError`` where the shapes disagree.
    """

    name: str
    cosines: tuple[NDArray[np.int64], ...]
    has: NDArray[np.bool_]

    def __post_init__(self) -> None:
        n = len(self.has)
        if not self.cosines or any(c.shape != (n, n) for c in self.cosines):
            raise ValueError(f"partner '{self.name}' needs cosines of shape {n} × {n} for at least one layer")

    def layer_at(self, layer: int, n_layers: int) -> int:
        """Its layer at the relative depth of ``layer`` out of ``n_layers``; the earlier one halfway between two."""
        last = max(1, n_layers - 1)
        return (2 * layer * (len(self.cosines) - 1) + last - 1) // (2 * last)


def partner_from_layers(
    layers: Sequence[NDArray[np.float32]],
    rows: NDArray[np.int64],
    name: str,
    usable: NDArray[np.int64] | None = None,
) -> Partner:
    """A partner from its own layers, float32 [genes, dim] each.

    ``rows`` int64 [n]: the partner's row of every gene of this universe, −1 for a gene it lacks or has masked. ``usable``:
    its rows that define where the centre is, as in :class:`Geometry`; by default those in ``rows``.
    Raises ``ValueError`` for fewer than two genes in common, or for a row named twice.
    """
    has = rows >= 0
    mine = rows[has]
    if len(mine) < 2 or len(np.unique(mine)) < len(mine):
        raise ValueError(f"partner '{name}' needs two genes in common, each with a row of its own")
    centre = np.unique(mine) if usable is None else usable
    there = Geometry(layers, centre, mine, (), 1)
    cosines = []
    for q in range(len(layers)):
        full = np.zeros((len(rows), len(rows)), np.int64)
        full[np.ix_(has, has)] = there.cosine(q)
        cosines.append(full)
    return Partner(name, tuple(cosines), has)


def partners_of(geometry: Geometry) -> Mapping[str, Partner]:
    """Partners by name; none where a geometry was given none."""
    found: Mapping[str, Partner] = geometry.partners
    for name, partner in found.items():
        if len(partner.has) != geometry.n:
            raise ValueError(f"partner '{name}' describes {len(partner.has)} genes, the universe has {geometry.n}")
    return found


def _views(geometry: Geometry) -> tuple[View, ...]:
    return tuple(View(f"L{q}", name) for name in partners_of(geometry) for q in range(geometry.n_layers))


def _prepare_neighbours(geometry: Geometry, entity: Entity) -> Prepared:
    members = entity.need_members()
    views = _views(geometry)
    table, unit, mean = geometry.remember("neighbours kept across caches", lambda: _overlap_table(geometry))

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return set_sums(table, members, arrangements) if views else np.zeros((len(arrangements), 0), np.int64)

    return Prepared(views, sums, unit / len(members), mean)


def _overlap_table(geometry: Geometry) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
    """Neighbours that each gene keeps, centred on those genes the partner has: int32 [n, V], its unit and mean [V].

    A gene the partner lacks counts as the mean, so having many such genes makes no set extreme.
    """
    columns, unit, mean = [], [], []
    for partner in partners_of(geometry).values():
        has = partner.has
        present, k = int(has.sum()), max(1, min(NEIGHBOURS, int(has.sum()) - 1))
        for q in range(geometry.n_layers):
            here = neighbours(geometry.cosine(q)[np.ix_(has, has)], k)
            there = neighbours(partner.cosines[partner.layer_at(q, geometry.n_layers)][np.ix_(has, has)], k)
            kept = (here & there).sum(axis=1)
            column = np.zeros(geometry.n, np.int64)
            column[has] = present * kept - kept.sum()
            columns.append(column)
            unit.append(1 / (present * k))
            mean.append(float(kept.sum() / (present * k)))
    table = np.array(columns, np.int64).reshape(-1, geometry.n).T
    return np.ascontiguousarray(table, dtype=np.int32), np.array(unit), np.array(mean)


def neighbours(cosine: NDArray[np.int64], k: int) -> NDArray[np.bool_]:
    """[i, j]: j is one of the ``k`` nearest others of i, bool [n, n]. By mid-rank, so genes that tie share their fate."""
    near: NDArray[np.bool_] = row_ranks(cosine) >= (len(cosine) - 2) - 2 * (k - 1)
    np.fill_diagonal(near, False)
    return near


def _prepare_cka(geometry: Geometry, entity: Entity) -> Prepared:
    members, layers = entity.need_members(), geometry.n_layers
    views = _views(geometry)
    partners = partners_of(geometry)
    tables = {
        name: geometry.remember(("cosines here and there", name), partial(_both_caches, geometry, partner))
        for name, partner in partners.items()
    }
    pairs = np.stack([np.arange(layers), layers + np.arange(layers)], axis=1)

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        out = np.zeros((len(arrangements), len(views)), np.int64)
        for v, (name, partner) in enumerate(partners.items()):
            present = partner.has[arrangements[:, members]].sum(axis=1, keepdims=True)
            enough = np.maximum(present, MIN_MEMBERS)
            value = debiased_cka(tables[name], members, arrangements, pairs, enough)
            out[:, v * layers : (v + 1) * layers] = to_units(np.where(present >= MIN_MEMBERS, value, 0.0))
        return out

    return Prepared(views, sums, *affine(len(views), 2.0**-UNIT_BITS, 0.0))


def _both_caches(geometry: Geometry, partner: Partner) -> NDArray[np.int32]:
    """Cosines in units of 2⁻¹⁵ of every layer here, then of the partner's: int32 [n, n, 2 L]; genes it lacks are 0."""
    both = partner.has[:, None] & partner.has[None, :]
    n_layers = geometry.n_layers
    here = [geometry.cosine(q) for q in range(n_layers)]
    there = [partner.cosines[partner.layer_at(q, n_layers)] for q in range(n_layers)]
    return np.stack([np.where(both, c >> 15, 0).astype(np.int32) for c in (*here, *there)], axis=2)


PARTNER = "partner"
"""What views call the other cache of a project; its name and digest stand in the plan of the run."""

CROSS_CACHE_NEIGHBOURS = TestKind(
    name="cross_cache_neighbours",
    family="replication",
    entity="gene_set",
    alternative="two-sided",
    effect_unit="share of neighbours kept",
    coordinates=fixed(PARTNER),
    needs=frozenset({"partner"}),
    min_size=5,
    asks="Do the genes of the set keep more, or fewer, of their nearest neighbours in another cache than other genes do?",
    formula="mean over members of |N_i ∩ N'_i| / k, N and N' the k = 10 nearest genes of gene i by cosine in this cache and "
    "in the partner at the same relative depth, among the genes both have; a member the partner lacks counts as the mean "
    "of all genes",
    null_preserves="both embeddings and every gene's overlap; which genes the partner has",
    assumes="labels exchangeable over genes (within strata); two caches that share cells agree on noise too, and that is "
    "stability, not confirmation",
    source="k-nearest-neighbour overlap of embeddings, e.g. Hamilton et al. 2016",
    prepare=_prepare_neighbours,
    universe=False,
)

CROSS_CACHE_CKA = TestKind(
    name="cross_cache_cka",
    family="replication",
    entity="gene_set",
    # Not two-sided: a set of which the partner has too little counts as 0, which must never look like a finding.
    alternative="greater",
    effect_unit="debiased CKA",
    coordinates=fixed(PARTNER),
    needs=frozenset({"partner"}),
    min_size=8,
    asks="Is the set's similarity structure more alike in this cache and another than that of as many other genes?",
    formula="debiased CKA of the set's cosine matrices in this cache and in the partner at the same relative depth, over the "
    "members the partner has; 0 where it has fewer than 8",
    null_preserves="both embeddings and the set size; which genes the partner has",
    assumes="labels exchangeable over genes (within strata); a set that the partner covers worse than others has a noisier "
    "value; two caches that share cells agree on noise too, and that is stability, not confirmation",
    source="Kornblith et al. 2019; unbiased HSIC: Song et al. 2012",
    prepare=_prepare_cka,
    universe=False,
    staged=True,
)
