"""Caches on disk: written whole or not at all, opened only when sound, identified by content.

A cache is a folder: ``layer_00.npy`` (the input embedding) and one ``layer_NN.npy`` per block, float32
``[n_genes, dim]``; ``genes.tsv``; optional arrays beside them (``var_trace.npy``, split halves, attention ...); and
``manifest.json`` with the sha256 of each file, the content digest and the provenance.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .durable import sync_folder, write_array, write_bytes
from .errors import CacheError
from .genes import GeneTable
from .preflight import PreflightReport, as_written, preflight

__all__ = ["Cache", "CacheError", "GeneTable", "cache_digest", "find_cache", "list_caches", "open_cache", "write_cache"]

SCHEMA = 1
MANIFEST = "manifest.json"
GENES = "genes.tsv"
STORE = Path("embeddings_cache") / "store"
_HERE = Path(__file__).parent
SHIPPED = {
    "demo": _HERE / "demo" / "cache",
    "demo-random-init": _HERE / "demo" / "control_random_init",
    "demo-random-init-1": _HERE / "demo" / "control_random_init_1",
}
"""Caches that come with the package, by name."""


@dataclass(frozen=True)
class Cache:
    """One extraction, opened.

    Attributes:
        name: how people call it.
        path: its folder.
        digest: sha256 (hex) over array bytes, shapes, dtype and gene order.
        layers: float32 ``[n_genes, dim]``, memory-mapped and read-only; layer 0 is the input embedding.
        genes: one row per gene; rows that may not be tested carry a reason.
        manifest: the whole manifest, with ``provenance`` inside.
        report: what the preflight found.
    """

    name: str
    path: Path
    digest: str
    layers: tuple[NDArray[np.float32], ...]
    genes: GeneTable
    manifest: Mapping[str, Any]
    report: PreflightReport

    @property
    def n_layers(self) -> int:
        """Number of layers, the input embedding included."""
        return len(self.layers)

    @property
    def n_genes(self) -> int:
        """Number of genes, masked ones included."""
        return len(self.genes)

    @property
    def dim(self) -> int:
        """Width of every layer."""
        return int(self.layers[0].shape[1])

    @property
    def extras(self) -> tuple[str, ...]:
        """Names of the optional arrays, such as ``var_trace``, by name."""
        return tuple(sorted(_extra_files(self.manifest)))

    def extra(self, name: str) -> NDArray[Any]:
        """Return the optional array called ``name``, memory-mapped; raises ``CacheError`` if the cache has none."""
        file = _extra_files(self.manifest).get(name)
        if file is None:
            have = ", ".join(self.extras) or "none"
            raise CacheError(f"{self.path} has no array '{name}' (it has {have}): extract the cache with it.")
        return _read_array(self.path / file)


def cache_digest(layers: Sequence[NDArray[np.float32]], symbols: Sequence[str]) -> str:
    """Return the sha256 (hex) over bytes, shape and dtype of each layer, and the gene order.

    Independent of file names, platform byte order and whatever the manifest says.
    """
    sha = hashlib.sha256(json.dumps(["hyposcreen cache", SCHEMA, len(layers)]).encode())
    for layer in layers:
        sha.update(json.dumps(["<f4", list(layer.shape)]).encode())
        sha.update(np.ascontiguousarray(layer, dtype="<f4").data)
    sha.update(json.dumps(list(symbols)).encode())
    return sha.hexdigest()


def write_cache(
    directory: str | Path,
    *,
    layers: Sequence[NDArray[Any]],
    genes: GeneTable,
    manifest: Mapping[str, Any],
    name: str | None = None,
    extras: Mapping[str, NDArray[Any]] | None = None,
) -> Cache:
    """Write a cache and open it.

    Everything goes to a hidden folder beside ``directory``, is flushed to the disk and renamed, so a crash leaves
    either no cache or a whole one.

    Args:
        directory: folder to make; must not exist.
        layers: ``[n_genes, dim]`` each, stored as float32; rows of genes with ``n_cells == 0`` become NaN.
        genes: one row per gene; mask reasons found by the preflight are added.
        manifest: provenance as plain JSON values (model, checkpoint, data, recipe, seed, versions ...).
        name: name of the cache; the folder's name when not given.
        extras: optional arrays by name, each stored as ``NAME.npy``. They are verified like the layers and are no part
            of the content digest.

    Raises:
        CacheError: if ``directory`` exists, the disk is full, or the preflight finds what cannot be masked.
    """
    directory = Path(directory)
    if directory.exists():
        raise CacheError(f"{directory} exists already: choose another name or remove it first.")
    arrays = tuple(_with_unobserved_missing(layer, genes) for layer in layers)
    report = _sound(preflight(arrays, genes), directory)
    table = genes.with_reasons(report.mask_reasons())
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = directory.parent / f".{directory.name}.partial-{uuid.uuid4().hex[:8]}"
    partial.mkdir()
    try:
        _write_files(partial, arrays, table, manifest, name or directory.name, extras or {})
        partial.rename(directory)
        sync_folder(directory.parent)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CacheError(f"{directory} could not be written ({error}): make room or choose another place.") from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return open_cache(directory)


def _with_unobserved_missing(layer: NDArray[Any], genes: GeneTable) -> NDArray[np.float32]:
    stored = np.array(layer, dtype="<f4", order="C")
    if stored.ndim == 2 and len(stored) == len(genes):
        # A gene that no cell expressed has no representation; a row of zeros would be read as one.
        stored[np.asarray(genes.n_cells) == 0] = np.nan
    return stored


def _write_files(
    folder: Path,
    layers: Sequence[NDArray[np.float32]],
    genes: GeneTable,
    provenance: Mapping[str, Any],
    name: str,
    extras: Mapping[str, NDArray[Any]],
) -> None:
    arrays = {_layer_name(index): layer for index, layer in enumerate(layers)}
    arrays |= {f"{extra}.npy": array for extra, array in extras.items()}
    for file, array in arrays.items():
        write_array(folder / file, array)
    write_bytes(folder / GENES, genes.to_tsv().encode())
    content = {
        "schema": SCHEMA,
        "name": name,
        "digest": cache_digest(layers, genes.symbol),
        "n_layers": len(layers),
        "n_genes": len(genes),
        "dim": int(layers[0].shape[1]),
        "files": {file: _file_sha256(folder / file) for file in [*arrays, GENES]},
        "provenance": dict(provenance),
    }
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    write_bytes(folder / MANIFEST, text.encode())
    sync_folder(folder)


def _layer_name(index: int) -> str:
    return f"layer_{index:02d}.npy"


def _file_sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def open_cache(path: str | Path, *, verify: bool = True) -> Cache:
    """Open a cache folder read-only.

    Args:
        path: the folder.
        verify: compare every file and the content with the digests in the manifest, and run the preflight; skip only for
            a cache that has been verified already in this run. Its masks then are those that were written.

    Raises:
        CacheError: missing folder or file, unreadable or truncated array, digest mismatch, a manifest of a newer
            version, or a fault that the preflight cannot mask.
    """
    path = Path(path)
    manifest = _read_manifest(path)
    layers = tuple(_read_layer(path / _layer_name(index)) for index in range(int(manifest["n_layers"])))
    genes = GeneTable.from_tsv(_read_text(path / GENES), str(path / GENES))
    if verify:
        _verify(path, manifest, layers, genes)
    report = _sound(preflight(layers, genes) if verify else as_written(layers, genes), path)
    return Cache(
        name=str(manifest["name"]),
        path=path,
        digest=str(manifest["digest"]),
        layers=layers,
        genes=genes.with_reasons(report.mask_reasons()),
        manifest=manifest,
        report=report,
    )


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise CacheError(f"{path} is no cache folder: extract one with `screen cache extract`, or use --cache demo.")
    text = _read_text(path / MANIFEST)
    try:
        manifest = json.loads(text)
    except json.JSONDecodeError as error:
        raise CacheError(f"{path / MANIFEST} is not valid JSON ({error}): copy or extract the cache again.") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("schema"), int):
        raise CacheError(f"{path / MANIFEST} names no schema version: extract the cache again.")
    if manifest["schema"] > SCHEMA:
        raise CacheError(
            f"{path / MANIFEST} has schema {manifest['schema']} and this version reads up to {SCHEMA}: "
            "upgrade hyposcreen."
        )
    absent = [key for key in ("name", "digest", "n_layers", "files") if key not in manifest]
    if absent:
        raise CacheError(f"{path / MANIFEST} lacks '{absent[0]}': extract the cache again.")
    return manifest


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise CacheError(f"{path} is missing: copy or extract the cache again.") from error
    except UnicodeDecodeError as error:
        raise CacheError(f"{path} is not UTF-8 text: copy or extract the cache again.") from error


def _read_array(path: Path) -> NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise CacheError(f"{path} is missing: copy or extract the cache again.") from error
    except (ValueError, OSError, EOFError) as error:
        raise CacheError(f"{path} is truncated or no array file: copy or extract the cache again.") from error
    if not isinstance(array, np.ndarray):
        raise CacheError(f"{path} holds several arrays where one is expected: write the cache again with write_cache.")
    return array


def _read_layer(path: Path) -> NDArray[np.float32]:
    layer = _read_array(path)
    if layer.dtype != np.dtype("<f4"):
        raise CacheError(
            f"{path} holds {layer.dtype} where float32 is expected: write the cache again with write_cache."
        )
    return layer


def _extra_files(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Optional arrays that the manifest names: name to file. A name that leads out of the folder is no array of ours."""
    files = [file for file in manifest["files"] if file.endswith(".npy") and Path(file).name == file]
    return {file.removesuffix(".npy"): file for file in files if not file.startswith("layer_")}


