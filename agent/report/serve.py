"""The report over HTTP: live, read-only, on loopback. Standard library only.

A request opens the ledger for reading, takes one snapshot and lets go, so nothing a viewer does (slowness, kill −9, a
flood of requests) can hold up a campaign for longer than one read. There is nothing to write to: only GET and HEAD are known.
"""

import ipaddress
import json
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ..errors import Exit, UserError
from ..ledger.errors import LedgerError
from ..ledger.records import RunClosed
from ..places import open_ledger
from .audits import FOLDER, NAME
from .render import render_report
from .source import report_data

SECONDS = 20.0
"""A client that says nothing for so long is let go."""


class Live:
    """The page of one folder, rendered again only when the ledger or the audit has grown. Safe to use from many threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._page: tuple[str, bytes] = ("", b"")

    def page(self) -> tuple[str, bytes]:
        """A tag that changes with the page, and the page. Raises :class:`LedgerError` where there is no ledger yet."""
        with self._lock:  # one rendering at a time, however many ask
            ledger = open_ledger(self._folder)
            tag = f"{ledger.head().hash}-{self._audited()}"
            if tag != self._page[0]:
                data = report_data(ledger, self._folder)
                self._page = (f"{data.head.hash}-{self._audited()}", render_report(data, live=True).encode())
            return self._page

    def head(self) -> bytes:
        """Where the ledger ends, how many hypotheses it holds and whether the run is finished, as JSON."""
        ledger = open_ledger(self._folder)
        head, rows = ledger.snapshot(views=False)
        phase = "finished" if ledger.records(RunClosed) else "not finished"
        return json.dumps({"seq": head.seq, "hash": head.hash, "rows": len(rows), "phase": phase}).encode()

    def _audited(self) -> int:
        path = self._folder / FOLDER / NAME
        return path.stat().st_mtime_ns if path.is_file() else 0


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def make_server(folder: Path, host: str, port: int) -> ThreadingHTTPServer:
    """A server that is bound and not yet serving; ``port`` 0 takes a free one. :class:`UserError` if it cannot."""
    handler = _handler(Live(folder), only_local=is_loopback(host))
    try:
        server = (_Server6 if ":" in host else _Server)((host, port), handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"cannot listen on {host} port {port} ({reason}); choose another with --port, 0 for any free one",
            Exit.FAILURE,
        ) from None
    return server


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is nothing to report."""


class _Server6(_Server):
    address_family = socket.AF_INET6


def _handler(live: Live, only_local: bool) -> type[BaseHTTPRequestHandler]:
    pages: dict[str, Callable[[], tuple[str, str, bytes]]] = {
        "/": lambda: ("text/html; charset=utf-8", *live.page()),
        "/report.html": lambda: ("text/html; charset=utf-8", *live.page()),
        "/head.json": lambda: ("application/json", "", live.head()),
    }

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version, timeout = "hyposcreen", "", SECONDS

        def do_GET(self) -> None:
            """The page, or where the ledger ends."""
            # A page of another site could point a name of its own at this machine and read on: only local names are answered.
            if only_local and not is_loopback(_host_of(self.headers.get("Host", "localhost"))):
                return self._say(HTTPStatus.FORBIDDEN, "this server answers to localhost only")
            make = pages.get(self.path.partition("?")[0])
            if make is None:
                return self._say(HTTPStatus.NOT_FOUND, "there is the report at / and nothing else")
            try:
                kind, tag, body = make()
            except LedgerError as error:
                return self._say(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
            if tag and self.headers.get("If-None-Match") == f'"{tag}"':
                return self._send(HTTPStatus.NOT_MODIFIED, kind, tag, b"")
            return self._send(HTTPStatus.OK, kind, tag, body)

        do_HEAD = do_GET  # noqa: N815

        def _say(self, status: HTTPStatus, text: str) -> None:
            self._send(status, "text/plain; charset=utf-8", "", f"{text}\n".encode())

        def _send(self, status: HTTPStatus, kind: str, tag: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-cache" if tag else "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("X-Frame-Options", "DENY")
            self.send_header("Referrer-Policy", "no-referrer")
            if tag:
                self.send_header("ETag", f'"{tag}"')
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *_: object) -> None:
            """Requests are not logged: the terminal is the user's."""

    return Handler


def _host_of(header: str) -> str:
    """The host of a ``Host`` header, without its port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if ":" in header else header
