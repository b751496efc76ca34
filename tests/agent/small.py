"""A project small enough to run whole in a second or two: a corner of the demo cache, seven annotations, few permutations.

The fixture ``small`` gives it: test modules cannot import each other here.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hyposcreen.agent import session
from hyposcreen.agent.config import load_config
from hyposcreen.agent.executors.pool import SandboxPool
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.orchestrator import Loop, open_run, run
from hyposcreen.agent.progress import Progress
from hyposcreen.agent.project import Project, open_project
from hyposcreen.agent.proposers.offline import OfflineProposer
from hyposcreen.agent.sandbox.base import Job, Limits, Outcome
from hyposcreen.agent.sandbox.worker import Bench
from hyposcreen.embeddings_cache.genes import GeneTable
from hyposcreen.embeddings_cache.store import SHIPPED, STORE, open_cache, write_cache
from hyposcreen.hypotheses.annotations import DEMO, Annotation, load_annotations

SETS = ("b_cells", "housekeeping", "housekeeping_half_1", "random_b_cells", "t_cells")
PAIRS = "immune_signalling"
EDGES = "tf_targets"
N_GENES, N_LAYERS, DIM = 320, 3, 16
SETTINGS = {
    "cache": "small",
    "annotations": "labels",
    "seed": 5,
    "iterations": 4,
    "per_iteration": 3,
    "permutations_explore": 99,
    "permutations_look": 199,
    "max_promoted": 4,
    "promote_p": 0.2,
    "workers": 1,
}
"""``promote_p`` is generous so that a run of four iterations promotes something."""


def demo_annotations() -> tuple[Annotation, ...]:
    """The annotations of the small project, as the demo ships them."""
    wanted = {*SETS, PAIRS, EDGES}
    return tuple(a for a in load_annotations(DEMO) if a.name in wanted)


def write_annotations(folder: Path, annotations: Iterable[Annotation]) -> Path:
    """Annotations as the files a user would write."""
    folder.mkdir(parents=True, exist_ok=True)
    toml = ['[defaults]\nsource = "test"\nversion = "1"\nlicence = "CC0-1.0"\nprovenance = "external"\n']
    for a in annotations:
        if a.kind == "gene_set":
            name, text = f"{a.name}.gmt", "\t".join((a.name, a.title, *(str(m) for m in a.members))) + "\n"
        else:
            head = {"gene_pairs": "gene_a\tgene_b\tgrade", "edges": "regulator\ttarget\tsign"}[a.kind]
            name, text = f"{a.name}.tsv", head + "\n" + "".join(f"{x}\t{y}\t{v}\n" for x, y, v in _signed(a))
        (folder / name).write_text(text, encoding="utf-8")
        background = f'background = "{a.background}"\n' if a.background else ""
        toml.append(f'[{a.name}]\nfile = "{name}"\nkind = "{a.kind}"\nrole = "{a.role}"\n{background}')
    (folder / "annotations.toml").write_text("\n".join(toml), encoding="utf-8")
    return folder


def write_small_cache(project: Path) -> Path:
    """The first layers and columns of the demo cache, for the genes of the small annotations and some more."""
    demo = open_cache(SHIPPED["demo"], verify=False)
    named = frozenset().union(*(a.genes() for a in demo_annotations()))
    usable = [row for row in range(demo.n_genes) if demo.genes.usable[row]]
    chosen = sorted(sorted(usable, key=lambda row: (demo.genes.symbol[row] not in named, row))[:N_GENES])
    g = demo.genes
    genes = GeneTable(
        tuple(g.symbol[row] for row in chosen), g.n_cells[chosen], g.mean_expression[chosen], g.detection[chosen],
        g.norm[chosen], ("",) * len(chosen),
    )  # fmt: skip
    layers = [layer[chosen, :DIM] for layer in demo.layers[:N_LAYERS]]
    return write_cache(project / STORE / "small", layers=layers, genes=genes, manifest={"model": "test"}).path


def _signed(a: Annotation) -> Iterable[tuple[str, str, str]]:
    words = {1: "+1", -1: "-1", 0: "0"}
    return ((x, y, words[v] if a.kind == "edges" else str(v)) for x, y, v in a.triples)


def write_settings(folder: Path, **changes: Any) -> Path:
    """``screen.toml`` with the small settings."""
    lines = [f"{k} = {json.dumps(v)}" for k, v in (SETTINGS | changes).items()]
    (folder / "screen.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def make_project_folder(folder: Path, annotations: Iterable[Annotation] | None = None, **changes: Any) -> Path:
    """A working folder, ready for ``screen run``."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / STORE / "small").exists():
        write_small_cache(folder)
    write_annotations(folder / "labels", demo_annotations() if annotations is None else annotations)
    return write_settings(folder, **changes)


class InProcess:
    """The worker's own code without a process: same numbers, quick, and open to monkeypatching."""

    confines = "nothing"

    def __init__(self) -> None:
        self.bench = Bench()
        self.jobs: list[Job] = []

    def run(self, job: Job, limits: Limits) -> Outcome:
        self.jobs.append(job)
        value, vectors = self.bench.answer(json.loads(json.dumps(job.to_json())))
        return Outcome("ok", 0.0, value=json.loads(json.dumps(value)), vectors=vectors)

    def close(self) -> None:
        pass


SHARED = InProcess()
"""Keeps geometries over tests; a run is determined by its inputs, so sharing it changes nothing."""


def in_process(sandbox: Any = SHARED) -> SandboxPool:
    """An executor of one sandbox that is no process."""
    return SandboxPool(1, make=lambda: sandbox)


@dataclass(frozen=True)
class Ran:
    """A loop that came to its end, or to where its test stopped it."""

    project: Project
    ledger: Ledger


def run_loop(
    folder: Path, proposer: Any = None, sandbox: Any = SHARED, split: Any = None, progress: Progress | None = None
) -> Ran:
    """The loop of ``folder`` in this process, from its files."""
    config = load_config(folder, {}, {})
    project = open_project(folder, config, split)
    if not project.ledger_path.exists():
        Ledger.create(project.ledger_path).close()
    ledger = Ledger.open(project.ledger_path)
    plan = open_run(project, ledger)
    with in_process(sandbox) as executor:
        speaker = proposer or OfflineProposer(config.seed)
        run(Loop(project, plan, ledger, executor, speaker, progress or Progress(quiet=True)))
    return Ran(project, ledger)


_finished: list[Ran] = []


def finished_run(folder: Callable[[], Path]) -> Ran:
    """A finished run, made once a process in a new ``folder()``: the tests of several folders read it, and none changes it."""
    if not _finished:
        _finished.append(run_loop(make_project_folder(folder() / "p")))
    return _finished[0]


def run_campaign_in_process(folder: Path, **flags: Any) -> Any:
    """``screen run`` without worker processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "open_executor", lambda *_: in_process())
        return session.run_campaign(folder, flags, Progress(quiet=True))


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of this process without settings of a run."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SCREEN_")}
    return kept | {"COLUMNS": "200"} | dict(extra or {})


def command(*arguments: str | Path) -> list[str]:
    """The command line of a subprocess."""
    return [sys.executable, "-m", "hyposcreen", *map(str, arguments)]


def screen(
    *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """``screen ARGUMENTS`` in a process of its own."""
    return subprocess.run(
        command(*arguments), cwd=cwd, env=environment(env), capture_output=True, text=True, timeout=timeout, check=False
    )
