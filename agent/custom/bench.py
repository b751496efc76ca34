"""Where code of a model runs: one boundary and what its workers come from, for rehearsal and test, made when first needed."""

from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..blinded import Judgement, Plan, judge
from ..errors import Exit, UserError
from ..sandbox.choose import for_foreign_code
from ..sandbox.statistics import OUR_FAULT, Bounds, Run, StatisticSandbox

CALLS = 2000
"""Labellings that the bounds of a test are meant for; more labellings get more time."""


class CodeBench:
    """Runs statistics of a model behind the boundary that ``wanted`` names. Ends its workers at ``close``."""

    def __init__(self, wanted: str, bounds: Bounds) -> None:
        self._wanted = wanted
        self._bounds = bounds
        self._runner: StatisticSandbox | None = None

    @cached_property
    def unavailable(self) -> str:
        """Why no such code is run here, with the mend, or empty."""
        try:
            for_foreign_code(self._wanted)
        except UserError as error:
            return str(error)
        return ""

    @property
    def boundary(self) -> str:
        """Name of the boundary. Raises :class:`UserError`, with the mend, where none holds."""
        return for_foreign_code(self._wanted).name if self._runner is None else self._runner.backend.name

    def bounds(self, calls: int, times: float = 1.0, least: float = 0.0) -> Bounds:
        """What a run on so many labellings may use: time in proportion, never less than ``least`` seconds."""
        wall = max(least, self._bounds.wall_seconds * times * max(1.0, calls / CALLS))
        return Bounds(wall, int(wall) + 1, int(self._bounds.memory_bytes * max(1.0, times)))

    def run(self, code: str, embedding: NDArray[np.float32], labels: NDArray[np.int8], bounds: Bounds) -> Run:
        """One run. Raises :class:`UserError` for a fault that is not the code's: the campaign stops with a sentence."""
        if self._runner is None:
            self._runner = StatisticSandbox(for_foreign_code(self._wanted))
        try:
            run = self._runner.run(code, embedding, labels, bounds)
        except OSError as error:
            raise UserError(
                f"no worker for code of a model starts ({error}); see `screen doctor`", Exit.FAILURE
            ) from error
        if run.end in OUR_FAULT:
            raise UserError(
                f"the boundary '{self._runner.backend.name}' could not be put around code of a model ({run.end}: "
                f"{run.output.strip()[-200:]}); nothing is lost of what was recorded. See `screen doctor`, then run again",
                Exit.FAILURE,
            )
        return run

    def close(self) -> None:
        """End what the workers come from."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None


RunOne = Callable[[str, NDArray[np.float32], NDArray[np.int8], Bounds], Run]


def run_blinded(
    run: RunOne, code: str, embedding: NDArray[np.float32], plan: Plan, bounds: Bounds, invariant: bool = True
) -> tuple[str, NDArray[np.float64] | None, Judgement | None, str]:
    """Both runs of the protocol: end, values of all labellings that were sent, judgement, and what the code printed.

    ``embedding`` is float32 [n, d]. The second run, on genes in another order, is left out of a statistic that says it depends
    on the order.
    """
    first = run(code, embedding[plan.genes], plan.sent, bounds)
    if first.end != "ok":
        return first.end, None, None, first.output
    second = run(code, embedding[plan.genes_again], plan.sent_again, bounds) if invariant else None
    if second is not None and second.end != "ok":
        return second.end, None, None, second.output
    found = judge(plan, first.values, None if second is None else second.values)
    return found.outcome, first.values, found, first.output
