"""Hypotheses of a campaign that was not run here: what was printed of them, never a result of ours.

Both kinds are context: no content head, digest, look or verdict of a run knows of them, and no foreign row is ever confirmed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from .base import Record

PKind = Literal["value", "zero", "below", "missing", "unreadable"]
P_KINDS: tuple[str, ...] = get_args(PKind)
"""``value`` is in (0, 1]; ``zero`` was printed as 0; ``below`` as a bound (``<1e-16``); ``missing`` was left empty;
``unreadable`` is text that is none of these, or a number outside [0, 1]."""


@dataclass(frozen=True)
class ForeignSource(Record):
    """Context: a file of foreign hypotheses, as the user described it."""

    KIND = "foreign_source"
    name: str
    """How people call the campaign; unique in a ledger."""
    file: str
    """Name of the file it was read from."""
    sha256: str
    """Of the file's bytes."""
    columns: Mapping[str, str]
    """Our field → the file's column, as the user mapped them."""
    draws: int | None
    """Null draws behind every p-value, where the user gave one number for all; else ``None``."""
    source: str
    """Where it comes from, in the user's words."""
    rows: int
    at: str
    """UTC, ISO 8601."""


@dataclass(frozen=True)
class ForeignRow(Record):
    """Context: one foreign hypothesis, as printed."""

    KIND = "foreign"
    id: str
    """``X0001`` … over all foreign rows of the ledger."""
    source: str
    """Name of its :class:`ForeignSource`."""
    label: str
    """Its id in the file; empty without one."""
    claim: str
    p_printed: str
    """The cell as it stands in the file."""
    p_kind: str
    """One of ``P_KINDS``."""
    p: float | None = None
    """The number that was printed, or the bound of ``below``; ``None`` for ``missing`` and ``unreadable``."""
    draws: int | None = None
    """Null draws N behind this p, where the user gave them; ``None``: not known."""
    others: Mapping[str, Any] = field(default_factory=dict)
    """Further mapped columns, as printed: effect, family, verdict …"""
