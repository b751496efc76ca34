"""What an importer is, and what it hands on: groups of raw members, and a tally of what was left out and why."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..annotation_files import AnnotationError, Kind, Triple
from .names import NO_NAMES, Names

__all__ = ["AnnotationError", "Group", "Importer", "Kind", "Options", "Raw", "Tally", "Triple"]

EXAMPLES = 3


@dataclass
class Tally:
    """Counts of what happened to the lines and names of a file, each with a few examples."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, what: str, example: str = "", n: int = 1) -> None:
        """Count ``n`` more of ``what``; the first few different examples are kept."""
        self.counts[what] += n
        kept = self.examples.setdefault(what, [])
        if example and example not in kept and len(kept) < EXAMPLES:
            kept.append(example)

    def sentences(self) -> list[str]:
        """One line a thing counted, in the order in which they were first met."""
        return [
            f"{count} {what}" + (f", such as {'; '.join(self.examples[what])}" if self.examples[what] else "")
            for what, count in self.counts.items()
            if count
        ]


@dataclass
class Group:
    """One gene set, pair set or edge set as the file has it."""

    name: str
    title: str
    genes: list[str] = field(default_factory=list)
    """Of a gene set."""
    triples: list[Triple] = field(default_factory=list)
    """Of pairs (with grade) and edges (with sign)."""


@dataclass
class Raw:
    """A file, read."""

    kind: Kind
    groups: list[Group]
    dropped: Tally
    """Lines that were left out while reading."""
    read: int
    """Lines that were read, the header not counted."""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Options:
    """What a person says about a file."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Role → name of the column in the file, or its number from 1."""
    where: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Column → values to keep; other lines are left out and counted."""
    min_score: float | None = None
    """Pairs below it are left out, in the units of the file."""
    species: str = "human"
    """``human`` or ``mouse``: which lines of a file of several species are kept."""
    names: Names = NO_NAMES
    """Aliases, Ensembl and protein ids."""


@dataclass(frozen=True)
class Importer:
    """One format. A new one is one new file and one line in ``registry``."""

    name: str
    kind: Kind
    reads: str
    """What it reads, in one line."""
    columns: Mapping[str, tuple[str, ...]]
    """Role → names of the column it looks for, in order; empty for a format without columns."""
    read: Callable[[Path, Options], Raw]
    source: str = ""
    version: str = ""
    licence: str = ""
    citation: str = ""
