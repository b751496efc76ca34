"""From exact totals to a cache: divide, compare the halves, and write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CacheError
from .genes import GeneTable
from .preflight import NEVER_SAMPLED
from .shards import inputs_digest
from .store import Cache, write_cache
from .totals import Totals


def finish(plan: dict[str, Any], facts: dict[str, Any], totals: Totals, destination: Path, name: str | None) -> Cache:
    """Write the cache of an extraction whose cells are all in ``totals``.

    Beside the layers it holds ``var_trace`` (float64 ``[n_layers, n_genes]``, total variance of a gene's state over its
    cells; NaN below two cells). With halves: ``half_0`` and ``half_1`` (float32 ``[n_layers, n_genes, dim]``),
    ``half_n_cells`` (int64 ``[2, n_genes]``) and ``reliability`` (float64 ``[n_layers, n_genes]``, cosine between a gene's
    two half-means after the mean gene is taken away). With attention: ``attention`` (float32
    ``[n_blocks, n_chosen, n_chosen]``, NaN for pairs never read together), ``attention_n_cells`` and ``attention_rows``.

    Args:
        plan: every input.
        facts: gene names, expression and versions.
        totals: sums over all cells.
        destination: cache folder to make.
        name: name of the cache; the folder's name when not given.

    Raises:
        CacheError: if no cell was read, the folder exists, the disk is full, or the preflight refuses the arrays.
    """
    if not totals.n_cells.any():
        raise CacheError("no cell has a count in a gene that the model knows: give cells with expressed genes.")
    n_cells = totals.n_cells.sum(axis=0)
    layers = tuple(_mean(state, totals.n_halves, n_cells) for state in totals.states)
    return write_cache(
        destination,
        layers=layers,
        genes=_gene_table(plan, facts, n_cells, layers[-1]),
        manifest=_manifest(plan, facts, totals),
        name=name,
        extras=_extras(plan, facts, totals, n_cells),
    )


def _mean(state: Any, n_halves: int, n_cells: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean over all cells from one layer's sums ``[n_halves * n_genes, dim]``; NaN where no cell contributed."""
    sums = state.cpu().numpy().reshape(n_halves, len(n_cells), -1).sum(axis=0)
    return _divided(sums, n_cells[:, None]).astype(np.float32)


def _divided(sums: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    quotient: NDArray[np.float64] = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return quotient


def _gene_table(
    plan: dict[str, Any], facts: dict[str, Any], n_cells: NDArray[np.int64], last: NDArray[np.float32]
) -> GeneTable:
    least = int(plan["min_cells"])
    too_few = f"fewer than {least} cells"
    return GeneTable(
        symbol=tuple(facts["symbols"]),
        n_cells=n_cells,
        mean_expression=np.array(facts["mean_expression"], dtype=np.float64),
        detection=np.array(facts["detection"], dtype=np.float64),
        norm=np.sqrt((last.astype(np.float64) ** 2).sum(axis=1)),
        mask_reason=tuple(NEVER_SAMPLED if n == 0 else too_few if n < least else "" for n in n_cells),
        ensembl_id=tuple(facts.get("ensembl_ids", ())),  # shards of an earlier version do not know them
    )


def _manifest(plan: dict[str, Any], facts: dict[str, Any], totals: Totals) -> dict[str, Any]:
    return {
        **plan,
        "inputs": inputs_digest(plan),
        "aggregation": "mean over the cells in which the gene was read; exact float64 sums, stored as float32",
        "genes_not_in_vocabulary": plan["data"]["n_genes"] - len(facts["symbols"]),
        "attention_not_found": facts["attention_not_found"],
        "empty_cells": totals.empty_cells,
        "versions": facts["versions"],
    }


def _extras(
    plan: dict[str, Any], facts: dict[str, Any], totals: Totals, n_cells: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    extras: dict[str, NDArray[Any]] = {"var_trace": _var_trace(totals, n_cells)}
    if totals.n_halves == 2:
        halves = [_half(totals, half) for half in (0, 1)]
        extras |= {"half_0": halves[0], "half_1": halves[1], "half_n_cells": totals.n_cells}
        extras["reliability"] = np.stack([_agreement(a, b) for a, b in zip(*halves, strict=True)])
    if plan["attention"]:
        row_of = {symbol: row for row, symbol in enumerate(facts["symbols"])}
        extras["attention"] = _divided(totals.attention.cpu().numpy(), totals.pairs).astype(np.float32)
        extras["attention_n_cells"] = totals.pairs
        extras["attention_rows"] = np.array([row_of[gene] for gene in plan["attention"]], dtype=np.int64)
    return extras


def _var_trace(totals: Totals, n_cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """Unbiased total variance ``(sum |x|^2 - |sum x|^2 / n) / (n - 1)`` by layer and gene."""
    squares = totals.squares.cpu().numpy().reshape(len(totals.squares), totals.n_halves, -1).sum(axis=1)
    spread = np.empty_like(squares)
    for layer, state in enumerate(totals.states):
        sums = state.cpu().numpy().reshape(totals.n_halves, len(n_cells), -1).sum(axis=0)
        spread[layer] = squares[layer] - (sums**2).sum(axis=1) / np.maximum(n_cells, 1)
    return np.where(n_cells > 1, np.maximum(spread, 0.0) / np.maximum(n_cells - 1, 1), np.nan)


def _half(totals: Totals, half: int) -> NDArray[np.float32]:
    rows = slice(half * totals.n_genes, (half + 1) * totals.n_genes)
    counts = totals.n_cells[half][:, None]
    return np.stack([_divided(state[rows].cpu().numpy(), counts).astype(np.float32) for state in totals.states])


def _agreement(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosine between corresponding rows after each table's mean row is taken away; NaN where a half is missing."""
    both = np.isfinite(np.hstack([first, second])).all(axis=1)
    cosine = np.full(len(first), np.nan)
    if both.any():
        a, b = (table[both].astype(np.float64) for table in (first, second))
        a, b = a - a.mean(axis=0), b - b.mean(axis=0)
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        cosine[both] = np.where(lengths > 0, (a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1.0), np.nan)
    return cosine
