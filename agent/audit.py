"""The audit: re-run the complete loop in worlds where the truth is known, and count what it confirms.

Every world is a whole campaign with its own ledger: split, proposer, exploration, promotion, the look, verdicts. Only the
labels differ (``tests_library/worlds.py``). In null and confounded worlds every confirmation is false; in planted worlds
one annotation carries a signal of known strength and the others are null. Beside our verdicts stand those of BH and
Bonferroni over the explored rows of the same worlds.
"""

import json
import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..embeddings_cache.families import gene_families
from ..hypotheses.canonical import sha256_of
from ..tests_library.nulls import like_genes
from ..tests_library.spaces import Geometry
from ..tests_library.worlds import confounded_world, null_world, planted_world
from .config import Config
from .errors import Exit, UserError
from .executors.pool import SandboxPool
from .ledger.records import Tested, VerdictGiven
from .ledger.store import Ledger
from .orchestrator import Loop, open_run, run
from .progress import Progress
from .project import Project, open_project
from .proposers.base import Proposer
from .proposers.greedy import GreedyProposer
from .proposers.offline import OfflineProposer
from .sandbox.inline import InlineSandbox
from .sandbox.worker import Bench

KINDS = ("null", "confounded", "planted")
PROPOSERS = ("offline", "greedy")
SHARES = (0.25, 0.5, 0.75, 1.0)
"""Planted worlds cycle through these shares of an annotation's genes moved into one pole of an axis."""
RESULTS_NAME = "audit.jsonl"
_LEVEL = 0.95


@dataclass(frozen=True)
class AuditPlan:
    """What an audit runs; equal plans share results, so an interrupted audit goes on where it was."""

    kind: str
    proposer: str
    worlds: int
    config: Config
    cache_digest: str
    version: str

    @property
    def in_words(self) -> dict[str, Any]:
        """What a reader of ``audit.jsonl`` wants to know of the plan behind a world."""
        return {
            "kind": self.kind, "proposer": self.proposer, "iterations": self.config.iterations,
            "alpha": self.config.alpha, "cache_digest": self.cache_digest, "version": self.version,
        }  # fmt: skip

    @property
    def key(self) -> str:
        """Names everything but the number of worlds."""
        return sha256_of({**asdict(replace(self, worlds=0)), "config": asdict(replace(self.config, workers=0))})


@dataclass(frozen=True)
class World:
    """What one world came to."""

    number: int
    rows: int
    confirmed: tuple[str, ...]
    """Ids of confirmed rows whose annotation carries no signal: false confirmations."""
    found: tuple[str, ...]
    """Ids of confirmed rows of the planted annotation."""
    planted_rows: int
    share: float
    """Share of the planted annotation's genes that were moved; 0 without."""
    false_bh: int
    """Rows without signal that BH at alpha over all explored rows would have called."""
    false_bonferroni: int
    false_raw: int
    """Rows without signal with p_raw ≤ alpha: the best view, not corrected for the scan."""
    naive_null: int
    """Rows without signal with p ≤ alpha under the gene_label null alone."""


