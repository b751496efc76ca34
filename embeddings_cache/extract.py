"""From a checkpoint and cells to a cache: the mean state of every gene at every layer, in one streaming pass.

The pass goes block by block (64 cells), packs the cells of a block without padding, and adds every layer's states to exact
sums. So memory does not grow with the number of cells, an interrupted pass goes on where it was, and the shards of a
job array add up to the same bits as one pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .checkpoint import Checkpoint, random_init_like
from .controls import Control, permuted_within_detection
from .errors import CacheError
from .finish import finish
from .reading import BLOCK_CELLS, CellSource, Reader, make_reader, packed_groups
from .reading import Sequence as Tokens
from .recipes import RECIPES, Recipe, named_recipe
from .shards import (
    Part,
    Shard,
    added,
    check_complete,
    find_part,
    find_shards,
    held,
    inputs_digest,
    read_part,
    remove_part,
    write_part,
)
from .store import Cache
from .totals import Totals, add_group, as_group, count_cells, grids_for, no_totals

__all__ = ["Settings", "extract", "extract_shard", "merge", "random_init_like"]

GROUP_TOKENS = {"cpu": 1200, "cuda": 65536}
"""Tokens per packed group: on a CPU enough to keep the core busy and few enough for its cache; a GPU wants many."""

MIN_CELLS = 5
"""A mean over fewer cells is masked by default."""

DTYPES = ("float32", "bfloat16")
SNAPSHOT_SECONDS = 60.0
"""Between snapshots; more where writing one takes more than a fiftieth of it."""

Progress = Callable[[int, int], None]


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


def extract(
    checkpoint: Checkpoint,
    cells: CellSource,
    destination: str | Path,
    *,
    recipe: str | Recipe = "official",
    seed: int = 0,
    min_cells: int = MIN_CELLS,
    device: str = "cpu",
    dtype: str = "float32",
    halves: bool = True,
    attention: Sequence[str] = (),
    group_tokens: int | None = None,
    control: Control | None = None,
    name: str | None = None,
    progress: Progress | None = None,
    snapshot_seconds: float = SNAPSHOT_SECONDS,
) -> Cache:
    """Read every cell with the model and store the mean state of each gene at each layer.

    An interrupted call leaves a snapshot beside ``destination``; the same call goes on from it, to the same bits.

    Args:
        checkpoint: the model.
        cells: raw counts; genes the model does not know are left out and counted in the manifest.
        destination: cache folder to make; must not exist.
        recipe: how a cell becomes tokens.
        seed: see :class:`Settings`, as for ``min_cells``, ``device``, ``dtype``, ``halves``, ``attention`` and
            ``group_tokens``.
        control: make this control instead of reading the model and the cells as they are.
        name: name of the cache; the folder's name when not given.
        progress: called with (cells done, cells in all).
        snapshot_seconds: least time between snapshots.

    Raises:
        CacheError: if no gene of the cells is in the vocabulary, no cell has a known gene, ``destination`` exists, a
            snapshot of other inputs lies there, the device is missing, or the disk is full.
    """
    plan = named_recipe(recipe) if isinstance(recipe, str) else recipe
    settings = Settings(plan, seed, min_cells, device, dtype, halves, tuple(attention), group_tokens)
    destination = Path(destination)
    _must_not_exist(destination)
    work = destination.with_name(f".{destination.name}.unfinished")
    part = _extract_part(checkpoint, cells, settings, control, Shard(), work, progress, snapshot_seconds)
    cache = finish(part.plan, part.facts, part.totals, destination, name)
    remove_part(work)
    return cache


def extract_shard(
    checkpoint: Checkpoint,
    cells: CellSource,
    destination: str | Path,
    shard: Shard,
    settings: Settings,
    *,
    control: Control | None = None,
    progress: Progress | None = None,
    snapshot_seconds: float = SNAPSHOT_SECONDS,
) -> Path:
    """Make one shard of the cache ``destination`` and return its folder; :func:`merge` makes the cache of all.

    Raises:
        CacheError: as :func:`extract`, and if this shard exists already.
    """
    destination = Path(destination)
    folder = shard.folder(destination)
    _must_not_exist(folder)
    work = folder.with_name(f".{folder.name}.unfinished")
    part = _extract_part(checkpoint, cells, settings, control, shard, work, progress, snapshot_seconds)
    write_part(folder, part.plan, part.facts, shard, part.blocks_done, part.totals)
    remove_part(work)
    return folder


def merge(destination: str | Path, shards: Sequence[str | Path] | None = None, *, name: str | None = None) -> Cache:
    """Add up all shards of a cache and write it, with the bits that one pass would have given.

    Args:
        destination: cache folder to make; must not exist.
        shards: their folders; those beside ``destination`` that carry its name when not given.
        name: name of the cache; the folder's name when not given.

    Raises:
        CacheError: if a shard is missing, unfinished, damaged, there twice, or of another extraction.
    """
    destination = Path(destination)
    _must_not_exist(destination)
    folders = [Path(path) for path in shards] if shards is not None else find_shards(destination)
    if not folders:
        raise CacheError(f"{destination.parent} holds no shard of '{destination.name}': extract them with --shard i/n.")
    parts = [read_part(folder) for folder in folders]
    check_complete(parts, -(-parts[0].plan["data"]["n_cells"] // parts[0].plan["block_cells"]))
    return finish(parts[0].plan, parts[0].facts, added(parts), destination, name)


def _must_not_exist(folder: Path) -> None:
    if folder.exists():
        raise CacheError(f"{folder} exists already: choose another name or remove it first.")


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


@dataclass
class _Work:
    """One extraction, ready to run."""

    checkpoint: Checkpoint
    reader: Reader
    chosen: NDArray[np.int64] | None
    plan: dict[str, Any]
    facts: dict[str, Any]
    settings: Settings


def _prepare(checkpoint: Checkpoint, cells: CellSource, settings: Settings, control: Control | None) -> _Work:
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
    chosen = _chosen(settings.attention, symbols, checkpoint)
    plan = _plan(checkpoint, cells, settings, control)
    facts = {
        "symbols": list(symbols),
        "mean_expression": [float(value) for value in expression],
        "detection": [float(value) for value in detection],
        "versions": {"hyposcreen": version("hyposcreen"), "numpy": np.__version__, "torch": str(torch.__version__)},
    }
    return _Work(checkpoint, reader, chosen, plan, facts, settings)


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


def _chosen(genes: Sequence[str], symbols: Sequence[str], checkpoint: Checkpoint) -> NDArray[np.int64] | None:
    """Index among the chosen genes by row of the cache, -1 for the others."""
    if not genes:
        return None
    row_of = {symbol: row for row, symbol in enumerate(symbols)}
    unknown = [gene for gene in genes if gene not in row_of]
    if unknown or len(set(genes)) != len(genes):
        wrong = unknown[0] if unknown else next(gene for gene in genes if list(genes).count(gene) > 1)
        why = "is in the data and the vocabulary under no such name" if unknown else "is named twice"
        raise CacheError(f"attention gene '{wrong}' {why}: give symbols of this cache, once each.")
    if not checkpoint.has_attention:
        raise CacheError("attention is kept by our own encoder only: leave --backend scgpt out.")
    index = np.full(len(symbols), -1, dtype=np.int64)
    index[[row_of[gene] for gene in genes]] = np.arange(len(genes))
    return index


def _extract_part(
    checkpoint: Checkpoint,
    cells: CellSource,
    settings: Settings,
    control: Control | None,
    shard: Shard,
    folder: Path,
    progress: Progress | None,
    snapshot_seconds: float,
) -> Part:
    work = _prepare(checkpoint, cells, settings, control)
    with held(folder):
        return _run(work, _resumed(work, shard, folder), progress, snapshot_seconds)


def _resumed(work: _Work, shard: Shard, folder: Path) -> Part:
    """Where the last run of this extraction stopped, or the beginning."""
    shape, device = work.checkpoint.encoder.shape, work.settings.device
    found = find_part(folder)
    if found is None:
        totals = no_totals(
            shape.n_layers + 1,
            len(work.reader.columns),
            shape.dim,
            halves=2 if work.settings.halves else 1,
            n_chosen=len(work.settings.attention),
            device=device,
        )
        return Part(folder, work.plan, work.facts, shard, 0, totals)
    part = read_part(found)
    if inputs_digest(part.plan) != inputs_digest(work.plan) or part.shard != shard:
        raise CacheError(f"{found} is an unfinished extraction of other inputs: remove it or choose another name.")
    return replace(
        part, path=folder, totals=Totals.of_arrays({k: v.copy() for k, v in part.totals.arrays().items()}, device)
    )


def _run(work: _Work, part: Part, progress: Progress | None, snapshot_seconds: float) -> Part:
    """Add the blocks that are not in the totals yet; a snapshot from time to time."""
    reader, totals, settings = work.reader, part.totals, work.settings
    encoder = work.checkpoint.encoder.to(settings.device)
    grids = grids_for(encoder, reader.cells.n_cells)
    blocks = part.shard.blocks(reader.n_blocks)
    sizes = [min(BLOCK_CELLS, reader.cells.n_cells - block * BLOCK_CELLS) for block in blocks]
    done, wait, last = part.blocks_done, snapshot_seconds, time.monotonic()
    with _arithmetic(settings):
        for sequences in _read_ahead(reader, blocks[done:]):
            read = sum(sizes[:done])
            for group in packed_groups(sequences, int(settings.group_tokens or 1)):
                add_group(encoder, as_group(group, totals, work.chosen), totals, grids)
                read += len(group)
                _tell(progress, read, sum(sizes))
            count_cells(sequences, totals, work.chosen)
            totals.empty_cells += sizes[done] - len(sequences)
            done += 1
            _tell(progress, sum(sizes[:done]), sum(sizes))
            if done < len(blocks) and time.monotonic() - last >= wait:
                start = time.monotonic()
                write_part(part.path, part.plan, part.facts, part.shard, done, totals)
                last = time.monotonic()
                wait = max(snapshot_seconds, 50 * (last - start)) if snapshot_seconds else 0.0
    return replace(part, blocks_done=done)


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


def _read_ahead(reader: Reader, blocks: Sequence[int]) -> Iterator[list[Tokens]]:
    """Tokenise the next block in a thread while the model works on this one."""
    with ThreadPoolExecutor(1) as thread:
        waiting = [thread.submit(reader.block, block) for block in blocks[:1]]
        for following in [*blocks[1:], None]:
            if not waiting:
                return
            ready = waiting.pop()
            if following is not None:
                waiting.append(thread.submit(reader.block, following))
            yield ready.result()


@contextmanager
def _arithmetic(settings: Settings) -> Iterator[None]:
    """Strict float32, or bfloat16 products; torch's own setting is put back."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(settings.device, torch.bfloat16, enabled=settings.dtype == "bfloat16"):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
