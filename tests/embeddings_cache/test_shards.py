"""Shards, interruptions and full disks: the same bits as one pass, or a sentence."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="extraction runs a torch model")

sys.path.insert(0, str(Path(__file__).parent))

from extraction_world import SYMBOLS, some_cells, tiny_checkpoint  # noqa: E402

from hyposcreen.embeddings_cache import CacheError, list_caches, open_cache  # noqa: E402
from hyposcreen.embeddings_cache.extract import Settings, extract, extract_shard, merge  # noqa: E402
from hyposcreen.embeddings_cache.recipes import RECIPES  # noqa: E402
from hyposcreen.embeddings_cache.shards import Shard, find_shards, held  # noqa: E402

HERE = Path(__file__).parent


def contents(cache):
    """Every file's bytes except the manifest, and the manifest without its name."""
    files = {path.name: path.read_bytes() for path in cache.path.iterdir() if path.name != "manifest.json"}
    return files, {key: value for key, value in cache.manifest.items() if key != "name"}


@pytest.mark.parametrize("recipe", ["official", "official-seeded", "paper-2602.22247"])
def test_four_shards_merge_to_the_bits_of_one_pass(tmp_path, recipe):
    checkpoint, cells = tiny_checkpoint(), some_cells()
    settings = Settings(recipe=RECIPES[recipe], seed=5, attention=SYMBOLS[:3])
    whole = extract(checkpoint, cells, tmp_path / "whole", recipe=recipe, seed=5, attention=SYMBOLS[:3])
    for number in (3, 1, 4, 2):
        extract_shard(checkpoint, cells, tmp_path / "c", Shard(number, 4), settings)
    assert [path.name for path in find_shards(tmp_path / "c")] == [f"c.shard-{i}-of-4" for i in (1, 2, 3, 4)]
    assert contents(merge(tmp_path / "c")) == contents(whole)
    backwards = merge(tmp_path / "d", find_shards(tmp_path / "c")[::-1])
    assert backwards.digest == whole.digest and contents(backwards) == contents(whole)


def test_more_shards_than_blocks(tmp_path):
    checkpoint, cells = tiny_checkpoint(), some_cells(100)  # two blocks
    for number in (1, 2, 3):
        extract_shard(checkpoint, cells, tmp_path / "c", Shard(number, 3), Settings())
    assert merge(tmp_path / "c").digest == extract(checkpoint, cells, tmp_path / "whole").digest


def test_shards_are_no_caches(tmp_path):
    store = tmp_path / "embeddings_cache" / "store"
    extract_shard(tiny_checkpoint(), some_cells(80), store / "c", Shard(1, 2), Settings())
    assert list_caches(tmp_path) == []


@pytest.fixture
def two_shards(tmp_path):
    for number in (1, 2):
        extract_shard(tiny_checkpoint(), some_cells(200), tmp_path / "c", Shard(number, 2), Settings())
    return tmp_path / "c"


def test_shards_that_do_not_make_a_whole_are_refused(tmp_path, two_shards):
    with pytest.raises(CacheError, match="is there twice"):
        merge(two_shards, [*find_shards(two_shards), find_shards(two_shards)[0]])
    with pytest.raises(CacheError, match=r"lacks shard 2/2: extract it"):
        merge(two_shards, find_shards(two_shards)[:1])
    with pytest.raises(CacheError, match="holds no shard of 'other'"):
        merge(tmp_path / "other")
    extract_shard(tiny_checkpoint(), some_cells(200), tmp_path / "e", Shard(2, 3), Settings())
    with pytest.raises(CacheError, match=r"one of 3 shards and .* one of 2"):
        merge(two_shards, [find_shards(two_shards)[0], *find_shards(tmp_path / "e")])


@pytest.mark.parametrize(
    ("other", "differs"),
    [
        ({"cells": some_cells(200, seed=1)}, "data"),
        ({"checkpoint": tiny_checkpoint(seed=4)}, "checkpoint"),
        ({"settings": Settings(seed=1)}, "seed"),
        ({"settings": Settings(recipe=RECIPES["paper-2602.22247"])}, "recipe"),
    ],
)
def test_shards_of_other_inputs_are_refused(tmp_path, two_shards, other, differs):
    inputs = {"checkpoint": tiny_checkpoint(), "cells": some_cells(200), "settings": Settings(), **other}
    place, checkpoint, cells, settings = tmp_path / "o", *inputs.values()
    extract_shard(checkpoint, cells, place, Shard(2, 2), settings)
    with pytest.raises(CacheError, match=rf"made from other inputs than .* \({differs}\)"):
        merge(two_shards, [find_shards(two_shards)[0], *find_shards(place)])


def test_a_changed_shard_is_refused(two_shards):
    file = find_shards(two_shards)[1] / "states.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(CacheError, match=r"states\.npy differs from the sha256"):
        merge(two_shards)
    (file.parent / "part.json").write_text("{")
    with pytest.raises(CacheError, match="cannot be read as a part"):
        merge(two_shards)


