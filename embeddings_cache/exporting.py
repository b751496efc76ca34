"""A cache in other programs' formats: ``.npz``, ``.h5ad`` (layers in ``varm``), or the gene table as ``.tsv``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .errors import CacheError
from .store import Cache


def export_cache(cache: Cache, output: str | Path) -> Path:
    """Write a cache to ``output``, whose ending says the format; an existing file is replaced when the new one is whole.

    ``.npz`` holds ``layer_00`` … as float32 ``[genes, dim]``, ``symbol``, ``usable``, the columns of the gene table, and
    ``digest``. ``.h5ad`` is an AnnData without cells: genes in ``var``, layers in ``varm``, the manifest as JSON text in
    ``uns``. ``.tsv`` is the gene table alone, masked genes and reasons included.

    Raises:
        CacheError: for another ending, a missing package, or a place that cannot be written.
    """
    output = Path(output)
    writers: dict[str, Callable[[Cache, Path], None]] = {".npz": _npz, ".h5ad": _h5ad, ".tsv": _tsv}
    if output.suffix not in writers:
        raise CacheError(f"{output} does not end in one of {', '.join(writers)}: name the file accordingly.")
    # The ending stays, because some writers add one that is missing.
    partial = output.with_name(f".{output.stem}.{os.getpid()}.part{output.suffix}")
    try:
        writers[output.suffix](cache, partial)
        partial.replace(output)
    except (OSError, RuntimeError) as error:  # HDF5 closes a file that hit a full disk with a RuntimeError
        reason = " ".join(str(error).split())
        raise CacheError(f"{output} cannot be written ({reason}): make room or choose another place.") from error
    finally:
        partial.unlink(missing_ok=True)
    return output


def _columns(cache: Cache) -> dict[str, Any]:
    genes = cache.genes
    return {
        "n_cells": genes.n_cells,
        "mean_expression": genes.mean_expression,
        "detection": genes.detection,
        "norm": genes.norm,
        "usable": genes.usable,
        "mask_reason": np.array(genes.mask_reason),
        **({"ensembl_id": np.array(genes.ensembl_id)} if genes.ensembl_id else {}),
    }


def _npz(cache: Cache, path: Path) -> None:
    arrays = {"symbol": np.array(cache.genes.symbol), "digest": np.array(cache.digest), **_columns(cache)}
    arrays |= {f"layer_{index:02d}": layer for index, layer in enumerate(cache.layers)}
    np.savez(path, allow_pickle=False, **arrays)


def _h5ad(cache: Cache, path: Path) -> None:
    try:
        import anndata
        import pandas
    except ImportError as error:
        raise CacheError(f"{path.suffix} needs the package anndata: pip install 'hyposcreen[scgpt]'.") from error
    var = pandas.DataFrame(_columns(cache), index=list(cache.genes.symbol))
    table = anndata.AnnData(X=np.zeros((0, cache.n_genes), dtype=np.float32), var=var)
    for index, layer in enumerate(cache.layers):
        table.varm[f"layer_{index:02d}"] = np.asarray(layer)
    table.uns["hyposcreen"] = {"name": cache.name, "digest": cache.digest, "manifest": json.dumps(dict(cache.manifest))}
    table.write_h5ad(path)


def _tsv(cache: Cache, path: Path) -> None:
    path.write_text(cache.genes.to_tsv(), encoding="utf-8", newline="\n")
