"""Every validity rule: a planted flaw on which it speaks, and clean specs on which it is silent."""

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyposcreen.agent.config import Config
from hyposcreen.agent.errors import UserError
from hyposcreen.agent.project import Project, Side, open_project
from hyposcreen.embeddings_cache.store import find_cache, open_cache
from hyposcreen.hypotheses.annotations import Annotation, Provenance
from hyposcreen.hypotheses.grammar import Sentence
from hyposcreen.hypotheses.validity import RULES, Facts, Universe, check, freedom, log_arrangements, notes
from hyposcreen.tests_library.catalogue import CATALOGUE, companion_nulls
from hyposcreen.tests_library.nulls import NULLS, Exchange, exchange
from hyposcreen.tests_library.statistics.base import Entity

THIS, CELLS, TWIN = "1" * 64, "2" * 64, "3" * 64
N = 100
PAIRS = [[i, i + 1] for i in range(0, 60, 2)]
EDGES = [[1000 + i % 3, i] for i in range(30)]
LOOPS = [[90, 91], *([r, t] for r in (90, 91) for t in range(20, 26)), *([91, t] for t in range(30, 40))]
"""Gene 91 shares six targets with its own regulator and has ten others."""
CLEAN: dict[str, dict[str, Any]] = {
    "gene_set": {"kind": "gene_set", "members": list(range(0, 40, 2))},
    "gene_pairs": {"kind": "gene_pairs", "pairs": PAIRS, "grades": [1 + i % 3 for i in range(len(PAIRS))]},
    "edges": {"kind": "edges", "edges": EDGES, "signs": [1] * len(EDGES)},
}
FITTING: dict[str, dict[str, Any]] = {
    "signed_edge_split": {"signs": [1, 1, 1, -1, -1, -1] * 5},
    "feed_forward_loop": {"edges": LOOPS, "signs": [1] * len(LOOPS)},
}
"""What a test contrasts beyond size."""
MEMBERS: dict[str, tuple[Any, ...]] = {
    "gene_set": ("A", "B"),
    "gene_pairs": (("A", "B", 1),),
    "edges": (("A", "B", 1),),
}


def universe(n: int = N, families: list[str] | None = None) -> Universe:
    rng = np.random.default_rng(0)
    covariates = rng.random(n), rng.random(n), families or [f"f{i}" for i in range(n)]
    freedoms = {null: freedom(exchange(null, *covariates)) for null in NULLS}
    return Universe(tuple(f"G{i}" for i in range(n)), freedoms, np.arange(n))


def annotation(kind: str, provenance: str = "external", origin: str | None = None, **changes: Any) -> Annotation:
    where = Provenance(provenance, "source", "1", "CC0-1.0", "", origin)  # type: ignore[arg-type]
    values: dict[str, Any] = {"name": "probe", "kind": kind, "title": "", "role": "claim", "members": MEMBERS[kind]}
    return Annotation(**(values | {"provenance": where} | changes))


def facts(test: str = "axis_separation", **changes: Any) -> Facts:
    """A clean spec of ``test``; ``entity`` replaces only the keys it holds."""
    kind = CATALOGUE[test]
    values: dict[str, Any] = {
        "kind": kind,
        "annotation": annotation(kind.entity),
        "nulls": companion_nulls(kind),
        "alternative": kind.alternative,
        "scan": "max_t",
        "cache_digest": THIS,
        "same_cells": {CELLS: "the expression data", TWIN: "the cache 'twin'"},
        "universe": universe(),
        "masked": 0,
        "threshold": 0.05,
        "draws": 2000,
        "look_threshold": 0.025,
        "look_draws": 5000,
    }
    entity = CLEAN[kind.entity] | FITTING.get(test, {}) | changes.pop("entity", {})
    return Facts(**(values | {"entity": entity} | changes))


def star(n: int) -> dict[str, Any]:
    """A hub with ``n`` partners and ``n`` pairs elsewhere."""
    pairs = [[0, i + 1] for i in range(n)] + [[40 + 2 * i, 41 + 2 * i] for i in range(n)]
    return {"pairs": pairs, "grades": [1 + i % 2 for i in range(2 * n)]}


