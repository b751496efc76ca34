"""What a proposer said, made safe to keep and to show: plain JSON of bounded size, whatever types it arrived in.

A model may answer anything. Nothing here repairs an answer: a field of the wrong type is named, and the answer becomes a
recorded rejection. What is kept of it is cut to size, because a ledger is read by people.
"""

import math
import reprlib
from dataclasses import fields
from typing import Any

from ..hypotheses.grammar import MAX_TEXT
from ..hypotheses.spec import Proposal
from .custom.proposal import CodeProposal

MAX_SAID = 4000
"""Characters of one field that are kept in the record of what was said."""
_TEXTS = ("test", "annotation", "layers", "coordinates", "claim", "direction", "rationale", "move")


def malformed(said: object) -> str | None:
    """Why ``said`` is no proposal: one sentence that names the first field of a wrong type, or ``None``."""
    if not isinstance(said, Proposal):
        return f"the answer is a {type(said).__name__}; it must be a proposal with the fields of the schema"
    for name in _TEXTS:
        value = getattr(said, name)
        if not isinstance(value, str):
            return f"{name} is a {type(value).__name__}; it must be text"
    if isinstance(said.prior, bool) or not isinstance(said.prior, int | float):
        return f"prior is a {type(said.prior).__name__}; it must be a probability from 0 to 1"
    if not isinstance(said.parent, str | None):
        return f"parent is a {type(said.parent).__name__}; it must be the id of a row, or nothing"
    if isinstance(said, CodeProposal) and not (isinstance(said.code, str) and isinstance(said.order_invariant, bool)):
        return "code must be text, and order_invariant true or false"
    return None


def as_said(said: object) -> dict[str, Any]:
    """``said`` as JSON types for the record: verbatim where JSON and UTF-8 can hold it, else a short description."""
    if not isinstance(said, Proposal):
        return {"said": _plain(said)}
    return {f.name: _plain(getattr(said, f.name)) for f in fields(said)}


def prose(text: str, limit: int = MAX_TEXT) -> str:
    """Words to display: cut to size, on one line, without what UTF-8 cannot hold or a terminal would obey."""
    kept = _utf8(text[:limit])[:limit]
    return "".join(c if c.isprintable() else " " for c in kept)


def _plain(value: object) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, str):
        return _utf8(value[:MAX_SAID])
    try:
        return _utf8(reprlib.repr(value))
    except ValueError:  # an integer of thousands of digits has no text
        return f"<{type(value).__name__}>"


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
