"""Cells to read: raw counts with gene symbols, labels and where they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CacheError


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
    """

    values: NDArray[np.int32]
    columns: NDArray[np.int32]
    offsets: NDArray[np.int64]
    symbols: tuple[str, ...]
    library_size: NDArray[np.float64]
    labels: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

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
) -> Cells:
    """Check a dense or SciPy-sparse count matrix ``[cells, genes]`` and wrap it.

    Args:
        matrix: counts; integers in any number type.
        symbols: one symbol per column.
        source: how error messages name the data, for example a file path.
        labels: one label per cell, or empty.
        library_size: counts per cell over all measured genes; the row sums when not given.
        provenance: plain JSON values kept in the cache manifest.

    Raises:
        CacheError: for negative, fractional or non-finite entries, a shape that does not fit, or repeated symbols.
    """
    from scipy import sparse

    table = sparse.csr_matrix(matrix)
    table.sum_duplicates()
    table.eliminate_zeros()
    _check_counts(np.asarray(table.data), source)
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
    )


def _check_counts(data: NDArray[Any], source: str) -> None:
    mend = "give raw counts, for example with layer='counts' or by saving them in X before normalising."
    if not np.isfinite(data).all():
        raise CacheError(f"{source} holds a value that is not finite: {mend}")
    if data.size and float(data.min()) < 0:
        raise CacheError(f"{source} holds {float(data.min()):g}, so it was scaled or regressed: {mend}")
    fractional = data[data != np.round(data)]
    if fractional.size:
        raise CacheError(f"{source} holds {float(fractional[0]):g}, which is no whole number of molecules: {mend}")


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
    )


def cells_from_h5ad(path: str | Path, layer: str | None = None, symbol_column: str | None = None) -> Cells:
    """Read raw counts from an AnnData file (needs anndata, which scanpy brings).

    Args:
        path: the ``.h5ad`` file.
        layer: the layer that holds raw counts; ``X`` when not given.
        symbol_column: column of ``var`` with gene symbols; the index of ``var`` when not given.

    Raises:
        CacheError: if the file, layer or column is missing, or the values are not whole, non-negative counts.
    """
    path = Path(path)
    if not path.is_file():
        raise CacheError(f"{path} does not exist: give the path of an .h5ad file.")
    try:
        import anndata
    except ImportError as error:
        raise CacheError(f"{path} needs the package anndata to be read: pip install scanpy.") from error
    try:
        data = anndata.read_h5ad(path)
    except (OSError, KeyError, ValueError) as error:
        raise CacheError(f"{path} cannot be read as .h5ad ({error}): save it again with anndata.") from error
    if layer is not None and layer not in data.layers:
        raise CacheError(f"{path} has no layer '{layer}': choose one of {', '.join(data.layers) or 'X only'}.")
    if symbol_column is not None and symbol_column not in data.var:
        raise CacheError(f"{path} has no var column '{symbol_column}': choose one of {', '.join(data.var)}.")
    names = data.var_names if symbol_column is None else data.var[symbol_column]
    return cells_from_counts(
        data.X if layer is None else data.layers[layer],
        tuple(str(name) for name in names),
        source=str(path) if layer is None else f"{path} (layer '{layer}')",
        provenance={"source": path.name, "layer": layer or "X"},
    )
