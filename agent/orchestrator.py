"""The loop. Read this file and you know the product.

    digest → propose → validate and novelty → register → execute → record → decide

A run is opened once, with everything frozen that could be tempted to change later. Each iteration registers its
hypotheses in the ledger *before* they are tested, on genes A only, and records every result whatever it is. When the
declared iterations are done, the best rows are frozen into a list, the sealed genes are opened once, and code gives the
verdicts. (A run may declare earlier looks too; they show a count of rows and nothing else, and later levels pay for it.)
Every step is an entry of the ledger, so a run that was killed goes on where it was: nothing lost, nothing twice.
"""

import signal
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from .. import __version__
from ..hypotheses.canonical import canonical_json
from ..hypotheses.grammar import OutsideGrammarError
from ..hypotheses.spec import Proposal, TestSpec
from ..tests_library.multiplicity import split_alpha
from . import policy
from .campaigns.running import campaign_facts
from .custom.kind import kind_of
from .custom.spec import code_artifacts, spec_of
from .digest import Digest, make_digest
from .errors import Exit, UserError
from .executors.base import Executor
from .ledger.errors import LedgerError
from .ledger.failpoints import reached
from .ledger.records import (
    IterationClosed,
    LookCounted,
    LookOpened,
    LookResult,
    Promoted,
    Proposed,
    Record,
    Registered,
    Rejected,
    RunClosed,
    RunOpened,
    Tested,
)
from .ledger.store import Ledger
from .look import Tally, judge, plan_look
from .progress import Progress
from .project import Project
from .proposers.base import Proposer, Said
from .turns import POLL_SECONDS, explore_in_order, record_once
from .untrusted import as_said, malformed, prose


class RunInterruptedError(Exception):
    """Ctrl-C: the last transaction is complete and the run can be resumed."""


@dataclass(frozen=True, eq=False)
class Loop:
    """The parts of one run. ``progress`` never learns a result of the look before all of it is recorded."""

    project: Project
    plan: RunOpened
    ledger: Ledger
    executor: Executor
    proposer: Proposer
    progress: Progress
    runner: str = ""
    """The name this process holds the ledger by (``Ledger.lock_runner``); empty where nobody else could work on it."""


def open_run(project: Project, ledger: Ledger) -> RunOpened:
    """The plan of this ledger's run: the one it holds, or a new one, frozen now from the project."""
    plan = ledger.run()
    if plan is None:
        plan = plan_of(project)
        if problem := policy.impossible_looks(plan):
            raise UserError(f"{problem} (screen.toml, SCREEN_* or a flag)")
        record_once(ledger, plan)
        plan = ledger.run() or plan
        reached("plan.recorded")
    check_inputs(project, plan)
    if plan.version != __version__ and not ledger.records(RunClosed):
        raise UserError(
            f"{ledger.path} was opened by hyposcreen {plan.version} and is not finished, and this is {__version__}, whose "
            f"numbers may differ; go on with version {plan.version}, or start a new run in another folder"
        )
    return plan


def run(loop: Loop) -> None:
    """Iterate, look, give verdicts. Resumes whatever an earlier process left undone."""
    with _polite_interrupts() as interrupted:
        closed = loop.ledger.records(IterationClosed)
        with loop.progress.phase("iterations", loop.plan.iterations, len(closed)) as counter:
            for iteration in range(len(closed) + 1, loop.plan.iterations + 1):
                look_and_count(loop, policy.look_before(loop.plan, iteration), interrupted)
                run_iteration(loop, iteration)
                counter.step()
                if interrupted():
                    raise RunInterruptedError
        look_and_decide(loop, interrupted)


def run_iteration(loop: Loop, iteration: int) -> None:
    """One iteration, from digest to record. Other runners may do parts of it; its entries are the same whoever writes them."""
    reached("iteration.begun")
    propose(loop, iteration)
    mine = [h for h in loop.ledger.records(Registered) if h.iteration == iteration]
    rejected = [r for r in loop.ledger.records(Rejected) if r.iteration == iteration]
    explore_in_order(loop.project, loop.plan, loop.ledger, loop.executor, mine, loop.runner)
    record_once(loop.ledger, IterationClosed(iteration, len(mine), len(rejected)))
    reached("iteration.closed")


