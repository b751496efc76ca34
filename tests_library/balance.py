"""Balance: how far the genes of a tested entity are from its null draws in what a null should hold fixed.

Asks: do the carriers of labels differ in expression, detection or another covariate from the genes that stand in for them?
Formula: (mean of x over carriers − its expectation over all arrangements of the null) / sd of x over the universe.
The expectation is exact, not sampled: a gene's stand-in is uniform over its stratum, and where units move as one it is
uniform over the genes at the same place in the units of its stratum.
Null preserves: what ``nulls.exchange`` says; a null that matches a covariate leaves it near 0.
Effect: standardised mean difference, in sds of the universe. Beyond ±.25 a null is a poor comparison.
Assumes: nothing; it describes, and decides no claim.
Source: Rosenbaum & Rubin 1985; the threshold .25 is Rubin 2001's.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .nulls import Exchange

THRESHOLD = 0.25
"""|standardised mean difference| above which Rubin 2001 calls two groups too far apart for adjustment to be trusted."""


def balance(
    exchange: Exchange, carriers: NDArray[np.int64], covariates: Mapping[str, NDArray[np.float64]]
) -> dict[str, float]:
    """Standardised mean difference of each covariate, by name.

    ``carriers`` int64 [c]: positions in the universe that carry labels, as often as they do (a gene in three pairs counts
    three times). ``covariates``: float64 [n] each. The sd divides by n; a covariate without variance gives 0. Sums are
    correctly rounded, so no order decides a bit.

    Raises ``ValueError`` for no carriers, a carrier outside the universe, or a covariate of another length or with NaN.
    """
    n = len(exchange.strata)
    if len(carriers) == 0:
        raise ValueError("no gene carries a label, so there is nothing to balance")
    if carriers.min() < 0 or carriers.max() >= n:
        raise ValueError(f"a carrier lies outside the universe of {n} genes")
    groups = _stand_ins(exchange)
    return {name: _difference(groups, carriers, _checked(name, x, n)) for name, x in covariates.items()}


def _difference(groups: NDArray[np.int64], carriers: NDArray[np.int64], x: NDArray[np.float64]) -> float:
    if x.min() == x.max():
        return 0.0
    x = np.ldexp(x, -int(np.frexp(np.abs(x).max())[1]))  # squares neither overflow nor vanish
    expected = np.empty(len(x))
    for group in range(int(groups.max()) + 1):
        inside = groups == group
        expected[inside] = _mean(x[inside])
    centre = _mean(x)
    sd = math.sqrt(_mean((x - centre) ** 2))
    return math.fsum((x[carriers] - expected[carriers]).tolist()) / len(carriers) / sd


def _stand_ins(exchange: Exchange) -> NDArray[np.int64]:
    """Group of each gene, int64 [n]: a gene is played by every gene of its group equally often."""
    if exchange.units is None:
        return np.unique(exchange.strata, return_inverse=True)[1].astype(np.int64)
    _, unit, sizes = np.unique(exchange.units, return_inverse=True, return_counts=True)
    order = np.argsort(unit, kind="stable")
    offset = np.empty(len(unit), np.int64)
    offset[order] = np.arange(len(unit)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    keys = np.stack([exchange.strata, offset], axis=1)
    return np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _mean(values: NDArray[np.float64]) -> float:
    return math.fsum(values.tolist()) / len(values)


def _checked(name: str, x: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    values = np.asarray(x, dtype=np.float64)
    if values.shape != (n,) or not np.isfinite(values).all():
        raise ValueError(f"covariate '{name}' must be {n} finite numbers, one a gene of the universe")
    return values
