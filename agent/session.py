"""What the commands do: open a folder, run it, replay it. I/O at the edge of the loop, no statistics."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..embeddings_cache.importing import unmatched_remark
from ..embeddings_cache.store import GENES
from .audit import make_plan, run_audit, summary
from .campaigns.running import ALONE, begin_campaign, declared, with_campaign
from .config import CONFIG_NAME, PLAN_FIELDS, Config, ledger_at, load_config, write_config
from .custom.executor import bench_of, with_code
from .errors import Exit, UserError
from .executors.choose import check_executor, open_executor
from .fingerprint import environment
from .ledger.database import database_at
from .ledger.errors import LedgerError
from .ledger.failpoints import reached
from .ledger.provenance import Artifact, Environment
from .ledger.records import Head, RunClosed, RunOpened
from .ledger.store import Ledger
from .llm.preparing import MODELS, check_recording, find_recording, make_model_proposer, prepare, with_model
from .orchestrator import Loop, check_inputs, open_run, plan_of, run
from .places import REPORT_NAME, ledger_path, open_ledger
from .progress import Progress
from .project import Project, open_project
from .proposers.base import Proposer
from .proposers.offline import OfflineProposer
from .replay.bundle import check_bundle, write_bundle
from .replay.inputs import cache_files, named_inputs
from .replay.rows import Replay, replay
from .turns import record_once


@dataclass(frozen=True)
class RunSummary:
    """What a finished run says of itself."""

    rows: int
    rejected: int
    counts: Mapping[str, int]
    """Verdict → rows."""
    controls: Mapping[str, tuple[int, int]]
    """Role → (confirmed, tested) for positive and negative controls."""
    head: Head
    report: Path
    already_complete: bool


def initialise(folder: Path, flags: Mapping[str, Any]) -> Path:
    """Make ``screen.toml`` in ``folder``; refuses to replace one."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; make it first (mkdir -p {folder})")
    if (folder / CONFIG_NAME).exists():
        raise UserError(f"{folder / CONFIG_NAME} already exists; edit it, or choose another folder", Exit.USAGE)
    config = load_config(folder, flags)
    open_project(folder, config)  # nothing is written for inputs that cannot be opened
    return write_config(folder, config)


def run_campaign(folder: Path, flags: Mapping[str, Any], progress: Progress) -> RunSummary:
    """Open, run or resume the campaign of ``folder``, write the report, and sum up."""
    _make_folder(folder)
    config = load_config(folder, flags)
    place = ledger_at(folder, config)
    if (folder / CONFIG_NAME).exists() and (kept := load_config(folder, {}).ledger) != config.ledger:
        raise UserError(
            f"{folder / CONFIG_NAME} says ledger = '{kept}'; edit it there, or leave --ledger out", Exit.USAGE
        )
    fresh = database_at(place).vacant()
    done = False
    if not fresh:
        with Ledger.open_readonly(place) as held:
            done = bool(held.records(RunClosed))
            config = with_model(with_plan(config, flags, held.run(), folder, closed=done), flags, held, folder)
    elif (recording := find_recording(config, folder)) is not None:
        config = with_plan(config, flags, recording.run(), Path(recording.path).parent)
        config = with_model(config, flags, recording, Path(recording.path).parent)
    config = begin_campaign(config, flags) if fresh else config
    check_proposer(config)
    check_executor(config)
    project = declared(open_project(folder, config)) if fresh else open_project(folder, config)
    config = project.config
    asking = prepare(config, folder) if config.proposer in MODELS and not done else None
    if asking is not None and asking.recording is not None:
        check_recording(plan_of(project), asking.recording)
    if not (folder / CONFIG_NAME).exists():
        write_config(folder, config)
        reached("config.written")
        progress.say(f"initialised {folder / CONFIG_NAME} (cache '{config.cache}', annotations '{config.annotations}')")
    if fresh:
        _create(place)
    ledger = Ledger.open(place)
    with ledger.lock_runner() as runner:
        reached("runner.locked")
        done = bool(ledger.records(RunClosed))
        plan = open_run(project, ledger)
        if not done:
            _introduce(plan, progress)
            record_environment(project, ledger)
            reached("environment.recorded")
            bench = bench_of(config)
            proposer = with_campaign(
                project,
                lambda: (
                    make_proposer(config) if asking is None else make_model_proposer(asking, ledger, project, bench)
                ),
            )
            with open_executor(config, progress) as others, with_code(others, project, ledger, bench) as executor:
                run(Loop(project, plan, ledger, executor, proposer, progress, runner))
        report = write_report_of(ledger, folder / REPORT_NAME, folder)
        reached("report.written")
        return _sum_up(ledger, report, done)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be a working folder ({error.strerror}); choose another with --project"
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{folder} may not be written by this account; choose another folder with --project")


