"""The closed grammar: what it can say, how it refuses the rest, and what freezes it."""

import dataclasses
import json

import pytest

from hyposcreen.hypotheses.annotations import Annotation, Provenance
from hyposcreen.hypotheses.grammar import OutsideGrammarError, make_grammar
from hyposcreen.hypotheses.spec import Proposal, TestSpec
from hyposcreen.tests_library.catalogue import CATALOGUE, scanned_views

EXTERNAL = Provenance("external", "made here", "1", "CC0", "")
SET = Annotation("markers", "gene_set", "Markers", "claim", EXTERNAL, tuple(f"G{i:02}" for i in range(20)), "house")
HOUSE = Annotation("house", "gene_set", "House", "claim", EXTERNAL, tuple(f"G{i:02}" for i in range(60)))
PAIRS = Annotation("pairs", "gene_pairs", "Pairs", "claim", EXTERNAL, (("A", "B", 1), ("A", "C", 2)))
EDGES = Annotation("edges", "edges", "Edges", "claim", EXTERNAL, (("A", "B", 1), ("A", "C", -1)))
ALL = (SET, HOUSE, PAIRS, EDGES)


def grammar(annotations=ALL, n_layers=5, dim=64, closed=(), cache="c" * 64, brings=None):
    testable = {(k.name, a.name): (k.name, a.name) not in closed for a in annotations for k in CATALOGUE.values()}
    return make_grammar(annotations, cache, n_layers, dim, testable, brings)


def proposal(**changes):
    values = {
        "test": "axis_separation",
        "annotation": "markers",
        "layers": "all",
        "coordinates": "SV1-5",
        "claim": "words",
        "prior": 0.2,
        "direction": "greater",
        "rationale": "words",
        "move": "cover",
    }
    return Proposal(**(values | changes))


@pytest.mark.parametrize(("n_layers", "dim"), [(1, 64), (2, 6), (3, 64), (5, 64), (13, 512)])
def test_every_sentence_is_counted_and_scans_a_part_of_its_full_scan(n_layers, dim):
    g = grammar(n_layers=n_layers, dim=dim)
    sentences = list(g.sentences())
    assert g.n_sentences == len(sentences) == len(set(sentences)) > 0
    cells = set()
    for sentence in sentences:
        spec = g.spec(sentence)
        kind = CATALOGUE[sentence.test]
        views = g.views(spec)
        full = scanned_views(kind, n_layers, g.n_axes, "all", "all")
        assert views
        assert views <= full
        cells |= {(sentence.test, sentence.annotation, view) for view in full}
        written = json.loads(json.dumps(spec.to_json()))
        assert TestSpec.from_json(written) == spec
        assert TestSpec.from_json(written).sha256 == spec.sha256
        assert spec.alternative == kind.alternative
        said = proposal(**dataclasses.asdict(sentence))
        assert g.check(said) == spec
    assert g.n_cells == len({c for c in cells if CATALOGUE[c[0]].universe})


def test_a_test_meets_only_annotations_of_its_kind():
    for kind, annotation in grammar().combinations:
        assert kind.entity == annotation.kind
    assert {k.name for k, _ in grammar().combinations} == {k.name for k in CATALOGUE.values() if not k.needs}
    assert "layer_trajectory" not in {k.name for k, _ in grammar(n_layers=1).combinations}


def test_what_is_too_small_on_the_explore_side_leaves_the_universe():
    closed = {("cohesion", "markers"), ("axis_separation", "markers")}
    g = grammar(closed=closed)
    assert set(g.combinations) - set(g.open_combinations) == {(CATALOGUE[k], SET) for k, _ in closed}
    assert g.n_cells == grammar().n_cells - 5 - 50
    assert not {(s.test, s.annotation) for s in g.sentences()} & closed


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("test", "axis_seperation"),
        ("test", None),
        ("annotation", "marker"),
        ("annotation", 7),
        ("layers", "L5"),
        ("layers", "l0"),
        ("layers", ""),
        ("coordinates", "SV11"),
        ("coordinates", "SV1+"),
        ("coordinates", ["SV1"]),
        ("direction", "up"),
        ("prior", 1.5),
        ("prior", -0.1),
        ("prior", float("nan")),
        ("prior", "0.2"),
        ("prior", None),
        ("prior", True),
    ],
)
def test_a_wrong_field_is_refused_by_name_and_value(field, value):
    with pytest.raises(OutsideGrammarError) as refused:
        grammar().check(proposal(**{field: value}))
    assert str(refused.value).startswith(f"{field} is ")
    assert str(value) in str(refused.value)


