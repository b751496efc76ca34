"""What makes the numbers of a row, besides its inputs: code, packages, numerics, machine. Read from the running process.

The code of a test is the module that declares it and what that imports, and the engine all tests share. Modules of other
tests are left out, so that work on one test is no change of another.
"""

import ast
import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import metadata
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from ..hypotheses.canonical import canonical_json
from ..tests_library.catalogue import CATALOGUE
from .custom.kind import NAME as CUSTOM
from .ledger.provenance import Artifact, Environment

_PACKAGE = __name__.partition(".")[0]
_ROOT = Path(__file__).resolve().parent.parent
_ENGINE = ("agent.sandbox.worker", "agent.explore", "agent.results", "agent.look", "agent.policy", "agent.project")
"""Modules that every number passes through."""
_FOLLOWED = ("tests_library.", "hypotheses.", "embeddings_cache.", "agent.sandbox.brought")
"""What is imported from elsewhere (settings, progress, the ledger) makes no number."""
_OF_CODE = (
    "agent.custom.runner", "agent.custom.ensembles", "agent.custom.bench", "agent.custom.jobs", "agent.custom.kind",
    "agent.blinded", "agent.sandbox.statistics", "agent.sandbox.foreign",
)  # fmt: skip
"""What a statistic that a model wrote passes through; its own code is named by the row and kept in the ledger."""
_CATALOGUE = "tests_library.catalogue"
PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "scikit-learn", "gudhi", "statsmodels", "pandas", "threadpoolctl")


def environment(cache_files: Mapping[str, str], threads: int = 1) -> tuple[Artifact, Environment]:
    """The code and the environment of this process. ``threads``: of the numeric libraries in each worker."""
    code = _code()
    return code, Environment(code.sha256, dict(cache_files), packages(), numerics(threads), machine())


@cache
def _code() -> Artifact:
    return Artifact.of("code", canonical_json(sources(all_files())))


def sources(files: Iterable[str]) -> dict[str, str]:
    """Path within the package → its text."""
    return {file: (_ROOT / file).read_text(encoding="utf-8") for file in files}


@cache
def all_files() -> tuple[str, ...]:
    """Every file of the package that makes numbers of some test, by path."""
    return tuple(sorted({file for test in (*CATALOGUE, CUSTOM) for file in files_of(test)}))


@cache
def files_of(test: str) -> tuple[str, ...]:
    """Files that make the numbers of one test, its own first; paths within the package."""
    own = list(_OF_CODE) if test == CUSTOM else sorted(_declared_in(test))
    modules = list(dict.fromkeys([*own, *_closure([*own, *_ENGINE])]))
    return tuple(_file(module).relative_to(_ROOT).as_posix() for module in modules)


def packages() -> dict[str, str]:
    """Python and each numeric package → version; those that are not installed are left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def numerics(threads: int) -> dict[str, Any]:
    """Linear algebra libraries that NumPy and SciPy load, threads of a worker, number formats, compiled kernels."""
    import scipy.linalg  # noqa: F401 - loads its own library, beside NumPy's
    from threadpoolctl import threadpool_info

    from ..tests_library.engine import jit

    libraries = sorted(
        " ".join(str(found.get(key)) for key in ("internal_api", "version", "architecture") if found.get(key))
        for found in threadpool_info()
        if found["user_api"] == "blas"
    )
    return {
        "blas": list(dict.fromkeys(libraries)), "threads": threads, "embedding": "float32", "statistics": "float64",
        "compiled": jit.HAVE_NUMBA,
    }  # fmt: skip


def machine() -> dict[str, str]:
    """Operating system, architecture and processor."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "python": sys.implementation.name,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _declared_in(test: str) -> set[str]:
    """Modules within the package that hold the functions of a test."""
    made = [value for value in vars(CATALOGUE[test]).values() if callable(value)]
    names = {str(module) for value in made if (module := _module_of(value))}
    return {name.removeprefix(f"{_PACKAGE}.") for name in names if name.startswith(f"{_PACKAGE}.tests_library.")}


def _module_of(value: Any) -> str | None:
    inner: Callable[..., Any] = getattr(value, "func", value)  # functools.partial
    return getattr(inner, "__module__", None)


def _closure(roots: Iterable[str]) -> list[str]:
    """Modules of the package that ``roots`` reach by imports, the roots included, by name."""
    found, waiting = set(roots), list(roots)
    while waiting:
        module = waiting.pop()
        if module == _CATALOGUE:
            continue  # it imports every test there is
        for name in _imports(module) - found:
            if name.startswith(_FOLLOWED):
                found.add(name)
                waiting.append(name)
    return sorted(found)


@cache
def _imports(module: str) -> frozenset[str]:
    """Modules of the package that the text of ``module`` imports, wherever in the file."""
    path = _file(module)
    inside = f"{_PACKAGE}.{module}"
    parent = inside if path.name == "__init__.py" else inside.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        base = resolve_name("." * node.level + (node.module or ""), parent) if node.level else node.module or ""
        if base.startswith(f"{_PACKAGE}."):
            name = base.removeprefix(f"{_PACKAGE}.")
            found |= {n for n in (name, *(f"{name}.{alias.name}" for alias in node.names)) if _exists(n)}
    return frozenset(found)


def _file(module: str) -> Path:
    path = _ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _exists(module: str) -> bool:
    return _file(module).is_file()