def hub_edges(n: int) -> dict[str, Any]:
    """A target with ``n`` regulators and ``n`` edges elsewhere."""
    edges = [[1000 + i, 0] for i in range(n)] + [[1000 + i % 2, 10 + i] for i in range(n)]
    return {"edges": edges, "signs": [1] * (2 * n)}


def complete(n: int) -> dict[str, Any]:
    pairs = [list(pair) for pair in itertools.combinations(range(n), 2)]
    return {"pairs": pairs, "grades": [1 + i % 3 for i in range(len(pairs))]}


BLOCK = ["block"] * 10 + [f"f{i}" for i in range(N - 10)]
"""One family of ten: of its size there is no other, so it cannot move."""

FLAWS: list[tuple[str, str, Facts, str]] = [
    ("derived_label", "invalid", facts(annotation=annotation("gene_set", "derived", THIS)), "this very cache"),
    ("same_cells", "invalid", facts(annotation=annotation("gene_set", "derived", TWIN)), "'twin'"),
    ("same_cells", "invalid", facts(annotation=annotation("gene_set", "derived", CELLS)), "expression data"),
    (
        "same_cells",
        "invalid",
        facts("copole_rate", annotation=annotation("gene_pairs", "derived", CELLS)),
        "expression data",
    ),
    ("unmatched_null", "invalid", facts(nulls=("gene_label",)), "add the null 'stratified'"),
    ("unmatched_null", "invalid", facts(nulls=()), "are none"),
    ("unmatched_null", "invalid", facts(nulls=("stratified", "pair_label")), "'pair_label' is not one of"),
    ("left_out_null", "invalid", facts("axis_separation", nulls=tuple(NULLS)), "'random_axis'"),
    ("left_out_null", "invalid", facts("edge_auroc", nulls=tuple(NULLS)), "must also beat"),
    ("other_alternative", "invalid", facts(alternative="greater"), "tests 'two-sided'"),
    ("layers_as_samples", "invalid", facts(scan="mean_over_layers"), "'mean_over_layers'"),
    ("own_negatives", "invalid", facts(entity={"members": list(range(N))}), "100 genes"),
    (
        "own_negatives",
        "invalid",
        facts(
            annotation=annotation("gene_set", background="wide"),
            entity={"members": list(range(30))},
            universe=universe(30),
        ),
        "background 'wide'",
    ),
    ("own_negatives", "invalid", facts("copole_rate", entity=complete(12), universe=universe(12)), "66 pairs"),
    (
        "own_negatives",
        "invalid",
        facts("edge_auroc", entity={"edges": [[9, i] for i in range(20)], "signs": [0] * 20}, universe=universe(20)),
        "20 edges",
    ),
    ("too_small", "untestable", facts(entity={"members": [1, 2, 3, 4]}), "has 4 genes"),
    ("too_small", "untestable", facts("copole_rate", entity={"pairs": [], "grades": []}), "has 0 pairs"),
    ("too_small", "untestable", facts("signed_edge_split", entity={"signs": [1] * 26 + [-1] * 4}), "4 repressing edges"),
    ("too_small", "untestable", facts("feed_forward_loop", entity=CLEAN["edges"]), "0 edges that close a loop"),
    ("mostly_masked", "untestable", facts(masked=21), "21 genes"),
    ("mostly_masked", "untestable", facts("copole_rate", masked=61), "only 60"),
    ("mostly_masked", "untestable", facts("edge_auroc", masked=31), "only 30"),
    ("one_gene_carries", "untestable", facts("copole_rate", entity=star(12) | {"pairs": star(12)["pairs"][:23]} | {
        "grades": star(12)["grades"][:23]}), "G0 is in 12 of the 23 pairs"),
    ("one_gene_carries", "untestable", facts("edge_auroc", entity={
        "edges": hub_edges(12)["edges"][:23], "signs": [1] * 23}), "G0 is in 12 of the 23 edges"),
    ("one_grade", "untestable", facts("graded_gradient", entity={"grades": [2] * len(PAIRS)}), "grade 2"),
    ("nearly_everything", "untestable", facts(entity={"members": list(range(91))}), "91 of 100"),
    (
        "unattainable",
        "untestable",
        facts(entity={"members": list(range(5))}, universe=universe(6)),
        "6 distinct arrangements",
    ),
    (
        "unattainable",
        "untestable",
        facts(entity={"members": list(range(10))}, universe=universe(families=BLOCK)),
        "family_block null has 1 distinct",
    ),
    (
        "unattainable",
        "untestable",
        facts("copole_rate", entity={"pairs": complete(12)["pairs"][:-1], "grades": [1] * 65}, universe=universe(12),
              threshold=0.01),
        "the smallest possible p is 0.0",
    ),
    ("too_few_draws", "untestable", facts(draws=18), "raise permutations_explore to 19"),
    ("too_few_draws", "untestable", facts(threshold=1e-4), "raise permutations_explore to 9999"),
    ("too_few_draws", "untestable", facts(look_draws=38), "raise permutations_look to 39"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "verdict", "flawed", "words"), FLAWS, ids=[f"{i}-{f[0]}" for i, f in enumerate(FLAWS)]
)
def test_a_planted_flaw_is_named(rule, verdict, flawed, words):
    own = next(r for r in RULES if r.__name__ == rule)
    found = own(flawed)
    assert found is not None
    assert (found.rule, found.verdict) == (rule, verdict)
    assert words in found.sentence
    assert "\n" not in found.sentence
    assert len(found.sentence) < 400
    refused = check(flawed)
    assert refused is not None
    assert rule in (refused.rule, "unattainable")