def _create(where: Path | str) -> None:
    """A new ledger. Where several runners start at once, one of them makes it."""
    try:
        Ledger.create(where).close()
    except LedgerError:
        if database_at(where).vacant():
            raise


_MAKERS: Mapping[str, Callable[[Config], Proposer]] = {"offline": lambda config: OfflineProposer(config.seed)}
"""Proposers that need the settings only. A new one is one new file and one line here; one that asks a model is in ``llm``."""


def check_proposer(config: Config) -> None:
    """Refuse a proposer that is not known, before anything is opened."""
    if config.allow_code and config.proposer not in MODELS:
        raise UserError(
            f"allow_code lets a model write statistics, and proposer '{config.proposer}' asks no model; add --proposer openai "
            "--model NAME, or leave --allow-code out",
            Exit.USAGE,
        )
    if config.proposer not in (known := (*_MAKERS, *MODELS, ALONE)):
        raise UserError(f"proposer '{config.proposer}' is not known; choose one of {', '.join(known)}", Exit.USAGE)


def make_proposer(config: Config) -> Proposer:
    """The proposer named in the settings, if it asks no model."""
    check_proposer(config)
    return _MAKERS[config.proposer](config)


def with_plan(
    config: Config, flags: Mapping[str, Any], plan: RunOpened | None, folder: Path, closed: bool = False
) -> Config:
    """The settings with everything the ledger's plan froze; a flag that contradicts the plan is refused."""
    if plan is None:
        return config
    frozen = {name: getattr(plan, name) for name in PLAN_FIELDS if name not in {"cache", "annotations"}}
    frozen["campaign"] = plan.campaign.get("name", "")
    if config.proposer == "recorded" and plan.proposer == "openai":
        frozen["proposer"] = "recorded"  # the same run, with its answers read instead of asked for
    for name, value in frozen.items():
        if closed and name in {"iterations", "looks"} and (flags.get(name) or 0) > value:
            raise UserError(
                f"{ledger_at(folder, config)} holds a run that is closed: every number on its sealed genes has been shown, which "
                f"is more than any level could be charged for, so --{name} {flags[name]} cannot go on with it. To look more than "
                "once, declare --looks when a run opens; to ask more now, take another cache or other genes, in another folder "
                "(--project)",
                Exit.USAGE,
            )
        if flags.get(name) is not None and flags[name] != value:
            raise UserError(
                f"{ledger_at(folder, config)} holds a run with {name} = {value}, and --{name.replace('_', '-')} {flags[name]} "
                "would be another run; choose another folder with --project",
                Exit.USAGE,
            )
    others = ("permutations_explore", "permutations_look", "max_promoted", "promote_p")
    return replace(config, **frozen, **{name: getattr(plan, name) for name in others})


def record_environment(project: Project, ledger: Ledger) -> None:
    """Record what computes the entries from here on, unless the ledger's last word on it says the same."""
    genes = (project.cache.path / GENES).read_text(encoding="utf-8")
    code, now = environment(cache_files(project.cache.path))
    ledger.stamp = {"environment": now.name}
    if ledger.records(Environment)[-1:] == (now,):
        return
    held = {a.sha256 for a in ledger.records(Artifact)}
    for text in (code, Artifact.of(GENES, genes)):
        if text.sha256 not in held:
            record_once(ledger, text)
    ledger.append(now)


