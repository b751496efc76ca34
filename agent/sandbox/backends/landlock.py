"""Backend ``landlock``: as ``sealed``, but files of the interpreter and its libraries may be read, so that late imports work.

Needs Landlock (Linux 5.13, switched on) and seccomp. Closed: every file but the interpreter's and the libraries'; all writing;
sockets; new programs and processes; signals to others. Open: whether a path exists and how large it is (``stat`` is not
Landlock's to refuse), besides what ``sealed`` leaves open.
"""

import os
import site
import sys
import sysconfig
from pathlib import Path

from ..linux import landlock, lockdown
from .base import Backend, Wish
from .sealed import close_calls

_SYSTEM = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo",
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system/cpu", "/dev/null", "/dev/urandom",
)  # fmt: skip
_PACKAGE = Path(__file__).parents[3]
_CODE = ("tests_library",)
"""What a library test may import late; the rest is loaded before."""


def readable(package: bool) -> list[str]:
    """Paths a worker may read below. Never a working folder, also when it is the package's own folder."""
    libraries = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    libraries |= {*site.getsitepackages(), str(Path(sys.base_prefix) / "lib"), str(Path(sys.prefix) / "lib")}
    # An environment may lean on the libraries of another one, by a .pth file.
    libraries |= {path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}}
    out = list(_SYSTEM)
    for path in sorted(map(Path, libraries)):
        out += _without_package(path.resolve())
    if package:
        out += [str(_PACKAGE.resolve() / name) for name in _CODE] + _kernels()
    return out


def _without_package(folder: Path) -> list[str]:
    """``folder``, or everything in it but this package where it is installed somewhere below."""
    package = _PACKAGE.resolve()
    if folder not in package.parents:
        return [str(folder)]
    out = []
    for child in folder.iterdir():
        if child.resolve() != package and not child.is_symlink():
            out += _without_package(child)
    return out


def _kernels() -> list[str]:
    """Where compiled kernels are kept, if not beside their source."""
    return [os.environ["NUMBA_CACHE_DIR"]] if "NUMBA_CACHE_DIR" in os.environ else []


def _confine(wish: Wish) -> None:
    rules = landlock.ruleset(readable(wish.package))
    lockdown.limit(wish.memory_bytes, wish.cpu_seconds)  # now: what is held is read from a file
    lockdown.no_new_privileges()
    landlock.restrict(rules)
    close_calls(wish, reading=True)


LANDLOCK = Backend(
    name="landlock",
    confines="Landlock: reads the interpreter and its libraries, writes nothing; seccomp: no sockets, no new processes; no "
    "capabilities; memory limits; constructed environment",
    holds_code=True,
    open=("whether a path exists, and its size", "the time", "the kernel's name and the machine's memory size"),
    preload=False,
    confine=_confine,
)