def test_every_rule_has_a_flaw_and_invalid_speaks_first():
    assert {rule.__name__ for rule in RULES} == {flaw[0] for flaw in FLAWS}
    verdicts = [next(flaw[1] for flaw in FLAWS if flaw[0] == rule.__name__) for rule in RULES]
    assert verdicts == sorted(verdicts)  # invalid before untestable
    broken = facts(annotation=annotation("gene_set", "derived", THIS), entity={"members": [1]}, draws=1)
    assert check(broken).rule == "derived_label"


@pytest.mark.parametrize("test", CATALOGUE)
def test_clean_specs_pass_every_rule(test):
    assert [rule.__name__ for rule in RULES if rule(facts(test)) is not None] == []
    assert check(facts(test)) is None


NEAR_MISSES = [
    facts(annotation=annotation("gene_set", "derived", "f" * 64)),
    facts(annotation=annotation("gene_set", "control")),
    facts(nulls=("stratified", "random_axis")),
    facts(entity={"members": list(range(90))}),
    facts(entity={"members": list(range(5))}),
    facts(masked=20),
    facts("copole_rate", entity=star(12)),
    facts("edge_auroc", entity=hub_edges(12)),
    facts("copole_rate", entity={"grades": [2] * len(PAIRS)}),
    facts("edge_auroc", entity={"edges": [[9, i] for i in range(40)], "signs": [0] * 40}),
    facts(draws=19),
    facts(look_draws=39),
    facts(
        entity={"members": [0]},
        kind=replace(CATALOGUE["axis_separation"], min_size=1),
        universe=universe(15),
        threshold=1 / 15,
    ),
]


@pytest.mark.parametrize("clean", NEAR_MISSES, ids=range(len(NEAR_MISSES)))
def test_rules_are_silent_just_inside_their_border(clean):
    assert [rule.__name__ for rule in RULES if rule(clean) is not None] == []


# Attainability is counted, not guessed.


def brute_force(entity: dict[str, Any], rule: Exchange) -> int:
    """Different labellings over every arrangement the rule allows."""
    n = len(rule.strata)
    units = np.arange(n) if rule.units is None else rule.units
    genes = {u: np.flatnonzero(units == u) for u in np.unique(units).tolist()}
    strata: dict[int, list[int]] = {}
    for unit, members in genes.items():
        strata.setdefault(int(rule.strata[members[0]]), []).append(unit)
    seen = set()
    for choice in itertools.product(*(itertools.permutations(group) for group in strata.values())):
        to = np.arange(n)
        for group, new in zip(strata.values(), choice, strict=True):
            for old, other in zip(group, new, strict=True):
                to[genes[old]] = genes[other]
        seen.add(image(entity, to))
    return len(seen)


