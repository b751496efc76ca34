"""Landlock: which files a process may open, decided by the kernel from a list made beforehand. Nothing may be written.

Documented in the kernel's ``userspace-api/landlock``. The rights a kernel does not know yet cannot be asked for, so the ruleset
depends on the version it reports; whether it truly holds is the self-test's question, not this file's.
"""

import os
import struct
from collections.abc import Iterable

from .lockdown import call

_VERSION = 1
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_PATH_BENEATH = 1
_RIGHTS_BY_VERSION = {1: 13, 2: 14, 3: 15, 4: 15}
_ALL_RIGHTS = 16
_NET_VERSION, _SCOPE_VERSION = 4, 6
_TCP = 0b11
"""Binding and connecting; no port is allowed."""
_SCOPES = 0b11
"""Abstract sockets and signals beyond the ruleset's own processes."""


def version() -> int:
    """Version of the interface; 0 where the kernel has none or has switched it off."""
    try:
        return call("landlock_create_ruleset", None, 0, _VERSION)
    except OSError:
        return 0


def ruleset(readable: Iterable[str]) -> int:
    """A file descriptor of rules under which only what lies at or below ``readable`` may be opened, and only to read."""
    known = version()
    if known < 1:
        raise OSError("this kernel offers no Landlock")
    rights = (1 << _RIGHTS_BY_VERSION.get(known, _ALL_RIGHTS)) - 1
    attributes = struct.pack("=Q", rights)
    attributes += struct.pack("=Q", _TCP) if known >= _NET_VERSION else b""
    attributes += struct.pack("=Q", _SCOPES) if known >= _SCOPE_VERSION else b""
    rules = call("landlock_create_ruleset", attributes, len(attributes), 0)
    for path in readable:
        _allow(rules, path)
    return rules


def restrict(rules: int) -> None:
    """Hold this thread, and all it starts, to ``rules``."""
    call("landlock_restrict_self", rules, 0)
    os.close(rules)


def _allow(rules: int, path: str) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return  # what is not there, or may not be reached, needs no rule
    try:
        rights = _READ_FILE | (_READ_FOLDER if os.path.isdir(path) else 0)  # noqa: PTH112 - a plain path
        call("landlock_add_rule", rules, _PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    finally:
        os.close(place)