def propose(loop: Loop, iteration: int) -> None:
    """Ask the proposer and record its answer, durably before anything is tested; unless that was done."""
    while not any(p.iteration == iteration for p in loop.ledger.records(Proposed)):
        with loop.ledger.exclusive("propose") as holds:
            if holds and not any(p.iteration == iteration for p in loop.ledger.records(Proposed)):
                digest = current_digest(loop, iteration)
                entries = register(loop, iteration, digest, ask(loop, digest))
                reached("proposals.made")
                if not entries:
                    return
                loop.ledger.append(*entries)
                reached("proposals.recorded")
        if not holds:
            time.sleep(POLL_SECONDS)


def current_digest(loop: Loop, iteration: int) -> Digest:
    """What the proposer may know now."""
    return make_digest(
        iteration,
        loop.plan.iterations,
        loop.project.offers,
        loop.ledger.records(Registered),
        {t.id: t for t in loop.ledger.records(Tested)},
        loop.ledger.records(Rejected) if getattr(loop.proposer, "reads_notes", False) else None,
    )


def ask(loop: Loop, digest: Digest) -> Sequence[object]:
    """The proposer's answer, as many proposals as were asked for; what it says beyond that is not read."""
    name, places = loop.proposer.name, loop.plan.per_iteration
    try:
        return list(_up_to(places, loop.proposer.propose(digest, places) or ()))
    except (UserError, LedgerError):
        raise
    except Exception as error:  # whatever a proposer does, the run must stay resumable and say who failed
        raise UserError(
            f"proposer '{name}' failed in iteration {digest.iteration} "
            f"({prose(f'{type(error).__name__}: {error}', 300)}); every earlier row is recorded, and running again "
            "goes on with this iteration",
            Exit.FAILURE,
        ) from error


def register(loop: Loop, iteration: int, digest: Digest, proposals: Sequence[object]) -> list[Record]:
    """Untrusted proposals → ledger entries: each as it was said, then a registration or a rejection with its reason."""
    earlier = loop.ledger.records(Registered)
    known = {h.novelty_sha256: h.id for h in earlier}
    entries: list[Record] = []
    for slot, answer in enumerate(proposals):
        said = answer if isinstance(answer, Said) else Said(answer, loop.proposer.name)
        proposal = said.proposal
        entries.append(Proposed(iteration, slot, said.by, digest.sha256, as_said(proposal), dict(said.source)))
        if said.refusal is not None:
            entries.append(Rejected(iteration, slot, said.refusal.reason, prose(said.refusal.detail)))
            continue
        fault = malformed(proposal)
        if fault is not None:
            entries.append(Rejected(iteration, slot, "malformed", fault))
            continue
        assert isinstance(proposal, Proposal)
        try:
            spec = spec_of(loop.project, proposal)
        except OutsideGrammarError as error:
            entries.append(Rejected(iteration, slot, error.reason, str(error)))
            continue
        twin = known.get(spec.novelty_sha256)
        if twin is not None:
            entries.append(Rejected(iteration, slot, "duplicate", f"{twin} asks the same of the same genes", twin))
            continue
        entries += code_artifacts(loop.ledger, proposal, entries)
        id_ = f"H{len(known) + 1:04d}"
        entries.append(_registration(loop, id_, iteration, slot, proposal, spec, set(known.values())))
        known[spec.novelty_sha256] = id_
    return entries


def open_look(loop: Loop, number: int) -> tuple[policy.Look, ...]:
    """Freeze the list of a look and open it, unless that was done before a kill; all looks so far."""
    lists = loop.ledger.records(Promoted)
    if len(lists) < number:
        tested = {t.id: t for t in loop.ledger.records(Tested)}
        earlier = {id_ for p in lists for id_ in p.hypotheses}
        new = policy.promote(loop.plan, loop.ledger.records(Registered), tested, earlier)
        look = policy.looks(loop.plan, (*lists, new))[-1]
        reached("list.frozen")
        loop.ledger.append(new, LookOpened(number, loop.plan.alpha_u if look.last else 0.0, look.level))
        reached("look.opened")
    return policy.looks(loop.plan, loop.ledger.records(Promoted))


