"""Arrays that are dear to make and the same whenever they are made, kept up to a number of bytes."""

from collections.abc import Callable, Hashable
from typing import Any

from numpy.typing import NDArray


class Kept:
    """Keeps arrays by name while there is room; results are the same without it.

    What came first stays. Every scan reads its blocks in the same order, and dropping the oldest would then drop each block
    just before it is needed again.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._room = limit_bytes
        self._arrays: dict[Hashable, NDArray[Any]] = {}

    @property
    def nbytes(self) -> int:
        """Bytes kept."""
        return sum(array.nbytes for array in self._arrays.values())

    def get(self, name: Hashable, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """The array of this name, read-only, made now if it is not kept."""
        if name in self._arrays:
            return self._arrays[name]
        array = make()
        array.flags.writeable = False
        if array.nbytes <= self._room:
            self._room -= array.nbytes
            self._arrays[name] = array
        return array
