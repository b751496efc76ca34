"""Backend ``seatbelt``: a worker under ``sandbox-exec`` of macOS, which may read the interpreter, its libraries and the caches.

Written from the documentation of ``sandbox-exec`` and of its profiles, as far as there is any, and **never run**: no Mac was at
hand. By name only; the self-test then decides whether it holds. Closed by the profile: other files, all writing, sockets, new
processes. Open: whether a path exists; memory, which macOS does not limit.
"""

import os
import sys
from collections.abc import Iterable

from ..readable import PACKAGE, libraries
from .base import Launch, Launching

_SYSTEM = (
    "/usr/lib", "/usr/share", "/System", "/Library/Frameworks", "/private/var/db/dyld", "/private/var/db/timezone",
    "/private/etc/localtime", "/dev/null", "/dev/random", "/dev/urandom",
)  # fmt: skip


def profile(interpreters: Iterable[str], readable: Iterable[str]) -> str:
    """The profile, in the language of the seatbelt. Pure."""
    execs = "".join(f" (literal {_quoted(path)})" for path in sorted(set(interpreters)))
    reads = "".join(f"\n  (subpath {_quoted(path)})" for path in sorted(set(readable)))
    return (
        "(version 1)\n"
        "(deny default)\n"
        f"(allow process-exec{execs})\n"
        "(allow process-info* (target self))\n"
        "(allow signal (target self))\n"
        "(allow sysctl-read)\n"
        "(allow file-read-metadata)\n"
        f"(allow file-read*{reads})\n"
        '(allow file-write-data (literal "/dev/null"))\n'
    )


def command(launch: Launch) -> tuple[str, ...]:
    """The command line that starts one worker."""
    interpreters = {launch.interpreter, os.path.realpath(launch.interpreter)}
    homes = {os.path.realpath(path) for path in (sys.prefix, sys.base_prefix, str(PACKAGE))}
    caches = {os.path.realpath(path) for path in launch.caches}
    known = {*_SYSTEM, *libraries(), *homes, *caches}
    return ("sandbox-exec", "-p", profile(interpreters, known), launch.interpreter, *launch.arguments)


def _quoted(path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


SEATBELT = Launching(
    name="seatbelt",
    confines="macOS seatbelt: reads the interpreter, its libraries and the caches, writes nothing; no sockets, no new processes; "
    "constructed environment",
    holds_code=False,
    open=("whether a path exists, and its size", "memory"),
    lets=frozenset(
        {"see that a path exists", "share memory without limit", "hold memory without limit", "raise a limit"}
    ),
    chosen=False,  # until somebody has seen it hold
    system="darwin",
    untried="it was never run on a Mac",
    command=command,
)
