"""Reading, resolving and refusing annotations: what a user with own files meets."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyposcreen.hypotheses.annotations import (
    DEMO,
    Annotation,
    AnnotationError,
    Provenance,
    canonical_members,
    find_annotations,
    get,
    index_symbols,
    load_annotations,
    resolve,
    slug,
)

DEFAULTS = """
[defaults]
source = "a colleague"
version = "3"
licence = "CC0-1.0"
provenance = "external"
"""
SETS = '[sets_file]\nfile = "s.gmt"\nkind = "gene_set"\n'
PAIRS = '[pairs]\nfile = "p.tsv"\nkind = "gene_pairs"\n'
EDGES = '[edges]\nfile = "e.tsv"\nkind = "edges"\n'
PROVENANCE = Provenance("external", "a colleague", "3", "CC0-1.0", "")


def write(folder: Path, toml: str, **files: str | bytes) -> Path:
    (folder / "annotations.toml").write_text(DEFAULTS + toml, encoding="utf-8")
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (folder / name.replace("_", ".")).write_bytes(data)
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(AnnotationError) as caught:
        load_annotations(folder)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def gene_set(*genes: str, name: str = "x", background: str | None = None) -> Annotation:
    return Annotation(name, "gene_set", "X", "claim", PROVENANCE, tuple(genes), background)


class TestReading:
    def test_gene_sets_take_name_and_title_from_the_gmt(self, tmp_path: Path) -> None:
        write(tmp_path, SETS, s_gmt="b\tSet B\tG2\tG1\tG2\t\n# a comment\n\na\tna\tG3\n")
        a, b = load_annotations(tmp_path)
        assert (a.name, a.title, a.members) == ("a", "sets file", ("G3",))
        assert (b.name, b.title, b.members) == ("b", "Set B", ("G1", "G2"))
        assert (b.kind, b.role, b.provenance, b.background, b.notes) == ("gene_set", "claim", PROVENANCE, None, ())
        assert b.genes() == {"G1", "G2"}

    def test_windows_line_ends_and_a_byte_order_mark_are_read(self, tmp_path: Path) -> None:
        write(tmp_path, SETS, s_gmt=b"\xef\xbb\xbfa\tA\tG1\tG2\r\n")
        assert load_annotations(tmp_path)[0].members == ("G1", "G2")

    def test_one_file_can_hold_several_annotations_with_their_own_role(self, tmp_path: Path) -> None:
        toml = PAIRS + '[pairs.sets.two]\nrole = "negative_control"\ntitle = "Two"\n'
        write(tmp_path, toml, p_tsv="annotation\tgene_a\tgene_b\tgrade\none\tB\tA\t3\ntwo\tA\tC\t1\n")
        one, two = load_annotations(tmp_path)
        assert (one.name, one.members, one.role) == ("one", (("A", "B", 3),), "claim")
        assert (two.name, two.members, two.role, two.title) == ("two", (("A", "C", 1),), "negative_control", "Two")

    def test_a_file_without_annotation_column_is_named_by_its_table(self, tmp_path: Path) -> None:
        write(tmp_path, EDGES, e_tsv="regulator\ttarget\tsign\nB\tA\tActivation\nB\tC\t-1\nA\tB\tunknown\n")
        (edges,) = load_annotations(tmp_path)
        assert edges.name == "edges"
        assert edges.members == (("A", "B", 0), ("B", "A", 1), ("B", "C", -1))

    def test_contradictory_signs_become_unknown_and_are_noted(self, tmp_path: Path) -> None:
        write(tmp_path, EDGES, e_tsv="regulator\ttarget\tsign\nA\tB\t+1\nA\tB\t-1\nA\tC\t0\nA\tC\t-1\n")
        (edges,) = load_annotations(tmp_path)
        assert edges.members == (("A", "B", 0), ("A", "C", -1))
        assert len(edges.notes) == 1
        assert "A → B is given as activation and as repression" in edges.notes[0]

    def test_slugify_takes_a_published_file_as_it_is(self, tmp_path: Path) -> None:
        write(tmp_path, SETS + "slugify = true\n", s_gmt="HALLMARK_P53 Pathway\thttps://x\tTP53\n")
        assert load_annotations(tmp_path)[0].name == "hallmark_p53_pathway"

    def test_derived_labels_carry_the_digest_they_come_from(self, tmp_path: Path) -> None:
        write(tmp_path, SETS + 'provenance = "derived"\nderived_from = "ab12"\n', s_gmt="a\tA\tG1\n")
        provenance = load_annotations(tmp_path)[0].provenance
        assert (provenance.type, provenance.derived_from) == ("derived", "ab12")

    def test_genes_outside_the_background_are_noted(self, tmp_path: Path) -> None:
        toml = SETS + '[sets_file.sets.a]\nbackground = "all"\n'
        write(tmp_path, toml, s_gmt="a\tA\tG1\tG9\nall\tAll\tG1\tG2\n")
        a = load_annotations(tmp_path)[0]
        assert a.background == "all"
        assert a.notes == ("1 genes such as G9 are outside the background all",)

    def test_find(self, tmp_path: Path) -> None:
        (tmp_path / "annotations" / "mine").mkdir(parents=True)
        assert find_annotations("demo", tmp_path) == DEMO
        assert find_annotations("mine", tmp_path) == tmp_path / "annotations" / "mine"
        assert find_annotations("annotations/mine", tmp_path) == tmp_path / "annotations" / "mine"
        assert find_annotations(tmp_path / "annotations", "/elsewhere") == tmp_path / "annotations"
        with pytest.raises(AnnotationError, match=r"no folder of annotations 'other'.*or 'demo'"):
            find_annotations("other", tmp_path)

    def test_get_suggests_the_name_that_was_meant(self) -> None:
        sets = [gene_set("A", name="t_cells"), gene_set("A", name="oxphos")]
        assert get(sets, "oxphos").name == "oxphos"
        with pytest.raises(AnnotationError, match=r"no annotation 't_cell'; did you mean t_cells\?"):
            get(sets, "t_cell")
        with pytest.raises(AnnotationError, match="known are oxphos, t_cells"):
            get(sets, "zzzzzz")


ONE_SET = "a\tA\tG1\n"
PAIR_HEADER = "gene_a\tgene_b\tgrade\n"
EDGE_HEADER = "regulator\ttarget\tsign\n"
REFUSED = {
    "bad_toml": ("[x\n", {}, ["annotations.toml is not valid TOML", "line 7"]),
    "no_table": ("", {}, ["describes no annotation", "file and kind"]),
    "missing_file": (SETS, {}, ["there is no file", "s.gmt"]),
    "unknown_field": (SETS + 'titel = "T"\n', {"s_gmt": ONE_SET}, ["'titel'", "did you mean title?"]),
    "unknown_set": (SETS + '[sets_file.sets.aa]\nrole = "claim"\n', {"s_gmt": ONE_SET}, ["'aa'", "did you mean a?"]),
    "missing_kind": ('[x]\nfile = "s.gmt"\n', {"s_gmt": ONE_SET}, ["[x]: kind is missing"]),
    "wrong_kind": ('[x]\nfile = "s.gmt"\nkind = "sets"\n', {"s_gmt": ONE_SET}, ["'sets'", "gene_set, gene_pairs"]),
    "wrong_role": (SETS + 'role = "control"\n', {"s_gmt": ONE_SET}, ["'control'", "negative_control"]),
    "wrong_type": (SETS + "version = 1\n", {"s_gmt": ONE_SET}, ["version is 1", "in quotes"]),
    "derived_without_digest": (
        SETS + 'provenance = "derived"\n',
        {"s_gmt": ONE_SET},
        ["[sets_file]: derived_from is missing"],
    ),
    "digest_without_derived": (SETS + 'derived_from = "ab"\n', {"s_gmt": ONE_SET}, ["goes with", "'external'"]),
    "empty_file": (SETS, {"s_gmt": "\n\n"}, ["s.gmt is empty"]),
    "gzip": (SETS, {"s_gmt": gzip.compress(b"a\tA\tG1\n")}, ["s.gmt is compressed with gzip", "gunzip"]),
    "latin_1": (SETS, {"s_gmt": b"a\tA\tG1\nb\tna\xefve\tG2\n"}, ["line 2: byte 0xef", "Latin-1", "iconv"]),
    "set_without_gene": (SETS, {"s_gmt": "a\tA\tG1\nb\tB\t\n"}, ["s.gmt, line 2: set 'b' has no gene", "tabs"]),
    "set_with_spaces": (SETS, {"s_gmt": "a A G1 G2\n"}, ["line 1", "has no gene", "separated by tabs"]),
    "genes_with_spaces": (SETS, {"s_gmt": "a\tA\tG1 G2\n"}, ["line 1: 'G1 G2' is no gene symbol"]),
    "duplicate_set": (SETS, {"s_gmt": "a\tA\tG1\na\tA\tG2\n"}, ["line 2: annotation 'a' already stands at", "line 1"]),
    "bad_slug": (SETS, {"s_gmt": "T cells\tA\tG1\n"}, ["'T cells'", "write 't_cells'", "slugify"]),
    "wrong_header": (PAIRS, {"p_tsv": "a\tb\tgrade\nA\tB\t1\n"}, ["line 1: the header is", "gene_a gene_b grade"]),
    "edge_header_for_pairs": (PAIRS, {"p_tsv": EDGE_HEADER + "A\tB\t1\n"}, ["'regulator target sign'"]),
    "only_header": (PAIRS, {"p_tsv": PAIR_HEADER}, ["a header but no row"]),
    "ragged": (PAIRS, {"p_tsv": PAIR_HEADER + "A\tB\t1\nA\tC\n"}, ["line 3: 2 filled fields in", "has 3"]),
    "hole": (PAIRS, {"p_tsv": PAIR_HEADER + "A\t\t1\n"}, ["line 2: 2 filled fields"]),
    "grade": (PAIRS, {"p_tsv": PAIR_HEADER + "A\tB\t1.5\n"}, ["line 2: grade '1.5' is not an integer"]),
    "negative_grade": (PAIRS, {"p_tsv": PAIR_HEADER + "A\tB\t-1\n"}, ["line 2: grade '-1'"]),
    "self_pair": (PAIRS, {"p_tsv": PAIR_HEADER + "A\tA\t1\n"}, ["line 2: A is paired with itself"]),
    "two_grades": (PAIRS, {"p_tsv": PAIR_HEADER + "A\tB\t1\nB\tA\t2\n"}, ["annotation pairs", "grades 1 and 2"]),
    "sign": (EDGES, {"e_tsv": EDGE_HEADER + "A\tB\tup\n"}, ["line 2: sign 'up' is unknown", "activation"]),
    "self_loop": (EDGES, {"e_tsv": EDGE_HEADER + "A\tA\t1\n"}, ["e.tsv, line 2: A is paired with itself", "remove"]),
    "unknown_background": (
        SETS + 'background = "housekeepin"\n',
        {"s_gmt": "a\tA\tG1\nhousekeeping\tH\tG1\n"},
        ["s.gmt, line 1: annotation a names the background 'housekeepin'", "did you mean housekeeping?"],
    ),
    "own_background": (SETS + 'background = "a"\n', {"s_gmt": ONE_SET}, ["another annotation of kind gene_set"]),
    "disjoint_background": (
        SETS + '[sets_file.sets.a]\nbackground = "b"\n',
        {"s_gmt": "a\tA\tG1\nb\tB\tG2\n"},
        ["shares no gene with it"],
    ),
}


class TestRefusals:
    @pytest.mark.parametrize("case", sorted(REFUSED))
    def test_one_sentence_names_place_value_and_mend(self, case: str, tmp_path: Path) -> None:
        toml, files, expected = REFUSED[case]
        sentence = refusal(write(tmp_path, toml, **files))
        for part in expected:
            assert part in sentence
        assert str(tmp_path) in sentence

    def test_missing_folder(self, tmp_path: Path) -> None:
        assert "there is no folder" in refusal(tmp_path / "nowhere")

    def test_missing_toml(self, tmp_path: Path) -> None:
        assert "there is no file" in refusal(tmp_path)
        assert "annotations.toml" in refusal(tmp_path)

    def test_a_value_where_a_table_belongs(self, tmp_path: Path) -> None:
        (tmp_path / "annotations.toml").write_text('markers = "markers.gmt"\n')
        assert "[markers] is the value 'markers.gmt'; make it a table" in refusal(tmp_path)

    def test_defaults_take_no_file(self, tmp_path: Path) -> None:
        (tmp_path / "annotations.toml").write_text('[defaults]\nfile = "x"\n')
        assert "[defaults]: 'file' is not known there" in refusal(tmp_path)

    def test_every_required_field_is_asked_for(self, tmp_path: Path) -> None:
        for field in ("source", "version", "licence", "provenance"):
            kept = "\n".join(line for line in DEFAULTS.splitlines() if not line.startswith(field))
            (tmp_path / "annotations.toml").write_text(kept + "\n" + SETS)
            (tmp_path / "s.gmt").write_text(ONE_SET)
            assert f"[sets_file]: {field} is missing" in refusal(tmp_path)

    def test_a_hand_built_annotation_keeps_the_same_promises(self) -> None:
        with pytest.raises(AnnotationError, match="'T cells' must be made of"):
            gene_set("A", name="T cells")
        with pytest.raises(AnnotationError, match="has no member"):
            gene_set()
        with pytest.raises(AnnotationError, match="not canonical"):
            gene_set("B", "A")
        with pytest.raises(AnnotationError, match="out of range"):
            canonical_members("edges", [("A", "B", 2)])
        with pytest.raises(AnnotationError, match="'sets' is none of"):
            canonical_members("sets", [("A", "B", 2)])  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="is a gene set"):
            _ = gene_set("A").triples


class TestResolve:
    symbols = ("A", "B", "C", "D", "E")
    usable = np.array([True, True, False, True, True])

    def test_gene_set(self) -> None:
        got = resolve(gene_set("A", "C", "E", "X", "Y"), self.symbols, self.usable)
        assert got.rows.tolist() == [0, 4]
        assert got.rows.dtype == np.int64
        assert (got.missing, got.masked) == (("X", "Y"), ("C",))
        assert (got.n_genes_named, got.n_genes_used, got.n_members_named, got.n_members_used) == (5, 2, 5, 2)
        assert got.grade is None
        assert got.sign is None
        assert not got.rows.flags.writeable

    def test_pairs_need_both_genes(self) -> None:
        members, _ = canonical_members("gene_pairs", [("B", "A", 3), ("A", "C", 2), ("A", "X", 1), ("D", "B", 1)])
        pairs = Annotation("p", "gene_pairs", "P", "claim", PROVENANCE, members)
        got = resolve(pairs, self.symbols, self.usable)
        assert got.rows.tolist() == [[0, 1], [1, 3]]
        assert got.grade is not None
        assert got.grade.tolist() == [3, 1]
        assert got.sign is None
        assert (got.n_genes_named, got.n_genes_used, got.n_members_named, got.n_members_used) == (5, 3, 4, 2)

    def test_edges_keep_their_direction(self) -> None:
        members, _ = canonical_members("edges", [("E", "A", -1), ("A", "E", 1), ("B", "A", 0)])
        edges = Annotation("e", "edges", "E", "claim", PROVENANCE, members)
        got = resolve(edges, index_symbols(self.symbols), self.usable)
        assert got.rows.tolist() == [[0, 4], [1, 0], [4, 0]]
        assert got.sign is not None
        assert got.sign.tolist() == [1, 0, -1]
        assert got.grade is None

    def test_nothing_left_names_both_sides(self) -> None:
        with pytest.raises(AnnotationError) as caught:
            resolve(gene_set("Cd3d", "a", "b", "z"), self.symbols, self.usable, cache_name="cache demo")
        assert str(caught.value) == (
            "annotation x has no gene in cache demo: it names 4 genes such as Cd3d, a, b; the cache holds symbols such "
            "as A, B, C; check species and identifiers (2 would match if upper and lower case were the same)"
        )

    def test_nothing_left_because_all_is_masked(self) -> None:
        with pytest.raises(AnnotationError, match="of which preflight masked 1 such as C"):
            resolve(gene_set("C"), self.symbols, self.usable)

    def test_a_gene_table_that_cannot_be_indexed(self) -> None:
        with pytest.raises(AnnotationError, match="'A' twice"):
            resolve(gene_set("A"), ("A", "B", "A"), np.ones(3, dtype=np.bool_))
        with pytest.raises(ValueError, match="shape"):
            resolve(gene_set("A"), ("A", "B"), np.ones(3, dtype=np.bool_))


SYMBOL = st.text("ABCDEFG123-.", min_size=1, max_size=4)
EDGE = st.tuples(SYMBOL, SYMBOL, st.sampled_from((-1, 0, 1))).filter(lambda edge: edge[0] != edge[1])


class TestDigest:
    def test_is_the_hash_of_this_text(self) -> None:
        text = '{"kind":"gene_set","members":["A","B"]}'
        assert gene_set("A", "B", background="h").digest == hashlib.sha256(text.encode()).hexdigest()

    def test_depends_on_members_and_kind_alone(self) -> None:
        plain = gene_set("A", "B")
        assert gene_set("A", "B", name="other").digest == plain.digest
        assert gene_set("A", "C").digest != plain.digest
        assert gene_set("A", "B", background="h").digest == plain.digest  # the spec carries the background's own digest
        edges = Annotation("e", "edges", "", "claim", PROVENANCE, (("A", "B", 1),))
        pairs = Annotation("e", "gene_pairs", "", "claim", PROVENANCE, (("A", "B", 1),))
        assert edges.digest != pairs.digest

    @given(st.lists(SYMBOL, min_size=1, max_size=12), st.randoms())
    def test_order_of_a_gene_set_does_not_matter(self, genes: list[str], random: object) -> None:
        shuffled = list(genes)
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        assert canonical_members("gene_set", genes) == canonical_members("gene_set", shuffled)

    @given(st.lists(EDGE, min_size=1, max_size=12), st.randoms())
    def test_order_of_edges_does_not_matter(self, edges: list[tuple[str, str, int]], random: object) -> None:
        shuffled = list(edges)
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        assert canonical_members("edges", edges) == canonical_members("edges", shuffled)


class TestRoundTrip:
    @given(st.dictionaries(st.from_regex(r"[a-z0-9_]{1,8}", fullmatch=True), st.sets(SYMBOL, min_size=1), min_size=1))
    def test_gene_sets(self, tmp_path_factory: pytest.TempPathFactory, sets: dict[str, set[str]]) -> None:
        text = "".join("\t".join([name, f"title of {name}", *genes]) + "\n" for name, genes in sets.items())
        loaded = load_annotations(write(tmp_path_factory.mktemp("gmt"), SETS, s_gmt=text))
        assert {a.name: set(a.members) for a in loaded} == sets
        assert [a.name for a in loaded] == sorted(sets)

    @given(st.lists(EDGE, min_size=1, max_size=20))
    def test_edges(self, tmp_path_factory: pytest.TempPathFactory, edges: list[tuple[str, str, int]]) -> None:
        rows = "".join(f"{a}\t{b}\t{sign:+d}\n".replace("+0", "0") for a, b, sign in edges)
        (loaded,) = load_annotations(write(tmp_path_factory.mktemp("tsv"), EDGES, e_tsv=EDGE_HEADER + rows))
        assert loaded.members == canonical_members("edges", edges)[0]
        for a, b, sign in loaded.triples:
            said = {s for x, y, s in edges if (x, y) == (a, b)}
            assert sign == (0 if {-1, 1} <= said or said == {0} else next(iter(said - {0})))

    @given(st.text(max_size=30))
    def test_a_slug_is_a_valid_name(self, text: str) -> None:
        assert gene_set("A", name=slug(text)).name == slug(text)
