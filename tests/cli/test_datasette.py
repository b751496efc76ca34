"""``datasette runs.db``: the record is an ordinary database to other people's programs, also while a campaign writes it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.ledger.verify import verify
from hyposcreen.agent.review import remark

pytest.importorskip("datasette", reason="datasette is not installed (pip install 'hyposcreen[test]')")


class Shown:
    """``datasette FILE`` on loopback, in a process of its own."""

    def __init__(self, path: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "datasette", str(path), "--host", "127.0.0.1", "--port", str(self.port)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, path: str) -> Any:
        """The JSON at ``path``, once the server answers."""
        end = time.monotonic() + 60
        while True:
            try:
                with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
                    return json.load(answer)
            except HTTPError:
                raise
            except URLError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.1)


@pytest.fixture(scope="module")
def folder(finished: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(finished.project.folder, tmp_path_factory.mktemp("datasette") / "p"))


@pytest.fixture(scope="module")
def shown(folder: Path) -> Iterator[Shown]:
    """One server for this file; the last test kills it."""
    started = Shown(folder / "runs.db")
    yield started
    if started.process.poll() is None:
        os.kill(started.process.pid, signal.SIGKILL)
    started.process.communicate()


def test_tables_rows_and_joins_are_there_and_nothing_can_be_written(shown: Shown, folder: Path) -> None:
    path = folder / "runs.db"
    before = path.read_bytes()
    counts = {table["name"]: table["count"] for table in shown.ask("/runs.json")["tables"]}
    rows = Ledger.open_readonly(path).rows()
    assert counts["hypothesis"] == len(rows)
    assert counts["entry"] == Ledger.open_readonly(path).head().seq
    one = shown.ask(f"/runs/result.json?_shape=array&id__exact={rows[0].id}")
    assert [(r["id"], r["k"], r["m"], r["p_scan"]) for r in one] == [(rows[0].id, rows[0].k, rows[0].m, rows[0].p_scan)]
    question = "select h.id, v.verdict from hypothesis h join verdict v using (id) order by h.id"
    joined = shown.ask(f"/runs.json?_shape=arrays&sql={quote(question)}")["rows"]
    assert joined == [[row.id, row.verdict] for row in rows]
    with pytest.raises(HTTPError):
        shown.ask(f"/runs.json?sql={quote('delete from entry')}")
    assert path.read_bytes() == before


def test_it_follows_a_ledger_that_grows_and_its_death_disturbs_nobody(shown: Shown, folder: Path) -> None:
    path = folder / "runs.db"
    seq = f"/runs.json?_shape=arrays&sql={quote('select max(seq) from entry')}"
    for number in range(3):
        with Ledger.open(path) as ledger:
            remark(ledger, "H0001", "note", f"remark {number}", "Ada")
            assert shown.ask(seq)["rows"] == [[ledger.head().seq]]
    os.kill(shown.process.pid, signal.SIGKILL)
    with Ledger.open(path) as ledger:
        remark(ledger, "H0001", "note", "after its death", "Ada")
    assert verify(path).ok
