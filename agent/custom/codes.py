"""The code of models' statistics as the ledger keeps it: read by sha256, and written so that a reader sees all of it."""

from collections.abc import Mapping
from typing import Any

from ..ledger.provenance import Artifact
from ..ledger.store import Ledger

ARTIFACT = "statistic"
"""Name of the artifact that holds the code."""


def codes_of(ledger: Ledger) -> dict[str, str]:
    """sha256 → code, of every statistic that a model wrote for the run of ``ledger``, also of those that stayed broken."""
    return {a.sha256: a.text() for a in ledger.records(Artifact) if a.name == ARTIFACT}


def code_of(ledger: Ledger, spec: Mapping[str, Any]) -> str | None:
    """The code of the row with ``spec``; ``None`` for a test of the library."""
    return codes_of(ledger).get(spec["code"]) if "code" in spec else None


def as_shown(code: str) -> str:
    """``code`` with everything a terminal would obey or an eye would miss written as its escape; lines stay lines."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in code)
