"""Progress of an extraction on stderr: cells, cells a second, time left."""

from __future__ import annotations

import sys
import time

PLAIN_SECONDS = 30.0


class Pace:
    """One line that moves on a terminal, elsewhere one line every 30 seconds; for one cache."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._started = time.monotonic()
        self._before: int | None = None
        self._last = 0.0 if sys.stderr.isatty() else self._started

    def __call__(self, done: int, total: int) -> None:
        """Say that ``done`` of ``total`` cells were read; what an earlier run had read does not count for the speed."""
        now, live = time.monotonic(), sys.stderr.isatty()
        if self._before is None:
            self._before, self._started = done, now
        if now - self._last < (0.2 if live else PLAIN_SECONDS) and not (live and done == total):
            return
        self._last = now
        text = f"{self._name}: {describe(done, total, done - self._before, now - self._started)}"
        end = "\n" if not live or done == total else ""
        print(f"\r\x1b[K{text}" if live else text, end=end, file=sys.stderr, flush=True)  # noqa: T201


def describe(done: int, total: int, read: int, seconds: float) -> str:
    """Return words for ``done`` of ``total`` cells, ``read`` of them in the last ``seconds``."""
    text = f"{done:,} of {total:,} cells"
    if read <= 0 or seconds <= 0:
        return text
    speed = read / seconds
    return f"{text}, {speed:,.1f} cells/s, about {in_words((total - done) / speed)} left"


def in_words(seconds: float) -> str:
    """Return a duration as people say it: ``40 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
