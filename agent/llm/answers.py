"""What a model may answer: the JSON schema it is given, how its text is read, and what is wrong with it. Pure functions.

The schema is one flat object per hypothesis: every field required and nullable, no union, no dictionary, no default, and enums
from what the digest offers. Many servers ignore a schema, so every answer is read as if there had been none.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from ...hypotheses.grammar import DIRECTIONS
from ...hypotheses.spec import Proposal
from ..custom.kind import NAME
from ..custom.proposal import CodeProposal
from ..custom.reading import FIELDS as CODE_FIELDS
from ..custom.reading import NOT_ALLOWED, Shelf, code_faults, is_code, stray_code
from ..digest import Digest, Offer
from ..proposers.base import Refusal
from ..untrusted import prose
from .portfolio import BETS, MOVES, Candidate, Rules

MAX_ERRORS = 20
"""Errors that are told to the model."""
MAX_KEPT = 1000
"""Characters of a refused hypothesis that its rejection keeps; the whole answer stands in the completion."""
_PROPOSAL = tuple(f.name for f in fields(Proposal))
_FIELDS = (*_PROPOSAL, "bet")
_PROSE = ("claim", "rationale")
_TYPES = {"prior": "number", "order_invariant": "boolean"}
_FENCE = re.compile(r"```[a-zA-Z]*\s*\n(.*?)```", re.DOTALL)

Said = tuple[str, str, str, str]
"""Test, annotation, layers and coordinates: what makes two proposals the same."""


@dataclass(frozen=True)
class Reading:
    """What was read of one answer."""

    good: tuple[Candidate, ...]
    """Hypotheses that can be said and keep the rules, at most as many as were asked for."""
    refused: tuple[tuple[str, Refusal], ...]
    """What cannot, as it was said (cut to size), with the reason."""
    errors: tuple[str, ...]
    """One sentence each, for the model; empty if the answer is as it was asked for."""
    is_json: bool


def schema(digest: Digest, code: bool = False) -> dict[str, Any]:
    """The JSON schema of an answer to ``digest``; with ``code`` of one that may bring statistics of its own."""
    enums = {
        "test": [*_unique(o.test for o in digest.offers), *([NAME] if code else [])],
        "annotation": _unique(o.annotation for o in digest.offers),
        "layers": _unique(q for o in digest.offers for q in o.layers),
        "coordinates": _unique(c for o in digest.offers for c in o.coordinates),
        "direction": list(DIRECTIONS),
        "move": list(MOVES),
        "bet": list(BETS),
    }
    properties: dict[str, Any] = {}
    for name in (*_FIELDS, *(CODE_FIELDS if code else ())):
        if name in enums:
            properties[name] = {"type": ["string", "null"], "enum": [*enums[name], None]}
        else:
            properties[name] = {"type": [_TYPES.get(name, "string"), "null"]}
    item = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {
        "type": "object",
        "properties": {"hypotheses": {"type": "array", "items": item}},
        "required": ["hypotheses"],
        "additionalProperties": False,
    }


def read(text: str, rules: Rules, count: int) -> Reading:
    """Read ``text`` as an answer of ``count`` hypotheses. Never raises, whatever the text is."""
    found = json_in(text)
    if found is None:
        return Reading((), (), ("the answer holds no JSON object",), False)
    items = found.get("hypotheses")
    if not isinstance(items, list):
        return Reading((), (), ('the object has no list "hypotheses"',), True)
    offers = {(o.test, o.annotation): o for o in rules.digest.offers}
    said: dict[Said, str] = {(r.test, r.annotation, r.layers, r.coordinates): r.id for r in rules.digest.rows}
    refused: list[tuple[str, Refusal]] = []
    places: dict[Candidate, int] = {}
    errors: list[str] = []
    for number, item in enumerate(items[:count], start=1):
        wrong = _wrong(item, offers, said, rules.code)
        candidate = None if wrong else _candidate(item)
        if candidate is not None and (fault := rules.fault(candidate)) is not None:
            wrong = [fault]
        if wrong or candidate is None:
            refused.append((_kept(item), Refusal(wrong[0].reason, "; ".join(w.detail for w in wrong))))
            errors += [f"hypothesis {number}: {w.detail}" for w in wrong]
        else:
            said[sentence(candidate.proposal)] = f"hypothesis {number}"
            places[candidate] = number
    good, against = rules.batch(list(places), count)
    errors += [f"hypothesis {places[c]}: {why.detail}" for c, why in against]
    refused += [(refused_as(c), why) for c, why in against]
    if len(items) < count:
        errors.append(f"the list holds {len(items)} of the {count} hypotheses that were asked for")
    if len(items) > count:
        many = f"the answer holds {len(items)} hypotheses and {count} were asked for; the others were not read"
        refused.append((f"{len(items) - count} more", Refusal("surplus", many)))
    return Reading(tuple(good), tuple(refused), tuple(errors[:MAX_ERRORS]), True)


def sentence(p: Proposal) -> Said:
    """What makes two proposals the same."""
    return p.test, p.annotation, p.layers, p.coordinates


def refused_as(candidate: Candidate) -> str:
    """What is kept of a faultless hypothesis that a quota refused."""
    return _kept(asdict(candidate.proposal) | {"bet": candidate.bet})


def json_in(text: str) -> dict[str, Any] | None:
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


def _wrong(
    item: object, offers: Mapping[tuple[str, str], Offer], said: Mapping[Said, str], code: Shelf | None
) -> list[Refusal]:
    """What of ``item`` is not as the schema has it; every field is looked at before any is used."""
    if is_code(item) and code is None:
        return [NOT_ALLOWED]
    known = _FIELDS if code is None else (*_FIELDS, *CODE_FIELDS)
    if (fault := _misshapen(item, known)) is not None or not isinstance(item, dict):
        return [Refusal("malformed", fault or "")]
    wrong = [
        f"{name} is {_short(item[name])}; it must be one of {', '.join(choices)}"
        for name, choices in (("direction", DIRECTIONS), ("move", MOVES), ("bet", BETS))
        if item[name] not in choices
    ]
    offer = offers.get((item["test"], item["annotation"]))
    if code is not None and is_code(item):
        return [*(Refusal("outside_grammar", w) for w in wrong), *code_faults(item, code)]
    if stray := stray_code(item):
        return stray
    if offer is None:
        wrong.append(f"test {_short(item['test'])} is not offered for the annotation {_short(item['annotation'])}")
    else:
        wrong += [
            f"{name} is {_short(item[name])}; {item['test']} has {', '.join(choices)}"
            for name, choices in (("layers", offer.layers), ("coordinates", offer.coordinates))
            if item[name] not in choices
        ]
    if wrong:
        return [Refusal("outside_grammar", w) for w in wrong]
    twin = said.get((item["test"], item["annotation"], item["layers"], item["coordinates"]))
    return [] if twin is None else [Refusal("duplicate", f"it asks what {twin} asks")]


def _misshapen(item: object, known: Sequence[str]) -> str | None:
    if not isinstance(item, dict):
        return "it is not an object"
    if unknown := sorted(prose(str(k), 40) for k in item.keys() - set(known)):
        return f"it has keys that are not known: {', '.join(unknown[:5])}"
    if missing := [name for name in _FIELDS if item.get(name) is None and name != "parent"]:
        return f"{', '.join(missing)} is missing or null"
    if wrong := [n for n in _FIELDS if n != "prior" and item.get(n) is not None and not isinstance(item[n], str)]:
        return f"{', '.join(wrong)} must be text"
    prior = item["prior"]
    if isinstance(prior, bool) or not isinstance(prior, int | float) or not 0 <= prior <= 1:
        return "prior must be a number from 0 to 1"
    return None


def _candidate(item: Mapping[str, Any]) -> Candidate:
    values: dict[str, Any] = {
        name: item.get(name) if name == "prior" else _cut(name, item.get(name)) for name in _PROPOSAL
    }
    if is_code(item):
        invariant = item.get("order_invariant") is not False
        return Candidate(CodeProposal(**values, code=item["code"], order_invariant=invariant), item["bet"])
    return Candidate(Proposal(**values), item["bet"])


def _kept(item: object) -> str:
    try:
        return json.dumps(item, sort_keys=True)[:MAX_KEPT]
    except ValueError:  # an integer of thousands of digits has no text
        return f"<{type(item).__name__}>"


def _cut(name: str, value: str | None) -> str | None:
    """Prose is kept to a length that is shown; the other texts were compared with what is offered, or are ids."""
    return value if value is None else prose(value, 2000) if name in _PROSE else prose(value, 200)


def _short(text: str) -> str:
    return f"'{prose(text, 60)}'"


def _unique(names: Any) -> list[str]:
    return list(dict.fromkeys(names))
