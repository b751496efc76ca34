"""Templates for language models: found in the project first, then here; each known by the sha256 of its text.

A folder ``prompts/`` beside ``screen.toml`` replaces any template by name. Templates are rendered in Jinja's sandbox, and
``quoted`` writes a value as a JSON string in ASCII: a name, or what a model said earlier, cannot end its line or its quotes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NAMES = ("system", "propose", "repair")
CRITIC = ("critic", "criticise")
"""Only of a run that has a critic."""
CODE = ("statistic", "rehearsal")
"""Only of a run that takes statistics of a model."""
SUFFIX = ".md.j2"


class PromptError(ValueError):
    """A template that cannot be read or rendered; the message names it and the mend."""


@dataclass(frozen=True)
class Prompts:
    """The texts of all templates by name."""

    texts: Mapping[str, str]

    @cached_property
    def digests(self) -> dict[str, str]:
        """Template name → sha256 of its text."""
        return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in sorted(self.texts.items())}

    def render(self, name: str, **values: Any) -> str:
        """The template ``name`` with ``values``. Raises :class:`PromptError`, also for a value it names and is not given."""
        from jinja2 import StrictUndefined, TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,
            keep_trailing_newline=False,
        )
        environment.filters["quoted"] = quoted
        try:
            return environment.from_string(self.texts[name]).render(**values)
        except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
            raise PromptError(
                f"the prompt {name}{SUFFIX} cannot be rendered ({type(error).__name__}: {error}); mend it, or delete it from "
                "the project's prompts folder to use the one that is shipped"
            ) from error


def load(project: Path | None = None, critic: bool = False, code: bool = False) -> Prompts:
    """The templates in force in the folder ``project``, with those of a critic, and of statistics of a model, if there are any.

    Raises :class:`PromptError` naming a file that cannot be read.
    """
    texts = {}
    for name in NAMES + CRITIC * critic + CODE * code:
        own = None if project is None else project / "prompts" / f"{name}{SUFFIX}"
        path = own if own is not None and own.exists() else HERE / f"{name}{SUFFIX}"
        try:
            texts[name] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PromptError(f"{path} cannot be read ({error}); mend it or delete it") from error
    return Prompts(texts)


def quoted(value: object, limit: int = 300) -> str:
    """``value`` as a JSON string of at most ``limit`` characters of text, ASCII only, on one line."""
    text = str(value)
    return json.dumps(text if len(text) <= limit else text[: limit - 1] + "…", ensure_ascii=True)