def image(entity: dict[str, Any], to: Any) -> Any:
    if entity["kind"] == "gene_set":
        return frozenset(int(to[g]) for g in entity["members"])
    if entity["kind"] == "edges":
        return frozenset((r, int(to[t])) for r, t in entity["edges"])
    ends = (frozenset((int(to[a]), int(to[b]))) for a, b in entity["pairs"])
    return frozenset(zip(ends, entity["grades"], strict=True))


@st.composite
def small_worlds(draw: Any) -> tuple[str, dict[str, Any], Exchange]:
    n = draw(st.integers(4, 7))
    kind = draw(st.sampled_from(["gene_set", "gene_pairs", "edges"]))
    if draw(st.booleans()):
        rule = Exchange(np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)), dtype=np.int64))
    else:
        rule = Exchange(np.array([5, 5, 5, 5] + [7] * (n - 4)), np.array([0, 1, 0, 1, *range(2, n - 2)]))
    if kind == "gene_set":
        return kind, {"kind": kind, "members": sorted(draw(st.sets(st.integers(0, n - 1), min_size=1)))}, rule
    if kind == "edges":
        edges = draw(st.sets(st.tuples(st.integers(50, 52), st.integers(0, n - 1)), min_size=1, max_size=9))
        return kind, {"kind": kind, "edges": sorted(edges), "signs": [0] * len(edges)}, rule
    pairs = sorted(draw(st.sets(st.sampled_from(list(itertools.combinations(range(n), 2))), min_size=1)))
    grades = draw(st.lists(st.integers(1, 2), min_size=len(pairs), max_size=len(pairs)))
    return kind, {"kind": kind, "pairs": pairs, "grades": grades}, rule


def counted(kind: str, entity: dict[str, Any], rule: Exchange) -> float:
    test = {"gene_set": "cohesion", "gene_pairs": "copole_rate", "edges": "edge_auroc"}[kind]
    n = len(rule.strata)
    world = Universe(tuple(f"G{i}" for i in range(n)), {"stratified": freedom(rule)}, np.arange(n))
    known = facts(test, entity=entity, universe=world, threshold=1e-12)  # tiny, so that the fine count is taken
    return math.exp(log_arrangements(known, world.freedoms["stratified"]))


@settings(max_examples=150, deadline=None)
@given(small_worlds())
def test_arrangements_are_counted_exactly_or_from_above(world):
    kind, entity, rule = world
    real, bound = brute_force(entity, rule), counted(kind, entity, rule)
    if kind == "gene_pairs":
        assert bound >= real * (1 - 1e-9)
    else:
        assert bound == pytest.approx(real, rel=1e-9)


@pytest.mark.parametrize(
    ("pairs", "arrangements"),
    [
        ([[0, 1]], 15),  # 6 over 2
        ([[0, 1], [0, 2]], 60),  # a centre and two of the other five
        ([[0, 1], [0, 2], [1, 2]], 20),  # a clique of three
        ([list(p) for p in itertools.combinations(range(6), 2)], 1),
    ],
)
def test_twins_among_pairs_are_recognised(pairs, arrangements):
    entity = {"kind": "gene_pairs", "pairs": pairs, "grades": [1] * len(pairs)}
    assert counted("gene_pairs", entity, Exchange(np.zeros(6, dtype=np.int64))) == pytest.approx(arrangements)


# Notes.


def test_mixed_signs_under_a_sign_unaware_test_are_noted_not_refused():
    mixed = facts("edge_auroc", entity={"signs": [1] * 20 + [-1] * 7 + [0] * 3})
    assert check(mixed) is None
    (note,) = notes(mixed)
    assert "20 activating and 7 repressing" in note
    assert notes(facts("edge_auroc", entity={"signs": [1] * 20 + [0] * 10})) == ()
    assert notes(facts("copole_rate")) == ()


