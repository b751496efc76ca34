"""The fixtures of ``tests/agent``, loaded by path because test folders are no packages here."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hyposcreen.agent import session
from hyposcreen.cli import main

_NAME = "hyposcreen_agent_conftest"
_spec = importlib.util.spec_from_file_location(_NAME, Path(__file__).parents[1] / "agent" / "conftest.py")
assert _spec is not None and _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
sys.modules[_NAME] = _module
_spec.loader.exec_module(_module)

no_fsync_in_this_process = _module.no_fsync_in_this_process
no_settings_from_outside = _module.no_settings_from_outside
small = _module.small
finished = _module.finished
copied = _module.copied
fresh = _module.fresh


class Called(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Called]:
    """``screen ARGUMENTS`` in this process, without worker processes."""
    monkeypatch.setattr(session, "open_executor", lambda *_: _module._load().in_process())

    def run(*arguments: Any) -> Called:
        code = 0
        try:
            main([str(a) for a in arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return Called(code, said.out, said.err)

    return run
