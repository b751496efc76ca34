"""What a statistic is: a label-free preparation and an integer for each arrangement and view."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..engine.kernels import Arrangements
from ..engine.maxt import Alternative
from ..spaces import Geometry
from .coordinates import Coordinates

Need = Literal["attention", "partner"]
"""Mean attention between genes (an optional array of a cache), or another cache that the project names as partner."""
EntityKind = Literal["gene_set", "gene_pairs", "edges"]
NOUN: Mapping[EntityKind, str] = MappingProxyType({"gene_set": "genes", "gene_pairs": "pairs", "edges": "edges"})
"""What an entity is made of."""


@dataclass(frozen=True, eq=False)
class Entity:
    """An annotation, as positions in the universe of a :class:`Geometry`.

    ``members`` int64 [m] for a gene set; ``pairs`` int64 [p, 2] with ``grades`` int64 [p] for gene pairs; ``edges``
    int64 [e, 2] for edges, where column 0 is a *cache row* (regulators are never permuted, so they need not lie in the
    universe) and column 1 a position in the universe, with ``signs`` int64 [e].
    """

    kind: EntityKind
    members: NDArray[np.int64] | None = None
    pairs: NDArray[np.int64] | None = None
    grades: NDArray[np.int64] | None = None
    edges: NDArray[np.int64] | None = None
    signs: NDArray[np.int64] | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Entity":
        """``kind`` and its rows as lists of integers."""
        return cls(value["kind"], **{k: np.array(v, dtype=np.int64) for k, v in value.items() if k != "kind"})

    @property
    def size(self) -> int:
        """Members, pairs or edges inside the universe."""
        return len(self._rows())

    def touched(self, n: int) -> NDArray[np.int64]:
        """Which of ``n`` genes carry a label that moves (members, genes in pairs, targets), as 0 and 1: int64 [n]."""
        rows = self._rows()
        out = np.zeros(n, np.int64)
        out[rows[:, 1] if self.kind == "edges" else rows] = 1
        return out

    def _rows(self) -> NDArray[np.int64]:
        rows = {"gene_set": self.members, "gene_pairs": self.pairs, "edges": self.edges}[self.kind]
        if rows is None:
            raise ValueError(f"a {self.kind} entity without its rows")
        return rows

    def need_members(self) -> NDArray[np.int64]:
        """Members of a gene set; ``ValueError`` for any other kind."""
        return self._need(self.members, "gene_set")

    def need_pairs(self) -> NDArray[np.int64]:
        """Pairs of a gene-pair set; ``ValueError`` for any other kind."""
        return self._need(self.pairs, "gene_pairs")

    def need_edges(self) -> NDArray[np.int64]:
        """Edges; ``ValueError`` for any other kind."""
        return self._need(self.edges, "edges")

    def _need(self, rows: NDArray[np.int64] | None, kind: str) -> NDArray[np.int64]:
        if rows is None:
            raise ValueError(f"this test needs a {kind}, it was given a {self.kind}")
        return rows


@dataclass(frozen=True)
class View:
    """One place a statistic can look at: a layer (or a contrast of layers) and a coordinate."""

    layer: str
    coordinate: str

    @property
    def name(self) -> str:
        """``L2·SV3``."""
        return f"{self.layer}·{self.coordinate}"


@dataclass(frozen=True, eq=False)
class Prepared:
    """A statistic bound to an entity: ``sums`` maps arrangements [P, n] to int64 [P, V] over ``views``.

    The effect a person reads is ``offset + scale · T`` for each view (float64 [V] each).
    """

    views: tuple[View, ...]
    sums: Callable[[Arrangements], NDArray[np.int64]]
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]
    own: Mapping[str, "OwnDraws"] = field(default_factory=dict)
    """Draws of the nulls that only this kind has (:data:`hyposcreen.tests_library.nulls.OWN_NULLS`), by name."""
    every: Mapping[str, int] = field(default_factory=dict)
    """Those of them whose first N draws are all arrangements, each once, under any key → N, from 2 on."""


OwnDraws = Callable[[tuple[int, int], int, int], NDArray[np.int64]]
"""(Philox key, start, stop) → int64 [stop − start, V]: draws start … stop−1, draw 0 the observed one. Draw j depends on
the key and j alone, never on the range it was asked for in."""
Prepare = Callable[[Geometry, Entity], Prepared]
Lacks = Callable[[Entity, NDArray[np.int64]], str]
"""(entity, cache rows of the universe int64 [n]) → what the statistic would need and the entity has not, or empty."""


@dataclass(frozen=True)
class TestKind:
    """A declared test: the composition and the header a reader needs to judge it."""

    __test__ = False  # not a pytest class, whatever its name says

    name: str
    family: str
    entity: EntityKind
    alternative: Alternative
    effect_unit: str
    coordinates: Coordinates
    """What its views range over besides layers."""
    min_size: int
    """Smallest number of members, pairs or edges in a universe; below it a row is ``untestable``."""
    asks: str
    formula: str
    null_preserves: str
    assumes: str
    source: str
    prepare: Prepare
    nulls: tuple[str, ...] = ()
    """Nulls of its own, beside those that every kind has; ``Prepared.own`` draws them."""
    universe: bool = True
    """Whether Route U covers it. Kinds that cost more than a table look-up a draw are confirmed by Route H alone."""
    staged: bool = False
    """Exploration draws in stages and stops where the decision is clear (:func:`hyposcreen.tests_library.run.scan`)."""
    uses: Literal["", "grades", "signs"] = ""
    """What of an annotation's pairs or edges it reads besides who is joined to whom."""
    needs: frozenset[Need] = frozenset()
    """What a cache or project must bring (:data:`Need`); the grammar offers the kind nowhere else."""
    lacks: Lacks | None = None
    """What else than ``min_size`` it takes to make sense of an entity; where it says something, a row is ``untestable``."""

    def shortage(self, entity: Entity, universe: NDArray[np.int64]) -> str:
        """Why ``entity`` is too little for this test on these cache rows, as the end of a sentence, or empty."""
        if entity.size < self.min_size:
            return f"{entity.size} {NOUN[entity.kind]}, and {self.name} needs {self.min_size} or more"
        return "" if self.lacks is None else self.lacks(entity, universe)


def affine(views: int, scale: float, offset: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same scale and offset for every view."""
    return np.full(views, scale), np.full(views, offset)
