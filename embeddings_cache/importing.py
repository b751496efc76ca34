"""Caches of other models: arrays and an explicit gene list become a cache that passes the same preflight as our own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import read_layers
from .errors import CacheError
from .gene_list import NUMBERS, GeneList, checked, fit, read_gene_list
from .gene_names import NO_ALIASES, Aliases, ensembl_ids, is_ensembl, without_version
from .genes import UNKNOWN_CELLS, GeneTable
from .preflight import preflight
from .store import STORE, Cache, check_name, write_cache

MATCHED_BY = {"mean_expression": "expression", "detection": "detection"}
"""Column of the gene table → what the stratified null matches by it."""


@dataclass(frozen=True)
class Imported:
    """A new cache, and what a person should know of it."""

    cache: Cache
    remarks: tuple[str, ...]


def import_cache(
    files: Sequence[str | Path],
    name: str,
    folder: str | Path,
    *,
    genes: Sequence[str | Path] = (),
    layers: Sequence[str] = (),
    table: str | Path | None = None,
    aliases: Aliases = NO_ALIASES,
    model: str | None = None,
    despite: str | None = None,
) -> Imported:
    """Make a cache of arrays that another program wrote.

    Args:
        files: one file with all layers, or one file per layer in their order.
        name: name of the cache.
        folder: the project, whose store receives it.
        genes: one gene list for all files, or one for each; rows are then brought to the order of the first by name. Only
            ``.h5ad`` files may go without, because they name their genes themselves.
        layers: names of the arrays to take, in order; see :func:`~hyposcreen.embeddings_cache.arrays.read_layers`.
        table: a table of ``symbol`` and any of ``n_cells``, ``mean_expression`` and ``detection``, matched by name.
        aliases: names to replace.
        model: what the arrays are of, for the manifest.
        despite: why warnings of the preflight are no fault, kept in the manifest; without it a warning is a refusal.

    Raises:
        CacheError: for any mismatch between arrays and genes, with the line; for whatever the preflight refuses.
    """
    destination = Path(folder) / STORE / check_name(name)
    if destination.exists():
        raise CacheError(f"{destination} exists already: choose another name or remove it first.")
    names, arrays, listed = _read(files, genes, layers)
    symbols, facts = _renamed(listed, aliases)
    numbers = dict(listed.numbers) if table is None else _looked_up(read_gene_list(table), symbols)
    stored = [_as_float32(array, named) for array, named in zip(arrays, names, strict=True)]
    missing = tuple(word for column, word in MATCHED_BY.items() if column not in numbers)
    manifest = {
        "model": model or "imported",
        "imported": {
            "files": {Path(path).name: _sha256(path) for path in [*files, *genes, *([table] if table else [])]},
            "arrays": names,
            "stored_as": sorted({str(array.dtype) for array in arrays}),
            **facts,
        },
        "not_matched": list(missing),
        "versions": {"hyposcreen": version("hyposcreen"), "numpy": np.__version__},
        **({"warnings_accepted": despite} if despite else {}),
    }
    described = _table(symbols, ensembl_ids(listed.names), stored, numbers)
    warnings = preflight(stored, described).warnings
    if warnings and not despite:
        raise CacheError(f'{files[0]}: {warnings[0]} If you know why, import it with --despite "REASON".')
    cache = write_cache(destination, layers=stored, genes=described, manifest=manifest, name=name)
    return Imported(cache, _remarks(missing, symbols))


def not_matched(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """What the stratified null cannot match on a cache, because nobody said it: ``expression``, ``detection``."""
    return tuple(manifest.get("provenance", {}).get("not_matched", ()))


def unmatched_remark(missing: Sequence[str]) -> str:
    """One sentence on what the stratified null does not hold fixed."""
    return (
        f"{' and '.join(missing)} of the genes {'are' if len(missing) > 1 else 'is'} not known, so the stratified null does "
        "not match them and a set of highly expressed genes may look special: give --table with "
        f"{' and '.join(column for column, word in MATCHED_BY.items() if word in missing)}."
    )


def _remarks(missing: Sequence[str], symbols: Sequence[str]) -> tuple[str, ...]:
    remarks = [unmatched_remark(missing)] if missing else []
    if is_ensembl(symbols):
        remarks.append(
            "genes are named by Ensembl ids, and annotations name symbols: import again with --aliases, a table of id and symbol."
        )
    return tuple(remarks)


def _read(
    files: Sequence[str | Path], lists: Sequence[str | Path], wanted: Sequence[str]
) -> tuple[list[str], list[NDArray[Any]], GeneList]:
    """Names and arrays of all layers, rows in the order of the first gene list."""
    if not files:
        raise CacheError("there is no file to import: give at least one.")
    if len(lists) not in (0, 1, len(files)):
        raise CacheError(
            f"{len(lists)} gene lists are given for {len(files)} files: give one for all, or one for each."
        )
    read = [read_gene_list(path) for path in lists]
    names: list[str] = []
    arrays: list[NDArray[Any]] = []
    first: GeneList | None = None
    for number, path in enumerate(files):
        found, layers, own = read_layers(path, wanted)
        listed = read[number if len(read) > 1 else 0] if read else own
        if listed is None:
            raise CacheError(f"{path} does not name its genes: give a list of them with --genes.")
        for name, layer in zip(found, layers, strict=True):
            fit(listed, len(layer), f"'{name}' of {path}")
        if own is not None and read and own.names != listed.names:
            row = next(i for i, (a, b) in enumerate(zip(own.names, listed.names, strict=True)) if a != b)
            raise CacheError(
                f"{listed.source} {listed.places[row]} names '{listed.names[row]}' where {path} has '{own.names[row]}': leave "
                "--genes out, or give the list that belongs to the file."
            )
        first = first or listed
        order = _order(first, listed)
        arrays += layers if order is None else [layer[order] for layer in layers]
        names += [name if len(files) == 1 else f"{Path(path).name}:{name}" for name in found]
    assert first is not None
    return names, arrays, first


def _order(first: GeneList, other: GeneList) -> NDArray[np.int64] | None:
    """Rows of ``other`` in the order of ``first``; ``None`` where they are in that order."""
    if first.names == other.names:
        return None
    row_of = {name: row for row, name in enumerate(other.names)}
    absent = [name for name in first.names if name not in row_of]
    if absent or len(row_of) != len(first.names):
        example = absent[0] if absent else next(name for name in other.names if name not in set(first.names))
        raise CacheError(
            f"{first.source} and {other.source} do not name the same genes ('{example}'): give the same ones."
        )
    return np.array([row_of[name] for name in first.names], dtype=np.int64)


def _renamed(listed: GeneList, aliases: Aliases) -> tuple[tuple[str, ...], dict[str, Any]]:
    plain = [without_version(name) for name in listed.names]
    symbols = tuple(aliases.table.get(name, name) for name in plain)
    checked(GeneList(symbols, listed.places, {}, listed.source))
    if not aliases.table:
        return symbols, {}
    return symbols, {"aliases": {**aliases.facts, "names_replaced": sum(name in aliases.table for name in plain)}}


def _looked_up(table: GeneList, symbols: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Numbers of a table in the order of ``symbols``, by name."""
    if not table.numbers:
        raise CacheError(f"{table.source} has none of the columns {', '.join(NUMBERS)}: give at least one.")
    row_of = {name: row for row, name in enumerate(table.names)}
    absent = [symbol for symbol in symbols if symbol not in row_of]
    if absent:
        raise CacheError(
            f"{table.source} lacks {len(absent)} of {len(symbols)} genes, the first is '{absent[0]}': give a line for each."
        )
    rows = [row_of[symbol] for symbol in symbols]
    return {name: values[rows] for name, values in table.numbers.items()}


