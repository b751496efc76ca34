"""Gene representations cached from a single-cell transformer: extract once, check always, screen many times.

Importing this package loads NumPy only. Extraction needs torch and lives in the modules ``checkpoint``, ``encoder`` and
``extract``, which are imported by those who extract.
"""

from .errors import CacheError
from .genes import GeneTable
from .preflight import PreflightReport, preflight
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
    "preflight",
    "split_digest",
    "split_genes",
    "write_cache",
]
