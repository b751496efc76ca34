"""The files of an annotations folder: gene sets as GMT, pairs and edges as TSV. Text in, raw members and line numbers out."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

Kind = Literal["gene_set", "gene_pairs", "edges"]
Triple = tuple[str, str, int]
CONFIG = "annotations.toml"
HEADERS: dict[Kind, tuple[str, ...]] = {
    "gene_pairs": ("gene_a", "gene_b", "grade"),
    "edges": ("regulator", "target", "sign"),
}
SIGNS = {"activation": 1, "+1": 1, "1": 1, "repression": -1, "-1": -1, "unknown": 0, "0": 0}


class AnnotationError(ValueError):
    """One sentence: the file and line, the value that is wrong, and how to mend it."""


def slug(text: str) -> str:
    """``text`` as an annotation name: lower case, every other run of characters one underscore."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "unnamed"


def read_gmt(path: Path) -> list[tuple[str, str, list[str], int]]:
    """(name, title or '', genes, line) of every set; a set name that stands twice is left to the caller."""
    sets = []
    for number, line in held_lines(path):
        name, title, *rest = [*line.split("\t"), "", ""]
        genes = [gene.strip() for gene in rest if gene.strip()]
        if not genes:
            what = f"set {name[:40]!r} has no gene; a GMT line is name, description and genes, separated by tabs"
            raise AnnotationError(f"{path}, line {number}: {what}")
        check_symbols(genes, path, number)
        sets.append((name.strip(), "" if title.strip().lower() in ("na", "-") else title.strip(), genes, number))
    return sets


def read_tsv(path: Path, kind: Kind, key: str) -> list[tuple[str, str, list[Triple], int]]:
    """(name, '', triples, first line) of every annotation of a pair or edge table."""
    expected = HEADERS[kind]
    (number, first), *rows = held_lines(path)
    header = tuple(first.rstrip().split("\t"))
    named = header == ("annotation", *expected)
    if not named and header != expected:
        raise AnnotationError(
            f"{path}, line {number}: the header is {' '.join(header)!r}; for kind {kind} it must be "
            f"{' '.join(expected)!r}, separated by tabs, with or without a first column 'annotation'"
        )
    if not rows:
        raise AnnotationError(f"{path} has a header but no row; add rows or remove its table from {CONFIG}")
    triples: dict[str, list[Triple]] = {}
    starts: dict[str, int] = {}
    for line, text in rows:
        fields = [field.strip() for field in text.split("\t")]
        if len(fields) != len(header) or not all(fields):
            what = f"{sum(map(bool, fields))} filled fields in {text[:60]!r} where the header has {len(header)}"
            raise AnnotationError(f"{path}, line {line}: {what}; fill or remove the line")
        a, b, value = fields[-3:]
        check_symbols((a, b), path, line)
        if a == b:
            raise AnnotationError(f"{path}, line {line}: {a} is paired with itself; remove the line")
        name = fields[0] if named else key
        starts.setdefault(name, line)
        triples.setdefault(name, []).append((a, b, _value(kind, value, path, line)))
    return [(name, "", rows_of_name, starts[name]) for name, rows_of_name in triples.items()]


def _value(kind: Kind, text: str, path: Path, line: int) -> int:
    if kind == "gene_pairs":
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise AnnotationError(f"{path}, line {line}: grade {text!r} is not an integer of 0 or more; write 1, 2, 3")
        return int(text)
    if text.lower() not in SIGNS:
        raise AnnotationError(f"{path}, line {line}: sign {text!r} is unknown; write one of {', '.join(SIGNS)}")
    return SIGNS[text.lower()]


def check_symbols(genes: Iterable[str], path: Path, line: int) -> None:
    """Refuse a gene with a space in it: its line was separated by something else than tabs."""
    for gene in genes:
        if re.search(r"\s", gene):
            what = f"{gene[:40]!r} is no gene symbol, it has a space in it; separate genes by tabs"
            raise AnnotationError(f"{path}, line {line}: {what}")


def held_lines(path: Path) -> list[tuple[int, str]]:
    """Numbered lines that hold something; never empty."""
    lines = enumerate(read_text(path).replace("\r\n", "\n").split("\n"), start=1)
    held = [(number, line) for number, line in lines if line.strip() and not line.startswith("#")]
    if not held:
        raise AnnotationError(f"{path} is empty; add a line or remove its table from {CONFIG}")
    return held


def read_text(path: Path) -> str:
    """The text of a UTF-8 file; anything else is named, with the mend."""
    if not path.is_file():
        raise AnnotationError(f"there is no file {path}; check the name, which is relative to the annotations folder")
    data = path.read_bytes()
    if data.startswith(b"\x1f\x8b"):
        raise AnnotationError(f"{path} is compressed with gzip; unpack it with gunzip")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"byte 0x{data[error.start]:02x} is not UTF-8, the file may be Latin-1"
        raise AnnotationError(f"{path}, line {line}: {what}; convert it with iconv -f latin1 -t utf-8") from None
