"""The order in which a run may be told. One pure function, asked by append and again by verify."""

from collections.abc import Callable

from .records import CONTEXT_KINDS

_ONCE = frozenset({"run_opened", "proposer_opened", "run_closed"})
_OF_NO_RUN = frozenset({"foreign_source", "foreign"})
_BEFORE_A_LOOK = frozenset({"proposal", "rejection", "registration", "promotion"})


def order_problem(kind: str, count: Callable[[str], int]) -> str | None:
    """Why an entry of ``kind`` may not follow the entries before it, or ``None``.

    ``count(kind)`` says how many entries of that kind are among them. Each look has one list, is opened, and either shows a
    count alone (``look_counted``), after which the run goes on, or everything (``look_result``), after which it does not.
    What hangs on an id (a result needs its registration, a look result its look) is held by the foreign keys of the
    projections, not here.
    """
    opens, claims = kind == "run_opened", kind not in CONTEXT_KINDS
    lists, opened, counted = count("promotion"), count("look_opened"), count("look_counted")
    looking = opened > counted
    checks = (
        (kind in _ONCE and count(kind) > 0, f"the ledger already holds its one {kind} entry"),
        (
            not opens and kind not in _OF_NO_RUN and not count("run_opened"),
            f"a {kind} entry needs a run_opened entry before it",
        ),
        (claims and count("run_closed") > 0, f"the run is closed, a {kind} entry comes too late"),
        (
            kind in _BEFORE_A_LOOK and looking,
            f"the held-out genes have been opened, a {kind} entry comes too late",
        ),
        (kind == "promotion" and lists > opened, "the next look already has its one promotion entry"),
        (kind == "look_opened" and looking, "the look that is open must be counted before another look is opened"),
        (
            kind == "look_opened" and lists <= opened,
            "the held-out genes may only be opened after the promotion list is recorded",
        ),
        (kind in {"look_counted", "look_result"} and not looking, f"a {kind} entry needs a look that is open"),
        (
            kind == "look_counted" and count("look_result") > 0,
            "the results of the look are recorded, a count alone comes too late",
        ),
    )
    return next((problem for broken, problem in checks if broken), None)
