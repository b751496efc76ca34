"""The fixtures of ``tests/agent``, loaded by path because test folders are no packages here, and clusters on loopback."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hyposcreen.agent.project import Side
from hyposcreen.agent.sandbox.base import Job


def _load(name: str, path: Path) -> ModuleType:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


_agent = _load("hyposcreen_agent_conftest", Path(__file__).parents[1] / "agent" / "conftest.py")
no_settings_from_outside = _agent.no_settings_from_outside
small = _agent.small
finished = _agent.finished
fresh = _agent.fresh


@pytest.fixture(scope="session")
def loopback() -> Any:
    """The class that starts a scheduler and workers."""
    pytest.importorskip("distributed", reason="distributed is not installed: pip install 'hyposcreen[dask]'")
    return _load("hyposcreen_loopback_cluster", Path(__file__).with_name("cluster.py")).LoopbackCluster


@pytest.fixture(scope="module")
def cluster(loopback: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A scheduler and two workers."""
    with loopback(tmp_path_factory.mktemp("cluster")) as made:
        made.add_worker()
        made.add_worker()
        yield made


@pytest.fixture(scope="session")
def jobs(finished: Any) -> list[Job]:
    """One job of each kind of entity, small and with its vectors."""
    chosen = (("cohesion", "t_cells"), ("graded_gradient", "immune_signalling"), ("edge_auroc", "tf_targets"),
              ("axis_separation", "b_cells"))  # fmt: skip
    return [
        finished.project.job(
            test, annotation, Side.EXPLORE, subsets={"s": ("all", "all")}, nulls=("gene_label", "stratified"), m=99, seed=3,
            vectors=True,
        )
        for test, annotation in chosen
    ]  # fmt: skip
