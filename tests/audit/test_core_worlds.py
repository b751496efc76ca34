"""The benchmark of null worlds is itself tested: what it plays, what it counts, and how it goes on after a stop."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import beta

from hyposcreen.agent.project import Side
from hyposcreen.tests_library.catalogue import CATALOGUE
from hyposcreen.tests_library.engine.maxt import p_value
from hyposcreen.tests_library.run import scan

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    if not BENCHMARKS.is_dir():
        pytest.skip("the benchmarks are not part of this installation")
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module("core_worlds")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def small(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A world of a third of a second: 199 draws on genes A, 40 rows."""
    monkeypatch.setattr(bench.sys.modules["core_search"], "M_EXPLORE", 199)
    monkeypatch.setattr(bench.sys.modules["core_search"], "TESTS", 40)
    return bench


def test_a_world_moves_labels_within_strata_and_depends_on_its_number_alone(bench: ModuleType) -> None:
    c = bench.core()
    for kind in bench.SAID:
        world = bench.relabelling(kind, 3)
        assert sorted(world.tolist()) == list(range(c.cache_rows))
        assert np.array_equal(world, bench.relabelling(kind, 3))
        assert not np.array_equal(world, bench.relabelling(kind, 4))
    groups = np.full(c.cache_rows, -1)
    groups[c.usable] = c.strata
    assert np.array_equal(groups[bench.relabelling("null", 3)], groups)


def test_the_searcher_narrows_what_looks_good_and_never_repeats_itself(small: ModuleType) -> None:
    world = small.World(small.relabelling("null", 1), 1)
    rows = small.search(world, ("stratified",), np.random.default_rng(1))
    said = [seen.sentence for seen in rows]
    assert len(said) == len(set(said)) == 40
    wide = {s for s in said if s.wide}
    for place, sentence in enumerate(said):
        if not sentence.wide:
            assert small.wide_of(sentence) in said[:place]
            assert sentence.views < small.wide_of(sentence).views
    assert wide < set(world.combinations)
    narrowed = {small.wide_of(s) for s in said if not s.wide}
    by_p = {seen.sentence: seen.p for seen in rows}
    assert np.mean([by_p[s] for s in narrowed]) < np.mean([by_p[s] for s in wide - narrowed])


def test_what_the_searcher_sees_is_what_a_scan_says(small: ModuleType) -> None:
    """Rows that were not stopped early, against ``run.scan`` on genes A with the same arrangements."""
    world = small.World(small.relabelling("confounded", 2), 7)
    side = small.core().sides[Side.EXPLORE]
    compared = 0
    for sentence in [c for c in world.combinations if c.test != "cohesion"][:12]:
        seen = world.explore(sentence, ("gene_label",))
        members = world.members[Side.EXPLORE][sentence.name]
        assert np.array_equal(
            side.rows[members], np.sort(np.intersect1d(world.labels[small.core().sets[sentence.name]], side.rows))
        )
        one = scan(
            side.geometry,
            world.covariates[Side.EXPLORE],
            CATALOGUE[sentence.test],
            world.entity(Side.EXPLORE, sentence.name),
            subsets={"all": sentence.views},
            nulls=("gene_label",),
            m=199,
            seed=7,
        )[0].subsets["all"]
        if seen.p <= 0.4:
            assert (seen.p, seen.statistic, seen.best) == (p_value(one.k, 199), one.maximum[0], one.best)
            best = next(v for v in one.views if v.view == one.best)
            assert seen.p_best == p_value(best.k, 199)
            compared += 1
    assert compared >= 3


def test_a_signal_is_confirmed_so_a_count_of_zero_means_something(small: ModuleType) -> None:
    """One set is moved into the genes with the highest scores of an axis: both routes see it, in every campaign."""
    c = small.core()
    geometry = c.sides[Side.ALL].geometry
    order = c.sides[Side.ALL].rows[np.argsort(-geometry.local_axes(1)[:, 0], kind="stable")]
    labels = np.arange(c.cache_rows)
    name = max(c.sets, key=lambda s: len(c.sets[s]))
    for row, target in zip(c.sets[name].tolist(), order.tolist(), strict=False):
        other = int(np.flatnonzero(labels == target)[0])
        labels[row], labels[other] = target, labels[row]
    found = small.play(labels, 5, tuple(small.CAMPAIGNS))
    for campaign in small.CAMPAIGNS:
        assert found[campaign]["by_u"] > 0, campaign
        assert found[campaign]["ours"] >= max(found[campaign]["by_u"], found[campaign]["by_h"])
        assert found[campaign]["best_view"] > 0
    assert any(found[campaign]["by_h"] > 0 for campaign in small.CAMPAIGNS)


def test_the_void_procedures_are_what_their_names_say(bench: ModuleType) -> None:
    """BH by hand; e = 1 / (2 √p); a product of e-values passes 20 where its log passes log 20."""
    world = bench.World(bench.relabelling("null", 1), 1)
    sentence = world.combinations[0]
    view = min(sentence.views, key=lambda v: v.name)

    def rows(*p: float) -> list[object]:
        return [bench.Seen(sentence, value, 0.0, view, value) for value in p]

    got = bench.instead(rows(0.001, 0.02, 0.03, 0.5))
    assert (got["bh"], got["bonferroni"], got["best_view"]) == (3, 1, 3)
    assert (got["e_mean"], got["e_product"]) == (0, 1)  # 15.8 · 3.5 · 2.9 · 0.7
    assert bench.instead(rows(0.5, 0.9))["e_product"] == 0
    assert bench.instead(rows(1e-4, 1e-4))["e_mean"] == 1


def test_a_stopped_run_goes_on_and_the_page_says_what_was_counted(
    small: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "worlds.jsonl"
    first = small.measure(path, ["null"], 1, 1)
    with path.open("a") as out:
        out.write('{"plan": "cut o')
    played = []
    plain = small.one_world
    monkeypatch.setattr(small, "one_world", lambda task: played.append(task) or plain(task))
    both = small.measure(path, ["null"], 2, 1)
    assert played == [("null", 2)]
    assert both[0] == first[0]
    again = small.measure(path, ["null"], 2, 1)
    assert again == both
    assert played == [("null", 2)]
    assert [json.loads(line)["number"] for line in path.read_text().splitlines() if line.endswith("}")] == [1, 2]
    text = small.page(both, "2026-11-23")
    high = beta.ppf(0.975, 1, 2) if all(w["found"]["all nulls"]["ours"] == 0 for w in both) else None
    assert "## 2 null worlds" in text
    assert "confounded worlds" not in text
    assert high is None or f"(0.0000–{high:.4f})" in text


def test_worlds_of_another_plan_are_not_read(small: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "worlds.jsonl"
    path.write_text(json.dumps({"plan": "another", "kind": "null", "number": 1, "cpu": 1.0, "found": {}}) + "\n")
    assert small.read(path, ["null"], 5) == {}
