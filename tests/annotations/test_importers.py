"""Importers on files as databases write them, and on files that are wrong in one way each."""

import gzip
import io
import os
import zipfile
from pathlib import Path

import pytest

from hyposcreen.hypotheses.annotations import AnnotationError
from hyposcreen.hypotheses.importers.base import Options
from hyposcreen.hypotheses.importers.names import NO_NAMES, read_names
from hyposcreen.hypotheses.importers.registry import IMPORTERS, importer
from hyposcreen.hypotheses.importers.rules import Outcome, clean

CACHE = (*(f"GENE{i}" for i in range(40)), "CD3E", "CD79A", "PAX5", "EBF1", "SPI1", "MS4A1", "KIAA0125", "TCF3")
SIX = ("CD3E", "CD79A", "PAX5", "EBF1", "SPI1", "MS4A1")


def write(folder: Path, text: str | bytes, name: str = "file.tsv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def bring(path: Path, how: str, options: Options | None = None, cache: tuple[str, ...] = CACHE, **rules) -> Outcome:
    options = options or Options()
    raw = importer(how).read(path, options)
    return clean(raw, "x", options.names.resolver(cache), cache, file=path.name, **rules)


def counted(outcome: Outcome) -> dict[str, int]:
    return dict(outcome.members.counts) | dict(outcome.names.counts)


def refused(path: Path, how: str, options: Options | None = None, **rules) -> str:
    with pytest.raises(AnnotationError) as caught:
        bring(path, how, options, **rules)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert path.name in sentence
    return sentence


def zipped(files: int, text: str = "x") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for number in range(files):
            archive.writestr(f"{number}.tsv", text)
    return made.getvalue()


HPA = "Gene\tGene name\tReliability\tValidated\tSupported\tApproved\tUncertain\n" + "".join(
    f"ENSG{i:011d}\t{g}\tApproved\t\tVesicles\tCytosol;Nucleus\t\n" for i, g in enumerate(SIX)
)
PANGLAO = "species\tofficial gene symbol\tcell type\n" + "".join(f"Mm Hs\t{g}\tB cells\n" for g in SIX)
CELLMARKER = "species\ttissue_class\tcell_name\tSymbol\n" + "".join(f"Human\tBlood\tB cell\t{g}\n" for g in SIX)
DOROTHEA = "tf\tconfidence\ttarget\tmor\nPAX5\tA\tCD79A\t1\nEBF1\tE\tMS4A1\t1\nSPI1\tC\tCD3E\t-1\n"
STRING = "protein1 protein2 combined_score\n9606.ENSP01 9606.ENSP02 900\n9606.ENSP02 9606.ENSP01 900\n"
INFO = "#string_protein_id\tpreferred_name\tprotein_size\n9606.ENSP01\tPAX5\t391\n9606.ENSP02\tCD79A\t226\n"
GOOD = {
    "sets": "set\tgene\n" + "".join(f"b\t{g}\n" for g in SIX),
    "partition": "class\tgene\n" + "".join(f"b\t{g}\n" for g in SIX),
    "pairs": "gene1,gene2,score\nPAX5,CD79A,0.9\nEBF1,PAX5,0.404\n",
    "edges": "source\ttarget\tweight\nPAX5\tCD79A\t0.5\nEBF1\tPAX5\t-2\n",
    "proteins": STRING,
    "trrust": "PAX5\tCD79A\tActivation\t1;2\nEBF1\tPAX5\tRepression\t3\n",
    "collectri": "source\ttarget\tweight\nPAX5\tCD79A\t1\nEBF1\tPAX5\t-1\n",
    "dorothea": DOROTHEA,
    "hpa": HPA,
    "panglaodb": PANGLAO,
    "cellmarker": CELLMARKER,
}


def options_for(how: str, folder: Path) -> Options:
    return Options(names=read_names([write(folder, INFO, "info.txt")])) if how == "proteins" else Options()


class TestEveryFormat:
    def test_there_is_a_good_file_of_each(self) -> None:
        assert set(GOOD) == set(IMPORTERS)

    @pytest.mark.parametrize("how", sorted(IMPORTERS))
    def test_plain_gzip_and_windows_line_ends_read_alike(self, how: str, tmp_path: Path) -> None:
        options = options_for(how, tmp_path)
        text = GOOD[how]
        plain = bring(write(tmp_path, text), how, options)
        assert sum(len(a.members) for a in plain.annotations) >= 1
        packed = bring(write(tmp_path, gzip.compress(text.encode()), "file.tsv.gz"), how, options)
        archived = bring(write(tmp_path, zipped(1, text), "file.tsv.zip"), how, options)
        windows = bring(write(tmp_path, "\ufeff" + text.replace("\n", "\r\n"), "dos.tsv"), how, options)
        assert plain.annotations == packed.annotations == archived.annotations == windows.annotations

    @pytest.mark.parametrize("how", sorted(IMPORTERS))
    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"", "is empty"),
            (b"\n\n", "is empty"),
            (b"gene\xe9\tset\nA\tB\n", "Latin-1"),
            (b"\xff\xfeg\x00", "UTF-16"),
            (b"PK\x03\x04 and so on", "zip archive that is broken"),
            (zipped(2), "spreadsheet, or a zip archive of 2 files"),
            (b"<!DOCTYPE html><html>", "web page"),
        ],
    )
    def test_a_file_of_another_sort_is_named(self, how: str, content: bytes, says: str, tmp_path: Path) -> None:
        assert says in refused(write(tmp_path, content), how, options_for(how, tmp_path))

    @pytest.mark.parametrize("how", sorted(IMPORTERS))
    def test_gzip_that_was_cut_off_is_named(self, how: str, tmp_path: Path) -> None:
        cut = gzip.compress((GOOD[how] * 50).encode())[:-12]
        assert "gzip" in refused(write(tmp_path, cut, "file.tsv.gz"), how, options_for(how, tmp_path))

    @pytest.mark.parametrize("how", sorted(set(IMPORTERS) - {"proteins"}))
    def test_mouse_genes_do_not_pass_for_human_ones(self, how: str, tmp_path: Path) -> None:
        text = GOOD[how]
        for gene in SIX:
            text = text.replace(gene, gene.capitalize())
        assert "another species" in refused(write(tmp_path, text), how)

    @pytest.mark.parametrize("how", sorted(set(IMPORTERS) - {"proteins"}))
    def test_genes_of_another_world_are_refused(self, how: str, tmp_path: Path) -> None:
        text = GOOD[how]
        for number, gene in enumerate(SIX):
            text = text.replace(gene, f"YAL{number:03d}W")
        assert "no gene of the cache" in refused(write(tmp_path, text), how, min_genes=1)

    @pytest.mark.parametrize("how", sorted(IMPORTERS))
    def test_a_row_with_a_field_too_many_is_named_with_its_line(self, how: str, tmp_path: Path) -> None:
        header, first, *rest = GOOD[how].splitlines()
        blank = "\t" if "\t" in first else "," if "," in first else " "
        text = "\n".join((header, first, f"extra{blank}{rest[0] if rest else first}{blank}x")) + "\n"
        assert "line 3 has" in refused(write(tmp_path, text), how, options_for(how, tmp_path))

    @pytest.mark.parametrize(
        ("how", "text"),
        [
            ("trrust", "TF\tTarget\tRegulation\tReference\nPAX5\tCD79A\t123\tActivation\n"),
            ("edges", "tf\ttarget\tsign\nPAX5\tCD79A\tPMID\n"),
            (
                "collectri",
                "source_genesymbol\ttarget_genesymbol\tis_stimulation\tis_inhibition\nPAX5\tCD79A\tdorothea\t1\n",
            ),
            ("dorothea", "tf\tconfidence\ttarget\tmor\nPAX5\tA\t1\tCD79A\n"),
            ("pairs", "gene1\tgene2\tscore\nPAX5\t0.9\tCD79A\n"),
            ("proteins", "protein1 protein2 combined_score\n9606.ENSP01 900 9606.ENSP02\n"),
            ("hpa", HPA.replace("\tApproved\t\tVesicles", "\tVesicles\t\tApproved")),
            ("panglaodb", "species\tofficial gene symbol\tcell type\nPAX5\tMm Hs\tB cells\n"),
            ("cellmarker", "species\tcell_name\tSymbol\nB cell\tHuman\tPAX5\n"),
            ("sets", "set\tgene\n" + "".join(f"{g}\tB cells of blood\n" for g in SIX)),
            ("partition", "class\tgene\n" + "".join(f"{g}\t{i}\n" for i, g in enumerate(SIX))),
        ],
    )
    def test_shifted_columns_are_refused(self, how: str, text: str, tmp_path: Path) -> None:
        assert "shifted" in refused(write(tmp_path, text), how, options_for(how, tmp_path)) or how == "proteins"

    @pytest.mark.parametrize("how", sorted(set(IMPORTERS) - {"trrust"}))
    def test_a_table_of_something_else_lists_its_columns(self, how: str, tmp_path: Path) -> None:
        said = refused(write(tmp_path, "age\theight\n12\t140\n"), how, options_for(how, tmp_path))
        assert "age" in said or "confidence" in said


