"""Frames between the loop and a worker, with a deadline for every byte: two little-endian uint64 lengths, JSON, payload."""

import json
import os
import select
import struct
import time
from collections.abc import Mapping
from typing import Any, BinaryIO

HEADER = struct.Struct("<QQ")
_MOST = 1 << 34
"""No frame is longer; a worker that says so is not believed."""


def write_frame(fd: int, value: Mapping[str, Any], deadline: float) -> None:
    """Send JSON. A worker that stopped reading must not hold up the loop: raises ``TimeoutError`` at ``deadline``."""
    body = json.dumps(value).encode()
    os.set_blocking(fd, False)
    rest = memoryview(HEADER.pack(len(body), 0) + body)
    while rest:
        _, ready, _ = select.select([], [fd], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        rest = rest[os.write(fd, rest[: 1 << 16]) :]


def read_frame(fd: int, deadline: float) -> tuple[dict[str, Any], bytes]:
    """JSON and payload of one frame. ``TimeoutError`` at ``deadline``; ``EOFError`` where the worker is gone."""
    length, payload = HEADER.unpack(_read(fd, HEADER.size, deadline))
    if length + payload > _MOST:
        raise EOFError
    body = json.loads(_read(fd, length, deadline))
    return body, _read(fd, payload, deadline)


def answer(stream: BinaryIO, value: Mapping[str, Any], payload: bytes = b"") -> None:
    """The worker's side: send one frame."""
    body = json.dumps(value).encode()
    stream.write(HEADER.pack(len(body), len(payload)))
    stream.write(body)
    stream.write(payload)
    stream.flush()


def _read(fd: int, size: int, deadline: float) -> bytes:
    parts: list[bytes] = []
    while size > 0:
        ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        part = os.read(fd, min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
