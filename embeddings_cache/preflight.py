"""Checks that every cache passes before anything is tested on it; pure functions of arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .alignment import check_alignment
from .genes import GeneTable

NEVER_SAMPLED = "never sampled"

FLOAT16_MAX = 65504.0
OVERFLOW = " (infinity: float16 overflows beyond 65,504)"

# The dimension is a remark, and over all 60,000 genes of a large cache it would cost ten seconds on each opening.
_DIMENSION_ROWS = 8192


@dataclass(frozen=True)
class PreflightReport:
    """What was found.

    Attributes:
        masked: ``(row, symbol, reason)`` of every gene that may not be tested, by row.
        errors: what cannot be masked; one sentence each, empty for a sound cache.
        warnings: what a person should look at before trusting a screen; one sentence each, empty for a sound cache.
        notes: remarks that stop nothing.
        effective_dimension: participation ratio of each layer over the usable genes (at most 8,192 of them, evenly
            spaced); NaN if fewer than two.
        n_genes: number of rows looked at.
    """

    masked: tuple[tuple[int, str, str], ...]
    errors: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    effective_dimension: tuple[float, ...] = ()
    n_genes: int = 0

    def mask_reasons(self) -> tuple[str, ...]:
        """Return one reason per gene, empty where usable."""
        reasons = [""] * self.n_genes
        for row, _, reason in self.masked:
            reasons[row] = reason
        return tuple(reasons)

    def summary(self) -> str:
        """Return the report in plain language, one finding per line."""
        if self.errors:
            return "\n".join(["This cache cannot be used:", *(f"- {error}" for error in self.errors)])
        lines = [f"{self.n_genes - len(self.masked)} of {self.n_genes} genes can be tested."]
        for kind, count in Counter(_kind(reason) for _, _, reason in self.masked).most_common():
            named = [symbol for _, symbol, reason in self.masked if _kind(reason) == kind]
            more = "" if count <= 5 else ", ..."
            lines.append(f"Masked, {kind}: {count} ({', '.join(named[:5])}{more}).")
        return "\n".join([*lines, *(f"Look again: {warning}" for warning in self.warnings), *self.notes])


def _kind(reason: str) -> str:
    return "duplicate row" if reason.startswith("duplicate row") else reason.split(" in layer", maxsplit=1)[0]


def preflight(layers: Sequence[NDArray[np.float32]], genes: GeneTable) -> PreflightReport:
    """Look for rows that must be masked and for faults that must stop a screen.

    Masked: genes that no cell contributed to, rows that are zero or constant in some layer, rows that repeat an earlier
    row in some layer, and whatever the table masks already. Errors: no layer, layers of different shape, a table of
    another length, blank or repeated symbols, numbers that are not finite in a row that cells did contribute to, layers
    in different gene orders. Warnings: constant columns, values clipped by float16, names that do not fit the rows.

    Args:
        layers: gene matrices ``[n_genes, dim]``, the input embedding first.
        genes: the gene table, in row order.

    Returns:
        A report; nothing is raised.
    """
    errors = _shape_errors(layers, genes) + _symbol_errors(genes)
    if not errors:
        errors = _value_errors(layers, genes)
    if errors:
        return PreflightReport(masked=(), errors=tuple(errors), n_genes=len(genes))
    reasons = list(genes.mask_reason)
    _set_missing(reasons, np.flatnonzero(genes.n_cells == 0), NEVER_SAMPLED)
    for index, layer in enumerate(layers):
        for row, reason in _bad_rows(layer, np.array([not reason for reason in reasons])):
            reasons[row] = f"{reason} in layer {index}"
    usable = np.flatnonzero([not reason for reason in reasons])
    looked_at = _evenly(usable, _DIMENSION_ROWS)
    dimensions = tuple(participation_ratio(layer[looked_at]) for layer in layers)
    found = check_alignment(layers, genes, usable)
    nothing = () if len(usable) else ("every gene is masked, so there is nothing to test: extract from more cells.",)
    return PreflightReport(
        masked=tuple((row, genes.symbol[row], reason) for row, reason in enumerate(reasons) if reason),
        errors=nothing + found.errors,
        warnings=(*_value_warnings(layers, usable), *found.warnings),
        notes=(*_notes(dimensions), *found.notes),
        effective_dimension=dimensions,
        n_genes=len(genes),
    )


def as_written(layers: Sequence[NDArray[np.float32]], genes: GeneTable) -> PreflightReport:
    """What the table says was found when the cache was written; only shapes and symbols are looked at again."""
    errors = _shape_errors(layers, genes) + _symbol_errors(genes)
    return PreflightReport(
        masked=tuple((row, genes.symbol[row], reason) for row, reason in enumerate(genes.mask_reason) if reason),
        errors=tuple(errors),
        n_genes=len(genes),
    )


def _shape_errors(layers: Sequence[NDArray[np.float32]], genes: GeneTable) -> list[str]:
    if not layers:
        return ["the cache has no layer: extract it again."]
    errors = []
    first = layers[0].shape
    for index, layer in enumerate(layers):
        if layer.ndim != 2:
            errors.append(f"layer {index} has shape {layer.shape}: give one row per gene and one column per dimension.")
        elif layer.shape != first:
            errors.append(f"layer {index} has shape {layer.shape} but layer 0 has {first}: give layers of one shape.")
    if not errors and first[0] != len(genes):
        errors.append(f"the layers have {first[0]} rows but the table names {len(genes)} genes: give one row per gene.")
    return errors


def _symbol_errors(genes: GeneTable) -> list[str]:
    errors = []
    blank = [row for row, symbol in enumerate(genes.symbol) if not symbol.strip()]
    if blank:
        errors.append(f"row {blank[0]} has a blank gene symbol ({len(blank)} in all): name every row.")
    broken = [symbol for symbol in genes.symbol if any(mark in symbol for mark in "\t\n\r")]
    if broken:
        errors.append(f"gene symbol {broken[0]!r} holds a tab or a line break: rename it.")
    repeated = [symbol for symbol, count in Counter(genes.symbol).items() if count > 1 and symbol.strip()]
    if repeated:
        errors.append(f"gene '{repeated[0]}' names several rows ({len(repeated)} such genes): make symbols unique.")
    return errors


def _value_errors(layers: Sequence[NDArray[np.float32]], genes: GeneTable) -> list[str]:
    observed = np.asarray(genes.n_cells) != 0
    errors = []
    for index, layer in enumerate(layers):
        bad = np.flatnonzero(observed & ~np.isfinite(layer).all(axis=1))
        if bad.size:
            infinite = bool(np.isinf(layer[bad]).any())
            errors.append(
                f"layer {index} is not finite for gene '{genes.symbol[bad[0]]}' ({bad.size} genes in all) although "
                f"cells contributed to it{OVERFLOW if infinite else ''}: extract again in float32."
            )
    return errors


def _value_warnings(layers: Sequence[NDArray[np.float32]], usable: NDArray[np.intp]) -> list[str]:
    warnings = []
    for index, layer in enumerate(layers):
        if len(usable) > 1:
            low, high = layer[usable].min(axis=0), layer[usable].max(axis=0)
            constant = np.flatnonzero(low == high)
            if constant.size:
                warnings.append(
                    f"column {constant[0]} of layer {index} has one value for every gene ({constant.size} such columns): "
                    "it says nothing, so see whether the array was padded or cut."
                )
            if (high == FLOAT16_MAX).any() or (low == -FLOAT16_MAX).any():
                warnings.append(
                    f"layer {index} holds the value {FLOAT16_MAX:g}, where float16 ends: it was clipped, so write it "
                    "again in float32."
                )
    return warnings


def _set_missing(reasons: list[str], rows: NDArray[np.intp], reason: str) -> None:
    for row in rows:
        reasons[row] = reasons[row] or reason


def _bad_rows(layer: NDArray[np.float32], usable: NDArray[np.bool_]) -> list[tuple[int, str]]:
    """Zero, constant and repeated rows among the usable ones; of equal rows the first stays."""
    found = []
    layer = np.asarray(layer)  # rows of a memory map are slow to take one by one
    flat = (layer == layer[:, :1]).all(axis=1) if layer.shape[1] > 1 else (layer == 0).all(axis=1)
    first_with: dict[bytes, int] = {}
    for row in np.flatnonzero(usable):
        if flat[row]:
            found.append((int(row), "zero row" if layer[row, 0] == 0 else "constant row"))
            continue
        earlier = first_with.setdefault(layer[row].tobytes(), int(row))
        if earlier != row:
            found.append((int(row), f"duplicate row of {earlier}"))
    return found


def _evenly(rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    return rows[:: max(1, -(-len(rows) // most))]


def participation_ratio(rows: NDArray[np.float32]) -> float:
    """Effective dimension (sum of eigenvalues squared over sum of squared eigenvalues) of centred rows ``[n, dim]``."""
    if len(rows) < 2:
        return float("nan")
    centred = rows.astype(np.float64)
    centred -= centred.mean(axis=0)
    covariance = centred.T @ centred
    squared = float((covariance**2).sum())
    return float(np.trace(covariance)) ** 2 / squared if squared > 0 else float("nan")


def _notes(dimensions: tuple[float, ...]) -> tuple[str, ...]:
    listed = ", ".join(f"{value:.1f}" for value in dimensions)
    notes = [f"Effective dimension by layer: {listed}."]
    low = [str(index) for index, value in enumerate(dimensions) if not value >= 2]
    if low:
        notes.append(f"Layer {', '.join(low)} is nearly one-dimensional: every axis there says the same.")
    return tuple(notes)
