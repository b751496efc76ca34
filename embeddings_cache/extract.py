"""From a checkpoint and cells to a cache: the mean state of every gene at every layer, in one streaming pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .cells import Cells
from .checkpoint import Checkpoint, random_init_like
from .encoder import ScGPTEncoder
from .errors import CacheError
from .genes import GeneTable
from .preflight import NEVER_SAMPLED
from .recipes import CLS_VALUE, Recipe, named_recipe, tokens_of_cell
from .store import Cache, write_cache

__all__ = ["GeneMeans", "extract", "gene_means", "random_init_like"]

GROUP_TOKENS = 1200
"""Tokens per packed group: enough to keep the core busy, few enough to stay in its cache."""

MIN_CELLS = 5
"""A mean over fewer cells is masked by default."""


@dataclass(frozen=True)
class GeneMeans:
    """Mean states over the cells in which a gene was read.

    Attributes:
        layers: float32 ``[n_genes, dim]`` each, input embedding first; NaN where no cell contributed.
        n_cells: cells that contributed, int64 ``[n_genes]``.
        empty_cells: cells without a single gene known to the model.
    """

    layers: tuple[NDArray[np.float32], ...]
    n_cells: NDArray[np.int64]
    empty_cells: int


@dataclass(frozen=True)
class _Sequence:
    """Tokens of one cell after ``<cls>``: rows of the output, rows of the embedding, values."""

    genes: NDArray[np.int64]
    ids: NDArray[np.int64]
    values: NDArray[np.float32]


def extract(
    checkpoint: Checkpoint,
    cells: Cells,
    destination: str | Path,
    *,
    recipe: str | Recipe = "official",
    seed: int = 0,
    min_cells: int = MIN_CELLS,
    device: str = "cpu",
    name: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Cache:
    """Read every cell with the model and store the mean state of each gene at each layer.

    Args:
        checkpoint: the model.
        cells: raw counts; genes the model does not know are left out and counted in the manifest.
        destination: cache folder to make; must not exist.
        recipe: how a cell becomes tokens.
        seed: matters only for ``official-seeded`` and for cells with more genes than the recipe reads.
        min_cells: genes read in fewer cells are masked.
        device: torch device; states are float32 and sums float64 everywhere.
        name: name of the cache; the folder's name when not given.
        progress: called with (cells done, cells in all).

    Raises:
        CacheError: if no gene of the cells is in the vocabulary, no cell has a known gene, or ``destination`` exists.
    """
    plan = named_recipe(recipe) if isinstance(recipe, str) else recipe
    if Path(destination).exists():
        raise CacheError(f"{destination} exists already: choose another name or remove it first.")
    known = _known_genes(checkpoint, cells)
    means = gene_means(checkpoint, cells, plan, seed=seed, device=device, progress=progress)
    table = _gene_table(cells, known, means, min_cells)
    return write_cache(
        destination,
        layers=means.layers,
        genes=table,
        manifest={
            "model": checkpoint.name,
            "checkpoint": {
                "digest": checkpoint.digest,
                "files": dict(checkpoint.files),
                "ignored": list(checkpoint.ignored),
            },
            "data": {**cells.provenance, "digest": cells.digest, "n_cells": cells.n_cells, "n_genes": cells.n_genes},
            "recipe": plan.describe(),
            "seed": seed,
            "min_cells": min_cells,
            "aggregation": "mean over the cells in which the gene was read; float64 sums, stored as float32",
            "genes_not_in_vocabulary": cells.n_genes - len(known),
            "empty_cells": means.empty_cells,
            "device": device,
            "dtype": "float32",
            "versions": {"hyposcreen": version("hyposcreen"), "numpy": np.__version__, "torch": str(torch.__version__)},
        },
        name=name,
    )


def _known_genes(checkpoint: Checkpoint, cells: Cells) -> NDArray[np.int64]:
    """Columns of ``cells`` that the vocabulary has; their order is the row order of the cache."""
    known = np.flatnonzero([symbol in checkpoint.vocab for symbol in cells.symbols]).astype(np.int64)
    if not known.size:
        example = cells.symbols[0] if cells.symbols else "none"
        raise CacheError(
            f"none of the {cells.n_genes} genes (the first is '{example}') is in the vocabulary of {checkpoint.name}: "
            "give gene symbols, not Ensembl ids."
        )
    return known


def _gene_table(cells: Cells, known: NDArray[np.int64], means: GeneMeans, min_cells: int) -> GeneTable:
    expression, detection = cells.gene_summary()
    too_few = f"fewer than {min_cells} cells"
    return GeneTable(
        symbol=tuple(cells.symbols[column] for column in known),
        n_cells=means.n_cells,
        mean_expression=expression[known],
        detection=detection[known],
        norm=np.sqrt((means.layers[-1].astype(np.float64) ** 2).sum(axis=1)),
        mask_reason=tuple(NEVER_SAMPLED if n == 0 else too_few if n < min_cells else "" for n in means.n_cells),
    )


def gene_means(
    checkpoint: Checkpoint,
    cells: Cells,
    recipe: Recipe,
    *,
    seed: int = 0,
    device: str = "cpu",
    group_tokens: int = GROUP_TOKENS,
    progress: Callable[[int, int], None] | None = None,
) -> GeneMeans:
    """Stream all cells through the encoder; memory is layers x genes x dim, whatever the number of cells.

    Sums are float64, so the order and the grouping of the cells vanish in the float32 rounding of the means.
    """
    sequences = _sequences(checkpoint, cells, recipe, seed)
    n_genes = len(_known_genes(checkpoint, cells))
    readable = [sequence for sequence in sequences if len(sequence.genes)]
    if not readable:
        raise CacheError("no cell has a count in a gene that the model knows: give cells with expressed genes.")
    encoder = checkpoint.encoder.to(device)
    shape = encoder.shape
    sums = torch.zeros(shape.n_layers + 1, n_genes, shape.dim, dtype=torch.float64, device=device)
    n_cells = np.zeros(n_genes, dtype=np.int64)
    done = len(sequences) - len(readable)
    for group in packed_groups(readable, group_tokens):
        _add_group(encoder, group, checkpoint.cls_id, sums)
        for sequence in group:
            n_cells[sequence.genes] += 1
        done += len(group)
        if progress is not None:
            progress(done, cells.n_cells)
    with np.errstate(invalid="ignore"):
        layers = tuple((layer.cpu().numpy() / n_cells[:, None]).astype(np.float32) for layer in sums)
    return GeneMeans(layers=layers, n_cells=n_cells, empty_cells=len(sequences) - len(readable))


def _sequences(checkpoint: Checkpoint, cells: Cells, recipe: Recipe, seed: int) -> list[_Sequence]:
    known = _known_genes(checkpoint, cells)
    row_of = np.full(cells.n_genes, -1, dtype=np.int64)
    row_of[known] = np.arange(len(known))
    ids = np.array([checkpoint.vocab[cells.symbols[column]] for column in known], dtype=np.int64)
    sequences = []
    for index in range(cells.n_cells):
        columns, counts = cells.cell(index)
        readable = row_of[columns] >= 0
        chosen, values = tokens_of_cell(columns[readable], counts[readable], recipe, seed=seed, cell=index)
        rows = row_of[chosen]
        sequences.append(_Sequence(genes=rows, ids=ids[rows], values=values))
    return sequences


def packed_groups(sequences: Sequence[_Sequence], group_tokens: int) -> Iterator[list[_Sequence]]:
    """Yield cells from the longest to the shortest in groups of at most ``group_tokens`` tokens, at least one cell."""
    group: list[_Sequence] = []
    tokens = 0
    for sequence in sorted(sequences, key=lambda one: -len(one.genes)):
        length = len(sequence.genes) + 1
        if group and tokens + length > group_tokens:
            yield group
            group, tokens = [], 0
        group.append(sequence)
        tokens += length
    if group:
        yield group


@torch.inference_mode()
def _add_group(encoder: ScGPTEncoder, group: Sequence[_Sequence], cls_id: int, sums: torch.Tensor) -> None:
    """Add the states of a packed group to ``sums`` ``[layers, genes, dim]``; ``<cls>`` is read but not kept."""

    def joined(first: Any, parts: list[NDArray[Any]]) -> torch.Tensor:
        return torch.from_numpy(np.concatenate([np.append(first, part).astype(part.dtype) for part in parts]))

    device = sums.device
    ids = joined(cls_id, [one.ids for one in group]).to(device)
    values = joined(CLS_VALUE, [one.values for one in group]).to(device)
    genes = joined(-1, [one.genes for one in group]).to(device)
    kept = torch.nonzero(genes >= 0).squeeze(1)
    rows = genes[kept]
    lengths = [len(one.genes) + 1 for one in group]
    for layer, state in enumerate(encoder.iter_states(ids, values, lengths=lengths)):
        sums[layer].index_add_(0, rows, state.index_select(0, kept).to(torch.float64))
