"""Backend ``process``: a worker process with a wall-clock and a memory limit, and a constructed environment.

It contains crashes, endless loops and memory, not malice: the worker can read files and open sockets. Only code of this
package runs in it. A kernel boundary is another backend behind the same protocol.
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from typing import IO

import numpy as np

from .base import Job, Limits, Outcome, OutcomeKind
from .worker import HEADER

_TAIL = 2000
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_PASSED_ON = ("HYPOSCREEN_NO_NUMBA", "NUMBA_CACHE_DIR", "NUMBA_CPU_NAME", "LD_LIBRARY_PATH", "SYSTEMROOT")
"""The only variables of the parent a worker may see; none of them can hold a secret of a model provider."""


class ProcessSandbox:
    """One worker process, started on first use and again after a crash. One thread runs jobs; any thread may close."""

    confines = "separate process; wall-clock and memory limits; constructed environment; no kernel confinement"

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._running = threading.RLock()

    @property
    def pid(self) -> int | None:
        """Process id of the worker, if one is running."""
        return None if self._process is None else self._process.pid

    def run(self, job: Job, limits: Limits) -> Outcome:
        """See :class:`~.base.Sandbox`."""
        with self._running:
            return self._run(job, limits)

    def close(self) -> None:
        """End the worker and everything it started."""
        # Killed first: a thread that waits for its answer then hears the end of the pipe and lets go of the lock.
        self._kill()
        while not self._running.acquire(timeout=0.1):
            self._kill()
        try:
            self._release()
        finally:
            self._running.release()

    def _run(self, job: Job, limits: Limits) -> Outcome:
        started = time.monotonic()
        process = self._start()
        body = json.dumps({"job": job.to_json(), "memory_bytes": limits.memory_bytes}).encode()
        deadline = started + limits.wall_seconds
        try:
            self._write(process, HEADER.pack(len(body), 0) + body, deadline)
            lengths = HEADER.unpack(self._read(process, HEADER.size, deadline))
            reply = json.loads(self._read(process, lengths[0], deadline))
            payload = self._read(process, lengths[1], deadline)
        except TimeoutError:
            self.close()
            return self._ended("timeout", started, f"no answer within {limits.wall_seconds:g} s")
        except (EOFError, BrokenPipeError):
            return self._crashed(started)
        seconds = time.monotonic() - started
        if reply["kind"] != "ok":
            if reply["kind"] == "memory":
                self.close()  # what is left of its heap is not worth trusting
            return Outcome(reply["kind"], seconds, reply["detail"])
        values = np.frombuffer(payload, dtype="<f8")
        ends = np.cumsum(list(reply["vectors"].values()))
        vectors = {name: values[end - n : end] for (name, n), end in zip(reply["vectors"].items(), ends, strict=True)}
        return Outcome("ok", seconds, value=reply["value"], vectors=vectors)

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
                [sys.executable, "-s", "-P", "-m", "hyposcreen.agent.sandbox.worker", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=worker_environment(self._threads),
                start_new_session=True,  # Ctrl-C is for the loop, which ends its workers itself
            )
        return self._process

    @staticmethod
    def _write(process: subprocess.Popen[bytes], data: bytes, deadline: float) -> None:
        """A worker that stopped reading must not hold up the loop, so writing has a deadline too."""
        assert process.stdin is not None
        fd = process.stdin.fileno()
        os.set_blocking(fd, False)
        rest = memoryview(data)
        while rest:
            _, ready, _ = select.select([], [fd], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            rest = rest[os.write(fd, rest[: 1 << 16]) :]

    @staticmethod
    def _read(process: subprocess.Popen[bytes], size: int, deadline: float) -> bytes:
        assert process.stdout is not None
        fd = process.stdout.fileno()
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

    def _crashed(self, started: float) -> Outcome:
        assert self._process is not None
        code = self._process.wait()
        tail = ""
        if self._log is not None:
            self._log.seek(0, os.SEEK_END)
            self._log.seek(max(0, self._log.tell() - _TAIL))
            tail = self._log.read().decode(errors="replace").strip().rsplit("\n", 1)[-1]
        self.close()
        if "MemoryError" in tail:
            return self._ended("memory", started, "the worker ran out of its memory limit")
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        return self._ended("crash", started, f"the worker ended with {how}{': ' + tail if tail else ''}")

    @staticmethod
    def _ended(kind: OutcomeKind, started: float, detail: str) -> Outcome:
        return Outcome(kind, time.monotonic() - started, detail)


def worker_environment(threads: int) -> dict[str, str]:
    """The whole environment of a worker: built here, never inherited, so that no key can leak into it."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        **dict.fromkeys(_THREADS, str(threads)),
    }
    return environment | {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
