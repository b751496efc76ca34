"""``screen review``: remarks, invalidation by lineage, and the walk, over a real ledger."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hyposcreen.agent.ledger.records import (
    LookOpened,
    LookResult,
    Promoted,
    Registered,
    Reviewed,
    RunClosed,
    RunOpened,
    VerdictGiven,
)
from hyposcreen.agent.ledger.records import (
    Tested as Explored,
)
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.ledger.verify import verify
from hyposcreen.cli import main

Screen = Callable[..., str]
PARENTS = {"H0001": None, "H0002": "H0001", "H0003": "H0002", "H0004": None}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A closed run: H0002 refines H0001, H0003 refines H0002; H0003 and H0004 are confirmed."""
    plan = RunOpened(
        seed=0, iterations=1, per_iteration=4, proposer="offline", alpha=0.05, alpha_u=0.025, alpha_h=0.025,
        permutations_explore=99, permutations_look=999, max_promoted=4, promote_p=0.05,
        cache={"name": "demo", "digest": "c" * 64}, annotations=(), split={}, universe={}, version="0.1.0",
    )  # fmt: skip
    Ledger.create(tmp_path / "runs.db").close()
    with Ledger.open(tmp_path / "runs.db") as ledger:
        ledger.append(plan)
        for slot, (id_, parent) in enumerate(PARENTS.items()):
            ledger.append(
                Registered(
                    id_, 1, slot, f"claim {id_}", "geometry", "cohesion", "t_cells", "claim", {"nulls": []}, id_, id_, 0.5,
                    "greater", "because", "cover", parent,
                ),
                Explored(id_, "ok", m=99, k=0, p_scan=0.01, p_raw=0.01, null="gene_label"),
            )  # fmt: skip
        ledger.append(Promoted(tuple(PARENTS), "all"), LookOpened(1, 0.025, 0.025))
        for id_ in PARENTS:
            ledger.append(LookResult(id_, 1, "H", "ok", m=999, p=0.001, p_adj=0.001))
        for id_ in PARENTS:
            ledger.append(VerdictGiven(id_, "confirmed" if id_ in {"H0003", "H0004"} else "not_confirmed", "H", "rule"))
        ledger.append(RunClosed({"confirmed": 2, "not_confirmed": 2}))
    return tmp_path


@pytest.fixture
def screen(folder: Path, capsys: pytest.CaptureFixture[str]) -> Screen:
    def run(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        try:
            main([*arguments, "--project", str(folder)])
            got = 0
        except SystemExit as done:
            got = int(done.code or 0)
        told = capsys.readouterr()
        assert got == code, told
        return told.out if code == 0 else told.err

    return run


def rows(folder: Path) -> dict[str, Any]:
    return {row.id: row for row in Ledger.open_readonly(folder / "runs.db").rows()}


def test_an_invalidation_reaches_descendants_reports_and_exports_at_once(folder: Path, screen: Screen) -> None:
    screen("report", "-o", str(folder / "report.html"))
    before = Ledger.open_readonly(folder / "runs.db").head()
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "2 claims are confirmed" in page
    said = screen("review", "H0002", "--invalidate", "markers of the wrong species", "--author", "Ada")
    assert "stale now: H0002, H0003, of which H0003 had been confirmed" in said
    assert "confirmed rows about the same annotation, which this leaves alone: H0004" in said
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "1 claim is confirmed among 4 hypotheses" in page
    assert "a person invalidated H0002" in page
    found = rows(folder)
    assert {i: r.verdict for i, r in found.items()} == {
        "H0001": "not_confirmed", "H0002": "stale", "H0003": "stale", "H0004": "confirmed",
    }  # fmt: skip
    assert found["H0003"].verdict_of_run == "confirmed"
    assert "it rests on H0002, which was invalidated by Ada" in found["H0003"].invalidated
    screen("ledger", "export", "-o", str(folder / "rows.csv"))
    assert "markers of the wrong species" in (folder / "rows.csv").read_text(encoding="utf-8")
    after = Ledger.open_readonly(folder / "runs.db").head()
    assert after.content_hash == before.content_hash, "what people say is context"
    assert after.hash != before.hash
    assert verify(folder / "runs.db", f"{before.seq}:{before.hash}").ok
    said = screen("review", "H0002", "--reinstate", "it was the right species", "--author", "Ada")
    assert "as the run left them again: H0002, H0003" in said
    assert rows(folder)["H0003"].verdict == "confirmed"


def test_remarks_keep_author_and_time_and_change_no_verdict(folder: Path, screen: Screen) -> None:
    effect = json.loads(screen("review", "H0004", "--doubt", "one donor", "--author", "Bo\x1b[31m", "--json"))
    assert effect["verdict"] == "confirmed"
    assert effect["stale"] == []
    (kept,) = rows(folder)["H0004"].reviews
    assert (kept["author"], kept["act"], kept["text"]) == ("Bo [31m", "doubt", "one donor")
    assert kept["at"].endswith("+00:00")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("H0009", "--note", "x"), 2, "there is no hypothesis H0009"),
        (("H0001",), 2, "say something of it"),
        (("--note", "x"), 2, "name a row such as H0042"),
        (("H0001", "--note", "x", "--agree", ""), 2, "one remark at a time"),
        (("H0001", "--invalidate", "  "), 2, "needs words"),
        (("--json",), 2, "the walk is a conversation"),
    ],
)
def test_what_cannot_be_recorded_is_said_in_a_sentence(
    folder: Path, screen: Screen, arguments: tuple[str, ...], code: int, words: str
) -> None:
    assert words in screen("review", *arguments, "--author", "Ada", code=code)
    assert Ledger.open_readonly(folder / "runs.db").records(Reviewed) == ()


