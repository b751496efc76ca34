"""Signs of regulation, as databases write them: words, numbers, weights."""

import math
from pathlib import Path

from .base import AnnotationError

WORDS = {
    "activation": 1, "activates": 1, "activating": 1, "activator": 1, "stimulation": 1, "positive": 1, "up": 1, "+": 1,
    "repression": -1, "represses": -1, "repressing": -1, "repressor": -1, "inhibition": -1, "negative": -1, "down": -1,
    "-": -1, "unknown": 0, "undirected": 0, "na": 0, "": 0,
}  # fmt: skip


def sign_of(text: str, path: Path, line: int) -> int:
    """−1, 0 or +1 of a word or of a number (mode of regulation, weight)."""
    word = text.strip().lower()
    if word in WORDS:
        return WORDS[word]
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise AnnotationError(
            f"{path}, line {line}: the sign is '{text[:40]}'; write activation, repression, unknown or a number. The columns "
            "may have shifted: name the right one with --columns sign=COLUMN"
        )
    return (value > 0) - (value < 0)


def known_sign(text: str) -> bool:
    """Whether ``text`` is one of TRRUST's words."""
    return text.strip().lower() in ("activation", "repression", "unknown")
