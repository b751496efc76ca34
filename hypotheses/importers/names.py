"""Gene names: aliases, old symbols, Ensembl ids and protein ids to the symbols a cache uses. Nothing is guessed.

A name that the cache holds is left alone, whatever an alias table says. A name that would lead to two symbols of the
cache leads to none: it is kept as it is and reported.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..annotation_files import AnnotationError
from .text import numbered_lines, sha256_of_file

ENSEMBL = re.compile(r"(ENS[A-Z]*[GPT]\d{6,})(\.\d+)?")
PROTEIN = re.compile(r"(\d+)\.(\S+)")
_BEST_SOURCES = ("Ensembl_HGNC_symbol", "BioMart_HUGO", "UniProt_GN_Name")
"""Sources of a STRING alias file that name the gene itself, the surest first."""


@dataclass(frozen=True)
class Names:
    """Other names of genes: name → the symbols it may mean. ``file`` and ``sha256`` say where from."""

    meanings: Mapping[str, frozenset[str]] = field(default_factory=dict)
    file: str = ""
    sha256: str = ""

    def resolver(self, cache: Collection[str]) -> "Resolver":
        """These names for one cache's symbols."""
        return Resolver(self, cache)


NO_NAMES = Names()


class Resolver:
    """Name in a file → symbol of a cache."""

    def __init__(self, names: Names, cache: Collection[str]) -> None:
        self._cache = frozenset(cache)
        self._meanings = names.meanings
        self._back: dict[str, set[str]] = defaultdict(set)
        for old, new in names.meanings.items():
            for symbol in new:
                self._back[symbol].add(old)  # a cache may use the older of two names

    def __call__(self, name: str) -> tuple[str, str]:
        """(symbol, how): how is ``as it is``, ``alias``, ``Ensembl id``, ``ambiguous`` or ``unknown id``."""
        plain = without_version(name)
        if plain in self._cache:
            return plain, "as it is"
        meant = self._meanings.get(plain, frozenset())
        near = {s for s in (*meant, *self._back.get(plain, ())) if s in self._cache}
        for symbol in meant:
            near |= {s for s in self._back.get(symbol, ()) if s in self._cache}
        is_id = ENSEMBL.fullmatch(plain) is not None
        if len(near) == 1:
            return near.pop(), "Ensembl id" if is_id else "alias"
        if len(near) > 1:
            return plain, "ambiguous"
        if is_id:
            return (next(iter(meant)), "Ensembl id") if len(meant) == 1 else (plain, "unknown id")
        return plain, "as it is"


def without_version(name: str) -> str:
    """An Ensembl id without its version; any other name unchanged."""
    found = ENSEMBL.fullmatch(name)
    return found.group(1) if found else name


def read_names(paths: Iterable[Path]) -> Names:
    """Tables of other names. Known by their header: HGNC's complete set, HPA's (Gene, Gene name), STRING's aliases and info.

    Any other table must have two columns, a name and the symbol in use, separated by a tab or comma.
    """
    meanings: dict[str, set[str]] = defaultdict(set)
    given = list(paths)
    for path in given:
        _read_one(path, meanings)
    return Names(
        {name: frozenset(symbols - {name}) for name, symbols in meanings.items() if symbols - {name}},
        ", ".join(path.name for path in given),
        " ".join(sha256_of_file(path) for path in given),
    )


def _read_one(path: Path, meanings: dict[str, set[str]]) -> None:
    lines = numbered_lines(path)
    number, first = next(lines)
    head = [field.strip().strip('"') for field in _fields(first.lstrip("#"))]
    place = {name: i for i, name in enumerate(head)}
    if {"string_protein_id", "alias", "source"} <= set(place):
        _string_aliases(lines, meanings)
        return
    wide = (
        ("string_protein_id", "preferred_name", ()),
        ("ensembl_gene_id", "symbol", ("alias_symbol", "prev_symbol")),
        ("Gene", "Gene name", ("Gene synonym",)),
        ("ensembl_gene_id", "hgnc_symbol", ()),
    )
    for id_column, symbol_column, others in wide:
        if {id_column, symbol_column} <= set(place):
            for _, line in lines:
                row = [field.strip().strip('"') for field in _fields(line)]
                row += [""] * (len(head) - len(row))
                symbol = row[place[symbol_column]]
                names = [row[place[id_column]]]
                names += [n for o in others if o in place for n in re.split(r"[|,]\s*", row[place[o]])]
                for name in names:
                    if name and symbol:
                        meanings[without_version(name)].add(symbol)
            return
    for line_number, line in [(number, first), *lines]:
        if line.startswith("#"):
            continue
        row = [field.strip() for field in _fields(line)]
        if len(row) != 2 or not all(row):
            raise AnnotationError(
                f"{path}, line {line_number} is '{line[:60]}': a table of names has two columns, a name and the symbol in use"
            )
        meanings[without_version(row[0])].add(row[1])


def _string_aliases(lines: Iterable[tuple[int, str]], meanings: dict[str, set[str]]) -> None:
    """Protein id → gene symbol, by the surest source of each protein."""
    best: dict[str, tuple[int, str]] = {}
    for _, line in lines:
        protein, alias, source, *_ = [*line.split("\t"), "", ""]
        for rank, name in enumerate(_BEST_SOURCES):
            if name in source.split() and rank < best.get(protein, (len(_BEST_SOURCES), ""))[0]:
                best[protein] = (rank, alias)
    for protein, (_, alias) in best.items():
        meanings[protein].add(alias)


def _fields(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else line.split(",")
