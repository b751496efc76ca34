"""PanglaoDB: marker genes of cell types, a gene set for each type, of one species."""

from pathlib import Path

from .base import AnnotationError, Group, Options, Raw, Tally
from .table import read_table

COLUMNS = {"species": ("species",), "gene": ("official gene symbol",), "set": ("cell type",)}
SPECIES = {"human": "Hs", "mouse": "Mm"}
MANY = 0.5
"""Share of lines without a known species that no release has: the one of 2020 has 33 of 8,286."""


def read(path: Path, options: Options) -> Raw:
    """Markers of ``options.species``; genes of the other species alone are left out and counted.

    The file writes every symbol as human ones are written, so a set for mouse has to be matched with ``--aliases``.
    """
    table = read_table(path, options)
    places = {role: table.pick(role, names, options) for role, names in COLUMNS.items()}
    of_species, of_gene, of_set = (places[role] for role in ("species", "gene", "set"))
    assert of_species is not None and of_gene is not None and of_set is not None
    dropped = Tally()
    groups: dict[str, Group] = {}
    read_lines = unknown = 0
    for _, row in table.kept(options, dropped):
        read_lines += 1
        species = set(row[of_species].split())
        if not species <= set(SPECIES.values()):
            dropped.add(f"lines whose species is neither {' nor '.join(SPECIES.values())}", f"'{row[of_species][:40]}'")
            unknown += 1
            continue
        if SPECIES[options.species] not in species:
            dropped.add(f"lines without {SPECIES[options.species]} among their species", row[of_gene])
            continue
        groups.setdefault(row[of_set], Group(row[of_set], f"Markers: {row[of_set]}")).genes.append(row[of_gene])
    if unknown > MANY * read_lines:
        raise AnnotationError(
            f"{path}: {unknown} of {read_lines} lines have a species other than Hs and Mm; the columns have shifted, so mend the "
            "file, or name the column with --columns species=COLUMN"
        )
    return Raw("gene_set", [groups[name] for name in sorted(groups)], dropped, read_lines)
