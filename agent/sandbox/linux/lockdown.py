"""The calls that confine this process. Each raises ``OSError`` when the kernel refuses; nothing is ever skipped in silence."""

import ctypes
import functools
import itertools
import os
import resource
import struct
from collections.abc import Sequence
from pathlib import Path

from .syscalls import here

_PDEATHSIG, _CAPBSET_DROP, _NO_NEW_PRIVS, _AMBIENT = 1, 24, 38, 47
_AMBIENT_CLEAR_ALL = 4
_SIGKILL = 9
_CAPABILITY_VERSION_3 = 0x20080522
_SET_MODE_FILTER, _ALL_THREADS = 1, 1

FILES = 64
"""Open files a confined worker may have."""
LOG_BYTES = 1 << 20
"""Longest file it may write; the only one it can is its own log."""


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    return libc


def call(name: str, *arguments: int | bytes | None) -> int:
    """A system call by name. Numbers go as 64 bits, bytes as a pointer."""
    table, _ = here()
    passed = [ctypes.c_long(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in arguments]
    found = int(_libc().syscall(ctypes.c_long(table[name]), *passed))
    if found < 0:
        raise _error(name)
    return found


def die_with_parent(parent: int) -> None:
    """Ask for SIGKILL when ``parent`` ends; ends at once if it has ended already."""
    _prctl(_PDEATHSIG, _SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def no_new_privileges() -> None:
    """From here on no program gains rights by being executed; the kernel asks for it before it takes a filter."""
    _prctl(_NO_NEW_PRIVS, 1)


def drop_capabilities() -> None:
    """Give up every capability, those that executing could bring back included. Root without them is an ordinary account."""
    number = 0
    while _libc().prctl(_CAPBSET_DROP, number, 0, 0, 0) == 0:
        number += 1
    _libc().prctl(_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0)  # kernels before 4.3 have none
    call("capset", struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24))


def held() -> tuple[int, int]:
    """Bytes of address space and of data this process holds."""
    pages = Path("/proc/self/statm").read_text().split()
    size = resource.getpagesize()
    return int(pages[0]) * size, int(pages[5]) * size


def limit(memory_bytes: int, cpu_seconds: int | None = None, before: tuple[int, int] | None = None) -> None:
    """Limits on top of what is held now, or of what :func:`held` said ``before``; soft and hard, so that they cannot be raised.

    Address space and data both: each alone can be got around (shared memory is not data, and a stack that grows is not counted
    when it is mapped).
    """
    space, data = held() if before is None else before
    wanted = {
        resource.RLIMIT_AS: space + memory_bytes,
        resource.RLIMIT_DATA: data + memory_bytes,
        resource.RLIMIT_FSIZE: LOG_BYTES,
        resource.RLIMIT_NOFILE: FILES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    if cpu_seconds is not None:  # at the soft limit comes SIGXCPU, which says why; a second later SIGKILL
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    for which, value in wanted.items():
        _, hard = resource.getrlimit(which)
        low = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (low, low))


def close_all_but(kept: Sequence[int]) -> None:
    """Close every file but ``kept``."""
    edges = sorted({-1, *kept, os.sysconf("SC_OPEN_MAX")})
    for low, high in itertools.pairwise(edges):
        if high - low > 1:
            os.closerange(low + 1, high)


def filter_calls(code: bytes) -> None:
    """Install a seccomp filter for all threads of this process. It can be added to, never taken away."""
    held_here = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("=HxxxxxxQ", len(code) // 8, ctypes.addressof(held_here))
    if call("seccomp", _SET_MODE_FILTER, _ALL_THREADS, program) != 0:
        raise OSError("a thread of this process could not be given the filter")


def _prctl(what: int, value: int) -> None:
    if _libc().prctl(what, value, 0, 0, 0) < 0:
        raise _error(f"prctl {what}")


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
