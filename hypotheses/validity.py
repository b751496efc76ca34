"""Mechanical checks before a hypothesis may be tested, and the words for those that may not.

Each rule is a pure function of :class:`Facts`: the spec, what the annotation says of itself, and genes A. No rule reads a
sealed label, so a refusal tells a proposer nothing about genes B. A new rule is one function and one name in :data:`RULES`.

What the design asks for and no rule here can see yet:

- covariates computed from the embedding: a spec names none; the strata come from expression, detection and study load alone;
- a label derived from a cache that is not here: nobody can tell whose cells those were;
- confirmation across seeds of the same cells: a spec names one cache;
- null sanity (no variance): only draws show it, so ``agent/results.py`` judges it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, exp, lgamma, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tests_library.catalogue import companion_nulls
from ..tests_library.nulls import Exchange
from ..tests_library.statistics.base import NOUN, Entity, TestKind
from .annotations import Annotation

_MEMBERS = {"gene_set": "members", "gene_pairs": "pairs", "edges": "edges"}
MATCHED = "stratified"
"""The null that keeps expression and detection; without it an effect of either passes for one of the label."""


@dataclass(frozen=True, eq=False)
class Freedom:
    """What one null may move on genes A. Make one with :func:`freedom`."""

    unit: NDArray[np.int64]
    """Unit of each gene, int64 [n]: genes of a unit move together."""
    place: NDArray[np.int64]
    """Rank of each gene among those of its unit, int64 [n]: a gene takes the place of equal rank."""
    stratum: NDArray[np.int64]
    """Stratum of each unit; only units of a stratum swap places."""
    units_in: Mapping[int, int]
    """Stratum → number of its units."""


def freedom(exchange: Exchange) -> Freedom:
    """The :class:`Freedom` of an exchange rule on n genes."""
    n = len(exchange.strata)
    unit = np.arange(n, dtype=np.int64) if exchange.units is None else exchange.units
    stratum = np.zeros(int(unit.max(initial=-1)) + 1, dtype=np.int64)
    stratum[unit] = exchange.strata
    order = np.argsort(unit, kind="stable")
    first = np.searchsorted(unit[order], np.arange(len(stratum)))
    place = np.empty(n, dtype=np.int64)
    place[order] = np.arange(n) - first[unit[order]]
    return Freedom(unit, place, stratum, Counter(stratum.tolist()))


@dataclass(frozen=True, eq=False)
class Universe:
    """The genes a test ranges over on side A, the same for every annotation with the same background."""

    symbols: tuple[str, ...]
    freedoms: Mapping[str, Freedom]
    """Null → what it may move."""
    rows: NDArray[np.int64]
    """Cache rows of the genes, int64 [n]: edges name their regulators by row."""


@dataclass(frozen=True, eq=False)
class Facts:
    """What a rule may know."""

    kind: TestKind
    annotation: Annotation
    nulls: tuple[str, ...]
    """Companion nulls of the spec."""
    alternative: str
    """Alternative of the spec."""
    scan: str
    """How the spec combines its views."""
    cache_digest: str
    same_cells: Mapping[str, str]
    """Digest → words, for what holds the same cells as this cache: the cells' own digest and other known caches."""
    universe: Universe
    entity: Mapping[str, Any]
    """The annotation on side A, as positions in the universe (``Project.entity``)."""
    masked: int
    """Genes the annotation names that the cache holds but masks (zero, constant or duplicate rows, never sampled)."""
    threshold: float
    """The p_scan a row must be able to reach to be promoted."""
    draws: int
    """Permutations of an exploratory test."""
    look_threshold: float
    """Alpha of one route of the look."""
    look_draws: int
    """Permutations of the look."""

    @property
    def n_universe(self) -> int:
        """Genes of the universe on side A."""
        return len(self.universe.symbols)

    @property
    def members(self) -> list[Any]:
        """Members, pairs or edges on side A."""
        return list(self.entity[_MEMBERS[self.annotation.kind]])

    @property
    def n_entity(self) -> int:
        """How many of them."""
        return len(self.entity[_MEMBERS[self.annotation.kind]])


