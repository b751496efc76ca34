"""Compiled kernels on disk belong to the sources they were made of."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from hyposcreen.tests_library.engine import jit

pytest.importorskip("numba", reason="without numba nothing is compiled")
if not jit.HAVE_NUMBA:
    pytest.skip("numba is switched off here", allow_module_level=True)


def _hits_and_misses(path: Path) -> tuple[int, int]:
    """What the cache answers to a kernel that is read anew from ``path``."""
    spec = importlib.util.spec_from_file_location("kernel_of_a_test", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kernel: Any = jit.jit(module.add_one)
    assert kernel(1) == 2
    return sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values())


def test_a_kernel_is_compiled_again_when_any_source_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kernel_of_a_test.py"
    path.write_text("def add_one(x):\n    return x + 1\n")
    assert _hits_and_misses(path) == (0, 1)
    assert _hits_and_misses(path) == (1, 0)
    monkeypatch.setattr(jit, "SOURCES", (*jit.SOURCES, ("another.py", 0, 0)))  # as if a file of the engine were edited
    assert _hits_and_misses(path) == (0, 1)


def test_the_stamp_holds_every_file_of_the_engine() -> None:
    engine = Path(jit.__file__).parent
    assert {path.name for path in engine.glob("*.py")} <= {name for name, _, _ in jit.SOURCES}
