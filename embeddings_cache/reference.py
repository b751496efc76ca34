"""The reference back-end: the released ``scgpt`` package itself behind the interface of our encoder.

It is slow and needs a light installation by hand (see :data:`INSTALL`). It is here so that anybody can hold our encoder
against the code the model was trained with: tests compare every layer, and ``--backend scgpt`` makes a whole cache with it.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .checkpoint import Checkpoint, load_checkpoint
from .encoder import Architecture
from .errors import CacheError
from .reading import BLOCK_CELLS, CellSource, make_reader, packed_groups
from .reading import Sequence as Tokens
from .recipes import Recipe
from .torchtext_stand_in import stand_in_modules

INSTALL = "pip install scanpy datasets ipython && pip install --no-deps scgpt==0.2.4"
"""A plain ``pip install scgpt`` brings 150 packages, and one of them breaks the import."""


@dataclass(frozen=True)
class Reference:
    """The imported package.

    Attributes:
        scgpt: the module.
        version: of the package.
        torchtext: version of the real torchtext, or ``stand-in``.
    """

    scgpt: ModuleType
    version: str
    torchtext: str

    def describe(self) -> dict[str, str]:
        """Return plain JSON values for a manifest."""
        return {"name": "scgpt", "version": self.version, "torchtext": self.torchtext}


def import_scgpt() -> Reference:
    """Import the ``scgpt`` package, with a stand-in for torchtext only where the real one cannot be imported.

    Raises:
        CacheError: if the package or one of its own imports is missing; the message gives the installation.
    """
    torchtext = _real_torchtext()
    borrowed = {} if torchtext else stand_in_modules()
    sys.modules.update(borrowed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns that flash attention is not installed, which is no fault here
            scgpt = importlib.import_module("scgpt")
        return Reference(scgpt, version("scgpt"), torchtext or "stand-in")
    except (ImportError, PackageNotFoundError) as error:
        raise CacheError(f"the reference back-end cannot be imported ({error}): {INSTALL}.") from error
    finally:
        for name in borrowed:  # scgpt has what it needs; nobody else shall take the stand-in for torchtext
            sys.modules.pop(name, None)


def _real_torchtext() -> str | None:
    """Version of torchtext if it works: built for another torch, it fails with an ``OSError`` while loading."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("torchtext.vocab")
        return version("torchtext")
    except (ImportError, OSError, RuntimeError, PackageNotFoundError):
        for name in [name for name in sys.modules if name == "torchtext" or name.startswith("torchtext.")]:
            del sys.modules[name]
        return None


class ReferenceEncoder(nn.Module):
    """The official ``TransformerModel``, block by block; same methods and parameter names as our encoder."""

    def __init__(self, model: Any, shape: Architecture) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = model.encoder
        self.value_encoder = model.value_encoder
        self.transformer_encoder = model.transformer_encoder

    def iter_states(
        self, ids: Tensor, values: Tensor, *, lengths: Sequence[int] | None = None, valid: Tensor | None = None
    ) -> Iterator[Tensor]:
        """Yield all states; see :meth:`hyposcreen.embeddings_cache.encoder.ScGPTEncoder.iter_states`."""
        if lengths is not None:
            inside = torch.arange(max(lengths), device=ids.device) < torch.tensor(lengths, device=ids.device)[:, None]
            ids, values = (_padded(tensor, inside) for tensor in (ids, values))
            for state in self.iter_states(ids, values, valid=inside):
                yield state[inside]
            return
        # One call for each block, not one for the stack: the stack turns to nested tensors inside, which hooks cannot read.
        x = self.encoder(ids) + self.value_encoder(values)
        yield x
        for block in self.transformer_encoder.layers:
            x = block(x, src_key_padding_mask=None if valid is None else ~valid)
            yield x


def _padded(packed: Tensor, inside: Tensor) -> Tensor:
    padded = torch.zeros(inside.shape, dtype=packed.dtype, device=packed.device)
    padded[inside] = packed
    return padded


def official_model(reference: Reference, checkpoint: Checkpoint) -> Any:
    """Build the official class with the weights of ``checkpoint``, in evaluation mode.

    Raises:
        CacheError: if the class has an encoder parameter that the checkpoint does not, which no tested version has.
    """
    shape, own = checkpoint.encoder.shape, checkpoint.encoder.state_dict()
    model = reference.scgpt.model.TransformerModel(
        ntoken=shape.n_tokens,
        d_model=shape.dim,
        nhead=shape.n_heads,
        d_hid=shape.hidden,
        nlayers=shape.n_layers,
        vocab=dict(checkpoint.vocab),
        dropout=0.0,
        pad_value=-2,
        use_fast_transformer=False,
    )
    parts = ("encoder.", "value_encoder.", "transformer_encoder.")
    absent = [key for key in model.load_state_dict(own, strict=False).missing_keys if key.startswith(parts)]
    if absent:
        raise CacheError(f"scgpt {reference.version} has parameters unknown to us ({absent[0]}): {INSTALL}.")
    return model.eval()


def load_reference(directory: str | Path, name: str | None = None) -> Checkpoint:
    """Load a checkpoint folder, strictly as :func:`load_checkpoint` does, to be run by the official class."""
    reference, checkpoint = import_scgpt(), load_checkpoint(directory, name)
    encoder = ReferenceEncoder(official_model(reference, checkpoint), checkpoint.encoder.shape).eval()
    return replace(checkpoint, encoder=encoder, backend=reference.describe())  # type: ignore[arg-type]


@torch.inference_mode()
def cell_embeddings(
    checkpoint: Checkpoint, cells: CellSource, recipe: Recipe, seed: int = 0, group_tokens: int = 1200
) -> NDArray[np.float32]:
    """Return what the official ``embed_data`` gives: the last state of ``<cls>``, of length 1.

    Args:
        checkpoint: the model.
        cells: raw counts.
        recipe: with ``<cls>``.
        seed: see :class:`~hyposcreen.embeddings_cache.reading.Reader`.
        group_tokens: tokens per packed group.

    Returns:
        float32 ``[n_cells, dim]``; NaN for a cell without a gene the model knows.
    """
    reader = make_reader(checkpoint.vocab, cells, recipe, seed, model=checkpoint.name)
    found = np.full((cells.n_cells, checkpoint.encoder.shape.dim), np.nan, dtype=np.float32)
    for start in range(0, cells.n_cells, BLOCK_CELLS):
        block = range(start, min(start + BLOCK_CELLS, cells.n_cells))
        sequences = {index: one for index in block if (one := reader.sequence(index)) is not None}
        place = {id(one): index for index, one in sequences.items()}
        for group in packed_groups(sequences.values(), group_tokens):
            found[[place[id(one)] for one in group]] = _cls_states(checkpoint, group)
    unit: NDArray[np.float32] = found / np.linalg.norm(found, axis=1, keepdims=True)
    return unit


def _cls_states(checkpoint: Checkpoint, group: list[Tokens]) -> NDArray[np.float32]:
    """Last state of the first token of each cell, ``[n_cells, dim]``."""
    ids = torch.from_numpy(np.concatenate([one.ids for one in group]))
    values = torch.from_numpy(np.concatenate([one.values for one in group]))
    lengths = [len(one) for one in group]
    *_, last = checkpoint.encoder.iter_states(ids, values, lengths=lengths)
    first: NDArray[np.float32] = last[torch.from_numpy(np.cumsum([0, *lengths[:-1]]))].numpy()
    return first
