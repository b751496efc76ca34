"""What can be said of a cache: shape, digest, provenance and what the preflight found, as JSON types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import CacheError
from .importing import not_matched, unmatched_remark
from .store import SHIPPED, Cache, find_cache, list_caches, open_cache


def facts_of(cache: Cache) -> dict[str, Any]:
    """Shape, digest, preflight and provenance of an open cache."""
    missing = not_matched(cache.manifest)
    return {
        "name": cache.name,
        "path": str(cache.path),
        "digest": cache.digest,
        "genes": cache.n_genes,
        "masked": cache.n_genes - int(cache.genes.usable.sum()),
        "layers": cache.n_layers,
        "dim": cache.dim,
        "extras": list(cache.extras),
        "warnings": list(cache.report.warnings),
        "preflight": "\n".join([cache.report.summary(), *([unmatched_remark(missing)] if missing else [])]),
        "provenance": cache.manifest.get("provenance", {}),
    }


def cache_facts(name: str, folder: Path) -> dict[str, Any]:
    """Facts of one cache by name or path; every file is verified on the way. Raises ``CacheError``."""
    return facts_of(open_cache(find_cache(name, folder)))


def list_facts(folder: Path) -> list[dict[str, Any]]:
    """Facts of every cache that ships with the package and of those in ``folder``; one that is broken says so.

    A broken cache has ``name``, ``path`` and ``broken``, the sentence that says why, and nothing else.
    """
    out: list[dict[str, Any]] = []
    for name, path in [*SHIPPED.items(), *((p.name, p) for p in list_caches(folder))]:
        try:
            out.append(facts_of(open_cache(path)))
        except CacheError as error:
            out.append({"name": name, "path": str(path), "broken": str(error)})
    return out
