"""Where a whole run spends its time: ``python benchmarks/whole_run.py [--iterations 63]``.

The main job of the README on the embedded default. Tests run in worker processes and everything else in this one (digests,
proposals, checks, the ledger, the report), so the two are told apart by their processor time, which other work on the
machine disturbs little. Only the ratio is meant to be read.
"""

import argparse
import resource
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from hyposcreen.agent.config import Config
from hyposcreen.agent.executors.pool import SandboxPool
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.orchestrator import Loop, open_run, run
from hyposcreen.agent.progress import Progress
from hyposcreen.agent.project import open_project
from hyposcreen.agent.session import make_proposer, write_report_of


def in_workers() -> float:
    """Processor seconds of all workers that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Run and print."""
    arguments = argparse.ArgumentParser(description="Time inside tests and around them.")
    arguments.add_argument("--iterations", type=int, default=63)
    config = Config(iterations=arguments.parse_args().iterations)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        marks = [time.process_time()]
        project = open_project(folder, config)
        ledger = Ledger.create(project.ledger_path)
        plan = open_run(project, ledger)
        marks.append(time.process_time())
        with SandboxPool() as executor:
            run(Loop(project, plan, ledger, executor, make_proposer(config), Progress(quiet=True)))
        marks.append(time.process_time())
        write_report_of(ledger, folder / "report.html", folder)
        marks.append(time.process_time())
    tests = in_workers()
    opening, loop, report = (b - a for a, b in pairwise(marks))
    print(f"{config.iterations} iterations, {config.per_iteration} hypotheses each; processor time")
    print(f"tests               {tests:7.1f} s, starting the workers included")
    print(f"loop around them    {loop:7.1f} s = {100 * loop / tests:.1f} %")
    print(f"opening and report  {opening:7.1f} s, {report:.1f} s")
    print(f"all around tests    {100 * (opening + loop + report) / tests:.1f} %")


if __name__ == "__main__":
    main()
