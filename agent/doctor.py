"""``screen doctor``: does this machine hold what a run needs? Each check does the thing instead of reading a version."""

import os
import platform
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..tests_library.engine.jit import HAVE_NUMBA
from ..tests_library.engine.philox import philox
from .config import Config
from .errors import UserError
from .ledger.errors import LedgerError
from .ledger.store import Ledger
from .ledger.verify import verify
from .project import Side, open_project
from .sandbox.backends import BACKENDS
from .sandbox.base import Job, Limits
from .sandbox.choose import NONE, findings, strongest, workers
from .sandbox.process import ProcessSandbox
from .sandbox.selftest import examine as examine_boundaries

_KNOWN_ANSWER = (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)


@dataclass(frozen=True)
class Check:
    """One check; ``level`` is ``ok``, ``note`` or ``broken``."""

    name: str
    level: str
    detail: str


def examine(folder: Path) -> tuple[Check, ...]:
    """Run every check for ``folder``. A check that fails is a result, not an exception."""
    checks: tuple[Callable[[Path], Check], ...] = (
        _python, _packages, _folder, _database, _generator, _worker, _limits, _demo, _extraction,
    )  # fmt: skip
    return (*(check(folder) for check in checks), *_boundaries())


def _python(_: Path) -> Check:
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return Check("python", "ok" if sys.version_info >= (3, 11) else "broken", text)


def _packages(_: Path) -> Check:
    names = ("hyposcreen", "numpy", "numba", "scipy", "statsmodels", "pandas", "sqlalchemy")
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    absent = [n for n, v in found.items() if v == "missing"]
    text = ", ".join(f"{n} {v}" for n, v in found.items())
    if absent == ["numba"]:
        return Check("packages", "note", f"{text}; without numba the engine gives the same bits more slowly")
    return Check("packages", "broken" if absent else "ok", text)


def _folder(folder: Path) -> Check:
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Check(
            "folder", "broken", f"{folder} cannot be written to ({error.strerror}); choose another with --project"
        )
    return Check("folder", "ok", f"{folder.resolve()} can be written to")


def _database(_: Path) -> Check:
    with tempfile.TemporaryDirectory() as scratch:
        try:
            path = Path(scratch) / "runs.db"
            Ledger.create(path).close()
            report = verify(path)
        except LedgerError as error:
            return Check("ledger database", "broken", str(error))
    detail = f"SQLite {sqlite3.sqlite_version}, an empty ledger was made and verified"
    return Check(
        "ledger database", "ok" if report.ok else "broken", detail if report.ok else "; ".join(report.problems)
    )


def _generator(_: Path) -> Check:
    same = philox((0, 0, 0, 0), (0, 0)) == _KNOWN_ANSWER
    path = "numba" if HAVE_NUMBA else "NumPy"
    return Check("random generator", "ok" if same else "broken", f"Philox4x32-10 known answer, {path} path")


def _worker(_: Path) -> Check:
    made = workers()
    sandbox = made.make()
    try:
        outcome = sandbox.run(_tiny_job(m=199), Limits(wall_seconds=120))
    finally:
        sandbox.close()
        made.close()
    if outcome.kind != "ok":
        return Check("worker", "broken", f"a small job ended as {outcome.kind}: {outcome.detail}")
    return Check("worker", "ok", f"a small job came back in {outcome.seconds:.1f} s; boundary: {sandbox.confines}")


def _limits(_: Path) -> Check:
    sandbox = ProcessSandbox()
    try:
        outcome = sandbox.run(_tiny_job(m=5_000_000), Limits(wall_seconds=3))
    finally:
        sandbox.close()
    if outcome.kind == "timeout":
        return Check("worker limits", "ok", f"a job that overran 3 s was ended after {outcome.seconds:.1f} s")
    return Check(
        "worker limits", "broken", f"a job that must overrun its 3 s ended as {outcome.kind}: {outcome.detail}"
    )


def _demo(folder: Path) -> Check:
    try:
        project = open_project(folder, Config())
    except UserError as error:
        return Check("demo cache", "broken", str(error))
    facts = project.split_facts()
    detail = f"digest {project.cache.digest[:12]} verified, {facts['explore']} + {facts['sealed']} genes"
    return Check("demo cache", "ok", detail)


def _extraction(_: Path) -> Check:
    try:
        return Check("extraction", "ok", f"torch {version('torch')} is installed")
    except PackageNotFoundError:
        return Check(
            "extraction", "note", "torch is not installed; it is needed only to extract a cache from a checkpoint"
        )


def _boundaries() -> Iterator[Check]:
    """Every boundary, tried now; what was kept of an earlier try is replaced."""
    found = findings(fresh=True)
    chosen = strongest(found)
    found |= examine_boundaries([name for name, backend in BACKENDS.items() if name not in found and name != NONE])
    for name, finding in found.items():
        words = f"{'chosen; ' if name == chosen else ''}{finding.in_words}"
        yield Check(f"sandbox {name}", "ok" if finding.holds else "note", words)
    if chosen is None:
        yield Check(
            "sandbox", "note", "nothing confines a worker here: library tests run in plain worker processes, and code that "
            "nobody vouches for is refused. Linux with seccomp is enough (5.13 with Landlock for the stronger one)",
        )  # fmt: skip


def _tiny_job(m: int) -> Job:
    project = open_project(Path(), Config())
    return project.job(
        "cohesion", "t_cells", Side.EXPLORE, subsets={"doctor": ("all", "all")}, nulls=("gene_label",), m=m, seed=0,
        vectors=False,
    )  # fmt: skip
