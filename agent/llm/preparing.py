"""A run with a language model, from its settings: what is checked before anything is written, and what is frozen with the run."""

import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...hypotheses.canonical import canonical_json
from ...prompts import PromptError, Prompts, load
from ..config import LEDGER_NAME, Config
from ..custom.bench import CodeBench
from ..custom.rehearsal import Rehearser
from ..errors import Exit, UserError
from ..ledger.records import BudgetSet, ProposerOpened, RunOpened
from ..ledger.store import Ledger
from ..project import Project
from .attempts import OpenAISender, Sender
from .completions import Completions
from .openai_chat import OpenAIProposer, Settings
from .spending import Budget, price_of, read_prices

MODELS = ("openai", "recorded")
"""Proposers that ask a model, or read what one was asked before."""
FROZEN = ("model", "critic", "answer_tokens", "digest_tokens", "allow_code")
"""Settings that the run's ``proposer_opened`` entry freezes."""


@dataclass(frozen=True, eq=False)
class Asking:
    """Everything a model is asked with; made before the run's folder is touched."""

    opened: ProposerOpened
    limits: BudgetSet
    budget: Budget
    prompts: Prompts
    sender: Sender | None
    recording: Ledger | None


def prepare(config: Config, folder: Path) -> Asking:
    """Check the settings and load what they name. Raises :class:`UserError` naming the flag that is missing or wrong."""
    recording = find_recording(config, folder)
    if recording is not None:
        config = with_model(config, {}, recording, folder)
    if not config.model:
        raise UserError("--proposer openai needs --model, the name the server knows the model by", Exit.USAGE)
    try:
        prompts = load(folder, bool(config.critic), config.allow_code)
    except PromptError as error:
        raise UserError(str(error)) from None
    table = read_prices(folder / config.prices) if config.prices else {}
    prices = {model: p for model in (config.model, config.critic) if (p := price_of(table, model)) is not None}
    for model in filter(None, (config.model, config.critic)):
        if config.max_usd and model not in prices:
            where = f"{config.prices} has no prices of it" if config.prices else "--prices names no table"
            raise UserError(f"--max-usd needs the prices of '{model}', and {where}; see docs/llm.md", Exit.USAGE)
    resume = f"screen run --project {shlex.quote(str(folder))}"
    return Asking(
        ProposerOpened(
            "openai",
            config.model,
            prompts.digests,
            config.answer_tokens,
            config.digest_tokens,
            config.critic,
            _blinding(config, recording),
        ),
        BudgetSet(config.max_tokens, config.max_usd, table),
        Budget(config.max_tokens, config.max_usd, prices, resume),
        prompts,
        None if recording is not None else OpenAISender(config.base_url, config.answer_seconds),
        recording,
    )


def make_model_proposer(asking: Asking, ledger: Ledger, project: Project, bench: CodeBench) -> OpenAIProposer:
    """The proposer of a run that is open: freezes what it asks with, or refuses what is not as frozen."""
    held = ledger.records(ProposerOpened)
    if not held:
        ledger.append(asking.opened)
    elif replace(held[0], blinding="") != replace(asking.opened, blinding=""):
        raise UserError(
            f"{ledger.path} holds a run with {_difference(held[0], asking.opened)}; put it back, or start a new run"
        )
    last = ledger.records(BudgetSet)[-1:]
    if not last or canonical_json(last[0].to_content()) != canonical_json(asking.limits.to_content()):
        ledger.append(asking.limits)
    o = asking.opened
    settings = Settings(o.model, o.answer_tokens, o.digest_tokens, o.critic)
    store = Completions(ledger, asking.recording)
    rehearser = Rehearser(project, ledger, asking.recording, bench) if o.allow_code else None
    seed = project.config.seed
    return OpenAIProposer(settings, asking.prompts, store, seed, asking.budget, asking.sender, rehearser)


def _blinding(config: Config, recording: Ledger | None) -> str:
    """The key of what models' statistics are sent: of the recording, or new. Random, so that no code can have known it."""
    if not config.allow_code:
        return ""
    held = None if recording is None else recording.records(ProposerOpened)[0]
    return secrets.token_hex(32) if held is None else held.blinding


def find_recording(config: Config, folder: Path) -> Ledger | None:
    """The ledger whose answers are read again; ``None`` for a run that asks."""
    if config.proposer != "recorded":
        return None
    if not config.recording:
        raise UserError("--proposer recorded needs --recording, the folder of the run to read answers from", Exit.USAGE)
    path = folder / config.recording if not Path(config.recording).is_absolute() else Path(config.recording)
    ledger = Ledger.open_readonly(path / LEDGER_NAME if path.is_dir() else path)
    if not ledger.records(ProposerOpened):
        raise UserError(f"{ledger.path} holds no run that asked a model; name another with --recording")
    return ledger


def with_model(config: Config, flags: Mapping[str, Any], ledger: Ledger, folder: Path) -> Config:
    """The settings with what the run of ``ledger`` froze of its model; a flag that contradicts it is refused."""
    for opened in ledger.records(ProposerOpened):
        for name in FROZEN:
            if flags.get(name) is not None and flags[name] != getattr(opened, name):
                raise UserError(
                    f"{folder / LEDGER_NAME} holds a run with {name} = {getattr(opened, name)}, and --{name.replace('_', '-')} "
                    f"{flags[name]} would be another run; choose another folder with --project",
                    Exit.USAGE,
                )
        config = replace(config, **{name: getattr(opened, name) for name in FROZEN})
    return config


def check_recording(fresh: RunOpened, recording: Ledger) -> None:
    """Refuse a recording that was made with another plan: its answers would belong to other questions."""
    plan = recording.run()
    assert plan is not None  # a ledger that holds a proposer_opened holds a plan before it
    old, new = plan.to_content(), fresh.to_content()
    differ = [name for name in old if canonical_json(old[name]) != canonical_json(new[name])]
    if differ:
        raise UserError(
            f"{recording.path} was recorded with another {', '.join(differ)} than this run has; use the settings and inputs of "
            "the recording"
        )


def _difference(held: ProposerOpened, fresh: ProposerOpened) -> str:
    if held.prompts != fresh.prompts:
        names = sorted(n for n in held.prompts if held.prompts[n] != fresh.prompts.get(n))
        return f"other prompts ({', '.join(names)})"
    return ", ".join(f"{n} = {getattr(held, n) or 'none'}, here {getattr(fresh, n) or 'none'}" for n in FROZEN)
