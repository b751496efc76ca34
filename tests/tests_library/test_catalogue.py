"""The catalogue declares; ``prepare`` does: the two may never disagree."""

import numpy as np
import pytest

from hyposcreen.tests_library.catalogue import (
    CATALOGUE,
    coordinate_options,
    layer_options,
    n_views,
    scanned_views,
)

by_name = pytest.mark.parametrize("kind", CATALOGUE.values(), ids=lambda kind: kind.name)


@by_name
@pytest.mark.parametrize(("n_layers", "dim"), [(2, 12), (3, 6), (4, 8), (5, 10), (13, 12)])
def test_prepare_returns_exactly_the_declared_views(kind, n_layers, dim, world, entity_of):
    w = world(rows=40, dim=dim, n_layers=n_layers)
    e = entity_of(kind, w, np.random.default_rng(0))
    declared = scanned_views(kind, n_layers, w.geometry.n_axes, "all", "all")
    prepared = kind.prepare(w.geometry, e)
    assert set(prepared.views) == declared
    assert len(prepared.views) == len(declared) == n_views(kind, n_layers, w.geometry.n_axes)
    assert prepared.scale.shape == prepared.offset.shape == (len(declared),)
    assert np.isfinite(prepared.scale).all()
    totals = prepared.sums(np.stack([np.arange(40)] * 3).astype(np.int32))
    assert totals.shape == (3, len(declared))
    assert totals.dtype == np.int64


@by_name
@pytest.mark.parametrize(("n_layers", "n_axes"), [(2, 4), (3, 7), (6, 10), (13, 10)])
def test_every_option_scans_a_part_of_the_full_scan(kind, n_layers, n_axes):
    full = scanned_views(kind, n_layers, n_axes, "all", "all")
    layers, coordinates = layer_options(kind, n_layers), coordinate_options(kind, n_layers, n_axes)
    assert next(iter(layers)) == next(iter(coordinates)) == "all"
    seen = set()
    for q in layers:
        for c in coordinates:
            views = scanned_views(kind, n_layers, n_axes, q, c)
            assert len(views) == len(layers[q]) * len(coordinates[c])
            assert views <= full
            if views:
                assert (q, c) == ("all", "all") or views != full or len(layers) == 1 or len(coordinates) == 1
            seen.add(views)
    assert full in seen


def test_bands_split_layers_and_axes_in_two():
    kind = CATALOGUE["axis_separation"]
    layers = layer_options(kind, 13)
    assert layers["early"] == tuple(f"L{q}" for q in range(6))
    assert layers["late"] == tuple(f"L{q}" for q in range(7, 13))
    assert "early" not in layer_options(kind, 3)
    axes = coordinate_options(kind, 13, 10)
    assert axes["SV1-5"] + axes["SV6-10"] == axes["all"] == tuple(f"SV{k}" for k in range(1, 11))
    poles = coordinate_options(CATALOGUE["pole_enrichment"], 13, 10)
    assert set(poles["SV1-5"]) == {f"SV{k}{s}" for k in range(1, 6) for s in "+-"}
    assert set(poles["SV1-5"]) | set(poles["SV6-10"]) == set(poles["all"])


@by_name
def test_an_unknown_option_is_named_with_the_choices(kind):
    with pytest.raises(ValueError, match=rf"'L99'.*all.*{kind.name}"):
        scanned_views(kind, 6, 10, "L99", "all")
    with pytest.raises(ValueError, match=rf"'SV99'.*all.*{kind.name}"):
        scanned_views(kind, 6, 10, "all", "SV99")


@by_name
def test_every_declaration_says_what_a_reader_needs(kind):
    assert CATALOGUE[kind.name] is kind
    for text in (kind.family, kind.effect_unit, kind.formula, kind.null_preserves, kind.assumes, kind.source):
        assert text.strip()
    assert kind.asks.endswith("?")
    assert kind.min_size >= 5


@by_name
def test_one_layer_offers_everything_but_contrasts(kind, world, entity_of):
    w = world(rows=40, n_layers=1)
    views = scanned_views(kind, 1, 10, "all", "all")
    if kind.coordinates.spans:
        assert not views
    else:
        assert set(kind.prepare(w.geometry, entity_of(kind, w, np.random.default_rng(0))).views) == views
