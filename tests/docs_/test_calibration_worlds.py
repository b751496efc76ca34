"""The worlds behind docs/calibration.md make true what they claim to, and the page is the script's."""

import importlib
import re
import sys
from itertools import islice
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import kstest

from hyposcreen.tests_library.catalogue import CATALOGUE
from hyposcreen.tests_library.nulls import NULLS, OWN_NULLS

ROOT = Path(__file__).parents[2]
PARTS = ("calibration_worlds", "calibration_own", "calibration_cells", "calibration_page")


@pytest.fixture(scope="module")
def modules() -> dict[str, ModuleType]:
    if not (ROOT / "benchmarks").is_dir():
        pytest.skip("the benchmarks are not part of this installation")
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return {name.removeprefix("calibration_"): importlib.import_module(name) for name in PARTS}
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture
def own(modules: dict[str, ModuleType]) -> ModuleType:
    return modules["own"]


@pytest.fixture
def cells(modules: dict[str, ModuleType]) -> ModuleType:
    return modules["cells"]


# ---------------------------------------------------------------- graphs


def margins(net) -> tuple[list[int], list[int]]:
    """How many edges of each sign every regulator has, and every target."""
    by = [(np.bincount(net.regulators[net.signs == s], minlength=12), net.targets[net.signs == s]) for s in (-1, 0, 1)]
    return [r.tolist() for r, _ in by], [np.bincount(t, minlength=200).tolist() for _, t in by]


def test_the_chain_keeps_the_margins_of_every_sign_and_makes_simple_graphs(own: ModuleType) -> None:
    rng = np.random.default_rng(3)
    start = own.network(rng)
    moved = own.exchanged(start, 5_000, rng)
    assert (moved.targets != start.targets).mean() > 0.5
    assert margins(moved) == margins(start)
    assert len(set(zip(moved.regulators.tolist(), moved.targets.tolist(), strict=True))) == len(moved.targets)
    assert not (moved.own[moved.regulators] == moved.targets).any()


def test_the_chain_reaches_every_graph_of_a_small_margin_equally_often(own: ModuleType) -> None:
    """Three genes that regulate each other in a circle: two graphs, and only three targets at once lead from one to the other."""
    three = np.arange(3)
    net = own.Network(three, np.array([1, 2, 0]), np.ones(3, np.int64), three, three)
    rng = np.random.default_rng(5)
    seen = []
    for _ in range(400):
        net = own.exchanged(net, 30, rng)
        seen.append(net.targets.tolist() == [1, 2, 0])
    assert 0.4 < np.mean(seen) < 0.6


def test_targets_and_signs_are_shuffled_within_regulators_only(own: ModuleType) -> None:
    first, second = islice(own.sign_shuffle("signed_edge_split", np.random.default_rng(1)), 2)
    a, b = first.entity, second.entity
    assert np.array_equal(a.edges, b.edges)
    assert not np.array_equal(a.signs, b.signs)
    for row in np.unique(a.edges[:, 0]):
        mine = a.edges[:, 0] == row
        assert sorted(a.signs[mine]) == sorted(b.signs[mine])
    one = next(own.target_shuffle("edge_auroc", np.random.default_rng(1)))
    place = {row: i for i, row in enumerate(one.geometry.universe.tolist())}
    for row in np.unique(one.entity.edges[:, 0]).tolist():
        targets = one.entity.edges[one.entity.edges[:, 0] == row, 1].tolist()
        assert len(set(targets)) == len(targets) == 12
        assert place.get(row) not in targets


# ---------------------------------------------------------------- axes, clouds, layers


def test_directions_are_uniform_and_frames_are_haar(own: ModuleType) -> None:
    """A coordinate of a uniform direction in three dimensions is uniform on −1 … 1; so is any entry of a Haar matrix."""
    rng = np.random.default_rng(11)
    u = np.array([own.direction(3, rng) for _ in range(2_000)])
    assert np.allclose((u * u).sum(axis=1), 1)
    frames = np.array([own.haar(3, rng) for _ in range(2_000)])
    assert np.allclose(frames @ frames.transpose(0, 2, 1), np.eye(3))
    for values in (*u.T, *frames.reshape(-1, 9).T):
        assert kstest(values, "uniform", args=(-1, 2)).pvalue > 1e-4


def test_the_geometry_finds_the_turned_frame_with_one_sign_for_all_layers(own: ModuleType) -> None:
    cloud = own.white_cloud()
    rng = np.random.default_rng(2)
    frame = own.haar(5, rng)
    case = next(own.random_axis("axis_separation", np.random.default_rng(2)))
    signs = []
    for q, U in enumerate(cloud):
        turned, axes = U @ frame, case.geometry.local_axes(q).astype(np.float64)
        cosine = (turned * axes).sum(axis=0) / np.sqrt((axes * axes).sum(axis=0))
        assert np.allclose(np.abs(cosine), 1, atol=1e-5)
        signs.append(np.sign(cosine).tolist())
    assert signs[0] == signs[1] == signs[2]


