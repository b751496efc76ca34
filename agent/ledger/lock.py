"""One runner at a time: an advisory lock beside the ledger that dies with its holder."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import EXIT_INPUTS, LedgerError

_held: set[int] = set()


def _forget_in_child() -> None:
    # A forked worker shares the open file and would keep the lock alive after its parent was killed.
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget_in_child)


@contextmanager
def runner_lock(ledger: Path) -> Iterator[None]:
    """Hold ``<ledger>.lock`` exclusively while the block runs; readers never look at it.

    The operating system releases the lock when the process ends, however it ends; the file itself stays, because
    removing it could hand the same lock to two runners. Raises :class:`LedgerError` at once if another runner (of any
    process or thread) holds it, naming its process id.
    """
    path = ledger.with_name(ledger.name + ".lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise LedgerError(
            f"{path} cannot be opened ({error.strerror}); a run needs to write in that folder", EXIT_INPUTS
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 256, 0).decode("utf-8", "replace").strip() or "a process that is just starting"
        os.close(descriptor)
        raise LedgerError(f"another run is working on {ledger}: {holder}; wait for it or stop it first") from error
    _held.add(descriptor)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        if descriptor in _held:
            _held.discard(descriptor)
            os.ftruncate(descriptor, 0)
            os.close(descriptor)
