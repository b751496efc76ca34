"""Places where the crash sweep pulls the plug. Off, which is always but in its tests, a place costs one comparison.

``HYPOSCREEN_FAILPOINT=NAME:N`` ends the process by SIGKILL when the place NAME is reached for the Nth time: no handler runs,
nothing is flushed. ``agent/`` and the ledger call :func:`reached` between every two steps that leave something behind.
"""

import os
import signal
from collections import Counter

_VARIABLE = "HYPOSCREEN_FAILPOINT"
POINTS = (
    "create.begun", "create.done", "config.written", "runner.locked", "plan.recorded", "environment.recorded",
    "iteration.begun", "proposals.made", "proposals.recorded", "rows.claimed", "attempt.begun", "attempt.ended",
    "result.made", "result.recorded", "iteration.closed", "list.frozen", "look.opened", "look.scanned", "look.judged",
    "run.closed", "report.written",
    "append.begun", "append.read", "append.entry", "append.projected", "append.whole", "append.committed",
)  # fmt: skip
"""Every place, in the order in which a run first comes by; those of ``append`` come by with each transaction."""

_armed: tuple[str, int] | None = None
_seen: Counter[str] = Counter()


def arm(order: str | None) -> None:
    """Set or clear the place to stop at: ``NAME:N``, or ``None``. Raises ``ValueError`` for a place that does not exist."""
    global _armed  # noqa: PLW0603 - one process, one place
    _seen.clear()
    if order is None:
        _armed = None
        return
    name, _, number = order.partition(":")
    if name not in POINTS:
        raise ValueError(f"there is no failpoint {name!r}; they are {', '.join(POINTS)}")
    _armed = (name, int(number or "1"))


def reached(name: str) -> None:
    """The process is at the place ``name``."""
    if _armed is not None:
        _hit(name)


def _hit(name: str) -> None:
    assert _armed is not None
    _seen[name] += 1
    if (name, _seen[name]) == _armed:
        os.kill(os.getpid(), signal.SIGKILL)


arm(os.environ.get(_VARIABLE))
