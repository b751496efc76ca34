"""Backends that hold on this machine, and the corpus."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hyposcreen.agent.sandbox.backends import CONFINING
from hyposcreen.agent.sandbox.choose import findings, strongest
from hyposcreen.agent.sandbox.statistics import StatisticSandbox


@pytest.fixture(scope="session")
def corpus(load_file: Callable[[str], ModuleType]) -> ModuleType:
    return load_file("tests/sandbox/corpus.py")


@pytest.fixture(scope="session")
def hostile(load_file: Callable[[str], ModuleType]) -> ModuleType:
    return load_file("tests/sandbox/hostile.py")


@pytest.fixture
def project(small: ModuleType, tmp_path: Path) -> Path:
    """A folder whose run takes a moment."""
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