@pytest.mark.parametrize("text", ["2", "0/4", "5/4", "a/b", "1/0", "-1/4"])
def test_bad_shards_are_named(text):
    with pytest.raises(CacheError, match="write i/n"):
        Shard.parse(text)
    assert Shard.parse("2/4") == Shard(2, 4)


CHILD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from extraction_world import some_cells, tiny_checkpoint
from hyposcreen.embeddings_cache.extract import extract
from pathlib import Path
slow = lambda done, total: (time.sleep(0.02), print(done, flush=True))
extract(tiny_checkpoint(), some_cells(), Path(sys.argv[2]), progress=slow, snapshot_seconds=0.0)
"""


def test_kill_nine_and_resume_gives_the_same_bits(tmp_path):
    whole = extract(tiny_checkpoint(), some_cells(), tmp_path / "whole")
    for patience in (120, 250):  # cells done when the plug is pulled, twice
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(HERE), str(tmp_path / "c")], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        first = next(child.stdout)
        assert patience == 120 or int(first) > 64  # the second run goes on, it does not begin again
        while int(child.stdout.readline()) < patience:
            pass
        child.kill()
        assert child.wait() == -signal.SIGKILL
        assert not (tmp_path / "c").exists()
    seen = []
    resumed = extract(tiny_checkpoint(), some_cells(), tmp_path / "c", progress=lambda done, _: seen.append(done))
    assert seen[0] > 128 and seen[-1] == 500
    assert contents(resumed) == contents(whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "whole"]


def test_a_snapshot_of_other_inputs_is_not_continued(tmp_path):
    class StopError(Exception):
        pass

    def stop(done, total):
        if done > 150:
            raise StopError

    with pytest.raises(StopError):
        extract(tiny_checkpoint(), some_cells(), tmp_path / "c", progress=stop, snapshot_seconds=0.0)
    with pytest.raises(CacheError, match=r"unfinished extraction of other inputs: remove it"):
        extract(tiny_checkpoint(), some_cells(), tmp_path / "c", seed=1)
    assert extract(tiny_checkpoint(), some_cells(), tmp_path / "c").n_genes == 40


def test_a_writer_killed_between_two_renames_loses_nothing(tmp_path):
    def stop(done, total):
        if done > 150:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(tiny_checkpoint(), some_cells(), tmp_path / "c", progress=stop, snapshot_seconds=0.0)
    snapshot = tmp_path / ".c.unfinished"
    snapshot.rename(tmp_path / ".c.unfinished.old")
    (tmp_path / ".c.unfinished.new").mkdir()
    seen = []
    extract(tiny_checkpoint(), some_cells(), tmp_path / "c", progress=lambda done, _: seen.append(done))
    assert seen[0] > 128 and [path.name for path in tmp_path.iterdir()] == ["c"]


def test_two_processes_do_not_extract_the_same_cache(tmp_path):
    with held(tmp_path / ".c.unfinished"), pytest.raises(CacheError, match="being extracted by another process"):
        extract(tiny_checkpoint(), some_cells(80), tmp_path / "c")
    extract(tiny_checkpoint(), some_cells(80), tmp_path / "c")


FULL = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from extraction_world import some_cells, tiny_checkpoint
from hyposcreen.embeddings_cache import CacheError
from hyposcreen.embeddings_cache.extract import extract
checkpoint, cells = tiny_checkpoint(), some_cells()
extract(checkpoint, cells, sys.argv[4])  # compiled once before: the limit would stop numba's cache, too
resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))  # a write beyond it fails as on a full disk
try:
    extract(checkpoint, cells, sys.argv[2], snapshot_seconds=float(sys.argv[3]))
except CacheError as error:
    print(error)
"""


