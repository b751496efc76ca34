"""``screen ledger import``: foreign hypotheses are typed, corrected, kept apart, and never guessed at."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hyposcreen.agent.foreign import corrected, repaired_p, typed_p
from hyposcreen.agent.ledger.foreign import ForeignRow
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.ledger.verify import verify

Call = Callable[..., Any]
SHARED = Path(__file__).parents[3] / "shared" / "data" / "campaign_2602_22247_183_hypotheses.csv"
TABLE = """\ufeffHypothesis,P value,n,Call
markers cohere,0.0010,999,yes
"a, quoted claim",0,999,yes
a bound,<1e-16,,yes
nothing was printed,NA,999,no
a decimal comma,"0,03",999,no
out of range,1.5,999,no
"""
COLUMNS = "claim=Hypothesis,p=P value,draws=n,verdict=Call"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "theirs.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("printed", "kind", "value"),
    [
        ("0.05", "value", 0.05), ("1", "value", 1.0), (" 3.2E-5 ", "value", 3.2e-5), (".5", "value", 0.5),
        ("0", "zero", 0.0), ("0.000", "zero", 0.0), ("0e0", "zero", 0.0), ("1e-400", "zero", 0.0),
        ("<0.001", "below", 0.001), ("p < 1e-16", "below", 1e-16), ("≤ .01", "below", 0.01), ("<0", "unreadable", None),
        ("", "missing", None), ("NaN", "missing", None), ("–", "missing", None),
        ("0,03", "unreadable", None), ("1.5", "unreadable", None), ("-0.1", "unreadable", None), ("ns", "unreadable", None),
        (">0.05", "unreadable", None), ("inf", "unreadable", None), ("0.05*", "unreadable", None),
    ],
)  # fmt: skip
def test_a_printed_p_is_typed_and_nothing_is_guessed(printed: str, kind: str, value: float | None) -> None:
    assert typed_p(printed) == (kind, value)


def foreign(id_: str, p: float, kind: str = "value", draws: int | None = None) -> ForeignRow:
    return ForeignRow(id_, "s", "", "claim", str(p), kind, p, draws)


def test_corrections_are_those_of_the_textbook() -> None:
    """Benjamini & Hochberg 1995, Table 1 values; BY = BH · Σ1/i; Holm and Bonferroni by hand."""
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.324,
        0.4262,
        0.5719,
        0.6528,
        0.759,
        1.0,
    ]
    found = corrected("s", [foreign(f"X{i}", value) for i, value in enumerate(p)])
    assert found.repaired is None
    assert found.survivors()["printed"]["bh"] == 4
    assert found.survivors()["printed"]["bonferroni"] == 3
    harmonic = sum(1 / i for i in range(1, 16))
    assert found.printed["X3"]["bh"] == pytest.approx(0.0095 * 15 / 4)
    assert found.printed["X3"]["by"] == pytest.approx(0.0095 * 15 / 4 * harmonic)
    assert found.printed["X1"]["holm"] == pytest.approx(0.0004 * 14)
    assert found.printed["X1"]["bonferroni"] == pytest.approx(0.0004 * 15)


def test_a_zero_is_shown_as_printed_and_as_its_draws_allow() -> None:
    rows = [foreign("X1", 0.0, "zero", 99), foreign("X2", 0.0, "zero"), foreign("X3", 0.02)]
    assert [repaired_p(row) for row in rows] == [0.01, 1.0, 0.02]
    found = corrected("s", rows)
    assert found.printed["X1"]["bonferroni"] == 0.0
    assert found.repaired is not None
    assert found.repaired["X1"]["bonferroni"] == pytest.approx(0.03)
    assert found.without_draws == 1
    assert corrected("s", rows[1:]).repaired is None, "without any N there is nothing to repair with"


def test_a_table_enters_an_empty_folder_as_external_rows(call: Call, table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    said = call("ledger", "import", table, "--columns", COLUMNS, "-C", folder, "--json").json
    assert said["kinds"] == {"value": 1, "zero": 1, "below": 1, "missing": 1, "unreadable": 2}
    assert [row["p_printed"] for row in said["rows"]] == ["0.0010", "0", "<1e-16", "NA", "0,03", "1.5"]
    assert said["rows"][1]["repaired"]["p"] == 1 / 1000
    assert said["rows"][1]["claim"] == "a, quoted claim"
    assert said["rows"][3]["printed"] is None
    assert said["tests"] == 3
    assert verify(folder / "runs.db").ok
    with Ledger.open(folder / "runs.db") as ledger:
        assert ledger.run() is None
        assert ledger.rows() == (), "external rows are no rows of a run"
        ledger.rebuild()
    assert verify(folder / "runs.db").ok
    listed = call("ledger", "external", "theirs", "-C", folder).out
    assert "X0003" in listed
    assert "<1e-16" in listed


def test_external_rows_never_mix_with_a_run(call: Call, copied: Path, table: Path) -> None:
    with Ledger.open_readonly(copied / "runs.db") as ledger:
        before, rows = ledger.head(), ledger.rows()
    assert call("ledger", "import", table, "--columns", COLUMNS, "-C", copied).code == 0
    with Ledger.open_readonly(copied / "runs.db") as ledger:
        assert ledger.rows() == rows
        assert ledger.head().content_hash == before.content_hash
    assert call("status", "-C", copied, "--json").json["rows"] == len(rows)
    report = copied / "report.html"
    assert call("report", "-C", copied, "-o", report).code == 0
    text = report.read_text(encoding="utf-8")
    assert "Campaigns from elsewhere" in text
    assert "not tested here" in text
    again = call("ledger", "import", table, "--columns", COLUMNS, "-C", copied)
    assert (again.code, "already holds a foreign campaign 'theirs'" in again.err) == (1, True)


def test_json_lines_keep_numbers_as_printed(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "theirs.jsonl"
    path.write_text('{"h": "one", "p": 0.0100}\n\n{"h": "two", "p": null}\n{"h": "three", "p": 0}\n', encoding="utf-8")
    said = call("ledger", "import", path, "--columns", "claim=h,p=p", "--draws", "49", "-C", tmp_path, "--json").json
    assert [(r["p_printed"], r["p_kind"]) for r in said["rows"]] == [
        ("0.0100", "value"),
        ("", "missing"),
        ("0", "zero"),
    ]
    assert said["rows"][2]["repaired"]["p"] == 0.02


@pytest.mark.parametrize(
    ("name", "content", "columns", "words"),
    [
        ("a.csv", TABLE, "claim=Hypothesis", "p must be mapped"),
        ("a.csv", TABLE, "claim=Hypothesis,p=", "names no column"),
        ("a.csv", TABLE, "claim=Hypothesis,p=P value,colour=Call", "'colour' is no field of ours"),
        ("a.csv", TABLE, "claim=Hypothesis,p=P", "has no column 'P'; it has Hypothesis, P value"),
        ("a.csv", TABLE, "claim=Hypothesis,p=Call", "holds a p-value (the first is 'yes')"),
        ("a.csv", TABLE, "claim=Hypothesis,p=P value,draws=Call", "'yes' is no number of draws"),
        ("a.csv", "h,p\na,1,2\n", "claim=h,p=p", "line 2: 3 cells under 2 columns"),
        ("a.csv", "h,p,p\na,1,2\n", "claim=h,p=p", "two columns 'p'"),
        ("a.csv", "h,p\n", "claim=h,p=p", "holds no row"),
        ("a.csv", b"h,p\n\xe9,1\n", "claim=h,p=p", "is not UTF-8"),
        ("a.jsonl", "[1]\n", "claim=h,p=p", "line 1 is no JSON object"),
        ("a.jsonl", "{\n", "claim=h,p=p", "line 1 is no JSON"),
        ("a.xlsx", "x", "claim=h,p=p", "does not end in one of"),
    ],
)
def test_a_file_that_is_not_what_was_said_leaves_nothing_behind(
    call: Call, tmp_path: Path, name: str, content: str | bytes, columns: str, words: str
) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    Ledger.create(tmp_path / "runs.db").close()
    ended = call("ledger", "import", tmp_path / name, "--columns", columns, "-C", tmp_path)
    assert ended.code in {2, 5}
    assert words in ended.err
    assert Ledger.open_readonly(tmp_path / "runs.db").head().seq == 0


def test_the_published_campaign_comes_in_whole(call: Call, tmp_path: Path) -> None:
    if not SHARED.is_file():
        pytest.skip("the published campaign's table is not beside this checkout")
    columns = "id=id,claim=name,p=p_reported,draws=n_perm,family=family,verdict=decision"
    said = call("ledger", "import", SHARED, "--columns", columns, "--name", "published", "-C", tmp_path, "--json").json
    assert len(said["rows"]) == 183
    assert said["kinds"] == {"value": 105, "zero": 31, "missing": 47}
    assert json.dumps(said).count('"p_kind": "zero"') == 31