def look_and_count(loop: Loop, number: int | None, interrupted: "Interrupts") -> None:
    """A look before the last, where one is due: record how many of its rows are confirmed, and nothing else.

    No progress, no row, no number: whatever is shown here, every later level has to pay for.
    """
    while number is not None and len(loop.ledger.records(LookCounted)) < number:
        with loop.ledger.exclusive("look") as holds:
            if holds and len(loop.ledger.records(LookCounted)) < number:
                look = open_look(loop, number)[-1]
                results = run_looks(loop, [look], Progress(quiet=True), interrupted)
                loop.ledger.append(policy.count(look, results))
        if not holds:
            _wait(interrupted)


def look_and_decide(loop: Loop, interrupted: "Interrupts") -> None:
    """Freeze the last list, open the sealed genes, record Route U, Route H of every look and every verdict together."""
    while not loop.ledger.records(RunClosed):
        with loop.ledger.exclusive("look") as holds:
            if holds and not loop.ledger.records(RunClosed):
                _decide(loop, interrupted)
        if not holds:
            _wait(interrupted)


def _decide(loop: Loop, interrupted: "Interrupts") -> None:
    looks = open_look(loop, loop.plan.looks)
    results = run_looks(loop, looks, loop.progress, interrupted)
    check_counts(loop.ledger, looks, results)
    tested = {t.id: t for t in loop.ledger.records(Tested)}
    verdicts = policy.verdicts(loop.plan, loop.ledger.records(Registered), tested, looks, results)
    counts = Counter(v.verdict for v in verdicts)
    reached("look.judged")
    loop.ledger.append(*results, *verdicts, RunClosed(dict(sorted(counts.items()))))
    reached("run.closed")


def _wait(interrupted: "Interrupts") -> None:
    """Another runner does what is to be done next."""
    time.sleep(POLL_SECONDS)
    if interrupted():
        raise RunInterruptedError


def run_looks(
    loop: Loop, looks: Sequence[policy.Look], progress: Progress, interrupted: "Interrupts"
) -> tuple[LookResult, ...]:
    """Run every job of the looks and judge them. Recomputed whole after a kill; the same inputs give the same numbers."""
    tested = {t.id: t for t in loop.ledger.records(Tested)}
    rows = [h for h in loop.ledger.records(Registered) if tested[h.id].status == "ok"]
    tallies = [(plan_look(loop.project, loop.plan, rows, look), Tally()) for look in looks]
    scans = [(scan, tally) for plan, tally in tallies for scan in plan.scans]
    outcomes = loop.executor.run([scan.job for scan, _ in scans])
    with progress.phase("look", len(scans)) as counter:
        for (scan, tally), outcome in zip(scans, outcomes, strict=True):
            if scan.stops(outcome):
                # A look before the last does not say at which row it stopped: that would be told about the sealed genes.
                where = (
                    f"at {scan.job.name} ({outcome.kind}: {outcome.detail})" if looks[-1].last else f"({outcome.kind})"
                )
                raise UserError(
                    f"the look stopped {where}; raise timeout_seconds or memory_mb in screen.toml and run again: the look "
                    "starts over with the same numbers",
                    Exit.FAILURE,
                )
            tally.add(scan, outcome)
            counter.step()
            reached("look.scanned")
            if interrupted():
                raise RunInterruptedError
    return tuple(result for plan, tally in tallies for result in judge(plan, tally))


def check_counts(ledger: Ledger, looks: Sequence[policy.Look], results: Sequence[LookResult]) -> None:
    """Refuse to record looks that do not come to the counts that were shown of them."""
    for shown, look in zip(ledger.records(LookCounted), looks, strict=False):
        again = policy.count(look, results)
        if again != shown:
            raise UserError(
                f"{ledger.path}: look {look.number} counted {shown.confirmed} of {shown.rows} rows as confirmed, and computed "
                f"again it is {again.confirmed} of {again.rows}; nothing of the looks was recorded. What the numbers rest on "
                "has changed (the cache, a package, this program): put it back and run again",
                Exit.REPLAY_DIVERGED,
            )