@pytest.mark.parametrize("snapshot_seconds", ["0", "60"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, snapshot_seconds):
    place = tmp_path / "place"
    place.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(HERE), str(place / "c"), snapshot_seconds, str(tmp_path / "warm")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "could not be written" in done.stdout and "make room or choose another place" in done.stdout
    assert list(place.iterdir()) == []


def test_variance_and_halves_are_those_of_the_states(tmp_path):
    checkpoint, cells = tiny_checkpoint(), some_cells(150)
    cache = extract(checkpoint, cells, tmp_path / "c")
    n = np.asarray(cache.extra("half_n_cells"))
    np.testing.assert_array_equal(n.sum(axis=0), cache.genes.n_cells)
    assert 0.3 < n[0].sum() / n.sum() < 0.7
    both = np.nan_to_num(cache.extra("half_0")) * n[0][:, None] + np.nan_to_num(cache.extra("half_1")) * n[1][:, None]
    mean = both / np.maximum(n.sum(axis=0), 1)[:, None]
    seen = cache.genes.n_cells > 0
    np.testing.assert_allclose(mean[:, seen], np.stack(cache.layers)[:, seen], atol=1e-5)
    # One gene in full: every state of it, cell by cell.
    from hyposcreen.embeddings_cache.reading import make_reader

    reader = make_reader(checkpoint.vocab, cells, RECIPES["official"], 0, model="tiny")
    states = []
    for index in range(cells.n_cells):
        tokens = reader.sequence(index)
        if tokens is not None and 8 in tokens.genes:
            with torch.no_grad():
                all_states = checkpoint.encoder.states(
                    torch.from_numpy(tokens.ids)[None], torch.from_numpy(tokens.values)[None]
                )
            at = int(np.flatnonzero(tokens.genes == 8)[0])
            states.append([state[0, at].double().numpy() for state in all_states])
    by_hand = np.array(states).var(axis=0, ddof=1).sum(axis=1)
    np.testing.assert_allclose(cache.extra("var_trace")[:, 8], by_hand, rtol=1e-4)
    assert np.isnan(cache.extra("var_trace")[:, 4]).all()
    bare = extract(checkpoint, cells, tmp_path / "bare", halves=False)
    assert bare.extras == ("var_trace",) and bare.digest == cache.digest


def test_reliability_is_the_cosine_of_centred_halves(tmp_path):
    cache = extract(tiny_checkpoint(), some_cells(150), tmp_path / "c")
    first, second = (np.asarray(cache.extra(name), dtype=float)[2] for name in ("half_0", "half_1"))
    both = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    a, b = (half[both] - half[both].mean(axis=0) for half in (first, second))
    cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(cache.extra("reliability")[2][both], cosine, atol=1e-9)


def test_inputs_name_the_extraction_before_it_is_made(tmp_path):
    checkpoint, cells = tiny_checkpoint(), some_cells(80)
    told = [
        extract(checkpoint, cells, tmp_path / name, **options).manifest["provenance"]["inputs"]
        for name, options in (("a", {}), ("b", {}), ("c", {"seed": 1}), ("d", {"recipe": "paper-2602.22247"}))
    ]
    assert told[0] == told[1] and len(set(told)) == 3


def test_bfloat16_is_near_and_says_so(tmp_path):
    checkpoint, cells = tiny_checkpoint(), some_cells(80)
    strict = extract(checkpoint, cells, tmp_path / "a")
    half = extract(checkpoint, cells, tmp_path / "b", dtype="bfloat16")
    assert half.manifest["provenance"]["dtype"] == "bfloat16" and half.digest != strict.digest
    for ours, theirs in zip(half.layers, strict.layers, strict=True):
        assert np.nanmax(np.abs(ours - theirs)) < 0.1


def test_unknown_choices_and_absent_gpus_are_named(tmp_path):
    checkpoint, cells = tiny_checkpoint(), some_cells(20)
    with pytest.raises(CacheError, match="device 'tpu' is unknown: choose one of auto, cpu, cuda"):
        extract(checkpoint, cells, tmp_path / "c", device="tpu")
    with pytest.raises(CacheError, match="dtype 'float16' is unknown: choose one of float32, bfloat16"):
        extract(checkpoint, cells, tmp_path / "c", dtype="float16")
    if not torch.cuda.is_available():
        with pytest.raises(CacheError, match="torch sees no GPU"):
            extract(checkpoint, cells, tmp_path / "c", device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU at hand")
def test_gpu_and_cpu_agree_and_the_gpu_repeats_itself(tmp_path):
    checkpoint, cells = tiny_checkpoint(), some_cells()
    cpu = extract(checkpoint, cells, tmp_path / "cpu", device="cpu")
    gpu = [extract(checkpoint, cells, tmp_path / f"gpu{i}", device="cuda") for i in (0, 1)]
    assert gpu[0].digest == gpu[1].digest
    for ours, theirs in zip(gpu[0].layers, cpu.layers, strict=True):
        assert np.nanmax(np.abs(ours - theirs)) < 1e-4


def test_reading_stays_ahead_without_reading_everything(tmp_path):
    """The next block is tokenised while this one runs; the one after it is not touched yet."""
    cells, touched = some_cells(), []

    class Watched:
        def __getattr__(self, name):
            return getattr(cells, name)

        def cell(self, index):
            touched.append(index)
            return cells.cell(index)

    ahead = []
    extract(tiny_checkpoint(), Watched(), tmp_path / "c", progress=lambda done, _: ahead.append(max(touched) - done))
    assert max(ahead) <= 2 * 64


def test_manifest_is_plain_json(tmp_path):
    cache = extract(tiny_checkpoint(), some_cells(80), tmp_path / "c")
    again = json.loads((cache.path / "manifest.json").read_text())
    assert again["provenance"] == cache.manifest["provenance"] == open_cache(cache.path).manifest["provenance"]
