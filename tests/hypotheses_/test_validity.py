"""Each validity rule has a planted flaw it must name, and clean facts on which it must be silent."""

import dataclasses

import pytest
from hyposcreen.hypotheses.annotations import Annotation, Provenance
from hyposcreen.hypotheses.validity import RULES, Facts, check
from hyposcreen.tests_library.catalogue import CATALOGUE
from hypothesis import given
from hypothesis import strategies as st

EXTERNAL = Provenance("external", "made here", "1", "CC0", "")
CACHE = "c" * 64
SET = Annotation("markers", "gene_set", "Markers", "claim", EXTERNAL, tuple(f"G{i:02}" for i in range(20)))
PAIRS = Annotation("pairs", "gene_pairs", "Pairs", "claim", EXTERNAL, (("A", "B", 1), ("A", "C", 2)))
EDGES = Annotation("edges", "edges", "Edges", "claim", EXTERNAL, (("A", "B", 1), ("A", "C", -1)))
CLEAN = Facts(CATALOGUE["axis_separation"], SET, CACHE, n_universe=500, n_entity=20, threshold=0.001)


def derived(cache: str) -> Annotation:
    return dataclasses.replace(SET, provenance=Provenance("derived", "us", "1", "CC0", "", derived_from=cache))


PLANTED = {
    "too_small": (dataclasses.replace(CLEAN, n_entity=4), "untestable", ("markers", "4 genes", "needs 5")),
    "nearly_everything": (dataclasses.replace(CLEAN, n_entity=451), "untestable", ("markers", "451 of 500")),
    "unattainable": (
        dataclasses.replace(CLEAN, n_universe=10, n_entity=9),
        "untestable",
        ("9 of 10", "0.1", "threshold 0.001"),
    ),
    "derived_label": (dataclasses.replace(CLEAN, annotation=derived(CACHE)), "invalid", ("markers", "circular")),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_rule_finds_its_flaw_and_only_its_flaw(rule):
    facts, verdict, words = PLANTED[rule.__name__]
    finding = rule(facts)
    assert finding is not None
    assert (finding.rule, finding.verdict) == (rule.__name__, verdict)
    assert all(word in finding.sentence for word in words), finding.sentence
    assert check(facts) == finding
    assert rule(CLEAN) is None
    others = [PLANTED[name][0] for name in PLANTED if name != rule.__name__]
    assert all(rule(facts) is None for facts in others)


def test_clean_facts_pass_every_rule_for_every_kind():
    for kind in CATALOGUE.values():
        annotation = {"gene_set": SET, "gene_pairs": PAIRS, "edges": EDGES}[kind.entity]
        facts = Facts(kind, annotation, CACHE, n_universe=500, n_entity=kind.min_size, threshold=0.001)
        assert check(facts) is None
        small = check(dataclasses.replace(facts, n_entity=kind.min_size - 1))
        assert small is not None
        assert small.rule == "too_small"
        assert {"gene_set": "genes", "gene_pairs": "pairs", "edges": "edges"}[kind.entity] in small.sentence


def test_a_label_derived_from_another_cache_may_be_tested():
    assert check(dataclasses.replace(CLEAN, annotation=derived("d" * 64))) is None


def test_a_circular_label_is_invalid_even_where_it_is_too_small():
    finding = check(dataclasses.replace(CLEAN, annotation=derived(CACHE), n_entity=1))
    assert finding is not None
    assert finding.verdict == "invalid"


def test_nine_tenths_is_still_a_set_and_pairs_are_not_counted_so():
    assert check(dataclasses.replace(CLEAN, n_entity=450)) is None
    pairs = Facts(CATALOGUE["copole_rate"], PAIRS, CACHE, n_universe=50, n_entity=900, threshold=0.001)
    assert check(pairs) is None


@given(st.integers(5, 4000), st.integers(0, 4000), st.floats(1e-6, 0.1))
def test_no_size_makes_a_rule_crash(n_universe, n_entity, threshold):
    finding = check(dataclasses.replace(CLEAN, n_universe=n_universe, n_entity=n_entity, threshold=threshold))
    if 5 <= n_entity <= 0.9 * n_universe and n_universe > 30:
        assert finding is None or finding.rule == "unattainable"
