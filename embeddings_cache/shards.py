"""Parts of an extraction on disk: snapshots to resume from, shards of a job array, and their exact sum.

A part is a folder with one ``.npy`` file for each array of the totals and ``part.json``: the plan (every input that
decides a bit of the result), which shard it is, how many of its blocks are done, and the sha256 of each file. Shard i of
n owns the blocks i-1, i-1+n, i-1+2n, ...
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .durable import sync_folder, write_array, write_bytes
from .errors import CacheError
from .totals import Totals

PART = "part.json"
FORMAT = 1


@dataclass(frozen=True)
class Shard:
    """Which share of the blocks: ``number`` from 1 to ``count``."""

    number: int = 1
    count: int = 1

    def blocks(self, n_blocks: int) -> range:
        """Return the blocks of this shard."""
        return range(self.number - 1, n_blocks, self.count)

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``i/n``; raises ``CacheError`` for anything else."""
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise CacheError(f"--shard {text} is no share: write i/n with 1 <= i <= n, for example 2/4.")
        return cls(int(found[1]), int(found[2]))

    def folder(self, cache: Path) -> Path:
        """Where this shard of the cache ``cache`` is stored."""
        return cache.with_name(f"{cache.name}.shard-{self.number}-of-{self.count}")


def inputs_digest(plan: dict[str, Any]) -> str:
    """Return the sha256 (hex) of a plan: the identity of an extraction before it is made."""
    return hashlib.sha256(json.dumps(plan, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True)
class Part:
    """A part read from disk.

    Attributes:
        path: its folder.
        plan: every input; equal in all shards of one extraction.
        facts: what is known beside the totals (genes, versions, device), plain JSON values.
        shard: which one.
        blocks_done: how many of its blocks are in the totals.
        totals: memory-mapped copy-on-write; changing them does not change the files.
    """

    path: Path
    plan: dict[str, Any]
    facts: dict[str, Any]
    shard: Shard
    blocks_done: int
    totals: Totals


def write_part(
    folder: Path, plan: dict[str, Any], facts: dict[str, Any], shard: Shard, blocks_done: int, totals: Totals
) -> None:
    """Write a part beside ``folder``, flush it, and put it in the place of what was there.

    Raises:
        CacheError: if it cannot be written, for example because the disk is full; what was there stays.
    """
    fresh, old = folder.with_name(f"{folder.name}.new"), folder.with_name(f"{folder.name}.old")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left in (fresh, old):
            shutil.rmtree(left, ignore_errors=True)
        fresh.mkdir()
        hashes = {name: _written(fresh / f"{name}.npy", array) for name, array in totals.arrays().items()}
        content = {
            "format": FORMAT,
            "plan": plan,
            "inputs": inputs_digest(plan),
            "facts": facts,
            "shard": [shard.number, shard.count],
            "blocks_done": blocks_done,
            "files": hashes,
        }
        write_bytes(fresh / PART, (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode())
        sync_folder(fresh)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
        sync_folder(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise CacheError(f"{folder} could not be written ({error}): make room or choose another place.") from error


def _written(path: Path, array: NDArray[Any]) -> str:
    """Write an array and return the sha256 (hex) of its file."""
    write_array(path, array)
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def find_part(folder: Path) -> Path | None:
    """Return the newest whole part at ``folder``: itself, or the one that a killed writer had moved aside."""
    for place in (folder, folder.with_name(f"{folder.name}.old")):
        if (place / PART).is_file():
            return place
    return None


def remove_part(folder: Path) -> None:
    """Remove a part, and what killed writers of it have left."""
    for place in (folder, folder.with_name(f"{folder.name}.old"), folder.with_name(f"{folder.name}.new")):
        shutil.rmtree(place, ignore_errors=True)


def read_part(path: Path) -> Part:
    """Read a part and verify its files.

    Raises:
        CacheError: if a file is missing, changed or unreadable.
    """
    mend = "remove that folder and extract it again."
    try:
        content = json.loads((path / PART).read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise CacheError(f"{path} was written by another version of hyposcreen: {mend}")
        arrays = {}
        for name, expected in content["files"].items():
            file = path / f"{name}.npy"
            with file.open("rb") as handle:
                if hashlib.file_digest(handle, "sha256").hexdigest() != expected:
                    raise CacheError(f"{file} differs from the sha256 in {PART}: {mend}")
            # Mapped unless small: NumPy cannot map an array without elements.
            arrays[name] = np.load(file, mmap_mode="c" if file.stat().st_size > 4096 else None, allow_pickle=False)
        number, count = content["shard"]
        totals = Totals.of_arrays(arrays)
        return Part(path, content["plan"], content["facts"], Shard(number, count), content["blocks_done"], totals)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, CacheError):
            raise
        raise CacheError(f"{path} cannot be read as a part of an extraction ({error}): {mend}") from error


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold ``folder`` against a second process that extracts the same; freed by any end of this one.

    Raises:
        CacheError: if another process holds it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(f"{folder.name}.lock")
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CacheError(f"{folder} is being extracted by another process: wait for it or stop it.") from error
        try:
            yield
        finally:
            with suppress(OSError):
                lock.unlink()


def find_shards(cache: Path) -> list[Path]:
    """Return the folders of all shards of the cache ``cache``, by number."""
    pattern = re.compile(re.escape(cache.name) + r"\.shard-(\d+)-of-\d+")
    named = [(found, path) for path in cache.parent.glob("*") if (found := pattern.fullmatch(path.name))]
    return [path for _, path in sorted(named, key=lambda pair: (int(pair[0][1]), pair[1].name))]


def check_complete(parts: Sequence[Part], n_blocks: int) -> None:
    """Refuse shards that are not all of one extraction, once each, and finished.

    Raises:
        CacheError: naming the shard that is missing, unfinished, of another extraction, or there twice.
    """
    first = parts[0]
    for part in parts[1:]:
        differing = [key for key in first.plan if part.plan.get(key) != first.plan[key]]
        if differing or part.plan.keys() != first.plan.keys():
            what = ", ".join(differing) or "its plan"
            raise CacheError(f"{part.path} was made from other inputs than {first.path} ({what}): extract it again.")
        if part.shard.count != first.shard.count:
            raise CacheError(
                f"{part.path} is one of {part.shard.count} shards and {first.path} one of {first.shard.count}: "
                "give the shards of one division."
            )
    numbers = [part.shard.number for part in parts]
    missing = sorted(set(range(1, first.shard.count + 1)) - set(numbers))
    if missing:
        listed = ", ".join(f"{number}/{first.shard.count}" for number in missing)
        raise CacheError(f"{first.path.parent} lacks shard {listed}: extract it, then merge again.")
    if len(set(numbers)) != len(numbers):
        raise CacheError(f"shard {max(numbers, key=numbers.count)} is there twice: give each shard once.")
    for part in parts:
        if part.blocks_done != len(part.shard.blocks(n_blocks)):
            raise CacheError(f"{part.path} is unfinished: run its extraction again, which goes on where it was.")


def added(parts: Sequence[Part]) -> Totals:
    """Return the sum of the totals; exact, so in any order. The first part's arrays are reused."""
    total = parts[0].totals
    for part in parts[1:]:
        other = part.totals
        total.states += other.states
        total.squares += other.squares
        total.attention += other.attention
        total.n_cells = total.n_cells + other.n_cells
        total.pairs = total.pairs + other.pairs
        total.empty_cells += other.empty_cells
    return total
