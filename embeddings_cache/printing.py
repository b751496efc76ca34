"""What commands print: text and JSON on stdout, remarks on stderr."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any


def say(text: str) -> None:
    """One result, on stdout."""
    print(text)  # noqa: T201


def remark(text: str) -> None:
    """One remark, on stderr."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def say_json(value: Any) -> None:
    """Print a value as strict JSON."""
    say(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def say_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows in columns as wide as their widest cell."""
    text = [tuple(str(cell) for cell in row) for row in (header, *rows)]
    widths = [max(len(row[i]) for row in text) for i in range(len(header))]
    for row in text:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
