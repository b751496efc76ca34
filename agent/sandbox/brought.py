"""What some tests need besides the layers of a cache: another cache as partner, and mean attention between genes."""

import numpy as np
from numpy.typing import NDArray

from ...embeddings_cache.store import Cache
from ...tests_library.spaces import Geometry
from ...tests_library.statistics.base import TestKind
from ...tests_library.statistics.crossmodel import PARTNER, Partner, partner_from_layers

ATTENTION_BITS = 30
"""Attention, at most 1, is rounded to 2⁻³⁰ before it is ranked."""


def bring(geometry: Geometry, kind: TestKind, cache: Cache, partner: Cache | None) -> None:
    """Give ``geometry`` what ``kind`` needs, made once. ``ValueError`` where the job names no partner and one is needed."""
    if "partner" in kind.needs:
        if partner is None:
            raise ValueError(f"{kind.name} needs a partner cache and the job names none")
        geometry.partners = {
            PARTNER: geometry.remember(("partner", partner.digest), lambda: partner_seen_from(cache, geometry, partner))
        }
    if "attention" in kind.needs:
        geometry.attention = geometry.remember("attention", lambda: attention_by_layer(cache, geometry.universe))


def partner_seen_from(cache: Cache, geometry: Geometry, partner: Cache) -> Partner:
    """``partner`` on the universe of ``geometry``; genes meet by symbol, and masked ones are not there."""
    row_of = {symbol: row for row, symbol in enumerate(partner.genes.symbol) if partner.genes.usable[row]}
    rows = np.array([row_of.get(cache.genes.symbol[row], -1) for row in geometry.universe], dtype=np.int64)
    usable = np.flatnonzero(partner.genes.usable).astype(np.int64)
    return partner_from_layers(partner.layers, rows, partner.name, usable)


def attention_by_layer(cache: Cache, universe: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Layer → mean attention of gene i to gene j in the block that wrote it: int64 [n, n] in units of 2⁻³⁰.

    From the arrays ``attention`` [blocks, k, k] and ``attention_rows`` [k] of the cache. 0 for pairs that no cell held
    together, and for genes among which attention was not kept.
    """
    place = np.full(cache.n_genes, -1, np.int64)
    place[universe] = np.arange(len(universe))
    local = place[cache.extra("attention_rows")]
    here = np.flatnonzero(local >= 0)
    out = {}
    for block, kept in enumerate(cache.extra("attention")):
        table = np.zeros((len(universe), len(universe)), np.int64)
        mean = np.nan_to_num(kept[np.ix_(here, here)].astype(np.float64), nan=0.0)
        table[np.ix_(local[here], local[here])] = np.rint(mean * (1 << ATTENTION_BITS)).astype(np.int64)
        out[block + 1] = table
    return out
