"""Reading a checkpoint in the released scGPT layout, strictly: nothing missing, nothing ill-shaped, nothing guessed.

A folder holds ``args.json``, ``vocab.json`` and the weights, as ``model.safetensors`` or ``best_model.pt``. Weights
occur in several dialects of names (plain torch, flash attention, data-parallel); all become the plain one.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .encoder import Architecture, ScGPTEncoder
from .errors import CacheError
from .releases import Release, recognise

UNUSED_HEADS = ("decoder", "mvc_decoder", "cls_decoder", "flag_encoder", "batch_encoder", "grad_reverse_discriminator")
"""Parts of the released model that act after the encoder, or never in extraction."""

_DIALECTS = (
    ("self_attn._impl.", "self_attn."),
    ("self_attn.Wqkv.", "self_attn.in_proj_"),
)


@dataclass(frozen=True)
class Checkpoint:
    """A model ready to read cells.

    Attributes:
        name: what manifests call it.
        encoder: in evaluation mode, float32, on the CPU.
        vocab: token to row of the gene embedding.
        args: ``args.json`` as it was.
        digest: sha256 (hex) over names, shapes and float32 bytes of the encoder's tensors, and the vocabulary.
        files: sha256 (hex) of each file read; empty for a model that came from no file.
        ignored: tensors that belong to unused heads.
        release: the known release whose bytes these are, or ``None``.
        backend: which code runs the model, plain JSON values.
    """

    name: str
    encoder: ScGPTEncoder
    vocab: Mapping[str, int]
    args: Mapping[str, Any]
    digest: str
    files: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    release: Release | None = None
    backend: Mapping[str, Any] = field(default_factory=lambda: {"name": "hyposcreen"})

    @property
    def has_attention(self) -> bool:
        """Whether attention can be read from the encoder."""
        return bool(self.backend["name"] == "hyposcreen")

    @property
    def cls_id(self) -> int:
        """Row of the ``<cls>`` token."""
        return self.vocab["<cls>"]


def load_checkpoint(directory: str | Path, name: str | None = None) -> Checkpoint:
    """Load a checkpoint folder.

    Args:
        directory: folder with ``args.json``, ``vocab.json`` and ``model.safetensors`` or ``best_model.pt``.
        name: for manifests; when not given the known release's name, ``name`` of ``args.json``, or the folder's name.

    Raises:
        CacheError: a missing or unreadable file, weights that would run code, an option out of range, a known release
            with a vocabulary that is not its own, or tensors that are missing, of another shape, not finite, or without
            a place in the architecture; the message lists all of them.
    """
    directory = Path(directory)
    args = _read_json(directory / "args.json")
    vocab = _read_vocab(directory / "vocab.json")
    weights = _weights_file(directory)
    files = {path.name: _sha256(path) for path in (directory / "args.json", directory / "vocab.json", weights)}
    shape = architecture_of(args, vocab, str(directory / "args.json"))
    release = recognise(files, shape.n_heads, str(directory))
    tensors, ignored = _select(canonical_names(_read_tensors(weights), str(weights)), shape, str(weights))
    with torch.device("meta"):  # no random numbers are drawn for weights that are replaced at once
        encoder = ScGPTEncoder(shape)
    # Copied out of the mapped file: a file that changes later must not change a model in use.
    encoder.load_state_dict({key: value.clone() for key, value in tensors.items()}, strict=True, assign=True)
    return Checkpoint(
        name=name or (release.name if release else str(args.get("name", directory.name))),
        encoder=encoder.eval(),
        vocab=vocab,
        args=args,
        digest=weights_digest(encoder, vocab),
        files=files,
        ignored=ignored,
        release=release,
    )


def random_init_like(checkpoint: Checkpoint, seed: int) -> Checkpoint:
    """Return an untrained model of the same shape and vocabulary: the control for "any such network does this"."""
    # Hashed, so that a control never starts where some training with the same small seed started.
    hashed = hashlib.sha256(f"hyposcreen untrained control {seed}".encode()).digest()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int.from_bytes(hashed[:7], "big"))
        encoder = ScGPTEncoder(checkpoint.encoder.shape).eval()
    return Checkpoint(
        name=f"{checkpoint.name}, random initialisation, seed {seed}",
        encoder=encoder,
        vocab=checkpoint.vocab,
        args=checkpoint.args,
        digest=weights_digest(encoder, checkpoint.vocab),
    )


def weights_digest(encoder: ScGPTEncoder, vocab: Mapping[str, int]) -> str:
    """Return the sha256 (hex) over names, shapes and float32 bytes of all tensors, and the vocabulary."""
    sha = hashlib.sha256()
    for key, tensor in sorted(encoder.state_dict().items()):
        sha.update(json.dumps([key, list(tensor.shape)]).encode())
        sha.update(tensor.detach().to(device="cpu", dtype=torch.float32).contiguous().numpy().tobytes())
    sha.update(json.dumps(sorted(vocab.items())).encode())
    return sha.hexdigest()


def architecture_of(args: Mapping[str, Any], vocab: Mapping[str, int], source: str) -> Architecture:
    """Read the shape of the encoder from ``args.json``; ``source`` names the file in errors."""
    sizes = {}
    for key in ("embsize", "nlayers", "nheads", "d_hid"):
        value = args.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise CacheError(f"{source} gives {key} = {value!r}: it must be a whole number of at least 1.")
        sizes[key] = value
    if sizes["embsize"] % sizes["nheads"]:
        raise CacheError(f"{source} gives embsize {sizes['embsize']}, which nheads {sizes['nheads']} does not divide.")
    if args.get("input_emb_style", "continuous") != "continuous":
        raise CacheError(f"{source} gives input_emb_style {args['input_emb_style']!r}: only 'continuous' is supported.")
    return Architecture(
        n_tokens=max(vocab.values()) + 1,
        dim=sizes["embsize"],
        n_layers=sizes["nlayers"],
        n_heads=sizes["nheads"],
        hidden=sizes["d_hid"],
        pad_id=vocab.get("<pad>"),
    )


def canonical_names(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Rename tensors of any known dialect to the plain one; values are untouched."""
    renamed: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        plain = key.removeprefix("module.")
        for dialect, usual in _DIALECTS:
            plain = plain.replace(dialect, usual)
        if plain in renamed:
            raise CacheError(f"{source} holds '{plain}' under two names: keep one of them.")
        renamed[plain] = tensor
    return renamed


