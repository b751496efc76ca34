"""In which form a server is asked: as strictly as it takes. Pure functions of what was recorded, so a resumed run climbs alike.

``json_schema`` → ``json_object`` → ``fenced`` (no form at all, only the prompt's words). A server that refuses a form, or that
answers twice in a row with what is no JSON, is asked in the next one from then on.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from ..ledger.records import Completion

FORMS = ("json_schema", "json_object", "fenced")
LIMITS = ("max_tokens", "max_completion_tokens")
"""Older servers know the first name only, newer models of OpenAI the second."""
_PATIENCE = 2


@dataclass(frozen=True)
class Rung:
    """How the next request is made."""

    form: str = FORMS[0]
    limit: str = LIMITS[0]
    flipped: bool = False
    """Whether the other name of the limit was tried."""
    no_json: int = 0
    """Answers in a row that were no JSON."""

    def after(self, outcome: str, detail: str) -> "Rung":
        """The rung once an attempt has ended so."""
        if outcome == "unsupported":
            return self.below(detail) or self
        if outcome != "invalid_json":
            return replace(self, no_json=0) if outcome in {"ok", "invalid_schema"} else self
        stepped = self._next_form() if self.no_json + 1 >= _PATIENCE else None
        return stepped or replace(self, no_json=self.no_json + 1)

    def below(self, detail: str) -> "Rung | None":
        """The rung to try when this one was refused with ``detail``; ``None`` at the foot of the ladder."""
        if not self.flipped and any(name in detail for name in LIMITS):
            other = LIMITS[1 - LIMITS.index(self.limit)]
            return replace(self, limit=other, flipped=True)
        return self._next_form()

    def _next_form(self) -> "Rung | None":
        place = FORMS.index(self.form) + 1
        return replace(self, form=FORMS[place], no_json=0) if place < len(FORMS) else None


def first_rung(server: str) -> Rung:
    """Where a server is met that nothing is known of."""
    return Rung(limit=LIMITS[1]) if urlsplit(server).hostname == "api.openai.com" else Rung()


def rung_of(server: str, earlier: Iterable[Completion], critic: bool = False) -> Rung:
    """The rung of ``server`` after the attempts recorded so far. A run has one model that proposes and one that criticises."""
    rung = first_rung(server)
    for c in earlier:
        if c.server == server and (c.turn == "critic") == critic:
            rung = rung.after(c.outcome, c.detail)
    return rung


def response_format(form: str, schema: dict[str, Any], name: str = "hypotheses") -> dict[str, Any]:
    """The part of a request that asks for ``form``; empty for the last rung."""
    if form == "json_schema":
        named = {"name": name, "strict": True, "schema": schema}
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    return {"response_format": {"type": "json_object"}} if form == "json_object" else {}