def test_near_misses_are_suggested_and_far_ones_get_the_choices():
    g = grammar()
    with pytest.raises(OutsideGrammarError, match="did you mean 'axis_separation'"):
        g.check(proposal(test="axis_seperation"))
    with pytest.raises(OutsideGrammarError, match="choose one of greater, less, either"):
        g.check(proposal(direction="zzz"))
    long = "x" * 5000
    with pytest.raises(OutsideGrammarError) as refused:
        g.check(proposal(annotation=long))
    assert len(str(refused.value)) < 300


def test_kind_and_annotation_must_fit():
    with pytest.raises(OutsideGrammarError, match="'copole_rate' needs a gene_pairs, and 'markers' is a gene_set"):
        grammar().check(proposal(test="copole_rate"))
    with pytest.raises(OutsideGrammarError, match="'layer_trajectory' needs more layers than the 1"):
        grammar(n_layers=1).check(proposal(test="layer_trajectory", coordinates="change"))


def test_the_digest_freezes_cache_shape_content_and_what_is_open():
    base = grammar().digest
    assert grammar(annotations=tuple(reversed(ALL))).digest == base
    fewer = dataclasses.replace(HOUSE, members=HOUSE.members[1:])
    other_sign = dataclasses.replace(EDGES, members=(("A", "B", -1), ("A", "C", -1)))
    changed = [
        grammar(cache="d" * 64),
        grammar(n_layers=6),
        grammar(dim=8),
        grammar(annotations=(SET, fewer, PAIRS, EDGES)),
        grammar(annotations=(SET, HOUSE, PAIRS, other_sign)),
        grammar(annotations=(SET, HOUSE, PAIRS)),
        grammar(closed={("cohesion", "house")}),
    ]
    digests = {g.digest for g in changed}
    assert len(digests) == len(changed)
    assert base not in digests


def test_the_background_enters_the_spec_by_content():
    g = grammar()
    spec = g.check(proposal())
    assert (spec.background, spec.background_digest) == ("house", HOUSE.digest)
    assert g.check(proposal(annotation="house")).background_digest is None
    fewer = dataclasses.replace(HOUSE, members=HOUSE.members[1:])
    assert grammar(annotations=(SET, fewer)).check(proposal()).sha256 != spec.sha256


def test_what_a_kind_needs_must_be_brought_and_freezes_the_grammar():
    plain, joined = grammar(), grammar(brings={"partner": "d" * 64})
    offered = {k.name for k, _ in joined.combinations} - {k.name for k, _ in plain.combinations}
    assert offered == {"cross_cache_neighbours", "cross_cache_cka"}
    with pytest.raises(OutsideGrammarError, match="'cross_cache_cka' needs a partner cache"):
        plain.check(proposal(test="cross_cache_cka", coordinates="all"))
    with pytest.raises(OutsideGrammarError, match="'attention_geometry' needs a cache that holds mean attention"):
        joined.check(proposal(test="attention_geometry", coordinates="all"))
    assert joined.check(proposal(test="cross_cache_cka", coordinates="all")).test == "cross_cache_cka"
    digests = {plain.digest, joined.digest, grammar(brings={"partner": "e" * 64}).digest}
    assert len(digests) == 3
    assert plain.n_cells == joined.n_cells  # Route U never covers them


def test_attention_has_views_from_the_first_block_on():
    g = grammar(brings={"attention": "a" * 64})
    layers, coordinates = g.options(CATALOGUE["attention_geometry"])
    assert layers == ("all", "early", "late", "L1", "L2", "L3", "L4")
    assert coordinates == ("all",)
    spec = g.check(proposal(test="attention_geometry", layers="early", coordinates="all"))
    assert {view.name for view in g.views(spec)} == {"L1·attention", "L2·attention"}
