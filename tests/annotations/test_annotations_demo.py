"""The shipped demo annotations: sizes, roles, controls that can be drawn again, and genes the demo cache holds."""

import csv
import re
import warnings
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from types import ModuleType

import numpy as np
import pytest

from hyposcreen.hypotheses.annotations import DEMO, Annotation, get, load_annotations, resolve

ANNOTATIONS = load_annotations(DEMO)
MARKERS = [a for a in ANNOTATIONS if a.role == "positive_control"]
CONTROLS = [a for a in ANNOTATIONS if a.role == "negative_control"]


@pytest.fixture(scope="module")
def controls(load_file: Callable[[str], ModuleType]) -> ModuleType:
    return load_file("hypotheses/demo_annotations/make_controls.py")


@pytest.fixture(scope="module")
def symbols(controls: ModuleType) -> list[str]:
    """The demo cache's symbols; without that cache those of the data set it is made from, where scanpy has it."""
    if controls.GENES.is_file():
        found: list[str] = controls.read_symbols(controls.GENES)
        return found
    scanpy = pytest.importorskip("scanpy", reason="neither the demo cache's gene table nor scanpy is here")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sorted(scanpy.datasets.pbmc68k_reduced().var_names)


def test_what_is_shipped() -> None:
    counted = Counter((a.kind, a.role) for a in ANNOTATIONS)
    assert counted == {
        ("gene_set", "positive_control"): 6,
        ("gene_set", "claim"): 30,
        ("gene_set", "negative_control"): 9,
        ("gene_pairs", "claim"): 3,
        ("gene_pairs", "negative_control"): 1,
        ("edges", "claim"): 2,
        ("edges", "negative_control"): 1,
    }


def test_nothing_had_to_be_corrected_on_reading() -> None:
    assert [a.name for a in ANNOTATIONS if a.notes] == []


def test_sizes_allow_a_test() -> None:
    for annotation in ANNOTATIONS:
        if annotation.kind == "gene_set":
            assert 8 <= len(annotation.members) <= 110, annotation.name
    assert all(12 <= len(marker.members) <= 35 for marker in MARKERS)
    assert len(get(ANNOTATIONS, "complexes_and_pathways").members) >= 250
    assert len(get(ANNOTATIONS, "tf_targets").members) >= 60
    assert len(get(ANNOTATIONS, "housekeeping").members) >= 60


def test_no_two_annotations_are_the_same_test() -> None:
    digests = Counter(a.digest for a in ANNOTATIONS)
    assert max(digests.values()) == 1


def test_grades_and_signs_have_every_level() -> None:
    for name in ("complexes", "complexes_and_pathways", "immune_signalling", "random_pairs"):
        levels = Counter(grade for _, _, grade in get(ANNOTATIONS, name).triples)
        assert set(levels) == {1, 2, 3}
        assert min(levels.values()) >= 50
    for name in ("tf_targets", "lineage_tf_targets", "random_edges"):
        assert {sign for _, _, sign in get(ANNOTATIONS, name).triples} == {-1, 0, 1}


def test_lineage_edges_are_a_part_of_all_edges() -> None:
    assert set(get(ANNOTATIONS, "lineage_tf_targets").members) < set(get(ANNOTATIONS, "tf_targets").members)


def test_direct_contacts_are_graded_highest_in_both_lists() -> None:
    close = {(a, b): grade for a, b, grade in get(ANNOTATIONS, "complexes").triples}
    wide = {(a, b): grade for a, b, grade in get(ANNOTATIONS, "complexes_and_pathways").triples}
    assert {pair for pair, grade in close.items() if grade == 3} <= {pair for pair, grade in wide.items() if grade == 3}


def test_provenance_says_who_wrote_it() -> None:
    for annotation in ANNOTATIONS:
        assert annotation.provenance.licence == "CC0-1.0"
        assert (annotation.provenance.type == "control") == (annotation.role == "negative_control")


@pytest.mark.parametrize("marker", MARKERS, ids=lambda a: a.name)
def test_each_marker_set_has_a_random_twin_of_its_size(marker: Annotation) -> None:
    twin = get(ANNOTATIONS, f"random_{marker.name}")
    assert len(twin.members) == len(marker.members)
    assert len(twin.genes() & marker.genes()) < len(marker.members) / 3


def test_random_twins_are_drawn_apart() -> None:
    twins = [a for a in CONTROLS if a.name.startswith("random_") and a.kind == "gene_set"]
    for one, two in combinations(twins, 2):
        assert len(one.genes() & two.genes()) < min(len(one.members), len(two.members)) / 2


def test_housekeeping_halves_split_their_background() -> None:
    whole = get(ANNOTATIONS, "housekeeping")
    halves = [get(ANNOTATIONS, f"housekeeping_half_{number}") for number in (1, 2)]
    assert all(half.background == "housekeeping" for half in halves)
    assert halves[0].genes() | halves[1].genes() == whole.genes()
    assert not halves[0].genes() & halves[1].genes()


def test_random_pairs_and_edges_keep_the_margins() -> None:
    def values(name: str) -> Counter[int]:
        return Counter(value for _, _, value in get(ANNOTATIONS, name).triples)

    def out_signs(name: str) -> Counter[tuple[str, int]]:
        return Counter((regulator, sign) for regulator, _, sign in get(ANNOTATIONS, name).triples)

    assert values("random_pairs") == values("complexes")
    assert out_signs("random_edges") == out_signs("tf_targets")


def test_shipped_controls_are_what_the_script_draws(controls: ModuleType, symbols: list[str]) -> None:
    for name, text in controls.make(symbols).items():
        assert (DEMO / name).read_bytes() == text.encode(), f"{name} is stale; run make_controls.py"


def test_drawing_depends_on_nothing_but_its_inputs(controls: ModuleType) -> None:
    genes = [f"G{number}" for number in range(40)]
    first = controls.control_sets(genes, {"m": genes[:9]}, genes[:10])
    assert first == controls.control_sets(genes[::-1], {"m": genes[5:14]}, genes[9::-1])
    assert first != controls.control_sets([*genes, "G40", "G41"], {"n": genes[:9]}, genes[:10])


def test_every_gene_is_in_the_demo_cache(symbols: list[str]) -> None:
    usable = np.ones(len(symbols), dtype=np.bool_)
    for annotation in ANNOTATIONS:
        got = resolve(annotation, symbols, usable, cache_name="the demo cache")
        assert got.missing == (), annotation.name
        assert got.n_members_used == len(annotation.members)


def test_preflight_leaves_enough_of_every_annotation(controls: ModuleType) -> None:
    if not controls.GENES.is_file():
        pytest.skip("the demo cache's gene table is not here")
    with controls.GENES.open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    usable = np.array([not row["mask_reason"] for row in rows])
    for annotation in ANNOTATIONS:
        got = resolve(annotation, [row["symbol"] for row in rows], usable)
        assert got.n_members_used >= max(8, 0.8 * got.n_members_named), annotation.name


def test_no_file_names_a_place_of_one_machine() -> None:
    for path in DEMO.iterdir():
        if path.is_file():
            assert not re.search(r"/(home|work|tmp|Users)/", path.read_text(encoding="utf-8")), path.name
