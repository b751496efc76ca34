"""One scan: an entity, a test kind and its companion nulls on one universe of genes.

The same function serves exploration (genes A), the held-out look (genes B) and the universe (all genes); what differs is
only which rows it is given. It knows no annotation name, no ledger and no other hypothesis.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .engine.bank import BLOCK, Bank, bank_key
from .engine.enumerate import Labellings, labellings, labellings_of
from .engine.maxt import Moments, exceedances, moments, p_value, standardise
from .nulls import Exchange, exchange, null_model
from .sequential import LADDER, Rung, rungs
from .spaces import Geometry
from .statistics.base import Entity, Prepared, TestKind, View


@dataclass(frozen=True, eq=False)
class Covariates:
    """What the nulls and keys need to know of the universe: symbols, mean expression, detection and family, each [n]."""

    symbols: tuple[str, ...]
    expression: NDArray[np.float64]
    detection: NDArray[np.float64]
    families: tuple[str, ...] = ()
    """Empty means that every gene is a family of its own."""
    load: NDArray[np.int64] | None = None
    """Study load of each gene, int64 [n] (:func:`hyposcreen.tests_library.nulls.study_load`); ``None``: not matched."""
    matched: NDArray[np.int64] | None = None
    """Strata of like genes, int64 [n], cut in a wider universe (:func:`hyposcreen.tests_library.nulls.like_genes`)."""

    _made: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def n(self) -> int:
        """Genes in the universe."""
        return len(self.symbols)

    def exchange(self, null: str) -> Exchange:
        """The exchange rule of a null on this universe, made once."""
        if null not in self._made:
            families = self.families or self.symbols
            self._made[null] = exchange(null, self.expression, self.detection, families, self.load, self.matched)
        rule: Exchange = self._made[null]
        return rule

    def bank(self, null: str, seed: int) -> Bank:
        """The bank every hypothesis on this universe shares under ``null``, made once."""
        if (null, seed) not in self._made:
            rule = self.exchange(null)
            key = bank_key(seed, null, self.symbols, rule.strata, rule.units)
            self._made[null, seed] = Bank(key, rule.strata, rule.units)
        bank: Bank = self._made[null, seed]
        return bank


@dataclass(frozen=True)
class ViewNumbers:
    """One view under one null; see ``hyposcreen.agent.ledger.records.ViewNumbers`` for the words."""

    view: View
    statistic: int
    effect: float
    null_mean: float
    null_sd: float
    z: float
    k: int


@dataclass(frozen=True, eq=False)
class SubsetScan:
    """The maximum over a subset of views: float64 [m + 1] with the observed first, its k, and the view that attains it."""

    maximum: NDArray[np.float64]
    k: int
    best: View
    views: tuple[ViewNumbers, ...]


@dataclass(frozen=True, eq=False)
class NullScan:
    """One companion null: all subsets on one bank, and the maximum over every view of the kind."""

    null: str
    m: int
    subsets: Mapping[str, SubsetScan]
    overall: NDArray[np.float64]
    broken: tuple[View, ...]
    """Views whose null has no variance; they cannot be extreme and are named."""


def scan(
    geometry: Geometry,
    covariates: Covariates,
    kind: TestKind,
    entity: Entity,
    *,
    subsets: Mapping[str, frozenset[View]],
    nulls: Sequence[str],
    m: int,
    seed: int,
    staged: bool = False,
    exact: bool = False,
) -> tuple[NullScan, ...]:
    """Test ``entity`` under every null of ``nulls`` with ``m`` draws, for each named subset of views.

    ``staged`` climbs a ladder: a null stops early where the row is clearly nothing, and reports the p of the draws it made,
    which is valid (:mod:`.sequential` has the proof). Only for one subset: two that stopped together would not be.

    ``exact`` makes all distinct labellings instead of draws where they are no more (:mod:`.engine.enumerate`): m is then
    their number without the observed one, and p has no Monte-Carlo error. Only where no other hypothesis is compared draw
    by draw.

    Raises ``ValueError`` for a subset with a view this kind does not have, an entity that is too little for ``kind``, or a
    staged scan of several subsets.
    """
    if staged and len(subsets) != 1:
        raise ValueError(f"a staged scan is of one subset of views, here are {len(subsets)}")
    shortage = kind.shortage(entity, geometry.universe)
    if shortage:
        raise ValueError(f"too little to test: {shortage}")
    prepared = kind.prepare(geometry, entity)
    found = []
    for null in nulls:
        every = _every(covariates, entity, prepared, null, m) if exact else None
        draws, steps = every or (_draws(geometry, covariates, prepared, null, seed), ladder(null, m, staged))
        found.append(_one_null(null, draws, prepared, kind, subsets, steps))
    return tuple(found)


def ladder(null: str, m: int, staged: bool) -> tuple[Rung, ...]:
    """Where a scan of ``null`` may stop when ``m`` draws are asked for; the last rung always stops it."""
    most = null_model(null).most
    return rungs(m if most is None else min(m, most), LADDER if staged else ())


Draws = Callable[[int, int], NDArray[np.int64]]


def _draws(geometry: Geometry, covariates: Covariates, prepared: Prepared, null: str, seed: int) -> Draws:
    """(start, stop) → totals of those draws under ``null``: by a shared bank, or by the test kind itself."""
    if null in prepared.own:
        key = bank_key(seed, null, covariates.symbols, np.zeros(geometry.n, np.int64))
        return lambda start, stop: prepared.own[null](key, start, stop)
    bank = covariates.bank(null, seed)
    return lambda start, stop: prepared.sums(geometry.banks.get(bank, start, stop))


def _every(
    covariates: Covariates, entity: Entity, prepared: Prepared, null: str, m: int
) -> tuple[Draws, tuple[Rung, ...]] | None:
    """All arrangements of a null instead of ``m`` draws, or ``None`` where they are more than those."""
    if null in prepared.own:
        count = prepared.every.get(null, m + 2)
        key = (0, 0)  # all of them are the same set under any key
        return None if count > m + 1 else (lambda a, b: prepared.own[null](key, a, b), rungs(count - 1, ()))
    rule = covariates.exchange(null)
    # telling touched genes from others is quick and gives no more labellings than telling them all apart
    if labellings_of(entity.touched(covariates.n), rule.strata, rule.units).count > m + 1:
        return None
    found = labellings(entity, rule.strata, rule.units, m + 1)
    if found is None:
        return None
    made: Labellings = found
    return lambda start, stop: prepared.sums(made.arrangements(start, stop)), rungs(made.count - 1, ())


def _one_null(
    null: str,
    draws: Draws,
    prepared: Prepared,
    kind: TestKind,
    subsets: Mapping[str, frozenset[View]],
    steps: Sequence[Rung],
) -> NullScan:
    done: list[NDArray[np.int64]] = []
    start = 0
    for rung in steps:
        m = rung.draws
        done += [draws(a, min(a + BLOCK, m + 1)) for a in range(start, m + 1, BLOCK)]
        start = m + 1
        totals = np.concatenate(done)
        moment = moments(totals)
        z = standardise(totals, moment, kind.alternative)
        found = {name: _subset(prepared, totals, moment, z, views) for name, views in subsets.items()}
        if all(p_value(subset.k, m) > rung.stop_above for subset in found.values()):
            break
    broken = tuple(view for view, sd in zip(prepared.views, moment.sd, strict=True) if sd == 0)
    return NullScan(null, m, found, z.max(axis=1), broken)


def _subset(
    prepared: Prepared,
    totals: NDArray[np.int64],
    moment: Moments,
    z: NDArray[np.float64],
    views: frozenset[View],
) -> SubsetScan:
    columns = [v for v, view in enumerate(prepared.views) if view in views]
    if len(columns) != len(views):
        raise ValueError(f"the scan asks for views this test does not have: {sorted(v.name for v in views)}")
    maximum = z[:, columns].max(axis=1)
    best = columns[int(np.argmax(z[0, columns]))]
    draws = totals[1:]
    null_mean = prepared.offset + prepared.scale * (draws.sum(axis=0) / len(draws))
    numbers = tuple(
        ViewNumbers(
            view=prepared.views[v],
            statistic=int(totals[0, v]),
            effect=float(prepared.offset[v] + prepared.scale[v] * totals[0, v]),
            null_mean=float(null_mean[v]),
            null_sd=float(abs(prepared.scale[v]) * moment.sd[v]),
            z=float(z[0, v]),
            k=exceedances(z[:, v]),
        )
        for v in columns
    )
    return SubsetScan(maximum, exceedances(maximum), prepared.views[best], numbers)
