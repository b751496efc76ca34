"""CellMarker, as text: a gene set for each cell type. Version 2 has one symbol a line, version 1 a list in a field."""

from pathlib import Path

from .base import AnnotationError, Group, Options, Raw, Tally
from .table import read_table

COLUMNS = {
    "species": ("species", "speciesType"),
    "set": ("cell_name", "cellName"),
    "gene": ("Symbol", "geneSymbol"),
}


def read(path: Path, options: Options) -> Raw:
    """Markers of ``options.species`` by cell name; the tissue is chosen with ``--where tissue_class=Blood``."""
    table = read_table(path, options)
    places = {role: table.pick(role, names, options) for role, names in COLUMNS.items()}
    of_species, of_set, of_gene = (places[role] for role in ("species", "set", "gene"))
    assert of_species is not None and of_set is not None and of_gene is not None
    dropped = Tally()
    groups: dict[str, Group] = {}
    read_lines = 0
    for line, row in table.kept(options, dropped):
        read_lines += 1
        species = row[of_species].lower()
        if species not in ("human", "mouse"):
            raise AnnotationError(
                f"{path}, line {line}: the species is '{row[of_species][:40]}', where CellMarker has Human or Mouse; the "
                "columns may have shifted, so mend the line"
            )
        if species != options.species:
            dropped.add(f"lines of {species}", row[of_gene][:40])
            continue
        genes = [gene.strip(" []") for gene in row[of_gene].split(",")]
        genes = [gene for gene in genes if gene and gene.upper() not in ("NA", "NONE")]
        if not genes:
            dropped.add("lines without a symbol", row[of_set][:40])
            continue
        groups.setdefault(row[of_set], Group(row[of_set], f"Markers: {row[of_set]}")).genes += genes
    return Raw("gene_set", [groups[name] for name in sorted(groups)], dropped, read_lines)
