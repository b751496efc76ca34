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
from hyposcreen.agent.sandbox.backends import BACKENDS
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
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize(
    ("machine", "without", "why"),
    [
        ("no_landlock", {"landlock"}, "this kernel offers no Landlock"),
        ("landlock_off", {"landlock"}, "this kernel offers no Landlock"),
        ("no_user_namespaces", {"namespaces"}, "unshare: Operation not permitted"),
        ("no_mounts", {"namespaces"}, "mount: Permission denied"),
        ("old_kernel", {"namespaces", "landlock"}, "open_tree: Function not implemented"),
        ("container", {"namespaces"}, "unshare: Operation not permitted"),
        ("no_seccomp", {"namespaces", "landlock", "sealed"}, "seccomp: Function not implemented"),
    ],
)
def test_what_is_chosen_is_what_holds(machine: str, without: set[str], why: str, tmp_path: Path) -> None:
    """The first of those that held here and need nothing that is missing there; the others say what they missed."""
    done = under(machine, tmp_path, "-c", ASK)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    left = [name for name, finding in choose.findings().items() if finding.holds and name not in without]
    assert said["chosen"] == next(iter(left), None)
    for name in without:
        assert said["why"][name].startswith("does not hold here: ")
    assert any(why in said["why"][name] for name in without)


def test_without_any_boundary_library_tests_run_and_say_so(tmp_path: Path, project: Path) -> None:
    done = under("no_seccomp", tmp_path, "-m", "hyposcreen", "run", "-C", str(project))
    assert done.returncode == 0, done.stderr
    assert "nothing here can confine a worker" in done.stderr
    assert "rows       2 hypotheses" in done.stdout


@pytest.fixture
def nothing_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {name: Finding(name, False, (), (), (), "imitated", 0.0) for name in BACKENDS if name != "none"}
    monkeypatch.setattr(choose, "findings", lambda fresh=False: found)


def test_a_boundary_that_is_asked_for_and_does_not_hold_is_refused(nothing_holds: Any) -> None:
    with pytest.raises(UserError, match="sandbox 'landlock' does not hold here: imitated; use --sandbox auto"):
        choose.workers("landlock")
    with pytest.raises(UserError, match=f"'glass' is not known; choose one of auto, {', '.join(BACKENDS)}"):
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
    monkeypatch.setattr(choose, "examine", lambda _: asked.append(1) or made)
    assert choose.findings() == choose.findings() == made and len(asked) == 1
    (kept,) = (tmp_path / "hyposcreen").iterdir()
    kept.chmod(0o666)  # now anybody may have written it
    assert choose.findings() == made and len(asked) == 2
    assert choose.findings(fresh=True) == made and len(asked) == 3


def test_a_worker_that_did_not_start_is_asked_again_before_the_next_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked = []
    busy = {
        "landlock": Finding("landlock", False, (), (), (), "no worker started in 30 s", 30.0),
        "sealed": Finding("sealed", True, ("x",), (), (), "", 0.1),
    }
    monkeypatch.setattr(choose, "examine", lambda _: asked.append(1) or busy)
    assert choose.findings() == choose.findings() == busy and len(asked) == 1
    (kept,) = (tmp_path / "hyposcreen").iterdir()
    then = kept.stat().st_mtime - 601
    os.utime(kept, (then, then))
    assert choose.findings() == busy and len(asked) == 2
    whole = {"sealed": busy["sealed"]}
    monkeypatch.setattr(choose, "examine", lambda _: asked.append(1) or whole)
    assert choose.findings(fresh=True) == whole
    os.utime(kept, (then, then))
    assert choose.findings() == whole and len(asked) == 3
