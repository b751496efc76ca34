"""What a worker of the zygote may be. Everything here runs inside, from fork to end."""

import importlib
import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np

from . import kernels
from .backends import CONFINING
from .backends.base import Wish
from .frames import answer
from .worker import Bench, serve
from .zygote import Role

_LATE = (
    "gudhi.sklearn.rips_persistence", "scipy.linalg", "scipy.sparse.csgraph", "scipy.special", "scipy.stats", "sklearn.base",
    "numpy.fft", "numpy.ma", "numpy.random", "pydoc", "unittest.mock",
)  # fmt: skip
"""What library tests, numba and NumPy import on first use."""


def preload(everything: bool) -> None:
    """Before any fork: nothing more than the imports above, or all that a worker without files may come to need."""
    from scipy import linalg  # it brings a BLAS of its own

    table = np.eye(64)
    for library in (np.linalg, linalg):
        library.eigh(table @ table)  # BLAS takes its buffer on first use, and waits for ever if a limit then refuses it
    if not everything:
        return
    for name in _LATE:
        with suppress(ImportError):
            importlib.import_module(name)
    kernels.load_all()
    from ...tests_library.engine.jit import HAVE_NUMBA

    if HAVE_NUMBA:
        import numba

        numba.njit(lambda x: x + 1)(1)  # the compiler imports its own parts on first use


def wish_of(request: dict[str, Any], package: bool) -> Wish:
    """The limits a request names."""
    return Wish(request["memory_bytes"], request.get("cpu_seconds"), request.get("threads", 1) > 1, package)


def jobs(request: dict[str, Any], files: Sequence[int]) -> int:
    """Library tests by specification, one after the other, until the input ends."""
    with os.fdopen(files[0], "wb") as replies, os.fdopen(0, "rb", closefd=False) as requests:
        bench = Bench()
        try:
            for path, location, digest in request["caches"]:
                bench.open(path, location, digest)
        except Exception as error:  # noqa: BLE001 - a cache that does not open is an outcome
            answer(replies, {"kind": "error", "detail": f"{type(error).__name__}: {error}"})
            return 1
        compiled = kernels.only_read()
        with ExitStack() as held:
            threads = request.get("threads", 1)
            pools = _pools() if threads > 1 else None
            try:
                CONFINING[request["backend"]].confine(wish_of(request, package=True))
            except OSError as error:
                answer(replies, {"kind": "refused", "detail": str(error)})
                return 1
            if pools is not None:
                held.enter_context(pools.limit(limits=threads))  # a thread made before would be held by less
            answer(replies, {"kind": "ready"})
            serve(bench, requests, replies, compiled)
    return 0


def keep_kernels(request: dict[str, Any], files: Sequence[int]) -> int:  # noqa: ARG001 - every role is called alike
    """Outside any boundary, and with nothing but names of our own kernels: compile and keep them."""
    os.nice(10)
    kernels.keep([(module, name, tuple(kinds)) for module, name, kinds in request["signatures"]])
    return 0


def _pools() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


ROLES: dict[str, Role] = {"jobs": jobs, "keep_kernels": keep_kernels}
