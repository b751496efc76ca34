"""Every format there is an importer for. A new one is one new file and one line here."""

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from . import cellmarker, collectri, dorothea, edges, hpa, pairs, panglaodb, partition, proteins, set_table, trrust
from .base import AnnotationError, Importer

IMPORTERS: Mapping[str, Importer] = MappingProxyType(
    {
        i.name: i
        for i in (
            Importer(
                "sets", "gene_set", "gene sets: GMT, or a table with a column for the set and one for the gene",
                set_table.COLUMNS, set_table.read,
            ),
            Importer(
                "partition", "gene_set", "a table that gives each gene one class", partition.COLUMNS, partition.read
            ),
            Importer(
                "pairs", "gene_pairs", "gene pairs by symbol or Ensembl id, with or without a score",
                pairs.COLUMNS, pairs.read,
            ),
            Importer("edges", "edges", "regulator and target, with or without a sign", edges.COLUMNS, edges.read),
            Importer(
                "proteins", "gene_pairs", "STRING links by protein id; --aliases names the genes", proteins.COLUMNS,
                proteins.read, "STRING", "12.0", "CC BY 4.0", "Szklarczyk et al. 2023, Nucleic Acids Research 51:D638",
            ),
            Importer(
                "trrust", "edges", "TRRUST 2, with and without a header", trrust.COLUMNS, trrust.read,
                "TRRUST", "2", "CC BY-SA 4.0", "Han et al. 2018, Nucleic Acids Research 46:D380",
            ),
            Importer(
                "collectri", "edges", "CollecTRI of decoupler or OmniPath", collectri.COLUMNS, collectri.read,
                "CollecTRI", "", "", "Müller-Dott et al. 2023, Nucleic Acids Research 51:10934",
            ),
            Importer(
                "dorothea", "edges", "DoRothEA with its confidences", dorothea.COLUMNS, dorothea.read,
                "DoRothEA", "", "", "Garcia-Alonso et al. 2019, Genome Research 29:1363",
            ),
            Importer(
                "hpa", "gene_set", "Human Protein Atlas, subcellular_location.tsv", hpa.COLUMNS, hpa.read,
                "Human Protein Atlas", "", "CC BY-SA", "Thul et al. 2017, Science 356:eaal3321",
            ),
            Importer(
                "panglaodb", "gene_set", "PanglaoDB markers", panglaodb.COLUMNS, panglaodb.read,
                "PanglaoDB", "", "free with citation", "Franzén et al. 2019, Database 2019:baz046",
            ),
            Importer(
                "cellmarker", "gene_set", "CellMarker as text, versions 1 and 2", cellmarker.COLUMNS, cellmarker.read,
                "CellMarker", "", "", "Hu et al. 2023, Nucleic Acids Research 51:D870",
            ),
        )
    }
)  # fmt: skip
"""Importers by the name that ``--as`` takes."""


def importer(name: str) -> Importer:
    """The importer called ``name``; the message lists those there are."""
    if name not in IMPORTERS:
        near = difflib.get_close_matches(name, list(IMPORTERS), n=1)
        hint = f"; did you mean {near[0]}? The formats are" if near else "; choose one of"
        raise AnnotationError(f"--as {name} is no format{hint} {', '.join(IMPORTERS)}")
    return IMPORTERS[name]
