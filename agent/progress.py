"""Progress on stderr: a bar on a terminal, a plain line every 30 s elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PLAIN_SECONDS = 30.0


class Progress:
    """Counts steps of one phase after another. Says nothing when ``quiet``."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty() and not quiet
        self._last = time.monotonic()

    def say(self, text: str) -> None:
        """One line."""
        if not self._quiet:
            print(text, file=sys.stderr, flush=True)  # noqa: T201

    @contextmanager
    def phase(self, name: str, total: int, done: int = 0) -> Iterator["Counter"]:
        """A phase of ``total`` steps, ``done`` of which are behind us (a resumed run)."""
        if self._live:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
            with Bar(TextColumn("{task.description}"), *columns, console=Console(stderr=True), transient=True) as bar:
                task = bar.add_task(name, total=total, completed=done)
                yield Counter(lambda: bar.advance(task))
        else:
            count = done
            started = time.monotonic()

            def step() -> None:
                nonlocal count
                count += 1
                now = time.monotonic()
                if now - self._last >= PLAIN_SECONDS and not self._quiet:
                    self._last = now
                    left = (now - started) / max(1, count - done) * (total - count)
                    self.say(f"{name}: {count} of {total}, about {left:.0f} s left")

            yield Counter(step)


class Counter:
    """``step()`` once for each finished step."""

    def __init__(self, step: Callable[[], None]) -> None:
        self.step = step
