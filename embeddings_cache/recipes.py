"""How one cell becomes tokens: which genes are read, and which value each carries.

A recipe is part of the identity of a cache, so everything here is a pure function of its arguments and gives the same
numbers on every platform: where a choice is random it comes from a 64-bit hash, never from a library's generator.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import CacheError

TieRule = Literal["expected", "seeded"]
TIE_RULES: tuple[TieRule, ...] = ("expected", "seeded")

CLS_VALUE = -2.0
"""Value carried by the ``<cls>`` token in the released model (its padding value)."""

_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


@dataclass(frozen=True)
class Recipe:
    """A named way from counts to tokens.

    Attributes:
        name: the word used in manifests and on the command line.
        n_bins: number of value bins, bin 0 (not expressed) included; 0 leaves values unbinned, as log1p counts per 10,000.
        max_tokens: longest sequence, ``<cls>`` included.
        ties: ``expected`` gives equal counts their mean bin (deterministic); ``seeded`` spreads them over the bins they
            span, as the official preprocessing does, but from a seed. Without bins it means nothing.
        cls: whether every cell begins with the ``<cls>`` token.
        keep: which genes of a cell longer than ``max_tokens`` are read: a ``random`` subset, or the most expressed ones
            (``top``; of equal counts the first in the order of the columns).
    """

    name: str = "official"
    n_bins: int = 51
    max_tokens: int = 1200
    ties: TieRule = "expected"
    cls: bool = True
    keep: Literal["random", "top"] = "random"

    @property
    def room(self) -> int:
        """Genes read per cell at most."""
        return self.max_tokens - int(self.cls)

    @property
    def is_random(self) -> bool:
        """Whether the seed can matter."""
        return self.keep == "random" or (self.n_bins > 0 and self.ties == "seeded")

    def describe(self) -> dict[str, Any]:
        """Return the recipe as plain JSON values, for a manifest."""
        return asdict(self)


RECIPES = {
    "official": Recipe(),
    "official-seeded": Recipe(name="official-seeded", ties="seeded"),
    # The 12 layers of arXiv:2602.22247 were read like this: log-normalised values, 512 genes, no <cls>, no bins.
    "paper-2602.22247": Recipe(name="paper-2602.22247", n_bins=0, max_tokens=512, cls=False, keep="top"),
}
"""Every recipe by name; all of its fields are part of a cache's identity."""


def named_recipe(name: str, ties: str | None = None) -> Recipe:
    """Return the recipe called ``name``, with another tie rule where one is given.

    Raises:
        CacheError: for an unknown name or tie rule, or a tie rule for a recipe without bins.
    """
    if name not in RECIPES:
        raise CacheError(f"recipe '{name}' is unknown: choose one of {', '.join(RECIPES)}.")
    recipe = RECIPES[name]
    if ties is None or ties == recipe.ties:
        return recipe
    if recipe.n_bins == 0:
        raise CacheError(f"recipe '{name}' has no bins, so it has no tie rule '{ties}': leave the tie rule out.")
    chosen = next((rule for rule in TIE_RULES if rule == ties), None)
    if chosen is None:
        raise CacheError(f"tie rule '{ties}' is unknown: choose one of {', '.join(TIE_RULES)}.")
    plain = name.removesuffix("-seeded")
    return replace(recipe, name=plain if chosen == "expected" else f"{plain}-seeded", ties=chosen)


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
    genes: NDArray[np.integer[Any]],
    counts: NDArray[Any],
    recipe: Recipe,
    *,
    seed: int,
    cell: int,
    library_size: float | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Choose the genes of one cell and give each its value; ``<cls>`` is added by the caller.

    Args:
        genes: columns of the expressed genes, shape ``[k]``.
        counts: their counts, shape ``[k]``, all positive.
        recipe: what to read and as which values.
        seed: run seed; matters only for ``seeded`` ties and for random subsets of long cells.
        cell: index of the cell in its data set.
        library_size: counts of the cell over all measured genes, for unbinned values; their own sum when not given.

    Returns:
        ``(columns, values)``, int64 and float32, the same length, at most ``recipe.room``.
    """
    # Values come before the subset is drawn, as in the official preprocessing: a gene's bin never depends on the draw.
    values = _values(genes, counts, recipe, seed, cell, library_size)
    columns = genes.astype(np.int64)
    if len(columns) > recipe.room:
        kept = _kept(columns, counts, recipe, seed, cell)
        columns, values = columns[kept], values[kept]
    return columns, values


def _values(
    genes: NDArray[np.integer[Any]],
    counts: NDArray[Any],
    recipe: Recipe,
    seed: int,
    cell: int,
    library_size: float | None,
) -> NDArray[np.float32]:
    if recipe.n_bins == 0:
        total = float(counts.sum()) if library_size is None else library_size
        logged: NDArray[np.float32] = np.log1p(counts * (1e4 / max(total, 1.0))).astype(np.float32)
        return logged
    uniform = hashed_uniform(seed, cell, genes, stream=1) if recipe.ties == "seeded" else None
    return bin_counts(counts, recipe.n_bins, recipe.ties, uniform)


def _kept(columns: NDArray[np.int64], counts: NDArray[Any], recipe: Recipe, seed: int, cell: int) -> NDArray[np.intp]:
    """Positions of the genes that are read, increasing."""
    first = -counts.astype(np.float64) if recipe.keep == "top" else hashed_uniform(seed, cell, columns, stream=2)
    order = np.lexsort((columns, first))
    return np.sort(order[: recipe.room])
