"""Lines of Markdown for the pages that benchmarks write."""

import textwrap
from typing import Any


def line(*cells: Any) -> str:
    return "| " + " | ".join(str(c) for c in cells) + " |"


def head(*cells: str) -> list[str]:
    return ["", line(*cells), "|" + "---|" * len(cells)]


def prose(text: str) -> list[str]:
    """A paragraph, wrapped, after an empty line."""
    return ["", *textwrap.wrap(" ".join(text.split()), 118, break_long_words=False, break_on_hyphens=False)]
