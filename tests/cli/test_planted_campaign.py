"""A cache in which every system of the paper was put in by hand, and its twin with the genes shuffled."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hyposcreen.agent.campaigns.running import table_of

SETTINGS = {"permutations_explore": 299, "permutations_look": 1999}


@pytest.fixture(scope="module")
def planted(load_file: Callable[[str], ModuleType]) -> ModuleType:
    return load_file("benchmarks/planted_campaign.py")


def verdicts(folder: Path, call: Any) -> dict[str, str]:
    done = call("run", "-C", folder, "--campaign", "scgpt-2602.22247", "-q")
    assert done.code == 0, done.err
    return table_of(folder)[1]


def test_every_system_that_was_planted_is_confirmed(planted: Any, tmp_path: Path, call: Any) -> None:
    found = verdicts(planted.write_project(planted.plant(), tmp_path / "p", **SETTINGS), call)
    assert found.pop("S13") == "refused"
    assert set(found.values()) == {"confirmed"}, found


def test_with_the_genes_shuffled_none_is(planted: Any, tmp_path: Path, call: Any) -> None:
    world = planted.shuffled(planted.plant())
    found = verdicts(planted.write_project(world, tmp_path / "p", **SETTINGS), call)
    assert found.pop("S13") == "refused"
    assert set(found.values()) == {"not confirmed"}, found
