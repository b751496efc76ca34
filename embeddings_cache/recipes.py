"""How one cell becomes tokens: which genes are read, and which value each carries.

A recipe is part of the identity of a cache, so everything here is a pure function of its arguments and gives the same
numbers on every platform: where a choice is random it comes from a 64-bit hash, never from a library's generator.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import CacheError

TieRule = Literal["expected", "seeded"]

CLS_VALUE = -2.0
"""Value carried by the ``<cls>`` token in the released model (its padding value)."""

_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


@dataclass(frozen=True)
class Recipe:
    """A named way from counts to tokens.

    Attributes:
        name: the word used in manifests and on the command line.
        n_bins: number of value bins, bin 0 (not expressed) included.
        max_tokens: longest sequence, ``<cls>`` included; a longer cell keeps a random subset of its genes.
        ties: ``expected`` gives equal counts their mean bin (deterministic); ``seeded`` spreads them over the bins they
            span, as the official preprocessing does, but from a seed.
    """

    name: str = "official"
    n_bins: int = 51
    max_tokens: int = 1200
    ties: TieRule = "expected"

    def describe(self) -> dict[str, Any]:
        """Return the recipe as plain JSON values, for a manifest."""
        return asdict(self)


def named_recipe(name: str) -> Recipe:
    """Return the recipe called ``name`` (``official`` or ``official-seeded``); raises ``CacheError`` for another."""
    known = {"official": Recipe(), "official-seeded": Recipe(name="official-seeded", ties="seeded")}
    if name not in known:
        raise CacheError(f"recipe '{name}' is unknown: choose one of {', '.join(known)}.")
    return known[name]


def bin_counts(
    counts: NDArray[Any], n_bins: int, ties: TieRule = "expected", uniform: NDArray[np.float64] | None = None
) -> NDArray[np.float32]:
    """Bin the non-zero counts of one cell by their own quantiles.

    Args:
        counts: positive values of the expressed genes, shape ``[k]``.
        n_bins: number of bins, bin 0 for "not expressed" included.
        ties: see :class:`Recipe`.
        uniform: numbers in [0, 1), shape ``[k]``, needed by ``seeded``.

    Returns:
        Bin of each gene, float32 ``[k]``, between 1 and ``n_bins - 1``; ``expected`` may give halves.
    """
    if len(counts) == 0:
        return np.zeros(0, dtype=np.float32)
    edges = np.quantile(counts, np.linspace(0.0, 1.0, n_bins - 1))
    above = np.digitize(counts, edges)
    below = np.digitize(counts, edges, right=True)
    if ties == "expected":
        # A value strictly between two edges has one bin; one that equals edges may land in any bin they bound.
        expected: NDArray[np.float32] = np.where(above > below, (above + below + 1) / 2, above).astype(np.float32)
        return expected
    if uniform is None:
        raise CacheError("tie rule 'seeded' needs one uniform number per gene: pass uniform=.")
    drawn: NDArray[np.float32] = np.ceil(above - uniform * (above - below)).astype(np.float32)
    return drawn


def hashed_uniform(seed: int, cell: int, genes: NDArray[np.integer[Any]], stream: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), float64 ``[k]``, fixed by (seed, cell, gene, stream) alone."""
    with np.errstate(over="ignore"):
        state = genes.astype(np.uint64)
        for word in (seed, cell, stream):
            state = _mix64(state + np.uint64(word))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix64(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = state + _MIX[0]
    state = (state ^ (state >> np.uint64(30))) * _MIX[1]
    state = (state ^ (state >> np.uint64(27))) * _MIX[2]
    return state ^ (state >> np.uint64(31))


def tokens_of_cell(
    genes: NDArray[np.integer[Any]], counts: NDArray[Any], recipe: Recipe, *, seed: int, cell: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Choose and bin the genes of one cell; ``<cls>`` is added by the caller.

    Args:
        genes: columns of the expressed genes, shape ``[k]``.
        counts: their counts, shape ``[k]``, all positive.
        recipe: how to bin and how many to keep.
        seed: run seed; matters only for ``seeded`` ties and for cells longer than ``max_tokens``.
        cell: index of the cell in its data set.

    Returns:
        ``(columns, values)``, int64 and float32, the same length, at most ``max_tokens - 1``.
    """
    uniform = hashed_uniform(seed, cell, genes, stream=1) if recipe.ties == "seeded" else None
    # Bins come before the subset is drawn, as in the official preprocessing: a gene's bin never depends on the draw.
    values = bin_counts(counts, recipe.n_bins, recipe.ties, uniform)
    room = recipe.max_tokens - 1
    columns = genes.astype(np.int64)
    if len(columns) > room:
        order = np.lexsort((columns, hashed_uniform(seed, cell, genes, stream=2)))
        kept = np.sort(order[:room])
        columns, values = columns[kept], values[kept]
    return columns, values
