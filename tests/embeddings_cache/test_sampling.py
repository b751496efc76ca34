"""Which cells are read is said by labels, counts and a seed, and by nothing else."""

from typing import Any

import numpy as np
import pytest

from hyposcreen.embeddings_cache import CacheError
from hyposcreen.embeddings_cache.cells import Cells, cells_from_counts
from hyposcreen.embeddings_cache.sampling import disjoint, plan_samples, rows_where, slug

N = 60
TYPES = tuple(("B", "CD4+ T", "NK, CD56=bright")[(i % 10) // 4] for i in range(N))
DONORS = tuple("xy"[i % 2] for i in range(N))


@pytest.fixture
def cells() -> Cells:
    counts = np.arange(1, N + 1)[:, None] * np.array([[1, 0, 2]])
    return cells_from_counts(counts, ("A", "C", "D"), source="test", obs={"cell_type": TYPES, "donor": DONORS})


def who(cells: Cells) -> set[int]:
    """The cells of a selection: cell i has i + 1 counts of gene A."""
    return {int(cells.cell(i)[1][0]) - 1 for i in range(cells.n_cells)}


def test_all_cells_are_one_sample_without_a_suffix(cells: Cells) -> None:
    ((suffix, everything),) = plan_samples(cells).cells
    assert suffix == "" and everything.digest == cells.digest and everything.provenance == cells.provenance


def test_conditions_on_one_column_are_alternatives_and_columns_must_all_be_met(cells: Cells) -> None:
    rows = rows_where(cells, ["cell_type=B", "cell_type=NK, CD56=bright", "donor=x"])
    assert rows.tolist() == [i for i in range(N) if TYPES[i] != "CD4+ T" and DONORS[i] == "x"]
    assert (np.diff(rows) > 0).all()


@pytest.mark.parametrize(
    ("where", "says"),
    [
        (["tissue=lung"], r"no label 'tissue': choose one of the columns of obs \(cell_type, donor\)"),
        (["cell_type=T"], r"no cell has cell_type = 'T': the values are B, CD4\+ T, NK, CD56=bright"),
        (["cell_type"], "condition 'cell_type' cannot be read: write COLUMN=VALUE"),
    ],
)
def test_conditions_that_cannot_be_met(cells: Cells, where: list[str], says: str) -> None:
    with pytest.raises(CacheError, match=says):
        rows_where(cells, where)


def test_conditions_no_cell_meets_together(cells: Cells) -> None:
    lone = cells.select(np.flatnonzero([t != "B" or d == "x" for t, d in zip(TYPES, DONORS, strict=True)]))
    with pytest.raises(CacheError, match="no cell meets cell_type=B and donor=y"):
        rows_where(lone, ["cell_type=B", "donor=y"])


def test_disjoint_samples_share_no_cell_and_never_change(cells: Cells) -> None:
    plan = plan_samples(cells, where=["donor=x"], n_cells=9, samples=3, seed=4)
    assert [suffix for suffix, _ in plan.cells] == ["s1", "s2", "s3"]
    drawn = [who(part) for _, part in plan.cells]
    assert [len(part) for part in drawn] == [9, 9, 9]
    assert len(set.union(*drawn)) == 27 and all(DONORS[i] == "x" for i in set.union(*drawn))
    assert plan.cells[1][1].provenance["sample"] == {"cells": 9, "number": 2, "of": 3, "seed": 4}
    assert plan.cells[1][1].provenance["where"] == ["donor=x"]
    again = plan_samples(cells, where=["donor=x"], n_cells=9, samples=2, seed=4)
    assert [who(part) for _, part in again.cells] == drawn[:2]
    other = plan_samples(cells, where=["donor=x"], n_cells=9, seed=5).cells[0][1]
    assert who(other) != drawn[0]
    assert [rows.tolist() for rows in disjoint(np.arange(8), 3, 2, 0)] == FIXED


FIXED = [[0, 1, 4], [2, 5, 7]]
"""The draw of seed 0, which every later version must repeat."""


def test_samples_are_drawn_evenly() -> None:
    counts = np.zeros(40)
    for seed in range(2000):
        counts[disjoint(np.arange(40), 10, 2, seed)[1]] += 1
    assert abs(counts - 500).max() < 5 * np.sqrt(2000 * 0.25 * 0.75)


def test_groups_have_samples_of_their_own_and_small_ones_are_named(cells: Cells) -> None:
    plan = plan_samples(cells, group_by="cell_type", n_cells=11, samples=2, seed=1)
    assert [suffix for suffix, _ in plan.cells] == ["b-s1", "b-s2", "cd4_t-s1", "cd4_t-s2"]
    assert plan.skipped == ("group 'NK, CD56=bright' has 12 cells and 22 are wanted",)
    for suffix, part in plan.cells:
        name = {"b": "B", "cd4_t": "CD4+ T"}[suffix[:-3]]
        assert {TYPES[i] for i in who(part)} == {name} == {part.provenance["group"]["cell_type"]}
    whole = plan_samples(cells, group_by="cell_type")
    assert {suffix: part.n_cells for suffix, part in whole.cells} == {"b": 24, "cd4_t": 24, "nk_cd56_bright": 12}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"n_cells": 31, "samples": 2}, "60 cells are there and 62 are wanted: ask for fewer"),
        ({"n_cells": 25, "group_by": "cell_type"}, "group 'B' has 24 cells and 25 are wanted: ask for fewer"),
        ({"samples": 2}, "2 disjoint samples need a size"),
        ({"n_cells": 0}, "whole numbers of at least 1"),
        ({"group_by": "tissue"}, "no label 'tissue'"),
    ],
)
def test_samples_that_cannot_be_drawn(cells: Cells, options: dict[str, Any], says: str) -> None:
    with pytest.raises(CacheError, match=says):
        plan_samples(cells, **options)


def test_groups_that_would_share_a_name_are_refused() -> None:
    obs = {"t": ("CD4+", "cd4")}
    with pytest.raises(CacheError, match="two groups would both be called 'cd4'"):
        plan_samples(cells_from_counts(np.eye(2), ("A", "B"), source="test", obs=obs), group_by="t")
    assert slug("+/-") == "group"


def test_a_selection_in_memory_is_those_cells(cells: Cells) -> None:
    rows = np.array([3, 4, 50])
    part = cells.select(rows, why="test")
    counts = np.arange(1, N + 1)[rows, None] * np.array([[1, 0, 2]])
    assert part.digest == cells_from_counts(counts, ("A", "C", "D"), source="test").digest
    assert part.obs["donor"] == ("y", "x", "x") and part.provenance["why"] == "test"
    assert cells.select(np.zeros(0, dtype=np.int64)).n_cells == 0