def check_inputs(project: Project, plan: RunOpened) -> None:
    """Refuse to go on with a cache, annotations, split or universe other than the frozen ones."""
    fresh = plan_of(project)
    for name, mend in (
        ("cache", "restore the cache"),
        ("annotations", "restore the annotations"),
        ("split", "restore the inputs"),
        ("universe", "restore the inputs"),
        ("campaign", "restore the campaign"),
    ):
        if canonical_json(getattr(plan, name)) != canonical_json(getattr(fresh, name)):
            raise UserError(
                f"{project.ledger_path} was opened with another {name} than the one found now "
                f"({_difference(getattr(plan, name), getattr(fresh, name))}); {mend}, or start a new run in another folder"
            )


def plan_of(project: Project) -> RunOpened:
    """The plan that the settings and inputs of ``project`` come to."""
    c = project.config
    return RunOpened(
        seed=c.seed,
        iterations=c.iterations,
        per_iteration=c.per_iteration,
        proposer="openai" if c.proposer == "recorded" else c.proposer,  # the same run, from recorded answers
        alpha=c.alpha,
        alpha_u=c.alpha / 2,
        alpha_h=c.alpha / 2,
        permutations_explore=c.permutations_explore,
        permutations_look=c.permutations_look,
        max_promoted=c.max_promoted,
        promote_p=c.promote_p,
        cache=project.cache_facts(),
        annotations=tuple(
            {
                "name": a.name, "kind": a.kind, "role": a.role, "digest": a.digest, "background": a.background,
                "provenance_type": a.provenance.type, "source": a.provenance.source, "version": a.provenance.version,
                "licence": a.provenance.licence, "size": len(a.members), "missing": len(project.missing[a.name]),
                **(
                    {"citation": a.provenance.citation, "original": a.provenance.original}
                    if a.provenance.original else {}
                ),
            }
            for a in project.annotations.values()
        ),
        split=project.split_facts(),
        look_alphas=split_alpha(c.alpha / 2, c.looks),
        campaign=campaign_facts(project),
        universe={
            "digest": project.grammar.digest, "cells": project.grammar.n_cells,
            "hypotheses": project.grammar.n_sentences,
        },
        version=__version__,
    )  # fmt: skip


def _registration(
    loop: Loop, id_: str, iteration: int, slot: int, proposal: Proposal, spec: TestSpec, parents: Collection[str]
) -> Registered:
    return Registered(
        id=id_,
        iteration=iteration,
        slot=slot,
        claim=prose(proposal.claim),
        family=kind_of(spec.test).family,
        test=spec.test,
        annotation=spec.annotation,
        role=loop.project.annotations[spec.annotation].role,
        spec=spec.to_json(),
        spec_sha256=spec.sha256,
        novelty_sha256=spec.novelty_sha256,
        prior=float(proposal.prior),
        direction=proposal.direction,
        rationale=prose(proposal.rationale),
        move=prose(proposal.move, 40),
        parent=proposal.parent if proposal.parent in parents else None,
    )


def _up_to(places: int, answers: Iterable[object]) -> Iterator[object]:
    """As many answers as there are places; those that the proposer itself refused take none."""
    for answer in answers if places else ():
        yield answer
        places -= not (isinstance(answer, Said) and answer.refusal is not None)
        if not places:
            return


def _difference(old: object, new: object) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        names = [k for k in old if old.get(k) != new.get(k)]
        return ", ".join(f"{k}: {str(old[k])[:16]} → {str(new.get(k))[:16]}" for k in names)
    if isinstance(old, tuple) and isinstance(new, tuple):
        before, after = ({a["name"]: canonical_json(a) for a in side} for side in (old, new))
        names = sorted(n for n in before.keys() | after.keys() if before.get(n) != after.get(n))
        return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return "see run_opened in the ledger"


class Interrupts:
    """Counts Ctrl-C: the first asks the loop to stop at the next safe place, the second stops at once."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self) -> bool:
        """Whether the user has asked to stop."""
        return self._count > 0

    def hear(self, _signal: int, _frame: object) -> None:
        """Signal handler."""
        self._count += 1
        if self._count > 1:
            raise KeyboardInterrupt


@contextmanager
def _polite_interrupts() -> Iterator[Interrupts]:
    interrupts = Interrupts()
    before = signal.signal(signal.SIGINT, interrupts.hear)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)
