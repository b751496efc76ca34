"""What a backend is, and the contract of each."""

from collections.abc import Callable
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


@dataclass(frozen=True)
class Backend:
    """A boundary that a process puts around itself.

    ``confine`` is called in the worker when it has one thread, has its input open and has read nothing of a job. After it
    returned, nothing can be taken back. It raises ``OSError`` where any part of it does not hold; then the worker ends.
    """

    name: str
    confines: str
    """What it is made of, in words."""
    holds_code: bool
    """Whether code that nobody vouches for may run behind it."""
    open: tuple[str, ...]
    """What it does not close, in words."""
    preload: bool
    """Whether everything a job may need must be loaded beforehand, because no file can be opened afterwards."""
    confine: Callable[[Wish], None]