# On the demo.


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return open_project(tmp_path_factory.mktemp("demo"), Config())


def test_on_the_demo_only_small_sets_are_refused(demo):
    fired: dict[str, set[str]] = {}
    for kind, a in demo.grammar.combinations:
        known = demo.facts(kind.name, a.name)
        names = {rule.__name__ for rule in RULES if rule(known) is not None}
        small = kind.shortage(Entity.from_json(known.entity), known.universe.rows)
        assert names == ({"too_small"} if small else set()), (kind.name, a.name)
        assert small or known.n_entity >= kind.min_size
        for name in names:
            fired.setdefault(name, set()).add(a.name)
    assert fired.keys() == {"too_small"}
    assert {a.role for _, a in demo.grammar.open_combinations} == {"claim", "positive_control", "negative_control"}


def test_the_demo_notes_its_mixed_edges(demo):
    noted = {a.name for kind, a in demo.grammar.combinations if notes(demo.facts(kind.name, a.name))}
    assert noted == {"lineage_tf_targets", "random_edges", "tf_targets"}


def test_a_spec_is_judged_by_what_it_says(demo):
    spec = demo.grammar.spec(Sentence("cohesion", "b_cells", "all", "all"))
    assert demo.finding(spec) is None
    assert demo.finding(replace(spec, nulls=("gene_label",))).rule == "unmatched_null"
    assert demo.finding(replace(spec, scan="best_of")).rule == "layers_as_samples"
    assert demo.finding(replace(spec, alternative="less")).rule == "other_alternative"


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"promote_p": 1e-4}, "permutations_explore to 9999"), ({"alpha": 1e-4}, "permutations_look to 19999")],
)
def test_settings_under_which_nothing_can_be_confirmed_stop_the_run(demo, settings, words):
    with pytest.raises(UserError, match=words):
        _ = replace(demo, config=Config(**settings)).grammar


def test_no_rule_reads_a_sealed_label(demo, monkeypatch):
    sides = []
    entity = Project.entity
    monkeypatch.setattr(Project, "entity", lambda self, name, side: sides.append(side) or entity(self, name, side))
    fresh = replace(demo)
    assert fresh.grammar.n_sentences == demo.grammar.n_sentences
    assert set(sides) == {Side.EXPLORE}
    for kind, a in fresh.grammar.combinations[:40]:
        explore = {int(row) for row in fresh.rows(Side.EXPLORE, a.background)}
        assert {fresh.cache.genes.symbol[row] for row in explore} == set(
            fresh.facts(kind.name, a.name).universe.symbols
        )


def test_labels_derived_from_the_same_cells_are_refused_whatever_cache_they_name(tmp_path: Path):
    demo_cache, twin = (open_cache(find_cache(name, tmp_path)) for name in ("demo", "demo-random-init"))
    cells = demo_cache.manifest["provenance"]["data"]["digest"]
    usable = [s for s, ok in zip(demo_cache.genes.symbol, demo_cache.genes.usable, strict=True) if ok]
    some = "\t".join(usable[:300:5])
    origins = {"own": demo_cache.digest, "twin": twin.digest, "cells": cells, "elsewhere": "e" * 64}
    folder = tmp_path / "derived"
    folder.mkdir()
    text = '[defaults]\nsource = "test"\nversion = "1"\nlicence = "CC0-1.0"\nprovenance = "derived"\n'
    for name, origin in origins.items():
        (folder / f"{name}.gmt").write_text(f"{name}\tna\t{some}\n", encoding="utf-8")
        text += f'[{name}]\nfile = "{name}.gmt"\nkind = "gene_set"\nderived_from = "{origin}"\n'
    (folder / "annotations.toml").write_text(text, encoding="utf-8")
    project = open_project(tmp_path, Config(annotations=str(folder)))
    rules = {name: getattr(check(project.facts("cohesion", name)), "rule", None) for name in origins}
    assert rules == {"own": "derived_label", "twin": "same_cells", "cells": "same_cells", "elsewhere": None}
    assert {a.name for _, a in project.grammar.open_combinations} == {"elsewhere"}
