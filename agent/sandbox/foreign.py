"""Inside the boundary: run a statistic that nobody vouches for. Nothing here is trusted by what reads the result.

The worker maps its input and its result before it is confined; afterwards it holds no file but its log. The code sees a matrix
and labels, and can leave nothing behind but float64 values in memory of a fixed size.
"""

import importlib
import json
import mmap
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backends import CONFINING
from .backends.base import Wish
from .job_memory import HEAD, READY, READY_AT, VALUES_AT
from .linux import lockdown
from .zygote import Role

OK, MEMORY, EXCEPTION, SYNTAX, NO_STATISTIC, WRONG_TYPE, REFUSED = 0, 10, 12, 13, 14, 15, 120
"""Exit statuses of this role."""

_USUAL = (
    "scipy.cluster.hierarchy", "scipy.linalg", "scipy.optimize", "scipy.signal", "scipy.sparse.csgraph", "scipy.spatial",
    "scipy.special", "scipy.stats", "encodings.idna", "collections", "functools", "itertools", "math", "statistics",
)  # fmt: skip


_WRITES_AT_IMPORT = ("dill",)
"""Opens the null device for writing when it is imported, which no worker may; torch imports it where it is installed."""


def preload() -> None:
    """What a statistic usually needs, imported and used once."""
    for name in _USUAL:
        importlib.import_module(name)
    for name in _WRITES_AT_IMPORT:
        with suppress(ImportError):
            importlib.import_module(name)
    table = np.eye(64)
    for library in (np.linalg, importlib.import_module("scipy.linalg")):
        library.eigh(table @ table)


def statistic(request: dict[str, Any], files: Sequence[int]) -> int:
    """Map, confine, run."""
    embedding, labels, code, state, values = _mapped(*files)
    try:
        wish = Wish(request["memory_bytes"], request["cpu_seconds"], package=False)
        lockdown.close_all_but((0, 1, 2))  # also the copies that the maps hold
        CONFINING[request["backend"]].confine(wish)
    except OSError:
        traceback.print_exc()
        return REFUSED
    state[READY_AT : READY_AT + len(READY)] = READY  # from here on an end is the code's own
    return _run(code, embedding, labels, values)


def _mapped(job: int, result: int) -> tuple[NDArray[np.float32], NDArray[np.int8], str, mmap.mmap, NDArray[np.float64]]:
    held = mmap.mmap(job, os.fstat(job).st_size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
    (length,) = HEAD.unpack_from(held, 0)
    places = json.loads(held[HEAD.size : HEAD.size + length])
    code = held[places["code_at"] : places["code_at"] + places["code_bytes"]].decode()
    rows, columns, calls = places["rows"], places["columns"], places["calls"]
    embedding = np.frombuffer(held, np.float32, rows * columns, places["embedding_at"]).reshape(rows, columns)
    labels = np.frombuffer(held, np.int8, calls * rows, places["labels_at"]).reshape(calls, rows)
    state = mmap.mmap(result, os.fstat(result).st_size, flags=mmap.MAP_SHARED)
    return embedding, labels, code, state, np.frombuffer(state, np.float64, calls, VALUES_AT)


def _run(code: str, embedding: NDArray[np.float32], labels: NDArray[np.int8], values: NDArray[np.float64]) -> int:
    try:
        space: dict[str, Any] = {"__name__": "statistic"}
        exec(compile(code, "statistic.py", "exec"), space)
        whole, single = space.get("statistic_batch"), space.get("statistic")
        if callable(whole):
            return _all_at_once(whole, embedding, labels, values)
        if callable(single):
            return _one_by_one(single, embedding, labels, values)
        return NO_STATISTIC
    except MemoryError:
        return MEMORY
    except SyntaxError:
        _say()
        return SYNTAX
    except BaseException:  # noqa: BLE001 - whatever it raises is its own doing
        _say()
        return EXCEPTION


def _all_at_once(
    whole: Callable[..., Any], embedding: NDArray[np.float32], labels: NDArray[np.int8], values: NDArray[np.float64]
) -> int:
    found = np.asarray(whole(embedding, labels))
    if found.dtype.kind not in "fiu" or found.shape != values.shape:
        print(f"statistic_batch gave {found.dtype} {found.shape}, not numbers of shape {values.shape}")  # noqa: T201
        return WRONG_TYPE
    values[:] = found
    return OK


def _one_by_one(
    single: Callable[..., Any], embedding: NDArray[np.float32], labels: NDArray[np.int8], values: NDArray[np.float64]
) -> int:
    for call, row in enumerate(labels):
        found = single(embedding, row)
        if isinstance(found, bool) or not isinstance(found, (int, float, np.integer, np.floating)):
            print(f"statistic gave a {type(found).__name__}, not a number")  # noqa: T201
            return WRONG_TYPE
        values[call] = float(found)
    return OK


def _say() -> None:
    with suppress(BaseException):
        traceback.print_exc(limit=-8)
        sys.stderr.flush()


ROLES: dict[str, Role] = {"statistic": statistic}
