"""An explicit list of genes beside an array: which row is which gene, said in a file that can be checked line by line.

Three forms: text with one name a line; a table (``.tsv``, ``.csv``) whose heading has ``symbol``; a JSON list of names or
object of name → row. A row is never guessed: a blank line, a repeated name or a count that differs is refused.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import CacheError

SYMBOL_HEADINGS = ("symbol", "gene", "gene_name", "gene_symbol", "feature_name")
NUMBERS = ("n_cells", "mean_expression", "detection")


@dataclass(frozen=True)
class GeneList:
    """Names in row order, where each was read, and whatever numbers stood beside them.

    Attributes:
        names: one per row.
        places: how to say where each was read, such as ``line 12``.
        numbers: float64 ``[n]`` by name, of :data:`NUMBERS`.
        source: how messages name the list.
    """

    names: tuple[str, ...]
    places: tuple[str, ...]
    numbers: Mapping[str, NDArray[np.float64]]
    source: str


def read_gene_list(path: str | Path) -> GeneList:
    """Read a gene list. Raises ``CacheError`` with the line for whatever cannot be a gene of its own."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise CacheError(f"{path} cannot be read ({reason}): give a text file with one gene a line.") from error
    if path.suffix == ".json":
        found = _from_json(text, path)
    elif path.suffix in (".tsv", ".csv"):
        found = _from_table(text, path)
    else:
        found = _from_lines(text, path)
    return checked(found)


def checked(genes: GeneList) -> GeneList:
    """Return the list if every name is there once; raises ``CacheError`` with the place of the first that is not."""
    first: dict[str, str] = {}
    for name, place in zip(genes.names, genes.places, strict=True):
        if not name:
            raise CacheError(
                f"{genes.source} {place} is blank: every row needs its gene, so take the line out only if the array has "
                "no row for it either."
            )
        if name in first:
            raise CacheError(
                f"{genes.source} {place} names '{name}', and so does {first[name]}: give every row a name of its own."
            )
        first[name] = place
    return genes


def fit(genes: GeneList, n_rows: int, array: str) -> None:
    """Refuse a list that names more or fewer genes than ``array`` has rows."""
    if len(genes.names) == n_rows:
        return
    heading = genes.names[0].lower() in SYMBOL_HEADINGS if genes.names else False
    hint = f"; '{genes.names[0]}' looks like a heading" if heading else ""
    raise CacheError(
        f"{genes.source} names {len(genes.names)} genes and {array} has {n_rows} rows{hint}: give one name for each row, in "
        "the order of the rows."
    )


def _from_lines(text: str, path: Path) -> GeneList:
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    for number, line in enumerate(lines, start=1):
        if "\t" in line or "," in line:
            raise CacheError(
                f"{path} line {number} holds more than a name: name the file .tsv or .csv and give it a heading with "
                "'symbol'."
            )
    return GeneList(
        names=tuple(line.strip() for line in lines),
        places=tuple(f"line {number}" for number in range(1, len(lines) + 1)),
        numbers={},
        source=str(path),
    )


def _from_table(text: str, path: Path) -> GeneList:
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    if not lines:
        raise CacheError(f"{path} is empty: give a heading with 'symbol' and one gene a line.")
    # One line is one gene: a quoted line break would shift every row after it.
    rows = [next(csv.reader([line], delimiter="," if path.suffix == ".csv" else "\t"), []) for line in lines]
    heading = [name.strip() for name in rows[0]]
    column = next((heading.index(name) for name in SYMBOL_HEADINGS if name in heading), None)
    if column is None:
        raise CacheError(
            f"{path} line 1 names the columns {', '.join(heading)} and none of {', '.join(SYMBOL_HEADINGS)}: give a heading."
        )
    names = tuple(row[column].strip() if len(row) > column else "" for row in rows[1:])
    places = tuple(f"line {number}" for number in range(2, len(rows) + 1))
    checked(GeneList(names, places, {}, str(path)))
    numbers = {}
    for wanted in NUMBERS:
        if wanted in heading:
            at = heading.index(wanted)
            numbers[wanted] = np.array(
                [_number(row, at, wanted, place, path) for row, place in zip(rows[1:], places, strict=True)]
            )
    return GeneList(names, places, numbers, str(path))


def _number(row: Sequence[str], at: int, name: str, place: str, path: Path) -> float:
    text = row[at].strip() if len(row) > at else ""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    most = {"detection": 1.0}.get(name, float("inf"))
    if not 0 <= value <= most or value == float("inf") or (name == "n_cells" and value != round(value)):
        kind = {"detection": "a fraction between 0 and 1", "n_cells": "a whole number"}.get(
            name, "a number of at least 0"
        )
        raise CacheError(f"{path} {place} gives {name} = '{text}': give {kind}.")
    return value


def _from_json(text: str, path: Path) -> GeneList:
    try:
        value = json.loads(text, object_pairs_hook=lambda pairs: pairs if pairs else {})
    except json.JSONDecodeError as error:
        raise CacheError(
            f"{path} is not valid JSON ({error}): give a list of names or an object of name and row."
        ) from error
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        places = tuple(f"entry {number}" for number in range(1, len(value) + 1))
        return GeneList(tuple(entry.strip() for entry in value), places, {}, str(path))
    pairs = value if isinstance(value, list) else []
    if not pairs or not all(isinstance(pair, tuple) and isinstance(pair[1], int) for pair in pairs):
        raise CacheError(f"{path} is neither a list of names nor an object of name and row: give one of these.")
    by_row = sorted(pairs, key=lambda pair: int(pair[1]))
    for expected, (name, row) in enumerate(by_row):
        if row != expected:
            said = f"begins at {row}" if expected == 0 else f"gives '{name}' row {row} where row {expected} is due"
            raise CacheError(f"{path} {said}: rows count from 0 without a gap, or every gene would be read one off.")
    return GeneList(tuple(name.strip() for name, _ in by_row), tuple(f"row {row}" for _, row in by_row), {}, str(path))
