"""Worlds: the same embedding with labels that are known to be null, confounded, or planted.

A world is one relabelling, int64 [n]: the label that gene i carried is carried by gene ``world[i]``. Every annotation moves
together, so sizes, overlaps and pair graphs stay what they were. In a *null* world labels are exchangeable within
strata by construction, so every confirmation is false. In a *confounded* world annotated genes are drawn towards highly
expressed strata and are exchangeable within them: a null that ignores expression fails there, a matched one must not.
"""

import numpy as np
from numpy.typing import NDArray

from .engine.bank import Bank, bank_key

PULL = 2.0
"""Confounding: how many sds of noise the most annotated gene is pulled towards high expression."""


def null_world(number: int, seed: int, symbols: tuple[str, ...], strata: NDArray[np.int64]) -> NDArray[np.int64]:
    """World ``number`` ≥ 1: a uniform permutation of genes within ``strata``, int64 [n]."""
    bank = Bank(bank_key(seed, "audit", symbols, strata), strata)
    world: NDArray[np.int64] = bank.arrangements(number, number + 1)[0].astype(np.int64)
    return world


def confounded_world(
    number: int,
    seed: int,
    symbols: tuple[str, ...],
    strata: NDArray[np.int64],
    expression: NDArray[np.float64],
    annotated: NDArray[np.int64],
) -> NDArray[np.int64]:
    """A world in which genes with many annotations sit in highly expressed strata, at random within each stratum.

    ``expression`` orders the strata, ``annotated`` [n] is the number of annotations a gene has. Genes are ranked by
    annotation count plus noise and dealt to the strata from the highest mean expression down; who of a stratum's genes
    carries which of the labels dealt to it is uniform.
    """
    n = len(symbols)
    free = np.zeros(n, dtype=np.int64)
    shuffle = null_world(number, seed, symbols, free)
    noise = np.empty(n)
    noise[shuffle] = np.linspace(-1.75, 1.75, n)  # a permuted grid: the noise of one world, without another generator
    scale = annotated.std() or 1.0
    pulled = np.argsort(-(PULL * (annotated - annotated.mean()) / scale + noise), kind="stable")
    names = np.unique(strata)
    by_expression = sorted(names.tolist(), key=lambda s: (-float(expression[strata == s].mean()), s))
    order = {s: rank for rank, s in enumerate(by_expression)}
    seats = np.argsort([order[s] for s in strata.tolist()], kind="stable")
    dealt = np.empty(n, dtype=np.int64)
    dealt[pulled] = seats
    within = null_world(number, seed + 1, symbols, strata)
    return within[dealt]


def planted_world(
    null: NDArray[np.int64], members: NDArray[np.int64], targets: NDArray[np.int64], share: float
) -> NDArray[np.int64]:
    """``null`` with a signal: the first ``share`` of ``members`` trade places with genes of ``targets``.

    ``targets`` are rows with something in common (one pole of an axis), in a random order of the world's own. The result is
    a permutation like ``null``; members already there stay.
    """
    world = null.copy()
    wanted = round(share * len(members))
    place = np.argsort(world)
    taken = set(world[members].tolist())
    free = [t for t in targets.tolist() if t not in taken]
    outside = [i for i in members.tolist() if world[i] not in set(targets.tolist())]
    need = max(0, wanted - (len(members) - len(outside)))
    for i, target in zip(outside[:need], free, strict=False):
        other = place[target]
        world[i], world[other] = world[other], world[i]
        place[world[i]], place[world[other]] = i, other
    return world
