"""An OpenAI-compatible server on loopback that does what it is told: real HTTP, real faults, no model.

Loaded by path, because test modules cannot import each other here. ``answer`` of :class:`Scripted` is called with the number
of the request (from 0) and its JSON body, and returns an :class:`Act`.
"""

import json
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

USAGE = {
    "prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200,
    "prompt_tokens_details": {"cached_tokens": 400}, "completion_tokens_details": {"reasoning_tokens": 50},
}  # fmt: skip


@dataclass(frozen=True)
class Act:
    """What the server does with one request."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    """Bytes of the body that are sent before the connection breaks."""
    reset: bool = False
    """Break the connection without an answer."""
    drip: float = 0.0
    """Seconds between bytes."""


def completion(
    text: str | None, finish: str = "stop", usage: Any = USAGE, refusal: str | None = None, **more: Any
) -> Act:
    """A chat completion that says ``text``."""
    message = {"role": "assistant", "content": text, "refusal": refusal}
    value: dict[str, Any] = {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "scripted-1",
        "system_fingerprint": "fp_1", "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    }  # fmt: skip
    if usage is not None:
        value["usage"] = usage
    return Act(body=json.dumps(value | more).encode(), headers={"x-request-id": "req_1"})


def error(status: int, text: str, code: str | None = None, **headers: str) -> Act:
    """An error as OpenAI words it."""
    body = {"error": {"message": text, "type": "x", "code": code}}
    return Act(status, json.dumps(body).encode(), {k.replace("_", "-"): v for k, v in headers.items()})


class Scripted:
    """The server, running while the block runs. ``requests`` holds (path, headers, body) of everything it was asked."""

    def __init__(self, answer: Callable[[int, dict[str, Any]], Act]) -> None:
        self.answer = answer
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [body for _, _, body in self.requests]

    def __enter__(self) -> Self:
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with scripted._lock:
                    number = len(scripted.requests)
                    scripted.requests.append((self.path, dict(self.headers), body))
                self.act(scripted.answer(number, body))

            def act(self, act: Act) -> None:
                if act.reset:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                    self.close_connection = True
                    return
                self.send_response(act.status)
                for name, value in {"Content-Type": "application/json", **act.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(act.body)))
                self.end_headers()
                try:
                    if act.drip:
                        for byte in act.body:
                            self.wfile.write(bytes([byte]))
                            self.wfile.flush()
                            time.sleep(act.drip)
                    self.wfile.write(act.body if act.cut is None else act.body[: act.cut])
                    self.wfile.flush()
                except OSError:
                    pass  # the client had enough
                if act.cut is not None:
                    self.close_connection = True

            def finish(self) -> None:
                with suppress(OSError, ValueError):
                    super().finish()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def asked_for(body: dict[str, Any]) -> tuple[int, int]:
    """(iteration, count) that a request names, from the prompt's own words."""
    text = next(m["content"] for m in body["messages"] if m["role"] == "user")
    iteration, count = re.search(r"Iteration (\d+) of \d+\. Propose exactly (\d+)", text).groups()
    return int(iteration), int(count)


