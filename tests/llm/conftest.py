"""A project whose annotations are few, asked through a scripted server."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

FEW = ("immune_signalling", "t_cells", "tf_targets")


@pytest.fixture(autouse=True)
def quick(no_fsync_in_this_process: None, no_waiting: list[float]) -> None:
    """For every test of this folder."""


@pytest.fixture(scope="session")
def template(small: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with three annotations, which is all these tests need: their subject is what is asked."""
    few = [a for a in small.demo_annotations() if a.name in FEW]
    return Path(small.make_project_folder(tmp_path_factory.mktemp("llm") / "template", few))


@pytest.fixture
def fresh(template: Path, without_run: Callable[..., Path]) -> Callable[..., Path]:
    """Makes working folders without a run: ``fresh("a", seed=6)``."""
    return partial(without_run, template)
