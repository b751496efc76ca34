"""A user's own covariates of genes, such as length, GC content or number of papers: a table of gene and numbers.

Expression, detection, annotation count and network degree are known already. What a user adds is printed beside them in the
balance of every row, and a note says where the genes of a row stand out. It decides nothing: the nulls do not match it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .annotation_files import AnnotationError
from .importers.base import Options, Tally
from .importers.table import read_table
from .importers.text import sha256_of_file

GENE = ("symbol", "gene", "gene_name", "gene_symbol", "feature_name")
MISSING = frozenset(("", "na", "nan", "none", "null"))


@dataclass(frozen=True, eq=False)
class Covariates:
    """Numbers of the genes of a cache, from a table."""

    columns: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Name → float64 [genes of the cache]; NaN where the table has no number."""
    file: str = ""
    sha256: str = ""

    def facts(self) -> dict[str, object]:
        """What a run freezes of them; empty without a table."""
        if not self.columns:
            return {}
        known = {name: int(np.isfinite(x).sum()) for name, x in self.columns.items()}
        return {"covariates": {"file": self.file, "sha256": self.sha256, "genes": known}}

    def of(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """Numbers of cache rows int64 [n]: float64 [n] each. A gene without one gets their mean, which tells nothing."""
        out = {}
        for name, column in self.columns.items():
            values = column[rows]
            held = np.isfinite(values)
            if held.any():
                out[name] = np.where(held, values, math.fsum(values[held].tolist()) / int(held.sum()))
        return out


def read_covariates(path: Path, symbols: Sequence[str]) -> Covariates:
    """The table at ``path`` for a cache with these ``symbols``: a column of genes, every other column numbers.

    Raises ``AnnotationError`` for a table without a gene of the cache or without a number, a gene that stands twice, and a
    field that is no number (empty and NA are none).
    """
    table = read_table(path, Options())
    of_gene = table.pick("gene", GENE, Options())
    names = {place: name for place, name in enumerate(table.columns) if place != of_gene}
    if not names:
        raise AnnotationError(f"{path} has a column of genes and no other; give at least one column of numbers")
    place_of = {symbol: row for row, symbol in enumerate(symbols)}
    columns = {name: np.full(len(symbols), np.nan) for name in names.values()}
    seen: dict[str, int] = {}
    for line, row in table.kept(Options(), Tally()):
        gene = row[of_gene or 0]
        if gene in seen:
            raise AnnotationError(f"{path}, line {line}: {gene} stands on line {seen[gene]} already; keep one of them")
        seen[gene] = line
        if gene in place_of:
            for place, name in names.items():
                columns[name][place_of[gene]] = _number(row[place], name, path, line)
    empty = [name for name, values in columns.items() if not np.isfinite(values).any()]
    if empty:
        raise AnnotationError(
            f"{path} has no number in '{empty[0]}' for any gene of the cache (genes there: {', '.join(list(seen)[:3])}, in the "
            f"cache: {', '.join(symbols[:3])}); check the names of the genes"
        )
    return Covariates(columns, path.name, sha256_of_file(path))


def _number(text: str, name: str, path: Path, line: int) -> float:
    if text.lower() in MISSING:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.inf
    if not math.isfinite(value):
        raise AnnotationError(
            f"{path}, line {line}: {name} is '{text[:40]}'; write a number, or nothing where there is none"
        )
    return value
