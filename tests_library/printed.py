"""Columns for the eye: p-values adjusted over all rows of a run, by Benjamini–Hochberg, Benjamini–Yekutieli and Holm.

Asks: which rows would a reader who knows these procedures have kept? Under an adaptive proposer none of them controls
anything here (DESIGN: probability of a false discovery 1.00 in simulation), so nothing is ever decided on them.

Formulas, for the sorted p_(1) ≤ … ≤ p_(n), each then cut at 1:

- BH: q_(i) = min over j ≥ i of p_(j) / (j / n). FDR under independence or PRDS (Benjamini & Hochberg 1995).
- BY: the same with p_(j) / (j / n / H_n), H_n = Σ 1/i. FDR under any dependence (Benjamini & Yekutieli 2001).
- Holm: p_(i) = max over j ≤ i of (n − j + 1)·p_(j). FWER under any dependence (Holm 1979).

They stand here, in NumPy alone, because reading one row of a ledger must not wait for statsmodels to load. The order of the
roundings above is that of statsmodels, whose columns older ledgers were exported with: the tests ask for the same bits.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def printed_columns(p: Sequence[float]) -> dict[str, list[float]]:
    """``bh``, ``by`` and ``holm`` adjusted p, in the order of ``p``.

    Raises ``ValueError`` for a value that is not in (0, 1], NaN included.
    """
    n = len(p)
    values = np.array(p, dtype=np.float64)
    if (wrong := values[~((values > 0) & (values <= 1))]).size:
        raise ValueError(f"p = {wrong[0]} is not in (0, 1]; a p-value here is (k + 1) / (m + 1)")
    order = np.argsort(values)
    ranked, rank = values[order], np.arange(1, n + 1)
    share = rank / n
    harmonic = np.sum(1 / rank)
    adjusted = {
        "bh": _smallest_from_here(ranked / share),
        "by": _smallest_from_here(ranked / (share / harmonic)),
        "holm": np.maximum.accumulate(ranked * rank[::-1]),
    }
    columns = {}
    for name, column in adjusted.items():
        back = np.empty(n)
        back[order] = np.minimum(column, 1.0)
        columns[name] = back.tolist()
    return columns


def _smallest_from_here(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smallest value at or after each place, float64 [n]."""
    return np.minimum.accumulate(values[::-1])[::-1]
