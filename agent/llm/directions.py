"""Which directions of a search are retired, and what may rescue one. Pure functions of the digest, so of genes A alone.

A direction is a family of tests asked of one annotation. It is retired by two *adequate* negatives, where none of its rows has
looked promising: rows with p_scan above .05 that would have seen an effect worth having. What is worth having is taken from the
run itself: the median distance from chance of the rows of the same test that did look promising. A negative is adequate

- if its minimum detectable effect is no larger (80 % power, two-sided .05 divided by the views it scanned), or
- if the whole 95 % interval of its effect lies closer to chance than that.

Where no row of a test has looked promising yet, nothing says what would be worth having, and none of its negatives is adequate.
Promising rows were selected, so their effects lean to the large side and retirement to the early side: it steers a search, it
decides nothing about truth, and a retired direction can be rescued once, by another test.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from ..custom.kind import NAME
from ..digest import Digest, Notes, SeenRow

PROMISING = 0.05
"""p_scan up to which a row counts as promising, and above which as negative."""
NEGATIVES = 2
"""Adequate negatives that retire a direction."""

Name = tuple[str, str]
"""Family and annotation."""


@dataclass(frozen=True)
class Retired:
    """A direction that two adequate negatives have closed."""

    family: str
    annotation: str
    negatives: tuple[str, ...]
    """Ids of its adequate negatives; one of them is the parent of a rescue."""
    tests: tuple[str, ...]
    """Tests that were asked in it; a rescue needs another."""

    @property
    def closed(self) -> bool:
        """Whether a rescue was tried and failed: then it stays retired."""
        return len(self.negatives) > NEGATIVES


def retired(digest: Digest) -> dict[Name, Retired]:
    """The retired directions of ``digest``; none without notes, which hold what adequacy is computed from."""
    if digest.notes is None:
        return {}
    worth = worth_seeing(digest.rows)
    promising = {(r.family, r.annotation) for r in digest.rows if looks_promising(r)}
    negatives: dict[Name, list[str]] = defaultdict(list)
    tests: dict[Name, list[str]] = defaultdict(list)
    for row in digest.rows:
        if row.test == NAME:
            continue  # two statistics of a model have no unit in common
        name = row.family, row.annotation
        tests[name].append(row.test)
        if adequate(row, digest.notes, worth):
            negatives[name].append(row.id)
    return {
        name: Retired(*name, tuple(ids), tuple(dict.fromkeys(tests[name])))
        for name, ids in negatives.items()
        if len(ids) >= NEGATIVES and name not in promising
    }


def looks_promising(row: SeenRow) -> bool:
    """Whether the explored p of ``row`` is small."""
    return row.status == "ok" and row.p_scan <= PROMISING


def worth_seeing(rows: Sequence[SeenRow]) -> dict[str, float]:
    """Test → median distance from chance of its promising rows, in the test's own unit."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if looks_promising(row):
            found[row.test].append(abs(row.effect - row.null_mean))
    return {test: median(sizes) for test, sizes in found.items()}


def adequate(row: SeenRow, notes: Notes, worth: Mapping[str, float]) -> bool:
    """Whether ``row`` is a negative that would have seen an effect of the size ``worth`` names for its test."""
    size = worth.get(row.test)
    if row.status != "ok" or row.p_scan <= PROMISING or size is None:
        return False
    if 0 < notes.detectable.get(row.id, math.inf) <= size:
        return True
    ends = notes.intervals.get(row.id)
    return ends is not None and max(abs(end - row.null_mean) for end in ends) <= size
