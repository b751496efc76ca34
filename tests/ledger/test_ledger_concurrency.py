"""Several processes, and processes that die: nothing lost, nothing twice."""

import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from hyposcreen.agent.ledger import records as r
from hyposcreen.agent.ledger.store import Ledger, open_ledger
from hyposcreen.agent.ledger.verify import verify

APPENDS = 75


def append_many(path: str, worker: int, count: int) -> None:
    ledger = Ledger.open(path)
    for number in range(count):
        ledger.append(r.Rejected(worker, number, "malformed", "x" * 200))


def told(ledger: Ledger) -> list[tuple[int, int]]:
    return [(record.iteration, record.slot) for record in ledger.rejections()]


def test_two_processes_lose_no_append(ledger, make):
    ledger.append(make.run_opened())
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=append_many, args=(str(ledger.path), w, APPENDS)) for w in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert sorted(told(ledger)) == [(w, n) for w in (1, 2) for n in range(APPENDS)]
    assert verify(ledger.path).ok


def test_threads_share_one_ledger(ledger, make):
    ledger.append(make.run_opened())

    def work(worker: int) -> None:
        for number in range(10):
            ledger.append(r.Rejected(worker, number, "malformed", "x"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(told(ledger))) == 40
    assert verify(ledger.path).ok


WRITER = """
import sys
from hyposcreen.agent.ledger.records import Rejected, Proposed
from hyposcreen.agent.ledger.store import Ledger
ledger = Ledger.open(sys.argv[1])
start = len(ledger.rejections())
for number in range(start, start + 10**6):
    ledger.append(Proposed(1, number, "x", "x", {"text": "y" * 20000}), Rejected(1, number, "malformed", "x" * 5000))
    print(number, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_a_ledger_that_goes_on(ledger, make):
    ledger.append(make.run_opened())
    chance = random.Random(1)
    acknowledged = -1
    for _ in range(8):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(ledger.path)], stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert writer.stdout is not None
        lines = [writer.stdout.readline()]
        time.sleep(chance.uniform(0, 0.08))
        writer.kill()
        lines += writer.stdout.read().splitlines(keepends=True)
        writer.wait()
        whole = [int(line) for line in lines if line.endswith("\n")]
        acknowledged = max(acknowledged, *whole)
        reader = open_ledger(ledger.path)
        slots = [slot for _, slot in told(reader)]
        assert slots == list(range(len(slots)))
        assert len(slots) in (acknowledged + 1, acknowledged + 2)
        assert len(reader.records(r.Proposed)) == len(slots)
        report = verify(ledger.path)
        assert report.ok, report.problems
    ledger.append(r.Rejected(2, 0, "malformed", "after the crashes"))
    assert verify(ledger.path).ok


def test_a_reader_rolls_back_what_a_killed_writer_left(full):
    head = full.head()
    code = (
        "import os, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_size = 1')\n"
        "c.execute('PRAGMA cache_spill = 1')\n"
        "c.execute('BEGIN IMMEDIATE')\n"
        "for n in range(400):\n"
        "    c.execute(\"INSERT INTO entry VALUES (?, 'rejection', ?, '{}', 'p', 'h', 'c')\", (1000 + n, 'x' * 3000))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(full.path)], check=False)
    journal = full.path.with_name("runs.db-journal")
    assert journal.stat().st_size > 0
    assert open_ledger(full.path).head() == head
    assert verify(full.path, head.hash).ok
    assert not journal.exists()


def test_readers_work_inside_a_writers_transaction(full):
    head = full.head()
    with full.database._writer.begin() as connection:
        connection.exec_driver_sql("INSERT INTO entry SELECT 25, kind, content, context, prev, hash, content_hash "
                                   "FROM entry WHERE seq = 24")  # fmt: skip
        assert open_ledger(full.path).head() == head
        assert len(full.rows()) == 4
        connection.rollback()


def test_a_slow_reader_does_not_stop_a_writer(full):
    slow = open_ledger(full.path).entries()
    next(slow)
    quick = Ledger.open(full.path, timeout=0.2)
    quick.append(r.Replayed("H0001", "identical"))
    assert len(list(slow)) == 23


# The runner lock.


HOLDER = """
import sys, time
from hyposcreen.agent.ledger.store import Ledger
with Ledger.open(sys.argv[1]).lock_runner():
    print("held", flush=True)
    {then}
    time.sleep(600)
"""


def hold(path: Path, then: str = "pass") -> "subprocess.Popen[str]":
    code = HOLDER.format(then=then)
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_runner_lock_names_its_holder_and_dies_with_it(ledger, refused):
    holder = hold(ledger.path)
    try:
        assert f"pid {holder.pid} " in refused(1, ledger.lock_runner().__enter__)
        assert open_ledger(ledger.path).head().seq == 0
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with ledger.lock_runner():
        pass


def test_forked_workers_do_not_keep_a_dead_runners_lock(ledger):
    then = "import os\n    if os.fork() == 0: print(os.getpid(), flush=True)"
    holder = hold(ledger.path, then)
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        holder.kill()
        holder.wait()
        with ledger.lock_runner():
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_the_runner_lock_excludes_within_one_process_and_is_given_back(ledger, refused):
    with ledger.lock_runner():
        assert f"pid {os.getpid()} " in refused(1, Ledger.open(ledger.path).lock_runner().__enter__)
    with ledger.lock_runner():
        pass
    with pytest.raises(KeyError), ledger.lock_runner():
        raise KeyError
    with ledger.lock_runner():
        pass


def test_a_busy_commit_leaves_nothing_behind(full, refused):
    head = full.head()
    quick = Ledger.open(full.path, timeout=0.1)
    with closing(sqlite3.connect(full.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM entry").fetchall()
        assert "is locked" in refused(1, quick.append, r.Replayed("H0001", "identical"))
    assert full.head() == head
    quick.append(r.Replayed("H0001", "identical"))
    assert verify(full.path, head.hash).ok
