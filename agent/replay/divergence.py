"""Why a replay differs from what the ledger says, in words. Pure functions of two records, two environments, two texts.

Named in this order: inputs missing, inputs changed (``agent/replay/inputs.py``; nothing can be executed then), code changed,
environment changed, and last how far the numbers are apart.
"""

import difflib
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...hypotheses.canonical import canonical_json
from ..ledger.provenance import Environment
from ..ledger.records import LookResult, Record, RunOpened, Tested, VerdictGiven
from ..policy import Look

ULPS = 4
"""Most units in the last place of a float64 by which two results of the same formula, summed in another order, may differ."""
TOLERANCE = 1e-9
"""Largest relative difference that is rounding."""
CLASSES = ("identical", "within_ulp", "within_tolerance", "statistic_changed", "decision_changed", "not_executed")
"""How far numbers are apart, least first; last, that there are none, because the test ended with a failure."""
_LINES = 200


@dataclass(frozen=True)
class Cause:
    """Something that is not as it was when the row was computed."""

    kind: str
    """``code_changed`` or ``environment_changed``."""
    detail: str
    """One phrase: which files, or what."""
    diff: str = ""
    """Unified diff of the changed files, for code."""


@dataclass(frozen=True)
class Apart:
    """How two records differ."""

    numbers: str
    """One of :data:`CLASSES`."""
    ulps: int
    """Largest distance of two floats in units in the last place; 0 if none differs."""
    phrases: tuple[str, ...]
    """One a field: stored, then replayed."""


def differences(stored: Record | None, again: Record) -> list[str]:
    """Fields in which two records differ, as phrases; a missing stored record is a difference."""
    if stored is None:
        return ["the ledger holds no such result"]
    old, new = stored.to_content(), again.to_content()
    return [
        f"{name} was {_short(old.get(name))}, is {_short(new.get(name))}"
        for name in dict.fromkeys([*old, *new])
        if canonical_json(old.get(name)) != canonical_json(new.get(name))
    ]


def apart(stored: Record | None, again: Record, plan: RunOpened, looks: Sequence[Look] = ()) -> Apart:
    """The numeric class of one record, its largest distance and its phrases."""
    if (
        isinstance(again, Tested)
        and again.status == "failed"
        and isinstance(stored, Tested)
        and stored.status != "failed"
    ):
        return Apart("not_executed", 0, (f"it could not be executed here: {again.reason}",))
    phrases = tuple(differences(stored, again))
    if not phrases:
        return Apart("identical", 0, ())
    if stored is None or _decision(stored, plan, looks) != _decision(again, plan, looks):
        return Apart("decision_changed", 0, phrases)
    pairs = list(_leaves(stored.to_content(), again.to_content()))
    floats = [(a, b) for a, b in pairs if isinstance(a, float) and isinstance(b, float)]
    if len(floats) < len(pairs):
        return Apart("statistic_changed", 0, phrases)
    distance = max(ulps_between(a, b) for a, b in floats)
    if distance <= ULPS:
        return Apart("within_ulp", distance, phrases)
    close = all(math.isclose(a, b, rel_tol=TOLERANCE) for a, b in floats)
    return Apart("within_tolerance" if close else "statistic_changed", distance, phrases)


def worst(found: Sequence[Apart]) -> Apart:
    """The record that is farthest apart; what is bit-identical where there is none."""
    return max(found, key=lambda a: (CLASSES.index(a.numbers), a.ulps), default=Apart("identical", 0, ()))


def ulps_between(a: float, b: float) -> int:
    """Representable float64 values between two finite numbers, the second included; 0 and −0 are one value."""
    return abs(_place(a) - _place(b))


def code_cause(stored: Mapping[str, str], now: Mapping[str, str]) -> Cause | None:
    """What differs between two sets of source texts, path → text; ``None`` if nothing does."""
    changed = [path for path, text in now.items() if stored.get(path) != text]
    if not changed:
        return None
    lines = [line for path in changed for line in _diff(path, stored.get(path, ""), now[path])]
    cut = [f"… and {len(lines) - _LINES} more lines"] if len(lines) > _LINES else []
    return Cause("code_changed", ", ".join(changed), "\n".join([*lines[:_LINES], *cut]))


def environment_cause(stored: Environment, now: Environment) -> Cause | None:
    """What differs in packages, numerics and machine."""
    said = [
        f"{name} {_word(old.get(name))} → {_word(new.get(name))}"
        for old, new in (
            (stored.packages, now.packages),
            (stored.numerics, now.numerics),
            (stored.machine, now.machine),
        )
        for name in dict.fromkeys([*old, *new])
        if canonical_json(old.get(name)) != canonical_json(new.get(name))
    ]
    return Cause("environment_changed", ", ".join(said)) if said else None


def _decision(record: Record, plan: RunOpened, looks: Sequence[Look]) -> tuple[Any, ...]:
    """What the run would do with a record: the part of it that must not depend on rounding."""
    match record:
        case Tested():
            return record.status, record.p_scan <= plan.promote_p
        case LookResult(route="U"):
            return record.status, record.p_adj <= plan.alpha_u
        case LookResult():
            levels = {look.number: look.level for look in looks}
            return record.status, record.p_adj <= levels.get(record.look, plan.alpha_h)
        case VerdictGiven():
            return record.verdict, record.route
    return ()


def _leaves(a: Any, b: Any) -> Iterator[tuple[Any, Any]]:
    """Pairs of values at which two JSON-able values differ; floats written as hex count as floats."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for name in dict.fromkeys([*a, *b]):
            yield from _leaves(a.get(name), b.get(name))
    elif isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        for x, y in zip(a, b, strict=True):
            yield from _leaves(x, y)
    elif canonical_json(a) != canonical_json(b):
        yield _number(a), _number(b)


def _number(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip("-").startswith("0x"):
        try:
            return float.fromhex(value)
        except ValueError:
            return value
    return value


def _place(value: float) -> int:
    """Where a float stands among all of them, 0 in the middle."""
    (bits,) = struct.unpack("<q", struct.pack("<d", value))
    return int(bits) if bits >= 0 else -(int(bits) & 0x7FFF_FFFF_FFFF_FFFF)


def _diff(path: str, old: str, new: str) -> list[str]:
    named = difflib.unified_diff(
        old.splitlines(), new.splitlines(), f"recorded/{path}", f"now/{path}", lineterm="", n=2
    )
    return list(named)


def _word(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "+".join(map(str, value)) or "none"
    return "absent" if value is None else str(value)


def _short(value: Any) -> str:
    text = canonical_json(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
