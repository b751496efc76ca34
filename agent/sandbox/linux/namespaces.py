"""Namespaces: a process with no network, no other processes and no files but those that were put before it.

Documented in ``namespaces(7)``, ``user_namespaces(7)``, ``pivot_root(2)`` and ``mount_setattr(2)``; needs Linux 5.12. An ordinary
account may make a user namespace where the machine lets it, and inside one all the others.
"""

import os
import stat
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from . import lockdown
from .lockdown import call

_MOUNTS, _CGROUP, _UTS, _IPC, _USER, _PID, _NET = (
    0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
_HERE = -100
_CLONE_TREE, _RECURSIVE, _EMPTY_PATH, _FROM_FILE = 1, 0x8000, 0x1000, 4
_SET_READ_ONLY = struct.pack("=4Q", 1, 0, 0, 0)
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 8, 0x20, 0x1000, 0x4000, 1 << 18
_DETACH = 2
_SITE = "/usr"
"""Where the new root is put together, because every Linux has it. What lies below is held by then."""
_HOST = b"worker"


def leave() -> None:
    """Go where there is no network, no other process and no name of the host. Returns in a new process.

    The one that called waits for it, ends as it does, and takes it along when it is killed. All ids stay what they are, and who
    may act for all accounts still may, until it gives up its capabilities. Raises ``OSError`` where the kernel refuses.
    """
    ids = {"gid": os.getegid(), "uid": os.geteuid()}
    waiting, go = os.pipe()
    helper = os.fork()
    if helper == 0:
        os.close(go)
        os.read(waiting, 1)
        _name_all_ids(os.getppid())
    os.close(waiting)
    try:
        call("unshare", _USER | _PID | _NET | _IPC | _UTS | _CGROUP)
    finally:
        os.close(go)
        os.waitpid(helper, 0)
    _name_own_ids(ids)
    child = os.fork()
    if child:
        _end_with(child)
    lockdown.die_with_parent(0)  # who waits outside has no number in here
    call("sethostname", _HOST, len(_HOST))


def show_only(shown: Iterable[str], covered: Iterable[str] = ()) -> None:
    """Make ``shown`` all that this process can see of files: by these names, to read, and nothing beside them.

    What is not there, or may not be reached, is left out. ``covered``: folders that are to look empty but for what of ``shown``
    lies in them. Names must lead through no link. Raises ``OSError`` where the kernel refuses.
    """
    call("unshare", _MOUNTS)
    call("mount", b"none", b"/", None, _REC | _PRIVATE, None)
    held = {path: None if empty else _held(path) for path, empty in layout(shown, covered)}
    missing = {path for path, file in held.items() if file is None} - set(covered)
    os.chdir("/")
    before = os.umask(0o666)  # what leads to a path may be gone through and not listed
    _empty(_SITE)
    os.chdir(_SITE)
    for path, file in held.items():
        if path not in missing:
            _place(path, file)
    call("pivot_root", b".", b".")
    call("umount2", b".", _DETACH)
    os.chdir("/")
    os.umask(before)
    for path in ("/", *covered):
        if os.path.ismount(path):
            call("mount", b"none", path.encode(), None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV | _NOEXEC, None)


def layout(shown: Iterable[str], covered: Iterable[str]) -> list[tuple[str, bool]]:
    """Path → whether it is to look empty, each after what it lies in; without what is there already by then. Pure.

    >>> layout(["/a", "/a/b", "/a/c/d", "/e"], ["/a/c", "/f"])
    [('/a', False), ('/a/c', True), ('/a/c/d', False), ('/e', False)]
    """
    empty = set(covered)
    out: dict[str, bool] = {}
    for path in sorted({*shown, *empty}, key=lambda path: path.split("/")):
        around = next((str(above) for above in Path(path).parents if str(above) in out), None)
        seen = around is not None and not out[around]
        if seen == (path in empty):
            out[path] = path in empty
    return list(out.items())


def _name_all_ids(process: int) -> NoReturn:
    """Give the new namespace of ``process`` every id that this one has: only from outside may more than one's own be named."""
    with suppress(OSError):
        for kind in ("gid", "uid"):
            known = [line.split() for line in Path(f"/proc/self/{kind}_map").read_text().splitlines()]
            named = "".join(f"{first} {first} {count}\n" for first, _, count in known)
            Path(f"/proc/{process}/{kind}_map").write_text(named)
    os._exit(0)


def _name_own_ids(ids: Mapping[str, int]) -> None:
    """Where that was not allowed: the own id alone, which the kernel grants to everybody."""
    for kind, number in ids.items():
        named = Path(f"/proc/self/{kind}_map")
        if not named.read_text():
            if kind == "gid":
                Path("/proc/self/setgroups").write_text("deny")
            named.write_text(f"{number} {number} 1")


def _end_with(child: int) -> NoReturn:
    """Wait for ``child`` and end as it did; its files are its own."""
    lockdown.close_all_but(())
    _, status = os.waitpid(child, 0)
    os._exit(0 if status == 0 else 1)


def _held(path: str) -> int | None:
    """A read-only copy of what is mounted at ``path`` and below, by its file."""
    try:
        file = call("open_tree", _HERE, path.encode(), _CLONE_TREE | _RECURSIVE | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    call("mount_setattr", file, b"", _EMPTY_PATH | _RECURSIVE, _SET_READ_ONLY, len(_SET_READ_ONLY))
    return file


def _place(path: str, file: int | None) -> None:
    """Put ``file`` (or an empty folder) where ``path`` will be when this folder is the root."""
    place = Path(f".{path}")
    if file is None:
        if place.is_dir():
            _empty(str(place))
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if stat.S_ISDIR(os.fstat(file).st_mode):
        place.mkdir(exist_ok=True)
    else:
        place.touch()
    call("move_mount", file, b"", _HERE, os.fsencode(place), _FROM_FILE)
    os.close(file)


def _empty(place: str) -> None:
    call("mount", b"none", os.fsencode(place), b"tmpfs", _NOSUID | _NODEV | _NOEXEC, b"size=1m,nr_inodes=8k,mode=111")
