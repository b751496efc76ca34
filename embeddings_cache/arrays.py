"""Arrays of other models: one matrix ``[genes, dim]`` per layer from ``.npy``, ``.npz``, ``.safetensors`` or ``.h5ad``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CacheError
from .gene_list import GeneList, checked

ENDINGS = (".npy", ".npz", ".safetensors", ".h5ad")


def read_layers(path: str | Path, wanted: Sequence[str] = ()) -> tuple[list[str], list[NDArray[Any]], GeneList | None]:
    """Read the layers of one file.

    Args:
        path: the file; its ending says the format. An array of three dimensions is ``[layers, genes, dim]``.
        wanted: names of arrays (of ``varm`` for ``.h5ad``), in the order of the layers; all of them, in the order of the
            numbers in their names, when none are given.

    Returns:
        ``(names, layers, genes)``; ``genes`` are those that an ``.h5ad`` names itself, else ``None``.

    Raises:
        CacheError: if the file is unreadable, has no such array, or one that is no matrix of floating-point numbers.
    """
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise CacheError(f"{path} ends in '{path.suffix}': give a file that ends in one of {', '.join(ENDINGS)}.")
    if not path.is_file():
        raise CacheError(f"{path} does not exist: give the path of a file.")
    genes = None
    try:
        if path.suffix == ".npy":
            found = {path.stem: np.load(path, mmap_mode="r", allow_pickle=False)}
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in _chosen(path, file.files, wanted)}
        elif path.suffix == ".safetensors":
            found = _safetensors(path, wanted)
        else:
            found, genes = _varm(path, wanted)
    except CacheError:
        raise
    except Exception as error:  # each library has errors of its own for a damaged file
        raise CacheError(f"{path} cannot be read ({str(error) or type(error).__name__}): save it again.") from error
    names = [path.stem] if path.suffix == ".npy" else _chosen(path, list(found), wanted)
    return (*_matrices(path, {name: found[name] for name in names}), genes)


def _chosen(path: Path, names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    for name in wanted:
        if name not in names:
            raise CacheError(f"{path} has no array '{name}': choose among {', '.join(sorted(names, key=_natural))}.")
    return list(wanted) if wanted else sorted(names, key=_natural)


def _natural(name: str) -> list[Any]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name)]


def _safetensors(path: Path, wanted: Sequence[str]) -> dict[str, NDArray[Any]]:
    try:
        from safetensors import safe_open
    except ImportError as error:
        raise CacheError(f"{path} needs the package safetensors: pip install 'hyposcreen[scgpt]'.") from error
    with safe_open(path, framework="np") as file:
        names = _chosen(path, list(file.keys()), wanted)
        half = [name for name in names if file.get_slice(name).get_dtype() == "BF16"]
        if half:
            raise CacheError(f"{path} holds '{half[0]}' as bfloat16, which NumPy does not have: save it as float32.")
        return {name: file.get_tensor(name) for name in names}


def _varm(path: Path, wanted: Sequence[str]) -> tuple[dict[str, NDArray[Any]], GeneList]:
    try:
        import h5py
        from anndata.io import read_elem
    except ImportError as error:
        raise CacheError(f"{path} needs the package anndata to be read: pip install 'hyposcreen[scgpt]'.") from error
    with h5py.File(path, "r") as file:
        if not len(file.get("varm", {})):
            raise CacheError(f"{path} has nothing in varm: save one matrix of genes by dimensions per layer there.")
        found = {name: np.asarray(read_elem(file["varm"][name])) for name in _chosen(path, list(file["varm"]), wanted)}
        var = file["var"]
        names = tuple(str(name).strip() for name in read_elem(var[var.attrs.get("_index", "_index")]))
    places = tuple(f"row {row} of var" for row in range(len(names)))
    return found, checked(GeneList(names, places, {}, str(path)))


def _matrices(path: Path, found: dict[str, NDArray[Any]]) -> tuple[list[str], list[NDArray[Any]]]:
    names: list[str] = []
    layers: list[NDArray[Any]] = []
    for name, array in found.items():
        if array.dtype.kind != "f":
            raise CacheError(
                f"{path} holds '{name}' as {array.dtype}, which is no embedding: choose the layers with --layer, or save "
                "floating-point numbers."
            )
        parts = [array] if array.ndim != 3 else list(array)
        for number, part in enumerate(parts):
            if part.ndim != 2 or not part.size:
                raise CacheError(
                    f"{path} holds '{name}' of shape {array.shape}: give [genes, dim], or [layers, genes, dim], and choose "
                    "the layers with --layer."
                )
            names.append(name if len(parts) == 1 else f"{name}[{number}]")
            layers.append(part)
    return names, layers
