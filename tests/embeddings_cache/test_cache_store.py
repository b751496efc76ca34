"""A cache is written whole or not at all, and opened only when it is what was written."""

import json
import subprocess
import sys

import numpy as np
import pytest

from hyposcreen.embeddings_cache import CacheError, GeneTable, cache_digest, find_cache, list_caches, open_cache
from hyposcreen.embeddings_cache import store as store_module
from hyposcreen.embeddings_cache.store import write_cache


def small_table(n=6, unobserved=()):
    counts = np.full(n, 9)
    counts[list(unobserved)] = 0
    return GeneTable(
        symbol=tuple(f"G{i}X" for i in range(n)),
        n_cells=counts.astype(np.int64),
        mean_expression=np.linspace(0.1, 1 / 3, n),
        detection=np.linspace(0.0, 1.0, n) ** 3,
        norm=np.sqrt(np.arange(n) + 1.0),
        mask_reason=("",) * n,
    )


def small_layers(n=6, dim=4, count=3):
    rng = np.random.default_rng(7)
    return [rng.normal(size=(n, dim)).astype(np.float32) for _ in range(count)]


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "embeddings_cache" / "store" / "mine"
    return write_cache(path, layers=small_layers(), genes=small_table(), manifest={"model": "none", "seed": 3})


def rewrite_manifest(path, **changes):
    file = path / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_what_was_written_is_read_back_bit_for_bit(written):
    again = open_cache(written.path)
    for stored, given in zip(again.layers, small_layers(), strict=True):
        assert stored.tobytes() == given.tobytes()
    table = small_table()
    assert again.genes.symbol == table.symbol
    for column in ("n_cells", "mean_expression", "detection", "norm"):
        assert getattr(again.genes, column).tobytes() == getattr(table, column).tobytes()
    assert again.digest == written.digest == cache_digest(small_layers(), table.symbol)
    assert (again.n_layers, again.n_genes, again.dim, again.name) == (3, 6, 4, "mine")
    assert again.manifest["provenance"] == {"model": "none", "seed": 3}


def test_a_verified_cache_opens_with_the_masks_that_were_written(tmp_path):
    layers = small_layers()
    layers[1][3] = 0.0
    written = write_cache(tmp_path / "c", layers=layers, genes=small_table(unobserved=[1]), manifest={})
    again = open_cache(written.path, verify=False)
    assert (
        again.genes.mask_reason == written.genes.mask_reason == ("", "never sampled", "", "zero row in layer 1", "", "")
    )
    assert again.report.masked == written.report.masked


def test_layers_are_memory_mapped_and_read_only(written):
    assert isinstance(written.layers[0], np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        written.layers[0][0, 0] = 1.0


def test_unobserved_genes_are_missing_never_zero(tmp_path):
    layers = small_layers()
    for layer in layers:
        layer[2] = 0.0
    cache = write_cache(tmp_path / "c", layers=layers, genes=small_table(unobserved=[2]), manifest={})
    assert all(np.isnan(layer[2]).all() for layer in cache.layers)
    assert cache.genes.mask_reason[2] == "never sampled"
    assert list(cache.genes.usable) == [True, True, False, True, True, True]


def test_caller_arrays_are_left_alone(tmp_path):
    layers = small_layers()
    before = [layer.copy() for layer in layers]
    write_cache(tmp_path / "c", layers=layers, genes=small_table(unobserved=[1]), manifest={})
    assert all((a == b).all() for a, b in zip(layers, before, strict=True))


def test_digest_sees_values_order_of_genes_and_shape():
    layers, symbols = small_layers(), [f"G{i}X" for i in range(6)]
    digest = cache_digest(layers, symbols)
    changed = [layer.copy() for layer in layers]
    changed[1][0, 0] = np.nextafter(changed[1][0, 0], np.float32(9))
    assert cache_digest(changed, symbols) != digest
    assert cache_digest(layers, symbols[::-1]) != digest
    assert cache_digest([layer.reshape(4, 6) for layer in layers], symbols) != digest
    assert cache_digest(layers[::-1], symbols) != digest
    assert cache_digest([np.asfortranarray(layer) for layer in layers], symbols) == digest


@pytest.mark.parametrize("file", ["layer_01.npy", "genes.tsv", "manifest.json"])
def test_missing_file_is_named(written, file):
    (written.path / file).unlink()
    with pytest.raises(CacheError, match=rf"{file} is missing"):
        open_cache(written.path)


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(CacheError, match="nowhere is no cache folder"):
        open_cache(tmp_path / "nowhere")


@pytest.mark.parametrize("keep", [0, 40, 150])
@pytest.mark.parametrize("verify", [True, False])
def test_truncated_array_is_refused_even_unverified(written, keep, verify):
    file = written.path / "layer_02.npy"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(CacheError, match=r"layer_02\.npy is truncated or no array file"):
        open_cache(written.path, verify=verify)


@pytest.mark.parametrize("file", ["layer_00.npy", "genes.tsv"])
def test_changed_byte_is_refused(written, file):
    path = written.path / file
    content = bytearray(path.read_bytes())
    where = -2 if file.endswith("npy") else content.index(b"0.1")
    content[where] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CacheError, match=rf"{file} differs from the sha256"):
        open_cache(written.path)


