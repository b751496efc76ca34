"""Null distributions as the page draws them: one letter a bin."""

from collections.abc import Mapping
from typing import Any

from ..ledger.records import Row
from .encode import ALPHABET, significant

TALLEST, SMALL = 24, 10
"""Steps of the fullest bin, in the large picture of the reported null and in the small ones of the others."""


def sketch_of(row: Row, sketches: Mapping[str, Any]) -> list[Any] | None:
    """``[low, high, observed, letters]`` for each companion null of ``row``, in their order; ``None`` for one without."""
    packed = [_packed(sketches.get(null), TALLEST if null == row.null else SMALL) for null in row.companions]
    return packed if any(packed) else None


def _packed(sketch: Mapping[str, Any] | None, steps: int) -> list[Any] | None:
    if not sketch or not sketch["counts"] or sketch["observed"] is None:
        return None
    top = max(sketch["counts"])
    heights = (max(1, round(steps * n / top)) if n else 0 for n in sketch["counts"])  # any draw at all can be seen
    ends = [significant(sketch[name], 3) for name in ("low", "high", "observed")]
    return [*ends, "".join(ALPHABET[height] for height in heights)]


def source_of(row: Row) -> dict[str, Any] | None:
    """What a proposal was made from, with twelve digits of each digest; ``screen ledger show`` has all 64."""
    return {name: value[:12] if _is_digest(value) else value for name, value in row.proposal_source.items()} or None


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")
