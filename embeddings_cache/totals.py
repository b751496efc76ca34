"""Running totals of one extraction: what is added up over cells, and how a packed group of cells is added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .attention import add_attention
from .encoder import ScGPTEncoder
from .exact_sums import add_states, grid_bits, rounder
from .reading import Sequence as Tokens

_SLACK = 1.1
"""Room above the bound of a normalised state, because bfloat16 rounds."""


@dataclass
class Totals:
    """Sums over cells, each exact on its grid (see ``exact_sums``).

    Attributes:
        states: float64 ``[n_layers, n_halves * n_genes, dim]``; the rows of half 1 follow those of half 0.
        squares: squared norms of the states, float64 ``[n_layers, n_halves * n_genes]``.
        n_cells: cells in which each gene was read, int64 ``[n_halves, n_genes]``.
        attention: float64 ``[n_blocks, n_chosen, n_chosen]``, or empty.
        pairs: cells in which both genes of a pair were read, int64 ``[n_chosen, n_chosen]``.
        empty_cells: cells without a gene the model knows.
    """

    states: Tensor
    squares: Tensor
    n_cells: NDArray[np.int64]
    attention: Tensor
    pairs: NDArray[np.int64]
    empty_cells: int = 0

    @property
    def n_halves(self) -> int:
        """1, or 2 where the halves of the cells are kept apart."""
        return len(self.n_cells)

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return int(self.n_cells.shape[1])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as NumPy arrays, for the disk."""
        return {
            "states": self.states.cpu().numpy(),
            "squares": self.squares.cpu().numpy(),
            "n_cells": self.n_cells,
            "attention": self.attention.cpu().numpy(),
            "pairs": self.pairs,
            "empty_cells": np.array(self.empty_cells),
        }

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]], device: str = "cpu") -> Totals:
        """Return what :meth:`arrays` gave, on a device. Nothing is copied on the CPU."""
        return cls(
            states=torch.from_numpy(arrays["states"]).to(device),
            squares=torch.from_numpy(arrays["squares"]).to(device),
            n_cells=arrays["n_cells"],
            attention=torch.from_numpy(arrays["attention"]).to(device),
            pairs=arrays["pairs"],
            empty_cells=int(arrays["empty_cells"]),
        )


def no_totals(n_layers: int, n_genes: int, dim: int, *, halves: int, n_chosen: int, device: str) -> Totals:
    """Return totals of nothing."""

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(*shape, dtype=torch.float64, device=device)

    return Totals(
        states=zeros(n_layers, halves * n_genes, dim),
        squares=zeros(n_layers, halves * n_genes),
        n_cells=np.zeros((halves, n_genes), dtype=np.int64),
        attention=zeros(n_layers - 1 if n_chosen else 0, n_chosen, n_chosen),
        pairs=np.zeros((n_chosen, n_chosen), dtype=np.int64),
    )


@dataclass(frozen=True)
class Grids:
    """Rounding of each layer's states, of their squared norms, and of attention; see ``exact_sums.rounder``."""

    states: tuple[float, ...]
    squares: tuple[float, ...]
    attention: float


def grids_for(encoder: ScGPTEncoder, n_cells: int) -> Grids:
    """Return the finest grids on which the sums over ``n_cells`` cells are exact.

    A layer-normalised vector has norm at most sqrt(dim), so scale and shift of the norm bound what comes out of it.
    """
    weights = encoder.state_dict()
    inputs = [_norm_bounds(weights, f"{part}.") for part in ("encoder.enc_norm", "value_encoder.norm")]
    entry, length = (sum(pair) for pair in zip(*inputs, strict=True))
    bounds = [(entry, length)]
    bounds += [_norm_bounds(weights, f"transformer_encoder.layers.{i}.norm2.") for i in range(encoder.shape.n_layers)]
    return Grids(
        states=tuple(rounder(grid_bits(_SLACK * entry, n_cells)) for entry, _ in bounds),
        squares=tuple(rounder(grid_bits((_SLACK * length) ** 2, n_cells)) for _, length in bounds),
        attention=rounder(grid_bits(1.0 + 1e-3, n_cells)),
    )


def _norm_bounds(weights: Mapping[str, Tensor], prefix: str) -> tuple[float, float]:
    """Largest entry and largest length of what a layer norm gives."""
    scale, shift = (weights[f"{prefix}{name}"].detach().double() for name in ("weight", "bias"))
    steepest, root = float(scale.abs().max()), len(scale) ** 0.5
    return steepest * root + float(shift.abs().max()), steepest * root + float(shift.norm())


@dataclass(frozen=True)
class Group:
    """A packed group of cells as tensors on the model's device.

    Attributes:
        ids: rows of the gene embedding, ``[tokens]``.
        values: what each token carries, ``[tokens]``.
        lengths: tokens of each cell.
        kept: positions of tokens that are genes.
        rows: the row of the totals each of them is added to.
        places: per cell, positions inside the cell and indices of the chosen genes (attention only).
    """

    ids: Tensor
    values: Tensor
    lengths: list[int]
    kept: Tensor
    rows: Tensor
    places: list[tuple[Tensor, Tensor]]


def as_group(cells: Sequence[Tokens], totals: Totals, chosen: NDArray[np.int64] | None) -> Group:
    """Join the tokens of several cells; ``chosen`` gives the index of a gene among the chosen ones, or -1."""
    device = totals.states.device

    def tensor(array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(device)

    split = totals.n_genes if totals.n_halves == 2 else 0
    genes = np.concatenate([one.genes for one in cells])
    rows = np.concatenate([one.genes + one.half * split for one in cells])
    kept = np.flatnonzero(genes >= 0)
    places = []
    if chosen is not None:
        for one in cells:
            index = np.where(one.genes >= 0, chosen[one.genes], -1)
            positions = np.flatnonzero(index >= 0)
            places.append((tensor(positions), tensor(index[positions])))
    return Group(
        ids=tensor(np.concatenate([one.ids for one in cells])),
        values=tensor(np.concatenate([one.values for one in cells])),
        lengths=[len(one) for one in cells],
        kept=tensor(kept),
        rows=tensor(rows[kept]),
        places=places,
    )


@torch.inference_mode()
def add_group(encoder: ScGPTEncoder, group: Group, totals: Totals, grids: Grids) -> None:
    """Run one packed group through the model and add every layer's states; only one layer is held at a time."""
    blocks = encoder.transformer_encoder.layers
    for layer, state in enumerate(encoder.iter_states(group.ids, group.values, lengths=group.lengths)):
        if group.places and layer < len(blocks):
            # Before the state moves on: block i reads state i and gives state i + 1.
            add_attention(blocks[layer], state, group.lengths, group.places, totals.attention[layer], grids.attention)
        add_states(
            totals.states[layer],
            totals.squares[layer],
            group.rows,
            group.kept,
            state,
            grids.states[layer],
            grids.squares[layer],
        )


def count_cells(cells: Sequence[Tokens], totals: Totals, chosen: NDArray[np.int64] | None) -> None:
    """Count in which cells each gene, and each pair of chosen genes, was read."""
    for one in cells:
        genes = one.genes[one.genes >= 0]
        totals.n_cells[one.half if totals.n_halves == 2 else 0, genes] += 1
        if chosen is not None:
            index = chosen[genes]
            index = index[index >= 0]
            totals.pairs[np.ix_(index, index)] += 1