def test_edited_manifest_cannot_claim_another_digest(written):
    rewrite_manifest(written.path, digest="0" * 64)
    with pytest.raises(CacheError, match="content digest that the arrays do not have"):
        open_cache(written.path)


def test_manifest_cannot_drop_a_layer_unnoticed(written):
    rewrite_manifest(written.path, n_layers=2)
    with pytest.raises(CacheError, match="content digest"):
        open_cache(written.path)


def test_newer_schema_asks_for_an_upgrade(written):
    rewrite_manifest(written.path, schema=99)
    with pytest.raises(CacheError, match=r"schema 99.*upgrade"):
        open_cache(written.path)


def test_broken_manifest_is_named(written):
    (written.path / "manifest.json").write_text("{")
    with pytest.raises(CacheError, match=r"manifest\.json is not valid JSON"):
        open_cache(written.path)


def test_array_of_another_type_is_refused(written):
    np.save(written.path / "layer_00.npy", small_layers()[0].astype(np.float64))
    with pytest.raises(CacheError, match="holds float64 where float32"):
        open_cache(written.path)


def test_existing_folder_is_not_overwritten(written):
    with pytest.raises(CacheError, match="exists already"):
        write_cache(written.path, layers=small_layers(), genes=small_table(), manifest={})


def test_unsound_arrays_are_not_written(tmp_path):
    layers = small_layers()
    layers[1][3, 0] = np.inf
    with pytest.raises(CacheError, match="not finite for gene 'G3X'"):
        write_cache(tmp_path / "c", layers=layers, genes=small_table(), manifest={})
    assert list(tmp_path.iterdir()) == []


def test_failure_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def fails(path):
        raise OSError("disk full")

    monkeypatch.setattr(store_module, "_file_sha256", fails)
    with pytest.raises(CacheError, match=r"c could not be written \(disk full\): make room"):
        write_cache(tmp_path / "c", layers=small_layers(), genes=small_table(), manifest={})
    assert list(tmp_path.iterdir()) == []


def test_optional_arrays_come_back_and_change_no_digest(tmp_path, written):
    extras = {"var_trace": np.arange(18.0).reshape(3, 6), "half_n_cells": np.arange(12).reshape(2, 6)}
    inputs = {"layers": small_layers(), "genes": small_table(), "manifest": {}}
    rich = write_cache(tmp_path / "rich", **inputs, extras=extras)
    assert rich.digest == written.digest and written.extras == ()
    assert rich.extras == ("half_n_cells", "var_trace")
    for name, array in extras.items():
        assert isinstance(rich.extra(name), np.memmap)
        np.testing.assert_array_equal(rich.extra(name), array)
    with pytest.raises(CacheError, match=r"no array 'attention' \(it has half_n_cells, var_trace\): extract"):
        rich.extra("attention")


def test_changed_or_missing_optional_array_is_refused(tmp_path):
    inputs = {"layers": small_layers(), "genes": small_table(), "manifest": {}}
    file = write_cache(tmp_path / "rich", **inputs, extras={"var_trace": np.ones(3)}).path / "var_trace.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(CacheError, match=r"var_trace\.npy differs"):
        open_cache(file.parent)
    file.unlink()
    with pytest.raises(CacheError, match=r"var_trace\.npy is missing"):
        open_cache(file.parent)


def test_full_disk_is_one_sentence_and_leaves_nothing(tmp_path):
    code = (
        "import resource, sys; from hyposcreen.embeddings_cache import CacheError, write_cache, open_cache, find_cache\n"
        "c = open_cache(find_cache('demo', '.')); resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: write_cache(sys.argv[1] + '/c', layers=c.layers, genes=c.genes, manifest={})\n"
        "except CacheError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "could not be written" in done.stdout and "make room" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_folder_left_by_a_killed_writer_is_ignored(tmp_path, written):
    store = written.path.parent
    (store / ".other.partial-0a1b2c3d").mkdir()
    (store / ".other.partial-0a1b2c3d" / "manifest.json").write_text("{}")
    (store / "empty").mkdir()
    assert list_caches(tmp_path) == [written.path]
    again = write_cache(store / "other", layers=small_layers(), genes=small_table(), manifest={})
    assert list_caches(tmp_path) == [written.path, again.path]


def test_cache_is_found_by_name_and_by_path(tmp_path, written):
    assert find_cache("mine", tmp_path) == written.path
    assert find_cache(written.path, tmp_path / "elsewhere") == written.path
    assert find_cache("demo", tmp_path).name == "cache"


def test_unknown_name_lists_what_exists(tmp_path, written):
    with pytest.raises(
        CacheError, match="no cache 'typo': choose one of demo, demo-random-init, demo-random-init-1, mine"
    ):
        find_cache("typo", tmp_path)


def test_gene_table_refuses_columns_of_different_length():
    with pytest.raises(CacheError, match="'n_cells' has 2 entries for 3 symbols"):
        GeneTable(("A", "B", "C"), np.ones(2, dtype=np.int64), np.ones(3), np.ones(3), np.ones(3), ("", "", ""))


def test_shipped_demo_opens_and_is_sound(tmp_path):
    for name in store_module.SHIPPED:
        cache = open_cache(find_cache(name, tmp_path))
        assert cache.name == name
        assert (cache.n_layers, cache.n_genes, cache.dim) == (5, 765, 64)
        assert cache.genes.usable.sum() == 763
        assert np.isfinite(cache.layers[-1][cache.genes.usable]).all()
