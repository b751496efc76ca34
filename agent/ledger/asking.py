"""What a language model was asked with, what it answered, and what that may cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .base import Record


@dataclass(frozen=True)
class ProposerOpened(Record):
    """What a language model is asked with, frozen with the run. A run without a model has none."""

    KIND = "proposer_opened"
    proposer: str
    model: str
    """The name the server knows the model by."""
    prompts: Mapping[str, str]
    """Template name → sha256 of its text."""
    answer_tokens: int
    """Most tokens an answer may have."""
    digest_tokens: int
    """Size of the digest's text, in tokens of three characters."""
    critic: str = ""
    """The model that remarks on proposals. Empty for a run without one, and then left out of the content."""
    blinding: str = ""
    """Of a run that takes statistics which a model writes (``--allow-code``): the key of the labellings they are sent, random,
    made when the run opens. Empty for a run that takes none, and then left out of the content."""

    @property
    def allow_code(self) -> bool:
        """Whether the run takes statistics of a model."""
        return bool(self.blinding)

    def to_content(self) -> dict[str, Any]:
        """See :meth:`Record.to_content`."""
        content = super().to_content()
        return {name: value for name, value in content.items() if value or name not in ("critic", "blinding")}


@dataclass(frozen=True)
class Completion(Record):
    """Context: one attempt to get one answer from a model, whatever came of it.

    What the model said reaches the content by what was read of it (``Proposed``, which names the response by its sha256). How
    often a server had to be asked does not: two runs that were given the same answers have the same content head.
    """

    KIND = "completion"
    iteration: int
    turn: str
    """``propose``, ``repair``, ``critic``, or ``rehearsal`` where a statistic is to be mended."""
    attempt: int
    """1, 2 … within the turn."""
    request_sha256: str
    """sha256 of the request's canonical JSON."""
    occurrence: int
    """How often the run had sent this request before, from 0. Attempts that stopped the run are not counted."""
    request: str
    """The request's canonical JSON; empty where an earlier occurrence holds it."""
    rung: str
    """What the answer's form rested on: ``json_schema``, ``json_object`` or ``fenced``."""
    outcome: str
    """``ok`` or a typed failure; see ``agent/llm/attempts.py``."""
    detail: str = ""
    """One sentence."""
    status: int | None = None
    """HTTP status; ``None`` without an answer."""
    response: str | None = None
    """The text the model gave, whole; ``None`` without one."""
    model: str | None = None
    """The model as the server resolved it."""
    fingerprint: str | None = None
    request_id: str | None = None
    finish_reason: str | None = None
    tokens_prompt: int | None = None
    """As the server counted; ``None`` where it did not say, as in the three that follow."""
    tokens_completion: int | None = None
    tokens_cached: int | None = None
    tokens_reasoning: int | None = None
    charged_tokens: int = 0
    """What the attempt counts against ``--max-tokens``: the server's count, or an estimate where an answer came without."""
    charged_usd: float | None = None
    """The same in money by the run's price table; ``None`` without a table."""
    seconds: float = 0.0
    parent: str | None = None
    """Of a repair: sha256 of the request whose answer it mends."""
    server: str = ""
    """Scheme, host and path; never a key."""
    served: str = "live"
    """``live``, or ``recorded``: taken from another run's ledger, and then it costs nothing."""


@dataclass(frozen=True)
class BudgetSet(Record):
    """Context: limits and prices in force from here on. A limit may be raised when a run goes on."""

    KIND = "budget"
    max_tokens: int
    """0: no limit, as in ``max_usd``."""
    max_usd: float
    prices: Mapping[str, Any]
    """Model → dollars per million tokens, as the user's table gave them; empty without one."""
