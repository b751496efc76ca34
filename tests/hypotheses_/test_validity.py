"""Each validity rule has a planted flaw it must name, and clean facts on which it must be silent."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyposcreen.hypotheses.annotations import Annotation, Provenance
from hyposcreen.hypotheses.validity import RULES, Facts, Universe, check, freedom
from hyposcreen.tests_library.catalogue import CATALOGUE
from hyposcreen.tests_library.nulls import Exchange

EXTERNAL = Provenance("external", "made here", "1", "CC0", "")
CACHE = "c" * 64
SET = Annotation("markers", "gene_set", "Markers", "claim", EXTERNAL, tuple(f"G{i:02}" for i in range(20)))
PAIRS = Annotation("pairs", "gene_pairs", "Pairs", "claim", EXTERNAL, (("A", "B", 1), ("A", "C", 2)))
EDGES = Annotation("edges", "edges", "Edges", "claim", EXTERNAL, (("A", "B", 1), ("A", "C", -1)))
RULE = {rule.__name__: rule for rule in RULES}


def entity(kind: str, n: int) -> dict[str, Any]:
    """``n`` members, disjoint pairs of alternating grade, or edges of three regulators."""
    return {
        "gene_set": {"kind": kind, "members": list(range(n))},
        "gene_pairs": {
            "kind": kind,
            "pairs": [[2 * i, 2 * i + 1] for i in range(n)],
            "grades": [i % 2 for i in range(n)],
        },
        "edges": {"kind": kind, "edges": [[1000 + i % 3, i] for i in range(n)], "signs": [1] * n},
    }[kind]


def make_facts(
    test: str = "axis_separation",
    annotation: Annotation = SET,
    n_universe: int = 500,
    n_entity: int = 20,
    threshold: float = 0.001,
) -> Facts:
    kind = CATALOGUE[test]
    free = freedom(Exchange(np.zeros(n_universe, dtype=np.int64)))
    return Facts(
        kind=kind,
        annotation=annotation,
        nulls=("stratified", *kind.nulls),
        alternative=kind.alternative,
        scan="max_t",
        cache_digest=CACHE,
        same_cells={},
        universe=Universe(tuple(f"G{i}" for i in range(n_universe)), {"stratified": free}, np.arange(n_universe)),
        entity=entity(kind.entity, n_entity),
        masked=0,
        threshold=threshold,
        draws=10_000_000,
        look_threshold=0.025,
        look_draws=5000,
    )


CLEAN = make_facts()


def derived(cache: str) -> Annotation:
    return dataclasses.replace(SET, provenance=Provenance("derived", "us", "1", "CC0", "", derived_from=cache))


PLANTED = {
    "too_small": (make_facts(n_entity=4), "untestable", ("markers", "4 genes", "needs 5")),
    "nearly_everything": (make_facts(n_entity=451), "untestable", ("markers", "451 of 500")),
    "unattainable": (
        make_facts(n_universe=10, n_entity=9),
        "untestable",
        ("9 genes among 10", "0.1", "threshold 0.001"),
    ),
    "derived_label": (dataclasses.replace(CLEAN, annotation=derived(CACHE)), "invalid", ("markers", "circular")),
}


@pytest.mark.parametrize("name", PLANTED)
def test_every_rule_finds_its_flaw_and_only_its_flaw(name):
    rule = RULE[name]
    facts, verdict, words = PLANTED[name]
    finding = rule(facts)
    assert finding is not None
    assert (finding.rule, finding.verdict) == (rule.__name__, verdict)
    assert all(word in finding.sentence for word in words), finding.sentence
    assert check(facts) == finding
    assert rule(CLEAN) is None
    others = [PLANTED[other][0] for other in PLANTED if other != name]
    assert all(rule(facts) is None for facts in others)


def test_clean_facts_pass_every_rule_for_every_kind():
    for kind in CATALOGUE.values():
        annotation = {"gene_set": SET, "gene_pairs": PAIRS, "edges": EDGES}[kind.entity]
        if kind.lacks is None:  # the others need more of their edges than a number: tests/tests_library/test_edges.py
            assert check(make_facts(kind.name, annotation, n_entity=kind.min_size)) is None
        small = check(make_facts(kind.name, annotation, n_entity=kind.min_size - 1))
        assert small is not None
        assert small.rule == "too_small"
        assert {"gene_set": "genes", "gene_pairs": "pairs", "edges": "edges"}[kind.entity] in small.sentence


def test_a_label_derived_from_another_cache_may_be_tested():
    assert check(dataclasses.replace(CLEAN, annotation=derived("d" * 64))) is None


def test_a_circular_label_is_invalid_even_where_it_is_too_small():
    finding = check(make_facts(annotation=derived(CACHE), n_entity=1))
    assert finding is not None
    assert finding.verdict == "invalid"


def test_nine_tenths_is_still_a_set_and_pairs_are_not_counted_so():
    assert check(make_facts(n_entity=450)) is None
    assert check(make_facts("copole_rate", PAIRS, n_universe=50, n_entity=25)) is None


@given(st.integers(5, 4000), st.integers(0, 4000), st.floats(1e-6, 0.1))
def test_no_size_makes_a_rule_crash(n_universe, n_entity, threshold):
    n_entity = min(n_entity, n_universe)
    finding = check(make_facts(n_universe=n_universe, n_entity=n_entity, threshold=threshold))
    if 5 <= n_entity <= 0.9 * n_universe and n_universe > 30:
        assert finding is None or finding.rule == "unattainable"
