"""Backend ``sealed``: no path, no socket, no new process; computing on memory that is already there.

Needs seccomp and nothing else (Linux 3.17; also inside containers). Closed: every call with a path, also ``stat``; sockets of
every family; new programs and processes; signals to others; memory and files beyond the limits. Open: time, and the names
and sizes that ``uname`` and ``sysinfo`` tell.
"""

import os

from ..linux import lockdown
from ..linux.filter import program
from ..linux.syscalls import here
from .base import Confining, Wish


def close_calls(wish: Wish, reading: bool) -> None:
    """What every Linux backend ends with: no capabilities, and the filter last."""
    table, convention = here()
    code = program(table, convention, reading=reading, threads=wish.threads, pid=os.getpid(), kill=wish.kill)
    lockdown.drop_capabilities()
    lockdown.filter_calls(code)


def _confine(wish: Wish) -> None:
    lockdown.limit(wish.memory_bytes, wish.cpu_seconds)
    lockdown.no_new_privileges()
    close_calls(wish, reading=False)


SEALED = Confining(
    name="sealed",
    confines="seccomp: no paths, no sockets, no new processes; no capabilities; memory limits; constructed environment",
    holds_code=True,
    open=("the time", "the kernel's name and the machine's memory size"),
    preload=True,
    confine=_confine,
)