def _select(
    tensors: Mapping[str, Tensor], shape: Architecture, source: str
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the encoder's tensors as float32 and the names of the unused ones; refuse everything doubtful at once."""
    with torch.device("meta"):
        expected = {key: tuple(value.shape) for key, value in ScGPTEncoder(shape).state_dict().items()}
    faults = [f"{key} is missing" for key in expected if key not in tensors]
    ignored, chosen = [], {}
    for key, tensor in tensors.items():
        if key not in expected:
            if key.split(".")[0] in UNUSED_HEADS:
                ignored.append(key)
            else:
                faults.append(f"{key} has no place in the architecture")
        elif tuple(tensor.shape) != expected[key]:
            faults.append(f"{key} has shape {list(tensor.shape)} instead of {list(expected[key])}")
        elif not bool(torch.isfinite(tensor).all()):
            faults.append(f"{key} is not finite")
        else:
            chosen[key] = tensor.to(torch.float32)
    if faults:
        raise CacheError(
            f"{source} does not fit its args.json and vocab.json, so give the three files of one model: "
            + "; ".join(faults)
            + "."
        )
    return chosen, tuple(ignored)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CacheError(f"{path} is missing: a checkpoint folder holds args.json, vocab.json and weights.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CacheError(f"{path} is not valid JSON ({error}): download it again.") from error
    if not isinstance(content, dict):
        raise CacheError(f"{path} is not a JSON object: download it again.")
    return content


def _read_vocab(path: Path) -> dict[str, int]:
    vocab = _read_json(path)
    wrong = next((token for token, row in vocab.items() if not isinstance(row, int) or row < 0), None)
    if wrong is not None:
        raise CacheError(f"{path} gives token '{wrong}' the row {vocab[wrong]!r}: rows are whole numbers from 0.")
    if len(set(vocab.values())) != len(vocab):
        raise CacheError(f"{path} gives one row to several tokens: download it again.")
    gap = next((row for row, there in enumerate(sorted(vocab.values())) if row != there), None)
    if gap is not None:
        raise CacheError(f"{path} names no token for row {gap}, so it was shortened: give the model's own vocabulary.")
    if "<cls>" not in vocab:
        raise CacheError(f"{path} has no '<cls>' token, which every cell begins with: give the model's own vocabulary.")
    return vocab


def _weights_file(directory: Path) -> Path:
    for name in ("model.safetensors", "best_model.pt"):
        if (directory / name).is_file():
            return directory / name
    raise CacheError(f"{directory} holds neither model.safetensors nor best_model.pt: give a folder with the weights.")


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        # Mapped, so that of a file with optimiser state or heads only what is used is read. Old files cannot be mapped.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise CacheError(_not_only_tensors(path, error)) from error
    except (RuntimeError, EOFError, KeyError, OSError) as error:
        raise CacheError(f"{path} cannot be read as weights ({_first_line(error)}): download it again.") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CacheError(f"{path} is no plain state dict of tensors: save model.state_dict() alone.")
    return content


def _not_only_tensors(path: Path, error: Exception) -> str:
    """What to say of a pickle that torch refused: it names a function or class to call, or it is no pickle at all."""
    wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
    if wanted is None:
        # Torch's own words advise to load it with code allowed, which is no advice to pass on.
        return f"{path} cannot be read as weights (it is damaged, or no file of tensors): download it again."
    return (
        f"{path} holds pickled code ({wanted[1]}), which would run on this machine and is refused: get a file that holds "
        "tensors only, or have its owner save model.state_dict()."
    )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise CacheError(f"{path} needs the package safetensors: pip install 'hyposcreen[scgpt]'.") from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CacheError(f"{path} cannot be read as weights ({_first_line(error)}): download it again.") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
