"""Draw the negative controls of the demo annotations: ``python make_controls.py [GENES] [--out DIR]``.

GENES is a file whose first tab-separated column holds the gene symbols of the demo cache, by default the shipped gene
table. Every draw sorts candidates by the sha256 of a fixed string and the candidate, so the same symbols, markers,
housekeeping genes, pairs and edges give the same bytes on every machine, and no generator can change under them.

What is drawn: one random set as large as each marker set; the housekeeping genes in two halves; as many random pairs as
``complexes`` has, with its grades; and for each regulator of ``tf_targets`` random targets with its signs.
"""

import argparse
import hashlib
import itertools
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
GENES = HERE.parents[1] / "embeddings_cache" / "demo" / "cache" / "genes.tsv"
SALT = "hyposcreen demo controls 1"


def shuffled(draw: str, candidates: Iterable[str]) -> list[str]:
    """``candidates`` in an order that depends on nothing but ``draw`` and the candidates."""
    return sorted(candidates, key=lambda text: hashlib.sha256(f"{SALT}\t{draw}\t{text}".encode()).hexdigest())


def read_symbols(path: Path) -> list[str]:
    """First column of ``path``, sorted, without its header where that column is called symbol, gene or gene_symbol."""
    lines = path.read_text(encoding="utf-8").splitlines()
    column = [line.split("\t")[0].strip() for line in lines if line.strip() and not line.startswith("#")]
    return sorted(set(column) - {"symbol", "gene", "gene_symbol"})


def read_sets(path: Path) -> dict[str, list[str]]:
    """Name → genes of a GMT file."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return {name: genes for name, _, *genes in rows}


def read_triples(path: Path, annotation: str) -> list[list[str]]:
    """The rows of one annotation of a pair or edge table, as three fields of text."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return [fields for name, *fields in rows if name == annotation]


def control_sets(symbols: list[str], markers: dict[str, list[str]], housekeeping: list[str]) -> str:
    """GMT text of the random sets and the housekeeping halves."""
    lines = []
    for name, genes in markers.items():
        drawn = sorted(shuffled(f"set {name}", symbols)[: len(genes)])
        lines.append([f"random_{name}", f"Random genes, as many as {name}", *drawn])
    order = shuffled("housekeeping halves", housekeeping)
    middle = (len(order) + 1) // 2
    for number, half in enumerate((order[:middle], order[middle:]), start=1):
        lines.append([f"housekeeping_half_{number}", f"Random half {number} of the housekeeping genes", *sorted(half)])
    return "".join("\t".join(line) + "\n" for line in lines)


def control_pairs(symbols: list[str], pairs: list[list[str]]) -> str:
    """TSV text of the random pairs."""
    every = [f"{a}\t{b}" for a, b in itertools.combinations(symbols, 2)]
    drawn = shuffled("pairs", every)[: len(pairs)]
    grades = sorted((grade for _, _, grade in pairs), reverse=True)
    rows = sorted(f"random_pairs\t{pair}\t{grade}" for pair, grade in zip(drawn, grades, strict=True))
    return "\n".join(["annotation\tgene_a\tgene_b\tgrade", *rows]) + "\n"


def control_edges(symbols: list[str], edges: list[list[str]]) -> str:
    """TSV text of the random edges."""
    rows = []
    for regulator in sorted({regulator for regulator, _, _ in edges}):
        signs = sorted(sign for source, _, sign in edges if source == regulator)
        targets = shuffled(f"targets of {regulator}", set(symbols) - {regulator})[: len(signs)]
        rows += [f"random_edges\t{regulator}\t{target}\t{sign}" for target, sign in zip(targets, signs, strict=True)]
    return "\n".join(["annotation\tregulator\ttarget\tsign", *sorted(rows)]) + "\n"


def make(symbols: list[str]) -> dict[str, str]:
    """File name → text of every control file, for the sorted ``symbols`` of the demo cache."""
    housekeeping = read_sets(HERE / "housekeeping.gmt")["housekeeping"]
    return {
        "control_sets.gmt": control_sets(symbols, read_sets(HERE / "markers.gmt"), housekeeping),
        "control_pairs.tsv": control_pairs(symbols, read_triples(HERE / "pairs.tsv", "complexes")),
        "control_edges.tsv": control_edges(symbols, read_triples(HERE / "edges.tsv", "tf_targets")),
    }


def main() -> None:
    """Write the control files beside this script, or into ``--out``."""
    parser = argparse.ArgumentParser(description="Draw the negative controls of the demo annotations.")
    parser.add_argument("genes", nargs="?", type=Path, default=GENES, help="gene table, symbols in the first column")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to (default: beside this script)")
    arguments = parser.parse_args()
    if not arguments.genes.is_file():
        parser.error(f"there is no gene table {arguments.genes}; give a file with the symbols in its first column")
    for name, text in make(read_symbols(arguments.genes)).items():
        (arguments.out / name).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
