"""Which cells are read: by label, by group, in disjoint samples from a seed; pure functions of labels and rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from .errors import CacheError
from .recipes import hashed_uniform

_STREAM = 4
"""Sampling has random numbers of its own; recipes and halves use streams 1 to 3."""
_LISTED = 12

Source = TypeVar("Source", bound="Selectable")


class Selectable(Protocol):
    """Cells that can be chosen from: :class:`.cells.Cells` and :class:`.streamed.StreamedCells`."""

    @property
    def n_cells(self) -> int:
        """Number of cells."""

    @property
    def obs(self) -> Mapping[str, tuple[str, ...]]:
        """Labels by name, one text per cell each."""

    def select(self: Source, rows: NDArray[np.int64], **facts: Any) -> Source:
        """Return some of the cells."""


@dataclass(frozen=True)
class Samples:
    """Samples to extract.

    Attributes:
        cells: suffix for the name of the cache (empty for the only one) and the cells, in order.
        skipped: groups that are too small, one sentence each.
    """

    cells: tuple[tuple[str, Any], ...]
    skipped: tuple[str, ...] = ()


def plan_samples(
    source: Selectable,
    *,
    where: Sequence[str] = (),
    group_by: str | None = None,
    n_cells: int | None = None,
    samples: int = 1,
    seed: int = 0,
) -> Samples:
    """Choose cells: those that meet ``where``, by group, in disjoint random samples.

    Args:
        source: the cells.
        where: ``COLUMN=VALUE`` each; values of one column are alternatives, columns must all be met.
        group_by: column whose every value gives caches of its own.
        n_cells: cells a sample; all of them when not given.
        samples: disjoint samples of each group.
        seed: fixes which cells are drawn, on every machine, by their place in the file alone.

    Raises:
        CacheError: for an unknown column or value, a number out of range, or if no group has enough cells.
    """
    if samples < 1 or (n_cells is not None and n_cells < 1):
        raise CacheError(f"{samples} samples of {n_cells} cells cannot be drawn: give whole numbers of at least 1.")
    if samples > 1 and n_cells is None:
        raise CacheError(f"{samples} disjoint samples need a size: give the number of cells of each.")
    chosen = rows_where(source, where)
    drawn: list[tuple[str, Any]] = []
    skipped = []
    for group, rows in _groups(source, group_by, chosen).items():
        wanted = samples * (n_cells or len(rows))
        if len(rows) < wanted or not len(rows):
            skipped.append(f"group '{group}' has {len(rows)} cells and {wanted} are wanted")
            continue
        for number, part in enumerate(disjoint(rows, n_cells, samples, seed), start=1):
            facts = _facts(where, group_by, group, n_cells, samples, number, seed)
            parts = [slug(group)] if group_by else []
            parts += [f"s{number}"] if samples > 1 else []
            drawn.append(("-".join(parts), source.select(part, **facts)))
    if not drawn:
        raise CacheError(
            f"{skipped[0] if group_by else f'{len(chosen)} cells are there and {samples * (n_cells or 1)} are wanted'}: "
            "ask for fewer cells or fewer samples."
        )
    _distinct([suffix for suffix, _ in drawn])
    return Samples(tuple(drawn), tuple(skipped))


def rows_where(source: Selectable, where: Sequence[str]) -> NDArray[np.int64]:
    """Return the cells that meet every condition ``COLUMN=VALUE``, int64, increasing."""
    wanted: dict[str, set[str]] = {}
    for condition in where:
        column, sign, value = condition.partition("=")
        if not sign or not column:
            raise CacheError(f"condition '{condition}' cannot be read: write COLUMN=VALUE, such as cell_type=B.")
        wanted.setdefault(column.strip(), set()).add(value.strip())
    kept = np.ones(source.n_cells, dtype=np.bool_)
    for column, values in wanted.items():
        labels = np.array(labels_of(source, column))
        known = sorted(set(labels.tolist()))
        for value in sorted(values - set(known)):
            more = "" if len(known) <= _LISTED else f" and {len(known) - _LISTED} more"
            raise CacheError(f"no cell has {column} = '{value}': the values are {', '.join(known[:_LISTED])}{more}.")
        kept &= np.isin(labels, sorted(values))
    if not kept.any():
        raise CacheError(f"no cell meets {' and '.join(where)}: loosen a condition.")
    return np.flatnonzero(kept).astype(np.int64)


def labels_of(source: Selectable, column: str) -> tuple[str, ...]:
    """Return one label per cell; raises ``CacheError`` that lists the columns for an unknown one."""
    if column not in source.obs:
        have = ", ".join(source.obs) or "none"
        raise CacheError(f"the cells have no label '{column}': choose one of the columns of obs ({have}).")
    return source.obs[column]


def disjoint(rows: NDArray[np.int64], n_cells: int | None, samples: int, seed: int) -> list[NDArray[np.int64]]:
    """Return ``samples`` sets of ``n_cells`` of the rows, no two sharing one, each increasing; all rows for ``None``."""
    if n_cells is None:
        return [rows]
    order = rows[np.lexsort((rows, hashed_uniform(seed, 0, rows, stream=_STREAM)))]
    return [np.sort(order[start * n_cells : (start + 1) * n_cells]) for start in range(samples)]


def slug(label: str) -> str:
    """Return a label as part of a folder's name: ``CD4+/CD25 T Reg`` becomes ``cd4_cd25_t_reg``."""
    return re.sub(r"[^a-z0-9]+", "_", label.lower().replace("+", "")).strip("_") or "group"


def _groups(source: Selectable, group_by: str | None, rows: NDArray[np.int64]) -> Mapping[str, NDArray[np.int64]]:
    if group_by is None:
        return {"": rows}
    labels = np.array(labels_of(source, group_by))[rows]
    return {group: rows[labels == group] for group in sorted(set(labels.tolist()))}


def _facts(
    where: Sequence[str], group_by: str | None, group: str, n_cells: int | None, samples: int, number: int, seed: int
) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if where:
        facts["where"] = list(where)
    if group_by:
        facts["group"] = {group_by: group}
    if n_cells is not None:
        facts["sample"] = {"cells": n_cells, "number": number, "of": samples, "seed": seed}
    return facts


def _distinct(suffixes: Sequence[str]) -> None:
    repeated = next((suffix for suffix in suffixes if suffixes.count(suffix) > 1), None)
    if repeated is not None:
        raise CacheError(f"two groups would both be called '{repeated}': rename one of them in the column.")
