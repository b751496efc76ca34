"""The one place that knows whether numba is there.

Every kernel exists twice with equal bits: a loop that numba compiles, and a NumPy expression. ``HYPOSCREEN_NO_NUMBA=1``
chooses the second, which is how the tests compare them and how a machine without numba works.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., object])

HAVE_NUMBA = False
if os.environ.get("HYPOSCREEN_NO_NUMBA", "") in {"", "0"}:
    try:
        import numba

        HAVE_NUMBA = True
    except ImportError:
        pass


def _sources() -> tuple[tuple[str, int, int], ...]:
    """Name, time and size of every file that may hold a kernel."""
    found = ((path.name, path.stat()) for path in sorted(Path(__file__).parents[1].rglob("*.py")))
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in found)


SOURCES = _sources()


def jit(function: F) -> F:
    """Compile ``function`` where numba is there (cached on disk, no fast-math, no threads); else return it as it is."""
    if not HAVE_NUMBA:
        return function
    try:
        return cast("F", _stamped(numba.njit(cache=True, fastmath=False, nogil=True)(function)))
    except (RuntimeError, AttributeError):  # no folder it may write to, or a numba whose cache is built otherwise
        return cast("F", numba.njit(fastmath=False, nogil=True)(function))


def _stamped(dispatcher: Any) -> Any:
    """Tie the cache of a kernel to all our sources.

    numba looks at the kernel's own file. A kernel that calls one of another file would keep the old numbers of that one after
    it was edited, and a replay would call them equal.
    """
    index = dispatcher._cache._cache_file
    index._source_stamp = (index._source_stamp, SOURCES)
    return dispatcher


def as_numpy(function: F) -> F:
    """The Python function behind a compiled one: the same arithmetic, on NumPy arrays that broadcast."""
    return cast("F", getattr(function, "py_func", function))
