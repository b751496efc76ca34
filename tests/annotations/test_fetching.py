"""Fetching over real HTTP on the loopback: resumed after a cut, never spliced, checked against what was seen first."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hyposcreen.cli import main
from hyposcreen.hypotheses.annotations import AnnotationError
from hyposcreen.hypotheses.importers.fetching import RECORD, Source, fetch, read_sources, source

BODY = b"TF\tTarget\tRegulation\n" + b"".join(b"A%d\tB%d\tActivation\n" % (i, i) for i in range(20000))


class Server(ThreadingHTTPServer):
    """Serves ``body``; the first ``cuts`` answers end early. ``asked`` keeps the Range of every request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.etag, self.cuts, self.status = BODY, '"one"', 0, 200
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v2/table.tsv"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        s = self.server
        s.asked.append(self.headers.get("Range"))
        if s.status != 200:
            self.send_error(s.status)
            return
        start = 0
        if self.headers.get("Range") and self.headers.get("If-Range") == s.etag:
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("ETag", s.etag)
        self.send_header("Content-Length", str(len(s.body) - start))
        self.end_headers()
        end = len(s.body)
        if s.cuts:
            s.cuts -= 1
            end = start + (len(s.body) - start) // 2
        self.wfile.write(s.body[start:end])
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def wanted(server: Server, **changes: Any) -> Source:
    return Source("own", server.url, "2", "CC0-1.0", "us 2026", "--as edges --name own", **changes)


def test_a_file_is_fetched_once_and_recorded(server: Server, tmp_path: Path) -> None:
    path, new = fetch(wanted(server), tmp_path)
    assert new and path.read_bytes() == BODY
    record = json.loads((tmp_path / RECORD).read_text())[server.url]
    assert record["sha256"] == hashlib.sha256(BODY).hexdigest() and record["bytes"] == len(BODY)
    assert record["licence"] == "CC0-1.0"
    assert fetch(wanted(server), tmp_path) == (path, False)
    assert len(server.asked) == 1
    assert {p.name for p in tmp_path.iterdir()} == {"table.tsv", RECORD}


def test_a_cut_fetch_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    server.cuts = 2
    path, _ = fetch(wanted(server), tmp_path, pause=0)
    assert path.read_bytes() == BODY
    half = len(BODY) // 2
    assert server.asked == [None, f"bytes={half}-", f"bytes={half + (len(BODY) - half) // 2}-"]


def test_a_fetch_that_gave_up_is_taken_up_by_the_next_one(server: Server, tmp_path: Path) -> None:
    server.cuts = 100
    with pytest.raises(AnnotationError, match="goes on after"):
        fetch(wanted(server), tmp_path, pause=0)
    part = (tmp_path / "table.tsv.part").stat().st_size
    server.cuts, server.asked = 0, []
    path, new = fetch(wanted(server), tmp_path, pause=0)
    assert new and path.read_bytes() == BODY and 0 < part < len(BODY)
    assert server.asked == [f"bytes={part}-"]


def test_a_part_of_another_version_is_not_continued(server: Server, tmp_path: Path) -> None:
    server.cuts = 100
    with pytest.raises(AnnotationError, match="goes on after"):
        fetch(wanted(server), tmp_path, pause=0)
    server.cuts, server.etag, server.body = 0, '"two"', BODY.replace(b"Activation", b"Repression")
    path, _ = fetch(wanted(server), tmp_path, pause=0)
    assert path.read_bytes() == server.body
    assert server.asked[-1] is not None


def test_other_bytes_than_published_or_first_seen_are_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="is recorded"):
        fetch(wanted(server, sha256="0" * 64), tmp_path / "a")
    assert not (tmp_path / "a" / "table.tsv").exists()
    path, _ = fetch(wanted(server), tmp_path / "b")
    path.unlink()
    server.body += b"C\tD\tActivation\n"
    with pytest.raises(AnnotationError, match="has changed at its address"):
        fetch(wanted(server), tmp_path / "b")
    path.write_text("mine")
    with pytest.raises(AnnotationError, match="move it away"):
        fetch(wanted(server), tmp_path / "b")


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (503, 4)])
def test_a_server_that_refuses_is_named(server: Server, tmp_path: Path, status: int, requests: int) -> None:
    server.status = status
    with pytest.raises(AnnotationError, match=str(status)):
        fetch(wanted(server), tmp_path, pause=0)
    assert len(server.asked) == requests


def test_the_shipped_registry_names_version_licence_and_how_to_import() -> None:
    sources = read_sources()
    assert {"trrust", "collectri", "panglaodb", "hpa", "gocc", "string", "string-info", "hgnc"} == set(sources)
    for found in sources.values():
        assert found.url.startswith("https://") and found.version and found.licence and found.citation and found.file
        assert not found.how or "--as " in found.how
    with pytest.raises(AnnotationError, match="choose one of trrust"):
        source("trust", sources)


def test_the_command_fetches_and_says_what_comes_next(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f'[own]\nurl = "{server.url}"\nversion = "2"\nlicence = "CC0-1.0"\ncitation = "us"\nimport = "--as edges --name own"\n'
    (tmp_path / "own.toml").write_text(text)
    arguments = ["annotations", "fetch", "own", "--registry", str(tmp_path / "own.toml"), "-C", str(tmp_path), "-q"]
    main(arguments)
    said = capsys.readouterr()
    assert "fetched: own, version 2, licence CC0-1.0" in said.out
    assert f"screen annotations import {tmp_path / 'sources' / 'table.tsv'} --as edges --name own" in said.err
    main(["annotations", "fetch", *arguments[3:-1]])
    listed = capsys.readouterr().out
    assert f"first fetch {hashlib.sha256(BODY).hexdigest()[:12]}" in listed and "none yet" not in listed


def test_what_can_be_fetched_is_listed_with_licence_and_what_it_is_held_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["annotations", "fetch", "--list", "-C", str(tmp_path)])
    said = capsys.readouterr().out
    for found in read_sources().values():
        (line,) = (x for x in said.splitlines() if x.startswith(f"{found.name} "))
        assert found.licence in line and found.url in line and "none yet" in line
    assert "never tried" in said and str(tmp_path / "sources" / RECORD) in said
    assert not (tmp_path / "sources").exists()