class TestSets:
    def test_gmt_takes_titles_but_no_addresses(self, tmp_path: Path) -> None:
        genes = "\t".join(SIX)
        text = f"ALPHA\tB cell genes\t{genes}\nBETA\thttp://example.org/b\t{genes}\tGENE1\n"
        found = bring(write(tmp_path, text, "own.gmt"), "sets").annotations
        assert [(a.name, a.title, len(a.members)) for a in found] == [("x_alpha", "B cell genes", 6), ("x_beta", "", 7)]

    def test_a_single_set_has_the_name_it_was_given(self, tmp_path: Path) -> None:
        found = bring(write(tmp_path, "ALPHA\tna\t" + "\t".join(SIX), "own.gmt"), "sets").annotations
        assert [a.name for a in found] == ["x"]

    def test_small_sets_repeats_and_twins_are_left_out_and_counted(self, tmp_path: Path) -> None:
        genes = "\t".join(SIX)
        text = f"A\tna\t{genes}\tPAX5\nB\tna\t{genes}\nC\tna\tPAX5\tEBF1\nD\tna\t{genes}\tGENE2\n"
        outcome = bring(write(tmp_path, text, "own.gmt"), "sets")
        assert [a.name for a in outcome.annotations] == ["x_a", "x_d"]
        assert counted(outcome) == {
            "repeats of a gene in a set were merged": 1,
            "sets with the very genes of another were left out": 1,
            "sets with fewer than 5 genes in the cache were left out": 1,
        }

    def test_a_set_of_nearly_all_genes_is_kept_and_said(self, tmp_path: Path) -> None:
        outcome = bring(write(tmp_path, "ALL\tna\t" + "\t".join(CACHE), "own.gmt"), "sets")
        assert "background" in outcome.notes[0]

    def test_only_takes_the_sets_it_names(self, tmp_path: Path) -> None:
        genes = "\t".join(SIX)
        path = write(tmp_path, f"A\tna\t{genes}\nB\tna\t{genes}\tGENE1\n", "own.gmt")
        assert [a.name for a in bring(path, "sets", only=["B"]).annotations] == ["x_b"]
        assert "--only c" in refused(path, "sets", only=["C"])

    def test_columns_are_mapped_by_name_or_number(self, tmp_path: Path) -> None:
        rows = "".join(f"{i}\t{g}\tmine\n" for i, g in enumerate(SIX))
        named = bring(write(tmp_path, "no\twhat\twhere\n" + rows), "sets", Options({"gene": "what", "set": "where"}))
        bare = bring(write(tmp_path, rows), "sets", Options({"gene": "2", "set": "3"}))
        assert named.annotations == bare.annotations
        assert "names no column" in refused(
            write(tmp_path, "a\tb\nc\td\n"), "sets", Options({"gene": "zz", "set": "a"})
        )

    def test_a_gene_in_two_classes_is_no_partition(self, tmp_path: Path) -> None:
        path = write(tmp_path, "class\tgene\na\tPAX5\nb\tPAX5\n")
        assert "PAX5 is in the classes 'a' and 'b'" in refused(path, "partition")

    def test_locations_that_are_uncertain_are_left_out(self, tmp_path: Path) -> None:
        text = HPA + "ENSG00000000099\tGENE1\tUncertain\t\t\t\tCytosol\n"
        raw = importer("hpa").read(write(tmp_path, text), Options())
        assert {g.name: len(g.genes) for g in raw.groups} == {"Cytosol": 6, "Nucleus": 6, "Vesicles": 6}
        assert raw.dropped.counts == {"genes with uncertain locations alone were left out": 1}

    def test_markers_of_the_other_species_are_left_out(self, tmp_path: Path) -> None:
        raw = importer("panglaodb").read(
            write(tmp_path, PANGLAO + "Mm\tGENE1\tB cells\nNone\tGENE2\tB cells\n"), Options()
        )
        assert sum(raw.dropped.counts.values()) == 2 and raw.groups[0].genes == list(SIX)
        mouse = importer("cellmarker").read(write(tmp_path, CELLMARKER + "Mouse\tBlood\tB cell\tCd3e\n"), Options())
        assert mouse.dropped.counts == {"lines of mouse": 1}

    def test_cellmarker_of_version_1_holds_lists(self, tmp_path: Path) -> None:
        text = "speciesType\tcellName\tgeneSymbol\nHuman\tB cell\tCD79A, [PAX5, EBF1], NA\nHuman\tB cell\tMS4A1, SPI1\n"
        assert bring(write(tmp_path, text), "cellmarker").annotations[0].members == (
            "CD79A",
            "EBF1",
            "MS4A1",
            "PAX5",
            "SPI1",
        )

    def test_where_keeps_lines_and_counts_the_others(self, tmp_path: Path) -> None:
        text = CELLMARKER + "Human\tLung\tB cell\tGENE1\n"
        options = Options(where={"tissue_class": frozenset({"Blood"})})
        raw = importer("cellmarker").read(write(tmp_path, text), options)
        assert raw.groups[0].genes == list(SIX)
        assert raw.dropped.counts == {"lines left out by --where tissue_class": 1}