@dataclass(frozen=True)
class Finding:
    """A rule that fired: the verdict the row gets and one sentence."""

    rule: str
    verdict: str
    """``untestable`` or ``invalid``."""
    sentence: str


# Labels and provenance.


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


def same_cells(facts: Facts) -> Finding | None:
    """A label computed from the same cells, by another seed, model or from their expression, is circular too."""
    origin = facts.annotation.provenance.derived_from
    if facts.annotation.provenance.type != "derived" or origin is None or origin not in facts.same_cells:
        return None
    return Finding(
        "same_cells",
        "invalid",
        f"'{facts.annotation.name}' was computed from {facts.same_cells[origin]}, the cells this cache was made of; "
        "another seed or model on the same cells is no independent evidence. Test it on other cells",
    )


# The spec against what the test can show.


def unmatched_null(facts: Facts) -> Finding | None:
    """Labels shuffled over all genes alone let expression pass for the label; every claim needs the matched null."""
    known = companion_nulls(facts.kind)
    unknown = [null for null in facts.nulls if null not in known]
    if unknown:
        sentence = f"null '{unknown[0]}' is not one of {facts.kind.name}; its nulls are {', '.join(known)}"
    elif MATCHED not in facts.nulls:
        named = ", ".join(facts.nulls) or "none"
        sentence = (
            f"the companion nulls are {named}, and none matches expression and detection; add the null '{MATCHED}'"
        )
    else:
        return None
    return Finding("unmatched_null", "invalid", sentence)


def left_out_null(facts: Facts) -> Finding | None:
    """A test kind's own null is part of its question: without random axes, any coherent set is 'on an axis'."""
    missing = [null for null in facts.kind.nulls if null not in facts.nulls]
    if not missing:
        return None
    return Finding(
        "left_out_null",
        "invalid",
        f"a claim of {facts.kind.name} must also beat its own null '{missing[0]}', and the spec leaves it out; add it",
    )


def other_alternative(facts: Facts) -> Finding | None:
    """The statistic fixes the alternative; a spec that names another one claims what is not tested."""
    if facts.alternative == facts.kind.alternative:
        return None
    return Finding(
        "other_alternative",
        "invalid",
        f"the spec says '{facts.alternative}' and {facts.kind.name} tests '{facts.kind.alternative}'; use that alternative",
    )


def layers_as_samples(facts: Facts) -> Finding | None:
    """Views of one embedding are no independent samples: only the maximum over them has a valid p."""
    if facts.scan == "max_t":
        return None
    return Finding(
        "layers_as_samples",
        "invalid",
        f"scan rule '{facts.scan}' would count layers or axes as independent samples; use 'max_t'",
    )


def own_negatives(facts: Facts) -> Finding | None:
    """An entity that is its whole universe has no negatives but itself."""
    n, size = facts.n_universe, facts.n_entity
    match facts.annotation.kind:
        case "gene_set":
            everything = size > 0 and size == n
        case "gene_pairs":
            everything = size > 0 and size == n * (n - 1) // 2
        case "edges":
            targets = Counter(regulator for regulator, _ in facts.members)
            everything = size > 0 and min(targets.values()) >= n - 1
    if not everything:
        return None
    where = f"its background '{facts.annotation.background}'" if facts.annotation.background else "the universe"
    return Finding(
        "own_negatives",
        "invalid",
        f"'{facts.annotation.name}' holds all that {where} offers on the explore side ({size} {NOUN[facts.annotation.kind]}, "
        f"{n} genes), so it would be compared with itself; choose a wider background",
    )


# Size, coverage, attainability.


def too_small(facts: Facts) -> Finding | None:
    """The entity has too few members on genes A, or too little of what the test contrasts: signs, closed loops."""
    shortage = facts.kind.shortage(Entity.from_json(facts.entity), facts.universe.rows)
    if not shortage:
        return None
    return Finding(
        "too_small",
        "untestable",
        f"on the explore side '{facts.annotation.name}' has {shortage}; use a larger annotation or a cache with more genes",
    )


