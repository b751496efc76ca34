"""An advisory critic: a second call that remarks on what is about to be registered. Its words are kept and shown, never a gate.

Nothing is dropped, changed or judged by a remark, and no verdict reads one. A critic that gives no answer, or one that cannot be
read, costs its remarks and nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ...hypotheses.spec import Proposal
from ..untrusted import prose
from .answers import json_in

CONCERNS = ("none", "circular", "redundant", "confounded", "underpowered", "unclear", "other")
MAX_REMARK = 400
"""Characters of a remark that are kept."""

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "remarks": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "number": {"type": ["integer", "null"]},
                    "concern": {"type": ["string", "null"], "enum": [*CONCERNS, None]},
                    "remark": {"type": ["string", "null"]},
                },
                "required": ["number", "concern", "remark"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["remarks"],
    "additionalProperties": False,
}


def told(proposals: Sequence[Proposal]) -> list[dict[str, Any]]:
    """The hypotheses as the critic's prompt shows them, numbered from 1."""
    return [{"number": number} | asdict(p) for number, p in enumerate(proposals, start=1)]


def remarks(text: str, count: int) -> dict[int, Mapping[str, str]] | None:
    """Place (from 0) → ``concern`` and ``remark``; the first of each place counts. ``None`` where the text is no such object."""
    found = json_in(text)
    items = None if found is None else found.get("remarks")
    if not isinstance(items, list):
        return None
    out: dict[int, Mapping[str, str]] = {}
    for item in items[:count]:
        if not isinstance(item, dict):
            continue
        number, concern, remark = item.get("number"), item.get("concern"), item.get("remark")
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= count:
            continue
        if concern in CONCERNS and isinstance(remark, str):
            out.setdefault(number - 1, {"concern": concern, "remark": prose(remark, MAX_REMARK)})
    return out


def judged(text: str) -> tuple[str, str]:
    """Outcome and detail of a critic's answer; whatever it remarks is taken."""
    if json_in(text) is None:
        return "invalid_json", "the answer holds no JSON object"
    return ("ok", "") if remarks(text, 1) is not None else ("invalid_schema", 'the object has no list "remarks"')
