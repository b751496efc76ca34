"""What the campaign costs on a cache of full size: ``python benchmarks/campaign_scale.py [--annotations FOLDER]``.

The cache is random numbers in scGPT's shape (5,000 genes × 13 states × 512), because time does not depend on what they mean;
its states drift slowly, as those of a residual network do. Annotations are drawn with the sizes that TRRUST 2, the Human
Protein Atlas, PanglaoDB and STRING have there, or taken from a folder, whose genes then name the rows of the cache.

Jobs run one after the other in this process, through the same code as in a worker, so each has its own processor time.
There are no limits; a job beyond ``timeout_seconds`` is marked, because a run would have tried it twice.
"""

import argparse
import resource
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice, product
from pathlib import Path
from typing import Any, Self

import numpy as np

from hyposcreen.agent.campaigns.running import declared, with_campaign
from hyposcreen.agent.config import Config
from hyposcreen.agent.ledger.records import Proposed, Registered, Rejected
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.orchestrator import Loop, open_run, run
from hyposcreen.agent.progress import Progress
from hyposcreen.agent.project import open_project
from hyposcreen.agent.proposers.campaign import NAME
from hyposcreen.agent.sandbox.base import Job, Outcome
from hyposcreen.agent.sandbox.worker import Bench
from hyposcreen.agent.session import make_proposer, write_report_of
from hyposcreen.embeddings_cache.genes import GeneTable
from hyposcreen.embeddings_cache.store import STORE, write_cache
from hyposcreen.hypotheses.annotations import load_annotations

PAPER = "scgpt-2602.22247"
FULL = 5000
"""Genes at which the sizes below were counted; for fewer genes they shrink in proportion."""
SETS = {
    "hpa_endoplasmic_reticulum": 398, "hpa_mitochondria": 967, "hpa_nucleoplasm": 3407, "regulators": 667,
    "b_cell_regulators": 30, "panglaodb_b_cells": 98, "panglaodb_t_cells": 95,
}  # fmt: skip
PAIRS, PAIRED = 3364, 209
EDGES, REGULATORS, TARGETS = 8403, 795, 2492
ATTENDED = 700
"""Genes among which attention is kept; among all 5,000 it would be 2.4 GB."""


@dataclass(frozen=True)
class Cost:
    """One job."""

    test: str
    annotation: str
    rows: tuple[str, ...]
    phase: str
    cpu: float
    wall: float


