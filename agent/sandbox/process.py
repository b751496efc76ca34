"""Backend ``process``: a worker process with a wall-clock and a memory limit, and a constructed environment.

It contains crashes, endless loops and memory, not malice: the worker can read files and open sockets. Only code of this
package runs in it. A kernel boundary is another backend behind the same protocol.
"""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

import numpy as np

from .base import Job, Limits, Outcome, OutcomeKind
from .frames import read_frame, write_frame
from .one_worker import OneWorker
from .same_package import python_of

ARGUMENTS = ("-s", "-P", "-m", "hyposcreen.agent.sandbox.worker")
"""What a Python elsewhere (in a container) is to be told to be a worker, but for its last word: whose end is also its own."""
_TAIL = 2000
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_PASSED_ON = ("HYPOSCREEN_NO_NUMBA", "NUMBA_CACHE_DIR", "NUMBA_CPU_NAME", "LD_LIBRARY_PATH", "SYSTEMROOT")
"""The only variables of the parent a worker may see; none of them can hold a secret of a model provider."""


class ProcessSandbox(OneWorker):
    """One worker process; see :class:`~.one_worker.OneWorker`."""

    confines: str = (
        "none: separate process; wall-clock and memory limits; constructed environment; no kernel confinement"
    )

    def __init__(self, threads: int = 1) -> None:
        super().__init__()
        self._threads = threads
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the worker, if one is running."""
        return None if self._process is None else self._process.pid

    def _run(self, job: Job, limits: Limits) -> Outcome:
        started = time.monotonic()
        try:
            request = {"job": job.to_json(), "memory_bytes": limits.memory_bytes}
            reply, payload = self._ask(request, started + limits.wall_seconds)
        except TimeoutError:
            self.close()
            return ended("timeout", started, f"no answer within {limits.wall_seconds:g} s")
        except (EOFError, BrokenPipeError):
            return self._crashed(started)
        if reply["kind"] == "memory":
            self.close()  # what is left of its heap is not worth trusting
        return outcome_of(reply, payload, started)

    def _ask(self, request: Mapping[str, Any], deadline: float) -> tuple[dict[str, Any], bytes]:
        """One frame to the worker and one back, starting it where there is none. ``TimeoutError``, ``EOFError``, or
        ``BrokenPipeError`` where it is gone."""
        process = self._start()
        assert process.stdin is not None and process.stdout is not None
        write_frame(process.stdin.fileno(), request, deadline)
        return read_frame(process.stdout.fileno(), deadline)

    def _command(self) -> Sequence[str]:
        """What starts the worker."""
        return [*python_of("agent.sandbox.worker"), str(os.getpid())]

    def _environment(self) -> dict[str, str]:
        """All variables of what it starts."""
        return worker_environment(self._threads)

    def _kill(self) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):  # macOS says so of a group that has just ended
                os.killpg(process.pid, signal.SIGKILL)

    def _release(self) -> None:
        if self._process is not None:
            self._kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout, self._log):
                if stream is not None:
                    with suppress(BrokenPipeError):
                        stream.close()
        self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=self._environment(),
                start_new_session=True,  # Ctrl-C is for the loop, which ends its workers itself
            )
        return self._process

    def _crashed(self, started: float) -> Outcome:
        assert self._process is not None
        code = self._process.wait()
        tail = "" if self._log is None else tail_of(self._log)
        self.close()
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        return crashed(how, tail, started)


def crashed(how: str, tail: str, started: float) -> Outcome:
    """The outcome of a worker that ended without an answer; ``tail`` is the last line of its log."""
    if "MemoryError" in tail:
        return ended("memory", started, "the worker ran out of its memory limit")
    return ended("crash", started, f"the worker ended with {how}{': ' + tail if tail else ''}")


def ended(kind: OutcomeKind, started: float, detail: str) -> Outcome:
    """An outcome without numbers."""
    return Outcome(kind, time.monotonic() - started, detail)


def outcome_of(reply: Mapping[str, Any], payload: bytes, started: float) -> Outcome:
    """The outcome a frame of :mod:`.worker` holds."""
    if reply["kind"] != "ok":
        return ended(reply["kind"], started, reply["detail"])
    values = np.frombuffer(payload, dtype="<f8")
    ends = np.cumsum(list(reply["vectors"].values()))
    vectors = {name: values[end - n : end] for (name, n), end in zip(reply["vectors"].items(), ends, strict=True)}
    return Outcome("ok", time.monotonic() - started, value=reply["value"], vectors=vectors)


def tail_of(log: IO[bytes]) -> str:
    """The last line of a log."""
    log.seek(0, os.SEEK_END)
    log.seek(max(0, log.tell() - _TAIL))
    return log.read().decode(errors="replace").strip().rsplit("\n", 1)[-1]


def worker_environment(threads: int) -> dict[str, str]:
    """The whole environment of a worker: built here, never inherited, so that no key can leak into it."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        **dict.fromkeys(_THREADS, str(threads)),
    }
    return environment | {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
