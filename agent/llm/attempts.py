"""One attempt at one answer from an OpenAI-compatible server: send, read within bounds, and name how it ended.

The ``openai`` package sends; its own retries are off. The body is read here, up to a size and a time, because a server may
answer anything. What comes back is a value: no exception of the package, and no key, leaves this file.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from ..errors import Exit, UserError
from ..untrusted import prose

Kind = Literal[
    "ok", "refused", "truncated", "filtered", "empty", "invalid_json", "invalid_schema", "oversized", "transport_error",
    "timeout", "rate_limited", "server_error", "unsupported", "denied",
]  # fmt: skip
"""``invalid_json`` and ``invalid_schema`` are found when the text is read; ``unsupported`` is a form of request the server does
not take; ``denied`` (key, model or address) stops the run."""
RETRIED = frozenset({"empty", "transport_error", "timeout", "rate_limited", "server_error"})
DEFAULT_URL = "https://api.openai.com/v1"
KEY_NAME = "OPENAI_API_KEY"
MAX_BYTES = 4 << 20
CHARACTERS_A_TOKEN, SHORT_TEXT = 16, 1 << 15
"""An answer is read, and kept whole, up to so many characters for each token it may have; a short one always."""
MAX_EXCERPT = 2000
"""Characters that are kept of a longer one."""
_RATE, _SERVER = 429, 500
_AGAIN: dict[int, Kind] = {_RATE: "rate_limited", 408: "timeout", 409: "server_error"}
_FORM = frozenset({400, 415, 422, 501})
_KEY_LIKE = re.compile(r"\b(sk-[A-Za-z0-9_\-*]{6,}|Bearer\s+\S+)")


@dataclass(frozen=True)
class Reply:
    """How one attempt ended, and what was said."""

    kind: Kind
    detail: str = ""
    status: int | None = None
    text: str | None = None
    model: str | None = None
    fingerprint: str | None = None
    request_id: str | None = None
    finish_reason: str | None = None
    tokens_prompt: int | None = None
    tokens_completion: int | None = None
    tokens_cached: int | None = None
    tokens_reasoning: int | None = None
    retry_after: float | None = None
    """Seconds the server asks to wait."""
    seconds: float = 0.0


class Sender(Protocol):
    """Sends one request and says how it ended; never raises for what a server does."""

    @property
    def server(self) -> str:
        """Scheme, host and path of the server."""
        ...

    def send(self, request: Mapping[str, Any]) -> Reply:
        """One attempt."""
        ...


class OpenAISender:
    """A :class:`Sender` over the ``openai`` package. The key comes from the environment and stays in this object."""

    def __init__(self, base_url: str, seconds: float, environment: Mapping[str, str] = os.environ) -> None:
        """``seconds`` is the longest one attempt may take in all. Raises :class:`UserError` without a key or a package."""
        url = base_url or DEFAULT_URL
        self.server = server_name(url)
        self._key = environment.get(KEY_NAME, "")
        if not self._key and not base_url:
            raise UserError(
                f"{KEY_NAME} is not set, and {DEFAULT_URL} asks for a key; export it, or give --base-url of a server that "
                "needs none",
                Exit.USAGE,
            )
        try:
            from openai import OpenAI
        except ImportError:
            raise UserError("the package openai is not installed; pip install 'openai>=1.40'", Exit.USAGE) from None
        self._seconds = seconds
        try:
            self._client = OpenAI(api_key=self._key or "none", base_url=url, max_retries=0, timeout=seconds)
        except Exception as error:  # noqa: BLE001 - an address or a key that no header can hold
            raise UserError(f"no client for {self.server} ({self._clean(str(error))})", Exit.USAGE) from None

    def send(self, request: Mapping[str, Any]) -> Reply:
        """See :class:`Sender`."""
        started = time.monotonic()
        reply = self._send(request, started)
        text = None if reply.text is None else self._without_key(plain_text(reply.text))
        named: dict[str, Any] = {
            n: self._header(getattr(reply, n)) for n in ("model", "fingerprint", "request_id", "finish_reason")
        }
        spent = round(time.monotonic() - started, 4)
        return replace(reply, text=text, detail=self._clean(reply.detail), seconds=spent, **named)

    def _send(self, request: Mapping[str, Any], started: float) -> Reply:  # noqa: PLR0911 - one return an ending
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        try:
            # In extra_body, because older versions of the package do not know every parameter by name.
            rest = {k: v for k, v in request.items() if k not in {"model", "messages"}}
            with self._client.chat.completions.with_streaming_response.create(
                model=request["model"], messages=request["messages"], extra_body=rest
            ) as response:
                body = bytearray()
                for part in response.iter_bytes():  # as it comes: a size would wait until so much is there
                    body += part
                    if len(body) > MAX_BYTES:
                        return Reply("oversized", f"the answer is larger than {MAX_BYTES} bytes", response.status_code)
                    if time.monotonic() - started > self._seconds:
                        return Reply("timeout", f"the answer was not complete in {self._seconds:g} s")
                return parse_body(bytes(body), response.status_code, response.headers.get("x-request-id"))
        except APITimeoutError:
            return Reply("timeout", f"no answer within {self._seconds:g} s")
        except APIConnectionError as error:
            return Reply("transport_error", f"{error} ({type(error.__cause__).__name__}: {error.__cause__})")
        except APIStatusError as error:
            return refusal_of(error.status_code, _body_of(error), error.response.headers)
        except Exception as error:  # noqa: BLE001 - the HTTP library under the package raises its own kinds while a body is read
            return Reply("transport_error", f"{type(error).__name__}: {error}")

    def _clean(self, text: str) -> str:
        return prose(_KEY_LIKE.sub("[key]", self._without_key(text)), 500)

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text

    def _header(self, value: str | None) -> str | None:
        return None if value is None else self._clean(value)[:200]


def bounded(reply: Reply, answer_tokens: int) -> Reply:
    """``reply``, or what is kept of a text that no answer of ``answer_tokens`` tokens can be: the ledger must not swell."""
    most = max(SHORT_TEXT, CHARACTERS_A_TOKEN * answer_tokens)
    if reply.text is None or len(reply.text) <= most:
        return reply
    sha256 = hashlib.sha256(reply.text.encode()).hexdigest()
    detail = f"the answer has {len(reply.text)} characters, and {answer_tokens} tokens were asked for; its sha256 is {sha256}"
    return replace(reply, kind="oversized", detail=detail, text=reply.text[:MAX_EXCERPT])


def server_name(url: str) -> str:
    """``url`` without user, password and query. Raises :class:`UserError` for what is no address, or holds a password."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UserError(f"--base-url {prose(url, 80)} is no address such as http://127.0.0.1:8000/v1", Exit.USAGE)
    if "@" in parts.netloc or parts.query:
        raise UserError(
            f"--base-url may hold no user, password or query, because it is kept; put the key into {KEY_NAME}",
            Exit.USAGE,
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def parse_body(body: bytes, status: int, request_id: str | None) -> Reply:
    """A body of HTTP 200 → the reply. Whatever is missing or of another type counts as not said."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return Reply(
            "transport_error", "the body of the answer is no JSON, or was cut off", status, request_id=request_id
        )
    top = value if isinstance(value, dict) else {}
    choices = top.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    said = choice.get("message")
    message: dict[str, Any] = said if isinstance(said, dict) else {}
    finish = _text(choice.get("finish_reason"))
    text, refusal = _text(message.get("content")), _text(message.get("refusal"))
    usage = top.get("usage")
    reply = Reply(
        "ok", "", status, text, _text(top.get("model")), _text(top.get("system_fingerprint")),
        request_id or _text(top.get("id")), finish, _count(usage, "prompt_tokens"), _count(usage, "completion_tokens"),
        _count(usage, "prompt_tokens_details", "cached_tokens"),
        _count(usage, "completion_tokens_details", "reasoning_tokens"),
    )  # fmt: skip
    if refusal:
        return replace(reply, kind="refused", detail="the model refused to answer", text=text or refusal)
    if finish == "content_filter":
        return replace(reply, kind="filtered", detail="the server's content filter stopped the answer")
    if finish == "length":
        return replace(reply, kind="truncated", detail="the answer reached its largest length and was cut off")
    if not text or not text.strip():
        return replace(reply, kind="empty", detail="the answer holds no text")
    return reply


def refusal_of(status: int, body: str, headers: Mapping[str, str]) -> Reply:
    """A status other than 2xx → the reply."""
    detail = f"HTTP {status}: {body[:300]}"
    request_id = headers.get("x-request-id")
    wait = _seconds(headers.get("retry-after"))
    if status == _RATE and "insufficient_quota" in body:
        return Reply("denied", detail, status, request_id=request_id)
    if status in _AGAIN:
        return Reply(_AGAIN[status], detail, status, request_id=request_id, retry_after=wait)
    if status in _FORM and "model_not_found" not in body:
        return Reply("unsupported", detail, status, request_id=request_id)
    if status >= _SERVER:
        return Reply("server_error", detail, status, request_id=request_id, retry_after=wait)
    return Reply("denied", detail, status, request_id=request_id)


def plain_text(text: str) -> str:
    """``text`` as UTF-8 can hold it: an unpaired surrogate becomes its escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def _body_of(error: Any) -> str:
    try:
        return plain_text(str(error.response.text))
    except Exception:  # noqa: BLE001 - a body that was cut off
        return str(error)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(usage: object, *path: str) -> int | None:
    for name in path:
        usage = usage.get(name) if isinstance(usage, dict) else None
    ok = isinstance(usage, int) and not isinstance(usage, bool) and 0 <= usage < 2**53
    return usage if ok else None  # type: ignore[return-value]


def _seconds(text: str | None) -> float | None:
    """``retry-after`` in seconds; a date is not worth a clock, the backoff stands."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