@dataclass
class InThisProcess:
    """An executor without workers, which measures; see :class:`hyposcreen.agent.executors.base.Executor`."""

    bench: Bench = field(default_factory=Bench)
    costs: list[Cost] = field(default_factory=list)
    boundary: str = "none"

    def run(self, jobs: Sequence[Job], log: Any = None) -> Iterator[Outcome]:
        """Outcomes, one job after the other."""
        for job in jobs:
            if log is not None:
                log.started(job, 1, "in this process")
            cpu, wall = time.process_time(), time.perf_counter()
            value, vectors = self.bench.answer(job.to_json())
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            outcome = Outcome("ok", wall, value=value, vectors=vectors)
            if log is not None:
                log.ended(job, 1, outcome)
            phase = "explore" if not job.vectors else "route U" if job.name.endswith("A+B") else "route H"
            annotation = job.name.partition("(")[2].partition(")")[0]
            self.costs.append(Cost(job.test, annotation, tuple(job.subsets), phase, cpu, wall))
            print(f"{phase:<8} {job.name:<62} {cpu:8.1f} s, peak {_peak():,} MB", file=sys.stderr, flush=True)
            yield outcome

    def close(self) -> None:
        """Nothing to let go of."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


def make_project(folder: Path, genes: int, states: int, width: int, annotations: Path | None, seed: int) -> None:
    """The cache, its partner and the annotations in ``folder``."""
    rng = np.random.default_rng(seed)
    if annotations is None:
        symbols = _symbols(genes)
        _draw_annotations(folder / "annotations", symbols, rng)
    else:
        shutil.copytree(annotations, folder / "annotations")
        named = sorted({g for a in load_annotations(annotations) for g in a.genes()})
        order = rng.permutation(len(named))[:genes]
        symbols = (*(named[i] for i in order), *_symbols(genes - len(order)))
    state = rng.standard_normal((genes, width))
    layers = []
    for _ in range(states):
        state = 0.9 * state + 0.4 * rng.standard_normal((genes, width))
        layers.append(state.astype(np.float32))
    detection = rng.uniform(0.02, 0.9, genes)
    norm = np.linalg.norm(layers[-1], axis=1).astype(np.float64)
    table = GeneTable(symbols, (700 * detection).astype(np.int64) + 5, 2 * detection, detection, norm, ("",) * genes)
    kept = np.sort(rng.choice(genes, min(ATTENDED, genes), replace=False))
    extras = {"attention": rng.random((states - 1, len(kept), len(kept))), "attention_rows": kept}
    store = folder / STORE
    write_cache(store / "scale", layers=layers, genes=table, manifest={"model": "random numbers"}, extras=extras)
    near = [layer + 0.3 * rng.standard_normal(layer.shape).astype(np.float32) for layer in layers]
    write_cache(store / "partner", layers=near, genes=table, manifest={"model": "random numbers"})


def _symbols(count: int) -> tuple[str, ...]:
    """Names of genes, three in ten with relatives: a stem and a number, as in IRF7 and IRF8."""
    stems = ("Q" + "".join(letters) for letters in product("BCDFGHJKLMNPRSTVWXZ", repeat=4))
    sizes = cycle((1,) * 14 + (2, 4))
    named = (f"{stem}{i + 1}" for stem, size in zip(stems, sizes, strict=False) for i in range(size))
    return tuple(islice(named, count))


def _draw_annotations(folder: Path, symbols: Sequence[str], rng: np.random.Generator) -> None:
    """Sets, pairs and edges of random genes, with real sizes; degrees of regulators and targets are uneven, as they are."""
    folder.mkdir(parents=True)
    names, share = np.array(symbols), len(symbols) / FULL

    def some(count: int) -> Any:
        return rng.choice(names, max(12, round(count * share)), replace=False)

    sets = "".join("\t".join((name, "na", *some(count))) + "\n" for name, count in SETS.items())
    (folder / "sets.gmt").write_text(sets, encoding="utf-8")
    linked, regulators, targets = some(PAIRED), some(REGULATORS), some(TARGETS)
    pairs = {tuple(sorted(rng.choice(linked, 2, replace=False))) for _ in range(round(PAIRS * share))}
    grades = (f"{a}\t{b}\t{rng.integers(400, 1000)}\n" for a, b in sorted(pairs))
    (folder / "string.tsv").write_text("gene_a\tgene_b\tgrade\n" + "".join(grades), encoding="utf-8")
    few = (rng.random((round(EDGES * share), 2)) ** 2).tolist()  # few have many edges
    edges = {(regulators[int(a * len(regulators))], targets[int(b * len(targets))]) for a, b in few}
    signs = rng.choice(["activation", "repression", "unknown"], len(edges), p=[0.35, 0.2, 0.45])
    lines = "".join(f"{r}\t{t}\t{sign}\n" for (r, t), sign in zip(sorted(edges), signs, strict=True) if r != t)
    (folder / "trrust.tsv").write_text("regulator\ttarget\tsign\n" + lines, encoding="utf-8")
    head = '[defaults]\nsource = "drawn"\nversion = "1"\nlicence = "CC0-1.0"\nprovenance = "external"\n'
    tables = (("sets", "gmt", "gene_set"), ("string", "tsv", "gene_pairs"), ("trrust", "tsv", "edges"))
    body = "".join(f'\n[{name}]\nfile = "{name}.{end}"\nkind = "{kind}"\n' for name, end, kind in tables)
    (folder / "annotations.toml").write_text(head + body, encoding="utf-8")


def measure(folder: Path, config: Config) -> tuple[list[Cost], dict[str, str], list[str], dict[str, float]]:
    """Run the campaign in ``folder``: (costs of jobs, system of each row, refusals, processor seconds around the jobs)."""
    marks = [time.process_time()]
    project = declared(open_project(folder, config))
    ledger = Ledger.create(project.ledger_path)
    plan = open_run(project, ledger)
    marks.append(time.process_time())
    proposer = with_campaign(project, lambda: make_proposer(config))
    executor = InThisProcess()
    run(Loop(project, plan, ledger, executor, proposer, Progress(quiet=True)))
    marks.append(time.process_time())
    write_report_of(ledger, folder / "report.html", folder)
    marks.append(time.process_time())
    said = {(p.iteration, p.slot): p.source["system"] for p in ledger.records(Proposed)}
    systems = {h.id: said[(h.iteration, h.slot)] for h in ledger.records(Registered)}
    refused = [f"{said[(r.iteration, r.slot)]}: {r.reason}" for r in ledger.records(Rejected)]
    inside = sum(c.cpu for c in executor.costs)
    around = {"opening": marks[1] - marks[0], "loop": marks[2] - marks[1] - inside, "report": marks[3] - marks[2]}
    return executor.costs, systems, refused, around


def tables(
    costs: Sequence[Cost], systems: dict[str, str], refused: Sequence[str], around: dict[str, float], limit: float
) -> list[str]:
    """What was measured, as lines of Markdown."""
    by_system: dict[str, list[Cost]] = defaultdict(list)
    for cost in costs:
        if cost.phase != "route U":
            by_system[systems[cost.rows[0]]].append(cost)
    out = [
        "| system | rows explored | processor s | wall s | on genes B, rows | processor s |",
        "|---|---|---|---|---|---|",
    ]
    for system, mine in sorted(by_system.items()):
        explored, sealed = ([c for c in mine if c.phase == phase] for phase in ("explore", "route H"))
        cpu, wall, b = sum(c.cpu for c in explored), sum(c.wall for c in explored), sum(c.cpu for c in sealed)
        out.append(f"| {system} | {len(explored)} | {cpu:.1f} | {wall:.1f} | {len(sealed)} | {b:.1f} |")
    out += ["", "| Route U, all genes | jobs | processor s | longest |", "|---|---|---|---|"]
    by_test: dict[str, list[Cost]] = defaultdict(list)
    for cost in costs:
        if cost.phase == "route U":
            by_test[cost.test].append(cost)
    for test, mine in sorted(by_test.items(), key=lambda item: -sum(c.cpu for c in item[1])):
        longest = max(mine, key=lambda c: c.cpu)
        out.append(
            f"| `{test}` | {len(mine)} | {sum(c.cpu for c in mine):.1f} | {longest.cpu:.1f} ({longest.annotation}) |"
        )
    slow = [c for c in costs if c.wall > limit]
    inside = {phase: sum(c.cpu for c in costs if c.phase == phase) for phase in ("explore", "route U", "route H")}
    out += ["", *(f"- {phase}: {seconds:.0f} s of processor time" for phase, seconds in {**inside, **around}.items())]
    out += [f"- the whole: {sum(inside.values()) + sum(around.values()):.0f} s of processor time; peak {_peak():,} MB"]
    out += [f"- beyond {limit:.0f} s: {c.phase} {c.test}({c.annotation}), {c.wall:.0f} s" for c in slow]
    return [*out, *(f"- refused: {text}" for text in refused)]


def _peak() -> int:
    """Largest memory of this process so far, MB."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(used / (1 << 20 if sys.platform == "darwin" else 1 << 10))


def main() -> None:
    """Make the project, run the campaign, print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--annotations", type=Path, help="folder with an annotations.toml; drawn when not given")
    arguments.add_argument("--genes", type=int, default=FULL)
    arguments.add_argument("--states", type=int, default=13)
    arguments.add_argument("--width", type=int, default=512)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--explore", type=int, default=Config.permutations_explore, help="draws on genes A")
    arguments.add_argument(
        "--look", type=int, default=Config.permutations_look, help="draws on genes B and on all genes"
    )
    given = arguments.parse_args()
    config = Config(
        cache="scale", partner="partner", annotations="annotations", campaign=PAPER, proposer=NAME, seed=given.seed,
        permutations_explore=given.explore, permutations_look=given.look,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_project(folder, given.genes, given.states, given.width, given.annotations, given.seed)
        found = measure(folder, config)
    print(f"{given.genes} genes × {given.states} states × {given.width}; {given.explore} and {given.look} draws\n")
    print("\n".join(tables(*found, config.timeout_seconds)))


if __name__ == "__main__":
    main()
