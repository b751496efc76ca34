"""Mechanical checks before a hypothesis may be tested, and the words for those that may not.

Each rule is a pure function of what is known on the explore side. A later issue adds more rules; each is one function
and one line in :data:`RULES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import comb

from ..tests_library.statistics.base import TestKind
from .annotations import Annotation


@dataclass(frozen=True)
class Facts:
    """What a rule may know of a spec: the kind, the entity, and its size on genes A."""

    kind: TestKind
    annotation: Annotation
    cache_digest: str
    n_universe: int
    """Genes of the universe on side A."""
    n_entity: int
    """Members, pairs or edges on side A."""
    threshold: float
    """The p a row must be able to reach."""


@dataclass(frozen=True)
class Finding:
    """A rule that fired: the verdict the row gets and one sentence."""

    rule: str
    verdict: str
    """``untestable`` or ``invalid``."""
    sentence: str


def too_small(facts: Facts) -> Finding | None:
    """The entity is below the minimum size of the test on genes A."""
    if facts.n_entity >= facts.kind.min_size:
        return None
    noun = {"gene_set": "genes", "gene_pairs": "pairs", "edges": "edges"}[facts.annotation.kind]
    return Finding(
        "too_small",
        "untestable",
        f"'{facts.annotation.name}' has {facts.n_entity} {noun} on the explore side and {facts.kind.name} needs "
        f"{facts.kind.min_size}; use a larger annotation or a cache with more genes",
    )


def nearly_everything(facts: Facts) -> Finding | None:
    """A set that is almost the universe leaves nothing to compare with."""
    if facts.annotation.kind != "gene_set" or facts.n_entity <= 0.9 * facts.n_universe:
        return None
    return Finding(
        "nearly_everything",
        "untestable",
        f"'{facts.annotation.name}' covers {facts.n_entity} of {facts.n_universe} genes of its universe; "
        "choose a smaller set or a wider background",
    )


def unattainable(facts: Facts) -> Finding | None:
    """So few arrangements that no outcome could reach the threshold."""
    if facts.annotation.kind != "gene_set" or facts.n_entity > facts.n_universe:
        return None
    smallest = 1 / comb(facts.n_universe, facts.n_entity)
    if smallest <= facts.threshold:
        return None
    return Finding(
        "unattainable",
        "untestable",
        f"with {facts.n_entity} of {facts.n_universe} genes the smallest possible p is {smallest:.3g}, above the "
        f"threshold {facts.threshold:.3g}; use a larger set",
    )


def derived_label(facts: Facts) -> Finding | None:
    """A label computed from this cache may never be tested on it."""
    if facts.annotation.provenance.type != "derived" or facts.annotation.provenance.derived_from != facts.cache_digest:
        return None
    return Finding(
        "derived_label",
        "invalid",
        f"'{facts.annotation.name}' was computed from this very cache; testing it there is circular. Test it on a cache "
        "of other cells, or use an external annotation",
    )


RULES: tuple[Callable[[Facts], Finding | None], ...] = (derived_label, too_small, nearly_everything, unattainable)


def check(facts: Facts) -> Finding | None:
    """The first rule that fires, or ``None``."""
    for rule in RULES:
        finding = rule(facts)
        if finding is not None:
            return finding
    return None
