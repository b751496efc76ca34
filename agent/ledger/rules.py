"""The order in which a run may be told. One pure function, asked by append and again by verify."""

from collections.abc import Callable

from .records import CONTEXT_KINDS

_ONCE = frozenset({"run_opened", "promotion", "run_closed"})
_BEFORE_THE_LOOK = frozenset({"proposal", "rejection", "registration", "promotion"})


def order_problem(kind: str, seen: Callable[[str], bool]) -> str | None:
    """Why an entry of ``kind`` may not follow the entries before it, or ``None``.

    ``seen(kind)`` says whether an entry of that kind is among them. What hangs on an id (a result needs its
    registration, a look result its look) is held by the foreign keys of the projections, not here.
    """
    opens, claims = kind == "run_opened", kind not in CONTEXT_KINDS
    checks = (
        (kind in _ONCE and seen(kind), f"the ledger already holds its one {kind} entry"),
        (not opens and not seen("run_opened"), f"a {kind} entry needs a run_opened entry before it"),
        (claims and seen("run_closed"), f"the run is closed, a {kind} entry comes too late"),
        (
            kind in _BEFORE_THE_LOOK and seen("look_opened"),
            f"the held-out genes have been opened, a {kind} entry comes too late",
        ),
        (
            kind == "look_opened" and not seen("promotion"),
            "the held-out genes may only be opened after the promotion list is recorded",
        ),
    )
    return next((problem for broken, problem in checks if broken), None)