def run_audit(project: Path, folder: Path, plan: AuditPlan, workers: int, progress: Progress) -> list[World]:
    """Run the worlds that are not in ``audit.jsonl`` yet, in parallel; every finished world is on disk at once."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RESULTS_NAME
    done = {w.number: w for w in _read(path, plan.key) if w.number <= plan.worlds}
    waiting = [n for n in range(1, plan.worlds + 1) if n not in done]
    count = workers if workers > 0 else os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")  # a fork would share the parent's open files
    with (
        progress.phase(f"audit: {plan.kind} worlds", plan.worlds, len(done)) as counter,
        ProcessPoolExecutor(min(count, max(1, len(waiting))), mp_context=context) as pool,
        path.open("a", encoding="utf-8") as out,
    ):
        futures = [pool.submit(one_world, str(project), plan, n) for n in waiting]
        try:
            for future in as_completed(futures):
                world = future.result()
                out.write(json.dumps({"plan": plan.key, "of": plan.in_words, **asdict(world)}) + "\n")
                out.flush()
                os.fsync(out.fileno())
                done[world.number] = world
                counter.step()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [done[n] for n in sorted(done)]


def summary(plan: AuditPlan, worlds: Sequence[World]) -> dict[str, Any]:
    """What the worlds say, with exact (Clopper–Pearson) 95 % intervals for every share of worlds."""
    out: dict[str, Any] = {
        "kind": plan.kind,
        "proposer": plan.proposer,
        "iterations": plan.config.iterations,
        "alpha": plan.config.alpha,
        "hypotheses": sum(w.rows for w in worlds),
        "any_false_confirmation": proportion(sum(bool(w.confirmed) for w in worlds), len(worlds)),
        "false_discovery_proportion": _mean([_fdp(w) for w in worlds]),
        "instead": {
            "bh_over_rows": proportion(sum(w.false_bh > 0 for w in worlds), len(worlds)),
            "bonferroni_over_rows": proportion(sum(w.false_bonferroni > 0 for w in worlds), len(worlds)),
            "uncorrected_best_view": proportion(sum(w.false_raw > 0 for w in worlds), len(worlds)),
            "gene_label_null_alone_row_rate": _mean([w.naive_null / max(1, w.rows) for w in worlds]),
        },
    }
    if plan.kind == "planted":
        out["power"] = {
            str(share): proportion(sum(len(w.found) > 0 for w in mine), len(mine))
            for share in SHARES
            if (mine := [w for w in worlds if w.share == share])
        }
    return out


def proportion(count: int, worlds: int) -> dict[str, Any]:
    """``count`` of ``worlds`` with the Clopper–Pearson interval."""
    from scipy.stats import binomtest

    if worlds == 0:
        return {"count": 0, "worlds": 0, "ci_low": 0.0, "ci_high": 1.0}
    interval = binomtest(count, worlds).proportion_ci(_LEVEL, method="exact")
    return {"count": count, "worlds": worlds, "ci_low": float(interval.low), "ci_high": float(interval.high)}


def make_plan(folder: Path, config: Config, kind: str, proposer: str, worlds: int, version: str) -> AuditPlan:
    """Check the words and the inputs of an audit before any world is run."""
    if kind not in KINDS:
        raise UserError(f"kind '{kind}' is not known; choose one of {', '.join(KINDS)}", Exit.USAGE)
    if proposer not in PROPOSERS:
        raise UserError(f"proposer '{proposer}' is not known here; choose one of {', '.join(PROPOSERS)}", Exit.USAGE)
    project = open_project(folder, config)
    return AuditPlan(
        kind, proposer, worlds, replace(config, proposer=proposer, campaign=""), project.cache.digest, version
    )


_BENCH: list[Bench] = []
"""One bench a process: the geometry is the same in every world."""


def one_world(folder: str, plan: AuditPlan, number: int) -> World:
    """Run world ``number`` of an audit of the project in ``folder``: a whole campaign, in a ledger that is thrown away."""
    if not _BENCH:
        _BENCH.append(Bench())
    _BENCH[0].forget_arrangements()
    plain = open_project(Path(folder), plan.config)
    relabelling, planted, share = _world(plain, plan, number)
    drawn = replace(plan.config, seed=world_seed(plan.config.seed, number))
    project = open_project(Path(folder), drawn, split=plain.split, world=relabelling)
    with tempfile.TemporaryDirectory() as scratch:
        ledger = Ledger.create(Path(scratch) / "world.db")
        with SandboxPool(1, make=lambda: InlineSandbox(_BENCH[0])) as executor:
            frozen = open_run(project, ledger)
            run(Loop(project, frozen, ledger, executor, _proposer(plan, number), Progress(quiet=True)))
        return _count(ledger, plan, number, planted, _touched(project, planted), share)


def world_seed(seed: int, number: int) -> int:
    """The seed of one world's arrangements: with one bank for all worlds an audit would measure the luck of that bank."""
    return int(sha256_of({"seed": seed, "world": number})[:8], 16)


