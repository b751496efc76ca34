"""``screen cache extract`` and ``merge`` as their user meets them."""

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="extraction runs a torch model")
anndata = pytest.importorskip("anndata", reason="writes the .h5ad files")
torch.set_num_threads(1)  # tests run beside one another

from hyposcreen.embeddings_cache import find_cache, open_cache  # noqa: E402
from hyposcreen.embeddings_cache.encoder import Architecture  # noqa: E402
from hyposcreen.embeddings_cache.pace import describe, in_words  # noqa: E402
from hyposcreen.embeddings_cache.released_layout import random_release  # noqa: E402

Call = Callable[..., Any]
GENES = tuple(f"GENE{i}X" for i in range(30))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny checkpoint in the released layout and 150 cells."""
    folder = tmp_path_factory.mktemp("inputs")
    random_release(folder / "model", GENES, Architecture(33, 16, 2, 2, 16))
    rng = np.random.default_rng(0)
    data = anndata.AnnData(rng.poisson(rng.uniform(0.3, 2.0, 30), (150, 30)).astype(np.float32))
    data.var_names = list(GENES)
    data.obs["tissue"] = ["blood", "lung", "lung"] * 50
    data.layers["scaled"] = data.X - 0.5
    data.write_h5ad(folder / "cells.h5ad")
    return folder / "model", folder / "cells.h5ad"


def test_from_a_checkpoint_and_an_h5ad_to_a_cache_with_its_controls(
    call: Call, inputs: tuple[Path, Path], tmp_path: Path
) -> None:
    command = ("cache", "extract", "--checkpoint", inputs[0], "--data", inputs[1], "-C", tmp_path, "--quiet")
    done = call(*command)
    assert (done.code, done.err) == (0, "") and "30 of 30 genes can be tested." in done.out
    listed = {row["name"]: row for row in call("cache", "list", "-C", tmp_path, "--json").json}
    names = ["cells", "cells-random-init-0", "cells-random-init-1", "cells-shuffled-genes-0"]
    assert [name for name in listed if not name.startswith("demo")] == names
    assert len({listed[name]["digest"] for name in names}) == 4
    assert listed["cells"]["provenance"]["control"] is None
    assert listed["cells-random-init-1"]["provenance"]["control"] == {"kind": "random-init", "seed": 1}
    before = [(tmp_path / "embeddings_cache/store" / name / "manifest.json").stat().st_mtime_ns for name in names]
    again = call(*command, "--json")  # what is there from the same inputs is kept
    assert again.code == 0 and [row["digest"] for row in again.json] == [listed[name]["digest"] for name in names]
    after = [(tmp_path / "embeddings_cache/store" / name / "manifest.json").stat().st_mtime_ns for name in names]
    assert before == after
    other = call(*command, "--seed", 1)
    assert other.code == 5 and "was made from other inputs: choose another name" in other.err


def test_shards_by_command_merge_to_the_bits_of_one_command(
    call: Call, inputs: tuple[Path, Path], tmp_path: Path
) -> None:
    common = ("--checkpoint", inputs[0], "--data", inputs[1], "--name", "a", "--random-init", 1, "--quiet")
    assert call("cache", "extract", *common, "-C", tmp_path / "whole").code == 0
    early = call("cache", "merge", "a", "-C", tmp_path / "parts")
    assert early.code == 5 and "holds no shard of 'a': extract them with --shard i/n" in early.err
    for share in ("2/2", "1/2"):
        done = call("cache", "extract", *common, "-C", tmp_path / "parts", "--shard", share)
        assert done.code == 0 and "screen cache merge a" in done.out
    merged = call("cache", "merge", "a", "-C", tmp_path / "parts", "--discard", "--json").json
    whole = {row["name"]: row["digest"] for row in call("cache", "list", "-C", tmp_path / "whole", "--json").json}
    assert {row["name"] for row in merged} == {"a", "a-random-init-0", "a-shuffled-genes-0"}
    assert all(row["digest"] == whole[row["name"]] for row in merged)
    assert not list((tmp_path / "parts").rglob("*.shard-*"))


def test_samples_by_group_each_with_its_controls(call: Call, inputs: tuple[Path, Path], tmp_path: Path) -> None:
    done = call(
        "cache", "extract", "--checkpoint", inputs[0], "--data", inputs[1], "-C", tmp_path, "--group-by", "tissue",
        "--cells", 40, "--random-init", 0, "--name", "x", "--no-halves", "--json", "--quiet",
    )  # fmt: skip
    assert [row["name"] for row in done.json] == [
        "x-blood", "x-blood-shuffled-genes-0", "x-lung", "x-lung-shuffled-genes-0",
    ]  # fmt: skip
    assert {row["provenance"]["data"]["n_cells"] for row in done.json} == {40}
    assert done.json[0]["extras"] == ["var_trace"]


def test_attention_between_listed_genes(call: Call, inputs: tuple[Path, Path], tmp_path: Path) -> None:
    genes = tmp_path / "genes.txt"
    genes.write_text("GENE3X\nGENE1X\n")
    command = (
        "cache", "extract", "--checkpoint", inputs[0], "--data", inputs[1], "-C", tmp_path, "--name", "x", "--quiet",
        "--random-init", 0, "--shuffled-genes", 0, "--attention", genes,
    )  # fmt: skip
    assert call(*command).code == 0
    cache = open_cache(find_cache("x", tmp_path))
    assert cache.extra("attention").shape == (2, 2, 2) and np.isfinite(cache.extra("attention")).all()
    genes.write_text("GENE3X\n\nGENE1X\n")
    blank = call(*command[:-1], genes, "--name", "y")
    assert blank.code == 5 and "line 2 is blank" in blank.err


def test_the_paper_recipe_and_seeded_ties(call: Call, inputs: tuple[Path, Path], tmp_path: Path) -> None:
    common = ("cache", "extract", "--checkpoint", inputs[0], "--data", inputs[1], "-C", tmp_path, "--quiet", "--json")
    bare = ("--random-init", 0, "--shuffled-genes", 0)
    paper = call(*common, *bare, "--recipe", "paper-2602.22247", "--name", "p").json[0]
    seeded = call(*common, *bare, "--ties", "seeded", "--name", "s").json[0]
    assert paper["provenance"]["recipe"]["n_bins"] == 0 and seeded["provenance"]["recipe"]["ties"] == "seeded"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ((), "one model is needed: give --checkpoint FOLDER, or --demo"),
        (("--demo", "--checkpoint", "x"), "one model is needed"),
        (("--checkpoint", "MODEL"), "cells are needed: give --data FILE"),
        (("--checkpoint", "none", "--data", "CELLS"), "none/args.json is missing"),
        (("--checkpoint", "MODEL", "--data", "none.h5ad"), "none.h5ad"),
        (("--checkpoint", "MODEL", "--data", "CELLS", "--layer", "scaled"), "scaled or regressed"),
        (("--checkpoint", "MODEL", "--data", "CELLS", "--shard", "3/2"), "write i/n"),
        (("--checkpoint", "MODEL", "--data", "CELLS", "--device", "tpu"), "choose one of auto, cpu, cuda"),
        (("--checkpoint", "MODEL", "--data", "CELLS", "--recipe", "best"), "choose one of official"),
        (("--checkpoint", "MODEL", "--data", "CELLS", "--backend", "jax"), "choose one of hyposcreen, scgpt"),
        (("--checkpoint", "MODEL", "--data", "CELLS", "--name", "demo"), "ships with the package"),
        (("--checkpoint", "MODEL", "--data", "CELLS", "--name", "../x"), "cannot be called '../x'"),
    ],
)
def test_bad_input_is_one_sentence(
    call: Call, inputs: tuple[Path, Path], tmp_path: Path, flags: tuple[str, ...], says: str
) -> None:
    named = [{"MODEL": inputs[0], "CELLS": inputs[1]}.get(flag, flag) for flag in flags]
    done = call("cache", "extract", *named, "-C", tmp_path)
    assert done.code == 5 and says in done.err and "Traceback" not in done.err and done.err.count("\n") == 1
    assert not (tmp_path / "embeddings_cache").exists()


def test_a_checkpoint_with_code_is_refused(call: Call, inputs: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in ("args.json", "vocab.json"):
        (folder / file).write_bytes((inputs[0] / file).read_bytes())
    (folder / "best_model.pt").write_bytes(pickle.dumps({"x": print}, protocol=2))
    done = call("cache", "extract", "--checkpoint", folder, "--data", inputs[1], "-C", tmp_path)
    assert done.code == 5 and "best_model.pt holds pickled code (print)" in done.err


def test_a_wrong_vocabulary_is_told_before_anything_runs(call: Call, inputs: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in ("args.json", "best_model.pt"):
        (folder / file).write_bytes((inputs[0] / file).read_bytes())
    vocab = json.loads((inputs[0] / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps({f"ENSG{k}" if k in GENES else k: v for k, v in vocab.items()}))
    done = call("cache", "extract", "--checkpoint", folder, "--data", inputs[1], "-C", tmp_path)
    assert done.code == 5 and "none of the 30 genes (the first is 'GENE0X') is in the vocabulary" in done.err


def test_the_demo_is_extracted_again_to_the_shipped_values(call: Call, tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason="the demo weights are a safetensors file")
    pytest.importorskip("scanpy", reason="the demo cells come with scanpy")
    done = call("cache", "extract", "--demo", "-C", tmp_path, "--shuffled-genes", 0, "--random-init", 0, "-q", "--json")
    assert done.code == 0, done.err
    assert [row["shipped"] for row in done.json] == ["demo"]
    assert all(row["largest_difference"] <= 2e-5 for row in done.json)
    other = call("cache", "extract", "--demo", "-C", tmp_path, "--ties", "seeded", "--name", "other", "-q")
    assert other.code == 5 and "differs from the shipped cache 'demo'" in other.err


def test_progress_says_speed_and_time_left() -> None:
    assert describe(64, 700, 64, 32.0) == "64 of 700 cells, 2.0 cells/s, about 5 min left"
    assert describe(640, 700, 0, 1.0) == "640 of 700 cells"  # resumed: nothing read yet
    assert [in_words(s) for s in (5, 99, 600, 12000)] == ["5 s", "99 s", "10 min", "3 h 20 min"]


def test_without_torch_the_commands_still_explain_themselves(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "torch" or name.startswith("torch.")]:
        monkeypatch.setitem(sys.modules, name, None)
    done = call("cache", "extract", "--help")
    assert done.code == 0 and "--checkpoint" in done.out
