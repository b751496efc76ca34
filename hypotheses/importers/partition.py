"""A partition: a table that gives each gene one class. Every class becomes a gene set."""

from pathlib import Path

from .base import AnnotationError, Options, Raw, Tally
from .set_table import COLUMNS as SET_COLUMNS
from .set_table import table_of_sets

COLUMNS = {
    "set": ("class", "partition", "group", "cluster", "module", *SET_COLUMNS["set"]),
    "gene": SET_COLUMNS["gene"],
}


def read(path: Path, options: Options) -> Raw:
    """The classes as sets; a gene in two classes is refused, because then it is no partition."""
    raw = table_of_sets(path, options, Tally())
    class_of: dict[str, str] = {}
    for group in raw.groups:
        for gene in group.genes:
            other = class_of.setdefault(gene, group.name)
            if other != group.name:
                raise AnnotationError(
                    f"{path}: {gene} is in the classes '{other}' and '{group.name}', and a partition gives each gene one; "
                    "mend the file, or import it with --as sets"
                )
    return raw
