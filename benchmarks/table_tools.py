"""What the benchmark table is made of: rows, and fair timing."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table: a measured number, what it must hold, and how it was measured."""

    name: str
    measured: float
    hold: float
    note: str
    unit: str = "×"
    at_most: bool = False

    @property
    def held(self) -> bool:
        return self.measured <= self.hold if self.at_most else self.measured >= self.hold

    def line(self) -> str:
        sign = "≤" if self.at_most else "≥"
        if math.isnan(self.measured):
            return f"| {self.name} | – | {sign} {number(self.hold)}{self.unit} | not measured | {self.note} |"
        return (
            f"| {self.name} | {number(self.measured)}{self.unit} | {sign} {number(self.hold)}{self.unit} "
            f"| {'held' if self.held else '**short**'} | {self.note} |"
        )


HEAD = "| row | measured | to hold | | how |\n|---|---|---|---|---|"


def number(x: float) -> str:
    """Two digits behind the point below 10, one below 100, none above; whole numbers without."""
    if x == int(x):
        return f"{x:,.0f}"
    return f"{x:,.{2 if x < 10 else 1 if x < 100 else 0}f}"


def fastest(*jobs: Callable[[], object], turns: int = 5) -> list[float]:
    """CPU seconds of the fastest run of each job. Jobs take turns, so that a busy machine slows all of them alike."""
    seconds = [float("inf")] * len(jobs)
    for job in jobs:
        job()  # compile, or load what was compiled before
    for _ in range(turns):
        for which, job in enumerate(jobs):
            start = time.process_time()
            job()
            seconds[which] = min(seconds[which], time.process_time() - start)
    return seconds
