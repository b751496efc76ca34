"""Outside the boundary: run a foreign statistic on labellings and read nothing back but float64 values.

The values come from a block of memory whose size is sealed; no text of the worker is ever parsed. What it printed is kept, up
to a limit, for people to read.
"""

import fcntl
import json
import os
import select
import signal
import time
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from . import foreign
from .backends.base import Confining
from .job_memory import ALIGN, HEAD, READY, READY_AT, UNWRITTEN, VALUES_AT, aligned
from .nursery import End, Infant, Nursery

End_ = Literal[
    "ok", "incomplete", "exception", "syntax", "no_statistic", "wrong_type", "timeout", "cpu", "memory", "output",
    "policy_violation", "segv", "abort", "oom", "sandbox_error", "harness_error",
]  # fmt: skip
ENDS: tuple[str, ...] = get_args(End_)
RESOURCE_ENDS = frozenset({"timeout", "cpu", "memory", "output"})
OUR_FAULT = frozenset({"sandbox_error", "harness_error"})
"""Nothing is known about the code; a campaign stops with a sentence."""

_KEPT, _MOST_OUTPUT = 1 << 16, 8 << 20
_ADD_SEALS, _SEAL, _SHRINK, _GROW, _WRITE = 1033, 1, 2, 4, 8
_BY_STATUS: dict[int, End_] = {
    foreign.OK: "ok", foreign.MEMORY: "memory", foreign.EXCEPTION: "exception", foreign.SYNTAX: "syntax",
    foreign.NO_STATISTIC: "no_statistic", foreign.WRONG_TYPE: "wrong_type", foreign.REFUSED: "sandbox_error",
}  # fmt: skip
_BY_SIGNAL: dict[int, End_] = {
    signal.SIGSYS: "policy_violation", signal.SIGXCPU: "cpu", signal.SIGSEGV: "segv", signal.SIGBUS: "segv",
    signal.SIGFPE: "abort", signal.SIGILL: "abort", signal.SIGABRT: "abort", signal.SIGXFSZ: "output",
}  # fmt: skip


@dataclass(frozen=True)
class Bounds:
    """What one run of a foreign statistic may use."""

    wall_seconds: float = 60.0
    cpu_seconds: int = 60
    memory_bytes: int = 1 << 30

    def times(self, factor: int) -> "Bounds":
        """All of it, multiplied."""
        return Bounds(self.wall_seconds * factor, self.cpu_seconds * factor, self.memory_bytes * factor)


@dataclass(frozen=True, eq=False)
class Run:
    """How one run ended."""

    end: End_
    values: NDArray[np.float64]
    """float64 [calls]; what was not written is NaN, and then ``end`` is not ``ok``."""
    output: str
    """The first of what it printed. For people: it never reaches a prompt after it saw real data."""
    seconds: float
    peak_bytes: int


class StatisticSandbox:
    """Runs foreign statistics, each in a worker of its own behind ``backend``."""

    def __init__(self, backend: Confining, user: int | None = None) -> None:
        self.backend = backend
        self._nursery = Nursery("foreign", user, backend.name)

    @property
    def pid(self) -> int | None:
        """Process id of what the workers come from, if it runs."""
        return self._nursery.pid

    def run(
        self, code: str, embedding: NDArray[np.float32], labels: NDArray[np.int8], bounds: Bounds = Bounds()
    ) -> Run:
        """Values of ``code`` for every labelling: ``embedding`` float32 [n, d], ``labels`` int8 [calls, n].

        Raises ``OSError`` if no worker starts.
        """
        started = time.monotonic()
        job, result = _job_memory(code, embedding, labels), _result_memory(len(labels))
        output, log = os.pipe()
        request = {
            "role": "statistic", "backend": self.backend.name, "memory_bytes": bounds.memory_bytes,
            "cpu_seconds": bounds.cpu_seconds,
        }  # fmt: skip
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            infant = self._nursery.spawn(request, [nothing, log, job, result])
            os.close(log)
            log = -1
            reason, said = _police(infant, output, time.monotonic() + bounds.wall_seconds)
            end = infant.kill()
            values, ready = _read(result, len(labels))
        finally:
            for file in (job, result, output, nothing, log):
                if file >= 0:
                    os.close(file)
        kind = reason if reason is not None else _kind(end, ready, values, bounds)
        peak = 0 if end is None else end.peak_bytes
        return Run(kind, values, said, time.monotonic() - started, peak)

    def close(self) -> None:
        """End what the workers come from."""
        self._nursery.close()


