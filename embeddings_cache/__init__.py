"""Gene representations cached from a single-cell transformer: extract once, check always, screen many times.

Importing this package loads nothing heavy: its names are loaded when they are first used, so that the command line can
ask for help in no time. Extraction needs torch and lives in the modules ``checkpoint``, ``encoder`` and ``extract``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import CacheError
    from .genes import GeneTable
    from .preflight import PreflightReport
    from .split import GeneSplit, gene_families, plan_split, split_digest, split_genes
    from .store import Cache, cache_digest, find_cache, list_caches, open_cache, write_cache

__all__ = [
    "Cache",
    "CacheError",
    "GeneSplit",
    "GeneTable",
    "PreflightReport",
    "cache_digest",
    "find_cache",
    "gene_families",
    "list_caches",
    "open_cache",
    "plan_split",
    "split_digest",
    "split_genes",
    "write_cache",
]

# A function never shares its name with a module here: importing the module would hide the function.
_HOMES = {
    "errors": ("CacheError",),
    "genes": ("GeneTable",),
    "preflight": ("PreflightReport",),
    "split": ("GeneSplit", "gene_families", "plan_split", "split_digest", "split_genes"),
    "store": ("Cache", "cache_digest", "find_cache", "list_caches", "open_cache", "write_cache"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
