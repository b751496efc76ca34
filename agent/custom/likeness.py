"""Does a statistic of a model say again what an earlier one said? Two that order the same labellings alike have the same p.

Other code, other names, the same values: it is no second piece of evidence, and the row says so. Nothing is refused for it.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..ledger.records import Tested

LABELLINGS = 64
"""Null labellings whose order is kept."""
ALIKE = 0.99
"""Rank correlation, of either sign, from which on values are nearly identical."""


def signature(values: NDArray[np.float64]) -> list[int]:
    """Ranks of the values of the first null labellings; ``values`` is float64 [m + 1], the observed first."""
    _, ranks = np.unique(values[1 : LABELLINGS + 1], return_inverse=True)
    return [int(rank) for rank in ranks]


def with_likeness(result: Tested, earlier: Iterable[Tested]) -> Tested:
    """``result`` with a note on the first of ``earlier`` that has nearly its values on the same labellings, if there is one."""
    mine = result.checks.get("custom")
    if not mine:
        return result
    if not mine["order_invariant"]:
        result = _noted(result, "its author says that its values depend on the order of genes; that was not checked")
    for other in earlier:
        theirs = other.checks.get("custom")
        if theirs and theirs["ensemble"] == mine["ensemble"] and _alike(theirs["values"], mine["values"]):
            note = f"its values are nearly those of {other.id} on the same labellings: it says the same again"
            return _noted(result, note)
    return result


def _noted(result: Tested, note: str) -> Tested:
    return replace(result, checks={**result.checks, "notes": [*result.checks.get("notes", ()), note]})


def _alike(one: list[int], two: list[int]) -> bool:
    a, b = np.array(one, np.float64), np.array(two, np.float64)
    if len(a) != len(b) or not np.ptp(a) or not np.ptp(b):
        return False
    return bool(abs(np.corrcoef(a, b)[0, 1]) >= ALIKE)