def walk_in_a_terminal(folder: Path, typed: str, interrupt: bool = False) -> str:
    """The command on a pseudo-terminal, as a person would use it; with ``interrupt``, Ctrl-C at the second row."""
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "hyposcreen", "review", "--author", "Ada", "-C", str(folder)]
    with subprocess.Popen(command, stdin=child, stdout=child, stderr=child) as process:
        os.close(child)
        os.write(parent, typed.encode())
        told = b""
        while True:
            if interrupt and b"[2/4]" in told and told.endswith(b"> "):
                # Again and again: Python misses a Ctrl-C that comes after the prompt and before it waits for a line.
                while not select.select([parent], [], [], 0.5)[0]:
                    process.send_signal(signal.SIGINT)
                interrupt = False
            try:
                piece = os.read(parent, 4096)
            except OSError:  # the terminal closes with its last process
                break
            if not piece:
                break
            told += piece
        assert process.wait(30) == (130 if b"is safe" in told else 0), told.decode()
    os.close(parent)
    return told.decode().replace("\r\n", "\n")


def test_the_walk_starts_with_what_is_claimed_and_quits_cleanly(folder: Path) -> None:
    told = walk_in_a_terminal(folder, "a looks right\nx\ni\nlabels leak\ns\nq\n")
    assert told.index("H0003  confirmed") < told.index("H0004  confirmed") < told.index("H0001  not_confirmed")
    assert "'x' is none of a, d, n, i, s, q" in told
    assert "2 remarks recorded, 2 rows left" in told
    acts = {i: [r["act"] for r in row.reviews] for i, row in rows(folder).items()}
    assert acts == {"H0001": [], "H0002": [], "H0003": ["agree"], "H0004": ["invalidate"]}
    assert rows(folder)["H0004"].reviews[0]["text"] == "labels leak"


def test_ctrl_c_in_the_walk_keeps_what_was_said(folder: Path) -> None:
    told = walk_in_a_terminal(folder, "a\n", interrupt=True)
    assert "what was recorded is safe" in told
    assert [r["act"] for r in rows(folder)["H0003"].reviews] == ["agree"]
    assert verify(folder / "runs.db").ok


def test_the_walk_ends_with_its_input(
    folder: Path, screen: Screen, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "typed"
    script.write_text("a\nn later\ni\n", encoding="utf-8")
    with script.open(encoding="utf-8") as typed:
        monkeypatch.setattr("sys.stdin", typed)
        said = screen("review", "--author", "Ada")
    assert "2 remarks recorded, 2 rows left" in said, "an invalidation without words is not recorded"