def _kind(end: End | None, ready: bool, values: NDArray[np.float64], bounds: Bounds) -> End_:
    if end is None:
        return "harness_error"
    if not ready:
        return "sandbox_error" if end.status and not end.signal else "harness_error"
    if end.signal == signal.SIGKILL:
        return "cpu" if end.cpu_seconds >= bounds.cpu_seconds else "oom"
    if end.signal:
        return _BY_SIGNAL.get(end.signal, "abort")
    kind = _BY_STATUS.get(os.waitstatus_to_exitcode(end.status), "exception")
    return "incomplete" if kind == "ok" and _unwritten(values).any() else kind


def _unwritten(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = values.view(np.uint64) == np.frombuffer(UNWRITTEN, np.uint64)[0]
    return found


def _police(infant: Infant, output: int, deadline: float) -> tuple[End_ | None, str]:
    """Wait for the worker, keep the first of what it prints, end it when it prints without end or overruns."""
    os.set_blocking(output, False)
    kept, length, listening = bytearray(), 0, [output, infant.fileno()]
    while True:
        ready, _, _ = select.select(listening, [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return "timeout", kept.decode(errors="replace")
        if output in ready:
            part = os.read(output, 1 << 16)
            if not part:
                listening.remove(output)
            length += len(part)
            kept += part[: _KEPT - len(kept)]
            if length > _MOST_OUTPUT:
                return "output", kept.decode(errors="replace")
        elif infant.fileno() in ready:
            return None, kept.decode(errors="replace")


def _job_memory(code: str, embedding: NDArray[np.float32], labels: NDArray[np.int8]) -> int:
    """A sealed block with code, matrix and labels, opened to read only."""
    text = code.encode()
    rows, columns = embedding.shape
    sizes = {"code": len(text), "embedding": rows * columns * 4, "labels": labels.size}
    places = {"rows": rows, "columns": columns, "calls": len(labels), "code_bytes": len(text)}
    at = aligned(HEAD.size + 16 * ALIGN)
    for name, size in sizes.items():
        places[f"{name}_at"] = at
        at = aligned(at + size)
    head = json.dumps(places).encode()
    block = os.memfd_create("job", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(block, at)
    os.pwrite(block, HEAD.pack(len(head)) + head, 0)
    _write(block, text, places["code_at"])
    _write(block, np.ascontiguousarray(embedding, "<f4").tobytes(), places["embedding_at"])
    _write(block, np.ascontiguousarray(labels, np.int8).tobytes(), places["labels_at"])
    fcntl.fcntl(block, _ADD_SEALS, _SEAL | _SHRINK | _GROW | _WRITE)
    return block


def _result_memory(calls: int) -> int:
    block = os.memfd_create("result", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(block, VALUES_AT + 8 * calls)
    _write(block, UNWRITTEN * calls, VALUES_AT)
    fcntl.fcntl(block, _ADD_SEALS, _SEAL | _SHRINK | _GROW)
    return block


def _write(block: int, data: bytes, at: int) -> None:
    rest = memoryview(data)
    while rest:
        done = os.pwrite(block, rest[: 1 << 24], at)
        rest, at = rest[done:], at + done


def _read(result: int, calls: int) -> tuple[NDArray[np.float64], bool]:
    """Values, and whether the harness had confined itself."""
    held = os.pread(result, VALUES_AT + 8 * calls, 0)
    return np.frombuffer(held, "<f8", calls, VALUES_AT).copy(), held[READY_AT : READY_AT + len(READY)] == READY
