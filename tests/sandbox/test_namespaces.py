"""Namespaces: what a process sees in them, and that everybody in them ends with whoever made them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hyposcreen.agent.sandbox.backends import CONFINING
from hyposcreen.agent.sandbox.choose import findings
from hyposcreen.agent.sandbox.linux.namespaces import layout
from hyposcreen.agent.sandbox.statistics import StatisticSandbox


@pytest.fixture(scope="module", autouse=True)
def _holds() -> None:
    finding = findings()["namespaces"]
    if not finding.holds:
        pytest.skip(f"namespaces {finding.in_words}")


def test_what_is_there_already_is_not_put_there_again() -> None:
    assert layout(["/a", "/a/b", "/ab", "/a/c/d", "/e"], ["/a/c", "/f"]) == [
        ("/a", False), ("/a/c", True), ("/a/c/d", False), ("/ab", False), ("/e", False),
    ]  # fmt: skip
    assert layout([], ["/a"]) == []


LOOK = """
import json, os, socket, sys
from hyposcreen.agent.sandbox.linux import namespaces
libraries = sys.argv[1]
before = os.getuid(), os.getgid()
namespaces.leave()
interfaces = [name for _, name in socket.if_nameindex()]
namespaces.show_only([libraries, libraries + "/package/seen", "/nowhere", "/dev/null"], [libraries + "/package"])

def outcome(action):
    try:
        return str(action())
    except OSError as error:
        return type(error).__name__

print(json.dumps({
    "same ids": before == (os.getuid(), os.getgid()), "pid": os.getpid(), "parent": os.getppid(), "host": os.uname().nodename,
    "interfaces": interfaces, "there": {p: os.path.exists(p) for p in (
        libraries + "/a.py", libraries + "/package/hidden.py", libraries + "/package/seen/b.py", "/dev/null", "/proc", "/etc",
        os.path.dirname(libraries) + "/work")},
    "write": outcome(lambda: open(libraries + "/new", "w")), "make": outcome(lambda: os.mkdir("/new")),
}))
"""


def test_a_process_sees_what_it_was_given_and_no_more(tmp_path: Path) -> None:
    libraries = tmp_path / "libraries"
    (libraries / "package" / "seen").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    for name in ("a.py", "package/hidden.py", "package/seen/b.py"):
        (libraries / name).write_text("x = 1\n")
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(libraries)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert list(said["there"].values()) == [True, False, True, True, False, False, False]
    assert said["interfaces"] == ["lo"] and said["host"] == "worker" and said["same ids"]
    assert (said["pid"], said["parent"]) == (1, 0)
    assert said["write"] == said["make"] == "OSError"  # a read-only file system, also to root
    assert not (libraries / "new").exists() and sorted(p.name for p in tmp_path.iterdir()) == ["libraries", "work"]


def test_the_numbers_of_workers_are_those_of_this_side_and_all_end_with_the_first_process() -> None:
    sandbox = StatisticSandbox(CONFINING["namespaces"])
    try:
        run = sandbox.run("import os\nprint(os.getpid(), os.uname().nodename)\ndef statistic(e, l): return 1.0",
                          np.zeros((4, 2), np.float32), np.zeros((1, 4), np.int8))  # fmt: skip
        assert run.end == "ok"
        number, host = run.output.split()
        zygote = sandbox.pid
        assert zygote is not None and host == "worker" and int(number) < 100 < zygote
        words = Path(f"/proc/{zygote}/cmdline").read_bytes().split(b"\0")
        assert b"hyposcreen.agent.sandbox.zygote" in words
        outside = int(Path(f"/proc/{zygote}/stat").read_text().rsplit(")", 1)[1].split()[1])
        os.kill(outside, signal.SIGKILL)
        patience = time.monotonic() + 20
        while Path(f"/proc/{zygote}").exists() and time.monotonic() < patience:
            time.sleep(0.02)
        assert not Path(f"/proc/{zygote}").exists()
    finally:
        sandbox.close()
