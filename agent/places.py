"""Where the record of a folder is. Imports nothing that computes, so that reading a ledger starts quickly."""

from pathlib import Path

from .config import ledger_at, load_config
from .ledger.store import Ledger

REPORT_NAME = "report.html"
"""The page that a run leaves in its folder."""


def ledger_path(folder: Path) -> Path | str:
    """Where the ledger of ``folder`` is: a file, or the address its settings name."""
    return ledger_at(folder, load_config(folder, {}))


def open_ledger(folder: Path) -> Ledger:
    """The ledger of ``folder``, read-only."""
    return Ledger.open_readonly(ledger_path(folder))
