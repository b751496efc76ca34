"""What one ``screen cache extract`` makes: a cache for each sample of cells, and its controls beside it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoint import Checkpoint
from .controls import Control
from .errors import CacheError
from .extract import Progress, extract, extract_shard, merge
from .plan import Settings
from .reading import known_columns
from .shards import PART, Shard, find_shards, remove_part
from .store import STORE, Cache, check_name, find_cache, open_cache

DEMO_TOLERANCE = 2e-5
"""Largest difference that another machine's arithmetic may make to the shipped caches."""


@dataclass(frozen=True)
class Order:
    """One cache to make.

    Attributes:
        name: of the cache.
        cells: to read.
        control: which control it is, or ``None`` for the model itself.
    """

    name: str
    cells: Any
    control: Control | None


def plan_orders(name: str, samples: Sequence[tuple[str, Any]], controls: Sequence[Control]) -> list[Order]:
    """Return the caches to make, each sample followed by its controls.

    Args:
        name: of the first cache; samples add their suffix and controls theirs.
        samples: suffix (may be empty) and cells of each.
        controls: to make beside each.

    Raises:
        CacheError: if the name cannot be one of a cache.
    """
    orders = []
    for suffix, cells in samples:
        base = check_name("-".join(part for part in (name, suffix) if part))
        orders += [Order(base, cells, None)]
        orders += [Order(control.name_beside(base), cells, control) for control in controls]
    return orders


def make(
    orders: Sequence[Order],
    checkpoint: Checkpoint,
    settings: Settings,
    project: Path,
    *,
    shard: Shard | None = None,
    progress: Callable[[str], Progress] | None = None,
) -> Iterator[Cache | Path]:
    """Make caches one after another, or one shard of each; what is there from the same inputs is kept.

    Args:
        orders: what to make.
        checkpoint: the model.
        settings: of all of them.
        project: working folder; caches go to its store.
        shard: make only this share.
        progress: gives the progress of a cache by name.

    Yields:
        Each cache, or the folder of each shard.

    Raises:
        CacheError: as :func:`.extract.extract`, and before anything runs if the disk has no room for all caches.
    """
    store = project / STORE
    _need_room(orders, checkpoint, settings, store)
    for order in orders:
        show = progress(order.name) if progress is not None else None
        place = store / order.name
        if shard is not None:
            yield extract_shard(
                checkpoint, order.cells, place, shard, settings, control=order.control, keep=True, progress=show
            )
            continue
        yield extract(
            checkpoint, order.cells, place, recipe=settings.recipe, seed=settings.seed, min_cells=settings.min_cells,
            device=settings.device, dtype=settings.dtype, halves=settings.halves, attention=settings.attention,
            group_tokens=settings.group_tokens, control=order.control, keep=True, progress=show,
        )  # fmt: skip


def bytes_of(n_genes: int, checkpoint: Checkpoint, settings: Settings) -> tuple[int, int]:
    """Return ``(bytes on disk of one cache, bytes of its running sums in memory and of a shard)``."""
    shape = checkpoint.encoder.shape
    states = (shape.n_layers + 1) * n_genes * shape.dim
    pairs = shape.n_layers * len(settings.attention) ** 2
    return (4 + 8 * settings.halves) * states + 4 * pairs, (8 + 8 * settings.halves) * states + 8 * pairs


def _need_room(orders: Sequence[Order], checkpoint: Checkpoint, settings: Settings, store: Path) -> None:
    place = next(folder for folder in (store, *store.parents) if folder.is_dir())
    needed = 0
    for order in orders:
        if not (store / order.name).exists():
            n_genes = len(known_columns(checkpoint.vocab, order.cells, checkpoint.name))
            needed += bytes_of(n_genes, checkpoint, settings)[0]
    free = shutil.disk_usage(place).free
    if needed > free:
        raise CacheError(
            f"{store} has {free / 1e9:.1f} GB free and {len(orders)} caches need {needed / 1e9:.1f} GB: make room, or leave "
            "out halves or controls."
        )


def merge_all(name: str, project: Path, *, discard: bool = False) -> Iterator[Cache]:
    """Merge the shards of a cache and of everything made beside it (samples and controls).

    Args:
        name: as it was given to the extraction.
        project: working folder.
        discard: remove the shards of a cache once it is written.

    Yields:
        Each cache; one that was merged before is kept.

    Raises:
        CacheError: if no shard of ``name`` is there, or those of some cache do not make a whole.
    """
    store = project / STORE
    bases = sorted(
        {path.name.rsplit(".shard-", 1)[0] for path in store.glob("*.shard-*-of-*") if (path / PART).is_file()}
    )
    wanted = [base for base in bases if base == name or base.startswith(f"{name}-")]
    if not wanted:
        raise CacheError(f"{store} holds no shard of '{name}': extract them with --shard i/n.")
    for base in wanted:
        shards = find_shards(store / base)
        cache = open_cache(store / base) if (store / base).exists() else merge(store / base)
        inputs = {str(json.loads((path / PART).read_text(encoding="utf-8"))["inputs"]) for path in shards}
        if inputs != {cache.manifest["provenance"].get("inputs")}:
            raise CacheError(
                f"{store / base} exists and was made from other inputs than its shards: remove one of them."
            )
        if discard:
            for path in shards:
                remove_part(path)
        yield cache


def difference_from_shipped(cache: Cache, control: Control | None) -> tuple[str, float] | None:
    """Compare with the shipped cache of the same kind: its name and the largest absolute difference of any value.

    Returns ``None`` if nothing comparable ships with the package.

    Raises:
        CacheError: if genes or counts of cells differ, so that no values correspond.
    """
    name = "demo" if control is None else f"demo-{control.kind}" + ("" if control.seed == 0 else f"-{control.seed}")
    try:
        shipped = open_cache(find_cache(name, Path()))
    except CacheError:
        return None
    if shipped.genes.symbol != cache.genes.symbol or list(shipped.genes.n_cells) != list(cache.genes.n_cells):
        raise CacheError(f"{cache.path} has other genes or cells than the shipped cache '{name}': use scanpy 1.11.")
    pairs = zip(cache.layers, shipped.layers, strict=True)
    return name, max(float(np.nanmax(np.abs(ours - theirs))) for ours, theirs in pairs)