def open_existing(folder: Path) -> tuple[Project, Ledger, RunOpened]:
    """Project, ledger (writable) and plan of a folder that has a run; the settings are those of the plan.

    Raises :class:`.replay.inputs.InputsDifferError` (exit 5) naming every input that is missing or is not the plan's.
    """
    ledger = Ledger.open(ledger_path(folder))
    plan = ledger.run()
    if plan is None:
        raise UserError(f"{ledger.path} holds no run yet; start one with `screen run`")
    config = with_plan(load_config(folder, {}), {}, plan, folder)
    try:
        project = open_project(folder, config)
        check_inputs(project, plan)
    except UserError as error:
        recorded = ledger.records(Environment)
        artifacts = {a.sha256: a for a in ledger.records(Artifact)}
        files = recorded[-1].inputs if recorded else {}
        raise named_inputs(folder, config, plan, files, artifacts, error) from None
    return project, ledger, plan


def write_report_of(ledger: Ledger, path: Path, folder: Path) -> Path:
    """Write the report page of the ledger of ``folder`` to ``path``."""
    from .report.render import write_report
    from .report.source import report_data

    write_report(report_data(ledger, folder), path)
    return path


def _introduce(plan: RunOpened, progress: Progress) -> None:
    progress.say(
        f"cache '{plan.cache['name']}': {plan.cache['genes']} genes ({plan.cache['masked']} masked), "
        f"{plan.cache['layers']} layers; {plan.split['explore']} genes to explore, {plan.split['sealed']} sealed"
    )
    if plan.cache.get("not_matched"):
        progress.say(f"note: {unmatched_remark(plan.cache['not_matched'])}")
    progress.say(
        f"universe: {plan.universe['hypotheses']} possible hypotheses over {plan.universe['cells']} elementary statistics; "
        f"{plan.iterations} iterations of {plan.per_iteration}, proposer '{plan.proposer}', seed {plan.seed}"
    )
    if plan.looks > 1:
        progress.say(
            f"{plan.looks} looks at the sealed genes, alpha {plan.look_alphas[0]:.3g} each; every look before the last shows one "
            "count, in `screen status`, and the levels after it are charged for it"
        )


def _sum_up(ledger: Ledger, report: Path, already: bool) -> RunSummary:
    head, rows = ledger.snapshot(views=False)
    controls = {}
    for role in ("positive_control", "negative_control"):
        mine = [r for r in rows if r.role == role]
        controls[role] = (sum(r.verdict == "confirmed" for r in mine), len(mine))
    return RunSummary(
        rows=len(rows),
        rejected=len(ledger.rejections()),
        counts=dict(sorted(Counter(r.verdict for r in rows).items())),
        controls=controls,
        head=head,
        report=report,
        already_complete=already,
    )


def replay_rows(
    folder: Path,
    ids: Sequence[str] | None,
    workers: int | None,
    threads: int,
    progress: Progress,
    strict: bool = False,
) -> Iterator[Replay]:
    """Replay rows of the run, or of the bundle, in ``folder``; see :func:`hyposcreen.agent.replay.rows.replay`."""
    check_bundle(folder)
    project, ledger, plan = open_existing(folder)
    with (
        open_executor(project.config, progress, threads, workers) as others,
        with_code(others, project, ledger, bench_of(project.config)) as executor,
    ):
        yield from replay(project, plan, ledger, executor, ids, progress, threads, strict)


def report_of(folder: Path, output: Path) -> Path:
    """Write the report page of the run in ``folder``."""
    return write_report_of(open_ledger(folder), output, folder)


def bundle_to(folder: Path, id_: str, output: Path) -> Path:
    """Write the bundle of one row; see :mod:`.bundle`."""
    ledger = open_ledger(folder)
    config = with_plan(load_config(folder, {}), {}, ledger.run(), folder)
    return write_bundle(folder, config, ledger, id_, output)


def audit_worlds(
    folder: Path,
    output: Path,
    kind: str,
    proposer: str,
    worlds: int,
    flags: Mapping[str, Any],
    workers: int,
    quiet: bool,
) -> dict[str, Any]:
    """Run or resume an audit with the settings of ``folder``; see :mod:`hyposcreen.agent.audit`."""
    plan = make_plan(folder, load_config(folder, flags), kind, proposer, worlds, __version__)
    return summary(plan, run_audit(folder, output, plan, workers, Progress(quiet)))
