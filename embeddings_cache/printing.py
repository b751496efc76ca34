"""What commands print: text and JSON on stdout, remarks on stderr."""

import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any


def say(text: str, end: str = "\n") -> None:
    """One result, on stdout."""
    print(text, end=end)  # noqa: T201


def remark(text: str) -> None:
    """One remark, on stderr."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def say_json(value: Any) -> None:
    """Print a value as strict JSON."""
    say(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def say_json_array(values: Iterable[Any]) -> None:
    """Print values as one strict JSON array, each as it comes, as :func:`say_json` would print their list."""
    begun = False
    for value in values:
        lines = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).splitlines()
        say(("," if begun else "[") + "\n" + "\n".join(f"  {line}" for line in lines), end="")
        begun = True
    say("\n]" if begun else "[]")


def say_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows in columns as wide as their widest cell."""
    text = [tuple(str(cell) for cell in row) for row in (header, *rows)]
    widths = [max(len(row[i]) for row in text) for i in range(len(header))]
    for row in text:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


class Transfer:
    """Bytes of a file on stderr: one line that moves on a terminal, elsewhere one line every 30 seconds."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, file: str, done: int, total: int) -> None:
        """Say that ``done`` of ``total`` bytes of ``file`` are there."""
        live, now = sys.stderr.isatty(), time.monotonic()
        if done < total and now - self._last < (0.2 if live else 30.0):
            return
        self._last = now
        text = f"{file}: {done / 1e6:.1f} of {total / 1e6:.1f} MB"
        print(f"\r{text}" if live else text, end="" if live and done < total else "\n", file=sys.stderr, flush=True)  # noqa: T201
