"""Settings of a working folder: ``screen.toml`` < ``SCREEN_*`` in the environment < flags. Secrets are never settings."""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from .errors import Exit, UserError
from .ledger.errors import LedgerError

CONFIG_NAME = "screen.toml"
LEDGER_NAME = "runs.db"


@dataclass(frozen=True)
class Config:
    """Every setting, with its default. Those of the plan are frozen into the ledger when a run opens."""

    cache: str = "demo"
    """Name of a cache, or the path of its folder."""
    partner: str = ""
    """Another cache to compare with, by name or path; empty: none, and tests that need one are not offered."""
    annotations: str = "demo"
    """``demo``, or the path of a folder with an ``annotations.toml``."""
    ledger: str = ""
    """Address of a PostgreSQL database that holds the record, ``postgresql+psycopg://USER@HOST/DATABASE``; empty: the file
    ``runs.db`` in the working folder. A password is never a setting: ``~/.pgpass`` or ``PGPASSWORD``."""
    covariates: str = ""
    """A table of gene and numbers, as seen from the working folder: printed in the balance of every row; empty: none."""
    proposer: str = "offline"
    campaign: str = ""
    """A campaign to begin with, by name or folder; empty: none."""
    seed: int = 0
    iterations: int = 63
    per_iteration: int = 3
    looks: int = 1
    """Looks at the sealed genes: the last when the iterations are done, the others between equal parts of them. Each look
    before the last shows only how many rows it confirmed, and every later level is divided by what that may tell."""
    alpha: float = 0.05
    """Error rate of the whole run; half goes to Route U, half to Route H."""
    permutations_explore: int = 2000
    permutations_look: int = 5000
    max_promoted: int = 20
    promote_p: float = 0.05
    workers: int = 0
    """Worker processes; 0 means one a core. Results do not depend on it."""
    executor: str = "processes"
    """What spreads the jobs: ``processes`` of this machine, or ``dask``. Results do not depend on it."""
    scheduler: str = ""
    """Of executor ``dask``: address of the scheduler, or the file that it wrote."""
    timeout_seconds: float = 300.0
    memory_mb: int = 4096
    sandbox: str = "auto"
    """The boundary around workers: ``auto`` (the strongest that holds here), the name of one, or ``none``. Results do not
    depend on it."""
    model: str = ""
    """Of proposer ``openai``: the name the server knows the model by."""
    base_url: str = ""
    """Address of an OpenAI-compatible server; empty: OpenAI's own. The key is never a setting: ``OPENAI_API_KEY``."""
    critic: str = ""
    """Of proposer ``openai``: a model that remarks on every batch before it is tested; advice, never a gate. Empty: none."""
    allow_code: bool = False
    """Of proposer ``openai``: whether the model may write statistics of its own. They run behind a boundary only, blinded, and
    genes B alone can confirm them."""
    recording: str = ""
    """Of proposer ``recorded``: the folder of the run whose answers are read again, as seen from the working folder."""
    max_tokens: int = 0
    """Tokens the run may spend, prompts and answers; 0: no limit."""
    max_usd: float = 0.0
    """Dollars the run may spend by the table ``prices``; 0: no limit."""
    prices: str = ""
    """A TOML file, as seen from the working folder: dollars per million tokens by model."""
    answer_tokens: int = 4096
    """Longest answer of a model."""
    digest_tokens: int = 6000
    """Size of the digest a model reads, in tokens of three characters."""
    answer_seconds: float = 300.0
    """Longest time one answer may take."""


PLAN_FIELDS = ("cache", "annotations", "proposer", "seed", "iterations", "per_iteration", "looks", "alpha")
"""Settings that a run freezes and a flag may not change afterwards."""

_RULES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**63 - 1),
    "iterations": (1, 100_000),
    "per_iteration": (1, 100),
    "looks": (1, 100),
    "alpha": (1e-6, 0.5),
    "permutations_explore": (99, 10_000_000),
    "permutations_look": (199, 10_000_000),
    "max_promoted": (1, 10_000),
    "promote_p": (1e-6, 1.0),
    "workers": (0, 1024),
    "timeout_seconds": (1, 1e7),
    "memory_mb": (64, 1 << 24),
    "max_tokens": (0, 2**53),
    "max_usd": (0, 1e9),
    "answer_tokens": (64, 10_000_000),
    "digest_tokens": (500, 10_000_000),
    "answer_seconds": (1, 1e6),
}


