"""No variable of the parent reaches a worker, and no worker outlives the parent."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hyposcreen.agent.config import load_config
from hyposcreen.agent.project import Side, open_project
from hyposcreen.agent.sandbox.backends import CONFINING
from hyposcreen.agent.sandbox.base import Limits
from hyposcreen.agent.sandbox.choose import workers
from hyposcreen.agent.sandbox.statistics import Bounds, StatisticSandbox

SECRET = "sk-" + "hunter2" * 3
needs_proc = pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="reads /proc")


def memory_of(pid: int) -> bytes:
    """Everything a process has written or may write."""
    held = bytearray()
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights = line.split()[:2]
            low, high = (int(x, 16) for x in span.split("-"))
            if rights.startswith("rw") and "[v" not in line:
                with suppress(OSError):
                    memory.seek(low)
                    held += memory.read(high - low)
    return bytes(held)


@pytest.fixture
def waiting(boundary: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[StatisticSandbox, int]]:
    """A sandbox whose zygote was started with a key in the environment, and a worker of it that waits until it is ended."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    sandbox = StatisticSandbox(CONFINING[boundary])
    inputs = np.zeros((4, 2), np.float32), np.zeros((1, 4), np.int8)
    code = "import time\nmark = 'a mark ' + 'of ours'\ntime.sleep(600)"
    thread = threading.Thread(target=sandbox.run, args=(code, *inputs, Bounds(600.0, 60, 1 << 30)))
    thread.start()
    yield sandbox, child_of(sandbox)
    sandbox.close()
    thread.join()


@needs_proc
def test_a_key_of_the_parent_is_in_no_memory_of_a_worker(waiting: tuple[StatisticSandbox, int]) -> None:
    sandbox, worker = waiting
    try:
        image = seen_in(worker, b"a mark of ours")  # the search does see the worker's memory
    except PermissionError:
        pytest.skip("this machine lets nobody read another process's memory")
    assert SECRET.encode() not in image
    assert SECRET.encode() not in memory_of(sandbox.pid or 0)
    names = {pair.split(b"=")[0] for pair in Path(f"/proc/{worker}/environ").read_bytes().split(b"\0") if pair}
    assert not names & {b"OPENAI_API_KEY", b"HOME", b"USER", b"PYTHONPATH"}
    assert {int(file.name) for file in Path(f"/proc/{worker}/fd").iterdir()} == {0, 1, 2}


@needs_proc
def test_a_key_of_the_parent_is_in_no_memory_and_no_log_of_a_library_worker(
    boundary: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    opened = open_project(project, load_config(project, {}))
    job = opened.job("cohesion", "t_cells", Side.EXPLORE, subsets={"s": ("all", "all")}, nulls=("gene_label",), m=19,
                     seed=0, vectors=False)  # fmt: skip
    made = workers(boundary)
    sandbox: Any = made.make()
    try:
        assert sandbox.run(job, Limits()).kind == "ok"
        try:
            image = seen_in(sandbox.pid, job.cache_digest.encode())
        except PermissionError:
            pytest.skip("this machine lets nobody read another process's memory")
        assert SECRET.encode() not in image
        assert SECRET.encode() not in Path(f"/proc/{sandbox.pid}/fd/1").read_bytes()  # its log
    finally:
        sandbox.close()
        made.close()


def seen_in(pid: int, mark: bytes) -> bytes:
    """The memory of a process, as soon as ``mark`` is in it."""
    patience = time.monotonic() + 60
    while mark not in (image := memory_of(pid)):
        assert time.monotonic() < patience, "the worker never came so far"
        time.sleep(0.1)
    return image


def child_of(sandbox: StatisticSandbox) -> int:
    patience = time.monotonic() + 60
    while time.monotonic() < patience:
        if sandbox.pid is not None:
            listed = Path(f"/proc/{sandbox.pid}/task/{sandbox.pid}/children").read_text().split()
            if listed:
                return int(listed[0])
        time.sleep(0.05)
    raise AssertionError("no worker started")


DEAF = """
import signal, time
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True: time.sleep(1)
"""
PARENT = """
import sys, threading, time
import numpy as np
from hyposcreen.agent.sandbox.backends import CONFINING
from hyposcreen.agent.sandbox.statistics import StatisticSandbox
sandbox = StatisticSandbox(CONFINING[sys.argv[1]])
inputs = np.zeros((4, 2), np.float32), np.zeros((1, 4), np.int8)
threading.Thread(target=sandbox.run, args=(sys.argv[2], *inputs)).start()
while sandbox.pid is None: time.sleep(0.01)
print(sandbox.pid, flush=True)
"""


@needs_proc
def test_no_worker_outlives_a_parent_that_is_killed(boundary: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, boundary, DEAF], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    zygote = int(parent.stdout.readline())
    children = Path(f"/proc/{zygote}/task/{zygote}/children")
    patience = time.monotonic() + 60
    while not (family := [int(p) for p in children.read_text().split()]) and time.monotonic() < patience:
        time.sleep(0.05)
    assert family
    time.sleep(0.5)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    patience = time.monotonic() + 20
    while any(alive(pid) for pid in (zygote, *family)) and time.monotonic() < patience:
        time.sleep(0.02)
    assert not [pid for pid in (zygote, *family) if alive(pid)]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_key_is_in_no_ledger_report_or_line_of_a_run(project: Path) -> None:
    """With whatever boundary is chosen here: what a run writes does not depend on it."""
    environment = os.environ | {"OPENAI_API_KEY": SECRET, "SECRET_OF_MINE": SECRET}
    command = [sys.executable, "-m", "hyposcreen", "run", "-C", str(project), "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300)
    assert json.loads(done.stdout)["rows"] == 2
    files = [path for path in project.rglob("*") if path.is_file()]
    assert {"runs.db", "report.html", "screen.toml"} <= {path.name for path in files}
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert SECRET not in done.stdout + done.stderr
