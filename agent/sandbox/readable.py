"""What a worker may read: the interpreter, its libraries and, for library tests, this package's code. Never a working folder."""

import os
import site
import sys
import sysconfig
from functools import cache
from pathlib import Path

SYSTEM = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo",
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system/cpu", "/dev/null", "/dev/urandom",
)  # fmt: skip
"""What the interpreter and its libraries read of a Linux system."""
PACKAGE = Path(__file__).parents[2]
"""This package, by the name under which it was imported; that may be a link."""
_CODE = ("tests_library",)
"""What a library test may import late; the rest is loaded before."""


@cache
def libraries() -> tuple[str, ...]:
    """Folders of the interpreter and its libraries, without links, sorted. This package may lie in one of them."""
    found = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found |= {*site.getsitepackages(), str(Path(sys.base_prefix) / "lib"), str(Path(sys.prefix) / "lib")}
    # An environment may lean on the libraries of another one, by a .pth file.
    found |= {path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}}
    return tuple(sorted({str(Path(path).resolve()) for path in found}))


def own_code() -> list[str]:
    """What of this package a library test may read, compiled kernels included."""
    kernels = [os.environ["NUMBA_CACHE_DIR"]] if "NUMBA_CACHE_DIR" in os.environ else []
    return [str(PACKAGE.resolve() / name) for name in _CODE] + kernels


@cache
def readable(package: bool) -> tuple[str, ...]:
    """Paths below which a worker may read, never one that holds this package. ``package``: its own code too."""
    found = list(SYSTEM)
    for path in libraries():
        found += _without_package(Path(path))
    return tuple(found + own_code()) if package else tuple(found)


def _without_package(folder: Path) -> list[str]:
    """``folder``, or everything in it but this package where it is installed somewhere below."""
    package = PACKAGE.resolve()
    if folder not in package.parents:
        return [str(folder)]
    out = []
    for child in folder.iterdir():
        if child.resolve() != package and not child.is_symlink():
            out += _without_package(child)
    return out
