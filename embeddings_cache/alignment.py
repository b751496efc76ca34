"""Do the rows belong to the names, and do all layers have one order of genes?

A gene list that is shuffled, or off by one from some line on, leaves every array sound and every gene wrong. Three
things are known before any test: layers of one network resemble each other gene by gene; trained rows say how strongly a
gene is expressed; and paralogs and subunits of one complex, which their names tell, lie nearer each other than other
genes. None of them is a result of a screen. Everything is a pure function of its arguments: draws come from fixed seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from .families import gene_families
from .genes import GeneTable

BLOCK = 64
"""Rows looked at together, so that a fault that begins somewhere is named with the row where it begins."""
MIN_ROWS = 128
"""With fewer usable rows nothing is said."""
_MOST_ROWS = 4096
_MOST_COLUMNS = 128
"""A look at every opening must stay cheap beside the digests; every fourth column of 512 shows what all of them show."""
_MIN_KIN = 40
_MATCHINGS = 8


@dataclass(frozen=True)
class Alignment:
    """What was found: ``errors`` stop a screen, ``warnings`` ask a person to look again, ``notes`` stop nothing."""

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def check_alignment(layers: Sequence[NDArray[np.float32]], genes: GeneTable, usable: NDArray[np.intp]) -> Alignment:
    """Compare layers with each other, and rows with what their names promise.

    Args:
        layers: gene matrices ``[n_genes, dim]``, the input embedding first.
        genes: the gene table, in row order.
        usable: rows that may be tested, increasing.
    """
    if len(usable) < MIN_ROWS:
        return Alignment(notes=(f"With {len(usable)} usable genes, names cannot be compared with rows.",))
    layers = [_thinned(layer) for layer in layers]
    # Small products: on a busy machine, threads that wait for each other cost ten times what they save.
    with threadpool_limits(1):
        errors, warnings = _layer_order(layers, genes.symbol, usable)
        if errors:
            return Alignment(errors=tuple(errors), warnings=tuple(warnings))
        named, notes = _names(layers, genes, usable)
    return Alignment(warnings=(*warnings, *named), notes=notes)


def _thinned(layer: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(layer)[:, :: -(-layer.shape[1] // _MOST_COLUMNS)]


# layers among themselves


def _layer_order(
    layers: Sequence[NDArray[np.float32]], symbols: Sequence[str], usable: NDArray[np.intp]
) -> tuple[list[str], list[str]]:
    """Successive layers whose genes resemble each other in none, or only in the first, of the blocks of rows."""
    errors: list[str] = []
    warnings: list[str] = []
    blocks = [usable[start : start + BLOCK] for start in range(0, len(usable) - BLOCK + 1, BLOCK)]
    looked_at = blocks[:: -(-len(blocks) // (_MOST_ROWS // BLOCK))]
    for index, (one, other) in enumerate(pairwise(layers)):
        links = np.array([_likeness(one[rows], other[rows]) for rows in looked_at])
        bad = links < 0.25
        if not (links > 0.6).any() and np.median(links) < 0.15:
            errors.append(
                f"layers {index} and {index + 1} have nothing in common gene by gene (r = {np.median(links):.2f}), so "
                "they are in different gene orders: write all layers in the order of one gene list, or import unrelated "
                "ones as separate caches."
            )
        elif (links > 0.6).any() and bad.any():
            first = int(looked_at[int(np.argmax(bad))][0])
            # One odd block may be chance or biology; with two, rows are out of step.
            (errors if bad.sum() > 1 else warnings).append(
                f"layers {index} and {index + 1} agree gene by gene, but not around row {first} ('{symbols[first]}'): one "
                "of them seems to lack or to repeat a row near it, so compare their gene lists there."
            )
    return errors, warnings


def _likeness(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Pearson correlation, over random pairs of rows, of their cosine in ``one`` with that in ``other``."""
    rng = np.random.default_rng(0)
    half = len(one) // 2
    pairs = [rng.permutation(len(one))[: 2 * half].reshape(2, half) for _ in range(_MATCHINGS)]
    a, b = np.concatenate(pairs, axis=1)
    # Medians, so that one wild row does not turn all others into one direction.
    x, y = (_unit(rows - np.median(rows, axis=0)) for rows in (one, other))
    return _correlation((x[a] * x[b]).sum(axis=1), (y[a] * y[b]).sum(axis=1))


