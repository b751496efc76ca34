"""Every way a cache goes wrong in practice is planted in the demo and named; the clean demo passes without a word."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hyposcreen.embeddings_cache.genes import GeneTable
from hyposcreen.embeddings_cache.preflight import PreflightReport, preflight
from hyposcreen.embeddings_cache.store import SHIPPED, Cache, open_cache


@pytest.fixture(scope="module")
def demo() -> Cache:
    return open_cache(SHIPPED["demo"])


@pytest.fixture
def layers(demo: Cache) -> list[Any]:
    """Arrays that a test may spoil."""
    return [np.array(layer) for layer in demo.layers]


def renamed(genes: GeneTable, order: Sequence[int], *, expression: bool) -> GeneTable:
    """The same rows under the names of other genes; expression, where known, is that of the name."""
    mean = genes.mean_expression[list(order)] if expression else np.zeros(len(genes))
    return replace(genes, symbol=tuple(genes.symbol[i] for i in order), mean_expression=mean)


def one_line_lost(n: int, line: int) -> list[int]:
    """The order of a list that lost a line and had it put back at its end."""
    return [*range(line), *range(line + 1, n), line]


def only_warning(report: PreflightReport) -> str:
    assert report.errors == ()
    (warning,) = report.warnings
    return warning


def test_the_clean_demo_passes_silently(demo: Cache) -> None:
    assert (demo.report.errors, demo.report.warnings) == ((), ())
    assert [reason for _, _, reason in demo.report.masked] == ["fewer than 5 cells"] * 2
    without = preflight(demo.layers, replace(demo.genes, mean_expression=np.zeros(demo.n_genes)))
    assert (without.errors, without.warnings) == ((), ())


def test_a_subset_of_the_demo_passes_silently(demo: Cache) -> None:
    rows = np.flatnonzero(demo.genes.usable)[::2]
    g = demo.genes
    part = GeneTable(
        tuple(g.symbol[r] for r in rows), g.n_cells[rows], g.mean_expression[rows], g.detection[rows], g.norm[rows],
        ("",) * len(rows),
    )  # fmt: skip
    report = preflight([layer[rows, :16] for layer in demo.layers[:3]], part)
    assert (report.errors, report.warnings) == ((), ())


def test_rows_that_say_nothing_are_masked_by_name(demo: Cache, layers: list[Any]) -> None:
    layers[0][10] = 0.0
    layers[2][20] = 1.5
    layers[3][31] = layers[3][30]
    found = {row: reason for row, _, reason in preflight(layers, demo.genes).masked}
    assert found[10] == "zero row in layer 0"
    assert found[20] == "constant row in layer 2"
    assert found[31] == "duplicate row of 30 in layer 3"
    assert len(found) == 5


def test_a_constant_column_is_named(demo: Cache, layers: list[Any]) -> None:
    layers[1][:, 7] = 0.25
    layers[1][:, 9] = 0.0
    warning = only_warning(preflight(layers, demo.genes))
    assert "column 7 of layer 1 has one value for every gene (2 such columns)" in warning


def test_not_a_number_and_float16_overflow_are_told_apart(demo: Cache, layers: list[Any]) -> None:
    symbol = demo.genes.symbol[40]
    layers[2][40, 3] = np.nan
    (error,) = preflight(layers, demo.genes).errors
    assert f"layer 2 is not finite for gene '{symbol}'" in error and "float16" not in error
    layers[2][40, 3] = np.float32(np.inf)
    (error,) = preflight(layers, demo.genes).errors
    assert "float16 overflows beyond 65,504" in error


def test_values_clipped_at_the_end_of_float16_are_named(demo: Cache, layers: list[Any]) -> None:
    layers[4][12, 5] = 65504.0
    assert "layer 4 holds the value 65504, where float16 ends" in only_warning(preflight(layers, demo.genes))


@pytest.mark.parametrize("expression", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_a_shuffled_gene_list_is_named(demo: Cache, expression: bool, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(demo.n_genes).tolist()
    warning = only_warning(preflight(demo.layers, renamed(demo.genes, order, expression=expression)))
    assert "so does a gene list in another order" in warning
    assert ("expression" in warning) == expression


@pytest.mark.parametrize("expression", [True, False])
@pytest.mark.parametrize("line", [0, 100, 300])
def test_a_list_that_is_off_by_one_is_named_with_the_row(demo: Cache, expression: bool, line: int) -> None:
    order = one_line_lost(demo.n_genes, line)
    report = preflight(demo.layers, renamed(demo.genes, order, expression=expression))
    (warning,) = [w for w in report.warnings if "off by one" in w]
    assert "moved by +1" in warning
    assert abs(int(warning.split("row ")[1].split()[0]) - line) < 100


def test_a_late_shift_needs_expression_to_be_seen(demo: Cache) -> None:
    order = one_line_lost(demo.n_genes, 600)
    warning = only_warning(preflight(demo.layers, renamed(demo.genes, order, expression=True)))
    assert "expression fits the rows, but not around row 64" in warning


def test_layers_in_different_gene_orders_are_refused(demo: Cache, layers: list[Any]) -> None:
    layers[3] = layers[3][np.random.default_rng(0).permutation(demo.n_genes)]
    errors = preflight(layers, demo.genes).errors
    assert len(errors) == 2
    assert "layers 2 and 3 have nothing in common gene by gene" in errors[0]
    assert "layers 3 and 4 have nothing in common" in errors[1]


def test_a_layer_that_lost_a_row_is_refused_with_the_row(demo: Cache, layers: list[Any]) -> None:
    layers[4] = layers[4][one_line_lost(demo.n_genes, 200)]
    (error,) = preflight(layers, demo.genes).errors
    row = int(error.split("row ")[1].split()[0])
    assert "layers 3 and 4 agree gene by gene, but not around" in error and 180 <= row <= 280


def test_duplicated_and_blank_symbols_are_refused(demo: Cache) -> None:
    twice = replace(demo.genes, symbol=(*demo.genes.symbol[:-1], demo.genes.symbol[0]))
    assert "gene 'HES4' names several rows" in preflight(demo.layers, twice).errors[0]
    blank = replace(demo.genes, symbol=("", *demo.genes.symbol[1:]))
    assert "row 0 has a blank gene symbol" in preflight(demo.layers, blank).errors[0]


def test_an_untrained_model_is_called_one(demo: Cache) -> None:
    control = open_cache(SHIPPED["demo-random-init"])
    assert "an untrained model looks like this" in only_warning(control.report)
    assert "Look again: neither expression nor the family" in control.report.summary()
    assert control.report.mask_reasons() == demo.report.mask_reasons()


def test_few_genes_are_not_judged(demo: Cache) -> None:
    rows = np.flatnonzero(demo.genes.usable)[:60]
    g = demo.genes
    few = GeneTable(
        tuple(g.symbol[r] for r in rows[::-1]), g.n_cells[rows], g.mean_expression[rows], g.detection[rows], g.norm[rows],
        ("",) * len(rows),
    )  # fmt: skip
    report = preflight([layer[rows] for layer in demo.layers], few)
    assert (report.errors, report.warnings) == ((), ())
    assert "With 60 usable genes, names cannot be compared with rows." in report.summary()
