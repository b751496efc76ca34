"""The one test kind that is not in the catalogue: a statistic whose code stands in the ledger.

It is no part of the closed grammar, so Route U does not cover it and the universe is the same with and without it.
"""

from dataclasses import replace
from typing import NoReturn

from ...hypotheses.spec import TestSpec
from ...tests_library.catalogue import CATALOGUE
from ...tests_library.spaces import Geometry
from ...tests_library.statistics.base import Entity, TestKind
from ...tests_library.statistics.coordinates import fixed

NAME = "custom_statistic"
VALUE = "value"
"""Its one coordinate."""


def _elsewhere(_geometry: Geometry, _entity: Entity) -> NoReturn:
    raise ValueError(f"{NAME} is run behind a boundary of its own, not by the library")


CUSTOM = TestKind(
    name=NAME,
    family="custom",
    entity="gene_set",
    alternative="two-sided",
    effect_unit="value of the statistic",
    coordinates=fixed(VALUE),
    min_size=5,
    asks="Is the value of a statistic that a model wrote unusual for this set, at one layer?",
    formula="T = null labellings with a less extreme value; extreme is large, small or far from the mean, as the row says",
    null_preserves="what the null of every test does; the observed labelling stands at a secret place among the others",
    assumes="the code knows nothing of the labels but what it is sent; see docs/security.md",
    source="agent/blinded.py",
    prepare=_elsewhere,
    universe=False,
)
"""A row's spec says which alternative it has; the catalogue's kinds have one each."""


def kind_of(test: str, spec: TestSpec | None = None) -> TestKind:
    """The kind of a registered test, with the alternative of ``spec``; ``KeyError`` for one that is not known."""
    if test != NAME:
        return CATALOGUE[test]
    return CUSTOM if spec is None else replace(CUSTOM, alternative=spec.alternative)  # type: ignore[arg-type]
