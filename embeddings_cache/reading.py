"""From cells to what the model reads: which gene is which row and which token, and packed groups of cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import CacheError
from .recipes import CLS_VALUE, Recipe, hashed_uniform, tokens_of_cell

BLOCK_CELLS = 64
"""Cells are tokenised, sorted and packed in blocks of so many, always the same ones: the unit of shards and of resuming.

A matrix product may round differently in another company of tokens, so equal blocks are what makes equal bits.
"""


class CellSource(Protocol):
    """What extraction needs of cells; :class:`~hyposcreen.embeddings_cache.cells.Cells` is one, in memory."""

    @property
    def n_cells(self) -> int:
        """Number of cells."""

    @property
    def n_genes(self) -> int:
        """Number of genes."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """Gene symbols, unique, one per column."""

    @property
    def ensembl_ids(self) -> tuple[str, ...]:
        """Ensembl ids, one per column, empty text where unknown; or nothing at all."""

    @property
    def library_size(self) -> NDArray[np.float64]:
        """Counts per cell over all measured genes, ``[n_cells]``."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where the cells came from, plain JSON values."""

    @property
    def digest(self) -> str:
        """Sha256 (hex) over counts, library sizes and gene order."""

    def cell(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return ``(columns, counts)`` of the expressed genes of one cell."""

    def gene_summary(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return ``(mean log1p counts per 10,000, detected fraction)`` over all cells, ``[n_genes]`` each."""


@dataclass(frozen=True)
class Sequence:
    """Tokens of one cell.

    Attributes:
        genes: row of each token in the cache, -1 for ``<cls>``, int64 ``[k]``.
        ids: rows of the gene embedding, int64 ``[k]``.
        values: what each token carries, float32 ``[k]``.
        half: 0 or 1, the half of the cells this one belongs to.
    """

    genes: NDArray[np.int64]
    ids: NDArray[np.int64]
    values: NDArray[np.float32]
    half: int

    def __len__(self) -> int:
        """Number of tokens, ``<cls>`` included."""
        return len(self.ids)


@dataclass(frozen=True)
class Reader:
    """Turns cells into sequences.

    Attributes:
        cells: the counts.
        recipe: how a cell becomes tokens.
        seed: of random subsets, seeded ties and halves.
        columns: columns of ``cells`` that the vocabulary knows, increasing; their order is the row order of the cache.
        ids: row of the gene embedding of each of them.
        cls_id: row of ``<cls>``.
        row_of: row in the cache of each column, -1 where unknown; a control may send a column to another gene's row.
    """

    cells: CellSource
    recipe: Recipe
    seed: int
    columns: NDArray[np.int64]
    ids: NDArray[np.int64]
    cls_id: int
    row_of: NDArray[np.int64]

    @property
    def symbols(self) -> tuple[str, ...]:
        """Gene symbols by row of the cache."""
        return tuple(self.cells.symbols[column] for column in self.columns)

    @property
    def n_blocks(self) -> int:
        """Number of blocks that cover all cells."""
        return -(-self.cells.n_cells // BLOCK_CELLS)

    def block(self, index: int) -> list[Sequence]:
        """Return the sequences of one block of cells; a cell without a known gene gives none."""
        cells = range(index * BLOCK_CELLS, min((index + 1) * BLOCK_CELLS, self.cells.n_cells))
        return [sequence for cell in cells if (sequence := self.sequence(cell)) is not None]

    def sequence(self, cell: int) -> Sequence | None:
        """Return the tokens of one cell, or ``None`` if the model knows none of its genes."""
        columns, counts = self.cells.cell(cell)
        known = self.row_of[columns] >= 0
        if not known.any():
            return None
        chosen, values = tokens_of_cell(
            columns[known],
            counts[known],
            self.recipe,
            seed=self.seed,
            cell=cell,
            library_size=float(self.cells.library_size[cell]),
        )
        rows = self.row_of[chosen]
        ids = self.ids[rows]
        if self.recipe.cls:
            rows, ids = np.append(-1, rows), np.append(self.cls_id, ids)
            values = np.append(np.float32(CLS_VALUE), values)
        coin = hashed_uniform(self.seed, cell, np.zeros(1, dtype=np.int64), stream=3)[0]
        return Sequence(genes=rows, ids=ids, values=values, half=int(coin >= 0.5))


def make_reader(
    vocab: Mapping[str, int],
    cells: CellSource,
    recipe: Recipe,
    seed: int,
    *,
    model: str,
    permutation: NDArray[np.int64] | None = None,
) -> Reader:
    """Match genes to the vocabulary by name.

    Args:
        vocab: token to row of the gene embedding.
        cells: the counts.
        recipe: how a cell becomes tokens.
        seed: see :class:`Reader`.
        model: name of the model, for errors.
        permutation: for a control, row of the cache whose token stands in for each row, a permutation ``[n_rows]``.

    Raises:
        CacheError: if no gene of the cells is in the vocabulary.
    """
    columns = known_columns(vocab, cells, model)
    row_of = np.full(cells.n_genes, -1, dtype=np.int64)
    row_of[columns] = np.arange(len(columns)) if permutation is None else permutation
    ids = np.array([vocab[cells.symbols[column]] for column in columns], dtype=np.int64)
    return Reader(cells, recipe, seed, columns, ids, vocab["<cls>"], row_of)


def known_columns(vocab: Mapping[str, int], cells: CellSource, model: str) -> NDArray[np.int64]:
    """Return the columns of ``cells`` that the vocabulary has, increasing; raises ``CacheError`` if there is none."""
    known = np.flatnonzero([symbol in vocab for symbol in cells.symbols]).astype(np.int64)
    if not known.size:
        example = cells.symbols[0] if cells.symbols else "none"
        raise CacheError(
            f"none of the {cells.n_genes} genes (the first is '{example}') is in the vocabulary of {model}: "
            "give gene symbols, not Ensembl ids."
        )
    return known


def packed_groups(sequences: Iterable[Sequence], group_tokens: int) -> Iterator[list[Sequence]]:
    """Yield cells from the longest to the shortest in groups of at most ``group_tokens`` tokens, at least one cell."""
    group: list[Sequence] = []
    tokens = 0
    for sequence in sorted(sequences, key=lambda one: -len(one)):
        if group and tokens + len(sequence) > group_tokens:
            yield group
            group, tokens = [], 0
        group.append(sequence)
        tokens += len(sequence)
    if group:
        yield group
