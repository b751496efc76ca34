"""What a model may answer: the JSON schema it is given, how its text is read, and what is wrong with it. Pure functions.

The schema is one flat object per hypothesis: every field required and nullable, no union, no dictionary, no default, and enums
from what the digest offers. Many servers ignore a schema, so every answer is read as if there had been none.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ...hypotheses.grammar import DIRECTIONS
from ...hypotheses.spec import Proposal
from ..digest import Digest, Offer
from ..untrusted import prose

MOVES = ("cover", "transfer", "refine", "rescue")
MAX_ERRORS = 20
"""Errors that are told to the model."""
_FIELDS = tuple(f.name for f in fields(Proposal))
_PROSE = ("claim", "rationale")
_FENCE = re.compile(r"```[a-zA-Z]*\s*\n(.*?)```", re.DOTALL)

Said = tuple[str, str, str, str]
"""Test, annotation, layers and coordinates: what makes two proposals the same."""


@dataclass(frozen=True)
class Reading:
    """What was read of one answer."""

    good: tuple[Proposal, ...]
    """Proposals that can be said, at most as many as were asked for."""
    errors: tuple[str, ...]
    """One sentence each; empty if the answer is as it was asked for."""
    is_json: bool


def schema(digest: Digest) -> dict[str, Any]:
    """The JSON schema of an answer to ``digest``."""
    enums = {
        "test": _unique(o.test for o in digest.offers),
        "annotation": _unique(o.annotation for o in digest.offers),
        "layers": _unique(q for o in digest.offers for q in o.layers),
        "coordinates": _unique(c for o in digest.offers for c in o.coordinates),
        "direction": list(DIRECTIONS),
        "move": list(MOVES),
    }
    properties: dict[str, Any] = {}
    for name in _FIELDS:
        if name in enums:
            properties[name] = {"type": ["string", "null"], "enum": [*enums[name], None]}
        else:
            properties[name] = {"type": ["number" if name == "prior" else "string", "null"]}
    item = {"type": "object", "properties": properties, "required": list(_FIELDS), "additionalProperties": False}
    return {
        "type": "object",
        "properties": {"hypotheses": {"type": "array", "items": item}},
        "required": ["hypotheses"],
        "additionalProperties": False,
    }


def read(text: str, digest: Digest, count: int) -> Reading:
    """Read ``text`` as an answer of ``count`` hypotheses. Never raises, whatever the text is."""
    found = _json_in(text)
    if found is None:
        return Reading((), ("the answer holds no JSON object",), False)
    items = found.get("hypotheses")
    if not isinstance(items, list):
        return Reading((), ('the object has no list "hypotheses"',), True)
    offers = {(o.test, o.annotation): o for o in digest.offers}
    said: dict[Said, str] = {(r.test, r.annotation, r.layers, r.coordinates): r.id for r in digest.rows}
    errors: list[str] = []
    good: list[Proposal] = []
    for number, item in enumerate(items[:count], start=1):
        wrong = _wrong(item, offers, said)
        errors += [f"hypothesis {number}: {w}" for w in wrong]
        if not wrong:
            proposal = _proposal(item)
            said[sentence(proposal)] = f"hypothesis {number}"
            good.append(proposal)
    if len(items) < count:
        errors.append(f"the list holds {len(items)} of the {count} hypotheses that were asked for")
    return Reading(tuple(good), tuple(errors[:MAX_ERRORS]), True)


def sentence(p: Proposal) -> Said:
    """What makes two proposals the same."""
    return p.test, p.annotation, p.layers, p.coordinates


def _json_in(text: str) -> dict[str, Any] | None:
    """The JSON object of an answer: the text itself, what stands in a fence, or from the first brace to the last."""
    candidates = [text, *_FENCE.findall(text)[:4]]
    first, last = text.find("{"), text.rfind("}")
    if 0 <= first < last:
        candidates.append(text[first : last + 1])
    for candidate in candidates:
        try:
            value = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return None


def _wrong(item: object, offers: Mapping[tuple[str, str], Offer], said: Mapping[Said, str]) -> list[str]:
    if not isinstance(item, dict):
        return ["it is not an object"]
    if unknown := sorted(prose(str(k), 40) for k in item.keys() - set(_FIELDS)):
        return [f"it has keys that are not known: {', '.join(unknown[:5])}"]
    if missing := [name for name in _FIELDS if item.get(name) is None and name != "parent"]:
        return [f"{', '.join(missing)} is missing or null"]
    if wrong := [n for n in _FIELDS if n != "prior" and item.get(n) is not None and not isinstance(item[n], str)]:
        return [f"{', '.join(wrong)} must be text"]
    prior = item["prior"]
    if isinstance(prior, bool) or not isinstance(prior, int | float) or not (math.isfinite(prior) and 0 <= prior <= 1):
        return ["prior must be a number from 0 to 1"]
    errors = []
    for name, choices in (("direction", DIRECTIONS), ("move", MOVES)):
        if item[name] not in choices:
            errors.append(f"{name} is {_short(item[name])}; it must be one of {', '.join(choices)}")
    return errors + _unsayable(item, offers, said)


def _unsayable(item: Mapping[str, Any], offers: Mapping[tuple[str, str], Offer], said: Mapping[Said, str]) -> list[str]:
    offer = offers.get((item["test"], item["annotation"]))
    if offer is None:
        return [f"test {_short(item['test'])} is not offered for the annotation {_short(item['annotation'])}"]
    errors = [
        f"{name} is {_short(item[name])}; {item['test']} has {', '.join(choices)}"
        for name, choices in (("layers", offer.layers), ("coordinates", offer.coordinates))
        if item[name] not in choices
    ]
    key = (item["test"], item["annotation"], item["layers"], item["coordinates"])
    if not errors and key in said:
        errors.append(f"it asks what {said[key]} asks")
    return errors


def _proposal(item: Mapping[str, Any]) -> Proposal:
    values: dict[str, Any] = {
        name: item.get(name) if name == "prior" else _cut(name, item.get(name)) for name in _FIELDS
    }
    return Proposal(**values)


def _cut(name: str, value: str | None) -> str | None:
    """Prose is kept to a length that is shown; the other texts were compared with what is offered, or are ids."""
    return value if value is None else prose(value, 2000) if name in _PROSE else prose(value, 200)


def _short(text: str) -> str:
    return f"'{prose(text, 60)}'"


def _unique(names: Any) -> list[str]:
    return list(dict.fromkeys(names))