class TestPairs:
    def test_both_directions_and_other_scores_make_one_pair_with_the_largest(self, tmp_path: Path) -> None:
        text = "gene1\tgene2\tscore\nPAX5\tCD79A\t0.4\nCD79A\tPAX5\t0.95\nEBF1\tEBF1\t0.9\nSPI1\tEBF1\t0.5\n"
        outcome = bring(write(tmp_path, text), "pairs")
        assert outcome.annotations[0].members == (("CD79A", "PAX5", 950), ("EBF1", "SPI1", 500))
        assert counted(outcome) == {
            "lines repeat a pair, in either order, and were merged": 1,
            "repeats have another score: the largest was kept": 1,
            "pairs or edges of a gene with itself were left out": 1,
        }

    def test_a_smallest_score_leaves_out_and_counts(self, tmp_path: Path) -> None:
        raw = importer("pairs").read(write(tmp_path, GOOD["pairs"]), Options(min_score=0.5))
        assert raw.groups[0].triples == [("PAX5", "CD79A", 900)] and sum(raw.dropped.counts.values()) == 1

    def test_scores_of_no_scale_are_refused(self, tmp_path: Path) -> None:
        assert "between 0 and 1" in refused(write(tmp_path, "gene1\tgene2\tscore\nPAX5\tEBF1\t1.5\n"), "pairs")
        assert "no number" in refused(write(tmp_path, "gene1\tgene2\tscore\nPAX5\tEBF1\tnan\n"), "pairs")

    def test_links_by_protein_take_their_genes_from_info_or_aliases(self, tmp_path: Path) -> None:
        aliases = (
            "#string_protein_id\talias\tsource\n9606.ENSP01\tBSAP\tUniProt_GN_Synonyms\n9606.ENSP01\tPAX5\tEnsembl_HGNC_symbol\n"
            "9606.ENSP02\tCD79A\tUniProt_GN_Name\n"
        )
        for text in (INFO, aliases):
            options = Options(names=read_names([write(tmp_path, text, "names.txt")]))
            assert bring(write(tmp_path, STRING), "proteins", options).annotations[0].members == (
                ("CD79A", "PAX5", 900),
            )

    def test_links_without_names_or_of_two_species_are_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path, STRING)
        assert "--aliases" in refused(path, "proteins")
        options = options_for("proteins", tmp_path)
        mixed = write(tmp_path, STRING + "10090.ENSMUSP01 10090.ENSMUSP02 900\n")
        assert "2 species" in refused(mixed, "proteins", options)
        mouse = write(tmp_path, STRING.replace("9606.", "10090."))
        assert "taxon 10090" in refused(mouse, "proteins", options)
        symbols = write(tmp_path, "protein1 protein2 combined_score\nPAX5 CD79A 900\n")
        assert "--as pairs" in refused(symbols, "proteins", options)


