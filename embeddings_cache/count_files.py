"""Files that hold counts: AnnData ``.h5ad``, 10x ``.h5``, 10x folders. Rows are read as they are asked for.

A :class:`CountFile` hands out rows of its matrix, names of its columns and labels of its rows, and judges none of them.
From ``.h5ad`` and ``.h5`` only the rows asked for come to memory, whatever the file holds beside them.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import CacheError

_PIECE = 1 << 23
"""Entries of a matrix stored by column that are looked at together: 96 MB at most."""


class Matrix(Protocol):
    """Counts ``[n_cells, n_columns]``."""

    @property
    def shape(self) -> tuple[int, int]:
        """Cells and columns."""

    @property
    def density(self) -> float:
        """Stored entries per cell."""

    def take(self, rows: NDArray[np.int64]) -> Any:
        """Rows as a SciPy CSR matrix; ``rows`` increase."""


@dataclass(frozen=True)
class CountFile:
    """One table of counts, open for reading.

    Attributes:
        source: how messages name it.
        matrix: the counts.
        names: the name of each column.
        columns: reads a column of the gene annotation by name, one text per gene.
        column_names: those that exist.
        obs: reads a column of the cell annotation by name, one text per cell.
        obs_names: those that exist.
        provenance: plain JSON values.
        elsewhere: where the same file holds other matrices: the option that chooses each, and a reader of it.
        keep: columns that hold genes and not, for example, antibodies; all of them when not given.
    """

    source: str
    matrix: Matrix
    names: tuple[str, ...]
    columns: Callable[[str], tuple[str, ...]]
    column_names: tuple[str, ...]
    obs: Callable[[str], tuple[str, ...]]
    obs_names: tuple[str, ...]
    provenance: dict[str, Any]
    elsewhere: dict[str, Callable[[], Matrix]] = field(default_factory=dict)
    keep: NDArray[np.bool_] | None = None


def open_counts(source: Any, layer: str | None = None) -> CountFile:
    """Open an ``.h5ad`` or 10x ``.h5`` file, a 10x folder, or an AnnData object.

    Args:
        source: the path, or the object.
        layer: the layer of an AnnData with raw counts; ``raw`` means ``.raw`` where no layer is called so; ``X`` when
            not given.

    Raises:
        CacheError: if it is missing, unreadable, of no known format, or has no such layer.
    """
    if not isinstance(source, str | Path):
        return _from_object(source, layer)
    path = Path(source)
    if not path.exists():
        raise CacheError(f"{path} does not exist: give an .h5ad file, a 10x .h5 file or a 10x folder.")
    try:
        if path.is_dir():
            if layer is not None:
                raise CacheError(f"{path} is a 10x folder, which has no layer '{layer}': leave the layer out.")
            return _from_folder(path)
        return _from_hdf5(path, layer)
    except (OSError, KeyError, ValueError, EOFError) as error:
        if isinstance(error, CacheError):
            raise
        raise CacheError(
            f"{path} cannot be read ({str(error).splitlines()[0] if str(error) else type(error).__name__}): give an .h5ad "
            "file, a 10x .h5 file or a 10x folder, and see whether it was copied whole."
        ) from error


# matrices


@dataclass(frozen=True)
class InMemory:
    """A dense or SciPy-sparse matrix."""

    table: Any

    @property
    def shape(self) -> tuple[int, int]:
        """Cells and columns."""
        return int(self.table.shape[0]), int(self.table.shape[1])

    @property
    def density(self) -> float:
        """Stored entries per cell."""
        return float(getattr(self.table, "nnz", self.shape[0] * self.shape[1])) / max(self.shape[0], 1)

    def take(self, rows: NDArray[np.int64]) -> Any:
        """Rows as CSR."""
        from scipy import sparse

        return sparse.csr_matrix(self.table[rows])


@dataclass(frozen=True)
class DenseOnDisk:
    """An HDF5 data set."""

    data: Any

    @property
    def shape(self) -> tuple[int, int]:
        """Cells and columns."""
        return int(self.data.shape[0]), int(self.data.shape[1])

    @property
    def density(self) -> float:
        """Entries per cell."""
        return float(self.shape[1])

    def take(self, rows: NDArray[np.int64]) -> Any:
        """Rows as CSR."""
        from scipy import sparse

        parts = [self.data[start:stop] for start, stop in _runs(rows)]
        return sparse.csr_matrix(np.concatenate(parts) if parts else np.zeros((0, self.shape[1])))


@dataclass(frozen=True)
class _SparseOnDisk:
    """An HDF5 group that holds a sparse matrix; ``offsets`` is int64, one more than there are rows or columns."""

    group: Any
    shape: tuple[int, int]
    offsets: NDArray[np.int64]

    @property
    def density(self) -> float:
        """Stored entries per cell."""
        return float(self.offsets[-1]) / max(self.shape[0], 1)


@dataclass(frozen=True)
class ByRowOnDisk(_SparseOnDisk):
    """An HDF5 group with a matrix stored by cell; ``offsets`` is int64 ``[n_cells + 1]``."""

    def take(self, rows: NDArray[np.int64]) -> Any:
        """Rows as CSR."""
        from scipy import sparse

        spans = [(int(self.offsets[start]), int(self.offsets[stop])) for start, stop in _runs(rows)]
        parts = {
            name: np.concatenate([self.group[name][a:b] for a, b in spans] or [self.group[name][:0]])
            for name in ("data", "indices")
        }
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        return sparse.csr_matrix((parts["data"], parts["indices"], indptr), shape=(len(rows), self.shape[1]))


@dataclass(frozen=True)
class ByGeneOnDisk(_SparseOnDisk):
    """An HDF5 group with a matrix stored by gene; every call reads the whole of it in pieces."""

    def take(self, rows: NDArray[np.int64]) -> Any:
        """Rows as CSR."""
        from scipy import sparse

        place = np.full(self.shape[0], -1, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        found: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = []
        for start in range(0, int(self.offsets[-1]), _PIECE):
            stop = min(start + _PIECE, int(self.offsets[-1]))
            at = place[self.group["indices"][start:stop]]
            kept = np.flatnonzero(at >= 0)
            genes = np.searchsorted(self.offsets, kept + start, side="right") - 1
            found.append((self.group["data"][start:stop][kept], at[kept], genes))
        if not found:
            return sparse.csr_matrix((len(rows), self.shape[1]))
        data, at, genes = (np.concatenate(part) for part in zip(*found, strict=True))
        return sparse.csr_matrix((data, (at, genes)), shape=(len(rows), self.shape[1]))


def _runs(rows: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Increasing rows as ``(start, stop)`` of stretches without a gap."""
    if len(rows):
        cuts = np.flatnonzero(np.diff(rows) != 1) + 1
        for run in np.split(rows, cuts):
            yield int(run[0]), int(run[-1]) + 1