def mostly_masked(facts: Facts) -> Finding | None:
    """What is left of an annotation that lost most genes to masking no longer stands for it."""
    left = len({gene for gene, _ in carriers(facts)})
    if facts.masked <= left:
        return None
    return Finding(
        "mostly_masked",
        "untestable",
        f"{facts.masked} genes of '{facts.annotation.name}' are masked in this cache (zero, constant, duplicate or unseen "
        f"rows) and only {left} are left on the explore side; use a cache that holds them, see its preflight report",
    )


def one_gene_carries(facts: Facts) -> Finding | None:
    """Pairs or edges that share one gene repeat that gene's position; they are not so many observations."""
    if facts.annotation.kind == "gene_set" or facts.n_entity == 0:
        return None
    position, count = Counter(gene for gene, _ in carriers(facts)).most_common(1)[0]
    if 2 * count <= facts.n_entity:
        return None
    noun = NOUN[facts.annotation.kind]
    return Finding(
        "one_gene_carries",
        "untestable",
        f"{facts.universe.symbols[position]} is in {count} of the {facts.n_entity} {noun} of '{facts.annotation.name}' on the "
        "explore side, so the test would be about that one gene; drop it, or test its partners as a gene set",
    )


def one_grade(facts: Facts) -> Finding | None:
    """A gradient over a single grade is constant under every arrangement."""
    if facts.kind.uses != "grades" or len(set(facts.entity["grades"])) != 1:
        return None
    return Finding(
        "one_grade",
        "untestable",
        f"all {facts.n_entity} pairs of '{facts.annotation.name}' on the explore side have the grade "
        f"{facts.entity['grades'][0]} and {facts.kind.name} compares grades; use a test that needs none",
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
    """So few distinct arrangements under some companion null that no outcome could reach the threshold."""
    for null, free in facts.universe.freedoms.items():
        if null not in facts.nulls:
            continue
        arrangements = log_arrangements(facts, free)
        if arrangements < -log(facts.threshold) - 1e-9:
            return Finding(
                "unattainable",
                "untestable",
                f"with {facts.n_entity} {NOUN[facts.annotation.kind]} among {facts.n_universe} genes the {null} null has "
                f"{exp(arrangements):.0f} distinct arrangements, so the smallest possible p is {exp(-arrangements):.3g}, "
                f"above the threshold {facts.threshold:.3g}; use a larger annotation or a wider background",
            )
    return None


def too_few_draws(facts: Facts) -> Finding | None:
    """1 / (m + 1) is the smallest p that m draws can give."""
    for setting, draws, limit, threshold in (
        ("permutations_explore", facts.draws, "promote_p", facts.threshold),
        ("permutations_look", facts.look_draws, "alpha of a route", facts.look_threshold),
    ):
        if threshold * (draws + 1) * (1 + 1e-9) < 1:
            return Finding(
                "too_few_draws",
                "untestable",
                f"{draws} draws give p = {1 / (draws + 1):.3g} at best, above {limit} = {threshold:.3g}; "
                f"raise {setting} to {ceil(1 / threshold - 1e-9) - 1} or more",
            )
    return None


RULES: tuple[Callable[[Facts], Finding | None], ...] = (
    derived_label,
    same_cells,
    unmatched_null,
    left_out_null,
    other_alternative,
    layers_as_samples,
    own_negatives,
    too_small,
    mostly_masked,
    one_gene_carries,
    one_grade,
    nearly_everything,
    unattainable,
    too_few_draws,
)
"""In the order in which they speak: ``invalid`` before ``untestable``, causes before consequences."""


def check(facts: Facts) -> Finding | None:
    """The first rule that fires, or ``None``."""
    for rule in RULES:
        finding = rule(facts)
        if finding is not None:
            return finding
    return None


def notes(facts: Facts) -> tuple[str, ...]:
    """What a reader should know of a test that may run: one sentence each. Advice; nothing is refused for it."""
    if facts.annotation.kind != "edges" or facts.kind.uses == "signs":
        return ()
    known = Counter(sign for sign in facts.entity["signs"] if sign)
    if len(known) < 2:
        return ()
    return (
        f"'{facts.annotation.name}' mixes {known[1]} activating and {known[-1]} repressing edges on the explore side, and "
        f"{facts.kind.name} ignores signs: opposite effects may cancel",
    )


def log_arrangements(facts: Facts, free: Freedom) -> float:
    """ln of an upper bound on how many different labellings a null can give; its inverse bounds p from below.

    Exact for gene sets and edges. Genes whose labels are alike may swap without effect, so with c_a alike units of each
    sort in a stratum of N units there are N! / Π c_a! labellings, multiplied over strata. For pairs, "alike" means twins
    (the same partners and grades, each other apart); a graph may have symmetries beyond those, hence a bound.
    """
    coarse = _log_touched(tuple(sorted({gene for gene, _ in carriers(facts)})), free)
    if facts.annotation.kind == "gene_set" or coarse >= -log(facts.threshold):
        return coarse  # telling touched genes from others already gives enough, finer labels only give more
    return _log_labellings(_sorts(facts), free)


@lru_cache(maxsize=1024)
def _log_touched(genes: tuple[int, ...], free: Freedom) -> float:
    """As if all genes that carry something carried the same. Asked again for every test kind, so it is remembered."""
    return _log_labellings(dict.fromkeys(genes, 1), free)


def carriers(facts: Facts) -> Iterable[tuple[int, Any]]:
    """(position of a gene whose label moves, what it carries), one for each end that is permuted."""
    match facts.annotation.kind:
        case "gene_set":
            return [(gene, None) for gene in facts.members]
        case "edges":
            return [(target, regulator) for regulator, target in facts.members]
        case "gene_pairs":
            graded = [(a, b, grade) for (a, b), grade in zip(facts.members, facts.entity["grades"], strict=True)]
            return [end for a, b, grade in graded for end in ((a, (b, grade)), (b, (a, grade)))]


def _sorts(facts: Facts) -> dict[int, int]:
    """Gene → sort, from 1: genes of a sort are interchangeable. Genes that carry nothing are left out."""
    carried: dict[int, set[Any]] = defaultdict(set)
    for gene, label in carriers(facts):
        carried[gene].add(label)
    apart = {gene: frozenset(labels) for gene, labels in carried.items()}
    sort: dict[int, Any] = dict(apart)
    if facts.annotation.kind == "gene_pairs":
        # Partners of each other are twins if each, counted as its own partner at that grade, has the same partners.
        joined = {
            (gene, grade): apart[gene] | {(gene, grade)}
            for gene in apart
            for grade in {grade for _, grade in apart[gene]}
        }
        alone, together = Counter(apart.values()), Counter(joined.values())
        for (gene, grade), labels in joined.items():
            if alone[apart[gene]] == 1 and together[labels] > 1:
                sort[gene] = (grade, labels)
    numbers = {label: number for number, label in enumerate(set(sort.values()), start=1)}
    return {gene: numbers[label] for gene, label in sort.items()}


def _log_labellings(sorts: Mapping[int, int], free: Freedom) -> float:
    """ln Π_strata N! / Π_a c_a!, over units told apart by the sorts of their genes in order; unlisted genes are alike."""
    patterns: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for gene, sort in sorts.items():
        patterns[int(free.unit[gene])].append((int(free.place[gene]), sort))
    alike: dict[int, Counter[tuple[tuple[int, int], ...]]] = defaultdict(Counter)
    for unit, pattern in patterns.items():
        alike[int(free.stratum[unit])][tuple(sorted(pattern))] += 1
    total = 0.0
    for stratum, counts in alike.items():
        blank = free.units_in[stratum] - counts.total()
        total += lgamma(free.units_in[stratum] + 1) - sum(lgamma(c + 1) for c in (blank, *counts.values()))
    return total
