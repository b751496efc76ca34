"""How the record does when it is large: ``python benchmarks/ledger.py [--rows 100000] [--postgres ADDRESS] [--keep FOLDER]``.

Makes a ledger of a finished run of made-up hypotheses, each as long as one of the demo run (seven entries, eight views, about
14 kB), then runs the commands a person waits for, each in a process of its own, its start included. For each it prints the wall
clock, the processor time of the command and its children, and the peak of its memory. With ``--writers``: what several
processes append at once.

The entries are chained by the ledger's own functions and written in large transactions, and the tables are made by its own
rebuild; `screen ledger verify`, which is one of the rows of the table, says that nothing is amiss with them.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import insert

from hyposcreen.agent.ledger import records as r
from hyposcreen.agent.ledger.chain import GENESIS, Entry, canonical_text, link
from hyposcreen.agent.ledger.database import Location, database_at
from hyposcreen.agent.ledger.schema import ENTRY
from hyposcreen.agent.ledger.store import Ledger

BATCH = 5000
M = 2000
NULLS = ("family_block", "gene_label", "stratified")
COMMANDS = (
    ("--help",), ("status",), ("ledger", "head"), ("ledger", "show", "LAST"), ("ledger", "list", "--limit", "50"),
    ("ledger", "list"), ("ledger", "verify"), ("ledger", "export", "-o", "rows.csv"), ("ledger", "export", "-o", "rows.json"),
    ("ledger", "export", "-o", "rows.jsonl"), ("ledger", "export", "-o", "rows.parquet"),
)  # fmt: skip


def plan() -> r.RunOpened:
    """A plan; only its names matter here."""
    return r.RunOpened(
        seed=0, iterations=1, per_iteration=3, proposer="offline", alpha=0.05, alpha_u=0.025, alpha_h=0.025,
        permutations_explore=M, permutations_look=5000, max_promoted=20, promote_p=0.05,
        cache={"name": "demo", "digest": "c" * 64}, annotations=(), split={"digest": "d" * 64, "explore": 400, "sealed": 400},
        universe={"digest": "e" * 64, "cells": 9000, "hypotheses": 3000}, version="0.1.0",
    )  # fmt: skip


def said(number: int, k: int, draw: random.Random) -> Iterator[r.Record]:
    """What one row leaves in the ledger until it has a result."""
    id_, iteration, slot = f"H{number:04d}", number // 3 + 1, number % 3
    claim = f"The genes of set {number} lie closer together than stand-ins of the same expression and detection do"
    rationale = (
        "Sets that share a compartment cohered in the rows before; this one was not asked about at these layers yet."
    )
    words = {
        "claim": claim,
        "rationale": rationale,
        "test": "cohesion",
        "annotation": "b_cells",
        "direction": "greater",
    }
    spec = {"test": "cohesion", "number": number, "layers": [f"L{n}" for n in range(5)], "nulls": list(NULLS), "scan": "max",
            "entity": "gene_set", "alternative": "greater", "coordinates": ["cosine", "SV1-5"],
            "sha256": f"{number:064x}"}  # fmt: skip
    yield r.Proposed(iteration, slot, "offline", "f" * 64, words | {"prior": 0.25, "move": "cover"})
    yield r.Registered(
        id=id_, iteration=iteration, slot=slot, claim=claim, family="geometry", test="cohesion", annotation="b_cells",
        role="claim", spec=spec, spec_sha256=f"{number:064x}", novelty_sha256=f"{number + 10**9:064x}", prior=0.25,
        direction="greater", rationale=rationale, move="cover", parent=f"H{number - 7:04d}" if number % 11 == 9 else None,
    )  # fmt: skip
    yield r.AttemptStarted(id_, 1, "host:1:abcdef01 loop", "2026-01-01T00:00:00.000+00:00", 60.0)
    yield r.AttemptEnded(id_, 1, "ok", 0.5, "confined; " + "seccomp: no sockets, no new processes; " * 8)
    balance = {name: {c: draw.gauss(0, 0.1) for c in ("detection", "expression", "other degree")} for name in NULLS}
    views = tuple(
        {"layer": f"L{v // 2}", "coordinate": ("cosine", "SV1-5")[v % 2], "statistic": draw.randrange(10**6),
         "effect": draw.random(), "null_mean": 0.5, "z": draw.gauss(0, 1), "k": draw.randrange(M)}
        for v in range(8)
    )  # fmt: skip
    companions = {
        name: {"k": k, "m": M, "p_scan": (k + 1) / (M + 1), "statistic_hex": (1 + k / M).hex()} for name in NULLS
    }
    yield r.Tested(
        id=id_, status="ok", n_genes=400, n_entity=20, null="gene_label", m=M, k=k, p_scan=(k + 1) / (M + 1),
        p_raw=(k + 1) / (M + 1), statistic=1 + k / M, statistic_hex=(1 + k / M).hex(), best_view="L2·cosine", effect=0.61,
        null_mean=0.5, effect_unit="AUROC", min_effect=0.58, effect_low=0.5, effect_high=0.7, interval_level=0.95,
        interval_method="delong", interval_units=20, companions=companions, views=views,
        checks={"balance": balance, "notes": [], "unbalanced": ""},
    )  # fmt: skip


def story(rows: int) -> Iterator[r.Record]:
    """A finished run of ``rows`` hypotheses, a fifth of them with a small p."""
    draw = random.Random(0)
    yield plan()
    for number in range(1, rows + 1):
        yield from said(number, draw.randrange(M) if draw.random() < 0.8 else draw.randrange(20), draw)
    yield r.Promoted(tuple(f"H{n:04d}" for n in range(1, 21)), "p_scan <= 0.05")
    yield r.LookOpened(1, 0.025, 0.025)
    for number in range(1, rows + 1):
        yield r.LookResult(f"H{number:04d}", 1, "U", "ok", n_genes=400, n_entity=20, null="gene_label", m=5000, k=99,
                           p=100 / 5001, k_adj=4999, p_adj=5000 / 5001, statistic_hex=(2.5).hex(), effect=0.6, null_mean=0.5,
                           best_view="L2·cosine")  # fmt: skip
    for number in range(1, rows + 1):
        yield r.VerdictGiven(f"H{number:04d}", "screened", "", "not promoted, and Route U did not confirm it")
    yield r.RunClosed({"screened": rows})


def chained(records: Iterator[r.Record]) -> Iterator[Entry]:
    """The entries of ``records``, as ``Ledger.append`` would chain them."""
    head = GENESIS
    for record in records:
        about = {"at": "2026-01-01T00:00:00.000+00:00", "environment": "0" * 16}
        content = record.to_content()
        is_context = record.KIND in r.CONTEXT_KINDS
        context = about | {"record": content} if is_context else about
        entry = link(
            head, record.KIND, None if is_context else canonical_text(content, ""), canonical_text(context, "")
        )
        head = entry.head()
        yield entry


def fill(place: Location, rows: int) -> int:
    """A ledger of ``rows`` hypotheses at ``place``; returns how many entries it has."""
    ledger = Ledger.create(place)
    page: list[dict[str, object]] = []
    count = 0
    with database_at(place).transaction() as connection:
        for entry in chained(story(rows)):
            count += 1
            page.append(vars(entry))
            if len(page) == BATCH:
                connection.execute(insert(ENTRY), page)
                page = []
        if page:
            connection.execute(insert(ENTRY), page)
    ledger.rebuild()
    return count


def timed(folder: Path, *command: str) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and peak MiB of ``screen COMMAND``, its output thrown away.

    A process between keeps the children apart: the system tells the peak of the largest child there ever was.
    """
    script = (
        "import json, resource, subprocess, sys, time; t = time.perf_counter(); "
        "subprocess.run([sys.executable, '-m', 'hyposcreen', *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL); "
        "wall = time.perf_counter() - t; u = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(json.dumps([wall, u.ru_utime + u.ru_stime, u.ru_maxrss]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *command],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        env=dict(os.environ),
    )
    wall, processor, peak = json.loads(done.stdout)
    return wall, processor, peak / (2**20 if sys.platform == "darwin" else 2**10)


