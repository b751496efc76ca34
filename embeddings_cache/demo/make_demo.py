"""Make the shipped demo: train the small model, extract its cache and those of two untrained twins, and judge them.

Run ``python -m hyposcreen.embeddings_cache.demo.make_demo`` (needs torch, safetensors and scanpy; no network). The
shipped weights were trained once; ``--cache-only`` extracts again from them, ``--weights-only`` stops after training.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ..cells import Cells, demo_cells
from ..checkpoint import load_checkpoint
from ..controls import Control
from ..encoder import Architecture
from ..extract import extract
from ..store import Cache
from .judge import judge_layer
from .training import Trained, TrainingPlan, train

HERE = Path(__file__).parent
SPECIAL = ("<pad>", "<cls>", "<eoc>")
WIDTH, LAYERS, HEADS = 64, 4, 4
DROPOUT = 0.1
CACHES = (
    ("demo", "cache", None),
    ("demo-random-init", "control_random_init", Control("random-init", 0)),
    ("demo-random-init-1", "control_random_init_1", Control("random-init", 1)),
)
"""Name, folder and control of each shipped cache."""


def make_vocab(cells: Cells) -> dict[str, int]:
    """Number the genes in their order, special tokens last, as in the released vocabulary."""
    return {token: row for row, token in enumerate((*cells.symbols, *SPECIAL))}


def make_args(plan: TrainingPlan) -> dict[str, Any]:
    """Return ``args.json`` of the demo model, in the words of the released one."""
    return {
        "name": "hyposcreen demo (scGPT architecture, 4 x 64, trained on 630 PBMCs)",
        "embsize": WIDTH,
        "nlayers": LAYERS,
        "nheads": HEADS,
        "d_hid": WIDTH,
        "dropout": DROPOUT,
        "n_bins": 51,
        "max_seq_len": 1200,
        "pad_token": "<pad>",
        "pad_value": -2,
        "mask_value": -1,
        "input_style": "binned",
        "input_emb_style": "continuous",
        "training": asdict(plan),
    }


def make_weights(cells: Cells, plan: TrainingPlan, folder: Path) -> None:
    """Train and write weights (fp16), ``args.json``, ``vocab.json`` and ``training.json`` into ``folder``."""
    vocab = make_vocab(cells)
    shape = Architecture(len(vocab), WIDTH, LAYERS, HEADS, WIDTH, vocab["<pad>"], DROPOUT)
    trained = train(cells, shape, vocab["<cls>"], plan, print)
    folder.mkdir(parents=True, exist_ok=True)
    half = {key: value.to(torch.float16).contiguous() for key, value in trained.encoder.state_dict().items()}
    save_file(half, folder / "model.safetensors")
    _write_json(folder / "args.json", make_args(plan))
    _write_json(folder / "vocab.json", vocab)
    _write_json(folder / "training.json", training_record(trained, cells))


def training_record(trained: Trained, cells: Cells) -> dict[str, Any]:
    """Return what training showed, as plain JSON values."""
    return {
        "cells": {**cells.provenance, "digest": cells.digest},
        "held_out_cells": list(trained.held_out_cells),
        "history": [
            {"epoch": epoch, "held_out_mse_from_token": token, "held_out_mse_from_cls": cell}
            for epoch, token, cell in trained.history
        ],
        "seconds": round(trained.seconds),
        "versions": {"python": platform.python_version(), "torch": version("torch"), "scanpy": version("scanpy")},
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def make_caches(cells: Cells, folder: Path) -> dict[str, Cache]:
    """Extract the demo cache and its untrained controls from the weights in ``folder / "model"``."""
    checkpoint = load_checkpoint(folder / "model")
    caches = {}
    for name, place, control in CACHES:
        shutil.rmtree(folder / place, ignore_errors=True)
        start = time.perf_counter()
        caches[name] = extract(checkpoint, cells, folder / place, control=control, halves=False, name=name)
        print(f"{name}: {time.perf_counter() - start:.1f} s, digest {caches[name].digest}")
        print(caches[name].report.summary())
    return caches


def print_judgement(caches: dict[str, Cache]) -> None:
    """Print the marker-pair AUROC of every layer beside its detection-matched null."""
    print("cache  layer  AUROC  null mean  null sd  markers")
    for name, cache in caches.items():
        for layer in range(cache.n_layers):
            verdict = judge_layer(cache, layer)
            numbers = f"{verdict.auroc:.3f}  {verdict.null_mean:.3f}  {verdict.null_sd:.3f}  {verdict.n_markers}"
            print(f"{name}  {layer}  {numbers}")


def main() -> None:
    """Parse the command line and make what it asks for."""
    parser = argparse.ArgumentParser(description="Make the shipped demo model and caches.")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--weights-only", action="store_true", help="train, write the weights, and stop")
    only.add_argument("--cache-only", action="store_true", help="extract from the weights that are there")
    parser.add_argument("--folder", type=Path, default=HERE, help="where to write (default: the package itself)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cells = demo_cells()
    if not options.cache_only:
        make_weights(cells, TrainingPlan(), options.folder / "model")
    if not options.weights_only:
        print_judgement(make_caches(cells, options.folder))


if __name__ == "__main__":
    main()
