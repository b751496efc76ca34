"""The small project of ``tests/llm`` and its scripted server, asked by a model that writes statistics."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hyposcreen.agent.sandbox.choose import findings, strongest

HERE = Path(__file__).parent


def load(name: str, path: Path) -> ModuleType:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


_llm = load("hyposcreen_custom_llm_conftest", HERE.parent / "llm" / "conftest.py")
no_fsync_in_this_process = _llm.no_fsync_in_this_process
no_settings_from_outside = _llm.no_settings_from_outside
small = _llm.small
call = _llm.call
no_waiting = _llm.no_waiting
server = _llm.server
fresh = _llm.fresh
SETS = ("b_cells", "t_cells", "housekeeping", "tf_targets")


@pytest.fixture(scope="session")
def template(small: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with three gene sets and a graph."""
    few = [a for a in small.demo_annotations() if a.name in SETS]
    return Path(small.make_project_folder(tmp_path_factory.mktemp("custom") / "template", few))


@pytest.fixture(scope="session")
def statistics() -> ModuleType:
    return load("hyposcreen_custom_statistics", HERE / "statistics.py")


@pytest.fixture(scope="session")
def author() -> ModuleType:
    return load("hyposcreen_custom_author", HERE / "author.py")


@pytest.fixture
def confined() -> str:
    """Name of the boundary that code of a model gets here; without one the test is skipped with the reason."""
    name = strongest(findings())
    if name is None:
        pytest.skip("nothing here can confine code of a model")
    return name


@pytest.fixture
def run_with(fresh: Callable[..., Path], small: Any) -> Callable[..., Any]:
    """``run_with(folder name, server, settings…)``: a whole run with ``--allow-code``; gives its ledger."""

    def run(name: str, scripted: Any, **changes: Any) -> Any:
        from hyposcreen.agent.ledger.store import Ledger

        model = {"proposer": "openai", "model": "m", "base_url": scripted.url, "allow_code": True, "iterations": 2}
        folder = fresh(name, **(model | changes))
        small.run_campaign_in_process(folder)
        return Ledger.open_readonly(folder / "runs.db")

    return run


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Any]:
    """Something of the host that must stay as it is."""
    with load("hyposcreen_custom_host", HERE / "host.py").Host(tmp_path / "host") as one:
        yield one
