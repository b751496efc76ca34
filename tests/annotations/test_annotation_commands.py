"""``screen annotations``: from a file to something a run can be about, on the demo cache."""

import json
from pathlib import Path

import pytest

from hyposcreen.agent.annotating import Asked, annotation_facts, checked, import_file, shown
from hyposcreen.agent.errors import UserError
from hyposcreen.cli import main
from hyposcreen.embeddings_cache.store import SHIPPED, open_cache
from hyposcreen.hypotheses.annotations import load_annotations

GENES = open_cache(SHIPPED["demo"], verify=False).genes.symbol
SET = ("CD79A", "CD79B", "MS4A1", "CD37", "BLK", "BANK1", "CD40", "HVCN1", "SPIB", "FCRLA", "LY9", "PNOC")


def gmt(folder: Path, name: str = "own.gmt", *more: str) -> Path:
    path = folder / name
    path.write_text("\n".join(("Alpha\tB cells\t" + "\t".join((*SET, "NOSUCH1")), *more)) + "\n")
    return path


def edges(folder: Path) -> Path:
    path = folder / "edges.tsv"
    path.write_text("tf\ttarget\teffect\n" + "".join(f"SPI1\t{g}\tactivation\n" for g in SET[:6]))
    return path


def test_an_import_is_stored_with_its_source_and_sizes_on_both_sides(tmp_path: Path) -> None:
    facts = import_file(tmp_path, Asked(gmt(tmp_path), "sets", "mine", source="us", version="2", licence="CC0-1.0"))
    (row,) = facts["annotations"]
    assert (row["named"], row["usable"]) == (13, 12)
    assert row["explore"] + row["sealed"] == row["usable"] and row["missing"] == ["NOSUCH1"]
    assert facts["cache"]["in_cache"] == 12 and facts["cache"]["not_in_cache_first"] == ["NOSUCH1"]
    (stored,) = load_annotations(tmp_path / "annotations")
    assert (stored.provenance.source, stored.provenance.version, stored.provenance.licence) == ("us", "2", "CC0-1.0")
    assert stored.provenance.original == f"own.gmt sha256:{facts['sha256']}"
    said = shown(tmp_path, "mine", "annotations")
    assert said["import"]["sha256"] == facts["sha256"] and "cohesion" in said["tests"]["open"]
    assert "edge_auroc" not in said["tests"]["open"]


def test_several_imports_share_a_folder_and_a_name_is_taken_once(tmp_path: Path) -> None:
    import_file(tmp_path, Asked(gmt(tmp_path), "sets", "mine"))
    import_file(tmp_path, Asked(edges(tmp_path), "edges", "ours"))
    assert [row["name"] for row in annotation_facts(tmp_path, "annotations")] == ["mine", "ours"]
    with pytest.raises(UserError, match="--replace"):
        import_file(tmp_path, Asked(edges(tmp_path), "edges", "mine"))
    import_file(tmp_path, Asked(edges(tmp_path), "edges", "mine", replace=True))
    rows = {row["name"]: row["kind"] for row in annotation_facts(tmp_path, "annotations")}
    assert rows == {"mine": "edges", "ours": "edges"}
    assert not (tmp_path / "annotations" / "mine.gmt").exists()
    assert checked(tmp_path, "annotations")[1]["remarks"][-1] == "the same members as 'mine'"


def test_an_import_that_fails_changes_nothing(tmp_path: Path) -> None:
    import_file(tmp_path, Asked(gmt(tmp_path), "sets", "mine"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "annotations").iterdir()}
    wrong = tmp_path / "wrong.tsv"
    wrong.write_text("tf\ttarget\nNOSUCH1\tNOSUCH2\n")
    for asked in (
        Asked(wrong, "edges", "ours"),
        Asked(gmt(tmp_path), "sets", "other", background="no_such_set"),
        Asked(gmt(tmp_path), "sets", "Wrong Name"),
        Asked(gmt(tmp_path), "spreadsheet", "ours"),
        Asked(gmt(tmp_path), "sets", "ours", columns=["colour=red"]),
    ):
        with pytest.raises(UserError):
            import_file(tmp_path, asked)
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "annotations").iterdir()}


def test_the_commands_print_what_happened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--project", str(tmp_path)]
    path = gmt(tmp_path, "own.gmt", "Beta\tfew\tCD79A\tCD79B")
    main(["annotations", "import", str(path), "--as", "sets", "--name", "mine", *where])
    said = capsys.readouterr()
    assert "1 sets with fewer than 5 genes in the cache were left out, such as Beta (2)" in said.out
    assert "12 of 13 are in cache 'demo'; 0 masked, 1 not there, such as NOSUCH1" in said.out
    assert "mine_alpha" in said.out and "screen run --annotations annotations" in said.err
    main(["annotations", "list", "--annotations", "annotations", "--json", *where])
    assert json.loads(capsys.readouterr().out)[0]["original"].startswith("own.gmt sha256:")
    main(["annotations", "show", "mine_alpha", "--annotations", "annotations", *where])
    shown_text = capsys.readouterr().out
    assert "missing      1 genes: NOSUCH1" in shown_text and "read         2 lines of own.gmt as sets" in shown_text
    main(["annotations", "check", "--annotations", "annotations", *where])
    assert "mine_alpha" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main(["annotations", "import", str(tmp_path / "none.gmt"), "--as", "sets", "--name", "x", *where])
    assert stopped.value.code == 5
    assert "there is no file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "format_", "says"),
    [
        ("own.gmt", "edges", "Name it with --columns regulator=COLUMN. It does read as --as sets."),
        ("edges.tsv", "sets", "Name it with --columns set=COLUMN. It does read as --as edges."),
        ("own.gmt", "set", "--as set is no format; did you mean sets? The formats are sets, partition"),
        ("own.gmt", "xyz", "--as xyz is no format; choose one of sets"),
        (".", "sets", "is a folder; give a file in it"),
    ],
)
def test_a_file_that_is_something_else_is_refused_with_what_it_is(
    file: str, format_: str, says: str, tmp_path: Path
) -> None:
    gmt(tmp_path)
    edges(tmp_path)
    with pytest.raises(UserError) as caught:
        import_file(tmp_path, Asked(tmp_path / file, format_, "mine"))
    assert says in str(caught.value) and not (tmp_path / "annotations").exists()
