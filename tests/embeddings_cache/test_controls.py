"""Controls: the same cells read by what cannot know, or under exchanged names."""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="extraction runs a torch model")

sys.path.insert(0, str(Path(__file__).parent))

from extraction_world import SYMBOLS, some_cells, tiny_checkpoint  # noqa: E402

from hyposcreen.embeddings_cache.cells import cells_from_counts  # noqa: E402
from hyposcreen.embeddings_cache.controls import Control, permuted_within_detection, planned_controls  # noqa: E402
from hyposcreen.embeddings_cache.extract import extract, random_init_like  # noqa: E402


def test_controls_have_names_and_at_least_two_untrained_seeds():
    names = [control.name_beside("pbmc") for control in planned_controls()]
    assert names == ["pbmc-random-init-0", "pbmc-random-init-1", "pbmc-shuffled-genes-0"]
    assert planned_controls(0, 0) == ()


def test_untrained_control_is_the_cache_of_the_untrained_model(tmp_path):
    checkpoint, cells = tiny_checkpoint(), some_cells(80)
    caches = [extract(checkpoint, cells, tmp_path / f"c{i}", control=Control("random-init", i)) for i in (0, 1)]
    assert caches[0].digest == extract(random_init_like(checkpoint, 0), cells, tmp_path / "d").digest
    assert len({caches[0].digest, caches[1].digest, extract(checkpoint, cells, tmp_path / "e").digest}) == 3
    told = caches[1].manifest["provenance"]
    assert told["control"] == {"kind": "random-init", "seed": 1} and "random initialisation, seed 1" in told["model"]
    assert told["checkpoint"]["digest"] == random_init_like(checkpoint, 1).digest
    assert caches[0].genes.symbol == extract(checkpoint, cells, tmp_path / "f").genes.symbol


def test_shuffled_genes_are_exchanged_only_among_genes_of_like_detection():
    detection = np.random.default_rng(0).random(2000)
    permutation = permuted_within_detection(detection, 0)
    np.testing.assert_array_equal(np.sort(permutation), np.arange(2000))
    assert np.abs(detection[permutation] - detection).max() < 0.06
    assert (permutation != np.arange(2000)).mean() > 0.95
    assert not np.array_equal(permutation, permuted_within_detection(detection, 1))
    np.testing.assert_array_equal(permutation, permuted_within_detection(detection, 0))


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_few_genes_are_permuted_as_well(n):
    np.testing.assert_array_equal(np.sort(permuted_within_detection(np.linspace(0, 1, n), 3)), np.arange(n))


def test_shuffled_genes_are_the_cells_with_their_columns_renamed(tmp_path):
    checkpoint, cells = tiny_checkpoint(), some_cells(90)
    control = extract(checkpoint, cells, tmp_path / "c", control=Control("shuffled-genes", 2))
    permutation = permuted_within_detection(cells.gene_summary()[1], 2)
    table = np.zeros((90, 40), dtype=int)
    for index in range(90):
        columns, counts = cells.cell(index)
        table[index, columns] = counts
    renamed = cells_from_counts(table, tuple(SYMBOLS[row] for row in permutation), source="test")
    by_hand = extract(checkpoint, renamed, tmp_path / "d")
    place = {symbol: row for row, symbol in enumerate(by_hand.genes.symbol)}
    rows = [place[symbol] for symbol in control.genes.symbol]
    np.testing.assert_allclose(np.stack(control.layers), np.stack(by_hand.layers)[:, rows], atol=1e-6)
    for column in ("n_cells", "mean_expression", "detection"):
        np.testing.assert_allclose(getattr(control.genes, column), getattr(by_hand.genes, column)[rows])
    assert control.genes.symbol == SYMBOLS
