"""Human Protein Atlas, subcellular location: a gene set for each location, of the 2017 table and of later ones.

Locations of the reliability ``Uncertain`` are left out and counted. Genes are named by symbol; the file's own Ensembl
ids are taken with ``--columns gene=Gene``.
"""

import re
from pathlib import Path

from .base import AnnotationError, Group, Options, Raw, Tally
from .table import read_table

COLUMNS = {"gene": ("Gene name",), "reliability": ("Reliability",)}
LOCATIONS = ("Enhanced", "Validated", "Supported", "Approved")
"""Columns of trusted locations, in either generation of the file; fields hold several, separated by semicolons."""


def read(path: Path, options: Options) -> Raw:
    """Genes by trusted location."""
    table = read_table(path, options)
    dropped = Tally()
    of_gene = table.pick("gene", COLUMNS["gene"], options)
    of_reliability = table.pick("reliability", COLUMNS["reliability"], options)
    assert of_gene is not None and of_reliability is not None
    places = [place for place, column in enumerate(table.columns) if column in LOCATIONS]
    if not places:
        raise AnnotationError(
            f"{path} has none of the columns {', '.join(LOCATIONS)}; give the atlas' subcellular_location.tsv"
        )
    groups: dict[str, Group] = {}
    read_lines = 0
    for line, row in table.kept(options, dropped):
        read_lines += 1
        if row[of_reliability] not in (*LOCATIONS, "Uncertain"):
            raise AnnotationError(
                f"{path}, line {line}: the reliability is '{row[of_reliability][:40]}', which the atlas does not use; the "
                "columns may have shifted, so mend the line"
            )
        where = {x.strip() for place in places for x in re.split(";", row[place]) if x.strip()}
        if not where:
            dropped.add("genes with uncertain locations alone were left out", row[of_gene])
        for location in sorted(where):
            groups.setdefault(location, Group(location, f"Subcellular location: {location}")).genes.append(row[of_gene])
    return Raw("gene_set", [groups[name] for name in sorted(groups)], dropped, read_lines)
