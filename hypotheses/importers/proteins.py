"""STRING links by protein id (``9606.ENSP…``), with STRING's alias or info file to name the genes.

The alias file is given with ``--aliases``: ``9606.protein.info`` or ``9606.protein.aliases`` of the same version.
"""

from collections import Counter
from pathlib import Path

from .base import AnnotationError, Group, Options, Raw, Tally
from .names import PROTEIN
from .pairs import COLUMNS as PAIR_COLUMNS
from .pairs import Scored, above, graded, places
from .table import read_table

COLUMNS = PAIR_COLUMNS
MEDIUM = 400
"""STRING calls a combined score of 400 medium confidence; below it most of the file is noise."""


def read(path: Path, options: Options) -> Raw:
    """Links at or above ``options.min_score`` (400 where none is given) whose two proteins have a gene."""
    if not options.names.meanings:
        raise AnnotationError(
            f"{path} names proteins, and nothing says their genes; give --aliases 9606.protein.info.v12.0.txt.gz of the same "
            "version"
        )
    table = read_table(path, options)
    a, b, score = places(table, options)
    floor = Options(options.columns, options.where, MEDIUM if options.min_score is None else options.min_score)
    dropped, taxa, scored, read_lines = Tally(), Counter[str](), list[Scored](), 0
    for line, row in table.kept(options, dropped):
        read_lines += 1
        ids = (row[a], row[b])
        if any(PROTEIN.fullmatch(name) is None for name in ids):
            raise AnnotationError(
                f"{path}, line {line}: '{next(n for n in ids if PROTEIN.fullmatch(n) is None)[:40]}' is no STRING protein id "
                "such as 9606.ENSP00000000233; a table of symbols is imported with --as pairs"
            )
        taxa.update(name.partition(".")[0] for name in ids)
        if not above(row, score, floor, dropped, path, line):
            continue
        genes = [_gene(name, options, dropped) for name in ids]
        if None not in genes:
            scored.append((str(genes[0]), str(genes[1]), row[score] if score is not None else "1", line))
    if len(taxa) > 1:
        raise AnnotationError(
            f"{path} links proteins of {len(taxa)} species ({', '.join(sorted(taxa)[:4])}); give the file of one"
        )
    if read_lines and not scored:
        taxon = next(iter(taxa))
        raise AnnotationError(
            f"{path} holds no link of taxon {taxon} whose proteins {options.names.file} names; take both files of the same "
            "species and version"
        )
    triples, note = graded(scored, path)
    said = "" if options.min_score is not None else f"; links below {MEDIUM} are left out, --min-score changes that"
    return Raw("gene_pairs", [Group("", "", triples=triples)], dropped, read_lines, [note + said])


def _gene(protein: str, options: Options, dropped: Tally) -> str | None:
    meant = options.names.meanings.get(protein, frozenset())
    if len(meant) == 1:
        return next(iter(meant))
    dropped.add("ends of links without one gene in the alias file", protein)
    return None
