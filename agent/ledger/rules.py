"""The order in which a run may be told. One pure function, asked by append and again by verify."""

from collections.abc import Callable

from .records import CONTEXT_KINDS

_ONCE = frozenset({"run_opened", "proposer_opened", "run_closed"})
_OF_NO_RUN = frozenset({"foreign_source", "foreign"})
_BEFORE_A_LOOK = frozenset({"proposal", "rejection", "registration", "promotion"})
_OF_A_LOOK = frozenset({"look_counted", "look_result"})
_ABOUT_LOOKS = _BEFORE_A_LOOK | _OF_A_LOOK | {"look_opened"}


def order_problem(kind: str, count: Callable[[str], int]) -> str | None:
    """Why an entry of ``kind`` may not follow the entries before it, or ``None``.

    ``count(kind)`` says how many entries of that kind are among them. Each look has one list, is opened, and either shows a
    count alone (``look_counted``), after which the run goes on, or everything (``look_result``), after which it does not.
    What hangs on an id (a result needs its registration, a look result its look) is held by the foreign keys of the
    projections, not here.
    """
    if kind in _ONCE and count(kind):
        return f"the ledger already holds its one {kind} entry"
    if kind != "run_opened" and kind not in _OF_NO_RUN and not count("run_opened"):
        return f"a {kind} entry needs a run_opened entry before it"
    if kind in CONTEXT_KINDS:
        return None
    if count("run_closed"):
        return f"the run is closed, a {kind} entry comes too late"
    return _look_problem(kind, count) if kind in _ABOUT_LOOKS else None


def _look_problem(kind: str, count: Callable[[str], int]) -> str | None:
    lists, opened = count("promotion"), count("look_opened")
    looking = opened > count("look_counted")
    if looking and kind in _BEFORE_A_LOOK:
        return f"the held-out genes have been opened, a {kind} entry comes too late"
    if kind == "promotion" and lists > opened:
        return "the next look already has its one promotion entry"
    if kind == "look_opened":
        if looking:
            return "the look that is open must be counted before another look is opened"
        return None if lists > opened else "the held-out genes may only be opened after the promotion list is recorded"
    if kind in _OF_A_LOOK and not looking:
        return f"a {kind} entry needs a look that is open"
    late = kind == "look_counted" and count("look_result") > 0
    return "the results of the look are recorded, a count alone comes too late" if late else None
