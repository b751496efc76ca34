"""Columns of a row that rest on every counted row: adjusted p-values, levels of online procedures.

They are for the eye, never for a decision. Each is made when it is first asked for, because a list needs one of them, an
account of one row all, and a status none.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from sqlalchemy import Connection, select

from .errors import EXIT_VERIFICATION, LedgerError
from .schema import RESULT

T = TypeVar("T")

_COUNTED = ("failed", "ok")
"""A test that was run and failed counts with p = 1; one that was never run is no test."""


@dataclass(frozen=True)
class Counted:
    """The counted results of one moment, in the order of testing, which is that of their entries."""

    seqs: Sequence[int]
    """Their entries, ascending."""
    p: Sequence[float]
    alpha: float | None
    """The run's; ``None`` before a run is opened."""

    @classmethod
    def read(cls, connection: Connection, end: int, alpha: float | None) -> "Counted":
        """Those up to the entry ``end``."""
        query = select(RESULT.c.seq, RESULT.c.p_scan).where(RESULT.c.status.in_(_COUNTED), RESULT.c.seq <= end)
        found = connection.execute(query.order_by(RESULT.c.seq)).all()
        seqs, p = zip(*found, strict=True) if found else ((), ())
        return cls(seqs, p, alpha)

    def q_bh(self, seq: int | None) -> float | None:
        """BH-adjusted p of the result that is entry ``seq``; ``None`` where it does not count."""
        place = self._place(seq)
        return None if place is None else self._adjusted["bh"][place]

    def columns(self, seq: int | None) -> dict[str, Any]:
        """Every column of that result; unknown where it does not count."""
        place = self._place(seq)
        if place is None:
            return {"q_bh": None, "q_by": None, "p_holm": None}
        from ...tests_library.online import calibrate

        adjusted = {
            name: self._adjusted[of][place] for name, of in (("q_bh", "bh"), ("q_by", "by"), ("p_holm", "holm"))
        }
        levels = {name: values[place] for name, values in self._levels.items()}
        return adjusted | {"e_value": calibrate(self.p[place])} | levels

    def _place(self, seq: int | None) -> int | None:
        if seq is None:
            return None
        place = bisect_left(self.seqs, seq)
        return place if place < len(self.seqs) and self.seqs[place] == seq else None

    # NumPy is imported where a column is asked for: a status does not wait for it.
    @cached_property
    def _adjusted(self) -> Mapping[str, Sequence[float]]:
        from ...tests_library.printed import printed_columns

        return _of_this_ledger(lambda: printed_columns(self.p))

    @cached_property
    def _levels(self) -> Mapping[str, Sequence[float]]:
        if self.alpha is None:
            return {}
        from ...tests_library.online import lond, saffron

        alpha = self.alpha
        return _of_this_ledger(
            lambda: {"level_lond": lond(self.p, alpha).levels, "level_saffron": saffron(self.p, alpha).levels}
        )


def _of_this_ledger(make: Callable[[], T]) -> T:
    try:
        return make()
    except ValueError as error:
        raise LedgerError(f"the result table was edited: {error}; verify the ledger", EXIT_VERIFICATION) from error