def _unit(centred: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Rows of length 1; rows of zeros stay."""
    rows: NDArray[np.float64] = centred.astype(np.float64)
    length = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    rows /= np.where(length > 0, length, 1.0)
    return rows


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > 0 else 0.0


# names and rows


def _names(
    layers: Sequence[NDArray[np.float32]], genes: GeneTable, usable: NDArray[np.intp]
) -> tuple[list[str], tuple[str, ...]]:
    ends = [layers[0], layers[-1]] if len(layers) > 1 else [layers[0]]
    rows = usable[:: -(-len(usable) // _MOST_ROWS)]
    legible, bad_from = _expression(ends, genes.mean_expression[rows], rows)
    cohere, moved = _families(ends, genes.symbol, usable)
    if legible is None and cohere is None:
        return [], ("Too few genes of known families and no expression: names could not be compared with rows.",)
    warnings = []
    if not legible and not cohere and moved is None:
        tried = " nor ".join(
            word for word, found in (("expression", legible), ("the family of genes", cohere)) if found is not None
        )
        warnings.append(
            f"{'neither ' if ' nor ' in tried else 'not even '}{tried} can be told from the rows: an untrained model looks "
            "like this, and so does a gene list in another order, so compare the list with its source."
        )
    if bad_from is not None:
        warnings.append(
            f"expression fits the rows, but not around row {bad_from} ('{genes.symbol[bad_from]}'): the gene list seems to "
            "be shifted from there on, so compare it with its source."
        )
    if moved is not None:
        row, shift = moved
        warnings.append(
            f"families of genes fit the rows better when names are moved by {shift:+d} from about row {row} "
            f"('{genes.symbol[row]}') on: the gene list seems to be off by one, so compare it with its source."
        )
    return warnings, ()


def _expression(
    layers: Sequence[NDArray[np.float32]], mean: NDArray[np.float64], rows: NDArray[np.intp]
) -> tuple[bool | None, int | None]:
    """Whether rows tell the rank of expression (``None``: it is not known), and the first row of a block where not."""
    if not np.isfinite(mean).all() or len(np.unique(mean)) < len(mean) // 4:
        return None, None
    rank = np.argsort(np.argsort(mean, kind="stable"), kind="stable").astype(np.float64)
    read = max((_predicted(layer[rows], rank) for layer in layers), key=lambda found: _correlation(found, rank))
    if _correlation(read, rank) < 0.3:
        return False, None
    blocks = [slice(start, start + BLOCK) for start in range(0, len(rows) - BLOCK + 1, BLOCK)]
    links = np.array([_correlation(read[block], rank[block]) for block in blocks])
    bad = links < 0.15
    return True, int(rows[blocks[int(np.argmax(bad))]][0]) if np.median(links) > 0.5 and bad.any() else None


def _predicted(rows: NDArray[np.float32], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Five-fold cross-validated ridge regression of ``target`` on ``rows``; every fifth row is a fold."""
    x = rows.astype(np.float64)
    x -= x.mean(axis=0)
    scale = x.std(axis=0)
    x /= np.where(scale > 0, scale, 1.0)
    fold = np.arange(len(x)) % 5
    read = np.empty(len(x))
    for out in range(5):
        kept = fold != out
        centre = target[kept].mean()
        gram = x[kept].T @ x[kept] + 0.1 * kept.sum() * np.eye(x.shape[1])
        read[~kept] = x[~kept] @ np.linalg.solve(gram, x[kept].T @ (target[kept] - centre)) + centre
    return read


def _families(
    layers: Sequence[NDArray[np.float32]], symbols: Sequence[str], usable: NDArray[np.intp]
) -> tuple[bool | None, tuple[int, int] | None]:
    """Whether families cohere (``None``: too few), and ``(row, shift)`` where moved names would fit clearly better."""
    kin = np.unique(gene_families([symbols[row] for row in usable]), return_inverse=True)[1]
    sizes = np.bincount(kin)
    if int(sizes[(sizes > 1) & (sizes <= BLOCK)].sum()) < _MIN_KIN:
        return None, None
    kin = np.where((sizes[kin] > 1) & (sizes[kin] <= BLOCK), kin, -1)
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(kin)) for _ in range(20)]
    best, moved = -np.inf, None
    for layer in layers:
        unit = _unit(layer[usable] - layer[usable].mean(axis=0, dtype=np.float64))
        null = np.array([_cohesion(unit, kin[order]) for order in orders])
        spread = float(null.std()) or 1.0
        found = _cohesion(unit, kin)
        if (found - null.mean()) / spread > best:
            best = (found - float(null.mean())) / spread
            moved = _better_shift(unit, kin, found + 5 * spread)
    return best > 4, None if moved is None else (int(usable[moved[0]]), moved[1])


def _better_shift(unit: NDArray[np.float64], kin: NDArray[np.intp], bar: float) -> tuple[int, int] | None:
    """``(position, shift)`` from which on names moved by one reach a cohesion above ``bar``, the best of those tried."""
    tried = {}
    for start in range(0, len(kin), -(-len(kin) // 8)):
        for shift in (-1, 1):
            tried[(start, shift)] = _cohesion(unit, np.concatenate([kin[:start], np.roll(kin[start:], shift)]))
    best = max(tried, key=lambda key: tried[key])
    return best if tried[best] > bar else None


def _cohesion(unit: NDArray[np.float64], kin: NDArray[np.intp]) -> float:
    """Mean cosine of two rows of one family, families weighted by their size; label −1 is no family."""
    inside = np.flatnonzero(kin >= 0)
    members = inside[np.argsort(kin[inside], kind="stable")]
    starts = np.flatnonzero(np.diff(kin[members], prepend=-1))
    sizes = np.diff(np.append(starts, len(members)))
    sums = np.add.reduceat(unit[members], starts, axis=0)
    own = np.add.reduceat((unit[members] ** 2).sum(axis=1), starts)
    return float((((sums**2).sum(axis=1) - own) / np.maximum(sizes - 1, 1)).sum() / sizes.sum())
