"""The same questions asked of a control, beside the run's own answers: what would they also find where nothing was learned?"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..ledger.records import Row

FOLDERS = {"random-init": "control-random-init"}
"""Kind of control → the folder beside a run's ledger that holds the run on it."""
_NOT_TESTED = ("untestable", "invalid", "failed")


@dataclass(frozen=True)
class Side:
    """One row in one of the two runs."""

    effect: float | None
    null_mean: float | None
    p_adj: float | None
    verdict: str


@dataclass(frozen=True)
class ControlLine:
    """One question in both runs."""

    id: str
    """Of the run's own row."""
    claim: str
    real: Side
    control: Side


@dataclass(frozen=True)
class Control:
    """A finished run on a control, beside this one."""

    kind: str
    cache: str
    head: str
    """Where the ledger of the control ends, ``seq:hash``."""
    lines: tuple[ControlLine, ...]

    @property
    def confirmed(self) -> tuple[int, int]:
        """Rows confirmed in the run and on the control, among those asked of both."""
        return (
            sum(line.real.verdict == "confirmed" for line in self.lines),
            sum(line.control.verdict == "confirmed" for line in self.lines),
        )


def control_lines(rows: Sequence[Row], control: Sequence[Row]) -> tuple[ControlLine, ...]:
    """The questions that were asked of both, in the run's order."""
    there = {_question(row): row for row in control}
    return tuple(
        ControlLine(row.id, row.claim, _side(row), _side(there[_question(row)]))
        for row in rows
        if _question(row) in there
    )


def _question(row: Row) -> tuple[object, ...]:
    return tuple(row.spec[key] for key in ("test", "annotation_digest", "background_digest", "layers", "coordinates"))


def _side(row: Row) -> Side:
    tested = row.verdict not in _NOT_TESTED
    return Side(row.effect if tested else None, row.null_mean if tested else None, row.p_confirm_adj, row.verdict)
