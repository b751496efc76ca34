"""Which boundary workers get: the strongest that the self-test has seen hold, once a boot.

What was found is kept in the account's cache folder under a name made of everything it may depend on: the boot, the kernel, the
account, the namespaces and filters this process lives under, and this package's own code. A finding that turns out to be wrong
does no harm: a worker whose boundary is refused ends before it reads a job.
"""

import hashlib
import json
import os
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import Exit, UserError
from .backends import BACKENDS, CONFINING, LAUNCHING
from .backends.base import Confining
from .base import Sandbox
from .confined import ConfinedSandbox
from .launched import LaunchedSandbox
from .nursery import Nursery
from .process import ProcessSandbox
from .selftest import Finding, examine

AUTO, NONE = "auto", "none"
_PRIVATE = 0o600


@dataclass(frozen=True)
class Workers:
    """How the workers of a pool are made."""

    backend: str
    """Name of the boundary, or ``none``."""
    notice: str
    """What a user should hear; empty when a boundary holds."""
    make: Callable[[], Sandbox]
    close: Callable[[], None]
    """End what the workers came from, after the workers."""


def workers(wanted: str = AUTO, threads: int = 1) -> Workers:
    """Workers for library tests. ``wanted``: ``auto``, a backend's name, or ``none``.

    Raises :class:`UserError` for a backend that is not known or does not hold here; ``auto`` never does: without any boundary
    library tests run in plain worker processes, and the notice says so.
    """
    if wanted not in (AUTO, *BACKENDS):
        raise UserError(f"sandbox '{wanted}' is not known; choose one of {', '.join((AUTO, *BACKENDS))}", Exit.USAGE)
    if wanted == NONE:
        return _plain("no sandbox, as asked for: library tests run in plain worker processes", threads)
    found = findings() if wanted == AUTO or BACKENDS[wanted].chosen else examine([wanted])
    name = strongest(found) if wanted == AUTO else wanted
    if name is None:
        why = "; ".join(f"{f.backend} {f.in_words}" for f in found.values())
        return _plain(
            f"nothing here can confine a worker ({why}); library tests run in plain worker processes", threads
        )
    if not found[name].holds:
        raise UserError(
            f"sandbox '{name}' {found[name].in_words}; use --sandbox auto, or --sandbox none to run library tests without"
        )
    if name in LAUNCHING:
        program = LAUNCHING[name]
        return Workers(name, "", lambda: LaunchedSandbox(program, threads), lambda: None)
    backend = CONFINING[name]
    nursery = Nursery("everything" if backend.preload else "usual", backend=name)
    return Workers(name, "", lambda: ConfinedSandbox(backend, nursery, threads), nursery.close)


def for_foreign_code(wanted: str = AUTO) -> Confining:
    """The boundary for code that nobody vouches for. Raises :class:`UserError`, with the mend, where none holds."""
    if wanted in BACKENDS and not BACKENDS[wanted].holds_code:
        raise UserError(f"sandbox '{wanted}' holds no code that nobody vouches for; use --sandbox auto", Exit.USAGE)
    if wanted not in (AUTO, *BACKENDS):
        raise UserError(f"sandbox '{wanted}' is not known; choose one of {', '.join((AUTO, *BACKENDS))}", Exit.USAGE)
    found = findings()
    found = {name: finding for name, finding in found.items() if BACKENDS[name].holds_code}
    name = strongest(found) if wanted == AUTO else wanted
    if name is None or not found[name].holds:
        why = "; ".join(f"{f.backend} {f.in_words}" for f in found.values() if name in (None, f.backend))
        raise UserError(
            f"code that nobody vouches for is not run here: {why}. Linux with seccomp is enough, also inside most containers; "
            "`screen doctor` says what holds"
        )
    return CONFINING[name]


def strongest(found: dict[str, Finding]) -> str | None:
    """The first backend, in their order, that holds."""
    return next((name for name in BACKENDS if name in found and found[name].holds), None)


def findings(fresh: bool = False) -> dict[str, Finding]:
    """What the self-test found on this boot of backends that ``auto`` may take; runs it where nothing is kept, or ``fresh``."""
    path = _kept_at()
    found = {} if fresh else _read(path)
    if not found:
        found = examine([name for name, backend in BACKENDS.items() if backend.chosen])
        _write(path, found)
    return found


def _plain(notice: str, threads: int) -> Workers:
    return Workers(NONE, notice, lambda: ProcessSandbox(threads), lambda: None)


def _kept_at() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME") or "/nonexistent") / ".cache")
    return base / "hyposcreen" / f"sandbox-{_circumstances()}.json"


def _circumstances() -> str:
    """A name for everything the finding may depend on."""
    said = [sys.executable, sys.version, " ".join(os.uname()), str(os.getuid())]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/status"):
        with suppress(OSError):
            text = Path(path).read_text()
            said += [line for line in text.splitlines() if path.endswith("boot_id") or line.startswith(_TELLING)]
    for name in _SWITCHES:
        with suppress(OSError):
            said.append(Path("/proc/sys", name).read_text())
    for name in ("user", "mnt", "pid", "net"):
        with suppress(OSError):
            said.append(os.readlink(f"/proc/self/ns/{name}"))  # noqa: PTH115 - the link's text, not a path
    code = hashlib.sha256(json.dumps(said).encode())
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        code.update(file.read_bytes())
    return code.hexdigest()[:24]


_AGAIN = 600.0
"""Seconds after which a boundary that came to no probe is tried again: one bad moment must not last until the next boot."""
_SWITCHES = (
    "user/max_user_namespaces",
    "kernel/unprivileged_userns_clone",
    "kernel/apparmor_restrict_unprivileged_userns",
)
"""By which a machine lets accounts have namespaces or not."""
_TELLING = ("CapBnd", "CapEff", "NoNewPrivs", "Seccomp")


def _read(path: Path) -> dict[str, Finding]:
    """What was kept, if this account wrote it and nobody else could have."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            if facts.st_uid != os.getuid() or stat.S_IMODE(facts.st_mode) != _PRIVATE:
                return {}
            held = json.load(file)
        found = {name: _finding(one) for name, one in held.items()}
        return {} if _passing(found) and time.time() - facts.st_mtime > _AGAIN else found
    return {}


def _passing(found: dict[str, Finding]) -> bool:
    """Whether a boundary of this system came to no probe at all: a machine too busy to start a worker would look like that."""
    return any(not (f.closed or f.open) for name, f in found.items() if BACKENDS[name].system in ("", sys.platform))


def _finding(held: dict[str, Any]) -> Finding:
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in held.items()}
    return Finding(**fields)


def _write(path: Path, found: dict[str, Finding]) -> None:
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
        with os.fdopen(file, "w") as out:
            json.dump({name: asdict(one) for name, one in found.items()}, out)
        partial.replace(path)