# AnnData


def _from_hdf5(path: Path, layer: str | None) -> CountFile:
    try:
        import h5py
    except ImportError as error:
        raise CacheError(f"{path} needs the package h5py to be read: pip install 'hyposcreen[scgpt]'.") from error
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise CacheError(
            f"{path} cannot be read as .h5ad or .h5 ({error}): copy it again, or save it again with anndata."
        ) from error
    if "X" in file or "layers" in file:
        return _from_h5ad(file, path, layer)
    if layer is not None:
        raise CacheError(f"{path} is a 10x file, which has no layer '{layer}': leave the layer out.")
    return _from_10x_h5(file, path)


def _from_h5ad(file: Any, path: Path, layer: str | None) -> CountFile:
    try:
        from anndata.io import read_elem
    except ImportError as error:
        raise CacheError(f"{path} needs the package anndata to be read: pip install 'hyposcreen[scgpt]'.") from error
    layers = list(file.get("layers", {}))
    has_raw = "raw" in file and "X" in file["raw"]
    use_raw = _is_raw(layer, layers, has_raw, str(path))
    node = file["raw/X"] if use_raw else file[f"layers/{layer}"] if layer else file.get("X")
    if node is None or getattr(node, "shape", ()) is None:
        raise CacheError(f"{path} has no matrix X: choose one of its layers ({', '.join(layers) or 'it has none'}).")
    var = file["raw/var"] if use_raw else file["var"]

    def column_of(table: Any) -> Callable[[str], tuple[str, ...]]:
        return lambda name: _texts(read_elem(table[name]))

    options: dict[str, Callable[[], Matrix]] = {"X": partial(_matrix, file["X"], path)} if "X" in file else {}
    options |= {name: partial(_matrix, file[f"layers/{name}"], path) for name in layers}
    options |= {"raw": partial(_matrix, file["raw/X"], path)} if has_raw else {}
    chosen = "raw" if use_raw else layer or "X"
    return CountFile(
        source=str(path) if layer is None else f"{path} (layer '{layer}')",
        matrix=_matrix(node, path),
        names=column_of(var)(var.attrs.get("_index", "_index")),
        columns=column_of(var),
        column_names=_column_names(var),
        obs=column_of(file["obs"]),
        obs_names=_column_names(file["obs"]),
        provenance={"source": path.name, "layer": chosen},
        elsewhere={name: reader for name, reader in options.items() if name != chosen},
    )