def load_config(folder: Path, flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Config:
    """The settings of ``folder``; a flag that is ``None`` was not given. Raises :class:`UserError` naming the value."""
    config = Config()
    path = folder / CONFIG_NAME
    if path.exists():
        config = _merge(config, _read(path), str(path))
    prefix = "SCREEN_"
    named = {
        f.name: environment[prefix + f.name.upper()] for f in fields(Config) if prefix + f.name.upper() in environment
    }
    config = _merge(config, {k: _from_text(k, v) for k, v in named.items()}, "the environment (SCREEN_*)")
    return _merge(config, {k: v for k, v in flags.items() if v is not None}, "the command line", Exit.USAGE)


def ledger_at(folder: Path, config: Config) -> Path | str:
    """Where the record of ``folder`` is: its file, or the address its settings name."""
    return config.ledger or folder / LEDGER_NAME


def config_text(config: Config) -> str:
    """``screen.toml`` with every setting."""
    lines = [
        "# Settings of this working folder. Environment variables SCREEN_<NAME> and flags win over this file.",
        "# What a run has once opened (cache, annotations, seed, iterations …) is frozen in its ledger.",
        "",
    ]
    for f in fields(Config):
        value = getattr(config, f.name)
        # A JSON string is a TOML string, line breaks and quotes included.
        lines.append(f"{f.name} = {json.dumps(value) if isinstance(value, str | bool) else value}")
    return "\n".join(lines) + "\n"


def write_config(folder: Path, config: Config) -> Path:
    """Write ``screen.toml`` with every setting and what it means; refuses to replace one."""
    path = folder / CONFIG_NAME
    if path.exists():
        raise FileExistsError(path)
    # Whole or not at all: half a file of settings would open another run after a kill.
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    partial.write_text(config_text(config), encoding="utf-8")
    partial.replace(path)
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML ({error}); mend the line or delete the file to start over") from None


_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _from_text(name: str, text: str) -> Any:
    kind = type(getattr(Config(), name))
    if kind is bool:
        if text.lower() not in _WORDS:
            raise UserError(f"SCREEN_{name.upper()} is '{text}'; set it to true or false, or unset it")
        return _WORDS[text.lower()]
    try:
        return kind(text)
    except ValueError:
        raise UserError(
            f"SCREEN_{name.upper()} is '{text}', which is not a {kind.__name__}; set it or unset it"
        ) from None


def _merge(config: Config, values: Mapping[str, Any], where: str, code: Exit = Exit.INPUTS) -> Config:
    known = {f.name: type(getattr(config, f.name)) for f in fields(Config)}
    for name, value in values.items():
        if name not in known:
            raise UserError(f"{where} sets '{name}', which is no setting; the settings are {', '.join(known)}", code)
        allowed = (int, float) if known[name] is float else known[name]
        if not isinstance(value, allowed) or isinstance(value, bool) != (known[name] is bool):
            raise UserError(f"{where} sets {name} = {value!r}; it must be of type {known[name].__name__}", code)
        if name in _RULES and not _RULES[name][0] <= value <= _RULES[name][1]:
            low, high = _RULES[name]
            raise UserError(f"{where} sets {name} = {value}; it must lie between {low:g} and {high:g}", code)
    if address := values.get("ledger"):
        _refuse_secret(address, where, code)
    return replace(config, **{k: known[k](v) for k, v in values.items()})


def _refuse_secret(address: str, where: str, code: Exit) -> None:
    """No setting holds a password, so that none is ever printed, written to ``screen.toml`` or exported with it."""
    from .ledger.addresses import holds_secret, parsed

    try:
        url = parsed(address)
    except LedgerError as error:
        raise UserError(f"{where} sets ledger to no address ({error})", code) from None
    if holds_secret(url):
        raise UserError(
            f"{where} sets ledger to an address that holds a password, and settings are no place for one; leave it out and "
            "use ~/.pgpass or PGPASSWORD",
            code,
        )
