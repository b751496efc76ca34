"""Every distinct labelling, where they are few: exact p-values instead of draws.

Under a permutation null all permutations within strata are equally likely, and a statistic sees only *which place carries
what*: permutations that differ by swapping genes that carry the same are one labelling, and every labelling stands for
equally many permutations. So the N distinct labellings are equally likely too, and with the observed one among them

    p = k_all / N = (k + 1) / (m + 1),  m = N − 1 the other labellings, k those of them at least as extreme,

is the exact permutation p-value: no Monte-Carlo error, and the smallest possible p is 1 / N (a Spearman rho of 1 over five
points has p = 2/120, never 1e-24). Whether N is small depends only on how many genes of each stratum carry what, which
the null itself keeps, so choosing enumeration by N costs no validity.

:class:`Labellings` stands where a :class:`~.bank.Bank` stands: ``arrangements(start, stop)`` are int32 [P, n] blocks with the
observed one (identity) first, and ``Prepared.sums`` takes them unchanged. It belongs to one entity. Hypotheses of a universe
share draws only through a bank, so joint maxima (Routes U and H) need the bank; enumeration serves exploration rows and
single tests.

Source: permutation tests by enumeration, Fisher 1935; Dwass 1957 on why sampling them is valid as well.
"""

import itertools
import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..statistics.base import Entity
from .bank import BLOCK

LIMIT = 100_000
"""Largest number of labellings that is enumerated."""


@dataclass(frozen=True, eq=False)
class _Step:
    """One choice: which of the free places of a stratum carry ``sort``. ``choices`` [C, c] are places among the free."""

    places: NDArray[np.int64]
    """Movers of the stratum, ascending."""
    sort: int
    choices: NDArray[np.int64]
    opens: bool
    """Whether this is the stratum's first step, so that all its places are free."""


