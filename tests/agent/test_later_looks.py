"""More than one look at the sealed genes: what each shows, what it costs, and that nothing else of it gets out."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyposcreen.agent import policy, session, standing
from hyposcreen.agent.digest import Digest
from hyposcreen.agent.errors import Exit, UserError
from hyposcreen.agent.executors.pool import SandboxPool
from hyposcreen.agent.ledger import records as rec
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.ledger.verify import verify
from hyposcreen.agent.look import plan_look
from hyposcreen.agent.orchestrator import Loop, open_run, run
from hyposcreen.agent.progress import Progress
from hyposcreen.agent.project import open_project
from hyposcreen.agent.proposers.offline import OfflineProposer
from hyposcreen.agent.sandbox.base import Job, Limits, Outcome
from hyposcreen.cli import main
from hyposcreen.hypotheses.canonical import canonical_json
from hyposcreen.hypotheses.spec import Proposal

FEW = ("b_cells", "t_cells", "tf_targets")
TWO = {"looks": 2, "permutations_look": 399, "max_promoted": 3}
LOOK_KINDS = {"promotion", "look_opened", "look_counted", "look_result", "verdict", "run_closed"}


class Spy:
    """The offline proposer, with a record of what it was shown and what it said."""

    name = "offline"

    def __init__(self) -> None:
        self.inside = OfflineProposer(5)
        self.heard: list[tuple[str, Sequence[Proposal]]] = []

    def propose(self, digest: Digest, count: int) -> Sequence[Proposal]:
        said = self.inside.propose(digest, count)
        self.heard.append((canonical_json(digest.to_json()), said))
        return said


@pytest.fixture(scope="module")
def two(small: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished run with two looks, and what its proposer heard; read only."""
    kept = [a for a in small.demo_annotations() if a.name in FEW]
    spy = Spy()
    folder = small.make_project_folder(tmp_path_factory.mktemp("two") / "p", kept, **TWO)
    return small.run_loop(folder, spy), spy


def kinds(ledger: Ledger) -> list[str]:
    return [e.kind for e in ledger.entries() if e.kind in LOOK_KINDS]


# what is shown


def test_a_look_between_iterations_records_a_count_and_nothing_else(two: Any) -> None:
    ledger = two[0].ledger
    told = kinds(ledger)
    assert told[:5] == ["promotion", "look_opened", "look_counted", "promotion", "look_opened"]
    assert set(told[5:]) == {"look_result", "verdict", "run_closed"}
    place = {e.kind: e.seq for e in reversed(list(ledger.entries()))}
    between = [e for e in ledger.entries() if e.kind == "registration" and e.seq > place["look_counted"]]
    assert len(between) == 6, "half of the iterations come after it"
    (entry,) = [e for e in ledger.entries() if e.kind == "look_counted"]
    assert set(json.loads(entry.content or "")) == {"look", "rows", "confirmed", "bits"}
    assert set(json.loads(entry.context)) == {"at"}
    assert verify(ledger.path).ok


def test_the_count_is_that_of_the_details_recorded_at_the_end(two: Any) -> None:
    ledger = two[0].ledger
    (shown,) = ledger.records(rec.LookCounted)
    first, _ = ledger.records(rec.LookOpened)
    lists = ledger.records(rec.Promoted)
    details = [r for r in ledger.records(rec.LookResult) if (r.route, r.look) == ("H", 1)]
    assert {r.id for r in details} == set(lists[0].hypotheses)
    assert shown.rows == len(details) > 0
    assert shown.confirmed == sum(r.p_adj <= first.alpha_h for r in details) > 0
    assert not set(lists[0].hypotheses) & set(lists[1].hypotheses)
    assert {r.look for r in ledger.records(rec.LookResult) if r.route == "U"} == {2}


def test_levels_are_frozen_charged_and_named_in_the_verdict(two: Any) -> None:
    ledger = two[0].ledger
    plan = ledger.run()
    assert plan.look_alphas == (0.0125, 0.0125)
    (shown,) = ledger.records(rec.LookCounted)
    first, second = ledger.records(rec.LookOpened)
    assert (first.alpha_u, first.alpha_h) == (0.0, 0.0125)
    assert (second.alpha_u, second.alpha_h) == (0.025, pytest.approx(0.0125 / 2**shown.bits))
    rules = {v.id: v.rule for v in ledger.records(rec.VerdictGiven)}
    lists = ledger.records(rec.Promoted)
    assert all("look 1, before which nothing was shown" in rules[id_] for id_ in lists[0].hypotheses)
    assert all("look 2" in rules[id_] and "2.00 bits" in rules[id_] for id_ in lists[1].hypotheses)
    other = [rule for id_, rule in rules.items() if id_ not in lists[0].hypotheses + lists[1].hypotheses]
    assert other and not any("(H)" in rule for rule in other)


