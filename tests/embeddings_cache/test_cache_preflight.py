"""Every fault of a cache is masked and listed, or refused in a sentence."""

import numpy as np
import pytest

from hyposcreen.embeddings_cache import GeneTable
from hyposcreen.embeddings_cache.preflight import participation_ratio, preflight


def table(symbols, n_cells=None, reasons=None):
    n = len(symbols)
    return GeneTable(
        symbol=tuple(symbols),
        n_cells=np.full(n, 5, dtype=np.int64) if n_cells is None else np.asarray(n_cells, dtype=np.int64),
        mean_expression=np.ones(n),
        detection=np.ones(n),
        norm=np.ones(n),
        mask_reason=("",) * n if reasons is None else tuple(reasons),
    )


@pytest.fixture
def layers():
    rng = np.random.default_rng(1)
    return [rng.normal(size=(6, 5)).astype(np.float32) for _ in range(2)]


SYMBOLS = ["AA", "BB", "CC", "DD", "EE", "FF"]


def test_sound_cache_has_nothing_to_report(layers):
    report = preflight(layers, table(SYMBOLS))
    assert report.masked == () and report.errors == ()
    assert report.summary().startswith("6 of 6 genes can be tested.")
    assert len(report.effective_dimension) == 2


def test_zero_constant_and_duplicate_rows_are_masked_with_their_layer(layers):
    layers[0][1] = 0.0
    layers[1][3] = 2.5
    layers[1][5] = layers[1][0]
    report = preflight(layers, table(SYMBOLS))
    assert report.masked == (
        (1, "BB", "zero row in layer 0"),
        (3, "DD", "constant row in layer 1"),
        (5, "FF", "duplicate row of 0 in layer 1"),
    )
    assert report.errors == ()
    assert "Masked, duplicate row: 1 (FF)." in report.summary()


def test_many_equal_rows_keep_only_the_first(layers):
    layers[0][2:] = layers[0][1]
    assert [row for row, _, _ in preflight(layers, table(SYMBOLS)).masked] == [2, 3, 4, 5]


def test_never_sampled_rows_are_masked_and_may_be_missing(layers):
    for layer in layers:
        layer[4] = np.nan
    report = preflight(layers, table(SYMBOLS, n_cells=[5, 5, 5, 5, 0, 5]))
    assert report.masked == ((4, "EE", "never sampled"),) and report.errors == ()
    assert np.isfinite(report.effective_dimension).all()


def test_reasons_of_the_table_are_kept(layers):
    report = preflight(layers, table(SYMBOLS, reasons=["", "fewer than 5 cells", "", "", "", ""]))
    assert report.masked == ((1, "BB", "fewer than 5 cells"),)
    assert report.mask_reasons() == ("", "fewer than 5 cells", "", "", "", "")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_value_of_an_observed_gene_is_an_error(layers, value):
    layers[1][2, 3] = value
    (error,) = preflight(layers, table(SYMBOLS)).errors
    assert "layer 1 is not finite for gene 'CC'" in error


def test_symbols_must_be_unique_and_named(layers):
    errors = preflight(layers, table(["AA", "BB", "AA", " ", "EE", "F\tF"])).errors
    assert len(errors) == 3
    assert any("gene 'AA' names several rows" in error for error in errors)
    assert any("row 3 has a blank gene symbol" in error for error in errors)
    assert any("tab or a line break" in error for error in errors)


def test_layers_must_share_a_shape_and_fit_the_table(layers):
    assert "layer 1 has shape (6, 4)" in preflight([layers[0], layers[1][:, :4]], table(SYMBOLS)).errors[0]
    assert "6 rows but the table names 5" in preflight(layers, table(SYMBOLS[:5])).errors[0]
    assert "no layer" in preflight([], table(SYMBOLS)).errors[0]
    assert "shape (6,)" in preflight([layers[0][:, 0]], table(SYMBOLS)).errors[0]


def test_cache_without_a_usable_gene_is_refused(layers):
    (error,) = preflight(layers, table(SYMBOLS, n_cells=[0] * 6)).errors
    assert "every gene is masked" in error
    assert preflight(layers, table(SYMBOLS, n_cells=[0] * 6)).summary().startswith("This cache cannot be used:")


def test_effective_dimension_counts_the_directions_that_vary():
    rng = np.random.default_rng(0)
    sphere = (rng.normal(size=(20000, 8)) + 3).astype(np.float32)
    assert participation_ratio(sphere) == pytest.approx(8, rel=0.01)
    line = np.outer(np.arange(50.0), np.ones(8)).astype(np.float32)
    assert participation_ratio(line) == pytest.approx(1)


def test_collapsed_layer_is_remarked(layers):
    layers[1] = np.outer(np.arange(1.0, 7.0), [1, 2, 3, 4, 5]).astype(np.float32)
    assert "Layer 1 is nearly one-dimensional" in preflight(layers, table(SYMBOLS)).summary()
