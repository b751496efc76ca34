"""Ledger → what a proposer may know. Deterministic, and made from genes A alone.

It holds the grammar (names, never genes), every explored row with its exploratory numbers, failures and negatives
included, and the budget. It holds no role (a proposer must not know which annotations are controls), no verdict of
Route U or H, and nothing that was computed from a sealed label. Same ledger, same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..hypotheses.canonical import sha256_of
from ..hypotheses.grammar import Grammar
from .ledger.records import Registered, Tested


@dataclass(frozen=True)
class SeenRow:
    """One explored hypothesis as a proposer sees it."""

    id: str
    test: str
    family: str
    annotation: str
    layers: str
    coordinates: str
    status: str
    """``ok``, ``untestable``, ``invalid`` or ``failed``."""
    p_scan: float
    effect: float
    null_mean: float
    best_view: str
    parent: str | None


@dataclass(frozen=True)
class Offer:
    """One (test, annotation) the grammar offers."""

    test: str
    family: str
    annotation: str
    size: int
    """Members, pairs or edges on the explore side."""
    layers: tuple[str, ...]
    coordinates: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Digest:
    """See the module docstring."""

    iteration: int
    iterations: int
    offers: tuple[Offer, ...]
    rows: tuple[SeenRow, ...]

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON types."""
        return {
            "iteration": self.iteration,
            "iterations": self.iterations,
            "offers": [vars(o) | {"layers": list(o.layers), "coordinates": list(o.coordinates)} for o in self.offers],
            "rows": [vars(r) for r in self.rows],
        }

    @cached_property
    def sha256(self) -> str:
        """Digest of the digest, stored with every proposal made from it."""
        return sha256_of(self.to_json())


def offers(grammar: Grammar, sizes: Mapping[str, int]) -> tuple[Offer, ...]:
    """What the grammar offers; ``sizes`` are explore-side sizes by annotation."""
    out = []
    for kind, annotation in grammar.open_combinations:
        layers, coordinates = grammar.options(kind)
        out.append(Offer(kind.name, kind.family, annotation.name, sizes[annotation.name], layers, coordinates))
    return tuple(out)


def make_digest(
    iteration: int,
    iterations: int,
    offered: tuple[Offer, ...],
    registered: Sequence[Registered],
    tested: Mapping[str, Tested],
) -> Digest:
    """The digest before ``iteration``, from the registrations and results recorded so far."""
    rows = tuple(
        SeenRow(
            id=h.id,
            test=h.test,
            family=h.family,
            annotation=h.annotation,
            layers=h.spec["layers"],
            coordinates=h.spec["coordinates"],
            status=tested[h.id].status,
            p_scan=tested[h.id].p_scan,
            effect=tested[h.id].effect,
            null_mean=tested[h.id].null_mean,
            best_view=tested[h.id].best_view,
            parent=h.parent,
        )
        for h in registered
        if h.id in tested
    )
    return Digest(iteration, iterations, offered, rows)
