"""Workers run the copy of the package that asked for them, not the one that happens to be installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hyposcreen

_LEFT_OUT = shutil.ignore_patterns(".*", "tests", "docs", "benchmarks", "dist", "build", "__pycache__")
_ASK = """
import sys
from pathlib import Path
from hyposcreen.agent.config import Config
from hyposcreen.agent.project import Side, open_project
from hyposcreen.agent.sandbox.base import Limits
from hyposcreen.agent.sandbox.choose import workers
project = open_project(Path(sys.argv[2]), Config())
job = project.job("cohesion", "t_cells", Side.EXPLORE, subsets={"s": ("all", "all")}, nulls=("gene_label",), m=19, seed=0,
                  vectors=True)
made = workers(sys.argv[1])
sandbox = made.make()
outcome = sandbox.run(job, Limits(240, 2 << 30))
print(outcome.kind, outcome.detail, outcome.value["n"])
sandbox.close()
made.close()
"""


@pytest.mark.parametrize("boundary", ["none", "auto"])
def test_a_copy_on_the_path_is_what_its_workers_run(tmp_path: Path, boundary: str) -> None:
    copy = tmp_path / "hyposcreen"
    shutil.copytree(Path(hyposcreen.__file__).parent, copy, ignore=_LEFT_OUT)
    worker = copy / "agent" / "sandbox" / "worker.py"
    text = worker.read_text(encoding="utf-8")
    changed = text.replace('"n": geometry.n,', '"n": 424242,')
    assert changed != text
    worker.write_text(changed, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-s", "-P", "-c", _ASK, boundary, str(tmp_path)],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path), "HOME": str(tmp_path), "HYPOSCREEN_NO_NUMBA": "1"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.stdout.split() == ["ok", "424242"], done.stdout + done.stderr