class TestEdges:
    def test_signs_repeats_loops_and_both_directions(self, tmp_path: Path) -> None:
        text = (
            "TF\tTarget\tRegulation\tReference\nPAX5\tCD79A\tActivation\t1\nPAX5\tCD79A\tRepression\t2\n"
            "EBF1\tPAX5\tUnknown\t3\nEBF1\tPAX5\tActivation\t4\nPAX5\tEBF1\tRepression\t5\nSPI1\tSPI1\tActivation\t6\n"
            "SPI1\tCD3E\tUnknown\t7\nSPI1\tCD3E\tUnknown\t8\n"
        )
        outcome = bring(write(tmp_path, text), "trrust")
        assert outcome.annotations[0].members == (
            ("EBF1", "PAX5", 1), ("PAX5", "CD79A", 0), ("PAX5", "EBF1", -1), ("SPI1", "CD3E", 0),
        )  # fmt: skip
        assert counted(outcome) == {
            "pairs or edges of a gene with itself were left out": 1,
            "lines repeat an edge and were merged": 3,
            "edges are given as activation and as repression: kept with the sign 0": 1,
            "edges are given with and without a sign: the sign was kept": 1,
            "pairs of genes regulate each other: both edges were kept": 1,
            "activating edges": 1,
            "repressing edges": 1,
            "edges without a known sign": 2,
        }

    def test_trrust_reads_alike_with_and_without_a_header(self, tmp_path: Path) -> None:
        bare = bring(write(tmp_path, GOOD["trrust"]), "trrust")
        headed = bring(write(tmp_path, "TF\tTarget\tRegulation\tReference\n" + GOOD["trrust"]), "trrust")
        assert bare.annotations == headed.annotations

    def test_collectri_of_omnipath_drops_complexes(self, tmp_path: Path) -> None:
        text = (
            "source_genesymbol\ttarget_genesymbol\tis_stimulation\tis_inhibition\nPAX5\tCD79A\tTrue\tFalse\n"
            "EBF1\tPAX5\t1\t1\nFOS_JUN\tCD3E\t1\t0\n"
        )
        path = write(tmp_path, text)
        assert bring(path, "collectri").annotations[0].members == (("EBF1", "PAX5", 0), ("PAX5", "CD79A", 1))
        assert (
            importer("collectri").read(path, Options()).dropped.counts["edges of protein complexes, which are no gene"]
            == 1
        )

    def test_dorothea_keeps_a_to_c_unless_told(self, tmp_path: Path) -> None:
        path = write(tmp_path, DOROTHEA)
        assert [m[0] for m in bring(path, "dorothea").annotations[0].members] == ["PAX5", "SPI1"]
        told = Options(where={"confidence": frozenset("E")})
        assert [m[0] for m in bring(path, "dorothea", told).annotations[0].members] == ["EBF1"]


