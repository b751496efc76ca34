"""h5ad for scanpy users: genes in ``var``, embeddings and tested gene sets in ``varm``, rows and head in ``uns``."""

from pathlib import Path
from typing import Any

import numpy as np

from ...hypotheses.canonical import canonical_json
from ..errors import UserError
from ..ledger.export import HEAD_COLUMNS, NESTED, head_to_json, to_pandas
from ..ledger.store import Ledger
from ..project import Project

SIDES = {0: "explore", 1: "sealed", -1: "masked"}


def write_h5ad(folder: Path, ledger: Ledger, path: Path) -> None:
    """An AnnData without cells, aligned by gene symbol to whatever it is joined with.

    ``var``: side of the split, masked or not, mean expression and detection. ``varm``: ``X_hyposcreen_L0`` … float32
    [genes, dim], and ``hyposcreen_sets``, a table of booleans, one column a gene set that a row asked about.
    ``uns["hyposcreen"]``: ``rows`` (a table, nested values as JSON text), ``head`` and ``run`` as JSON text. Needs the cache;
    raises :class:`UserError` without anndata or without a run.
    """
    try:
        import anndata
    except ImportError:
        raise UserError("h5ad needs anndata: pip install 'hyposcreen[scgpt]', or export .csv or .parquet") from None
    import pandas as pd

    from ..session import open_existing

    project, _, plan = open_existing(folder)
    genes = project.cache.genes
    var = pd.DataFrame(
        {
            "hyposcreen_side": pd.Categorical([SIDES[int(side)] for side in project.split]),
            "hyposcreen_usable": np.asarray(genes.usable, dtype=bool),
            "mean_expression": np.asarray(genes.mean_expression, dtype=np.float64),
            "detection": np.asarray(genes.detection, dtype=np.float64),
        },
        index=pd.Index(genes.symbol, dtype=object, name="symbol"),
    )
    head, rows = ledger.snapshot()
    frame = to_pandas(rows)
    for name in NESTED:
        frame[name] = [canonical_json(value) for value in frame[name]]
    varm: dict[str, Any] = {
        f"X_hyposcreen_L{number}": np.asarray(layer, dtype=np.float32)
        for number, layer in enumerate(project.cache.layers)
    }
    if sets := _sets(project, {row.annotation for row in rows}):
        varm["hyposcreen_sets"] = pd.DataFrame(sets, index=var.index)
    anndata.AnnData(
        obs=pd.DataFrame(index=pd.Index([], dtype=object)),
        var=var,
        varm=varm,
        uns={
            "hyposcreen": {
                "rows": _writable(frame),
                "head": canonical_json(dict(zip(HEAD_COLUMNS, head_to_json(head).values(), strict=True))),
                "run": canonical_json(plan.to_content()),
            }
        },
    ).write_h5ad(path)


def _sets(project: Project, asked: set[str]) -> dict[str, Any]:
    """Gene set → bool [genes], for the gene sets that rows asked about."""
    place = {symbol: number for number, symbol in enumerate(project.cache.genes.symbol)}
    out = {}
    for annotation in project.annotations.values():
        if annotation.kind == "gene_set" and annotation.name in asked:
            member = np.zeros(len(place), dtype=bool)
            member[[place[symbol] for symbol in annotation.members if symbol in place]] = True
            out[annotation.name] = member
    return out


def _writable(frame: Any) -> Any:
    """The table as HDF5 can hold it: words as text, empty where unknown; counts as numbers, NaN where unknown."""
    frame = frame.copy()
    for name, kind in frame.dtypes.items():
        if str(kind) == "object":
            frame[name] = [value if isinstance(value, str) else "" for value in frame[name]]
        elif str(kind) == "Int64":
            frame[name] = frame[name].astype("float64")
    frame.index = frame["id"].astype(object).rename(None)
    return frame
