"""What the self-test tries inside a worker. Each is harmless where it succeeds, and each must fail behind a boundary."""

import ctypes
import encodings.idna  # noqa: F401 - a worker without files could not load it on first use of an address
import mmap
import os
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .backends import CONFINING
from .backends.base import Wish
from .frames import answer
from .zygote import Role

_VSOCK = getattr(socket, "AF_VSOCK", 40)
_MUCH = 1 << 30
"""More than the self-test's limit, and untouched: where it is granted, nothing is used."""


def run_probes(targets: Mapping[str, Any]) -> dict[str, str]:
    """Probe → ``open`` where it succeeded, else ``closed`` and the error's name.

    ``targets``: ``secret`` (a file of the loop's account), ``folder`` (one it may write), ``port`` (of a server of the
    loop's own), ``pid`` (of a process of the loop's own).
    """
    secret, folder, pid = Path(targets["secret"]), Path(targets["folder"]), int(targets["pid"])
    address = ("127.0.0.1", int(targets["port"]))
    tries: dict[str, Callable[[], Any]] = {
        "read a file": secret.read_bytes,
        "see that a path exists": secret.lstat,
        "list a folder": lambda: list(folder.iterdir()),
        "write a file": lambda: (folder / "written").write_text("x"),
        "remove a file": (folder / "remove").unlink,
        "connect by TCP": lambda: socket.create_connection(address, 2).close(),
        "send by UDP": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", address),
        "open a local socket": lambda: socket.socket(socket.AF_UNIX).close(),
        "open a socket to the host": lambda: socket.socket(_VSOCK, socket.SOCK_STREAM).close(),
        "start a process": _fork,
        "run a program": lambda: subprocess.run(["/bin/sh", "-c", ":"], check=True),
        "signal another process": lambda: os.kill(pid, 0),
        "read another's memory": lambda: Path(f"/proc/{pid}/mem").open("rb").close(),
        "make a namespace": _unshare,
        "share memory without limit": lambda: mmap.mmap(-1, _MUCH).close(),
        "hold memory without limit": lambda: mmap.mmap(-1, _MUCH, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close(),
        "raise a limit": _raise_limit,
    }
    return {name: _how(action) for name, action in tries.items()}


def _how(action: Callable[[], Any]) -> str:
    try:
        action()
    except (OSError, MemoryError, ValueError, subprocess.SubprocessError) as error:
        return f"closed ({type(error).__name__})"
    return "open"


def _fork() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _unshare() -> None:
    """A new set of host and domain names: of all namespaces the one that changes nothing."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "unshare"):
        raise OSError("there are no namespaces")
    if libc.unshare(0x04000000) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def _raise_limit() -> None:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def probe(request: dict[str, Any], files: Sequence[int]) -> int:
    """The role of a worker of the self-test: confine, try what must not succeed, and say what happened."""
    with os.fdopen(files[0], "wb") as replies:
        try:
            CONFINING[request["backend"]].confine(Wish(request["memory_bytes"], package=False, kill=False))
        except OSError as error:
            answer(replies, {"kind": "refused", "detail": str(error)})
            return 1
        answer(replies, {"kind": "ready", "found": run_probes(request["targets"])})
    return 0


ROLES: dict[str, Role] = {"probe": probe}
