"""``screen serve``: the page over real HTTP, read-only, and unable to disturb a campaign however it ends."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hyposcreen.agent.errors import UserError
from hyposcreen.agent.ledger.errors import LedgerError
from hyposcreen.agent.ledger.records import Reviewed
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.ledger.verify import verify
from hyposcreen.agent.report.serve import is_loopback, make_server
from hyposcreen.agent.review import remark

SCREEN = (sys.executable, "-m", "hyposcreen")


class Served:
    """``screen serve`` in a process of its own."""

    def __init__(self, folder: Path, *flags: str) -> None:
        command = [*SCREEN, "serve", "--port", "0", "--project", str(folder), *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        found = re.search(r":(\d+)/", self.line)
        assert found, self.process.stderr.read() if self.process.stderr else ""
        self.port = int(found[1])

    def ask(self, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), body

    def end(self, how: int = signal.SIGINT) -> str:
        self.process.send_signal(how)
        _, err = self.process.communicate(timeout=20)
        return err


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    running: list[Served] = []

    def start(folder: Path, *flags: str) -> Served:
        running.append(Served(folder, *flags))
        return running[-1]

    yield start
    for served in running:
        if served.process.poll() is None:
            served.end(signal.SIGKILL)


def test_the_page_is_served_and_follows_the_ledger(serve: Callable[..., Served], copied: Path) -> None:
    served = serve(copied)
    assert "http://127.0.0.1:" in served.line
    status, headers, page = served.ask()
    assert status == 200
    assert b"connect-src &#39;self&#39;;" in page
    assert served.ask(If_None_Match=headers["ETag"])[0] == 304
    before = json.loads(served.ask("/head.json")[2])
    with Ledger.open(copied / "runs.db") as ledger:
        ledger.append(Reviewed("H0001", "Ada", "note", "seen on the live page", "2026-03-02T10:00:00+00:00"))
        head = ledger.head()
    assert before["seq"] == head.seq - 1
    status, headers, page = served.ask(If_None_Match=headers["ETag"])
    assert (status, head.hash.encode() in page, b"seen on the live page" in page) == (200, True, True)
    assert served.ask(method="HEAD")[2] == b""
    assert "stopped" in served.end()
    assert served.process.returncode == 0


def test_nothing_but_reading_and_nobody_but_this_machine(serve: Callable[..., Served], copied: Path) -> None:
    before = (copied / "runs.db").read_bytes()
    served = serve(copied)
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert served.ask(method=method)[0] == 501
    assert served.ask("/../runs.db")[0] == 404
    assert served.ask("/runs.db")[0] == 404
    assert served.ask(Host="elsewhere.example")[0] == 403, "a page elsewhere must not read through a name of its own"
    assert served.ask(Host=f"localhost:{served.port}")[0] == 200
    assert served.end() == "stopped\n", "no warning on loopback"
    assert (copied / "runs.db").read_bytes() == before


def test_another_address_is_served_with_a_warning(serve: Callable[..., Served], copied: Path) -> None:
    served = serve(copied, "--host", "0.0.0.0")
    assert served.ask()[0] == 200
    warning = served.end()
    assert "0.0.0.0 is no loopback address" in warning
    assert "no password" in warning


def test_a_folder_without_a_run_waits_for_one(serve: Callable[..., Served], tmp_path: Path) -> None:
    status, _, text = serve(tmp_path).ask()
    assert status == 503
    assert b"there is no ledger at" in text


def test_a_port_in_use_is_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="choose another with --port"):
            make_server(tmp_path, "127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "answer"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("a.b", False)]
)
def test_loopback_is_told_from_other_addresses(host: str, answer: bool) -> None:
    assert is_loopback(host) is answer


def test_kill_9_of_server_and_viewers_leaves_a_campaign_alone(
    serve: Callable[..., Served], fresh: Callable[..., Path], finished: Any, tmp_path: Path
) -> None:
    """Servers, viewers and readers of the file come and die at any moment while a campaign runs; it ends as it would alone.

    The reader dies in an open transaction, whose lock no writer can pass while it lives.
    """
    folder = fresh("watched")
    campaign = subprocess.Popen(
        [*SCREEN, "run", "--quiet", "--workers", "1", "--project", str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deaths = said = 0
    while campaign.poll() is None and deaths < 5:
        served = serve(folder)
        viewer = subprocess.Popen([sys.executable, "-c", _VIEWER, str(served.port)])
        half = socket.create_connection(("127.0.0.1", served.port))
        half.sendall(b"GET / HTTP/1.1\r\nHost: local")  # a viewer that dies in the middle of a request
        reader = subprocess.Popen([sys.executable, "-c", _READER, str(folder / "runs.db")], stdout=subprocess.PIPE)
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"reading\n"
        time.sleep(0.3)
        os.kill(reader.pid, signal.SIGKILL)
        reader.communicate()
        said += comment(folder)
        os.kill(viewer.pid, signal.SIGKILL)
        viewer.wait()
        half.close()
        served.end(signal.SIGKILL)
        deaths += 1
    out, err = campaign.communicate(timeout=240)
    assert campaign.returncode == 0, err
    assert deaths > 1
    assert said > 0
    assert verify(folder / "runs.db").ok
    alone = finished.ledger.head().content_hash
    assert Ledger.open_readonly(folder / "runs.db").head().content_hash == alone
    assert alone in out


def comment(folder: Path) -> bool:
    """A person's remark on the first row, while the campaign goes on; whether there was a row yet."""
    try:
        with Ledger.open(folder / "runs.db") as ledger:
            remark(ledger, "H0001", "note", "while it runs", "Ada")
    except LedgerError:
        return False
    return True


_VIEWER = """
import sys, urllib.request
while True:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/").read()
    except OSError:
        pass
"""

_READER = """
import pathlib, sqlite3, sys, time
address = pathlib.Path(sys.argv[1]).absolute().as_uri() + "?mode=ro"
while True:
    try:
        connection = sqlite3.connect(address, uri=True, isolation_level=None)
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM entry").fetchall()
        break
    except sqlite3.Error:
        time.sleep(0.02)  # there is no ledger yet
print("reading", flush=True)
time.sleep(600)
"""
