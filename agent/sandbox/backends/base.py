"""What a backend is, and the contract of each kind: one that a worker puts around itself, one that a program builds around it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Wish:
    """What one worker is to be held to."""

    memory_bytes: int
    """On top of what it holds when it is confined."""
    cpu_seconds: int | None = None
    threads: bool = False
    """May it start threads of its own."""
    package: bool = True
    """May it read the code of this package, beside that of the interpreter and its libraries. A worker for foreign code may
    not: the package's demo holds names of genes and labels."""
    kill: bool = True
    """End it at a call that only an attack makes; the self-test instead wants to hear the refusal."""


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A boundary around a worker: what it is called, what it closes, and where it may be chosen."""

    name: str
    confines: str
    """What it is made of, in words."""
    holds_code: bool
    """Whether code that nobody vouches for may run behind it."""
    open: tuple[str, ...]
    """What it does not close, in words."""
    lets: frozenset[str] = frozenset()
    """Probes of the self-test that succeed behind it by design."""
    chosen: bool = True
    """Whether ``auto`` may take it. What needs a daemon is taken only by name."""
    system: str = "linux"
    """The ``sys.platform`` it is for; empty for every one."""
    untried: str = ""
    """What it was never run against, in words: it is written from documentation. Empty where it was."""


@dataclass(frozen=True, kw_only=True)
class Confining(Backend):
    """A boundary that a process puts around itself.

    ``confine`` is called in the worker when it has one thread, has its input open and has read nothing of a job. After it
    returned, nothing can be taken back. It raises ``OSError`` where any part of it does not hold; then the worker ends.
    """

    confine: Callable[[Wish], None]
    preload: bool = False
    """Whether everything a job may need must be loaded beforehand, because no file can be opened afterwards."""
    surround: Callable[[], None] | None = None
    """What the process that workers come from puts around itself before it loads anything, and every worker inherits. It may
    return in another process than it was called in. Raises ``OSError`` where it does not hold."""


@dataclass(frozen=True)
class Launch:
    """One worker that a program is to start behind its boundary."""

    name: str
    """Its name, not used before on this machine."""
    interpreter: str
    """This process's own Python, for a boundary that shares the file system."""
    arguments: tuple[str, ...]
    """What a Python is to be told to be a worker."""
    image: str
    """The image that holds this version of the package, for a boundary that does not."""
    account: str
    """Numbers of account and group, as ``UID:GID``."""
    environment: Mapping[str, str]
    """All it may see of variables."""
    caches: tuple[str, ...]
    """Folders it has to read, as absolute paths."""
    memory_bytes: int
    """On top of what it holds after its imports."""


@dataclass(frozen=True, kw_only=True)
class Launching(Backend):
    """A boundary that a program of the machine builds, with the worker as its child."""

    command: Callable[[Launch], tuple[str, ...]]
    """The command line that starts the worker with its input and output passed through."""
    needs: tuple[str, ...] = ()
    """Beginnings of the variables that the program itself needs, where it is a client and its worker does not see them."""
    end: Callable[[str], tuple[str, ...]] | None = None
    """Name of a worker → the command line that ends it, where ending the program is not enough."""
