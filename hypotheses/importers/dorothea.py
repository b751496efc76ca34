"""DoRothEA: regulator, confidence A to E, target, mode of regulation. Confidences A to C are kept unless ``--where`` says."""

from dataclasses import replace
from pathlib import Path

from .base import AnnotationError, Options, Raw
from .edges import edges_of
from .table import read_table

COLUMNS = {"regulator": ("tf", "source"), "target": ("target",), "sign": ("mor", "weight")}
CONFIDENCE = "confidence"
KEPT = frozenset("ABC")


def read(path: Path, options: Options) -> Raw:
    """Edges of the wanted confidences; the others are counted."""
    table = read_table(path, options)
    if CONFIDENCE not in [column.lower() for column in table.columns]:
        raise AnnotationError(
            f"{path} has no column 'confidence', which DoRothEA has; a table without it is imported with --as edges"
        )
    said = any(column.lower() == CONFIDENCE for column in options.where)
    where = options.where if said else {**options.where, CONFIDENCE: KEPT}
    raw = edges_of(table, replace(options, where=where), COLUMNS, path)
    raw.notes += [] if said else ["confidences A, B and C are kept; --where confidence=A changes that"]
    return raw
