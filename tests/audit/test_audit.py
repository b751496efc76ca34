"""The audit runs whole campaigns; here small ones, checked against what a person would count."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import beta

from hyposcreen import __version__
from hyposcreen.agent.audit import World, make_plan, one_world, proportion, run_audit, summary
from hyposcreen.agent.config import Config
from hyposcreen.agent.errors import UserError
from hyposcreen.agent.progress import Progress
from hyposcreen.agent.report.audits import audit_lines

SMALL = Config(iterations=2, permutations_explore=99, permutations_look=199)


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    """Three sets and nothing else, so that a world takes about a second."""
    folder = tmp_path / "annotations"
    folder.mkdir()
    (folder / "annotations.toml").write_text(
        '[sets]\nfile = "sets.gmt"\nkind = "gene_set"\nsource = "test"\nversion = "1"\n'
        'licence = "CC0-1.0"\nprovenance = "external"\n'
    )
    from hyposcreen.hypotheses.annotations import DEMO, load_annotations

    chosen = [a for a in load_annotations(DEMO) if a.name in {"t_cells", "monocytes", "cytoskeleton"}]
    (folder / "sets.gmt").write_text("".join("\t".join((a.name, a.title, *map(str, a.members))) + "\n" for a in chosen))
    return folder


def test_an_audit_counts_resumes_and_repeats_itself(tmp_path: Path, annotations: Path) -> None:
    config = replace(SMALL, annotations=annotations.name)  # a folder of the project, not of the audit
    plan = make_plan(tmp_path, config, "null", "greedy", 3, __version__)
    first = run_audit(tmp_path, tmp_path / "a", replace(plan, worlds=1), 1, Progress(quiet=True))
    assert [w.number for w in first] == [1]
    with (tmp_path / "a" / "audit.jsonl").open("a") as out:
        out.write('{"plan": "cut off')  # an audit killed while writing
    (tmp_path / "a" / "audit.jsonl").write_text((tmp_path / "a" / "audit.jsonl").read_text() + "\n")
    resumed = run_audit(tmp_path, tmp_path / "a", plan, 1, Progress(quiet=True))
    whole = run_audit(tmp_path, tmp_path / "b", plan, 2, Progress(quiet=True))
    assert resumed == whole
    assert len({w.rows for w in whole}) == 1
    facts = summary(plan, whole)
    assert facts["any_false_confirmation"]["count"] == sum(bool(w.confirmed) for w in whole)
    assert facts["any_false_confirmation"]["worlds"] == 3
    json.dumps(facts)
    (line,) = audit_lines((tmp_path / "a" / "audit.jsonl").read_text().splitlines())  # what the report page reads
    assert (line.kind, line.proposer, line.iterations, line.alpha) == ("null", "greedy", 2, 0.05)
    assert (line.worlds, line.hypotheses, line.cache_digest) == (3, sum(w.rows for w in whole), plan.cache_digest)
    assert facts["any_false_confirmation"] == {
        "count": line.false,
        "worlds": 3,
        "ci_low": line.low,
        "ci_high": line.high,
    }


def test_worlds_differ_and_planted_ones_know_their_signal(tmp_path: Path, annotations: Path) -> None:
    config = replace(SMALL, annotations=str(annotations))
    plan = make_plan(tmp_path, config, "planted", "offline", 4, __version__)
    worlds = run_audit(tmp_path, tmp_path / "a", plan, 2, Progress(quiet=True))
    assert [w.share for w in worlds] == [0.25, 0.5, 0.75, 1.0]
    assert all(w.planted_rows > 0 for w in worlds)
    assert [p["worlds"] for p in summary(plan, worlds)["power"].values()] == [1, 1, 1, 1]


def test_a_set_that_lies_whole_in_one_pole_is_found(tmp_path: Path, annotations: Path) -> None:
    config = replace(SMALL, annotations=str(annotations), iterations=8, permutations_explore=499, permutations_look=999)
    plan = make_plan(tmp_path, config, "planted", "offline", 4, __version__)
    world = one_world(str(tmp_path), plan, 4)
    assert world.share == 1.0
    assert world.found
    assert not world.confirmed


@pytest.mark.parametrize(("kind", "proposer", "word"), [("nul", "offline", "nul"), ("null", "gready", "gready")])
def test_unknown_words_are_named(tmp_path: Path, kind: str, proposer: str, word: str) -> None:
    with pytest.raises(UserError, match=word):
        make_plan(tmp_path, SMALL, kind, proposer, 1, __version__)


@pytest.mark.parametrize(("count", "worlds"), [(0, 20), (3, 200), (200, 200)])
def test_intervals_are_clopper_pearson(count: int, worlds: int) -> None:
    found = proportion(count, worlds)
    low = 0.0 if count == 0 else beta.ppf(0.025, count, worlds - count + 1)
    high = 1.0 if count == worlds else beta.ppf(0.975, count + 1, worlds - count)
    assert found["ci_low"] == pytest.approx(low, abs=1e-9)
    assert found["ci_high"] == pytest.approx(high, abs=1e-9)


def test_false_and_true_confirmations_are_kept_apart() -> None:
    plan = make_plan(Path(), SMALL, "planted", "offline", 2, __version__)
    base = {"rows": 6, "planted_rows": 3, "false_bh": 0, "false_bonferroni": 0, "false_raw": 1, "naive_null": 0}
    worlds = [
        World(number=1, confirmed=("H0001",), found=("H0002", "H0003"), share=0.25, **base),
        World(number=2, confirmed=(), found=(), share=0.5, **base),
    ]
    facts = summary(plan, worlds)
    assert facts["any_false_confirmation"]["count"] == 1
    assert facts["false_discovery_proportion"] == pytest.approx(np.mean([1 / 3, 0.0]))
    assert facts["power"]["0.25"]["count"] == 1
    assert facts["power"]["0.5"]["count"] == 0
