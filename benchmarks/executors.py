"""One campaign over pools and over Dask: do the content heads and all results agree? ``python benchmarks/executors.py``.

Four iterations on the embedded cache with seed 0, once for each line of the table: 1, 2 and 4 worker processes, answers held
back at random, one worker killed in the middle of a job; then scheduler and workers of Dask on loopback, one of them killed too.
*Results* hashes every result of exploration and look as the ledger holds it, without clocks.
"""

import argparse
import hashlib
import importlib.util
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from hyposcreen.agent.config import Config
from hyposcreen.agent.executors.base import Executor
from hyposcreen.agent.executors.dask_cluster import Cluster, RemoteSandbox
from hyposcreen.agent.executors.pool import SandboxPool
from hyposcreen.agent.ledger.records import AttemptEnded, LookResult, Tested
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.orchestrator import Loop, open_run, run
from hyposcreen.agent.progress import Progress
from hyposcreen.agent.project import open_project
from hyposcreen.agent.sandbox.base import Job, Limits, Outcome, Sandbox
from hyposcreen.agent.sandbox.choose import workers as make_workers
from hyposcreen.agent.session import make_proposer
from hyposcreen.hypotheses.canonical import canonical_json

KILLED_AFTER = 6
"""Jobs of the run before the one whose worker is killed."""


class Held:
    """A sandbox whose answers are held back at random, so that they come in another order."""

    def __init__(self, inner: Sandbox) -> None:
        self.inner, self.confines = inner, inner.confines
        self._random = random.Random(id(self))

    def run(self, job: Job, limits: Limits) -> Outcome:
        outcome = self.inner.run(job, limits)
        time.sleep(self._random.expovariate(10))
        return outcome

    def close(self) -> None:
        self.inner.close()


class Killed:
    """A sandbox of which one worker is killed, once, while it runs a job."""

    def __init__(self, inner: Sandbox, kill: Callable[[Sandbox], bool], jobs: "Counter[str]") -> None:
        self.inner, self.confines, self._kill, self._jobs = inner, inner.confines, kill, jobs

    def run(self, job: Job, limits: Limits) -> Outcome:
        self._jobs["run"] += 1
        if self._jobs["run"] == KILLED_AFTER:
            threading.Thread(target=self._soon, daemon=True).start()
        return self.inner.run(job, limits)

    def close(self) -> None:
        self.inner.close()

    def _soon(self) -> None:
        for _ in range(2000):
            if self._kill(self.inner):
                self._jobs["killed"] += 1
                return
            time.sleep(0.002)


def local_kill(sandbox: Any) -> bool:
    """Kill the worker process of ``sandbox``, if one runs."""
    if sandbox.pid is None:
        return False
    os.kill(sandbox.pid, signal.SIGKILL)
    return True


@contextmanager
def processes(
    count: int, held: bool = False, kill: bool = False, counts: "Counter[str] | None" = None
) -> Iterator[Executor]:
    made, seen = make_workers(), Counter() if counts is None else counts

    def make() -> Sandbox:
        sandbox = Held(made.make()) if held else made.make()
        return Killed(sandbox, local_kill, seen) if kill else sandbox

    with SandboxPool(count, Limits(), make) as pool:
        yield pool
    made.close()


@contextmanager
def dask(workers: int, kill: bool = False, counts: "Counter[str] | None" = None) -> Iterator[Executor]:
    seen = Counter() if counts is None else counts
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        cluster = stack.enter_context(_loopback()(Path(folder)))
        for _ in range(workers):
            cluster.add_worker()
        connected = Cluster(str(cluster.file), "auto", 1)
        stack.callback(connected.close)
        connected._client.wait_for_workers(workers, timeout=120)
        pids = connected._client.run(os.getpid)

        def kill_host(sandbox: Any) -> bool:
            begun = sandbox._task.workers[:1] if sandbox._task else []
            if begun:
                os.kill(pids[begun[0]], signal.SIGKILL)
            return bool(begun)

        def make() -> Sandbox:
            remote = RemoteSandbox(connected)
            return Killed(remote, kill_host, seen) if kill else remote

        with SandboxPool(2 * workers, Limits(), make) as pool:
            yield pool


def _loopback() -> Any:
    path = Path(__file__).parents[1] / "tests" / "executors" / "cluster.py"
    spec = importlib.util.spec_from_file_location("loopback", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["loopback"] = module
    spec.loader.exec_module(module)
    return module.LoopbackCluster


def campaign(executor: Executor, iterations: int) -> tuple[str, str, str]:
    """Content head, digest of all results, and how attempts ended."""
    with tempfile.TemporaryDirectory() as folder:
        config = Config(iterations=iterations)
        project = open_project(Path(folder), config)
        ledger = Ledger.create(project.ledger_path)
        plan = open_run(project, ledger)
        run(Loop(project, plan, ledger, executor, make_proposer(config), Progress(quiet=True)))
        results = [canonical_json(r.to_content()) for kind in (Tested, LookResult) for r in ledger.records(kind)]
        ends = Counter(a.outcome for a in ledger.records(AttemptEnded))
        said = ", ".join(f"{kind} {n}" for kind, n in ends.most_common())
        digest = hashlib.sha256("\n".join(results).encode()).hexdigest()
        head = ledger.head().content_hash
        ledger.close()
        return head, digest, said


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--iterations", type=int, default=4)
    arguments.add_argument("--only", default="", help="part of the names of lines")
    chosen = arguments.parse_args()
    counts: Counter[str] = Counter()
    lines: dict[str, Callable[[], Any]] = {
        "1 process": lambda: processes(1),
        "2 processes": lambda: processes(2),
        "4 processes": lambda: processes(4),
        "4 processes, answers held back at random": lambda: processes(4, held=True),
        "4 processes, one killed in its job": lambda: processes(4, kill=True, counts=counts),
        "Dask, 1 worker": lambda: dask(1),
        "Dask, 2 workers": lambda: dask(2),
        "Dask, 2 workers, one killed in its job": lambda: dask(2, kill=True, counts=counts),
    }
    heads, digests = set(), set()
    print("| executor | content head | results | attempts of the exploration |")
    print("|---|---|---|---|")
    for name, opened in lines.items():
        if chosen.only not in name:
            continue
        counts.clear()
        with opened() as executor:
            head, digest, ends = campaign(executor, chosen.iterations)
        heads.add(head)
        digests.add(digest)
        if "killed" in name:
            assert counts["killed"] == 1, f"{name}: nobody was killed"
        print(f"| {name} | `{head[:16]}` | `{digest[:16]}` | {ends} |", flush=True)
    print("identical" if len(heads) == len(digests) == 1 else "NOT IDENTICAL")
    sys.exit(int(len(heads) * len(digests) != 1))


if __name__ == "__main__":
    main()
