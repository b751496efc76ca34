"""Cells that stay in their file: rows come to memory in blocks, so a million cells need no more room than a thousand.

What grows with the number of cells is 24 bytes a cell: its row, its library size and its length.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cells import GIVE_COUNTS, Cells, check_counts
from .count_files import ByGeneOnDisk, CountFile, open_counts
from .errors import CacheError
from .gene_names import (
    ENSEMBL_COLUMNS,
    NO_ALIASES,
    Aliases,
    Duplicates,
    GeneMap,
    ensembl_ids,
    is_ensembl,
    map_genes,
    symbol_column,
)

BLOCK_ENTRIES = 1 << 22
"""Counts held at a time, about; a matrix stored by gene is read whole for each block, so there blocks are larger."""
_BY_GENE = 4
_LOOKED_AT = 64


@dataclass(frozen=True, eq=False)
class StreamedCells:
    """Counts in a file, with the interface of :class:`~hyposcreen.embeddings_cache.cells.Cells`.

    Make one with :func:`read_cells`. Every block is checked to hold counts when it is read. Reading is safe from several
    threads; cells are cheap to read in increasing order.

    Attributes:
        file: the open file.
        genes: which gene each of its columns counts.
        rows: rows of the file that are the cells, int64, increasing.
        provenance: plain JSON values that say where the cells came from.
        ensembl_ids: one per gene, empty text where the file has none; or nothing at all.
    """

    file: CountFile
    genes: GeneMap
    rows: NDArray[np.int64]
    provenance: Mapping[str, Any]
    ensembl_ids: tuple[str, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _held: dict[int, tuple[Any, Any, Any]] = field(default_factory=dict, init=False, repr=False)

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.rows)

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return len(self.genes.symbols)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Gene symbols, unique."""
        return self.genes.symbols

    @property
    def labels(self) -> tuple[str, ...]:
        """No labels are kept; :attr:`obs` reads them by name."""
        return ()

    @cached_property
    def obs(self) -> Mapping[str, tuple[str, ...]]:
        """Labels of the cells by name; a column is read when it is looked up."""
        return _Labels(self.file, self.rows)

    @cached_property
    def block_cells(self) -> int:
        """Cells read together."""
        room = BLOCK_ENTRIES * (_BY_GENE if isinstance(self.file.matrix, ByGeneOnDisk) else 1)
        return int(max(1, min(1 << 16, room // max(self.file.matrix.density, 1.0))))

    def select(self, rows: NDArray[np.int64], **facts: Any) -> StreamedCells:
        """Return the cells ``rows`` (increasing positions); ``facts`` are added to the provenance."""
        return replace(self, rows=self.rows[rows], provenance={**self.provenance, **facts})

    def load(self) -> Cells:
        """Return the cells in memory."""
        blocks = list(self._blocks())
        joined = [np.concatenate([block[part] for block in blocks]) for part in (0, 1, 2)]
        return Cells(
            values=joined[0],
            columns=joined[1],
            offsets=np.concatenate([[0], np.cumsum(joined[2])]).astype(np.int64),
            symbols=self.symbols,
            library_size=self.library_size,
            provenance=self.provenance,
            obs={name: self.obs[name] for name in self.obs},
            ensembl_ids=self.ensembl_ids,
        )

    def cell(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return ``(columns, counts)`` of the expressed genes of one cell."""
        if not 0 <= index < self.n_cells:
            raise IndexError(f"cell {index} of {self.n_cells}")
        block, place = divmod(index, self.block_cells)
        with self._lock:
            if block not in self._held:
                values, columns, lengths = self._block(block)
                self._held.clear()
                self._held[block] = (values, columns, np.concatenate([[0], np.cumsum(lengths)]))
            values, columns, offsets = self._held[block]
        span = slice(int(offsets[place]), int(offsets[place + 1]))
        return columns[span], values[span]

    @property
    def library_size(self) -> NDArray[np.float64]:
        """Counts per cell over all genes, float64 ``[n_cells]``."""
        return self._scan.library_size

    @cached_property
    def digest(self) -> str:
        """The digest that :class:`~hyposcreen.embeddings_cache.cells.Cells` would have; reads the file a second time."""
        scan = self._scan
        sha = scan.values_sha.copy()
        for _, columns, _ in self._blocks():
            sha.update(columns.astype("<i4").tobytes())
        sha.update(np.concatenate([[0], np.cumsum(scan.lengths)]).astype("<i8").tobytes())
        sha.update(scan.library_size.astype("<f8").tobytes())
        sha.update("\n".join(self.symbols).encode())
        return str(sha.hexdigest())

    def gene_summary(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return ``(mean log1p counts per 10,000, detected fraction)`` over all cells, float64 ``[n_genes]`` each."""
        return self._scan.logged / max(self.n_cells, 1), self._scan.seen / max(self.n_cells, 1)

    @cached_property
    def _scan(self) -> _Scan:
        """One pass over all cells."""
        sha = hashlib.sha256()
        logged, seen = np.zeros(self.n_genes), np.zeros(self.n_genes)
        sizes, lengths = [], []
        for values, columns, length in self._blocks():
            sha.update(values.astype("<i4").tobytes())
            cells = np.repeat(np.arange(len(length)), length)
            size = np.bincount(cells, weights=values, minlength=len(length))
            # One after another, so that blocks of any size add up to the bits that one block gives.
            np.add.at(logged, columns, np.log1p(values * (1e4 / np.maximum(size, 1.0))[cells]))
            np.add.at(seen, columns, 1.0)
            sizes.append(size)
            lengths.append(length)
        return _Scan(sha, np.concatenate(sizes), np.concatenate(lengths), logged, seen)

    def _blocks(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]]:
        for block in range(-(-self.n_cells // self.block_cells)):
            yield self._block(block)

    def _block(self, block: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
        """Values, genes and lengths of the cells of one block; genes increase inside a cell."""
        from scipy import sparse

        rows = self.rows[block * self.block_cells : (block + 1) * self.block_cells]
        table = self.file.matrix.take(rows)
        _check(self.file, table.data)
        genes = self.genes.gene_of[table.indices]
        kept = (genes >= 0) & (table.data != 0)
        cells = np.repeat(np.arange(len(rows)), np.diff(table.indptr))[kept]
        entries = (np.asarray(table.data)[kept].astype(np.int64), (cells, genes[kept]))
        final = sparse.csr_matrix(entries, shape=(len(rows), self.n_genes))  # adds up what falls on one place
        final.sort_indices()
        check_counts(final.data, self.file.source)
        lengths = np.diff(final.indptr).astype(np.int64)
        return final.data.astype(np.int32), final.indices.astype(np.int32), lengths


@dataclass(frozen=True, eq=False)
class _Scan:
    values_sha: Any
    library_size: NDArray[np.float64]
    lengths: NDArray[np.int64]
    logged: NDArray[np.float64]
    seen: NDArray[np.float64]


class _Labels(Mapping[str, tuple[str, ...]]):
    """Columns of the cell annotation at some rows."""

    def __init__(self, file: CountFile, rows: NDArray[np.int64]) -> None:
        self._file, self._rows = file, rows

    def __getitem__(self, name: str) -> tuple[str, ...]:
        if name not in self._file.obs_names:
            raise KeyError(name)
        column = self._file.obs(name)
        return tuple(column[row] for row in self._rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.obs_names)

    def __len__(self) -> int:
        return len(self._file.obs_names)


def _check(file: CountFile, data: Any) -> None:
    try:
        check_counts(np.asarray(data), file.source)
    except CacheError:
        check_counts(np.asarray(data), file.source, where_counts_are(file))  # looking there takes time


def where_counts_are(file: CountFile) -> str:
    """Say how to give counts: the option that names another matrix of the file which holds them, where there is one."""
    for name, reader in file.elsewhere.items():
        matrix = reader()
        try:
            data = np.asarray(matrix.take(np.arange(min(_LOOKED_AT, matrix.shape[0]), dtype=np.int64)).data)
            check_counts(data, "")
        except CacheError:
            continue
        if data.size:
            chosen = "without a layer, as X" if name == "X" else f"in layer '{name}': --layer {name}"
            return f"give raw counts, which this file has {chosen}."
    return GIVE_COUNTS


def read_cells(
    source: Any,
    *,
    layer: str | None = None,
    gene_column: str | None = None,
    aliases: Aliases = NO_ALIASES,
    duplicates: Duplicates = "sum",
) -> StreamedCells:
    """Open raw counts from an ``.h5ad`` or 10x ``.h5`` file, a 10x folder, or an AnnData object.

    Args:
        source: the path, or the object.
        layer: the layer with raw counts; ``raw`` means ``.raw``; ``X`` when not given.
        gene_column: column of ``var`` with gene names. When not given: the index, or, where that holds Ensembl ids, the
            first column with a usual name for symbols.
        aliases: names to replace, see :func:`~hyposcreen.embeddings_cache.gene_names.read_aliases`.
        duplicates: add up the columns of one gene, or refuse them.

    Raises:
        CacheError: if the file, layer or column is missing or unreadable, has no cell, a blank or refused gene name, or
            its first cells hold no counts (later cells are checked when they are read).
    """
    file = open_counts(source, layer)
    names = _names(file, gene_column)
    genes = map_genes(names[1], file.source, aliases=aliases, duplicates=duplicates, keep=file.keep)
    n_cells, n_columns = file.matrix.shape
    if not n_cells or not genes.symbols:
        raise CacheError(f"{file.source} holds {n_cells} cells and {len(genes.symbols)} genes: give some of both.")
    if n_columns != len(names[1]):
        raise CacheError(f"{file.source} has {n_columns} columns but {len(names[1])} gene names: save it again.")
    cells = StreamedCells(
        file=file,
        genes=genes,
        rows=np.arange(n_cells, dtype=np.int64),
        provenance={**file.provenance, "gene_names": names[0], **genes.facts},
        ensembl_ids=genes.ids_of(_ensembl_of_columns(file)),
    )
    first = cells.select(np.arange(min(_LOOKED_AT, n_cells), dtype=np.int64))
    _check(file, file.matrix.take(first.rows).data)
    return cells


def _names(file: CountFile, gene_column: str | None) -> tuple[str, tuple[str, ...]]:
    """Which column names the genes, and the names."""
    column = gene_column if gene_column is not None else symbol_column(file.names, file.column_names)
    if column is None:
        return "index", file.names
    if column not in file.column_names:
        raise CacheError(
            f"{file.source} has no var column '{column}': choose one of {', '.join(file.column_names) or 'none'}."
        )
    return column, file.columns(column)


def _ensembl_of_columns(file: CountFile) -> tuple[str, ...]:
    """Ensembl id of each column, from the index or the first column that holds some; nothing known is all blank."""
    if is_ensembl(file.names):
        return ensembl_ids(file.names)
    for column in ENSEMBL_COLUMNS:
        if column in file.column_names and is_ensembl(names := file.columns(column)):
            return ensembl_ids(names)
    return ("",) * len(file.names)


def cells_from_h5ad(path: str | Path, layer: str | None = None, symbol_column: str | None = None) -> Cells:
    """Read raw counts from an AnnData file into memory; see :func:`read_cells`. Repeated gene names are refused."""
    return read_cells(Path(path), layer=layer, gene_column=symbol_column, duplicates="refuse").load()
