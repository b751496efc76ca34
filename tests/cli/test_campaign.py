"""A campaign: read, resolved to rows or typed refusals, run alone or as the seed of a run, and marked as known before."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hyposcreen.agent.campaigns.running import campaign_lines, table_of
from hyposcreen.agent.config import load_config
from hyposcreen.agent.digest import Digest
from hyposcreen.agent.errors import UserError
from hyposcreen.agent.ledger.records import Proposed, Registered, Rejected, RunOpened
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.project import Side, open_project
from hyposcreen.agent.proposers.campaign import CampaignProposer, iterations_needed
from hyposcreen.embeddings_cache.store import STORE, open_cache, write_cache
from hyposcreen.hypotheses.campaign import CampaignError, Line, asked, list_campaigns, load_campaign, read_campaign
from hyposcreen.hypotheses.spec import Proposal
from hyposcreen.tests_library.catalogue import CATALOGUE

PAPER = "scgpt-2602.22247"
OWN = """
name = "own"
title = "Two questions"
paper = "a talk"

[slots.markers]
kind = "gene_set"
means = "markers of B cells"
names = ["no_such_set", "b_cells"]

[slots.missing]
kind = "edges"
means = "edges nobody has"
names = ["no_such_edges"]

[[systems]]
id = "S1"
title = "Markers"
record = "slide 3"
published = "a picture"
corrected = "a test"
prediction = "they cohere"
refuted_by = "p above the level"
companions = []

[[systems.rows]]
definition = "corrected"
test = "cohesion"
slot = "markers"
layers = "last"
coordinates = "all"
direction = "greater"
prior = 0.5
claim = "Markers of B cells cohere in the last layer"

