"""Which fields of a model's answer belong to a statistic of its own, and what is wrong with them. Pure functions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...tests_library.catalogue import CATALOGUE
from ..digest import Digest
from ..proposers.base import Refusal
from ..untrusted import prose
from .kind import CUSTOM, NAME
from .proposal import code_fault

FIELDS = ("code", "order_invariant")
NOT_ALLOWED = Refusal(
    "code_not_allowed",
    "this run takes no statistics of a model, only the tests that are offered; a run that does is opened with --allow-code",
)


@dataclass(frozen=True)
class Shelf:
    """What a statistic of one's own may be about."""

    sets: tuple[str, ...]
    layers: tuple[str, ...]


def shelf(digest: Digest) -> Shelf:
    """Gene sets and single layers of what ``digest`` offers."""
    offers = [o for o in digest.offers if CATALOGUE[o.test].entity == CUSTOM.entity]
    layers = {q for o in offers for q in o.layers if q[:1] == "L" and q[1:].isdigit()}
    return Shelf(tuple(dict.fromkeys(o.annotation for o in offers)), tuple(sorted(layers, key=lambda q: int(q[1:]))))


def is_code(item: object) -> bool:
    """Whether an item of an answer says that it brings a statistic."""
    return isinstance(item, dict) and item.get("test") == NAME


def code_faults(item: Mapping[str, Any], on: Shelf) -> list[Refusal]:
    """What is wrong with an item that brings a statistic; its other fields have their types."""
    if not isinstance(item.get("code"), str):
        return [Refusal("malformed", f"code must be text where the test is {NAME}")]
    if not isinstance(item.get("order_invariant"), bool | None):
        return [Refusal("malformed", "order_invariant must be true or false")]
    wrong = [
        f"{name} is '{prose(item[name], 60)}'; {NAME} has {', '.join(choices)}"
        for name, choices in (("annotation", on.sets), ("layers", on.layers), ("coordinates", ("all",)))
        if item[name] not in choices
    ]
    wrong += [fault] if (fault := code_fault(item["code"])) else []
    return [Refusal("outside_grammar", w) for w in wrong]


def stray_code(item: Mapping[str, Any]) -> list[Refusal]:
    """What is wrong with code beside a test of the library."""
    return (
        [Refusal("malformed", f"code belongs to the test {NAME} alone; it is null elsewhere")]
        if item.get("code")
        else []
    )
