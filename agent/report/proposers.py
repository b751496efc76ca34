"""How well a proposer knew what it said: priors against outcomes by Brier score, and two proposers at an equal number of rows.

A prior is the probability, stated before the test, that the row will be confirmed; the outcome is whether it was. Counted are
the rows of a finished run that were tested, controls included, because a proposer does not know which they are; rows that could
not be tested say nothing. Brier = mean (prior − outcome)²: 0 is perfect, and a proposer that always states the share that came
true scores share · (1 − share), its ``constant``. Rows of one annotation share genes, so every interval of a mean leaves out one
annotation at a time (delete-one jackknife, Student t, 95 %). Nothing here decides anything.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..ledger.records import Row

BINS = 5
"""Of the reliability table, each a fifth of [0, 1]."""
FEWEST = 5
"""Annotations below which no interval of a mean is given."""
OUTCOMES = frozenset({"confirmed", "not_confirmed", "screened"})
Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Bin:
    """Rows whose prior lay in one fifth of [0, 1]."""

    low: float
    high: float
    n: int
    mean_prior: float
    confirmed: int
    interval: tuple[float, float]
    """Clopper–Pearson 95 % of the share confirmed, as if rows were independent: rather too short."""


@dataclass(frozen=True)
class Score:
    """One proposer's priors against what came of them."""

    proposer: str
    n: int
    annotations: int
    confirmed: int
    mean_prior: float
    brier: float
    interval: Interval
    """95 % interval of ``brier``; ``None`` with fewer than five annotations."""
    constant: float
    """Brier score of always stating the share that was confirmed, which nobody knew before."""
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class Difference:
    """First proposer minus second, over as many rows of each, the first of each in the order of registration."""

    first: str
    second: str
    n: int
    brier: float
    brier_interval: Interval
    confirmed: float
    """Difference of the shares confirmed."""
    confirmed_interval: Interval


def scores(rows: Sequence[Row]) -> tuple[Score, ...]:
    """One score for each proposer that has counted rows, in order of appearance."""
    return tuple(score(name, mine) for name, mine in by_proposer(rows).items())


def by_proposer(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Proposer → its counted rows, in the order given."""
    out: dict[str, list[Row]] = {}
    for row in rows:
        if row.verdict in OUTCOMES and row.p_scan is not None:
            out.setdefault(row.proposer or "unknown", []).append(row)
    return out


def score(name: str, rows: Sequence[Row]) -> Score:
    """The score of counted ``rows``; ``ValueError`` without any."""
    if not rows:
        raise ValueError("no row to score")
    share = _share(rows)
    return Score(
        proposer=name,
        n=len(rows),
        annotations=len({row.annotation for row in rows}),
        confirmed=sum(map(_confirmed, rows)),
        mean_prior=math.fsum(row.prior for row in rows) / len(rows),
        brier=brier(rows),
        interval=jackknife([rows], lambda parts: brier(parts[0]), (0.0, 1.0)),
        constant=share * (1 - share),
        bins=reliability(rows),
    )


def brier(rows: Sequence[Row]) -> float:
    """Mean squared distance between prior and outcome."""
    return math.fsum((row.prior - _confirmed(row)) ** 2 for row in rows) / len(rows)


def reliability(rows: Sequence[Row]) -> tuple[Bin, ...]:
    """The fifths of [0, 1] that hold a prior."""
    held: list[list[Row]] = [[] for _ in range(BINS)]
    for row in rows:
        held[min(BINS - 1, int(row.prior * BINS))].append(row)
    return tuple(_bin(place, mine) for place, mine in enumerate(held) if mine)


def compare(first: tuple[str, Sequence[Row]], second: tuple[str, Sequence[Row]]) -> Difference | None:
    """Two proposers, each (name, counted rows), at an equal number of tests; ``None`` where one has no row."""
    n = min(len(first[1]), len(second[1]))
    if n == 0:
        return None
    parts = [list(first[1][:n]), list(second[1][:n])]
    of: Mapping[str, Callable[[Sequence[Sequence[Row]]], float]] = {
        "brier": lambda p: brier(p[0]) - brier(p[1]),
        "confirmed": lambda p: _share(p[0]) - _share(p[1]),
    }
    return Difference(
        first[0], second[0], n,
        of["brier"](parts), jackknife(parts, of["brier"], (-1.0, 1.0)),
        of["confirmed"](parts), jackknife(parts, of["confirmed"], (-1.0, 1.0)),
    )  # fmt: skip


def between_proposers(rows: Sequence[Row]) -> Difference | None:
    """The two proposers of one run that spoke first, compared; ``None`` where only one spoke."""
    held = list(by_proposer(rows).items())
    return compare(held[0], held[1]) if len(held) > 1 else None


def jackknife(
    parts: Sequence[Sequence[Row]], value: Callable[[Sequence[Sequence[Row]]], float], bounds: tuple[float, float]
) -> Interval:
    """95 % interval of ``value`` by leaving out one annotation, from all ``parts`` at once, at a time."""
    from scipy.stats import t

    names = sorted({row.annotation for part in parts for row in part})
    without = [[[row for row in part if row.annotation != name] for part in parts] for name in names]
    if len(names) < FEWEST or not all(all(rest) for rest in without):
        return None
    values = [value(rest) for rest in without]
    mean = math.fsum(values) / len(values)
    spread = math.sqrt((len(names) - 1) / len(names) * math.fsum((v - mean) ** 2 for v in values))
    centre, half = value(parts), float(t.ppf(0.975, len(names) - 1)) * spread
    return max(bounds[0], centre - half), min(bounds[1], centre + half)


def _bin(place: int, rows: Sequence[Row]) -> Bin:
    from scipy.stats import binomtest

    confirmed = sum(map(_confirmed, rows))
    exact = binomtest(confirmed, len(rows)).proportion_ci(0.95, method="exact")
    mean = math.fsum(row.prior for row in rows) / len(rows)
    return Bin(place / BINS, (place + 1) / BINS, len(rows), mean, confirmed, (float(exact.low), float(exact.high)))


def _share(rows: Sequence[Row]) -> float:
    return sum(map(_confirmed, rows)) / len(rows)


def _confirmed(row: Row) -> int:
    return int(row.verdict == "confirmed")
