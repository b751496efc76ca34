"""Compiled kernels in a worker that may not write: read those on disk, name those that were compiled here.

A worker behind a boundary compiles what it misses and forgets it when it ends. It names the signatures, and a process outside
the boundary compiles them once more and keeps them, so that the next worker finds them. Only names of our own kernels and
plain array types are taken from a worker; nothing it compiled is.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

_ARRAY = re.compile(r"(readonly )?array\((\w+), (\d)d, ([CFA])\)")
_SCALARS = frozenset(
    {"bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"}
)

Signature = tuple[str, str, tuple[str, ...]]
"""Module, name of the kernel, types of its arguments."""


class _ReadOnly:
    """Stands in for the disk cache of one kernel: reads where it may, and remembers what it would have written."""

    def __init__(self, disk: Any, module: str, name: str, compiled: list[Signature]) -> None:
        self._disk = disk
        self._name = (module, name)
        self._compiled = compiled

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        with suppress(OSError):
            return self._disk.load_overload(sig, target_context)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:  # noqa: ARG002 - the interface of numba
        self._compiled.append((*self._name, tuple(str(kind) for kind in sig)))


def only_read() -> list[Signature]:
    """From here on no kernel is written to disk; returns a list that grows with every signature compiled in this process."""
    compiled: list[Signature] = []
    for module, name, kernel in _kernels():
        kernel._cache = _ReadOnly(kernel._cache, module, name, compiled)
    return compiled


def load_all() -> None:
    """Load every kernel that is on disk, for a process that will not be able to open a file."""
    for _, _, kernel in _kernels():
        with suppress(Exception):  # without it the kernel is compiled when it is needed
            for key in kernel._cache._cache_file._load_index():
                kernel.compile(key[0])


def keep(signatures: Iterable[Signature]) -> None:
    """Compile signatures and keep them on disk. What is no kernel of ours or no plain type is passed over."""
    known = {(module, name): kernel for module, name, kernel in _kernels()}
    for module, name, kinds in signatures:
        types = [_type(kind) for kind in kinds]
        kernel = known.get((module, name))
        if kernel is not None and None not in types:
            kernel.compile(tuple(types))


def _kernels() -> Iterator[tuple[str, str, Any]]:
    """Module, name and dispatcher of every kernel loaded so far that is kept on disk."""
    found: dict[int, tuple[str, str, Any]] = {}
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("hyposcreen."):
            for value in list(vars(module).values()):
                function = getattr(value, "py_func", None)
                if function is not None and hasattr(value, "_cache"):
                    found[id(value)] = (function.__module__, function.__qualname__, value)
    yield from found.values()


def _type(text: str) -> Any:
    from numba import types

    if text in _SCALARS:
        return getattr(types, "bool_" if text == "bool" else text)
    match: Any = _ARRAY.fullmatch(text)
    if match is None or match[2] not in _SCALARS:
        return None
    inner = getattr(types, "bool_" if match[2] == "bool" else match[2])
    return types.Array(inner, int(match[3]), match[4], readonly=match[1] is not None)