def test_one_look_is_what_it_was(finished: Any) -> None:
    ledger = finished.ledger
    plan = ledger.run()
    assert (plan.looks, plan.look_alphas) == (1, (plan.alpha_h,))
    assert ledger.records(rec.LookOpened) == (rec.LookOpened(1, plan.alpha_u, plan.alpha_h),)
    assert ledger.records(rec.LookCounted) == ()
    assert {r.look for r in ledger.records(rec.LookResult)} == {1}
    rules = {v.rule for v in ledger.records(rec.VerdictGiven) if v.verdict == "confirmed"}
    assert rules == {"p_adj <= 0.025 (U) or <= 0.025 (H)"}


def test_another_count_changes_nothing_a_proposer_hears_and_is_caught_at_the_end(
    fresh: Any, small: Any, two: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, spy = two
    told, lies = policy.count, iter([0])

    def count(look: policy.Look, results: Any) -> rec.LookCounted:
        true = told(look, results)
        return replace(true, confirmed=next(lies, true.confirmed))

    monkeypatch.setattr(policy, "count", count)
    folder, other = fresh("lied", only=FEW, **TWO), Spy()
    with pytest.raises(
        UserError, match=r"look 1 counted 0 of \d rows as confirmed, and computed again it is [1-9]"
    ) as caught:
        small.run_loop(folder, other)
    assert other.heard == spy.heard
    assert len(spy.heard) == 4
    assert caught.value.code == Exit.REPLAY_DIVERGED
    with Ledger.open_readonly(folder / "runs.db") as ledger:
        assert ledger.records(rec.Tested) == honest.ledger.records(rec.Tested)
        assert ledger.records(rec.Promoted) == honest.ledger.records(rec.Promoted)
        assert ledger.records(rec.LookOpened) == honest.ledger.records(rec.LookOpened)
        assert ledger.records(rec.LookResult) == ledger.records(rec.VerdictGiven) == ()


class Stumbling:
    """A worker that fails on genes B."""

    confines = "nothing"

    def __init__(self, inside: Any) -> None:
        self.inside = inside

    def run(self, job: Job, limits: Limits) -> Outcome:
        if job.name.endswith("on genes B"):
            return Outcome("error", 0.0, detail=f"a secret about {job.name}")
        return self.inside.run(job, limits)  # type: ignore[no-any-return]

    def close(self) -> None:
        pass


def test_a_look_that_stops_between_iterations_does_not_say_where(
    fresh: Any, small: Any, two: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fresh("stumbling", only=FEW, **TWO)
    with pytest.raises(UserError) as caught:
        small.run_loop(folder, sandbox=Stumbling(small.SHARED), progress=Progress())
    told = str(caught.value) + capsys.readouterr().err
    assert "the look stopped (error); raise timeout_seconds" in told
    assert "secret" not in told and "genes B" not in told and not any(name in told for name in FEW)
    after = small.run_loop(folder)
    assert after.ledger.head().content_hash == two[0].ledger.head().content_hash


def test_the_user_sees_the_count_and_the_page_claims_nothing(
    fresh: Any, small: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fresh("watching", only=FEW, **TWO)
    stop_at(folder, small, "look_counted", written=True)
    main(["status", "-C", str(folder)])
    out = capsys.readouterr().out
    assert "phase      exploring, 2 of 4 iterations" in out
    assert "look       1 of 2: " in out and "bits shown" in out
    facts = standing.status(folder)
    assert (facts["looks"], [c["look"] for c in facts["looks_counted"]]) == (2, [1])
    assert not set(facts["verdicts"]) & {"confirmed", "not_confirmed"}
    with Ledger.open_readonly(folder / "runs.db") as ledger:
        assert all(r.p_h_adj is None and r.p_u_adj is None and r.route is None for r in ledger.rows())
    page = session.report_of(folder, folder / "page.html").read_text(encoding="utf-8")
    assert "Nothing is claimable yet: looks before the last show counts, and no row." in page
    assert "2 looks, every later one charged for what earlier ones showed, at the" in page
    assert "still sealed" not in page and "taken once" not in page


# kills


class StoppedError(Exception):
    """The test pulls the plug."""


def stop_at(folder: Path, small: Any, kind: str, written: bool, number: int = 1) -> None:
    """Run until the ``number``-th transaction that holds an entry of ``kind``, and die before or after it is written."""
    config = small.load_config(folder, {}, {})
    project = open_project(folder, config)
    if not project.ledger_path.exists():
        Ledger.create(project.ledger_path).close()
    ledger = Ledger.open(project.ledger_path)
    plan, original, seen = open_run(project, ledger), ledger.append, [0]

    def append(*records: Any, **kwargs: Any) -> Any:
        here = kind in {r.KIND for r in records}
        seen[0] += here
        due = here and seen[0] == number
        if due and not written:
            raise StoppedError
        head = original(*records, **kwargs)
        if due:
            raise StoppedError
        return head

    ledger.append = append  # type: ignore[method-assign]
    with small.in_process() as executor, pytest.raises(StoppedError):
        run(Loop(project, plan, ledger, executor, OfflineProposer(config.seed), Progress(quiet=True)))
    assert verify(folder / "runs.db").ok


def test_a_run_that_dies_around_every_look_reaches_the_same_content(fresh: Any, small: Any, two: Any) -> None:
    folder = fresh("dying", only=FEW, **TWO)
    for kind in ("look_opened", "look_counted", "look_opened", "run_closed"):
        for written in (False, True):
            if not (kind == "run_closed" and written):
                stop_at(folder, small, kind, written)
    done = small.run_loop(folder)
    assert done.ledger.head().content_hash == two[0].ledger.head().content_hash
    assert kinds(done.ledger) == kinds(two[0].ledger)


def test_worker_processes_change_nothing(fresh: Any, small: Any, two: Any) -> None:
    folder = fresh("processes", only=FEW, **TWO)
    project = open_project(folder, small.load_config(folder, {}, {}))
    Ledger.create(project.ledger_path).close()
    ledger = Ledger.open(project.ledger_path)
    plan = open_run(project, ledger)
    with SandboxPool(2, Limits(120, 2 << 30)) as executor:
        run(Loop(project, plan, ledger, executor, OfflineProposer(5), Progress(quiet=True)))
    assert ledger.head().content_hash == two[0].ledger.head().content_hash


# replay


def test_rows_of_every_look_replay_bit_for_bit(two: Any, small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    done = two[0]
    monkeypatch.setattr(session, "open_executor", lambda *_: small.in_process())
    whole = list(session.replay_rows(done.project.folder, None, None, 1, Progress(quiet=True)))
    assert [r.outcome for r in whole] == ["identical"] * 12, [r.differences for r in whole]
    firsts = [p.hypotheses[0] for p in done.ledger.records(rec.Promoted)]
    some = list(session.replay_rows(done.project.folder, firsts, None, 1, Progress(quiet=True)))
    assert [(r.id, r.outcome) for r in some] == [(id_, "identical") for id_ in firsts]
    assert all("H" in r.checked for r in some)


# refusals


@pytest.mark.parametrize("flag", [{"iterations": 8}, {"looks": 3}])
def test_a_closed_run_says_why_it_has_no_further_look(two: Any, small: Any, flag: dict[str, int]) -> None:
    with pytest.raises(UserError) as caught:
        small.run_campaign_in_process(two[0].project.folder, **flag)
    said = str(caught.value)
    assert caught.value.code == Exit.USAGE
    assert all(
        part in said
        for part in ("is closed", "has been shown", "declare --looks", "another cache", str(*flag.values()))
    )


def test_the_number_of_looks_is_frozen(fresh: Any, small: Any) -> None:
    folder = fresh("frozen", only=FEW, **TWO)
    stop_at(folder, small, "iteration_closed", written=True)
    with pytest.raises(UserError, match="holds a run with looks = 2"):
        small.run_campaign_in_process(folder, looks=1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"looks": 5}, ["looks = 5 needs as many iterations", "iterations = 4"]),
        (
            {"looks": 2, "max_promoted": 4},
            ["level of look 2 may fall to 0.0025", "2.3 bits", "permutations_look to 399"],
        ),
        ({"looks": 3, "permutations_look": 5000, "max_promoted": 20}, ["look 3 may fall to 1.89e-05", "52920"]),
    ],
)
def test_looks_that_could_confirm_nothing_are_refused_before_the_run_opens(
    fresh: Any, small: Any, changes: dict[str, int], words: list[str]
) -> None:
    folder = fresh("hopeless", only=FEW, **changes)
    with pytest.raises(UserError) as caught:
        small.run_loop(folder)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    with Ledger.open_readonly(folder / "runs.db") as ledger:
        assert ledger.run() is None


def test_a_row_out_of_reach_is_untestable_before_anything_is_computed(two: Any) -> None:
    project, ledger = two[0].project, two[0].ledger
    plan, rows = ledger.run(), ledger.records(rec.Registered)
    held = tuple(id_ for p in ledger.records(rec.Promoted) for id_ in p.hypotheses)
    look = policy.Look(2, held, 0.0125, 4, last=False)
    reached = plan_look(project, plan, rows, look)
    beyond = plan_look(project, replace(plan, permutations_look=199), rows, look)
    assert reached.scans and all(s.route == "H" for s in reached.scans), "Route U stays closed"
    assert not beyond.scans
    assert {r.id for r in beyond.untestable} == set(held)
    assert all("look 2 could not confirm it: 199 draws of the " in r.reason for r in beyond.untestable)
    axis = replace(rows[0], test="axis_separation", annotation="t_cells")
    capped = policy.Look(2, (axis.id,), 0.0125, 21, last=False)
    (row,) = plan_look(project, replace(plan, permutations_look=50_000), [axis], capped).untestable
    assert (
        "999 draws of the random_axis null give p_adj = 0.001 at best, above 0.000595; fewer looks or shorter"
        in row.reason
    )


def test_holm_and_a_share_of_alpha_raise_the_smallest_p_of_a_row(two: Any) -> None:
    """Three rows whose null draws apart: the best of them pays three times, so 1 / (m + 1) alone would promise too much."""
    project, ledger = two[0].project, two[0].ledger
    row = ledger.records(rec.Registered)[0]
    edges = [replace(row, id=f"H{n}", test="edge_auroc", annotation="tf_targets") for n in (1, 2, 3)]
    level = policy.Look(2, ("H1", "H2", "H3"), 0.0125, 2, last=False)
    enough, short = (replace(ledger.run(), permutations_look=m) for m in (481, 400))
    assert level.level > 1 / 401
    assert len(plan_look(project, enough, edges, level).scans) == 3
    (reason,) = {r.reason for r in plan_look(project, short, edges, level).untestable}
    assert "p_adj = 0.00748 at best, above 0.00625; permutations_look = 480 would do" in reason


def test_the_verdict_of_a_row_out_of_reach(two: Any) -> None:
    plan = two[0].ledger.run()
    tested = rec.Tested("H1", "ok", p_scan=0.001)
    beyond = rec.LookResult("H1", 2, "H", "untestable", "look 2 could not confirm it")
    look = policy.Look(2, ("H1",), 0.0125, 4, last=True)
    alone = policy.verdict(plan, tested, True, None, beyond, look)
    assert (alone.verdict, alone.route) == ("untestable", "H")
    assert "look 2 could not confirm it" in alone.rule
    by_u = policy.verdict(plan, tested, True, rec.LookResult("H1", 2, "U", "ok", p_adj=0.02), beyond, look)
    assert (by_u.verdict, by_u.route) == ("confirmed", "U")
    not_by_u = policy.verdict(plan, tested, True, rec.LookResult("H1", 2, "U", "ok", p_adj=0.03), beyond, look)
    assert not_by_u.verdict == "not_confirmed"


def test_a_charged_level_decides(two: Any) -> None:
    plan = two[0].ledger.run()
    tested, look = rec.Tested("H1", "ok", p_scan=0.001), policy.Look(2, ("H1",), 0.0125, 5, last=True)
    for p, expected in ((0.0025, "confirmed"), (0.00251, "not_confirmed"), (0.0125, "not_confirmed")):
        given_ = policy.verdict(plan, tested, True, None, rec.LookResult("H1", 2, "H", "ok", p_adj=p), look)
        assert given_.verdict == expected, p
        assert "look 2, level 0.0025 = 0.0125 charged for 2.32 bits shown" in given_.rule


# the schedule


@given(st.integers(1, 200), st.data())
def test_looks_cut_the_iterations_into_equal_parts(iterations: int, data: st.DataObject) -> None:
    looks = data.draw(st.integers(1, iterations))
    plan: Any = type("Plan", (), {"iterations": iterations, "looks": looks})
    due = {i: number for i in range(1, iterations + 1) if (number := policy.look_before(plan, i)) is not None}
    assert list(due.values()) == list(range(1, looks))
    ends = [0, *(i - 1 for i in due), iterations]
    lengths = [after - before for before, after in pairwise(ends)]
    assert min(lengths) >= 1 and max(lengths) - min(lengths) <= 1


def test_a_question_that_was_looked_at_is_not_promoted_again(two: Any) -> None:
    ledger = two[0].ledger
    plan, rows = ledger.run(), ledger.records(rec.Registered)
    tested = {t.id: t for t in ledger.records(rec.Tested)}
    first = policy.promote(replace(plan, max_promoted=2), rows, tested)
    again = policy.promote(replace(plan, max_promoted=12), rows, tested, first.hypotheses)
    question = {h.id: (h.test, h.annotation) for h in rows}
    assert first.hypotheses and again.hypotheses
    assert not {question[i] for i in first.hypotheses} & {question[i] for i in again.hypotheses}
    every = policy.promote(replace(plan, max_promoted=12), rows, tested)
    assert set(every.hypotheses) == {*first.hypotheses, *again.hypotheses}