def _is_raw(layer: str | None, layers: Sequence[str], has_raw: bool, source: str) -> bool:
    if layer is None or layer in layers:
        return False
    if layer in ("raw", ".raw") and has_raw:
        return True
    known = ", ".join([*layers, *(["raw"] if has_raw else [])])
    raise CacheError(f"{source} has no layer '{layer}': choose one of {known or 'X only'}.")


def _column_names(table: Any) -> tuple[str, ...]:
    index = table.attrs.get("_index", "_index")
    return tuple(name for name in table if name != index and not name.startswith("__"))


def _matrix(node: Any, path: Path) -> Matrix:
    kind = str(node.attrs.get("encoding-type", node.attrs.get("h5sparse_format", "array")))
    if not hasattr(node, "keys"):
        if node.ndim != 2:
            raise CacheError(f"{path} holds a matrix of shape {node.shape}: give cells by genes.")
        return DenseOnDisk(node)
    shape = tuple(int(n) for n in node.attrs.get("shape", node.attrs.get("h5sparse_shape", ())))
    makers: dict[str, type[ByRowOnDisk | ByGeneOnDisk]] = {"csr": ByRowOnDisk, "csc": ByGeneOnDisk}
    make = makers.get(kind[:3])
    if make is None or len(shape) != 2:
        raise CacheError(f"{path} stores its matrix as '{kind}': save it as a dense, CSR or CSC matrix.")
    return make(node, (shape[0], shape[1]), node["indptr"][:].astype(np.int64))


def _texts(values: Any) -> tuple[str, ...]:
    """One text per entry; what is missing becomes ``NA``."""
    import pandas

    series = pandas.Series(values)
    return tuple("NA" if missing else str(value) for value, missing in zip(series, series.isna(), strict=True))


