"""The benchmark of the campaign on a small cache: every job is measured and counted for its system or its kind of test."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hyposcreen.agent.config import Config


@pytest.fixture(scope="module")
def benchmark(load_file: Callable[[str], ModuleType]) -> ModuleType:
    return load_file("benchmarks/campaign_scale.py")


def test_every_job_counts_for_its_system_or_its_kind(benchmark: Any, tmp_path: Path) -> None:
    benchmark.make_project(tmp_path, 300, 3, 16, None, 1)
    config = Config(
        cache="scale", partner="partner", annotations="annotations", campaign=benchmark.PAPER, proposer="campaign",
        permutations_explore=199, permutations_look=399,
    )  # fmt: skip
    costs, systems, refused, around = benchmark.measure(tmp_path, config)
    explored = [c for c in costs if c.phase == "explore"]
    assert {row for c in explored for row in c.rows} <= set(systems) and len(explored) > 12
    assert {systems[c.rows[0]] for c in explored} >= {"S01", "S05", "S06", "S09", "S10", "S11", "S12"}
    assert refused == ["S13: no_test"] and set(around) == {"opening", "loop", "report"}
    said = benchmark.tables(costs, systems, refused, around, 1e9)
    for phase in ("explore", "route U", "route H"):
        seconds = sum(c.cpu for c in costs if c.phase == phase)
        assert f"- {phase}: {seconds:.0f} s of processor time" in said
    jobs = {c.test for c in costs if c.phase == "route U"}
    assert {line.split("`")[1] for line in said if line.startswith("| `")} == jobs >= {"cohesion", "edge_auroc"}
    slow = benchmark.tables(costs, systems, refused, around, 0.0)
    assert sum(line.startswith("- beyond 0 s") for line in slow) == len(costs)
