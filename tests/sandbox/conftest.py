"""Backends that hold on this machine, and the corpus."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hyposcreen.agent.sandbox.backends import CONFINING
from hyposcreen.agent.sandbox.choose import findings, strongest
from hyposcreen.agent.sandbox.statistics import StatisticSandbox


def _load(name: str, folder: str = "sandbox") -> Any:
    path = Path(__file__).parents[1] / folder / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"sandbox_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def load() -> Any:
    """Loads a file beside the tests by its name."""
    return _load


@pytest.fixture(scope="session")
def corpus() -> Any:
    return _load("corpus")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder whose run takes a moment."""
    small = _load("small", "agent")
    folder: Path = small.make_project_folder(tmp_path / "p", iterations=1, per_iteration=2)
    return folder


@pytest.fixture(scope="session", params=[name for name, b in CONFINING.items() if b.holds_code])
def boundary(request: Any) -> str:
    """Name of a backend, if the self-test has seen it hold here; else the test is skipped with what it found."""
    finding = findings()[request.param]
    if not finding.holds:
        pytest.skip(f"{request.param} {finding.in_words}")
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def chosen() -> str:
    """The boundary that ``auto`` takes here, for what does not depend on which it is; else the test is skipped."""
    name = strongest(findings())
    if name is None:
        pytest.skip("no boundary holds here")
    return name


@pytest.fixture(scope="session")
def sandbox(boundary: str) -> Iterator[StatisticSandbox]:
    one = StatisticSandbox(CONFINING[boundary])
    yield one
    one.close()
