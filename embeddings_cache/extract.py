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
from dataclasses import replace
from pathlib import Path

import torch

from .checkpoint import Checkpoint, random_init_like
from .controls import Control
from .errors import CacheError
from .finish import finish
from .plan import MIN_CELLS, Settings, Work, prepare
from .reading import BLOCK_CELLS, CellSource, Reader, packed_groups
from .reading import Sequence as Tokens
from .recipes import Recipe, named_recipe
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
from .store import Cache, open_cache
from .totals import Totals, add_group, as_group, count_cells, grids_for, no_totals

__all__ = ["Settings", "extract", "extract_shard", "merge", "random_init_like"]

SNAPSHOT_SECONDS = 60.0
"""Between snapshots; more where writing one takes more than a fiftieth of it."""

Progress = Callable[[int, int], None]


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
    keep: bool = False,
    progress: Progress | None = None,
    snapshot_seconds: float = SNAPSHOT_SECONDS,
) -> Cache:
    """Read every cell with the model and store the mean state of each gene at each layer.

    An interrupted call leaves a snapshot beside ``destination``; the same call goes on from it, to the same bits.

    Args:
        checkpoint: the model.
        cells: raw counts; genes the model does not know are left out and counted in the manifest.
        destination: cache folder to make.
        recipe: how a cell becomes tokens.
        seed: see :class:`Settings`, as for ``min_cells``, ``device``, ``dtype``, ``halves``, ``attention`` and
            ``group_tokens``.
        control: make this control instead of reading the model and the cells as they are.
        name: name of the cache; the folder's name when not given.
        keep: return what is at ``destination`` if it was made from the same inputs, instead of refusing.
        progress: called with (cells done, cells in all).
        snapshot_seconds: least time between snapshots.

    Raises:
        CacheError: if no gene of the cells is in the vocabulary, no cell has a known gene, ``destination`` exists, a
            snapshot of other inputs lies there, the device is missing, or the disk is full.
    """
    plan = named_recipe(recipe) if isinstance(recipe, str) else recipe
    settings = Settings(plan, seed, min_cells, device, dtype, halves, tuple(attention), group_tokens)
    destination = Path(destination)
    _must_not_exist(destination, keep)
    work = prepare(checkpoint, cells, settings, control)
    if destination.exists():
        cache = open_cache(destination)
        _must_be_of(work, str(cache.manifest["provenance"].get("inputs")), destination)
        return cache
    part = _run(work, Shard(), _unfinished(destination), progress, snapshot_seconds)
    cache = finish(part.plan, part.facts, part.totals, destination, name)
    remove_part(part.path)
    return cache


def extract_shard(
    checkpoint: Checkpoint,
    cells: CellSource,
    destination: str | Path,
    shard: Shard,
    settings: Settings,
    *,
    control: Control | None = None,
    keep: bool = False,
    progress: Progress | None = None,
    snapshot_seconds: float = SNAPSHOT_SECONDS,
) -> Path:
    """Make one shard of the cache ``destination`` and return its folder; :func:`merge` makes the cache of all.

    Raises:
        CacheError: as :func:`extract`, and if this shard exists already.
    """
    folder = shard.folder(Path(destination))
    _must_not_exist(folder, keep)
    work = prepare(checkpoint, cells, settings, control)
    if folder.exists():
        _must_be_of(work, inputs_digest(read_part(folder).plan), folder)
        return folder
    part = _run(work, shard, _unfinished(folder), progress, snapshot_seconds)
    write_part(folder, part.plan, part.facts, shard, part.blocks_done, part.totals)
    remove_part(part.path)
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
    _must_not_exist(destination, keep=False)
    folders = [Path(path) for path in shards] if shards is not None else find_shards(destination)
    if not folders:
        raise CacheError(f"{destination.parent} holds no shard of '{destination.name}': extract them with --shard i/n.")
    parts = [read_part(folder) for folder in folders]
    check_complete(parts, -(-parts[0].plan["data"]["n_cells"] // parts[0].plan["block_cells"]))
    return finish(parts[0].plan, parts[0].facts, added(parts), destination, name)


def _must_not_exist(folder: Path, keep: bool) -> None:
    if folder.exists() and not keep:
        raise CacheError(f"{folder} exists already: choose another name or remove it first.")


def _must_be_of(work: Work, inputs: str, folder: Path) -> None:
    if inputs != inputs_digest(work.plan):
        raise CacheError(f"{folder} exists and was made from other inputs: choose another name or remove it first.")


def _unfinished(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.unfinished")


def _run(work: Work, shard: Shard, folder: Path, progress: Progress | None, snapshot_seconds: float) -> Part:
    """Make one part; ``folder`` holds its snapshots."""
    with held(folder):
        return _add_blocks(work, _resumed(work, shard, folder), progress, snapshot_seconds)


def _resumed(work: Work, shard: Shard, folder: Path) -> Part:
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
        part,
        path=folder,
        facts=work.facts,
        totals=Totals.of_arrays({k: v.copy() for k, v in part.totals.arrays().items()}, device),
    )


def _add_blocks(work: Work, part: Part, progress: Progress | None, snapshot_seconds: float) -> Part:
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
