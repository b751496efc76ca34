"""What is to be extracted, settled before anything runs: every input that decides a bit of the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .checkpoint import Checkpoint, random_init_like
from .controls import Control, permuted_within_detection
from .errors import CacheError
from .reading import BLOCK_CELLS, CellSource, Reader, make_reader
from .recipes import RECIPES, Recipe

GROUP_TOKENS = {"cpu": 1200, "cuda": 65536}
"""Tokens per packed group: on a CPU enough to keep the core busy and few enough for its cache; a GPU wants many."""

MIN_CELLS = 5
"""A mean over fewer cells is masked by default."""

DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Settings:
    """What may be chosen of an extraction; every field is part of the cache's identity.

    Attributes:
        recipe: how a cell becomes tokens.
        seed: of random subsets of long cells, seeded ties, and the halves.
        min_cells: genes read in fewer cells are masked.
        device: ``auto`` (a GPU where there is one), ``cpu`` or ``cuda``.
        dtype: ``float32`` (strict: no TF32), or ``bfloat16`` for matrix products; sums are exact either way.
        halves: keep the means over two random halves of the cells as well, for reliability.
        attention: genes among which mean attention is kept, or none.
        group_tokens: tokens per packed group; chosen by device when ``None``.
    """

    recipe: Recipe = RECIPES["official"]
    seed: int = 0
    min_cells: int = MIN_CELLS
    device: str = "cpu"
    dtype: str = "float32"
    halves: bool = True
    attention: tuple[str, ...] = ()
    group_tokens: int | None = None


def chosen_device(device: str) -> str:
    """Return ``cpu`` or ``cuda``; raises ``CacheError`` for another word, or where there is no GPU to use."""
    if device not in ("auto", "cpu", "cuda"):
        raise CacheError(f"device '{device}' is unknown: choose one of auto, cpu, cuda.")
    if device == "cuda" and not torch.cuda.is_available():
        raise CacheError(
            "device 'cuda' is not there (torch sees no GPU): choose --device cpu, or install torch for CUDA."
        )
    return device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def _settled(settings: Settings) -> Settings:
    if settings.dtype not in DTYPES:
        raise CacheError(f"dtype '{settings.dtype}' is unknown: choose one of {', '.join(DTYPES)}.")
    device = chosen_device(settings.device)
    return replace(settings, device=device, group_tokens=settings.group_tokens or GROUP_TOKENS[device])


@dataclass(frozen=True)
class Work:
    """One extraction, ready to run.

    Attributes:
        checkpoint: the model that reads.
        reader: turns cells into tokens.
        chosen: index among the attention genes by row of the cache, -1 for the others; ``None`` without attention.
        plan: every input that decides a bit of the result, as plain JSON values.
        facts: gene names, their expression, and versions, as plain JSON values.
        settings: with the device and the size of groups decided.
    """

    checkpoint: Checkpoint
    reader: Reader
    chosen: NDArray[np.int64] | None
    plan: dict[str, Any]
    facts: dict[str, Any]
    settings: Settings


def prepare(checkpoint: Checkpoint, cells: CellSource, settings: Settings, control: Control | None) -> Work:
    """Match genes, settle the device, and write down the plan; for a control, make its model or exchange its genes.

    Raises:
        CacheError: for a choice that does not exist, an absent GPU, unknown attention genes, or cells without any gene
            that the model knows.
    """
    settings = _settled(settings)
    name = checkpoint.name
    if control is not None and control.kind == "random-init":
        checkpoint = random_init_like(checkpoint, control.seed)
    reader = make_reader(checkpoint.vocab, cells, settings.recipe, settings.seed, model=name)
    expression, detection = (summary[reader.columns] for summary in cells.gene_summary())
    if control is not None and control.kind == "shuffled-genes":
        permutation = permuted_within_detection(detection, control.seed)
        row_of = reader.row_of.copy()
        row_of[reader.columns] = permutation
        reader = replace(reader, row_of=row_of)
        # A row now holds what is read where another gene was counted, so it carries that gene's expression.
        expression[permutation], detection[permutation] = expression.copy(), detection.copy()
    if not any(reader.sequence(cell) for cell in range(cells.n_cells)):
        raise CacheError("no cell has a count in a gene that the model knows: give cells with expressed genes.")
    symbols = reader.symbols
    asked, settings = settings.attention, replace(settings, attention=_readable(settings.attention, symbols))
    chosen = _chosen(settings.attention, symbols, checkpoint)
    plan = _plan(checkpoint, cells, settings, control)
    facts = {
        "symbols": list(symbols),
        "mean_expression": [float(value) for value in expression],
        "detection": [float(value) for value in detection],
        "ensembl_ids": [cells.ensembl_ids[column] for column in reader.columns] if any(cells.ensembl_ids) else [],
        "attention_not_found": sorted(set(asked) - set(settings.attention)),
        "versions": {"hyposcreen": version("hyposcreen"), "numpy": np.__version__, "torch": str(torch.__version__)},
    }
    return Work(checkpoint, reader, chosen, plan, facts, settings)


def _plan(checkpoint: Checkpoint, cells: CellSource, settings: Settings, control: Control | None) -> dict[str, Any]:
    """Every input that decides a bit of the result, as plain JSON values."""
    return {
        "model": checkpoint.name,
        "checkpoint": {
            "digest": checkpoint.digest,
            "files": dict(checkpoint.files),
            "ignored": list(checkpoint.ignored),
            "release": checkpoint.release.source if checkpoint.release else None,
            "backend": dict(checkpoint.backend),
        },
        "data": {**cells.provenance, "digest": cells.digest, "n_cells": cells.n_cells, "n_genes": cells.n_genes},
        "recipe": settings.recipe.describe(),
        "seed": settings.seed,
        "min_cells": settings.min_cells,
        "device": settings.device,
        "dtype": settings.dtype,
        "halves": settings.halves,
        "attention": list(settings.attention),
        "control": None if control is None else {"kind": control.kind, "seed": control.seed},
        "block_cells": BLOCK_CELLS,
        "group_tokens": settings.group_tokens,
    }


def _readable(genes: Sequence[str], symbols: Sequence[str]) -> tuple[str, ...]:
    """The genes that are in data and vocabulary, in their order; a list of annotated genes always holds some that are not."""
    repeated = next((gene for gene, count in Counter(genes).items() if count > 1), None)
    if repeated is not None:
        raise CacheError(f"attention gene '{repeated}' is named twice: give every gene once.")
    known = set(symbols)
    found = tuple(gene for gene in genes if gene in known)
    if genes and not found:
        raise CacheError(
            f"none of the {len(genes)} attention genes (the first is '{genes[0]}') is read: give gene symbols."
        )
    return found


def _chosen(genes: Sequence[str], symbols: Sequence[str], checkpoint: Checkpoint) -> NDArray[np.int64] | None:
    """Index among the chosen genes by row of the cache, -1 for the others."""
    if not genes:
        return None
    row_of = {symbol: row for row, symbol in enumerate(symbols)}
    if not checkpoint.has_attention:
        raise CacheError("attention is kept by our own encoder only: leave --backend scgpt out.")
    index = np.full(len(symbols), -1, dtype=np.int64)
    index[[row_of[gene] for gene in genes]] = np.arange(len(genes))
    return index
