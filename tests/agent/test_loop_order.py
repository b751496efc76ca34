"""The loop: what it records, in which order, and that the inputs alone decide it."""

import itertools
from collections import Counter
from typing import Any

import pytest

from hyposcreen.agent.digest import Digest
from hyposcreen.agent.executors.pool import SandboxPool
from hyposcreen.agent.ledger import records as rec
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.ledger.verify import verify
from hyposcreen.agent.orchestrator import Loop, RunInterruptedError, open_run, run
from hyposcreen.agent.progress import Progress
from hyposcreen.agent.project import open_project
from hyposcreen.agent.proposers.offline import OfflineProposer
from hyposcreen.agent.sandbox.base import Limits
from hyposcreen.hypotheses.spec import Proposal
from hyposcreen.tests_library.catalogue import CATALOGUE


def test_every_proposal_becomes_a_row_or_a_rejection(finished: Any) -> None:
    plan = finished.ledger.run()
    rows, rejected = finished.ledger.rows(), finished.ledger.rejections()
    assert len(rows) + len(rejected) == plan.iterations * plan.per_iteration
    assert [r.id for r in rows] == [f"H{n:04d}" for n in range(1, len(rows) + 1)]
    assert len({r.spec_sha256 for r in rows}) == len(rows)


def test_no_test_runs_before_it_is_registered(finished: Any) -> None:
    place: dict[tuple[str, str], int] = {}
    for entry in finished.ledger.entries():
        record = entry.record()
        place.setdefault((record.KIND, str(getattr(record, "id", ""))), entry.seq)
    looked = place[("look_opened", "")]
    assert place[("promotion", "")] < looked < place[("run_closed", "")]
    for row in finished.ledger.rows():
        order = [place[(kind, row.id)] for kind in ("registration", "attempt", "attempt_ended", "result")]
        assert order == sorted(order)
        assert order[-1] < looked < place[("verdict", row.id)]
    assert all(place[k] > looked for k in place if k[0] == "look_result")
    assert verify(finished.ledger.path).ok


def test_every_row_has_one_verdict_and_numbers_that_are_no_zero(finished: Any) -> None:
    verdicts = finished.ledger.records(rec.VerdictGiven)
    rows = finished.ledger.rows()
    assert Counter(v.id for v in verdicts) == Counter(r.id for r in rows)
    assert dict(finished.ledger.records(rec.RunClosed)[0].counts) == Counter(v.verdict for v in verdicts)
    for row in rows:
        assert isinstance(row.k, int) and isinstance(row.m, int)
        assert row.p_scan == (row.k + 1) / (row.m + 1) > 0
        assert row.p_raw > 0
        decided = CATALOGUE[row.test].universe or row.promoted  # other kinds are seen by Route H alone
        assert row.p_confirm_adj > 0 if decided and row.m else row.p_confirm_adj is None


def test_the_promoted_list_follows_its_rule(finished: Any) -> None:
    plan = finished.ledger.run()
    (promoted,) = finished.ledger.records(rec.Promoted)
    tested = {t.id: t for t in finished.ledger.records(rec.Tested)}
    rows = {h.id: h for h in finished.ledger.records(rec.Registered)}
    assert promoted.hypotheses, "a list without rows would make the rest of this test true of nothing"
    assert len(promoted.hypotheses) <= plan.max_promoted
    assert all(tested[id_].p_scan <= plan.promote_p for id_ in promoted.hypotheses)
    assert len({(rows[i].test, rows[i].annotation) for i in promoted.hypotheses}) == len(promoted.hypotheses)
    left = [t for i, t in tested.items() if t.status == "ok" and t.p_scan <= plan.promote_p]
    assert len({(rows[t.id].test, rows[t.id].annotation) for t in left}) >= len(promoted.hypotheses)
    held_out = {r.id for r in finished.ledger.records(rec.LookResult) if r.route == "H"}
    assert held_out == set(promoted.hypotheses)


def test_the_seed_decides_and_nothing_else(fresh: Any, small: Any, finished: Any) -> None:
    same = small.run_loop(fresh("same"))
    other = small.run_loop(fresh("other", seed=6))
    assert same.ledger.head().content_hash == finished.ledger.head().content_hash
    assert same.ledger.head().hash != finished.ledger.head().hash, "clocks belong to the head"
    assert other.ledger.head().content_hash != finished.ledger.head().content_hash