def _from_object(data: Any, layer: str | None) -> CountFile:
    if not (hasattr(data, "obs") and hasattr(data, "var")):
        raise CacheError(f"cells of type {type(data).__name__} cannot be read: give a path or an AnnData object.")
    if getattr(data, "isbacked", False):
        return open_counts(data.filename, layer)
    has_raw = data.raw is not None
    use_raw = _is_raw(layer, list(data.layers), has_raw, "the AnnData object")
    table = data.raw.X if use_raw else data.layers[layer] if layer else data.X
    if table is None:
        raise CacheError(f"the AnnData object has no X: choose a layer ({', '.join(data.layers) or 'it has none'}).")
    var = data.raw.var if use_raw else data.var
    chosen = "raw" if use_raw else layer or "X"
    options: dict[str, Callable[[], Matrix]] = {name: partial(InMemory, data.layers[name]) for name in data.layers}
    options |= {"X": partial(InMemory, data.X)} if data.X is not None else {}
    options |= {"raw": partial(InMemory, data.raw.X)} if has_raw else {}
    return CountFile(
        source="the AnnData object" if layer is None else f"the AnnData object (layer '{layer}')",
        matrix=InMemory(table),
        names=_texts(var.index),
        columns=lambda name: _texts(var[name].to_numpy()),
        column_names=tuple(map(str, var.columns)),
        obs=lambda name: _texts(data.obs[name].to_numpy()),
        obs_names=tuple(map(str, data.obs.columns)),
        provenance={"source": "AnnData object", "layer": chosen},
        elsewhere={name: reader for name, reader in options.items() if name != chosen},
    )


# 10x


def _from_10x_h5(file: Any, path: Path) -> CountFile:
    groups = [name for name in file if hasattr(file[name], "keys") and "indptr" in file[name]]
    if len(groups) != 1:
        raise CacheError(f"{path} is neither an AnnData nor a 10x file with one matrix: give one that is.")
    group = file[groups[0]]
    genes, cells = (int(n) for n in group["shape"][:])
    if "features" in group:
        table = {name: _decoded(group["features"][name]) for name in ("id", "name", "feature_type")}
    else:  # before Cell Ranger 3
        table = {"id": _decoded(group["genes"]), "name": _decoded(group["gene_names"])}
        table["feature_type"] = ("Gene Expression",) * genes
    matrix = ByRowOnDisk(group, (cells, genes), group["indptr"][:].astype(np.int64))
    return _from_features(path, matrix, table)


def _decoded(data: Any) -> tuple[str, ...]:
    return tuple(value.decode() if isinstance(value, bytes) else str(value) for value in data[:])


def _from_folder(path: Path) -> CountFile:
    from scipy import io

    matrix = _one_of(path, "matrix.mtx", "matrix.mtx.gz")
    features = _one_of(path, "features.tsv", "features.tsv.gz", "genes.tsv")
    counts = io.mmread(matrix).T.tocsr()
    opened = gzip.open if features.suffix == ".gz" else open
    with opened(features, "rt", encoding="utf-8") as lines:
        rows = [line.rstrip("\n").split("\t") for line in lines]
    if len(rows) != counts.shape[1]:
        raise CacheError(
            f"{features} names {len(rows)} genes and {matrix} has {counts.shape[1]} rows: copy both again."
        )
    short = next((number for number, row in enumerate(rows, start=1) if len(row) < 2), None)
    if short is not None:
        raise CacheError(
            f"{features} line {short} has no tab: give an id and a name on each line, as Cell Ranger does."
        )
    table = {
        "id": tuple(row[0] for row in rows),
        "name": tuple(row[1] for row in rows),
        "feature_type": tuple(row[2] if len(row) > 2 else "Gene Expression" for row in rows),
    }
    return _from_features(path, InMemory(counts), table)


def _one_of(folder: Path, *names: str) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise CacheError(f"{folder} holds none of {', '.join(names)}: give a folder that Cell Ranger wrote.")


def _from_features(path: Path, matrix: Matrix, table: dict[str, tuple[str, ...]]) -> CountFile:
    def nothing(name: str) -> tuple[str, ...]:
        raise KeyError(name)

    return CountFile(
        source=str(path),
        matrix=matrix,
        names=table["name"],
        columns=lambda name: table[name],
        column_names=tuple(table),
        obs=nothing,
        obs_names=(),
        provenance={"source": path.name, "format": "10x"},
        keep=np.array([kind == "Gene Expression" for kind in table["feature_type"]], dtype=np.bool_),
    )
