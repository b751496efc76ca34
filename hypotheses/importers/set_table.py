"""Gene sets in a table of two columns, set and gene: a gene may be in several sets."""

from pathlib import Path

from .base import Group, Options, Raw, Tally
from .gmt import read as read_gmt
from .table import read_table

COLUMNS = {
    "set": ("set", "gs_name", "geneset", "gene_set", "term", "pathway", "cluster", "cell_type", "class", "name"),
    "gene": ("gene", "symbol", "gene_symbol", "gene_name", "genes", "feature_name", "ensembl_gene_id", "gene_id"),
}


def read(path: Path, options: Options) -> Raw:
    """GMT where the name says so, else a table with a column for the set and one for the gene."""
    if path.name.lower().removesuffix(".gz").endswith(".gmt"):
        return read_gmt(path, options)
    return table_of_sets(path, options, Tally())


def table_of_sets(path: Path, options: Options, dropped: Tally) -> Raw:
    """Sets of a table; lines without a set or a gene are counted."""
    table = read_table(path, options)
    of_set, of_gene = table.pick("set", COLUMNS["set"], options), table.pick("gene", COLUMNS["gene"], options)
    assert of_set is not None and of_gene is not None
    groups: dict[str, Group] = {}
    read_lines = 0
    for line, row in table.kept(options, dropped):
        read_lines += 1
        name, gene = row[of_set], row[of_gene]
        if not name or not gene:
            dropped.add("lines without a set or without a gene", f"line {line}")
            continue
        groups.setdefault(name, Group(name, "")).genes.append(gene)
    return Raw("gene_set", list(groups.values()), dropped, read_lines)
