"""The closed grammar: everything a proposer may say about a cache, enumerable, counted and frozen when a run opens.

A sentence is (test kind, annotation, layer option, coordinate option). Every sentence scans a subset of the *cells* of
its test kind and annotation, so the universe of Route U is the set of cells: narrower sentences cost nothing.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ..tests_library.catalogue import (
    CATALOGUE,
    N_AXES,
    companion_nulls,
    coordinate_options,
    layer_options,
    n_views,
    scanned_views,
)
from ..tests_library.statistics.base import Need, TestKind, View
from .annotations import Annotation
from .canonical import sha256_of
from .spec import Proposal, TestSpec

MAX_TEXT = 600
"""Characters of a proposer's prose that are kept."""
NEED: Mapping[Need, str] = {
    "attention": "a cache that holds mean attention",
    "partner": "a partner cache, which the settings of this project do not name",
}
DIRECTIONS = ("greater", "less", "either")


class OutsideGrammarError(ValueError):
    """A proposal that the grammar cannot say; the message names the field, the value and the choices."""

    reason = "outside_grammar"
    """Of the rejection it becomes."""


@dataclass(frozen=True)
class Sentence:
    """One thing the grammar can say."""

    test: str
    annotation: str
    layers: str
    coordinates: str


@dataclass(frozen=True, eq=False)
class Grammar:
    """Annotations × test kinds × views of one cache.

    ``testable`` maps (test, annotation) to ``True`` where the entity is large enough *on the explore side*; it depends on
    genes A only, so that nothing about sealed labels can be read from it.
    """

    annotations: Mapping[str, Annotation]
    cache_digest: str
    n_layers: int
    n_axes: int
    testable: Mapping[tuple[str, str], bool]
    brings: Mapping[Need, str] = field(default_factory=dict)
    """What else the cache or project holds that some test kinds need → its digest."""

    @cached_property
    def combinations(self) -> tuple[tuple[TestKind, Annotation], ...]:
        """Every (test kind, annotation) that belong together and have a view in this cache, in a fixed order."""
        return tuple(
            (kind, annotation)
            for annotation in (self.annotations[name] for name in sorted(self.annotations))
            for kind in CATALOGUE.values()
            if kind.entity == annotation.kind and n_views(kind, self.n_layers, self.n_axes) and not self.missing(kind)
        )

    def missing(self, kind: TestKind) -> list[Need]:
        """What the kind needs and is not here."""
        return sorted(kind.needs - self.brings.keys())

    @cached_property
    def open_combinations(self) -> tuple[tuple[TestKind, Annotation], ...]:
        """Those that are testable."""
        return tuple((k, a) for k, a in self.combinations if self.testable[(k.name, a.name)])

    def options(self, kind: TestKind) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Layer options and coordinate options of a kind."""
        return self._options[kind.name]

    @cached_property
    def _options(self) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
        return {
            kind.name: (
                tuple(layer_options(kind, self.n_layers)),
                tuple(coordinate_options(kind, self.n_layers, self.n_axes)),
            )
            for kind in CATALOGUE.values()
        }

    def sentences(self) -> Iterator[Sentence]:
        """Everything that can be said and tested, in a fixed order."""
        for kind, annotation in self.open_combinations:
            layers, coordinates = self.options(kind)
            for q in layers:
                for c in coordinates:
                    yield Sentence(kind.name, annotation.name, q, c)

    @cached_property
    def universe(self) -> tuple[tuple[TestKind, Annotation], ...]:
        """The open combinations that Route U covers; the others can be said and are confirmed by Route H alone."""
        return tuple((k, a) for k, a in self.open_combinations if k.universe)

    @cached_property
    def n_cells(self) -> int:
        """Elementary statistics in the universe."""
        return sum(n_views(kind, self.n_layers, self.n_axes) for kind, _ in self.universe)

    @cached_property
    def n_sentences(self) -> int:
        """Sentences in the grammar."""
        return sum(1 for _ in self.sentences())

    @cached_property
    def digest(self) -> str:
        """sha256 over the cache, what else it is tested with, and every open combination by content."""
        return sha256_of(
            {
                "cache": self.cache_digest,
                **({"brings": dict(self.brings)} if self.brings else {}),
                "layers": self.n_layers,
                "axes": self.n_axes,
                "combinations": [
                    [k.name, a.name, a.digest, self._background_digest(a)] for k, a in self.open_combinations
                ],
            }
        )

    def views(self, spec: TestSpec) -> frozenset[View]:
        """The views a spec scans."""
        return scanned_views(CATALOGUE[spec.test], self.n_layers, self.n_axes, spec.layers, spec.coordinates)

    def spec(self, sentence: Sentence) -> TestSpec:
        """The full spec of a sentence of this grammar."""
        annotation = self.annotations[sentence.annotation]
        return TestSpec(
            test=sentence.test,
            annotation=annotation.name,
            annotation_digest=annotation.digest,
            background=annotation.background,
            background_digest=self._background_digest(annotation),
            cache_digest=self.cache_digest,
            layers=sentence.layers,
            coordinates=sentence.coordinates,
            alternative=CATALOGUE[sentence.test].alternative,
            nulls=companion_nulls(CATALOGUE[sentence.test]),
        )

    def check(self, proposal: Proposal) -> TestSpec:
        """The spec of an untrusted proposal; :class:`OutsideGrammarError` names the first field that is wrong."""
        kind = CATALOGUE.get(_choose("test", proposal.test, tuple(CATALOGUE)))
        assert kind is not None
        annotation = self.annotations[_choose("annotation", proposal.annotation, tuple(self.annotations))]
        if annotation.kind != kind.entity:
            raise OutsideGrammarError(
                f"test '{kind.name}' needs a {kind.entity}, and '{annotation.name}' is a {annotation.kind}; "
                f"choose another test for it"
            )
        for need in self.missing(kind):
            raise OutsideGrammarError(f"test '{kind.name}' needs {NEED[need]}; choose another test")
        if not n_views(kind, self.n_layers, self.n_axes):
            raise OutsideGrammarError(f"test '{kind.name}' needs more layers than the {self.n_layers} of this cache")
        layers, coordinates = self.options(kind)
        _choose("layers", proposal.layers, layers)
        _choose("coordinates", proposal.coordinates, coordinates)
        _choose("direction", proposal.direction, DIRECTIONS)
        number = isinstance(proposal.prior, int | float) and not isinstance(proposal.prior, bool)
        if not number or not 0 <= proposal.prior <= 1:
            raise OutsideGrammarError(f"prior is {proposal.prior!r}; it must be a probability from 0 to 1")
        return self.spec(Sentence(kind.name, annotation.name, proposal.layers, proposal.coordinates))

    def _background_digest(self, annotation: Annotation) -> str | None:
        return None if annotation.background is None else self.annotations[annotation.background].digest


def make_grammar(
    annotations: Sequence[Annotation],
    cache_digest: str,
    n_layers: int,
    dim: int,
    testable: Mapping[tuple[str, str], bool],
    brings: Mapping[Need, str] | None = None,
) -> Grammar:
    """The grammar of a cache with ``n_layers`` layers of width ``dim``, and with what else there is by digest."""
    return Grammar({a.name: a for a in annotations}, cache_digest, n_layers, min(N_AXES, dim), testable, brings or {})


def _choose(field: str, value: object, choices: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in choices:
        return value
    near = difflib.get_close_matches(str(value), choices, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else f"; choose one of {', '.join(choices[:12])}"
    raise OutsideGrammarError(f"{field} is {str(value)[:80]!r}, which this run does not know{hint}")
