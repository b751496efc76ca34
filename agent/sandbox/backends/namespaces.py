"""Backend ``namespaces``: as ``landlock``, and what may not be read is not there at all.

Needs user namespaces for this account, Linux 5.12 and seccomp; Landlock is used too where the kernel has it. Closed: what
``landlock`` closes, and whether a path exists; no network device, no process but the workers' own, no name of the host. When
the process that workers come from ends, the kernel ends them all. Open: time, and the sizes that ``sysinfo`` tells.
"""

import os
import sys
from functools import cache

from ..linux import landlock, lockdown, namespaces
from ..readable import PACKAGE, SYSTEM, libraries, own_code, readable
from .base import Confining, Wish
from .sealed import close_calls


@cache
def shown(package: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Paths a worker sees, and folders in them that are to look empty: this package, where libraries hold it.

    What is seen is seen by its own name and by those under which the interpreter looks for it, which may be links.
    """
    own = own_code() if package else []
    known = {*SYSTEM, *libraries(), *own}
    real = {os.path.realpath(path) for path in known}
    links = {path for path in sys.path if any(f"{os.path.realpath(path)}/".startswith(f"{whole}/") for whole in real)}
    links |= {str(PACKAGE / path.removeprefix(f"{PACKAGE.resolve()}/")) for path in own}
    return tuple(sorted(known | real | links)), (str(PACKAGE.resolve()),)


def _confine(wish: Wish) -> None:
    before = lockdown.held()  # read from a file, and soon there is none
    namespaces.show_only(*shown(wish.package))
    rules = landlock.ruleset(readable(wish.package)) if landlock.version() else None
    lockdown.limit(wish.memory_bytes, wish.cpu_seconds, before)
    lockdown.no_new_privileges()
    if rules is not None:
        landlock.restrict(rules)
    close_calls(wish, reading=True)


NAMESPACES = Confining(
    name="namespaces",
    confines="namespaces: sees the interpreter and its libraries, read-only, and no other file, process or network; Landlock "
    "where the kernel has it; seccomp: no sockets, no new processes; no capabilities; memory limits; constructed environment",
    holds_code=True,
    open=("the time", "the kernel's version and the machine's memory size"),
    surround=namespaces.leave,
    confine=_confine,
)
