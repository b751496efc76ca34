"""Controls beside a cache: what would the same questions find where there is nothing to find?

*random-init*: an untrained model of the same shape reads the same cells. Much of what looks like learned structure (the
depth-wise collapse of rank, for one) is already there. *shuffled-genes*: the trained model reads the cells with gene
names exchanged among genes of about equal detection. What survives rests on the token, not on the company it keeps.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .recipes import hashed_uniform

_STRATA = 20


@dataclass(frozen=True)
class Control:
    """One control.

    Attributes:
        kind: see the module.
        seed: controls of one kind with other seeds are independent.
    """

    kind: Literal["random-init", "shuffled-genes"]
    seed: int = 0

    def name_beside(self, cache: str) -> str:
        """Return the name of this control of the cache called ``cache``."""
        return f"{cache}-{self.kind}-{self.seed}"


def planned_controls(random_init: int = 2, shuffled_genes: int = 1) -> tuple[Control, ...]:
    """Return so many controls of each kind, seeds counted from 0."""
    return (
        *(Control("random-init", seed) for seed in range(random_init)),
        *(Control("shuffled-genes", seed) for seed in range(shuffled_genes)),
    )


def permuted_within_detection(detection: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Exchange genes within strata of equal size by detection.

    Args:
        detection: fraction of cells with a count, ``[n_genes]``.
        seed: of the permutation.

    Returns:
        The gene that stands in for each gene, a permutation ``[n_genes]``.
    """
    hashed = int.from_bytes(hashlib.sha256(f"hyposcreen shuffled genes {seed}".encode()).digest()[:7], "big")
    genes = np.arange(len(detection), dtype=np.int64)
    by_detection = np.lexsort((hashed_uniform(hashed, 0, genes, stream=4), detection))
    permutation = np.empty_like(genes)
    for stratum in np.array_split(by_detection, min(_STRATA, max(1, len(genes) // 2))):
        permutation[stratum] = stratum[np.argsort(hashed_uniform(hashed, 0, stratum, stream=5), kind="stable")]
    return permutation
