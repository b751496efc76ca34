"""The one place that knows whether numba is there.

Every kernel exists twice with equal bits: a loop that numba compiles, and a NumPy expression. ``HYPOSCREEN_NO_NUMBA=1``
chooses the second, which is how the tests compare them and how a machine without numba works.
"""

import os
from collections.abc import Callable
from typing import TypeVar, cast

F = TypeVar("F", bound=Callable[..., object])

HAVE_NUMBA = False
if os.environ.get("HYPOSCREEN_NO_NUMBA", "") in {"", "0"}:
    try:
        import numba

        HAVE_NUMBA = True
    except ImportError:
        pass


def jit(function: F) -> F:
    """Compile ``function`` where numba is there (cached on disk, no fast-math, no threads); else return it as it is."""
    if not HAVE_NUMBA:
        return function
    try:
        return cast("F", numba.njit(cache=True, fastmath=False, nogil=True)(function))
    except RuntimeError:  # no folder it may write its cache to: compile in memory
        return cast("F", numba.njit(fastmath=False, nogil=True)(function))


def as_numpy(function: F) -> F:
    """The Python function behind a compiled one: the same arithmetic, on NumPy arrays that broadcast."""
    return cast("F", getattr(function, "py_func", function))
