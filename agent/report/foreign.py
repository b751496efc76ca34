"""The panel of campaigns from elsewhere: counts only, apart from everything this run says."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..foreign import Corrected
from ..ledger.foreign import ForeignSource

COLUMNS: Mapping[str, str] = {"p": "p", "bonferroni": "Bonferroni", "holm": "Holm", "bh": "BH", "by": "BY"}


@dataclass(frozen=True)
class ForeignLine:
    """One campaign: how many p-values of which kind, and how many are at most .05 in each column."""

    name: str
    about: str
    rows: int
    tests: int
    kinds: str
    printed: tuple[int, ...]
    """In the order of ``COLUMNS``, zeros as printed."""
    repaired: tuple[int, ...]
    """Zeros as 1 / (N + 1); empty where nothing was repaired."""


def foreign_line(source: ForeignSource, found: Corrected) -> ForeignLine:
    """The line of one campaign."""
    survivors = found.survivors()
    kinds = ", ".join(f"{n:,} {kind}" for kind, n in found.kinds.items())
    return ForeignLine(
        name=source.name,
        about=source.source or source.file,
        rows=found.rows,
        tests=found.tests,
        kinds=kinds,
        printed=tuple(survivors["printed"][c] for c in COLUMNS),
        repaired=tuple(survivors["repaired"][c] for c in COLUMNS) if "repaired" in survivors else (),
    )
