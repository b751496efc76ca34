"""Writing so that what is there afterwards is whole: every error is seen, and everything is flushed to the disk."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_bytes(path: Path, content: bytes | memoryview, *more: bytes | memoryview) -> None:
    """Write a file and flush it to the disk; raises ``OSError`` if any byte could not be written."""
    with path.open("wb") as handle:
        for part in (content, *more):
            handle.write(part)
        handle.flush()
        os.fsync(handle.fileno())


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write ``array`` as ``.npy`` (the bytes of ``numpy.save``) and flush it to the disk.

    ``numpy.save`` leaves the last bytes to a buffer of the C library and does not look whether they arrived: on a full disk
    it returned without an error and left a cut file. Here the error is raised.

    Raises:
        OSError: if any byte could not be written.
    """
    whole = np.ascontiguousarray(array).reshape(array.shape)  # ascontiguousarray makes a number a row of one
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(whole))
    write_bytes(path, header.getvalue(), whole.reshape(-1).view(np.uint8).data)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