class TestNames:
    def test_old_symbols_and_ensembl_ids_lead_to_the_symbol_of_the_cache(self, tmp_path: Path) -> None:
        hgnc = (
            "hgnc_id\tsymbol\talias_symbol\tprev_symbol\tensembl_gene_id\n"
            "1\tPAX5\tBSAP\t\tENSG00000196092\n2\tFAM30A\t\tKIAA0125|C14orf110\tENSG00000226777\n3\tCD3E\tE2A\t\t\n4\tTCF3\tE2A\t\t\n"
        )
        names = read_names([write(tmp_path, hgnc, "hgnc.txt")])
        resolve = names.resolver(CACHE)
        assert resolve("BSAP") == ("PAX5", "alias")
        assert resolve("ENSG00000196092.7") == ("PAX5", "Ensembl id")
        assert resolve("FAM30A") == ("KIAA0125", "alias")  # the cache uses the older name
        assert resolve("C14orf110") == ("KIAA0125", "alias")
        assert resolve("E2A") == ("E2A", "ambiguous")
        assert resolve("CD79A") == ("CD79A", "as it is")
        assert resolve("ENSG00000999999") == ("ENSG00000999999", "unknown id")

    def test_ids_without_a_table_are_refused_and_mixed_ones_are_counted(self, tmp_path: Path) -> None:
        ids = "".join(f"b\tENSG{i:011d}\n" for i in range(8))
        assert "Ensembl ids" in refused(write(tmp_path, "set\tgene\n" + ids), "sets")
        mixed = bring(write(tmp_path, GOOD["sets"] + "".join(ids.splitlines(keepends=True)[:2])), "sets")
        assert mixed.annotations[0].members == tuple(sorted(SIX))
        assert mixed.names.counts["Ensembl ids without a symbol were left out; give a table with --aliases"] == 2

    def test_a_name_of_the_cache_is_never_replaced(self, tmp_path: Path) -> None:
        names = read_names([write(tmp_path, "PAX5\tEBF1\n", "own.tsv")])
        assert names.resolver(CACHE)("PAX5") == ("PAX5", "as it is")
        with pytest.raises(AnnotationError, match="two columns"):
            read_names([write(tmp_path, "PAX5\tEBF1\tSPI1\n", "own.tsv")])