def table(folder: Path, rows: int) -> None:
    """Time every command on the ledger of ``folder`` and print the table, a line as soon as it is known."""
    print("| rows | command | wall s | processor s | peak MiB |\n|---|---|---|---|---|")
    for command in COMMANDS:
        words = tuple(f"H{rows:04d}" if word == "LAST" else word for word in command)
        try:
            wall, processor, peak = timed(folder, *words)
        except subprocess.CalledProcessError as error:
            print(f"| {rows} | `screen {' '.join(words)}` | failed: {error.stderr.strip()} | | |")
            continue
        print(f"| {rows} | `screen {' '.join(words)}` | {wall:.2f} | {processor:.2f} | {peak:.0f} |", flush=True)


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
    arguments.add_argument("--rows", type=int, default=20_000, help="hypotheses; the ledger has seven entries for each")
    arguments.add_argument(
        "--keep", type=Path, help="folder for the ledger; one that is there already is not made again"
    )
    arguments.add_argument("--postgres", help="address of an empty schema: its ledger is timed too (not with --keep)")
    arguments.add_argument(
        "--writers", action="store_true", help="also 4 and 8 processes that append at once, in files"
    )
    chosen = arguments.parse_args()
    with contextlib.ExitStack() as stack:
        folder = chosen.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        place = chosen.postgres or folder / "runs.db"
        if chosen.postgres:
            (folder / "screen.toml").write_text(f"ledger = {json.dumps(chosen.postgres)}\n", encoding="utf-8")
        start = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        if chosen.postgres or not place.exists():
            count = fill(place, chosen.rows)
            seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime - start
            print(f"{chosen.rows} hypotheses, {count} entries, made in {seconds:.0f} s of processor time")
        if not chosen.postgres:
            print(f"{place.stat().st_size >> 20} MiB\n")
        table(folder, chosen.rows)
        for workers in (4, 8) if chosen.writers else ():
            there, seconds = appended(folder / f"{workers}.db", workers, 150)
            print(f"SQLite, {workers} processes of 150 entries: {there} of {workers * 150}, {seconds:.1f} s")


if __name__ == "__main__":
    main()
