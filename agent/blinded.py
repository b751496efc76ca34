"""The blinding protocol: how a statistic that nobody vouches for gets a p-value it cannot fake. Pure functions.

Asks: is the observed labelling unusual among labellings drawn from the null, by this statistic?
Formula: p = (1 + #{null labellings whose value is at least the observed one's}) / (m + 1).
The null preserves: how many genes of each stratum carry a label. It assumes that labels are exchangeable within strata.

Why it holds for any code, also for code that keeps state or cheats: the observed labelling stands at a secret place, uniform
among the m + 1, and looks like the others. Under the null the m + 1 labellings are exchangeable, so is their order, and hence
are the values that any rule without other knowledge of the labels gives them: the rank of the observed one is uniform. Copies
of some labellings, a second run on genes in another order, and typed values only, catch code that answers by place or by the
clock. The rows are shuffled too, so that a place in the matrix names no gene.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Judged = Literal["ok", "nondeterministic", "nonfinite", "degenerate", "order_dependent"]
COPIES = 8
"""Labellings that are sent twice."""
REPLAYED = 16
"""Labellings that are sent again in the second run."""
_RELATIVE, _OF_SPREAD = 1e-6, 1e-3
"""By how much values of the second run may differ, as a share of the largest value and of the spread of values: sums over
genes in another order differ in their last bits, and in float32 a difference of two means keeps few of them. Code that answers
by place differs by the spread itself."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What is sent, and what only the judge knows."""

    sent: NDArray[np.int8]
    """[m + 1 + copies, n], rows of genes in the order ``genes``."""
    genes: NDArray[np.int64]
    """Place in the matrix that is sent → gene."""
    places: NDArray[np.int64]
    """[m + 1]: place among the sent of each labelling, the observed one first."""
    copies: tuple[tuple[int, int], ...]
    """Pairs of places that hold the same labelling."""
    again: NDArray[np.int64]
    """Places whose labellings are sent in the second run, in its order."""
    genes_again: NDArray[np.int64]
    """As ``genes``, of the second run."""

    @property
    def sent_again(self) -> NDArray[np.int8]:
        """[replayed, n]: the labellings of the second run on its own order of genes."""
        back = np.argsort(self.genes)
        sent: NDArray[np.int8] = self.sent[self.again][:, back][:, self.genes_again]
        return sent


@dataclass(frozen=True)
class Judgement:
    """What the values come to. Anything but ``ok`` counts as p = 1."""

    outcome: Judged
    k: int
    """Null labellings at least as extreme."""
    m: int
    observed: float
    null_mean: float
    null_sd: float

    @property
    def p(self) -> float:
        """(k + 1) / (m + 1), or 1."""
        return (self.k + 1) / (self.m + 1) if self.outcome == "ok" else 1.0


def make_plan(secret: bytes, name: str, labels: NDArray[np.int8], strata: NDArray[np.int64], m: int) -> Plan:
    """Labellings for one test. ``secret`` never leaves the loop; ``name`` says which ensemble: the same name, the same draws.

    Args:
        secret: key of the draws.
        name: what the ensemble belongs to, the label set and the null; not the code, so that a second try of other code meets
            the same draws.
        labels: int8 [n], 1 where a gene carries the label.
        strata: int64 [n]; labels move within strata only.
        m: null labellings.
    """
    random = _random(secret, name)
    drawn = np.repeat(labels[None, :], m + 1, axis=0)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        drawn[1:, members] = random.permuted(drawn[1:, members], axis=1)
    return _hidden(random, drawn)


def hide(secret: bytes, name: str, drawn: NDArray[np.int8]) -> Plan:
    """The plan of labellings that were drawn elsewhere: int8 [m + 1, n], the observed one first."""
    return _hidden(_random(secret, name), drawn)


def _hidden(random: np.random.Generator, drawn: NDArray[np.int8]) -> Plan:
    count, n = drawn.shape
    genes = random.permutation(n)
    copied = random.choice(count, size=min(COPIES, count), replace=False)
    whole = np.concatenate([drawn, drawn[copied]])
    order = random.permutation(len(whole))
    place = np.argsort(order)
    again = random.choice(len(whole), size=min(REPLAYED, len(whole)), replace=False)
    return Plan(
        sent=np.ascontiguousarray(whole[order][:, genes]),
        genes=genes,
        places=place[:count],
        copies=tuple((int(place[source]), int(place[count + i])) for i, source in enumerate(copied)),
        again=again,
        genes_again=random.permutation(n),
    )


def judge(plan: Plan, values: NDArray[np.float64], values_again: NDArray[np.float64] | None) -> Judgement:
    """From values to k and m. ``values_again`` is ``None`` for a statistic that says it depends on the order of genes."""
    used = values[plan.places]
    observed, null = float(used[0]), used[1:]
    outcome: Judged = "ok"
    if any(values[a].tobytes() != values[b].tobytes() for a, b in plan.copies):
        outcome = "nondeterministic"
    elif not np.isfinite(values).all():
        outcome = "nonfinite"
    elif np.ptp(null) == 0.0:
        outcome = "degenerate"
    elif values_again is not None and not _same(values[plan.again], values_again):
        outcome = "order_dependent"
    if outcome == "nonfinite":
        return Judgement(outcome, 0, len(null), observed, float("nan"), float("nan"))
    k = int((null >= observed).sum())
    return Judgement(outcome, k, len(null), observed, float(null.mean()), float(null.std()))


def _same(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    room = _RELATIVE * max(1e-300, float(np.abs(first).max())) + _OF_SPREAD * float(np.ptp(first))
    return bool(np.isfinite(second).all() and (np.abs(first - second) <= room).all())


def _random(secret: bytes, name: str) -> np.random.Generator:
    key = hmac.new(secret, name.encode(), hashlib.sha256).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))
