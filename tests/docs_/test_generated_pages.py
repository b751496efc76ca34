"""Pages that are made from the code are made from this code."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_generated_pages_are_current() -> None:
    if not (ROOT / "docs" / "generate.py").exists():
        pytest.skip("the docs are not part of this installation")
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readme_marks_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("run", "test"):
        assert readme.count(f"<!-- command: {name} -->\n```sh\n") == 1
