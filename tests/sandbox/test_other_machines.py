"""What is chosen where a kernel lacks Landlock, has it off, is a container's, or confines nothing; imitated by a filter."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hyposcreen.agent.errors import UserError
from hyposcreen.agent.sandbox import choose
from hyposcreen.agent.sandbox.selftest import Finding

IMITATE = Path(__file__).parent / "imitate.py"
ASK = """
import json
from hyposcreen.agent.sandbox.choose import findings, strongest
found = findings()
print(json.dumps({"chosen": strongest(found), "why": {n: f.in_words for n, f in found.items()}}))
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the boundaries are those of Linux")


@pytest.fixture(scope="module", autouse=True)
def _holds_at_all() -> None:
    finding = choose.findings()["sealed"]
    if not finding.holds:
        pytest.skip(f"sealed {finding.in_words}, so nothing can be imitated with a filter here")


def under(machine: str, folder: Path, *program: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"XDG_CACHE_HOME": str(folder)}
    command = [sys.executable, str(IMITATE), machine, *program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("machine", "chosen"), [("no_landlock", "sealed"), ("landlock_off", "sealed"), ("no_seccomp", None)]
)
def test_what_is_chosen_is_what_holds(machine: str, chosen: str | None, tmp_path: Path) -> None:
    done = under(machine, tmp_path, "-c", ASK)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["chosen"] == chosen
    assert said["why"]["landlock"].startswith("does not hold here: ")


def test_a_container_profile_changes_nothing(tmp_path: Path) -> None:
    done = under("container", tmp_path, "-c", ASK)
    here = choose.strongest(choose.findings())
    assert json.loads(done.stdout)["chosen"] == here, done.stderr


def test_without_any_boundary_library_tests_run_and_say_so(tmp_path: Path, project: Path) -> None:
    done = under("no_seccomp", tmp_path, "-m", "hyposcreen", "run", "-C", str(project))
    assert done.returncode == 0, done.stderr
    assert "nothing here can confine a worker" in done.stderr
    assert "rows       2 hypotheses" in done.stdout


@pytest.fixture
def nothing_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {name: Finding(name, False, (), (), (), "imitated", 0.0) for name in ("landlock", "sealed")}
    monkeypatch.setattr(choose, "findings", lambda fresh=False: found)


def test_a_boundary_that_is_asked_for_and_does_not_hold_is_refused(nothing_holds: Any) -> None:
    with pytest.raises(UserError, match="sandbox 'landlock' does not hold here: imitated; use --sandbox auto"):
        choose.workers("landlock")
    with pytest.raises(UserError, match="'glass' is not known; choose one of auto, landlock, sealed, none"):
        choose.workers("glass")
    assert choose.workers("auto").backend == "none"


def test_foreign_code_is_refused_with_the_reason_and_the_mend(nothing_holds: Any) -> None:
    with pytest.raises(UserError, match=r"imitated.*Linux with seccomp"):
        choose.for_foreign_code()
    with pytest.raises(UserError, match="'none' holds no code"):
        choose.for_foreign_code("none")


def test_what_is_kept_is_believed_only_from_this_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked = []
    made = {"sealed": Finding("sealed", True, ("x",), (), (), "", 0.1)}
    monkeypatch.setattr(choose, "examine", lambda: asked.append(1) or made)
    assert choose.findings() == choose.findings() == made and len(asked) == 1
    (kept,) = (tmp_path / "hyposcreen").iterdir()
    kept.chmod(0o666)  # now anybody may have written it
    assert choose.findings() == made and len(asked) == 2
    assert choose.findings(fresh=True) == made and len(asked) == 3
