"""Cells to read: raw counts with gene symbols, labels and where they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CacheError

MAX_COUNT = 2**31 - 1
"""Largest count that is stored."""


@dataclass(frozen=True)
class Cells:
    """Integer counts of ``n_cells`` x ``n_genes``, compressed by row.

    Attributes:
        values: positive counts, int32 ``[nnz]``.
        columns: gene of each count, int32 ``[nnz]``, increasing inside a cell.
        offsets: where each cell begins in ``values``, int64 ``[n_cells + 1]``.
        symbols: gene symbols, unique, length ``n_genes``.
        library_size: counts per cell used for normalisation, float64 ``[n_cells]``; it can exceed the row sum when the
            table holds only some of the measured genes.
        labels: cell labels such as cell types, length ``n_cells``, or empty.
        provenance: plain JSON values that say where the cells came from.
        obs: further labels by name, each of length ``n_cells``; what cells can be selected by.
        ensembl_ids: one per gene, empty text where unknown; or nothing at all. No part of the digest.
    """

    values: NDArray[np.int32]
    columns: NDArray[np.int32]
    offsets: NDArray[np.int64]
    symbols: tuple[str, ...]
    library_size: NDArray[np.float64]
    labels: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    obs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ensembl_ids: tuple[str, ...] = ()

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.offsets) - 1

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return len(self.symbols)

    @property
    def digest(self) -> str:
        """Sha256 (hex) over counts, library sizes and gene order."""
        sha = hashlib.sha256()
        for array, kind in (
            (self.values, "<i4"),
            (self.columns, "<i4"),
            (self.offsets, "<i8"),
            (self.library_size, "<f8"),
        ):
            sha.update(np.ascontiguousarray(array, dtype=kind).tobytes())
        sha.update("\n".join(self.symbols).encode())
        return sha.hexdigest()

    def cell(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return ``(columns, counts)`` of the expressed genes of one cell."""
        span = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        return self.columns[span], self.values[span]

    def select(self, rows: NDArray[np.int64], **facts: Any) -> Cells:
        """Return the cells ``rows`` (increasing); ``facts`` are added to the provenance."""
        lengths = np.diff(self.offsets)[rows]
        starts = np.repeat(self.offsets[rows] - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
        kept = (np.arange(int(lengths.sum())) + starts).astype(np.int64)
        return Cells(
            values=self.values[kept],
            columns=self.columns[kept],
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            symbols=self.symbols,
            library_size=self.library_size[rows],
            labels=tuple(self.labels[row] for row in rows) if self.labels else (),
            provenance={**self.provenance, **facts},
            obs={name: tuple(column[row] for row in rows) for name, column in self.obs.items()},
            ensembl_ids=self.ensembl_ids,
        )

    def gene_summary(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return ``(mean log1p counts per 10,000, detected fraction)`` over all cells, float64 ``[n_genes]`` each."""
        per_count = np.repeat(1e4 / np.maximum(self.library_size, 1.0), np.diff(self.offsets))
        logged = np.log1p(self.values * per_count)
        total = np.bincount(self.columns, weights=logged, minlength=self.n_genes)
        seen = np.bincount(self.columns, minlength=self.n_genes)
        return total / max(self.n_cells, 1), seen / max(self.n_cells, 1)


def cells_from_counts(
    matrix: Any,
    symbols: tuple[str, ...],
    *,
    source: str,
    labels: tuple[str, ...] = (),
    library_size: NDArray[np.float64] | None = None,
    provenance: Mapping[str, Any] | None = None,
    obs: Mapping[str, tuple[str, ...]] | None = None,
) -> Cells:
    """Check a dense or SciPy-sparse count matrix ``[cells, genes]`` and wrap it.

    Args:
        matrix: counts; integers in any number type.
        symbols: one symbol per column.
        source: how error messages name the data, for example a file path.
        labels: one label per cell, or empty.
        library_size: counts per cell over all measured genes; the row sums when not given.
        provenance: plain JSON values kept in the cache manifest.
        obs: further labels by name, one per cell each.

    Raises:
        CacheError: for negative, fractional or non-finite entries, a shape that does not fit, or repeated symbols.
    """
    from scipy import sparse

    table = sparse.csr_matrix(matrix)
    table.sum_duplicates()
    table.eliminate_zeros()
    check_counts(np.asarray(table.data), source)
    if table.shape[1] != len(symbols):
        raise CacheError(f"{source} has {table.shape[1]} columns but {len(symbols)} gene symbols: give one per column.")
    if len(set(symbols)) != len(symbols):
        repeated = next(s for s in symbols if symbols.count(s) > 1)
        raise CacheError(f"{source} names gene '{repeated}' more than once: make gene symbols unique first.")
    if labels and len(labels) != table.shape[0]:
        raise CacheError(f"{source} has {table.shape[0]} cells but {len(labels)} labels: give one per cell or none.")
    row_sums = np.asarray(table.sum(axis=1), dtype=np.float64).ravel()
    return Cells(
        values=np.asarray(table.data).astype(np.int32),
        columns=np.asarray(table.indices).astype(np.int32),
        offsets=np.asarray(table.indptr).astype(np.int64),
        symbols=symbols,
        library_size=row_sums if library_size is None else np.asarray(library_size, dtype=np.float64),
        labels=labels,
        provenance=dict(provenance or {"source": source}),
        obs=dict(obs or {}),
    )


GIVE_COUNTS = "give raw counts, for example with layer='counts' or by saving them in X before normalising."


def check_counts(data: NDArray[Any], source: str, mend: str = GIVE_COUNTS) -> None:
    """Raise ``CacheError`` unless all entries are whole, non-negative and small enough to be counts."""
    if not np.isfinite(data).all():
        raise CacheError(f"{source} holds a value that is not finite: {mend}")
    if data.size and float(data.min()) < 0:
        raise CacheError(f"{source} holds {float(data.min()):g}, so it was scaled or regressed: {mend}")
    fractional = data[data != np.round(data)]
    if fractional.size:
        raise CacheError(f"{source} holds {float(fractional[0]):g}, which is no whole number of molecules: {mend}")
    if data.size and float(data.max()) > MAX_COUNT:
        raise CacheError(f"{source} holds {float(data.max()):g}, more than any cell has molecules: {mend}")


def demo_cells() -> Cells:
    """Return the 700 PBMCs x 765 genes that lie inside scanpy's own package (needs scanpy, no network).

    scanpy stores them as log1p counts per 10,000; the stored totals undo that to whole numbers.

    Raises:
        CacheError: if scanpy is not installed, or its file no longer gives whole numbers.
    """
    try:
        import scanpy
    except ImportError as error:
        raise CacheError("the demo cells come with scanpy, which is not installed: pip install scanpy.") from error
    data = scanpy.datasets.pbmc68k_reduced()
    totals = data.obs["n_counts"].to_numpy(dtype=np.float64)
    exact = np.expm1(data.raw.X.toarray().astype(np.float64)) * totals[:, None] / 1e4
    counts = np.round(exact)
    # scanpy's file rounds its logarithms; the worst of 535,500 values lands 0.08 from a whole number.
    if float(np.abs(exact - counts).max()) > 0.25:
        raise CacheError("scanpy's pbmc68k_reduced no longer gives whole counts: use scanpy 1.11.")
    return cells_from_counts(
        counts.astype(np.int32),
        tuple(str(name) for name in data.raw.var_names),
        source="scanpy.datasets.pbmc68k_reduced()",
        labels=tuple(str(label) for label in data.obs["bulk_labels"]),
        library_size=totals,
        provenance={
            "source": "scanpy.datasets.pbmc68k_reduced()",
            "origin": "10x Genomics, Fresh 68k PBMCs (Donor A)",
            "licence": "CC BY 4.0",
        },
        obs={"bulk_labels": tuple(str(label) for label in data.obs["bulk_labels"])},
    )
