"""The zygote: a process that has imported everything, and forks one worker for each that is asked for.

It has one thread, no key in its environment, and sees neither ledger nor claim. A request comes with files: a line to speak
about this worker, and the worker's own streams. The worker confines itself before it reads anything, so what a request holds
is only where it works and what holds it. When a line closes, its worker is killed; when the loop ends, all of them.
"""

import json
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from .backends import CONFINING

REQUEST_BYTES = 1 << 16
MOST_FILES = 16
_FIRST = 3
"""Files of a worker: 0 in, 1 and 2 log, and from here on what its role is given."""

Role = Callable[[dict[str, Any], Sequence[int]], int]
"""Request and files → exit status."""


class Zygote:
    """Forks and buries workers. ``roles`` is what a worker may be."""

    def __init__(self, orders: socket.socket, roles: dict[str, Role]) -> None:
        self._orders = orders
        self._roles = roles
        self._workers: dict[int, socket.socket] = {}
        self._waiting = selectors.DefaultSelector()
        self._waiting.register(orders, selectors.EVENT_READ, self._order)
        self._ended, wake = socket.socketpair()
        self._ended.setblocking(False)
        wake.setblocking(False)
        self._wake = wake
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        self._waiting.register(self._ended, selectors.EVENT_READ, self._bury)

    def serve(self) -> None:
        """Work until the loop is gone."""
        while True:
            for key, _ in self._waiting.select():
                key.data(key.fileobj)

    def _order(self, _: socket.socket) -> None:
        message: bytes = b""
        files: list[int] = []
        with suppress(ConnectionError):
            message, files, _flags, _address = socket.recv_fds(self._orders, REQUEST_BYTES, MOST_FILES)
        if not message:
            self._end()
        request = json.loads(message)
        line = socket.socket(fileno=files[0])
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become(request, line, files[1:], parent)
        for file in files[1:]:
            os.close(file)
        line.setblocking(False)
        self._workers[pid] = line
        self._waiting.register(line, selectors.EVENT_READ, lambda _line, pid=pid: self._kill(pid))

    def _become(self, request: dict[str, Any], line: socket.socket, files: Sequence[int], parent: int) -> None:
        """In the child: files in their places, then the role. Never returns."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            self._tell(line, {"born": True})  # the kernel adds who says so, by the number the loop knows it by
            places = _in_places(files)
            if sys.platform == "linux":
                from .linux import lockdown

                lockdown.close_all_but((0, 1, 2, *places))
                lockdown.die_with_parent(parent)
            status = self._roles[request["role"]](request, places)
        except BaseException:  # noqa: BLE001 - whatever it is, it is written down and the child ends here
            with suppress(BaseException):
                traceback.print_exc()
        finally:
            with suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _kill(self, pid: int) -> None:
        """The other end of a worker's line was closed."""
        self._waiting.unregister(self._workers[pid])
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # not yet buried, so the number is still its own

    def _bury(self, _: socket.socket) -> None:
        with suppress(BlockingIOError):
            self._ended.recv(4096)
        while self._workers:
            pid, status, used = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return
            line = self._workers.pop(pid, None)
            if line is None:
                continue  # a scribe
            with suppress(KeyError, ValueError):
                self._waiting.unregister(line)
            self._tell(line, {"status": status, "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss << 10})
            line.close()

    def _end(self) -> None:
        for pid in self._workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os._exit(0)

    @staticmethod
    def _tell(line: socket.socket, said: dict[str, Any]) -> None:
        with suppress(OSError):
            line.send(json.dumps(said).encode())


def _in_places(files: Sequence[int]) -> tuple[int, ...]:
    """Streams to 0, 1 and 2, the rest to 3 and on, whatever numbers they came with."""
    high = [os.dup2(file, 200 + n) for n, file in enumerate(files)]
    stdin, log, *rest = high
    os.dup2(stdin, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    return tuple(os.dup2(file, _FIRST + n) for n, file in enumerate(rest))


def main() -> None:
    """Entry point: ``python -m hyposcreen.agent.sandbox.zygote FD usual|everything|foreign|probes BACKEND``."""
    orders = socket.socket(fileno=int(sys.argv[1]))
    surround = CONFINING[sys.argv[3]].surround
    if surround is not None:
        try:
            surround()
        except OSError as error:
            orders.send(f"refused {error}".encode())
            return
    roles = _LOADS[sys.argv[2]]()
    orders.send(b"ready")
    Zygote(orders, roles).serve()


def _usual() -> dict[str, Role]:
    from .roles import ROLES, preload

    preload(everything=False)
    return ROLES


def _everything() -> dict[str, Role]:
    from .roles import ROLES, preload

    preload(everything=True)
    return ROLES


def _foreign() -> dict[str, Role]:
    """Without this package's tests and data: what is not in memory cannot be found there."""
    from .foreign import ROLES, preload

    preload()
    return ROLES


def _probes() -> dict[str, Role]:
    """The self-test needs no library at all."""
    from .probes import ROLES

    return ROLES


_LOADS = {"usual": _usual, "everything": _everything, "foreign": _foreign, "probes": _probes}


if __name__ == "__main__":
    main()
