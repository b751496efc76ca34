"""Backend ``landlock``: as ``sealed``, but files of the interpreter and its libraries may be read, so that late imports work.

Needs Landlock (Linux 5.13, switched on) and seccomp. Closed: every file but the interpreter's and the libraries'; all writing;
sockets; new programs and processes; signals to others. Open: whether a path exists and how large it is (``stat`` is not
Landlock's to refuse), besides what ``sealed`` leaves open.
"""

from ..linux import landlock, lockdown
from ..readable import readable
from .base import Confining, Wish
from .sealed import close_calls


def _confine(wish: Wish) -> None:
    rules = landlock.ruleset(readable(wish.package))
    lockdown.limit(wish.memory_bytes, wish.cpu_seconds)  # now: what is held is read from a file
    lockdown.no_new_privileges()
    landlock.restrict(rules)
    close_calls(wish, reading=True)


LANDLOCK = Confining(
    name="landlock",
    confines="Landlock: reads the interpreter and its libraries, writes nothing; seccomp: no sockets, no new processes; no "
    "capabilities; memory limits; constructed environment",
    holds_code=True,
    open=("whether a path exists, and its size", "the time", "the kernel's name and the machine's memory size"),
    lets=frozenset({"see that a path exists"}),
    confine=_confine,
)
