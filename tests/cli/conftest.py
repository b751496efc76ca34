"""The fixtures of ``tests/agent``, loaded by path because test folders are no packages here."""

import importlib.util
import sys
from pathlib import Path

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