DATA = Path(os.environ.get("HYPOSCREEN_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.mark.skipif(not DATA.is_dir(), reason="the real tables are not part of the repository")
class TestRealFiles:
    """Counts that ``docs/annotations.md`` states, on the files themselves."""

    @pytest.mark.parametrize(
        ("file", "how", "lines", "annotations", "members"),
        [
            ("trrust_v2_human.tsv", "trrust", 9396, 1, 8403),
            ("hpa_subcellular_location_2017.tsv", "hpa", 12003, 31, 18401),
            ("go_cellular_component_2025.gmt", "sets", 1042, 1042, 102990),
            ("panglaodb_markers_2020.tsv", "panglaodb", 8286, 168, 7823),
            ("string_channels_209_genes.tsv", "pairs", 9905, 1, 9905),
            ("string_pairs_ge0.4.tsv", "pairs", 3092, 1, 3092),
        ],
    )
    def test_counts(self, file: str, how: str, lines: int, annotations: int, members: int) -> None:
        raw = importer(how).read(DATA / file, Options())
        genes = {g for group in raw.groups for g in (*group.genes, *(s for t in group.triples for s in t[:2]))}
        genes = {gene for gene in genes if not gene.startswith("ENSG0")}  # two names of the GO file
        outcome = clean(raw, "x", NO_NAMES.resolver(genes), genes, file=file)
        assert (raw.read, len(outcome.annotations)) == (lines, annotations)
        assert sum(len(a.members) for a in outcome.annotations) == members

    def test_trrust_against_a_count_by_hand(self) -> None:
        """The same numbers from plain sets, without the importer."""
        rows = [line.split("\t")[:3] for line in (DATA / "trrust_v2_human.tsv").read_text().splitlines()[1:]]
        signs: dict[tuple[str, str], set[str]] = {}
        for a, b, sign in rows:
            if a != b:
                signs.setdefault((a, b), set()).add(sign)
        raw = importer("trrust").read(DATA / "trrust_v2_human.tsv", Options())
        genes = {x for row in rows for x in row[:2]}
        counts = clean(raw, "x", NO_NAMES.resolver(genes), genes, file="x").members.counts
        contradictory = sum({"Activation", "Repression"} <= s for s in signs.values())
        assert counts["edges are given as activation and as repression: kept with the sign 0"] == contradictory == 207
        assert counts["pairs or edges of a gene with itself were left out"] == sum(a == b for a, b, _ in rows)
        assert counts["lines repeat an edge and were merged"] == len(rows) - sum(a == b for a, b, _ in rows) - len(
            signs
        )
        assert counts["activating edges"] == sum("Activation" in s and "Repression" not in s for s in signs.values())
