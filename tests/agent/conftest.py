"""One finished small run a session, copied by whoever wants to change it."""

import importlib.util
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hyposcreen.agent.ledger import connection

_NAME = "hyposcreen_small_project"


def _load() -> ModuleType:
    if _NAME not in sys.modules:
        spec = importlib.util.spec_from_file_location(_NAME, Path(__file__).with_name("small.py"))
        assert spec is not None and spec.loader is not None
        sys.modules[_NAME] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[_NAME])
    return sys.modules[_NAME]


@pytest.fixture(autouse=True)
def no_fsync_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Durability is tested in processes of their own; here it would only be slow. Undone after each test."""
    quick = tuple(p.replace("synchronous = FULL", "synchronous = OFF") for p in connection._WRITER_PRAGMAS)
    monkeypatch.setattr(connection, "_WRITER_PRAGMAS", quick)


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [n for n in os.environ if n.startswith("SCREEN_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def small() -> ModuleType:
    return _load()


@pytest.fixture(scope="session")
def finished(small: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished run; read only."""
    return small.finished_run(lambda: tmp_path_factory.mktemp("finished"))


@pytest.fixture
def copied(finished: Any, tmp_path: Path) -> Path:
    """The folder of the finished run, copied to be changed."""
    return Path(shutil.copytree(finished.project.folder, tmp_path / "copy"))


@pytest.fixture
def fresh(finished: Any, small: ModuleType, tmp_path: Path) -> Callable[..., Path]:
    """Makes working folders without a run: ``fresh("a", seed=6)``; ``only`` names the annotations it keeps."""

    def make(name: str, only: Sequence[str] = (), **changes: Any) -> Path:
        folder = tmp_path / name
        shutil.copytree(finished.project.folder, folder, ignore=shutil.ignore_patterns("runs.db*", "report.html"))
        if only:
            kept = [a for a in small.demo_annotations() if a.name in only]
            small.write_annotations(folder / "labels", kept)
        return Path(small.write_settings(folder, **changes))

    return make
