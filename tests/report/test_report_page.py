"""The page as text: self-contained, inert, small, the same bytes again."""

import base64
import dataclasses
import hashlib
import json
import os
import re
import zlib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from hyposcreen.agent.report import ReportData, ReportError, render, render_report, write_report
from hyposcreen.agent.report.audits import AuditLine

Make = Callable[..., Any]
HOSTILE = '</script><img src=x onerror=alert(1)><!-- \u2028 &amp; {{ 7*7 }} "quoted" \''


class Page(HTMLParser):
    """Elements, attributes and scripts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in_script = tag == "script"
        if self._in_script:
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            attributes, text = self.scripts.pop()
            self.scripts.append((attributes, text + data))
        else:
            self.text += data


def with_prose(data: ReportData, text: str) -> ReportData:
    rows = [dataclasses.replace(row, claim=text, rationale=text, reason=text, annotation=text) for row in data.rows]
    rejected = tuple(dataclasses.replace(r, detail=text, reason=text) for r in data.rejections)
    return dataclasses.replace(data, rows=tuple(rows), rejections=rejected)


@pytest.mark.parametrize("complete", [True, False])
def test_nothing_is_loaded(data_of: Make, complete: bool) -> None:
    text = render_report(data_of(60, complete=complete))
    for tag, attributes in Page(text).elements:
        for name in ("src", "href", "action", "srcset", "poster", "data", "xlink:href", "formaction"):
            value = attributes.get(name)
            assert value is None or value.startswith("#") or value == "data:,", (tag, name, value)
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"@import|url\(|https?://|fetch\(|XMLHttpRequest|WebSocket|sendBeacon|import\(", text)


def test_only_our_scripts_may_run_and_nothing_may_be_requested(data_of: Make) -> None:
    page = Page(render_report(data_of(10)))
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    code = [text for attributes, text in page.scripts if attributes.get("id") != "data"]
    assert len(code) == 2
    for text in code:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_hostile_prose_is_inert(data_of: Make) -> None:
    data = with_prose(data_of(60), HOSTILE)
    text = render_report(data)
    page = Page(text)
    assert not [attributes for tag, attributes in page.elements if tag == "img"]
    assert "{{ 7*7 }}" in page.text
    assert len(page.scripts) == 3
    payload = next(text for attributes, text in page.scripts if attributes.get("id") == "data")
    assert re.fullmatch(r"[A-Za-z0-9+/=]+", payload)
    loaded = json.loads(zlib.decompress(base64.b64decode(payload), -15))
    assert HOSTILE in json.dumps(loaded, ensure_ascii=False).replace('\\"', '"')


def test_a_lone_surrogate_does_not_stop_the_report(data_of: Make, tmp_path: Path) -> None:
    write_report(with_prose(data_of(5), "half \ud800 of a pair"), tmp_path / "report.html")
    assert "half ? of a pair" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_page_is_small(data_of: Make, record_property: Callable[[str, object], None]) -> None:
    sizes = {n: len(render_report(data_of(n)).encode()) for n in (0, 189)}
    record_property("bytes", sizes)
    assert sizes[189] <= 150_000
    assert sizes[0] <= 60_000


def test_the_same_data_give_the_same_bytes(data_of: Make) -> None:
    assert render_report(data_of(50)) == render_report(data_of(50))
    other = dataclasses.replace(data_of(50), generated="2027-01-01 00:00 UTC")
    assert render_report(other).replace("2027-01-01 00:00", "2026-03-01 12:00") == render_report(data_of(50))


def test_what_a_reader_needs_is_in_the_text(data_of: Make) -> None:
    data = data_of()
    text = Page(render_report(data)).text
    assert "P(any false confirmation in this run) ≤ 0.05, although the proposer chose the tests" in text
    assert f"screen ledger verify --head {data.head.hash}" in text
    assert data.head.content_hash in text
    assert "12 proposals that never became hypotheses" in text
    assert "controls nothing" in text


def test_the_audit_panel_is_there_when_there_is_an_audit(data_of: Make) -> None:
    data = data_of(5)
    assert "No audit of this project yet" in Page(render_report(data)).text
    good = AuditLine("null", "greedy", 63, 0.05, "c" * 64, 200, 37_800, 4, 0.00548, 0.0504)
    bad = AuditLine("confounded", "offline", None, 0.05, "d" * 64, 20, 600, 9, 0.231, 0.685)
    page = Page(render_report(dataclasses.replace(data, audit=(good, bad))))
    assert "Audit: the same loop where nothing is true" in page.text
    assert "0.0055 to 0.05" in page.text
    assert "37,800" in page.text
    assert page.text.count("another cache") == 1
    loud = [
        attributes for tag, attributes in page.elements if tag == "td" and "loud" in (attributes.get("class") or "")
    ]
    assert len(loud) == 1, "an interval that lies above alpha is shown as what it is"


def test_an_invalidated_claim_is_said_above_everything_and_no_longer_claimed(data_of: Make) -> None:
    data = data_of()
    at = next(i for i, row in enumerate(data.rows) if row.verdict == "confirmed" and row.role == "claim")
    said = {
        "id": data.rows[at].id,
        "author": "Ada",
        "act": "invalidate",
        "text": "a <b>wrong</b> list",
        "at": "2026-03-02T10:00:00+00:00",
    }
    struck = dataclasses.replace(
        data.rows[at], verdict="stale", verdict_of_run="confirmed", reviews=(said,), invalidated="invalidated by Ada"
    )  # fmt: skip
    after = dataclasses.replace(data, rows=(*data.rows[:at], struck, *data.rows[at + 1 :]))
    claims = [sum(r.verdict == "confirmed" and r.role == "claim" for r in d.rows) for d in (data, after)]
    text = Page(render_report(after)).text
    assert claims[1] == claims[0] - 1
    assert f"{claims[1]} claims are confirmed" in text
    assert f"1 of them had been confirmed: a person invalidated {struck.id}" in text
    assert text.index("no claim any more") < text.index("claims are confirmed")
    assert "Ada: invalidate" in text
    assert "a <b>wrong</b> list" in text
    assert "1 of 189 rows have a remark" in text


def test_scripts_are_squeezed_outside_strings_only() -> None:
    from hyposcreen.agent.report.render import squeezed

    assert squeezed('const a = "x = y ; z", b = `p { ${q} }`;') == 'const a="x = y ; z",b=`p { ${q} }`;'
    assert squeezed("text.replace(/ = ; /g, (c) => c) || a ? b : c") == "text.replace(/ = ; /g,(c)=>c)||a?b:c"
    assert squeezed("return x / 2;") == "return x / 2;"


def test_no_script_nests_templates() -> None:
    folder = Path(render.__file__).parent / "templates"
    for path in folder.glob("*.js"):
        for template in re.findall(r"`[^`]*`", path.read_text(encoding="utf-8")):
            assert template.count("${") == len(re.findall(r"\$\{[^`]*?\}", template)), (path.name, template)


def test_an_unfinished_run_says_so_before_anything_else(data_of: Make) -> None:
    text = Page(render_report(data_of(40, complete=False))).text
    said = text.index("Nothing is claimable yet: held-out genes are still sealed.")
    assert said < text.index("registered, none of them claimable")
    assert "P(any false confirmation" not in text


@pytest.mark.parametrize("n", [0, 1, 2])
def test_tiny_ledgers_have_a_page(data_of: Make, n: int) -> None:
    data = data_of(n)
    assert "</html>" in render_report(data)
    assert "This ledger holds no run." in render_report(dataclasses.replace(data, run=None, complete=False))


def test_rows_without_any_number_have_a_page(data_of: Make, row_of: Make, untested: Make) -> None:
    rows = tuple(row_of(i, **untested()) for i in range(1, 4))
    assert "Nothing has been tested yet." in render_report(dataclasses.replace(data_of(0, complete=False), rows=rows))


def test_a_report_replaces_the_old_one_whole(data_of: Make, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old", encoding="utf-8")
    write_report(data_of(3), path)
    assert path.read_text(encoding="utf-8") == render_report(data_of(3))
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_and_a_folder_as_file_are_named(data_of: Make, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"the folder .*nowhere does not exist; create it"):
        write_report(data_of(1), tmp_path / "nowhere" / "report.html")
    with pytest.raises(ReportError, match="is a folder; give the report a file name"):
        write_report(data_of(1), tmp_path)


def test_a_folder_that_refuses_is_named_and_nothing_is_left(
    data_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ReportError, match="Permission denied; choose a folder you may write to"):
        write_report(data_of(1), tmp_path / "report.html")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_report(data_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("old", encoding="utf-8")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ReportError, match="No space left"):
        write_report(data_of(1), path)
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]
