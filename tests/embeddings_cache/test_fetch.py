"""A checkpoint is fetched whole and as released, or a sentence says why not; against a server on this machine."""

import hashlib
import http.server
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hyposcreen.embeddings_cache import CacheError
from hyposcreen.embeddings_cache.fetch import FETCHABLE, Fetchable, fetch, fetchable

CONTENT = {"args.json": b'{"a": 1}\n', "best_model.pt": random.Random(0).randbytes(3_000_000)}
RELEASE = Fetchable(
    repository="lab/model",
    revision="0123abc",
    files={name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in CONTENT.items()},
)


class Hub(http.server.ThreadingHTTPServer):
    """Serves the files at the revision, through a redirect as the real hub does, and misbehaves as told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: list[tuple[str, str | None]] = []
        self.content = dict(CONTENT)
        self.cut: list[int] = []  # how many bytes the next answers send before the line drops
        self.errors: list[int] = []
        self.ranges = True
        self.slow = 0.0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(http.server.BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.startswith("/lab/model/resolve/0123abc/"):
            self.send_response(302)
            self.send_header("Location", "/cdn/" + self.path.rpartition("/")[2])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        hub, asked = self.server, self.headers.get("Range")
        hub.asked.append((self.path, asked))
        data = hub.content.get(self.path.removeprefix("/cdn/"))
        status = hub.errors.pop(0) if hub.errors else 404 if data is None else 200
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and hub.ranges else 0
        if status != 200 or data is None:
            self.send_error(status)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        sent = data[start:]
        if hub.cut:
            sent = sent[: hub.cut.pop(0)]
            self.close_connection = True
        for at in range(0, len(sent), 50_000):
            self.wfile.write(sent[at : at + 50_000])
            time.sleep(hub.slow)


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def whole(folder: Path) -> None:
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT


def test_every_file_is_fetched_once_and_verified(hub: Hub, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    folder = fetch(RELEASE, tmp_path / "model", endpoint=hub.address + "/", progress=lambda *a: seen.append(a))
    whole(folder)
    assert seen[-1] == ("best_model.pt", 3_000_000, 3_000_000)
    asked = len(hub.asked)
    fetch(RELEASE, folder, endpoint=hub.address)
    assert len(hub.asked) == asked == 2


def test_a_line_that_drops_is_taken_up_again(hub: Hub, tmp_path: Path) -> None:
    hub.cut = [9, 1_000_000, 1]
    fetch(RELEASE, tmp_path, endpoint=hub.address, pause=0)
    whole(tmp_path)
    assert [asked for path, asked in hub.asked if "best" in path] == [None, "bytes=1000000-", "bytes=1000001-"]


def test_a_server_without_ranges_sends_all_again(hub: Hub, tmp_path: Path) -> None:
    hub.cut, hub.ranges = [9, 1_000_000], False
    fetch(RELEASE, tmp_path, endpoint=hub.address, pause=0)
    whole(tmp_path)


def test_a_server_in_trouble_is_asked_again_and_a_refusal_is_not(hub: Hub, tmp_path: Path) -> None:
    hub.errors = [503, 500]
    fetch(RELEASE, tmp_path / "a", endpoint=hub.address, pause=0)
    whole(tmp_path / "a")
    hub.asked.clear()
    hub.errors = [403]
    with pytest.raises(CacheError, match=r"args\.json cannot be fetched \(the server says 403 Forbidden\)"):
        fetch(RELEASE, tmp_path / "b", endpoint=hub.address, pause=0)
    assert len(hub.asked) == 1


def test_a_fetch_that_was_killed_goes_on_where_it_was(hub: Hub, tmp_path: Path) -> None:
    hub.slow = 0.05
    script = (
        "import sys; from hyposcreen.embeddings_cache.fetch import *\n"
        f"fetch(Fetchable('lab/model', '0123abc', {dict(RELEASE.files)!r}), sys.argv[1])"
    )
    environment = {**os.environ, "HF_ENDPOINT": hub.address}
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], env=environment)
    part = tmp_path / "best_model.pt.part"
    for _ in range(1500):
        if part.exists() and part.stat().st_size > 300_000:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = part.stat().st_size
    assert 300_000 < there < 3_000_000
    hub.slow = 0.0
    hub.asked.clear()
    fetch(RELEASE, tmp_path, endpoint=hub.address)
    whole(tmp_path)
    assert hub.asked == [("/cdn/best_model.pt", f"bytes={there}-")]


def test_other_bytes_are_never_kept(hub: Hub, tmp_path: Path) -> None:
    hub.content["best_model.pt"] = CONTENT["best_model.pt"][:-1] + b"x"
    with pytest.raises(CacheError, match=r"best_model\.pt with sha256 .* it was changed on the way"):
        fetch(RELEASE, tmp_path, endpoint=hub.address)
    assert [path.name for path in tmp_path.iterdir()] == ["args.json"]
    hub.content["best_model.pt"] = CONTENT["best_model.pt"] + b"more"
    with pytest.raises(CacheError, match="changed on the way"):
        fetch(RELEASE, tmp_path, endpoint=hub.address)


def test_a_file_of_ones_own_is_left_alone(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "args.json").write_text("mine")
    with pytest.raises(CacheError, match=r"args\.json is there and is not the released file: move it away"):
        fetch(RELEASE, tmp_path, endpoint=hub.address)
    assert (tmp_path / "args.json").read_text() == "mine" and hub.asked == []


def test_a_part_that_is_too_long_is_begun_again(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "args.json.part").write_bytes(b"x" * 100)
    fetch(RELEASE, tmp_path, endpoint=hub.address)
    whole(tmp_path)


def test_no_server_is_one_sentence_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(
        CacheError, match=r"run the command again, which goes on after 0 of 9 bytes, or copy the file to"
    ):
        fetch(RELEASE, tmp_path, endpoint="http://127.0.0.1:9", pause=0)
    with pytest.raises(CacheError, match=r"the address 'hub\.example' does not begin with http"):
        fetch(RELEASE, tmp_path, endpoint="hub.example", pause=0)


def test_a_full_disk_is_one_sentence(hub: Hub, tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk; it needs a process of its own."""
    script = (
        "import resource, sys; from hyposcreen.embeddings_cache.fetch import *\n"
        "from hyposcreen.embeddings_cache import CacheError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        f"try: fetch(Fetchable('lab/model', '0123abc', {dict(RELEASE.files)!r}), sys.argv[1], endpoint=sys.argv[2])\n"
        "except CacheError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), hub.address], capture_output=True, text=True, check=True
    )
    assert "cannot be written" in done.stdout and "make room or choose another folder" in done.stdout
    fetch(RELEASE, tmp_path, endpoint=hub.address)
    whole(tmp_path)


def test_what_can_be_fetched_is_pinned() -> None:
    release = fetchable("scgpt-human")
    assert len(release.revision) == 40
    assert all(size > 0 and len(sha256) == 64 for size, sha256 in release.files.values())
    assert release.url("http://x/", "args.json") == f"http://x/wanglab/scGPT-human/resolve/{release.revision}/args.json"
    with pytest.raises(CacheError, match="no release 'scgpt' to fetch: choose one of scgpt-human"):
        fetchable("scgpt")
    assert list(FETCHABLE) == ["scgpt-human"]
