"""Clusters on loopback, and jobs for them."""

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from hyposcreen.agent.project import Side
from hyposcreen.agent.sandbox.base import Job


@pytest.fixture(scope="session")
def loopback(load_file: Callable[[str], ModuleType]) -> Any:
    """The class that starts a scheduler and workers."""
    pytest.importorskip("distributed", reason="distributed is not installed: pip install 'hyposcreen[dask]'")
    return load_file("tests/executors/cluster.py").LoopbackCluster


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
