"""The conversation of a rehearsal: what came of it goes back to the model, which mends its code, three times at most."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..custom.proposal import CodeProposal, code_fault
from ..custom.rehearsal import Rehearsal, Rehearser
from ..proposers.base import Refusal
from .answers import json_in

MAX_REPAIRS = 3
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"code": {"type": ["string", "null"]}},
    "required": ["code"],
    "additionalProperties": False,
}
"""Of the answer to a repair turn."""

Ask = Callable[[dict[str, Any]], str | None]
"""Values of the prompt ``rehearsal`` → the text of the model's answer, or ``None`` without one."""


@dataclass(frozen=True)
class Rehearsed:
    """A proposal whose code ran, or why there is none."""

    proposal: CodeProposal
    """With the code as last mended."""
    facts: dict[str, Any]
    """For the row: repairs, and what the fixtures came to."""
    refusal: Refusal | None = None


def rehearsed(rehearser: Rehearser, proposal: CodeProposal, ask: Ask) -> Rehearsed:
    """Rehearse, and let the model mend what it wrote. Each repair is a call of ``ask``; an answer without code uses one up."""
    repairs = 0
    while True:
        if (no := rehearser.refusal(proposal)) is not None:
            return Rehearsed(proposal, {}, no)
        found = rehearser.rehearse(proposal)
        if found.outcome == "ok":
            return Rehearsed(proposal, {"repairs": repairs, **found.facts()})
        code = None
        while code is None and repairs < MAX_REPAIRS:
            repairs += 1
            code = code_in(ask(_told(proposal, found, MAX_REPAIRS - repairs)) or "")
        if code is None:
            detail = f"{found.outcome} on {found.trials[-1].where}, after {repairs} repairs; the code is in the record"
            return Rehearsed(proposal, {}, Refusal(f"rehearsal:{found.outcome}", detail))
        proposal = replace(proposal, code=code)


def code_in(text: str) -> str | None:
    """The code of an answer, if it holds any that can be kept."""
    code = (json_in(text) or {}).get("code")
    return code if isinstance(code, str) and not code_fault(code) else None


def judged(text: str) -> tuple[str, str]:
    """Outcome and detail of an answer to a repair turn."""
    if code_in(text) is not None:
        return "ok", ""
    if json_in(text) is None:
        return "invalid_json", "the answer holds no JSON object"
    return "invalid_schema", 'the object has no text "code" that can be kept'


def _told(p: CodeProposal, found: Rehearsal, left: int) -> dict[str, Any]:
    last = found.trials[-1]
    return {"code": p.code, "outcome": last.outcome, "where": last.where, "output": last.output, "left": left}
