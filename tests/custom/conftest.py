"""A project with three gene sets and a graph, asked through a scripted server by a model that writes statistics."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hyposcreen.agent.sandbox.choose import findings, strongest

SETS = ("b_cells", "t_cells", "housekeeping", "tf_targets")


@pytest.fixture(autouse=True)
def quick(no_fsync_in_this_process: None, no_waiting: list[float]) -> None:
    """For every test of this folder."""


@pytest.fixture(scope="session")
def template(small: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with three gene sets and a graph."""
    few = [a for a in small.demo_annotations() if a.name in SETS]
    return Path(small.make_project_folder(tmp_path_factory.mktemp("custom") / "template", few))


@pytest.fixture(scope="session")
def statistics(load_file: Callable[[str], ModuleType]) -> ModuleType:
    return load_file("tests/custom/statistics.py")


@pytest.fixture(scope="session")
def author(load_file: Callable[[str], ModuleType]) -> ModuleType:
    return load_file("tests/custom/author.py")


@pytest.fixture
def confined() -> str:
    """Name of the boundary that code of a model gets here; without one the test is skipped with the reason."""
    name = strongest(findings())
    if name is None:
        pytest.skip("nothing here can confine code of a model")
    return name


@pytest.fixture
def fresh(template: Path, without_run: Callable[..., Path]) -> Callable[..., Path]:
    """Makes working folders without a run: ``fresh("a", seed=6)``."""
    return partial(without_run, template)


@pytest.fixture
def run_with(ask: Callable[..., Any]) -> Callable[..., Any]:
    """``run_with(folder name, server, settings…)``: a whole run with ``--allow-code``; gives its ledger."""
    return partial(ask, allow_code=True)


@pytest.fixture
def host(load_file: Callable[[str], ModuleType], tmp_path: Path) -> Iterator[Any]:
    """Something of the host that must stay as it is."""
    with load_file("tests/custom/host.py").Host(tmp_path / "host") as one:
        yield one