def _verify(path: Path, manifest: dict[str, Any], layers: Sequence[NDArray[np.float32]], genes: GeneTable) -> None:
    for file in [*(_layer_name(index) for index in range(len(layers))), *_extra_files(manifest).values(), GENES]:
        if not (path / file).is_file():
            raise CacheError(f"{path / file} is missing: copy or extract the cache again.")
        if manifest["files"].get(file) != _file_sha256(path / file):
            raise CacheError(
                f"{path / file} differs from the sha256 in {MANIFEST}: it was changed after it was written, so copy or "
                "extract the cache again."
            )
    if cache_digest(layers, genes.symbol) != manifest["digest"]:
        raise CacheError(
            f"{path / MANIFEST} states a content digest that the arrays do not have: copy or extract the cache again."
        )


def _sound(report: PreflightReport, path: Path) -> PreflightReport:
    if report.errors:
        more = "" if len(report.errors) == 1 else f" (and {len(report.errors) - 1} more)"
        raise CacheError(f"{path}: {report.errors[0]}{more}")
    return report


def check_name(name: str) -> str:
    """Return a name that can be a folder of the store; raises ``CacheError`` for another, or for that of a shipped one."""
    if name in SHIPPED:
        raise CacheError(f"'{name}' is the name of a cache that ships with the package: choose another name.")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name):
        raise CacheError(f"a cache cannot be called '{name}': use letters, digits, dots, dashes and underscores.")
    return name


def list_caches(project_dir: str | Path) -> list[Path]:
    """Return the cache folders of a project, by name; half-written ones are not listed."""
    store = Path(project_dir) / STORE
    if not store.is_dir():
        return []
    return sorted(p for p in store.iterdir() if not p.name.startswith(".") and (p / MANIFEST).is_file())


def find_cache(name_or_path: str | Path, project_dir: str | Path) -> Path:
    """Return the folder of a cache given by name or path.

    A name that ships with the package (``demo``, ``demo-random-init``) comes first, then the project's store, then a
    path.

    Raises:
        CacheError: if there is none; the message lists the names that exist.
    """
    name = str(name_or_path)
    if name in SHIPPED:
        return SHIPPED[name]
    for candidate in (Path(project_dir) / STORE / name, Path(name)):
        if (candidate / MANIFEST).is_file():
            return candidate
    known = [*SHIPPED, *(path.name for path in list_caches(project_dir))]
    raise CacheError(f"there is no cache '{name}': choose one of {', '.join(known)}, or give the path of a folder.")
