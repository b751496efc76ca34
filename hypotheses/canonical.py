"""Canonical JSON: one value, one byte string, one sha256, on every machine.

Floats are written with Python's shortest round-trip representation; NaN and infinities are refused, because a ledger
body must be a value that every JSON reader understands.
"""

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:
    """``value`` as JSON with sorted keys, no spaces and no non-finite number (``ValueError``)."""
    return _ENCODER.encode(value)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_text(text: str) -> str:
    """Hex sha256 of the UTF-8 bytes of ``text``."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def sha256_of(value: Any) -> str:
    """Hex sha256 of :func:`canonical_json` of ``value``."""
    return sha256_text(canonical_json(value))
