"""Outside the boundary: start the zygote, ask it for workers, hear how they ended, kill them."""

import json
import os
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .process import tail_of, worker_environment
from .same_package import python_of

_START_SECONDS = 120.0
_BURY_SECONDS = 10.0
_KEEP_SECONDS = 30.0
_CREDENTIALS = struct.Struct("=3i")
_REFUSED = b"refused "


@dataclass(frozen=True)
class End:
    """How a worker ended."""

    status: int
    """As ``waitpid`` gives it."""
    cpu_seconds: float
    peak_bytes: int

    @property
    def signal(self) -> int:
        """The signal that ended it, or 0."""
        return os.WTERMSIG(self.status) if os.WIFSIGNALED(self.status) else 0

    @property
    def in_words(self) -> str:
        """For messages."""
        return f"signal {self.signal}" if self.signal else f"exit status {os.waitstatus_to_exitcode(self.status)}"


class Infant:
    """One worker, as the loop holds it: its number and the line on which the zygote speaks of it."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._end: End | None = None
        line.settimeout(_START_SECONDS)
        first, self.pid = _said_by(line)
        if not first:
            raise EOFError
        if "status" in (said := json.loads(first)):  # it was ended before it could speak
            self._end = End(said["status"], said["cpu"], said["peak"])
            line.close()

    def fileno(self) -> int:
        """Readable when the worker has ended."""
        return self._line.fileno()

    def kill(self) -> End | None:
        """End the worker, if it has not ended; how it ended, or ``None`` where the zygote is gone (and the worker with it)."""
        if self._end is None and self._line.fileno() >= 0:
            with suppress(OSError):
                self._line.shutdown(socket.SHUT_WR)
            return self.wait(_BURY_SECONDS)
        return self._end

    def wait(self, seconds: float) -> End | None:
        """How the worker ended; ``None`` when it has not within ``seconds``, or nobody knows."""
        if self._end is None and self._line.fileno() >= 0:
            try:
                said = self._heard(seconds)
                self._end = End(said["status"], said["cpu"], said["peak"])
            except TimeoutError:
                return None
            except (OSError, EOFError):
                pass
            self._line.close()
        return self._end

    def _heard(self, seconds: float) -> dict[str, Any]:
        self._line.settimeout(seconds)
        message = self._line.recv(4096)
        if not message:
            raise EOFError
        said: dict[str, Any] = json.loads(message)
        return said


class SurroundError(OSError):
    """The kernel did not take what a backend puts around the zygote: nothing was loaded."""


def _said_by(line: socket.socket) -> tuple[bytes, int]:
    """A message, and the number of the process that sent it, as it is known here."""
    message, facts, _, _ = line.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
    for level, kind, data in facts:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            return message, int(_CREDENTIALS.unpack(data)[0])
    return message, 0


def _pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a line; this one hears from the kernel who speaks."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mine.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return mine, theirs


class Nursery:
    """One zygote, started on first use and again after its death. Safe for threads."""

    def __init__(self, loads: str = "usual", user: int | None = None, backend: str = "none") -> None:
        """``loads``: ``usual``; ``everything`` a library test may need, for workers that can open no file; ``foreign``: only
        what foreign code may use; ``probes``: only the self-test. ``user``: as whom, where this process may choose.
        ``backend``: whose workers it makes, for what goes around the zygote itself."""
        self._loads = loads
        self._backend = backend
        self._pid = 0
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self._orders: socket.socket | None = None
        self._lock = threading.Lock()
        self._scribes: list[Infant] = []

    @property
    def pid(self) -> int | None:
        """Process id of the zygote, if one runs."""
        return self._pid or None

    def spawn(self, request: Mapping[str, Any], files: Sequence[int]) -> Infant:
        """A new worker with ``files``: its input, its log, and what its role asks for. ``OSError`` if none starts."""
        mine, line = _pair()
        try:
            with self._lock:
                orders = self._ready()
                socket.send_fds(orders, [json.dumps(request).encode()], [line.fileno(), *files])
        except OSError:
            mine.close()
            raise
        finally:
            line.close()
        try:
            return Infant(mine)
        except (EOFError, TimeoutError) as error:
            mine.close()
            raise OSError("the process that starts workers ended") from error

    def keep_kernels(self, signatures: Sequence[Any]) -> None:
        """Have kernels that a worker compiled compiled once more outside the boundary, and kept. Does not wait."""
        if signatures:
            with open(os.devnull, "r+b") as nothing, suppress(OSError):  # noqa: PTH123 - a device
                request = {"role": "keep_kernels", "signatures": list(signatures)}
                self._scribes.append(self.spawn(request, [nothing.fileno(), nothing.fileno()]))

    def close(self) -> None:
        """End the zygote and every worker it made; what it still has to keep is kept first, within reason."""
        patience = time.monotonic() + _KEEP_SECONDS
        while self._scribes:
            self._scribes.pop().wait(max(0.1, patience - time.monotonic()))
        with self._lock:
            self._stop()

    def _ready(self) -> socket.socket:
        if self._process is None or self._process.poll() is not None:
            self._stop()
            self._start()
        assert self._orders is not None
        return self._orders

    def _start(self) -> None:
        mine, theirs = _pair()
        identity: dict[str, Any] = {}
        if self._user is not None:
            identity = {"user": self._user, "group": self._user, "extra_groups": []}
        with tempfile.TemporaryFile() as log:
            self._process = subprocess.Popen(
                [
                    *python_of("agent.sandbox.zygote"),
                    str(theirs.fileno()),
                    self._loads,
                    self._backend,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=worker_environment(1),
                cwd="/",
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C is for the loop, which ends its workers itself
                **identity,
            )
            theirs.close()
            mine.settimeout(_START_SECONDS)
            try:
                said, self._pid = _said_by(mine)
            except OSError:
                said = b""
            if said != b"ready":
                mine.close()
                self._stop()
                if said.startswith(_REFUSED):
                    raise SurroundError(said.removeprefix(_REFUSED).decode())
                raise OSError(f"no process for workers starts: {tail_of(log)}")
        mine.settimeout(None)
        self._orders = mine

    def _stop(self) -> None:
        if self._orders is not None:
            self._orders.close()  # it ends by itself, and every worker with it
            self._orders = None
        if self._process is not None:
            patience = time.monotonic() + _BURY_SECONDS
            while self._process.poll() is None and time.monotonic() < patience:
                time.sleep(0.002)
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process, self._pid = None, 0
