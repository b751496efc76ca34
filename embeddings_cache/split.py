"""The held-out genes: half of the families are explored, the other half stays sealed until the one look.

The split depends on symbols, three gene covariates and a seed, through sha256 and integer arithmetic only, so it is the
same on every platform and with every version of NumPy, and does not depend on the order of the genes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CacheError
from .families import gene_families, merge

__all__ = ["EXPLORE", "MASKED", "SEALED", "GeneSplit", "gene_families", "plan_split", "split_digest", "split_genes"]

EXPLORE, SEALED, MASKED = 0, 1, -1
LARGEST_BLOCK = 0.10
"""A block with more than this share of the usable genes is broken up; no balance is possible with it whole."""
_BINS = 5
_SWEEPS = 3


@dataclass(frozen=True)
class GeneSplit:
    """A split with its reasons.

    Attributes:
        side: int8 ``[n_genes]``: 0 explore (A), 1 sealed (B), -1 masked.
        block: label of the block each gene was dealt with; empty where masked.
        notes: blocks that were too large to stay whole, one sentence each.
    """

    side: NDArray[np.int8]
    block: tuple[str, ...]
    notes: tuple[str, ...]


def split_genes(
    symbols: Sequence[str],
    usable: NDArray[np.bool_],
    mean_expression: NDArray[np.float64],
    detection: NDArray[np.float64],
    annotation_count: NDArray[Any],
    seed: int,
    extra_blocks: Sequence[Sequence[str]] = (),
) -> NDArray[np.int8]:
    """Return the side of every gene, int8 ``[n_genes]``; see :func:`plan_split`."""
    return plan_split(
        symbols,
        usable,
        mean_expression=mean_expression,
        detection=detection,
        annotation_count=annotation_count,
        seed=seed,
        extra_blocks=extra_blocks,
    ).side


def plan_split(
    symbols: Sequence[str],
    usable: NDArray[np.bool_],
    *,
    mean_expression: NDArray[np.float64],
    detection: NDArray[np.float64],
    annotation_count: NDArray[Any],
    seed: int,
    extra_blocks: Sequence[Sequence[str]] = (),
) -> GeneSplit:
    """Deal whole blocks of genes to two halves that are alike in expression, detection and annotation.

    A block is a gene family, or several joined by ``extra_blocks``. A block above 10 % of the usable genes is broken
    into its families, and a family that large into single genes; each is said in ``notes``. Blocks are dealt from the
    largest to the smallest, each to the side where it evens out counts per bin of the three covariates and per joint
    bin; ties and the order among equals come from sha256 of the seed.

    Args:
        symbols: unique gene symbols.
        usable: which genes may be tested, bool ``[n_genes]``.
        mean_expression: any measure of expression, ``[n_genes]``.
        detection: fraction of cells with the gene, ``[n_genes]``.
        annotation_count: number of annotations that hold the gene, ``[n_genes]``.
        seed: of the split.
        extra_blocks: groups of symbols that must stay together, such as protein complexes; unknown symbols are ignored.

    Raises:
        CacheError: for lengths that differ, repeated symbols, or a covariate of a usable gene that is not finite.
    """
    covariates = {"mean_expression": mean_expression, "detection": detection, "annotation_count": annotation_count}
    _check(symbols, usable, covariates)
    kept = [int(row) for row in np.flatnonzero(usable)]
    names = [symbols[row] for row in kept]
    blocks, notes = _blocks(names, extra_blocks)
    features = _features([np.asarray(values, dtype=np.float64)[kept] for values in covariates.values()])
    dealt = _deal(blocks, features, names, seed)
    side = np.full(len(symbols), MASKED, dtype=np.int8)
    side[kept] = dealt
    label = [""] * len(symbols)
    for row, block in zip(kept, blocks, strict=True):
        label[row] = block
    return GeneSplit(side=side, block=tuple(label), notes=notes)


def _check(symbols: Sequence[str], usable: NDArray[np.bool_], covariates: dict[str, NDArray[Any]]) -> None:
    if len(set(symbols)) != len(symbols):
        raise CacheError("gene symbols to split are not unique: make them unique first.")
    for name, values in {"usable": usable, **covariates}.items():
        if len(values) != len(symbols):
            raise CacheError(f"'{name}' has {len(values)} entries for {len(symbols)} genes: give one per gene.")
    for name, values in covariates.items():
        bad = np.flatnonzero(np.asarray(usable) & ~np.isfinite(np.asarray(values, dtype=np.float64)))
        if bad.size:
            raise CacheError(f"'{name}' of gene '{symbols[bad[0]]}' is not finite: mask the gene or give its value.")


def _blocks(names: Sequence[str], extra_blocks: Sequence[Sequence[str]]) -> tuple[list[str], tuple[str, ...]]:
    """Label the block of every gene, breaking up blocks that are too large."""
    families = gene_families(names)
    by_family: dict[str, list[str]] = {}
    for name, family in zip(names, families, strict=True):
        by_family.setdefault(family, []).append(name)
    joined = merge(names, [*by_family.values(), *extra_blocks])
    limit = LARGEST_BLOCK * len(names)
    sizes = _sizes(joined[name] for name in names)
    # A family's own label would not do as a block label: it could equal the name of a gene elsewhere.
    first = {family: min(members) for family, members in by_family.items()}
    labels, notes = [], set()
    for name, family in zip(names, families, strict=True):
        block = joined[name]
        if sizes[block] <= limit or sizes[block] == 1:
            labels.append(block)
        elif len(by_family[family]) <= limit:
            labels.append(first[family])
            notes.add(f"the block of {block} holds {sizes[block]} of {len(names)} genes and was broken into families.")
        else:
            labels.append(name)
            notes.add(f"family {family} holds {len(by_family[family])} of {len(names)} genes and was dealt singly.")
    return labels, tuple(sorted(notes))


def _sizes(labels: Iterable[str]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for label in labels:
        sizes[label] = sizes.get(label, 0) + 1
    return sizes


def _features(covariates: Sequence[NDArray[np.float64]]) -> NDArray[np.int64]:
    """Integer features whose totals should be equal on both sides: one for the gene, one per bin, one per joint bin."""
    n = len(covariates[0])
    binned = [_rank_bins(values, _BINS) for values in covariates]
    columns = [np.ones((n, 1), dtype=np.int64), *(np.eye(_BINS, dtype=np.int64)[bins] for bins in binned)]
    coarse = [_rank_bins(values, 3) for values in covariates]
    joint = coarse[0] * 9 + coarse[1] * 3 + coarse[2]
    return np.hstack([*columns, np.eye(27, dtype=np.int64)[joint]])


def _rank_bins(values: NDArray[np.float64], n_bins: int) -> NDArray[np.intp]:
    """Bin by rank; equal values share a bin."""
    return np.searchsorted(np.sort(values), values, side="left") * n_bins // max(len(values), 1)


def _deal(blocks: Sequence[str], features: NDArray[np.int64], names: Sequence[str], seed: int) -> NDArray[np.int8]:
    members: dict[str, list[int]] = {}
    for row, block in enumerate(blocks):
        members.setdefault(block, []).append(row)
    # Named by its smallest member, a block keeps its place whatever the order of the genes.
    named = {block: min(names[row] for row in rows) for block, rows in members.items()}
    order = sorted(members, key=lambda block: (-len(members[block]), _hash(seed, named[block])))
    weight = {block: features[rows].sum(axis=0) for block, rows in members.items()}
    sign: dict[str, int] = {}
    balance = np.zeros(features.shape[1], dtype=np.int64)
    for block in order:
        pull = int(balance @ weight[block])
        coin = 1 if _hash(seed, named[block])[0] & 1 else -1
        sign[block] = coin if pull == 0 else (-1 if pull > 0 else 1)
        balance += sign[block] * weight[block]
    for _ in range(_SWEEPS):
        for block in order:
            change = -2 * sign[block] * weight[block]
            if int(2 * (balance @ change) + change @ change) < 0:
                sign[block], balance = -sign[block], balance + change
    side = np.empty(len(blocks), dtype=np.int8)
    for row, block in enumerate(blocks):
        side[row] = EXPLORE if sign[block] > 0 else SEALED
    return side


def _hash(seed: int, label: str) -> bytes:
    return hashlib.sha256(json.dumps(["hyposcreen split", seed, label]).encode()).digest()


def split_digest(split: NDArray[np.int8], symbols: Sequence[str]) -> str:
    """Return the sha256 (hex) of which gene lies on which side; independent of the order of the genes."""
    pairs = sorted([symbol, int(side)] for symbol, side in zip(symbols, split, strict=True))
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()
