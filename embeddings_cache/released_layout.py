"""Checkpoints written in the layout of the released ones: for tests, benchmarks, and trying a machine without weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from .encoder import Architecture, ScGPTEncoder

SPECIAL = ("<pad>", "<cls>", "<eoc>")
WHOLE_HUMAN = Architecture(n_tokens=60697, dim=512, n_layers=12, n_heads=8, hidden=512, pad_id=60694)
"""Shape of the released whole-human model."""


def write_released(encoder: ScGPTEncoder, vocab: Mapping[str, int], folder: str | Path) -> Path:
    """Write an encoder as ``args.json``, ``vocab.json`` and ``best_model.pt`` with the released key names.

    Like the released file it names the attention inputs ``Wqkv`` and carries a tensor that extraction never uses.
    """
    folder, shape = Path(folder), encoder.shape
    folder.mkdir(parents=True, exist_ok=True)
    args = {
        "embsize": shape.dim, "nlayers": shape.n_layers, "nheads": shape.n_heads, "d_hid": shape.hidden,
        "n_layers_cls": 3, "dropout": 0.2, "n_bins": 51, "max_seq_len": 1200, "pad_token": "<pad>", "pad_value": -2,
        "mask_value": -1, "input_style": "binned", "input_emb_style": "continuous", "fast_transformer": True,
        "no_cls": True,
    }  # fmt: skip
    (folder / "args.json").write_text(json.dumps(args, indent=2), encoding="utf-8")
    (folder / "vocab.json").write_text(json.dumps(dict(vocab), indent=2, ensure_ascii=False), encoding="utf-8")
    weights = {key.replace("in_proj_", "Wqkv."): value.detach() for key, value in encoder.state_dict().items()}
    weights["flag_encoder.weight"] = torch.zeros(2, shape.dim)
    torch.save(weights, folder / "best_model.pt")
    return folder


def random_release(folder: str | Path, genes: tuple[str, ...], shape: Architecture, seed: int = 0) -> Path:
    """Write an untrained checkpoint for ``genes``; norms and biases are moved off 1 and 0, so that a mix-up shows.

    Args:
        folder: where to write.
        genes: names of the first tokens; unnamed ones follow, then the special tokens.
        shape: of the encoder; ``pad_id`` is set anew.
        seed: of every random number.
    """
    n_genes = shape.n_tokens - len(SPECIAL)
    names = (*genes[:n_genes], *(f"UNNAMED{row}" for row in range(len(genes), n_genes)))
    vocab = {token: row for row, token in enumerate((*names, *SPECIAL))}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = ScGPTEncoder(Architecture(**{**vars(shape), "pad_id": vocab["<pad>"]}))
        with torch.no_grad():
            for parameter in encoder.parameters():
                if parameter.ndim == 1:
                    parameter.add_(0.1 * torch.randn(parameter.shape))
    return write_released(encoder, vocab, folder)
