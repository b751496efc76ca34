"""The power cord: ``kill -9`` and Ctrl-C on the real command, in a process of its own, with real workers."""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from hyposcreen.agent.ledger.records import AttemptStarted
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.ledger.verify import verify

PATIENCE = 120.0
"""Seconds after which a test gives up waiting; nothing here asserts that something is fast."""
FEW = ("b_cells", "t_cells", "tf_targets")

needs_proc = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc")


@pytest.fixture(scope="module")
def uninterrupted(small: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same run without an accident."""
    kept = [a for a in small.demo_annotations() if a.name in FEW]
    return small.run_loop(small.make_project_folder(tmp_path_factory.mktemp("whole") / "p", kept)).ledger


class Run:
    """``screen run`` in a session of its own, watched through its ledger."""

    def __init__(self, small: Any, folder: Path) -> None:
        self.reading = f"{(folder / 'runs.db').as_uri()}?mode=ro"
        self.process = subprocess.Popen(
            small.command("run", "--quiet"), cwd=folder, env=small.environment(), start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, query: str) -> int:
        """One number of the ledger, read as cheaply as can be; 0 while there is none."""
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(self.reading, uri=True)) as ledger:
            return int(ledger.execute(query).fetchone()[0] or 0)
        return 0

    def seq(self) -> int:
        return self.ask("SELECT max(seq) FROM entry")

    def looking(self) -> bool:
        return bool(self.ask("SELECT count(*) FROM entry WHERE kind = 'look_opened'"))

    def wait_until(self, reached: Any) -> None:
        patience = time.monotonic() + PATIENCE
        while not reached():
            assert self.process.poll() is None, (
                f"the run ended before it was to be killed: {self.process.communicate()}"
            )
            assert time.monotonic() < patience, "the run makes no progress"
            time.sleep(0.02)

    def kill(self, sent: signal.Signals = signal.SIGKILL) -> tuple[str, str]:
        os.kill(self.process.pid, sent)
        return self.process.communicate(timeout=PATIENCE)

    def workers(self) -> list[int]:
        """Worker processes that say this run is their parent."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = path.read_bytes().split(b"\0")
                if b"hyposcreen.agent.sandbox.worker" in words and str(self.process.pid).encode() in words:
                    found.append(int(path.parent.name))
        return found

    def outlived(self) -> list[int]:
        """Workers still there when they have had ample time to notice that their parent is gone."""
        patience = time.monotonic() + 15
        while (left := self.workers()) and time.monotonic() < patience:
            time.sleep(0.05)
        return left


@needs_proc
def test_ten_kills_lose_nothing_and_repeat_nothing(fresh: Any, small: Any, uninterrupted: Any) -> None:
    folder = fresh("killed", only=FEW)
    chance = random.Random(20260222)
    for number in range(10):
        run = Run(small, folder)
        if number < 8:  # proposals, registrations, attempts, results: wherever the count happens to fall
            target = run.seq() + chance.randint(1, 6)
            run.wait_until(lambda run=run, target=target: run.seq() >= target)
        else:
            run.wait_until(run.looking)
        time.sleep(chance.random() * 0.05)
        run.kill()
        assert run.process.returncode == -signal.SIGKILL, "it was killed in the middle, it did not end"
        assert run.outlived() == []
        assert verify(folder / "runs.db").ok
    done = small.screen("run", "--quiet", cwd=folder)
    assert done.returncode == 0, done.stderr
    with Ledger.open_readonly(folder / "runs.db") as ledger:
        assert ledger.head().content_hash == uninterrupted.head().content_hash
        ours, theirs = ledger.rows(), uninterrupted.rows()
        attempts = len(ledger.records(AttemptStarted))
    assert [r.__dict__ | {"attempts": 0} for r in ours] == [r.__dict__ | {"attempts": 0} for r in theirs]
    assert attempts >= len(ours)
    assert verify(folder / "runs.db").ok


@needs_proc
def test_a_kill_in_a_look_between_iterations_tells_nothing_and_loses_nothing(fresh: Any, small: Any) -> None:
    two = {"looks": 2, "permutations_look": 399, "max_promoted": 3}
    whole = small.run_loop(fresh("whole", only=FEW, **two)).ledger
    folder = fresh("killed", only=FEW, **two)
    run = Run(small, folder)
    run.wait_until(run.looking)
    run.kill()
    with Ledger.open_readonly(folder / "runs.db") as ledger:
        assert not {e.kind for e in ledger.entries()} & {"look_counted", "look_result", "verdict"}
    done = small.screen("run", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "2 looks at the sealed genes, alpha 0.0125 each" in done.stderr
    assert "rows confirmed" not in done.stderr
    with Ledger.open_readonly(folder / "runs.db") as ledger:
        assert ledger.head().content_hash == whole.head().content_hash
    assert verify(folder / "runs.db").ok


@needs_proc
@pytest.mark.parametrize("during", ["exploring", "look"])
def test_ctrl_c_ends_with_130_and_says_how_to_go_on(during: str, fresh: Any, small: Any, uninterrupted: Any) -> None:
    folder = fresh("interrupted", only=FEW)
    run = Run(small, folder)
    run.wait_until(run.looking if during == "look" else lambda: run.seq() >= 8)
    out, err = run.kill(signal.SIGINT)
    assert (run.process.returncode, out) == (130, "")
    assert err == "screen: stopped; nothing is lost. Go on with: screen run\n"
    assert run.outlived() == []
    done = small.screen("run", "--quiet", cwd=folder)
    assert done.returncode == 0, done.stderr
    with Ledger.open_readonly(folder / "runs.db") as ledger:
        assert ledger.head().content_hash == uninterrupted.head().content_hash


def test_a_second_ctrl_c_stops_at_once_and_leaves_no_worker(fresh: Any, small: Any) -> None:
    folder = fresh("impatient", only=FEW, iterations=400, permutations_explore=20000)
    run = Run(small, folder)
    run.wait_until(lambda: run.seq() >= 8)
    os.kill(run.process.pid, signal.SIGINT)
    time.sleep(0.05)
    _, err = run.kill(signal.SIGINT)
    assert run.process.returncode == 130, err
    assert "Traceback" not in err
    if Path("/proc/self/cmdline").exists():
        assert run.outlived() == []
    assert verify(folder / "runs.db").ok


def test_a_creation_that_was_cut_off_is_taken_over(fresh: Any, small: Any) -> None:
    folder = fresh("cut off", only=FEW, iterations=1)
    (folder / "runs.db").touch()
    assert small.run_campaign_in_process(folder).rows == 3


def test_a_journal_of_a_cut_off_creation_is_rolled_back(fresh: Any, small: Any) -> None:
    """The moment between writing the pages and dropping the journal, as a kill leaves it."""
    folder = fresh("hot", only=FEW, iterations=1)
    source = folder / "source.db"
    connection = sqlite3.connect(source, isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("PRAGMA cache_spill = 1")
    connection.execute("BEGIN IMMEDIATE")
    for number in range(40):
        connection.execute(f"CREATE TABLE t{number} (a TEXT)")
    connection.executemany("INSERT INTO t0 VALUES (?)", [("x" * 4000,)] * 50)
    (folder / "runs.db").write_bytes(source.read_bytes())
    (folder / "runs.db-journal").write_bytes((folder / "source.db-journal").read_bytes())
    connection.close()
    assert (folder / "runs.db").stat().st_size > 0, "pages were spilled, so this is the case it says it is"
    assert small.run_campaign_in_process(folder).rows == 3
