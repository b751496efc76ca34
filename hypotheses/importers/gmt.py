"""Gene sets in GMT: name, description and genes, separated by tabs; one set a line."""

from pathlib import Path

from .base import AnnotationError, Group, Options, Raw, Tally
from .text import numbered_lines


def read(path: Path, options: Options) -> Raw:
    """Every set of the file; the description is the title where it is no address."""
    if options.where:
        raise AnnotationError(f"{path}: --where needs a table with columns, and GMT has none; choose sets with --only")
    dropped = Tally()
    groups: dict[str, Group] = {}
    read_lines = 0
    for number, line in numbered_lines(path):
        if line.startswith("#"):
            continue
        read_lines += 1
        name, _, rest = line.partition("\t")
        title, tab, genes = rest.partition("\t")
        if not tab or not name.strip():
            raise AnnotationError(
                f"{path}, line {number} is '{line[:60]}': a GMT line is name, description and genes, separated by tabs"
            )
        said = title.strip()
        if name in groups:
            dropped.add("sets whose name stands twice were joined", name[:40])
        group = groups.setdefault(name, Group(name.strip(), "" if _no_title(said) else said))
        # Some writers put a weight behind each gene.
        group.genes += [gene.split(",")[0].strip() for gene in genes.split("\t") if gene.strip()]
    return Raw("gene_set", list(groups.values()), dropped, read_lines)


def _no_title(text: str) -> bool:
    return text.lower() in ("", "na", "-", ">") or text.startswith(("http://", "https://"))
