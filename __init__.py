"""hyposcreen: screen hypotheses about single-cell transformers, with error control that survives the agent."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from .agent.ledger.store import Ledger

__version__ = "0.1.0"


def open_ledger(path: "str | Path") -> "Ledger":
    """The ledger at ``path``, for reading: ``open_ledger("runs.db").to_pandas()`` in a notebook."""
    from .agent.ledger.store import open_ledger as opened

    return opened(path)
