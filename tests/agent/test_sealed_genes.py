"""Nothing of the sealed genes' labels is seen before the look: two projects that differ there explore alike, bit for bit."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hyposcreen.agent import progress as progress_module
from hyposcreen.agent.digest import Digest
from hyposcreen.agent.ledger import records as rec
from hyposcreen.agent.progress import Progress
from hyposcreen.agent.project import Side, open_project
from hyposcreen.agent.proposers.offline import OfflineProposer
from hyposcreen.hypotheses.annotations import canonical_members
from hyposcreen.hypotheses.canonical import canonical_json
from hyposcreen.hypotheses.spec import Proposal


class Spy:
    """The offline proposer, with a record of what it was shown and what it said."""

    name = "offline"

    def __init__(self) -> None:
        self.inside = OfflineProposer(5)
        self.digests: list[str] = []
        self.said: list[Sequence[Proposal]] = []

    def propose(self, digest: Digest, count: int) -> Sequence[Proposal]:
        self.digests.append(canonical_json(digest.to_json()))
        self.said.append(self.inside.propose(digest, count))
        return self.said[-1]


def moved(annotations: Any, project: Any) -> list[Any]:
    """The annotations with every sealed gene's labels given to another sealed gene; regulators stay what they are."""
    regulators = {a for e in annotations if e.kind == "edges" for a, _, _ in e.triples}
    symbols = project.cache.genes.symbol
    sealed = sorted(symbols[row] for row in np.flatnonzero(project.split == 1) if symbols[row] not in regulators)
    order = np.random.default_rng(1).permutation(len(sealed))
    to = {gene: sealed[place] for gene, place in zip(sealed, order, strict=True)}
    out = []
    for a in annotations:
        if a.kind == "gene_set":
            members = canonical_members(a.kind, [to.get(g, g) for g in a.members])[0]
        else:
            members = canonical_members(a.kind, [(to.get(x, x), to.get(y, y), v) for x, y, v in a.triples])[0]
        out.append(replace(a, members=members))
    return out