def _as_float32(array: NDArray[Any], name: str) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        stored: NDArray[np.float32] = np.asarray(array, dtype=np.float32)
    wide = np.asarray(array, dtype=np.float64) if array.dtype.itemsize > 4 else stored
    if (np.isinf(stored) & np.isfinite(wide)).any():
        raise CacheError(f"'{name}' holds a value beyond the range of float32 (3.4e38): rescale it.")
    return stored


def _table(
    symbols: tuple[str, ...],
    ids: tuple[str, ...],
    layers: Sequence[NDArray[np.float32]],
    numbers: Mapping[str, NDArray[np.float64]],
) -> GeneTable:
    n = len(symbols)
    never = np.array([np.isnan(layer).all(axis=1) for layer in layers]).all(axis=0)
    cells = numbers["n_cells"].astype(np.int64) if "n_cells" in numbers else np.full(n, UNKNOWN_CELLS, dtype=np.int64)
    return GeneTable(
        symbol=symbols,
        n_cells=np.where(never & (cells == UNKNOWN_CELLS), 0, cells),
        mean_expression=numbers.get("mean_expression", np.zeros(n)),
        detection=numbers.get("detection", np.zeros(n)),
        norm=np.sqrt((layers[-1].astype(np.float64) ** 2).sum(axis=1)),
        mask_reason=("",) * n,
        ensembl_id=ids if any(ids) else (),
    )


def _sha256(path: str | Path) -> str:
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
