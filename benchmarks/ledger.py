"""How the record does when it is large: ``python benchmarks/ledger.py [--rows 100000] [--postgres ADDRESS]``.

Makes a ledger of made-up hypotheses (five entries each: proposal, registration, attempt and its end, result), then times what a
person waits for, each as the command itself, process start included, and what several processes append at once.
"""

import argparse
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hyposcreen.agent.ledger import records as r
from hyposcreen.agent.ledger.store import Ledger

BATCH = 1000


def plan() -> r.RunOpened:
    """A plan; only its names matter here."""
    return r.RunOpened(
        seed=0, iterations=1, per_iteration=3, proposer="offline", alpha=0.05, alpha_u=0.025, alpha_h=0.025,
        permutations_explore=2000, permutations_look=5000, max_promoted=20, promote_p=0.05,
        cache={"name": "demo", "digest": "c" * 64}, annotations=(), split={"digest": "d" * 64, "explore": 400, "sealed": 400},
        universe={"digest": "e" * 64, "cells": 9000, "hypotheses": 3000}, version="0.1.0",
    )  # fmt: skip


def hypothesis(number: int) -> list[r.Record]:
    """What one row leaves in the ledger."""
    id_, iteration, k = f"H{number:04d}", number // 3 + 1, number * 7919 % 2000
    view = {
        "layer": "L2",
        "coordinate": "SV1",
        "statistic": 4100 + k,
        "effect": 0.61,
        "null_mean": 0.5,
        "z": 3.25,
        "k": k,
    }
    return [
        r.Proposed(iteration, number % 3, "offline", "f" * 64, {"claim": f"claim {number}", "test": "cohesion"}),
        r.Registered(
            id=id_, iteration=iteration, slot=number % 3, claim=f"claim {number}", family="geometry", test="cohesion",
            annotation="b_cells", role="claim", spec={"test": "cohesion", "number": number, "layers": "all"},
            spec_sha256=f"{number:064x}", novelty_sha256=f"{number + 10**9:064x}", prior=0.25, direction="greater",
            rationale="because", move="cover",
        ),
        r.AttemptStarted(id_, 1, "host:1:a loop", "2026-01-01T00:00:00+00:00", 60.0),
        r.AttemptEnded(id_, 1, "ok", 0.5),
        r.Tested(
            id=id_, status="ok", n_genes=400, n_entity=20, null="gene_label", m=2000, k=k, p_scan=(k + 1) / 2001,
            p_raw=(k + 1) / 2001, statistic=3.25, statistic_hex=(3.25).hex(), best_view="L2·SV1", effect=0.61, null_mean=0.5,
            effect_unit="AUROC", min_effect=0.58, companions={"gene_label": {"k": k, "m": 2000}}, views=(view, view, view),
        ),
    ]  # fmt: skip


def fill(path: Path, rows: int) -> None:
    """A ledger of ``rows`` hypotheses."""
    ledger = Ledger.create(path)
    ledger.append(plan())
    for start in range(0, rows, BATCH):
        ledger.append(*(e for n in range(start, min(rows, start + BATCH)) for e in hypothesis(n + 1)))


def timed(folder: Path, *command: str) -> tuple[float, float]:
    """Seconds and peak MiB of ``screen COMMAND``, its output thrown away."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "hyposcreen", *command],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
        env=dict(os.environ),
    )
    seconds = time.perf_counter() - start
    return seconds, max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


def append_many(place: Path | str, worker: int, each: int) -> None:
    ledger = Ledger.open(place)
    for number in range(each):
        ledger.append(r.Rejected(worker, number, "malformed", "x" * 200))


def appended(place: Path | str, workers: int, each: int) -> tuple[int, float]:
    """How many of the entries that ``workers`` processes appended at once are there, and how long it took."""
    ledger = Ledger.create(place)
    ledger.append(plan())
    context = multiprocessing.get_context("spawn")
    start = time.perf_counter()
    running = [context.Process(target=append_many, args=(place, w, each)) for w in range(workers)]
    for process in running:
        process.start()
    for process in running:
        process.join()
    return len({(x.iteration, x.slot) for x in ledger.rejections()}), time.perf_counter() - start


def main() -> None:
    """Run and print."""
    arguments = argparse.ArgumentParser(description="Time a large ledger and many writers.")
    arguments.add_argument("--rows", type=int, default=100_000, help="hypotheses; the ledger has five entries for each")
    arguments.add_argument("--postgres", help="address of an empty schema for 4 writers; 8 need another one")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        start = time.perf_counter()
        fill(folder / "runs.db", chosen.rows)
        size = (folder / "runs.db").stat().st_size >> 20
        print(
            f"{chosen.rows} hypotheses, {5 * chosen.rows + 1} entries, {size} MiB; made in {time.perf_counter() - start:.0f} s"
        )
        last = f"H{chosen.rows:04d}"
        for command in (
            ("--version",), ("status",), ("ledger", "list", "--limit", "50"), ("ledger", "show", last), ("ledger", "list"),
            ("ledger", "export", "-o", "rows.jsonl"), ("ledger", "export", "-o", "rows.csv"), ("ledger", "verify"),
        ):  # fmt: skip
            seconds, peak = timed(folder, *command)
            print(f"screen {' '.join(command):<34} {seconds:7.2f} s   peak so far {peak:6.0f} MiB")
        for workers in (4, 8):
            there, seconds = appended(folder / f"{workers}.db", workers, 150)
            print(f"SQLite, {workers} processes of 150 entries: {there} of {workers * 150}, {seconds:.1f} s")
        if chosen.postgres:
            there, seconds = appended(chosen.postgres, 4, 150)
            print(f"PostgreSQL, 4 processes of 150 entries: {there} of 600, {seconds:.1f} s")


if __name__ == "__main__":
    main()