def _world(project: Project, plan: AuditPlan, number: int) -> tuple[NDArray[np.int64], str, float]:
    """The relabelling of all cache rows (masked ones stay), the planted annotation and its share."""
    genes = project.cache.genes
    usable = np.flatnonzero(project.split >= 0)
    symbols = tuple(genes.symbol[r] for r in usable)
    groups = like_genes(genes.mean_expression[usable], genes.detection[usable])
    seed = plan.config.seed
    planted, share = "", 0.0
    if plan.kind == "confounded":
        counts = np.zeros(len(project.split), dtype=np.int64)
        for name in project.annotations:
            np.add.at(counts, np.unique(project.labelled_rows(name)), 1)
        local = confounded_world(number, seed, symbols, groups, genes.mean_expression[usable], counts[usable])
    else:
        local = null_world(number, seed, symbols, groups)
        if plan.kind == "planted":
            planted, share = _planted_annotation(project, number), SHARES[(number - 1) % len(SHARES)]
            place = np.full(len(project.split), -1, dtype=np.int64)
            place[usable] = np.arange(len(usable))
            members = place[project.labelled_rows(planted)]
            local = planted_world(local, members, _pole(project, usable, local), share)
    world = np.arange(len(project.split), dtype=np.int64)
    world[usable] = usable[local]
    return world, planted, share


def _planted_annotation(project: Project, number: int) -> str:
    sets = [a.name for a in project.annotations.values() if a.kind == "gene_set" and a.background is None]
    large = [name for name in sets if 20 <= len(project.labelled_rows(name)) <= 60]
    return large[(number - 1) // len(SHARES) % len(large)]


def _pole(project: Project, usable: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places (in ``usable``) of the top quarter of SV2 in the middle layer, in the random order of the world."""
    cache = project.cache
    geometry = Geometry(
        cache.layers, usable.astype(np.int64), usable.astype(np.int64), gene_families(cache.genes.symbol), 2
    )
    pole = set(np.flatnonzero(geometry.poles(cache.n_layers // 2)[:, 1] == 1).tolist())
    return np.array([i for i in order.tolist() if i in pole], dtype=np.int64)


def _proposer(plan: AuditPlan, number: int) -> Proposer:
    return GreedyProposer(number) if plan.proposer == "greedy" else OfflineProposer(number)


def _touched(project: Project, planted: str) -> frozenset[str]:
    """Annotations that share a gene with the planted one: no longer null, so neither true nor false there."""
    if not planted:
        return frozenset()
    moved = set(project.labelled_rows(planted).tolist())
    return frozenset(name for name in project.annotations if moved & set(project.labelled_rows(name).tolist()))


def _count(ledger: Ledger, plan: AuditPlan, number: int, planted: str, touched: frozenset[str], share: float) -> World:
    alpha = plan.config.alpha
    rows = {r.id: r for r in ledger.rows(views=False)}
    signal = {id_ for id_, r in rows.items() if r.annotation in touched}
    target = {id_ for id_, r in rows.items() if r.annotation == planted}
    confirmed = {v.id for v in ledger.records(VerdictGiven) if v.verdict == "confirmed"}
    tested = {t.id: t for t in ledger.records(Tested) if t.status == "ok"}
    null = [id_ for id_ in tested if id_ not in signal]
    q_bh = {id_: rows[id_].q_bh for id_ in null}
    return World(
        number=number,
        rows=len(rows),
        confirmed=tuple(sorted(confirmed - signal)),
        found=tuple(sorted(confirmed & target)),
        planted_rows=len(target),
        share=share,
        false_bh=sum(1 for q in q_bh.values() if q is not None and q <= alpha),
        false_bonferroni=sum(1 for id_ in null if tested[id_].p_scan <= alpha / max(1, len(tested))),
        false_raw=sum(1 for id_ in null if tested[id_].p_raw <= alpha),
        naive_null=sum(1 for id_ in null if tested[id_].companions["gene_label"]["p_scan"] <= alpha),
    )


def _read(path: Path, key: str) -> Iterator[World]:
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            value: dict[str, Any] = json.loads(line)
        except json.JSONDecodeError:
            continue  # the last line of an audit that was killed while writing it; that world is run again
        if value.get("plan") == key:
            fields: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in value.items() if k not in {"plan", "of"}
            }
            yield World(**fields)


def _fdp(world: World) -> float:
    total = len(world.confirmed) + len(world.found)
    return len(world.confirmed) / total if total else 0.0


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