def test_shuffled_features_keep_each_coordinate_and_move_both_layers_alike(own: ModuleType) -> None:
    first, second = islice(own.feature_shuffle("entropy_rank", np.random.default_rng(4)), 2)
    for q in range(2):
        assert np.array_equal(np.sort(first.geometry.layers[q], axis=0), np.sort(second.geometry.layers[q], axis=0))
    ranks = [np.argsort(np.argsort(first.geometry.layers[q], axis=0), axis=0) for q in range(2)]
    other = [np.argsort(np.argsort(second.geometry.layers[q], axis=0), axis=0) for q in range(2)]
    pairs = [sorted(zip(a[:, 0].tolist(), b[:, 0].tolist(), strict=True)) for a, b in (ranks, other)]
    assert pairs[0] == pairs[1]
    assert not np.array_equal(first.geometry.layers[0], second.geometry.layers[0])


# ---------------------------------------------------------------- shared nulls


@pytest.mark.parametrize("null", NULLS)
def test_study_load_moves_with_its_labels_and_leaves_the_strata_alone(
    modules: dict[str, ModuleType], null: str
) -> None:
    worlds = modules["worlds"]
    kind, c = CATALOGUE["cohesion"], worlds.demo().covariates
    case = worlds.null_case(kind, null, True, np.random.default_rng(6))
    assert sorted(case.covariates.load.tolist()) == sorted(worlds.made_load().tolist())
    assert not np.array_equal(case.covariates.load, worlds.made_load())
    before = worlds.exchange(null, c.expression, c.detection, c.families, worlds.made_load())
    assert np.array_equal(case.covariates.exchange(null).strata, before.strata)


def test_labels_of_the_load_world_lean_on_load(modules: dict[str, ModuleType]) -> None:
    worlds = modules["worlds"]
    rng, kind = np.random.default_rng(8), CATALOGUE["cohesion"]
    score = worlds.normal_scores(worlds.made_load())

    def mean(loaded: bool) -> float:
        cases = [worlds.null_case(kind, "family_block", loaded, rng) for _ in range(120)]
        return float(np.mean([score[case.entity.members].mean() for case in cases]))

    assert mean(True) > mean(False) + 0.12


# ---------------------------------------------------------------- what is measured, and the page


def test_what_is_attainable_counts_the_arrangements_that_would_reject(cells: ModuleType) -> None:
    distinct = cells.judge(np.arange(200.0)[::-1])
    assert (distinct.p, distinct.attainable) == (1 / 200, 0.05)
    tied = cells.judge(np.array([1.0] * 11 + [0.0] * 189))
    assert (tied.p, tied.attainable) == (11 / 200, 0.0)


@pytest.mark.parametrize("null", OWN_NULLS)
def test_every_own_null_is_run_in_its_world_and_a_kept_cell_is_not_run_again(
    cells: ModuleType, null: str, tmp_path: Path
) -> None:
    for name in cells.OWN[null]:
        assert null in CATALOGUE[name].nulls
    cell = cells.Cell("own", (null, cells.OWN[null][0]), 3)
    r = cells.run_cell(cell)
    assert 0 <= r.rejected[cells.AT] <= 1
    assert r.rejected[cells.UNTESTABLE] == 0
    assert r.rejected == cells.run_cell(cell).rejected
    kept = tmp_path / "kept.jsonl"

    class Once:
        def imap(self, _run, some):
            return iter([r] * len(some))

    assert list(cells._results(Once(), [cell], kept)) == [r]
    assert cells._kept(kept, cells.code_digest()) == {cell: r}
    assert cells._kept(kept, "other code") == {}


def test_the_page_has_a_row_for_every_cell_that_is_planned(modules: dict[str, ModuleType]) -> None:
    cells, page = modules["cells"], modules["page"]
    text = (ROOT / "docs" / "calibration.md").read_text(encoding="utf-8")
    for cell in cells.plan(1.0):
        if cell.section in cells.IN_OWN_WORLD:
            first = [str(a) for a in page.named(cells.Rates(cell, {}, 0.0))]
            between = r" \| \d+ \| " if cell.section == "shared" else r" \| "
            row = rf"^\| {first[0]}{between}{re.escape(first[1])} \| ([\d,]+) \|"
            found = re.findall(row, text, re.MULTILINE)
            assert found == [f"{cell.repetitions:,}"], first


def test_no_rate_on_the_page_is_above_what_it_may_be() -> None:
    """A cell that was outside is printed again with 10,000 repetitions; no such cell may still be too high."""
    text = (ROOT / "docs" / "calibration.md").read_text(encoding="utf-8")
    again = re.findall(r"^\| .* \| 10,000 \| (0\.\d+) ± ", text, re.MULTILINE)
    first = re.findall(r"^\| .* \| 2,000 \| (0\.\d+) ± [\d.]+ \| [\d.]+ \| .* \| no \|$", text, re.MULTILINE)
    assert len(first) == len(again)
    assert all(float(rate) <= 0.06 for rate in again)