def test_the_number_of_worker_processes_does_not_matter(fresh: Any, small: Any, finished: Any) -> None:
    folder = fresh("two")
    config = small.load_config(folder, {}, {})
    project = open_project(folder, config)
    Ledger.create(project.ledger_path).close()
    ledger = Ledger.open(project.ledger_path)
    plan = open_run(project, ledger)
    with SandboxPool(2, Limits(120, 2 << 30)) as executor:
        run(Loop(project, plan, ledger, executor, OfflineProposer(config.seed), Progress(quiet=True)))
    assert ledger.head().content_hash == finished.ledger.head().content_hash


def test_a_complete_run_is_left_as_it_is(copied: Any, small: Any) -> None:
    with Ledger.open_readonly(copied / "runs.db") as ledger:
        before = ledger.head()
    again = small.run_loop(copied)
    assert again.ledger.head() == before


class StoppedError(Exception):
    """The test pulls the plug."""


def stopping_after(ledger: Ledger, appends: int, written: bool) -> None:
    """Let the loop die in its ``appends``-th transaction, before or after it is written."""
    counter = itertools.count(1)
    original = ledger.append

    def append(*records: Any, **kwargs: Any) -> Any:
        number = next(counter)
        if number == appends and not written:
            raise StoppedError
        head = original(*records, **kwargs)
        if number == appends:
            raise StoppedError
        return head

    ledger.append = append  # type: ignore[method-assign]


@pytest.mark.parametrize("step", [3, 8])
def test_a_run_that_dies_in_any_transaction_reaches_the_same_content(
    step: int, fresh: Any, small: Any, finished: Any
) -> None:
    folder = fresh("dying")
    deaths = 0
    for _ in range(60):
        config = small.load_config(folder, {}, {})
        project = open_project(folder, config)
        if not project.ledger_path.exists():
            Ledger.create(project.ledger_path).close()
        ledger = Ledger.open(project.ledger_path)
        plan = open_run(project, ledger)
        stopping_after(ledger, step + deaths % 5, written=deaths % 2 == 0)
        try:
            with small.in_process() as executor:
                run(Loop(project, plan, ledger, executor, OfflineProposer(config.seed), Progress(quiet=True)))
            break
        except StoppedError:
            deaths += 1
    assert deaths >= 3
    with Ledger.open_readonly(folder / "runs.db") as after:
        assert after.head().content_hash == finished.ledger.head().content_hash
        assert [r.id for r in after.rows()] == [r.id for r in finished.ledger.rows()]
    assert verify(folder / "runs.db").ok


class Interrupting(OfflineProposer):
    """Presses Ctrl-C while it thinks."""

    def propose(self, digest: Digest, count: int) -> Any:
        import os
        import signal

        if digest.iteration == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return super().propose(digest, count)


def test_ctrl_c_finishes_the_iteration_and_the_run_goes_on_later(fresh: Any, small: Any, finished: Any) -> None:
    folder = fresh("interrupted")
    with pytest.raises(RunInterruptedError):
        small.run_loop(folder, Interrupting(5))
    with Ledger.open_readonly(folder / "runs.db") as ledger:
        assert len(ledger.rows()) == 6
        assert all(r.verdict != "registered" for r in ledger.rows()), "the iteration was finished"
    after = small.run_loop(folder)
    assert after.ledger.head().content_hash == finished.ledger.head().content_hash


class Silent:
    """A proposer with nothing to say."""

    name = "offline"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def propose(self, digest: Digest, count: int) -> Any:
        return self.answer


@pytest.mark.parametrize("answer", [None, (), []])
def test_a_proposer_with_nothing_to_say_closes_empty_iterations(answer: Any, fresh: Any, small: Any) -> None:
    done = small.run_loop(fresh("silent", only=("t_cells",)), Silent(answer))
    assert done.ledger.rows() == ()
    assert done.ledger.records(rec.RunClosed)[0].counts == {}
    assert verify(done.ledger.path).ok


def test_a_hypothesis_is_never_its_own_parent(fresh: Any, small: Any) -> None:
    class Selfish:
        name = "offline"

        def propose(self, digest: Digest, count: int) -> Any:
            offer = digest.offers[digest.iteration]
            mine = f"H{len(digest.rows) + 1:04d}"
            return [Proposal(offer.test, offer.annotation, "all", "all", "c", 0.5, "either", "r", "m", mine)]

    done = small.run_loop(fresh("selfish", only=("t_cells", "b_cells")), Selfish())
    assert [r.parent for r in done.ledger.rows()] == [None] * 4