def sensible(body: dict[str, Any], start: int | None = None) -> str:
    """A good answer: combinations that the prompt lists as untested, a different place in the list each iteration.

    It keeps the rules of a batch as the prompt states them: a new family, and one safe, one risky and one cheap bet.
    """
    iteration, count = asked_for(body)
    text = next(m["content"] for m in body["messages"] if m["role"] == "user")
    section = text.partition("## Combinations nobody has tested\n")[2]
    fresh = [
        (test, json.loads(name))
        for name, tests in re.findall(r'^("[^"]*"): (.*)$', section, re.MULTILINE)
        for test in tests.split(", ")
        if test.isidentifier()
    ]
    marks = {test: said.split(", ") for test, said in re.findall(r"(\w+) \((\w+(?:, \w+)*)\)", text)}
    new = [
        (test, json.loads(name))
        for line in re.findall(r"^untested in \w+: (.*)$", text, re.MULTILINE)
        for test, name in re.findall(r'(\w+) of ("[^"]*")', line)
    ]
    place = (iteration * 7 if start is None else start) % max(1, len(fresh))
    fresh = fresh[place:] + fresh[:place]
    first = new[place % len(new) :][:1] if new else []
    second = [f for f in fresh if "cheap" in marks.get(f[0], ()) and f not in first][:1]
    chosen = [*first, *second, *(f for f in fresh if f not in (*first, *second))][:count]
    cheap = (second or [f for f in first if "cheap" in marks.get(f[0], ())] or [None])[0]
    others = [f for f in chosen if f != cheap]
    bets = dict.fromkeys(others, ("risky", 0.2)) | dict.fromkeys(others[:1], ("safe", 0.6)) | {cheap: ("cheap", 0.4)}
    return json.dumps({"hypotheses": [hypothesis(*f, bet=bets[f][0], prior=bets[f][1]) for f in chosen]})


def hypothesis(test: str, annotation: str, **changes: Any) -> dict[str, Any]:
    """One item of an answer."""
    return {
        "test": test, "annotation": annotation, "layers": "all", "coordinates": "all", "claim": f"{annotation}: {test}",
        "prior": 0.25, "direction": "either", "rationale": "untested so far", "move": "cover", "parent": None, "bet": "safe",
    } | changes  # fmt: skip


def faults(good: str) -> dict[str, Act]:
    """Name → one way to fail a call whose good answer would have been ``good``; every kind that does not end a run."""
    broken = json.dumps({"hypotheses": [hypothesis("cohesion", "../../etc/passwd")]})
    return {
        "refusal": completion(None, refusal="I cannot"),
        "truncated": completion(good[: len(good) // 2], "length"),
        "content filter": completion(None, "content_filter"),
        "no text": completion(""),
        "no choice": Act(body=b'{"choices": []}'),
        "choices of a wrong type": Act(body=b'{"choices": 7}'),
        "prose": completion("Gladly! T cells are nice."),
        "another schema": completion(broken),
        "no list": completion('{"hypotheses": 3}'),
        "reset": Act(reset=True),
        "cut in the middle": Act(body=completion(good).body, cut=60),
        "a page": Act(body=b"<html>hello</html>"),
        "busy": error(429, "slow down", retry_after="1"),
        "broken": error(500, "broken"),
        "unavailable": error(503, "unavailable"),
        "a dripping answer": Act(body=completion(good).body, drip=0.05),
        "a very long answer": completion("x" * 200_000),
        "a body without end": Act(body=b" " * ((4 << 20) + 1)),
    }


class Unreliable:
    """Answers sensibly, and fails ``share`` of the calls with a fault drawn from ``seed``; ``drawn`` counts them by name.

    It does not know JSON schemas, and says so (400) each time it is given one. ``usage`` is counted by the rule of four
    characters a token, over messages and schema, and is left out of one answer in eight.
    """

    def __init__(self, seed: int, share: float = 0.3) -> None:
        self._dice = random.Random(seed)
        self._share = share
        self.drawn: Counter[str] = Counter()

    def __call__(self, number: int, body: dict[str, Any]) -> Act:
        if body.get("response_format", {}).get("type") == "json_schema":
            self.drawn["400 to a schema"] += 1
            return error(400, "response_format json_schema is not supported")
        good = sensible(body)
        failing, counted = self._dice.random() < self._share, self._dice.random() < 7 / 8
        if failing:
            name, act = self._dice.choice(list(faults(good).items()))
            self.drawn[name] += 1
            return act
        asked = sum(len(m["content"]) for m in body["messages"])
        prompt, said = -(-asked // 4), -(-len(good) // 4)
        usage = {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said}
        self.drawn["answered"] += 1
        return completion(good, usage=usage if counted else None)