@pytest.fixture(scope="module")
def pair(finished: Any, small: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two runs on one split whose sealed labels differ, each with its spy."""
    return two_runs(finished, small, tmp_path_factory)


def two_runs(finished: Any, small: Any, tmp_path_factory: pytest.TempPathFactory, **changes: Any) -> Any:
    split = finished.project.split
    runs = []
    for name, annotations in (
        ("one", small.demo_annotations()),
        ("two", moved(small.demo_annotations(), finished.project)),
    ):
        spy = Spy()
        folder = small.make_project_folder(tmp_path_factory.mktemp("sealed") / name, annotations, **changes)
        runs.append((small.run_loop(folder, spy, split=split), spy))
    return runs


def test_the_labels_really_differ_and_only_on_the_sealed_side(pair: Any) -> None:
    (one, _), (two, _) = pair
    assert np.array_equal(one.project.split, two.project.split)
    for name in one.project.annotations:
        assert one.project.entity(name, Side.EXPLORE) == two.project.entity(name, Side.EXPLORE)
    changed = [
        name
        for name in one.project.annotations
        if one.project.entity(name, Side.SEALED) != two.project.entity(name, Side.SEALED)
    ]
    assert len(changed) >= 6


def test_a_proposer_sees_and_says_the_same(pair: Any) -> None:
    (_, one), (_, two) = pair
    assert len(one.digests) == 4
    assert one.digests == two.digests
    assert one.said == two.said


def test_exploration_gives_the_same_bits(pair: Any) -> None:
    (one, _), (two, _) = pair
    tested = one.ledger.records(rec.Tested)
    assert len(tested) == 12
    assert [t.to_content() for t in tested] == [t.to_content() for t in two.ledger.records(rec.Tested)]
    assert one.ledger.records(rec.Promoted) == two.ledger.records(rec.Promoted)


def test_only_the_look_tells_them_apart(pair: Any) -> None:
    (one, _), (two, _) = pair
    ours, theirs = one.ledger.records(rec.LookResult), two.ledger.records(rec.LookResult)
    assert [(r.route, r.id) for r in ours] == [(r.route, r.id) for r in theirs]
    assert [r.statistic_hex for r in ours if r.route == "H"] != [r.statistic_hex for r in theirs if r.route == "H"]
    assert [r.k_adj for r in ours if r.route == "U"] != [r.k_adj for r in theirs if r.route == "U"]


def test_a_look_between_iterations_gives_away_no_more_than_its_count(
    finished: Any, small: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (one, ours), (two, theirs) = two_runs(
        finished, small, tmp_path_factory, looks=2, permutations_look=399, max_promoted=3
    )
    assert (len(ours.digests), ours.digests, ours.said) == (4, theirs.digests, theirs.said)
    for kind in (rec.Proposed, rec.Tested, rec.Promoted, rec.LookOpened):
        assert [r.to_content() for r in one.ledger.records(kind)] == [r.to_content() for r in two.ledger.records(kind)]
    first = [
        [r.statistic_hex for r in run.ledger.records(rec.LookResult) if (r.route, r.look) == ("H", 1)]
        for run in (one, two)
    ]
    assert len(first[0]) == len(one.ledger.records(rec.Promoted)[0].hypotheses) > 0
    assert first[0] != first[1], "the first look did read other labels"


def test_no_sealed_row_is_in_a_job_of_exploration(fresh: Any, small: Any) -> None:
    sandbox = small.InProcess()
    done = small.run_loop(fresh("jobs"), sandbox=sandbox)
    sealed = set(np.flatnonzero(done.project.split != 0).tolist())
    exploring = [job for job in sandbox.jobs if job.name.endswith("on genes A")]
    assert len(exploring) == 12 < len(sandbox.jobs)
    assert {job.entity["kind"] for job in exploring} == {"gene_set", "gene_pairs", "edges"}
    for job in exploring:
        assert not sealed & set(job.universe)
        local = {
            "gene_set": lambda e: e["members"],
            "gene_pairs": lambda e: [g for pair in e["pairs"] for g in pair],
            "edges": lambda e: [target for _, target in e["edges"]],  # a regulator may lie anywhere: it is not permuted
        }[job.entity["kind"]](job.entity)
        assert local and all(0 <= place < len(job.universe) for place in local)
        assert not job.vectors
    later = {row for job in sandbox.jobs if job not in exploring for row in job.universe}
    assert sealed & later, "the look does read them"


def test_exploring_jobs_are_done_before_the_first_job_of_the_look(fresh: Any, small: Any) -> None:
    sandbox = small.InProcess()
    small.run_loop(fresh("order"), sandbox=sandbox)
    sides = [job.name.rsplit(" ", 1)[1] for job in sandbox.jobs]
    assert sides == ["A"] * 12 + ["A+B"] * sides.count("A+B") + ["B"] * sides.count("B")
    assert sides.count("B") > 0


def test_progress_of_the_look_tells_counts_only(
    fresh: Any, small: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_module, "PLAIN_SECONDS", 0.0)
    small.run_loop(fresh("telling"), progress=Progress())
    lines = capsys.readouterr().err.splitlines()
    look = [line for line in lines if line.startswith("look")]
    assert len(look) > 30
    assert all(re.fullmatch(r"(iterations|look): \d+ of \d+, about \d+ s left", line) for line in lines)


def test_a_digest_holds_names_and_exploratory_numbers_only(finished: Any, pair: Any) -> None:
    import json

    (_, spy), _ = pair
    for text in spy.digests:
        value = json.loads(text)
        assert set(value) == {"iteration", "iterations", "offers", "rows"}
        assert all(set(o) == {"test", "family", "annotation", "size", "layers", "coordinates"} for o in value["offers"])
        allowed = {"id", "test", "family", "annotation", "layers", "coordinates", "status", "p_scan", "effect",
                   "null_mean", "best_view", "parent"}  # fmt: skip
        assert all(set(r) == allowed for r in value["rows"])
        assert "control" not in text
        for o in value["offers"]:
            assert o["size"] == finished.project.entity_size(o["annotation"], Side.EXPLORE)


def test_opening_with_the_computed_split_is_the_default(finished: Any) -> None:
    again = open_project(finished.project.folder, finished.project.config)
    assert np.array_equal(again.split, finished.project.split)
    assert {0, 1} == set(again.split.tolist())
