"""``screen test try``: rehearse a statistic of one's own on made-up data, then on genes A of the cache. Nothing is recorded.

The same path that code of a model takes: behind a boundary, blinded, and nothing but numbers come back. A result here is
exploratory: it is in no ledger, on genes A only, and confirms nothing.
"""

import hmac
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..blinded import Judgement, make_plan
from ..config import load_config
from ..errors import Exit, UserError
from ..project import Project, Side, open_project
from ..sandbox.choose import for_foreign_code
from ..sandbox.statistics import OUR_FAULT, RESOURCE_ENDS, Bounds, Run, StatisticSandbox
from .account_key import account_key
from .bench import RunOne, run_blinded
from .fixtures import Shape, fixtures

_SHAPE = Shape(genes=300, columns=24, labelled=40)
_MORE = 4
_CODE_BYTES = 1 << 20
_BOUNDS = Bounds()


@dataclass(frozen=True)
class Trial:
    """One run of the protocol."""

    where: str
    outcome: str
    """``ok``, an end of the worker, or what the judge found."""
    judgement: Judgement | None
    """``None`` where no values came back."""
    output: str
    """What the code printed; empty on real data."""

    @property
    def p(self) -> float:
        """1 where the outcome is not ``ok``."""
        return 1.0 if self.judgement is None else self.judgement.p


def try_statistic(
    file: Path, folder: Path, annotation: str | None, layer: int | None, m: int, sandbox: str
) -> list[Trial]:
    """Rehearse ``file`` on a planted and on a null fixture, then, if ``annotation`` is named, on genes A of the cache."""
    code = _code(file)
    runner = StatisticSandbox(for_foreign_code(sandbox))
    try:
        run = partial(_patiently, runner)
        rehearsed = _rehearsed(run, code, m)
        if annotation is None or any(t.judgement is None for t in rehearsed):
            return rehearsed
        return [
            *rehearsed,
            _on_cache(run, code, open_project(folder, load_config(folder, {})), annotation, layer, m),
        ]
    finally:
        runner.close()


def _patiently(
    runner: StatisticSandbox, code: str, embedding: NDArray[np.float32], labels: NDArray[np.int8], bounds: Bounds
) -> Run:
    """One run, and one more with larger bounds where it met one. A fault of ours stops everything."""
    run = runner.run(code, embedding, labels, bounds)
    if run.end in RESOURCE_ENDS:
        run = runner.run(code, embedding, labels, bounds.times(_MORE))
    if run.end in OUR_FAULT:
        raise UserError(
            f"the boundary '{runner.backend.name}' could not be put around a worker ({run.end}: {run.output.strip()[-200:]}); "
            "`screen doctor` says what holds here",
            Exit.FAILURE,
        )
    return run


def _rehearsed(run: RunOne, code: str, m: int) -> list[Trial]:
    found = []
    for fixture in fixtures(_SHAPE, m):
        end, _, judged, said = run_blinded(run, code, fixture.embedding, fixture.plan, _BOUNDS)
        found.append(Trial(fixture.name, end, judged, said))
    return found


def _on_cache(run: RunOne, code: str, project: Project, annotation: str, layer: int | None, m: int) -> Trial:
    if annotation not in project.annotations or project.annotations[annotation].kind != "gene_set":
        sets = [a.name for a in project.annotations.values() if a.kind == "gene_set"]
        raise UserError(f"annotation '{annotation}' is no gene set here; choose one of {', '.join(sets)}", Exit.USAGE)
    cache, last = project.cache, project.cache.n_layers - 1
    chosen = last if layer is None else layer
    if not 0 <= chosen <= last:
        raise UserError(f"--layer {chosen} is not in this cache; it has layers 0 to {last}", Exit.USAGE)
    rows = project.rows(Side.EXPLORE, project.annotations[annotation].background)
    labels = np.zeros(len(rows), np.int8)
    labels[project.entity(annotation, Side.EXPLORE)["members"]] = 1
    groups = project.matched(Side.EXPLORE, project.annotations[annotation].background)
    secret = hmac.digest(account_key(), f"{cache.digest} {project.config.seed}".encode(), "sha256")
    plan = make_plan(secret, f"{annotation} layer {chosen}", labels, groups, m)
    embedding = np.asarray(cache.layers[chosen][rows], np.float32)
    outcome, _, found, _ = run_blinded(run, code, embedding, plan, _BOUNDS)
    return Trial(
        f"genes A of '{cache.name}', layer {chosen}, {annotation}: {int(labels.sum())} of {len(rows)}",
        outcome,
        found,
        "",
    )


def _code(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read as text ({error}); name a Python file", Exit.USAGE) from None
    if len(text) > _CODE_BYTES:
        raise UserError(f"{file} is longer than {_CODE_BYTES} characters; a statistic is one function", Exit.USAGE)
    return text
