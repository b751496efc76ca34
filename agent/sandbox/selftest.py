"""Does a boundary hold on this machine? Try what it must refuse, and believe only what was refused.

Version numbers and switches say what a kernel could do; containers, site policies and gaps say otherwise. So each backend is put
around a worker, the probes run inside, and the loop looks from outside as well: was the server reached, is the file still
there? The same probes also run without a boundary. What fails there too (a container without network, say) shows nothing
about the boundary and is said so.
"""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .backends import BACKENDS, CONFINING, LAUNCHING
from .backends.base import Launching
from .frames import read_frame
from .launched import LaunchedSandbox
from .nursery import Nursery
from .process import tail_of

_MEMORY = 256 << 20
_UNLIMITED = 1 << 44
_SECONDS = 30.0
_SYSTEMS = {"linux": "Linux", "darwin": "macOS"}


@dataclass(frozen=True)
class Finding:
    """What the self-test found about one backend."""

    backend: str
    holds: bool
    """Every probe was refused, but those that the backend lets by design."""
    closed: tuple[str, ...]
    """Probes that were refused inside and succeed without the boundary."""
    open: tuple[str, ...]
    """Probes that succeeded inside."""
    not_shown: tuple[str, ...]
    """Probes that fail here without any boundary."""
    reason: str
    """Why it does not hold, in a sentence; empty when it does."""
    seconds: float

    @property
    def in_words(self) -> str:
        """One sentence for people."""
        if not self.holds:
            return f"does not hold here: {self.reason}"
        known = f"; open by design: {', '.join(BACKENDS[self.backend].open)}"
        known += f"; {BACKENDS[self.backend].untried}" * bool(BACKENDS[self.backend].untried)
        rest = f"; not shown here: {', '.join(self.not_shown)}" if self.not_shown else ""
        return f"closed: {', '.join(self.closed)}{known}{rest}"


def examine(names: Iterable[str]) -> dict[str, Finding]:
    """Backend → finding, in the order of ``names``. Takes about a second."""
    fitting = [name for name in names if BACKENDS[name].system in ("", sys.platform)]
    found = {
        name: _refused(name, f"it needs {_SYSTEMS[BACKENDS[name].system]}") for name in names if name not in fitting
    }
    if any(name in CONFINING for name in fitting):
        found |= _confining([name for name in fitting if name in CONFINING])
    found |= {name: _launching(name) for name in fitting if name in LAUNCHING}
    return {name: found[name] for name in names}


def _launching(name: str) -> Finding:
    """As :func:`_finding`, for a boundary that a program builds."""
    started = time.monotonic()
    found = []
    with _targets() as (targets, seen):
        for sandbox, memory in ((LaunchedSandbox(LAUNCHING[name]), _MEMORY), (LaunchedSandbox(_FREE), _UNLIMITED)):
            try:
                found.append((sandbox.probe(targets, memory), seen()))
            except OSError as error:
                return _refused(name, str(error))
            finally:
                sandbox.close()
    (inside, from_outside), (free, _) = found
    return _judged(name, inside, from_outside, free, started)


_FREE = Launching(
    name="plain", confines="", holds_code=False, open=(), command=lambda launch: (launch.interpreter, *launch.arguments)
)
"""The same worker without a boundary: the control."""


def _confining(names: Iterable[str]) -> dict[str, Finding]:
    nursery = Nursery("probes")
    try:
        free, _, _ = _probe(nursery, "none")
        return {name: _finding(nursery, name, free) for name in names}
    except OSError as error:
        return {name: _refused(name, f"no worker starts ({error})") for name in names}
    finally:
        nursery.close()


def _finding(shared: Nursery, name: str, free: Mapping[str, str]) -> Finding:
    started = time.monotonic()
    nursery = shared if CONFINING[name].surround is None else Nursery("probes", backend=name)
    try:
        found, reason, seen = _probe(nursery, name)
    except OSError as error:
        return _refused(name, str(error))
    finally:
        if nursery is not shared:
            nursery.close()
    return _judged(name, found, seen, free, started) if found else _refused(name, reason)


def _judged(name: str, found: Mapping[str, str], seen: set[str], free: Mapping[str, str], started: float) -> Finding:
    """``found``: what the probes said; ``seen``: what was seen of them from outside; ``free``: what they say without it."""
    came_through = {probe for probe, how in found.items() if how == "open"} | seen
    too_much = sorted(came_through - BACKENDS[name].lets)
    shown = {probe for probe, how in free.items() if how == "open"}
    return Finding(
        backend=name,
        holds=not too_much,
        closed=tuple(p for p in found if p not in came_through and p in shown),
        open=tuple(p for p in found if p in came_through),
        not_shown=tuple(p for p in found if p not in came_through and p not in shown),
        reason=f"a worker behind it could still {', '.join(too_much)}" if too_much else "",
        seconds=time.monotonic() - started,
    )


def _refused(name: str, reason: str) -> Finding:
    return Finding(name, False, (), (), (), reason, 0.0)


def _probe(nursery: Nursery, name: str) -> tuple[dict[str, str], str, set[str]]:
    """What the probes said behind ``name``; or why none ran; and what was seen from outside."""
    with _targets() as (targets, seen), tempfile.TemporaryFile() as log, Path(os.devnull).open("rb") as nothing:
        replies, outside = os.pipe()
        memory = _UNLIMITED if name == "none" else _MEMORY
        request = {"role": "probe", "backend": name, "memory_bytes": memory, "targets": targets}
        try:
            infant = nursery.spawn(request, [nothing.fileno(), log.fileno(), outside])
        finally:
            os.close(outside)
        try:
            said, _ = read_frame(replies, time.monotonic() + _SECONDS)
        except (EOFError, TimeoutError):
            end = infant.wait(1.0) or infant.kill()
            how = "without a word" if end is None else f"with {end.in_words}"
            return {}, f"its worker ended {how} ({tail_of(log)})", set()
        finally:
            infant.kill()
            os.close(replies)
        if said["kind"] != "ready":
            return {}, str(said["detail"]), set()
        return dict(said["found"]), "", seen()


@contextmanager
def _targets() -> Iterator[tuple[dict[str, Any], Any]]:
    """Things of our own to try on: files, a server on the loopback, a process; and what to look at afterwards."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as server:
        secret, remove = Path(folder) / "secret", Path(folder) / "remove"
        secret.write_text("secret")
        remove.write_text("still here")
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        visitors: list[object] = []
        threading.Thread(target=_welcome, args=(server, visitors), daemon=True).start()
        victim = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"])

        def seen() -> set[str]:
            looks = {
                "connect by TCP": bool(visitors),
                "write a file": (Path(folder) / "written").exists(),
                "remove a file": not remove.exists(),
                "signal another process": victim.poll() is not None,
            }
            return {name for name, happened in looks.items() if happened}

        try:
            port = server.getsockname()[1]
            yield {"secret": str(secret), "folder": folder, "port": port, "pid": victim.pid}, seen
        finally:
            victim.kill()
            victim.wait()


def _welcome(server: socket.socket, visitors: list[object]) -> None:
    while True:
        try:
            visitor, address = server.accept()
        except OSError:
            return
        visitors.append(address)
        visitor.close()
