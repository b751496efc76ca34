"""Tokens and money: the price table, the limits, and what a run has spent. Arithmetic on what the ledger holds."""

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import Exit, UserError
from ..ledger.records import BudgetSet, Completion

_CHARACTERS_A_TOKEN = 3
_NAMES = ("prompt", "completion", "cached")


@dataclass(frozen=True)
class Prices:
    """Dollars per million tokens of one model. Reasoning tokens are completion tokens in every usage report."""

    prompt: float
    completion: float
    cached: float

    def of(self, prompt: int, completion: int, cached: int = 0) -> float:
        """Dollars for so many tokens; ``cached`` are those of ``prompt`` that were cached."""
        cached = min(cached, prompt)
        return ((prompt - cached) * self.prompt + cached * self.cached + completion * self.completion) / 1e6


def read_prices(path: Path) -> dict[str, dict[str, float]]:
    """A price table: TOML, one table a model, ``prompt`` and ``completion`` (and ``cached``) in dollars per million tokens."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path} cannot be read as a price table ({error}); see docs/llm.md") from None
    for model, entry in table.items():
        if not isinstance(entry, dict) or not {"prompt", "completion"} <= entry.keys() <= set(_NAMES):
            raise UserError(f'{path}: ["{model}"] must name prompt and completion, and may name cached; nothing else')
        for name, value in entry.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or value < 0:
                raise UserError(f'{path}: {name} of ["{model}"] is {value!r}; it must be dollars per million tokens')
    return {m: {n: float(v) for n, v in entry.items()} for m, entry in table.items()}


@dataclass(frozen=True)
class Budget:
    """Limits of a run; 0 means none."""

    max_tokens: int = 0
    max_usd: float = 0.0
    prices: Mapping[str, Prices] = field(default_factory=dict)
    """Model → its prices; a model without any costs no money."""
    resume: str = "screen run"
    """The command that goes on with the run."""

    def charge(self, model: str, request: str, reply: Any) -> tuple[int, float | None]:
        """Tokens and dollars of one attempt. Without a count, an answer or a silence is estimated; a refusal costs nothing."""
        prompt, completion = reply.tokens_prompt, reply.tokens_completion
        if prompt is None or completion is None:
            costs = reply.text is not None or reply.kind in {"timeout", "oversized"}
            prompt = prompt if prompt is not None else estimate(request) if costs else 0
            completion = completion if completion is not None else estimate(reply.text or "")
        prices = self.prices.get(model)
        usd = None if prices is None else prices.of(prompt, completion, reply.tokens_cached or 0)
        return prompt + completion, usd

    def check(self, spent: "Spent", model: str, request: str, answer_tokens: int) -> None:
        """Stop (exit 6) before a call that could cross a limit: its prompt as estimated, and the longest answer."""
        prompt = estimate(request)
        if self.max_tokens and spent.charged_tokens + prompt + answer_tokens > self.max_tokens:
            self._stop(f"{spent.charged_tokens} of {self.max_tokens} tokens", "--max-tokens", str(2 * self.max_tokens))
        if self.max_usd and model in self.prices:
            most = self.prices[model].of(prompt, answer_tokens)
            if spent.charged_usd + most > self.max_usd:
                self._stop(f"${spent.charged_usd:.4f} of ${self.max_usd:g}", "--max-usd", f"{2 * self.max_usd:g}")

    def _stop(self, spent: str, flag: str, more: str) -> None:
        raise UserError(
            f"the budget is used up: {spent}, and the next call could cross the limit; nothing is lost. Go on with: "
            f"{self.resume} {flag} {more}",
            Exit.BUDGET,
        )


@dataclass(frozen=True)
class Spent:
    """What live attempts have cost so far."""

    calls: int
    answers: int
    """Attempts that gave a text."""
    unknown: int
    """Of those, without a count of tokens: they are estimated in what is charged."""
    tokens_prompt: int
    tokens_completion: int
    tokens_cached: int
    tokens_reasoning: int
    charged_tokens: int
    charged_usd: float

    @classmethod
    def of(cls, completions: Iterable[Completion]) -> "Spent":
        """The sums over the attempts that were really sent."""
        live = [c for c in completions if c.served == "live"]
        answers = [c for c in live if c.response is not None]
        return cls(
            calls=len(live),
            answers=len(answers),
            unknown=sum(c.tokens_prompt is None or c.tokens_completion is None for c in answers),
            tokens_prompt=sum(c.tokens_prompt or 0 for c in live),
            tokens_completion=sum(c.tokens_completion or 0 for c in live),
            tokens_cached=sum(c.tokens_cached or 0 for c in live),
            tokens_reasoning=sum(c.tokens_reasoning or 0 for c in live),
            charged_tokens=sum(c.charged_tokens for c in live),
            charged_usd=math.fsum(c.charged_usd or 0.0 for c in live),
        )


def spend_facts(completions: Iterable[Completion], budgets: Iterable[BudgetSet]) -> dict[str, Any] | None:
    """What ``screen status`` says of a run that asks a model; ``None`` for another."""
    kept, limits = list(completions), list(budgets)
    if not kept and not limits:
        return None
    spent = Spent.of(kept)
    last = limits[-1] if limits else BudgetSet(0, 0.0, {})
    outcomes: dict[str, int] = {}
    for c in kept:
        outcomes[c.outcome] = outcomes.get(c.outcome, 0) + 1
    return vars(spent) | {
        "recorded": sum(c.served == "recorded" for c in kept),
        "outcomes": dict(sorted(outcomes.items())),
        "max_tokens": last.max_tokens or None,
        "max_usd": last.max_usd or None,
        "priced": bool(last.prices),
        "tokens_left": max(0, last.max_tokens - spent.charged_tokens) if last.max_tokens else None,
        "usd_left": max(0.0, last.max_usd - spent.charged_usd) if last.max_usd else None,
    }


def price_of(table: Mapping[str, Mapping[str, float]], model: str) -> Prices | None:
    """The prices of ``model``; cached tokens cost what others cost where the table does not say."""
    entry = table.get(model)
    return None if entry is None else Prices(entry["prompt"], entry["completion"], entry.get("cached", entry["prompt"]))


def estimate(text: str) -> int:
    """Tokens of ``text``, roughly and rather too many: three characters each."""
    return -(-len(text) // _CHARACTERS_A_TOKEN)
