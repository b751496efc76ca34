"""Ledger → what a proposer may know. Deterministic, and made from genes A alone.

It holds the grammar (names, never genes), every explored row with its exploratory numbers, failures and negatives
included, and the budget. It holds no role (a proposer must not know which annotations are controls), no verdict of
Route U or H, and nothing that was computed from a sealed label. Same ledger, same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from statistics import NormalDist
from typing import Any

from ..hypotheses.canonical import sha256_of
from ..hypotheses.grammar import Grammar
from .custom.kind import NAME
from .custom.shown import shown_p
from .ledger.records import Registered, Rejected, Tested


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


@dataclass(frozen=True)
class Notes:
    """What a reader of prose gets beside the rows. All of it was computed on genes A, or without genes."""

    reasons: Mapping[str, str]
    """Row id → why it has no result."""
    intervals: Mapping[str, tuple[float, float]]
    """Row id → ends of the interval of its effect."""
    refused: tuple[tuple[int, str, str], ...]
    """(iteration, reason, detail) of every proposal that never became a hypothesis."""
    detectable: Mapping[str, float] = field(default_factory=dict)
    """Row id → minimum detectable distance from chance: 80 % power, two-sided .05 divided by the views that were scanned."""


@dataclass(frozen=True, eq=False)
class Digest:
    """See the module docstring."""

    iteration: int
    iterations: int
    offers: tuple[Offer, ...]
    rows: tuple[SeenRow, ...]
    notes: Notes | None = None
    """Only for a proposer that reads them."""

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON types."""
        return {
            "iteration": self.iteration,
            "iterations": self.iterations,
            "offers": [vars(o) | {"layers": list(o.layers), "coordinates": list(o.coordinates)} for o in self.offers],
            "rows": [vars(r) for r in self.rows],
            **({} if self.notes is None else {"notes": asdict(self.notes)}),
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
    rejected: Sequence[Rejected] | None = None,
) -> Digest:
    """The digest before ``iteration``, from what is recorded so far; with notes where ``rejected`` is given."""
    rows = tuple(_seen(h, tested[h.id]) for h in registered if h.id in tested)
    return Digest(iteration, iterations, offered, rows, None if rejected is None else _notes(rows, tested, rejected))


def _seen(h: Registered, t: Tested) -> SeenRow:
    """A row as a proposer sees it. Of a statistic that a model wrote nothing is seen but its end and the class of its p."""
    own = h.test == NAME
    return SeenRow(
        id=h.id,
        test=h.test,
        family=h.family,
        annotation=h.annotation,
        layers=h.spec["layers"],
        coordinates=h.spec["coordinates"],
        status=t.status,
        p_scan=shown_p(t.p_scan) if own else t.p_scan,
        effect=0.0 if own else t.effect,
        null_mean=0.0 if own else t.null_mean,
        best_view=t.best_view,
        parent=h.parent,
    )


def _notes(rows: Sequence[SeenRow], tested: Mapping[str, Tested], rejected: Sequence[Rejected]) -> Notes:
    mine = {r.id: tested[r.id] for r in rows}
    told = {r.id: tested[r.id] for r in rows if r.test != NAME}
    return Notes(
        reasons={id_: t.reason for id_, t in mine.items() if t.reason},
        intervals={
            id_: (t.effect_low, t.effect_high)
            for id_, t in told.items()
            if t.effect_low is not None and t.effect_high is not None
        },
        refused=tuple((r.iteration, r.reason, r.detail) for r in rejected),
        detectable={id_: detectable(t.min_effect, len(t.views)) for id_, t in told.items() if t.min_effect > 0},
    )


def detectable(at_one_view: float, views: int) -> float:
    """The minimum detectable effect of a scan of ``views`` views, from that at one view: Bonferroni, so rather too large.

    Four digits are kept: the quantile comes from the C library, and the digest has to be the same bytes on every machine.
    """
    z = NormalDist().inv_cdf
    factor = (z(1 - 0.025 / max(1, views)) + z(0.8)) / (z(0.975) + z(0.8))
    return float(f"{at_one_view * factor:.4g}")
