"""From the columns of a count table to genes: symbols or Ensembl ids, versions, old names, names that occur twice."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import CacheError

SYMBOL_COLUMNS = ("feature_name", "gene_name", "gene_symbol", "gene_symbols", "symbol", "name", "hgnc_symbol")
"""Where files that are indexed by Ensembl ids keep their symbols."""

ENSEMBL_COLUMNS = ("ensembl_id", "gene_ids", "gene_id", "ensembl", "ensembl_gene_id", "feature_id", "id")
"""Where files that are indexed by symbols keep their Ensembl ids."""

_ENSEMBL = re.compile(r"^(ENS[A-Z]*G\d{6,})(\.\d+)?$")

Duplicates = Literal["sum", "refuse"]


@dataclass(frozen=True)
class GeneMap:
    """Which gene each column counts.

    Attributes:
        symbols: one per gene, unique, in the order of their first column.
        gene_of: gene of each column, int64 ``[n_columns]``; −1 for a column that is no gene.
        facts: plain JSON values for a manifest: what was renamed and what was added up.
    """

    symbols: tuple[str, ...]
    gene_of: NDArray[np.int64]
    facts: Mapping[str, Any]

    def ids_of(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Ensembl ids of the genes from those of the columns; several of one gene are joined with ``|``."""
        found: list[list[str]] = [[] for _ in self.symbols]
        for gene, one in zip(self.gene_of, ids, strict=True):
            if gene >= 0 and one and one not in found[gene]:
                found[gene].append(one)
        return tuple("|".join(several) for several in found)


@dataclass(frozen=True)
class Aliases:
    """Old name → name in use, from a file the user gave."""

    table: Mapping[str, str]
    facts: Mapping[str, Any]


NO_ALIASES = Aliases({}, {})


def read_aliases(path: str | Path) -> Aliases:
    """Read a table of two tab- or comma-separated columns, the old name and the name in use; ``#`` begins a comment.

    Raises:
        CacheError: for a line that has not two names, or gives an old name a second meaning, with its number.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CacheError(f"{path} cannot be read ({error}): give a text file of old and new names.") from error
    table: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        names = [name.strip() for name in re.split(r"[\t,]", line)]
        if len(names) != 2 or not all(names):
            raise CacheError(f"{path} line {number} is '{line}': give an old name, a tab and the name in use.")
        if table.setdefault(names[0], names[1]) != names[1]:
            raise CacheError(
                f"{path} line {number} calls '{names[0]}' {names[1]}, and an earlier line {table[names[0]]}: keep one."
            )
    return Aliases(table, {"file": path.name, "sha256": hashlib.sha256(text.encode()).hexdigest()})


def is_ensembl(names: Sequence[str]) -> bool:
    """Whether most of the names are Ensembl gene ids."""
    return bool(names) and sum(bool(_ENSEMBL.match(name)) for name in names) > len(names) / 2


def without_version(name: str) -> str:
    """An Ensembl id without its version; any other name unchanged."""
    found = _ENSEMBL.match(name)
    return found.group(1) if found else name


def ensembl_ids(names: Sequence[str]) -> tuple[str, ...]:
    """The Ensembl ids among the names, without their versions; empty text for a name that is none."""
    return tuple(without_version(name) if _ENSEMBL.match(name) else "" for name in names)


def symbol_column(names: Sequence[str], columns: Sequence[str]) -> str | None:
    """The column that holds symbols where the index holds Ensembl ids; ``None`` where the index will do."""
    if not is_ensembl(names):
        return None
    return next((column for column in SYMBOL_COLUMNS if column in columns), None)


def map_genes(
    names: Sequence[str],
    source: str,
    *,
    aliases: Aliases = NO_ALIASES,
    duplicates: Duplicates = "sum",
    keep: NDArray[np.bool_] | None = None,
) -> GeneMap:
    """Say which gene each column counts.

    Versions of Ensembl ids are dropped, then names in the alias table are replaced. Columns that end with one name are
    one gene: their counts are added up (``sum``), or they are refused (``refuse``).

    Raises:
        CacheError: for a blank name, or a repeated one where that is refused.
    """
    wanted = np.ones(len(names), dtype=np.bool_) if keep is None else keep
    final = [aliases.table.get(plain, plain) for plain in (without_version(str(name).strip()) for name in names)]
    blank = next((column for column, name in enumerate(final) if wanted[column] and not name), None)
    if blank is not None:
        raise CacheError(f"{source} has a blank gene name in column {blank + 1}: name every column.")
    counted = Counter(name for column, name in enumerate(final) if wanted[column])
    repeated = sorted(name for name, count in counted.items() if count > 1)
    if repeated and duplicates == "refuse":
        raise CacheError(f"{source} names gene '{repeated[0]}' more than once: make gene symbols unique first.")
    symbols = tuple(counted)
    place = {symbol: gene for gene, symbol in enumerate(symbols)}
    gene_of = np.array([place[name] if wanted[i] else -1 for i, name in enumerate(final)], dtype=np.int64)
    facts: dict[str, Any] = {}
    if aliases.table:
        used = sum(without_version(str(name).strip()) in aliases.table for name in names)
        facts["aliases"] = {**aliases.facts, "names_replaced": used}
    if repeated:
        facts["columns_added_up"] = {"genes": len(repeated), "first": repeated[:20]}
    if not wanted.all():
        facts["columns_left_out"] = int((~wanted).sum())
    return GeneMap(symbols, gene_of, facts)
