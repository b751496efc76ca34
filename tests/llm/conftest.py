"""The small project of ``tests/agent``, asked through a scripted server; loaded by path, because test folders are no packages."""

import importlib.util
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hyposcreen.agent.llm import openai_chat


def _load(name: str, path: Path) -> ModuleType:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


_module = _load("hyposcreen_llm_cli_conftest", Path(__file__).parents[1] / "cli" / "conftest.py")
no_fsync_in_this_process = _module.no_fsync_in_this_process
no_settings_from_outside = _module.no_settings_from_outside
small = _module.small
call = _module.call

FEW = ("immune_signalling", "t_cells", "tf_targets")
KEY = "sk-test-0123456789abcdef"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits are noted instead of waited for; the key is known, so that a test can look for it everywhere."""
    waited: list[float] = []
    monkeypatch.setattr(openai_chat, "_pause", waited.append)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    return waited


@pytest.fixture(scope="session")
def server() -> ModuleType:
    return _load("hyposcreen_scripted_server", Path(__file__).with_name("scripted_server.py"))


@pytest.fixture(scope="session")
def template(small: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with three annotations, which is all these tests need: their subject is what is asked."""
    few = [a for a in small.demo_annotations() if a.name in FEW]
    return Path(small.make_project_folder(tmp_path_factory.mktemp("llm") / "template", few))


@pytest.fixture
def fresh(template: Path, small: Any, tmp_path: Path) -> Callable[..., Path]:
    """Makes working folders without a run: ``fresh("a", seed=6)``."""

    def make(name: str, **changes: Any) -> Path:
        folder = Path(shutil.copytree(template, tmp_path / name))
        return Path(small.write_settings(folder, **changes))

    return make


@pytest.fixture
def ask(fresh: Callable[..., Path], small: Any) -> Callable[..., Any]:
    """``ask(folder name, server, settings…)``: a whole run of the small project against ``server``; gives its ledger."""

    def run(name: str, scripted: Any, **changes: Any) -> Any:
        from hyposcreen.agent.ledger.store import Ledger

        model = {"proposer": "openai", "model": "m", "base_url": scripted.url}
        folder = fresh(name, **(model | {"iterations": 2} | changes))
        small.run_campaign_in_process(folder)
        return Ledger.open_readonly(folder / "runs.db")

    return run
