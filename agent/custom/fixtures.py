"""Made-up data to rehearse a statistic on: of the shape of the real ones, once with a signal planted and once without.

Nothing here comes from a cache, so all of what the code prints on it may be told to whoever wrote it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..blinded import Plan, make_plan

SHIFT = 2.0
"""Standard deviations by which labelled genes are moved in the first columns of the planted fixture."""
_COLUMNS = 4


@dataclass(frozen=True)
class Shape:
    """Genes, columns of the embedding, and genes that carry the label."""

    genes: int
    columns: int
    labelled: int


@dataclass(frozen=True, eq=False)
class Fixture:
    """A matrix float32 [genes, columns], and blinded labellings of its rows."""

    name: str
    embedding: NDArray[np.float32]
    plan: Plan


def fixtures(shape: Shape, m: int) -> tuple[Fixture, Fixture]:
    """The planted and the null fixture with ``m`` null labellings; the same for the same shape."""
    return _fixture(shape, m, planted=True), _fixture(shape, m, planted=False)


def _fixture(shape: Shape, m: int, planted: bool) -> Fixture:
    random = np.random.Generator(np.random.Philox(key=17 + planted))
    embedding = random.normal(size=(shape.genes, shape.columns)).astype(np.float32)
    labels = np.zeros(shape.genes, np.int8)
    labels[random.choice(shape.genes, shape.labelled, replace=False)] = 1
    if planted:
        embedding[labels == 1, :_COLUMNS] += np.float32(SHIFT)
    plan = make_plan(b"rehearsal", f"planted={planted}", labels, np.zeros(shape.genes, np.int64), m)
    return Fixture("made-up data, a signal planted" if planted else "made-up data, no signal", embedding, plan)