@dataclass(frozen=True, eq=False)
class Labellings:
    """All distinct labellings of movers (genes, or whole units) within strata; number 0 is the observed one.

    ``strata`` and ``sorts`` are int64 [U]: a mover's stratum, and what it carries (equal numbers carry the same).
    ``unit_of`` and ``offset`` are int64 [n]: the mover of a gene and its place there. Make one with :func:`labellings`, which
    bounds N; blocks of more than a few million labellings would need tables as large.
    """

    strata: NDArray[np.int64]
    sorts: NDArray[np.int64]
    unit_of: NDArray[np.int64]
    offset: NDArray[np.int64]

    @property
    def n(self) -> int:
        """Genes in the universe."""
        return len(self.unit_of)

    @cached_property
    def count(self) -> int:
        """N: the number of distinct labellings, the observed one included."""
        return math.prod(math.comb(free, taken) for _, _, free, taken in _choices(self.strata, self.sorts))

    def blocks(self) -> list[tuple[int, int]]:
        """The ranges that cover all labellings."""
        return [(s, min(s + BLOCK, self.count)) for s in range(0, self.count, BLOCK)]

    def arrangements(self, start: int, stop: int) -> NDArray[np.int32]:
        """Labellings ``start … stop−1`` as int32 [stop − start, n]: gene i is played by gene ``a[i]``.

        Among genes of a stratum that carry the same, order is kept, so number 0 is the identity. ``ValueError`` for a range
        outside 0 … N.
        """
        if not 0 <= start < stop <= self.count:
            raise ValueError(f"labellings {start}..{stop} is not a forward range in 0..{self.count}")
        number = np.arange(start, stop, dtype=np.int64)
        rank = np.where(number == 0, self._observed, number - (number <= self._observed))
        return self._genes(self._movers(self._labels(rank)))

    @cached_property
    def _steps(self) -> tuple[_Step, ...]:
        out = []
        before = -1
        for stratum, sort, free, taken in _choices(self.strata, self.sorts):
            choices = np.array(list(itertools.combinations(range(free), taken)), dtype=np.int64)
            out.append(_Step(np.flatnonzero(self.strata == stratum), sort, choices, stratum != before))
            before = stratum
        return tuple(out)

    @cached_property
    def _rest(self) -> NDArray[np.int64]:
        """What a mover carries where no step says otherwise: the most frequent sort of its stratum, int64 [U]."""
        rest = np.empty(len(self.strata), dtype=np.int64)
        for stratum in np.unique(self.strata).tolist():
            inside = self.strata == stratum
            rest[inside] = _most_frequent(self.sorts[inside])
        return rest

    @cached_property
    def _observed(self) -> int:
        """The rank of the observed labelling in the order of :meth:`_labels`."""
        rank, weight = 0, 1
        free = np.ones(0, dtype=np.bool_)
        for step in self._steps:
            if step.opens:
                free = np.ones(len(step.places), dtype=np.bool_)
            carries = self.sorts[step.places] == step.sort
            chosen = np.flatnonzero(carries[free])
            rank += weight * int(np.flatnonzero((step.choices == chosen).all(axis=1))[0])
            weight *= len(step.choices)
            free &= ~carries
        return rank

    def _labels(self, rank: NDArray[np.int64]) -> NDArray[np.int64]:
        """What each place carries in the labellings of the given ranks: int64 [P, U] from ranks [P] (mixed radix)."""
        out = np.tile(self._rest, (len(rank), 1))
        row = np.arange(len(rank))[:, None]
        free = np.ones((len(rank), 0), dtype=np.bool_)
        for step in self._steps:
            if step.opens:
                free = np.ones((len(rank), len(step.places)), dtype=np.bool_)
            rank, digit = np.divmod(rank, len(step.choices))
            open_places = np.nonzero(free)[1].reshape(len(rank), -1)
            chosen = np.take_along_axis(open_places, step.choices[digit], axis=1)
            free[row, chosen] = False
            out[row, step.places[chosen]] = step.sort
        return out

    def _movers(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Labels [P, U] → which mover plays which: the t-th place of a sort in a stratum plays its t-th carrier."""
        several = int(self.sorts.max()) + 1
        home = np.argsort(self.strata * several + self.sorts, kind="stable")
        out = np.empty(labels.shape, dtype=np.int64)
        out[:, home] = np.argsort(self.strata * several + labels, axis=1, kind="stable")
        return out

    def _genes(self, movers: NDArray[np.int64]) -> NDArray[np.int32]:
        """Movers [P, U] → genes [P, n]: the t-th gene of a unit is played by the t-th of the other."""
        members = np.argsort(self.unit_of, kind="stable").astype(np.int32)
        sizes = np.bincount(self.unit_of)
        start = np.cumsum(sizes) - sizes
        arranged: NDArray[np.int32] = members[start[movers[:, self.unit_of]] + self.offset]
        return arranged


def labellings(
    entity: Entity, strata: NDArray[np.int64], units: NDArray[np.int64] | None = None, limit: int = LIMIT
) -> Labellings | None:
    """All labellings of ``entity`` under an exchange rule, or ``None`` where there are more than ``limit``, or only one.

    ``strata`` and ``units`` are int64 [n] as in :class:`~.bank.Bank`. With one labelling nothing can be tested: p = 1.
    """
    made = labellings_of(carried(entity, len(strata)), strata, units)
    return made if 1 < made.count <= limit else None


def count_arrangements(entity: Entity, strata: NDArray[np.int64], units: NDArray[np.int64] | None = None) -> int:
    """N: the number of distinct labellings of ``entity``, the observed one included; exact, however large."""
    return labellings_of(carried(entity, len(strata)), strata, units).count


def labellings_of(
    sorts: NDArray[np.int64], strata: NDArray[np.int64], units: NDArray[np.int64] | None = None
) -> Labellings:
    """All labellings of genes that carry ``sorts`` (int64 [n] ≥ 0); a unit carries what its genes carry, in their order."""
    if units is None:
        n = len(strata)
        return Labellings(strata, sorts, np.arange(n), np.zeros(n, dtype=np.int64))
    _, unit_of, sizes = np.unique(units, return_inverse=True, return_counts=True)
    members = np.argsort(unit_of, kind="stable")
    start = np.cumsum(sizes) - sizes
    offset = np.empty(len(units), dtype=np.int64)
    offset[members] = np.arange(len(units)) - start[unit_of[members]]
    numbers: dict[tuple[int, ...], int] = {}
    carries = [tuple(sorts[members[s : s + size]].tolist()) for s, size in zip(start, sizes, strict=True)]
    by_unit = np.array([numbers.setdefault(c, len(numbers)) for c in carries], dtype=np.int64)
    return Labellings(strata[members[start]], by_unit, unit_of.astype(np.int64), offset)


def carried(entity: Entity, n: int) -> NDArray[np.int64]:
    """What each gene of the universe carries: int64 [n], equal numbers where the entity cannot tell two genes apart.

    Gene sets: member or not. Edges: the regulators (with signs) of a target. Pairs: genes carry the same where swapping
    them changes no pair and no grade (the same partners and grades, each other apart); untouched genes carry 0. A graph may
    have symmetries beyond those; its labellings then repeat, all equally often, and p is the same.
    """
    of: dict[int, Counter[tuple[int, ...]]] = {}
    if entity.kind == "gene_set":
        return np.isin(np.arange(n), entity.need_members()).astype(np.int64)
    if entity.kind == "edges":
        edges = entity.need_edges()
        signs = np.ones(len(edges), np.int64) if entity.signs is None else entity.signs
        for (regulator, target), sign in zip(edges.tolist(), signs.tolist(), strict=True):
            of.setdefault(target, Counter())[(regulator, sign)] += 1
        return _numbered(of, n)
    return _pair_sorts(entity, n)


def _pair_sorts(entity: Entity, n: int) -> NDArray[np.int64]:
    pairs = entity.need_pairs()
    grades = np.ones(len(pairs), np.int64) if entity.grades is None else entity.grades
    of: dict[int, Counter[tuple[int, ...]]] = {}
    for (a, b), grade in zip(pairs.tolist(), grades.tolist(), strict=True):
        of.setdefault(a, Counter())[(b, grade)] += 1
        of.setdefault(b, Counter())[(a, grade)] += 1
    out = np.zeros(n, dtype=np.int64)
    first_of: list[int] = []
    for gene in sorted(of):  # being twins is an equivalence, so one gene of each sort is compared
        twin = next((i for i, other in enumerate(first_of) if _twins(of, gene, other)), len(first_of))
        if twin == len(first_of):
            first_of.append(gene)
        out[gene] = twin + 1
    return out


def _twins(of: dict[int, Counter[tuple[int, ...]]], a: int, b: int) -> bool:
    def without(gene: int, other: int) -> dict[tuple[int, ...], int]:
        return {key: times for key, times in of[gene].items() if key[0] != other}

    return without(a, b) == without(b, a)


def _numbered(of: dict[int, Counter[tuple[int, ...]]], n: int) -> NDArray[np.int64]:
    out = np.zeros(n, dtype=np.int64)
    numbers: dict[tuple[object, ...], int] = {}
    for gene in sorted(of):
        out[gene] = numbers.setdefault(tuple(sorted(of[gene].items())), len(numbers) + 1)
    return out


def _choices(strata: NDArray[np.int64], sorts: NDArray[np.int64]) -> list[tuple[int, int, int, int]]:
    """(stratum, sort, free places, places it takes) for every sort but the most frequent of each stratum."""
    out = []
    for stratum in np.unique(strata).tolist():
        inside = sorts[strata == stratum]
        rest = _most_frequent(inside)
        free = len(inside)
        for sort, taken in sorted(Counter(inside.tolist()).items()):
            if sort != rest:
                out.append((stratum, sort, free, taken))
                free -= taken
    return out


def _most_frequent(sorts: NDArray[np.int64]) -> int:
    values, counts = np.unique(sorts, return_counts=True)
    return int(values[np.argmax(counts)])
