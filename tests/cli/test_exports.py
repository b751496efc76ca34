"""``screen ledger export`` in every format, over a small finished run of the demo."""

import csv
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hyposcreen
from hyposcreen.agent.exports import FORMATS
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.ledger.verify import verify
from hyposcreen.cli import main


@pytest.fixture
def folder(finished: Any) -> Path:
    """A real run, made once for all tests of this folder; read only."""
    return Path(finished.project.folder)


@pytest.fixture
def ledger(folder: Path) -> Ledger:
    return Ledger.open_readonly(folder / "runs.db")


@pytest.fixture
def screen(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        try:
            main(["ledger", "export", *arguments, "--project", str(folder)])
            got = 0
        except SystemExit as done:
            got = int(done.code or 0)
        told = capsys.readouterr()
        assert got == code, told
        return told.err if code else told.out

    return run


def test_a_notebook_opens_a_ledger_in_one_line(folder: Path, ledger: Ledger) -> None:
    frame = hyposcreen.open_ledger(folder / "runs.db").to_pandas()
    assert list(frame["id"]) == [row.id for row in ledger.rows()]
    assert frame.attrs["head"]["hash"] == ledger.head().hash
    assert str(frame["p_scan"].dtype) == "float64"


def test_text_goes_to_a_pipe(screen: Callable[..., str], ledger: Ledger) -> None:
    lines = [json.loads(line) for line in screen("--format", "jsonl").splitlines()]
    assert [line["id"] for line in lines] == [row.id for row in ledger.rows()]
    assert {line["ledger_head"] for line in lines} == {ledger.head().hash}
    table = list(csv.DictReader(io.StringIO(screen("--format", "csv"))))
    assert [float(row["p_scan"]) for row in table] == [row.p_scan for row in ledger.rows()]


def test_parquet_keeps_types_and_the_head(screen: Callable[..., str], ledger: Ledger, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (pip install 'hyposcreen[parquet]')")
    screen("-o", str(tmp_path / "rows.parquet"))
    table = pq.read_table(tmp_path / "rows.parquet")
    assert json.loads(table.schema.metadata[b"hyposcreen_head"])["hash"] == ledger.head().hash
    frame = table.to_pandas()
    rows = ledger.rows()
    assert list(frame["k"]) == [row.k for row in rows]
    assert [json.loads(text) for text in frame["spec"]] == [json.loads(json.dumps(dict(row.spec))) for row in rows]
    assert table.schema.field("parent").type == "string", "a column of nothing has its type all the same"
    assert table.schema.field("q_bh").type == "double"


def test_h5ad_is_aligned_by_gene_and_holds_rows_layers_and_sets(
    screen: Callable[..., str], ledger: Ledger, tmp_path: Path
) -> None:
    anndata = pytest.importorskip("anndata", reason="anndata is not installed (pip install 'hyposcreen[scgpt]')")
    screen("-o", str(tmp_path / "run.h5ad"))
    data = anndata.read_h5ad(tmp_path / "run.h5ad")
    run = ledger.run()
    assert run is not None
    assert data.shape == (0, run.cache["genes"])
    assert [f"X_hyposcreen_L{q}" in data.varm for q in range(run.cache["layers"])] == [True] * run.cache["layers"]
    sides = data.var["hyposcreen_side"].value_counts().to_dict()
    assert (sides["explore"], sides["sealed"]) == (run.split["explore"], run.split["sealed"])
    kept = data.uns["hyposcreen"]
    assert list(kept["rows"]["id"]) == [row.id for row in ledger.rows()]
    assert json.loads(kept["head"])["ledger_head"] == ledger.head().hash
    sizes = {a["name"]: a["size"] - a["missing"] for a in run.annotations if a["kind"] == "gene_set"}
    asked = {row.annotation for row in ledger.rows()} & set(sizes)
    assert set(data.varm["hyposcreen_sets"]) == asked
    for name in asked:
        usable = data.varm["hyposcreen_sets"][name] & data.var["hyposcreen_usable"]
        assert int(usable.sum()) == sizes[name]


def test_the_methods_paragraph_says_what_the_ledger_says(screen: Callable[..., str], ledger: Ledger) -> None:
    text = screen("--format", "methods")
    run, rows = ledger.run(), ledger.rows()
    assert run is not None
    assert f"hyposcreen {run.version}" in text
    assert (
        f"{run.split['explore']} genes for exploration and {run.split['sealed']} sealed ones (seed {run.seed})" in text
    )
    assert f"{len(rows)} were registered" in text
    assert f"{sum(r.verdict == 'confirmed' for r in rows)} rows were confirmed" in text
    assert ledger.head().hash in text
    cited = set(re.findall(r"@([a-z0-9]+)\]", text))
    assert cited <= set(re.findall(r"@[a-z]+\{([a-z0-9]+),", text)), "every citation has its entry"
    assert "unknown number" not in text


def test_bibtex_is_well_formed(screen: Callable[..., str]) -> None:
    text = screen("--format", "bibtex")
    assert text.count("{") == text.count("}")
    keys = re.findall(r"^@[a-z]+\{([a-z0-9]+),$", text, re.MULTILINE)
    assert len(keys) == len(set(keys))
    assert {"hyposcreen", "phipson2010", "westfall1993", "annotations1"} <= set(keys)
    assert not re.search(r"(?<!\\)[&%#_]", "".join(re.findall(r"title = (.*)", text)))


def test_the_crate_describes_every_file_and_its_ledger_verifies(
    screen: Callable[..., str], ledger: Ledger, tmp_path: Path
) -> None:
    screen("-o", str(tmp_path / "run.zip"))
    with zipfile.ZipFile(tmp_path / "run.zip") as crate:
        names = set(crate.namelist())
        crate.extractall(tmp_path / "crate")
    graph: dict[str, Any] = {
        one["@id"]: one for one in json.loads((tmp_path / "crate" / "ro-crate-metadata.json").read_text())["@graph"]
    }
    parts = {part["@id"] for part in graph["./"]["hasPart"]}
    assert parts == names - {"ro-crate-metadata.json"}
    mentioned = re.findall(r'"@id": "([^"]+)"', json.dumps(graph))
    unknown = {m for m in mentioned if not m.startswith("http")} - set(graph)
    assert unknown == set(), "every reference of the graph is an entity of it"
    assert graph["#run"]["actionStatus"].endswith("CompletedActionStatus")
    assert graph["#run"]["startTime"] <= graph["#run"]["endTime"]
    head = ledger.head()
    assert verify(tmp_path / "crate" / "runs.db", f"{head.seq}:{head.hash}").ok


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "say --format"),
        (("-o", "rows.xlsx"), "does not end in one of .csv, .json"),
        (("--format", "xlsx"), "--format xlsx is not known"),
        (("--format", "parquet"), "is no text: say where to write"),
    ],
)
def test_a_format_that_cannot_be_is_said(screen: Callable[..., str], arguments: tuple[str, ...], words: str) -> None:
    assert words in screen(*arguments, code=2)


def test_a_place_that_cannot_be_written_leaves_nothing(screen: Callable[..., str], tmp_path: Path) -> None:
    assert "choose another place" in screen("-o", str(tmp_path / "nowhere" / "rows.csv"), code=1)
    assert {made.ending for made in FORMATS.values()} >= {".csv", ".zip"}
    assert list(tmp_path.iterdir()) == []