[[systems.rows]]
definition = "corrected"
test = "edge_auroc"
slot = "missing"
layers = "all"
coordinates = "all"
direction = "greater"
prior = 0.5
claim = "Edges are short"
"""


def own(folder: Path, text: str = OWN) -> Path:
    (folder / "mine").mkdir(parents=True, exist_ok=True)
    (folder / "mine" / "campaign.toml").write_text(text, encoding="utf-8")
    return folder / "mine"


def entries(folder: Path, kind: type) -> list[Any]:
    with Ledger.open_readonly(folder / "runs.db") as ledger:
        return list(ledger.records(kind))


class TestReading:
    def test_the_paper_has_thirteen_systems_each_with_both_definitions(self) -> None:
        campaign = load_campaign(PAPER, ".")
        assert list_campaigns() == [PAPER] and len(campaign.systems) == 13
        for system in campaign.systems:
            assert system.published and system.corrected and system.prediction and system.refuted_by and system.record
            assert any(row.definition == "corrected" for row in system.rows) != bool(system.refusal)
            for row in system.rows:
                kind = CATALOGUE[row.test]
                own_nulls = {name.split()[0] for name in system.companions}
                assert row.direction in ("either", kind.alternative)
                if len(system.rows) == 1 and kind.nulls:
                    assert own_nulls == set(kind.nulls), (system.id, kind.nulls)

    @pytest.mark.parametrize(
        ("old", "new", "says"),
        [
            ('test = "cohesion"', 'test = "cohesoin"', "no test 'cohesoin'; cohesion?"),
            ('slot = "markers"', 'slot = "markres"', "'markres' is none of the slots"),
            ('test = "cohesion"', 'test = "edge_auroc"', "edge_auroc needs a edges"),
            ('definition = "corrected"', 'definition = "right"', "neither published nor corrected"),
            ('title = "Two questions"', "", "'title'"),
            ("companions = []", 'companions = []\nrefusal = "no"', "must have rows, or a refusal"),
            ('name = "own"', "name = own", "not valid TOML"),
            ('names = ["no', 'near = 9\nnames = ["no', "'near' ≤ 'most' in slot 'markers'"),
            ('names = ["no', 'near = 9\nmost = 8\nnames = ["no', "'near' ≤ 'most' in slot 'markers'"),
        ],
    )
    def test_a_wrong_file_is_refused_in_a_sentence(self, old: str, new: str, says: str, tmp_path: Path) -> None:
        folder = own(tmp_path, OWN.replace(old, new, 1))
        with pytest.raises(CampaignError) as caught:
            read_campaign(folder / "campaign.toml")
        assert says in str(caught.value) and "campaign.toml" in str(caught.value)

    def test_an_unknown_name_suggests_one(self, tmp_path: Path) -> None:
        with pytest.raises(CampaignError, match=f"did you mean '{PAPER}'"):
            load_campaign("scgpt-2602", tmp_path)


def test_lines_name_the_slot_that_is_filled_or_why_it_is_not(fresh: Any) -> None:
    small = fresh("p")
    own(small)
    project = open_project(small, load_config(small, {"campaign": "mine"}, {}))
    first, second = campaign_lines(project)
    assert (first.proposal.annotation, first.proposal.layers, first.reason) == ("b_cells", "L2", "")
    assert second.reason == "no_annotation" and "--as edges --name no_such_edges" in second.detail


def test_a_set_that_is_too_large_gives_way_to_the_one_nearest_to_the_size_wanted_and_the_row_says_so(
    fresh: Any, call: Any
) -> None:
    folder = fresh("p")
    own(folder)
    project = open_project(folder, load_config(folder, {"campaign": "mine"}, {}))
    sizes = {
        name: project.entity_size(name, Side.EXPLORE)
        for name, a in project.annotations.items()
        if a.kind == "gene_set" and a.role != "negative_control"
    }
    large = max(sizes, key=lambda n: sizes[n])
    most = near = sizes[large] - 1
    wanted = min((n for n in sizes if n != large), key=lambda n: (abs(sizes[n] - near), n))
    text = OWN.replace('"b_cells"', f'"{large}"')
    own(folder, text.replace('names = ["no_such_set"', f'near = {near}\nmost = {most}\nnames = ["no_such_set"'))
    first, _ = campaign_lines(project)
    assert first.proposal.annotation == wanted != large and not first.reason
    assert f"{large} has {sizes[large]} genes to explore, more than {most}" in first.note
    assert f"{wanted} with {sizes[wanted]} is nearest to {near}" in first.proposal.rationale
    assert call("run", "-C", folder, "--campaign", "mine", "-q").code == 0
    assert entries(folder, Proposed)[1].source["stands_in"] == first.note
    assert f"S1: {first.note}" in call("campaign", "table", "-C", folder).out
    own(folder, OWN.replace('names = ["no_such_set"', 'near = 1\nmost = 1\nnames = ["no_such_set"'))
    assert (
        campaign_lines(project)[0].proposal.annotation == "b_cells"
    )  # none is small enough: it stays, and says nothing


def test_refusals_of_the_paper_are_typed(fresh: Any) -> None:
    small = fresh("p")
    project = open_project(small, load_config(small, {"campaign": PAPER}, {}))
    reasons = {line.system: line.reason for line in campaign_lines(project) if line.reason}
    assert reasons["S13"] == "no_test" and reasons["S07"] == "no_annotation"
    circuit = {line.system: line.reason for line in campaign_lines(project) if line.proposal.annotation == "circuit"}
    assert set(circuit.values()) == {"no_annotation"}


class TestProposer:
    rows = tuple(
        Line(f"S{i}", "corrected", Proposal("cohesion", f"a{i}", "all", "all", "c", 0.5, "greater", "r", "replicate"))
        for i in range(5)
    )
    refused = Line("S9", "corrected", rows[0].proposal, "no_test", "because")

    def said(self, iteration: int, then: Any = None) -> list[Any]:
        proposer = CampaignProposer("own", (*self.rows, self.refused), then)
        return list(proposer.propose(Digest(iteration, 9, (), ()), 3))

    def test_rows_come_in_order_and_refusals_once(self) -> None:
        assert [s.source["system"] for s in self.said(1)] == ["S9", "S0", "S1", "S2"]
        assert [s.source["system"] for s in self.said(2)] == ["S3", "S4"]
        assert self.said(3) == []
        assert all(s.source["prior_known"] and s.by == "campaign" for s in self.said(1))
        assert self.said(1)[0].refusal.reason == "no_test"

    def test_places_it_leaves_are_filled_by_the_proposer_that_goes_on(self) -> None:
        class Other:
            name = "other"
            reads_notes = True

            def propose(self, digest: Digest, count: int) -> list[Any]:
                return ["x"] * count

        assert self.said(2, Other())[2:] == ["x"]
        assert self.said(3, Other()) == ["x"] * 3
        assert CampaignProposer("own", self.rows, Other()).name == "other"
        assert CampaignProposer("own", self.rows, Other()).reads_notes

    def test_iterations_hold_every_row(self) -> None:
        assert iterations_needed(self.rows, 3) == 2
        assert iterations_needed((self.refused,), 3) == 1
        assert len(asked((*self.rows, self.refused))) == 5


class TestRuns:
    def test_alone_it_says_its_rows_and_nothing_else(self, fresh: Any, call: Any) -> None:
        folder = fresh("p")
        own(folder)
        done = call("run", "-C", folder, "--campaign", "mine", "-q", "--json")
        assert done.code == 0, done.err
        (plan,) = entries(folder, RunOpened)
        assert plan.proposer == "campaign" and plan.iterations == 1
        assert plan.campaign["name"] == "mine" and plan.campaign["rows"] == 1
        assert [h.test for h in entries(folder, Registered)] == ["cohesion"]
        (refusal,) = entries(folder, Rejected)
        assert refusal.reason == "no_annotation"
        assert all(p.source["prior_known"] for p in entries(folder, Proposed))
        table = call("campaign", "table", "-C", folder, "--json").json
        assert [row["verdict"] for row in table["systems"][0]["rows"]][-1] in (
            "confirmed",
            "screened",
            "not_confirmed",
            "refused",
        )
        lines, verdicts, _, _ = table_of(folder)
        assert {line.verdict for line in lines} >= {"refused"} and verdicts["S1"] in ("in part", "not confirmed")
        assert "prior_known" in call("campaign", "table", "-C", folder).out

    def test_as_a_seed_the_proposer_goes_on_and_a_second_run_resumes(self, fresh: Any, call: Any) -> None:
        folder = fresh("p")
        own(folder)
        done = call("run", "-C", folder, "--campaign", "mine", "--iterations", "2", "-q")
        assert done.code == 0, done.err
        said = [(p.iteration, p.proposer) for p in entries(folder, Proposed)]
        assert said[:2] == [(1, "campaign"), (1, "campaign")]
        assert {name for _, name in said[2:]} == {"offline"} and max(i for i, _ in said) == 2
        (plan,) = entries(folder, RunOpened)
        assert plan.proposer == "offline" and plan.iterations == 2
        again = call("run", "-C", folder, "-q")
        assert again.code == 0 and "nothing was left to do" in again.out
        other = call("run", "-C", folder, "--campaign", PAPER, "-q")
        assert other.code == 2 and "campaign = mine" in other.err

    def test_too_few_iterations_are_refused_before_anything_is_written(self, fresh: Any, call: Any) -> None:
        folder = fresh("p")
        rows = OWN.partition("[[systems.rows]]")[2].partition("[[systems.rows]]")[0]
        more = "".join(
            f"\n[[systems.rows]]{rows}".replace('"last"', f'"{layers}"').replace('"cohesion"', f'"{test}"')
            for layers in ("all", "first")
            for test in ("precision_at_k", "community")
        )
        own(folder, OWN + more)
        refused = call("run", "-C", folder, "--campaign", "mine", "--iterations", "1", "-q")
        assert refused.code == 2 and "5 rows" in refused.err and "--iterations" in refused.err
        assert not (folder / "runs.db").exists()

    def test_a_campaign_that_was_changed_is_noticed(self, fresh: Any, call: Any) -> None:
        folder = fresh("p")
        own(folder)
        assert call("run", "-C", folder, "--campaign", "mine", "-q").code == 0
        own(folder, OWN.replace("0.5", "0.6"))
        with pytest.raises(UserError, match="put its campaign"):
            table_of(folder)

    def test_a_run_without_one_has_no_trace_of_it(self, finished: Any) -> None:
        (plan,) = entries(Path(finished.project.folder), RunOpened)
        assert "campaign" not in plan.to_content()


class TestControl:
    def twin(self, folder: Path) -> Path:
        """The small cache under the name of its untrained twin, with its genes in another order."""
        cache = open_cache(folder / STORE / "small")
        order = np.random.default_rng(1).permutation(cache.n_genes)
        layers = [np.asarray(layer)[order] for layer in cache.layers]
        target = folder / STORE / "small-random-init-0"
        return write_cache(target, layers=layers, genes=cache.genes, manifest={"model": "twin"}).path

    def test_the_same_rows_are_asked_of_the_twin_and_stand_side_by_side(self, fresh: Any, call: Any) -> None:
        folder = fresh("p", iterations=2)
        self.twin(folder)
        done = call("run", "-C", folder, "--control", "random-init", "-q")
        assert done.code == 0, done.err
        mine, theirs = entries(folder, Registered), entries(folder / "control-random-init", Registered)
        assert [(h.test, h.annotation, h.spec["layers"]) for h in mine] == [
            (h.test, h.annotation, h.spec["layers"]) for h in theirs
        ]
        assert {h.spec["cache_digest"] for h in mine}.isdisjoint({h.spec["cache_digest"] for h in theirs})
        assert f"of {len(mine)} rows confirmed on the untrained twin" in done.out
        page = (folder / "report.html").read_text(encoding="utf-8")
        assert "Beside an untrained model" in page and "small-random-init-0" in page
        head = entries(folder / "control-random-init", RunOpened)[0].campaign["digest"]
        again = call("run", "-C", folder, "--control", "random-init", "-q")
        assert again.code == 0 and entries(folder / "control-random-init", RunOpened)[0].campaign["digest"] == head

    def test_without_a_twin_or_with_an_unknown_control_it_says_so(self, fresh: Any, call: Any) -> None:
        folder = fresh("p", iterations=1)
        unknown = call("run", "-C", folder, "--control", "nothing", "-q")
        assert unknown.code == 2 and "choose one of random-init" in unknown.err and not (folder / "runs.db").exists()
        missing = call("run", "-C", folder, "--control", "random-init", "-q")
        assert missing.code == 5 and "small-random-init-0" in missing.err
        assert "Beside an untrained model" not in (folder / "report.html").read_text(encoding="utf-8")
