"""What an import leaves in a folder of annotations: a GMT or TSV file, a table of ``annotations.toml``, and its own record."""

import json
from collections.abc import Mapping, Sequence

from ..annotation_files import HEADERS, Kind
from .rules import Cleaned, signs_of

SIGN_WORDS = {1: "activation", -1: "repression", 0: "unknown"}


def data_file(kind: Kind, annotations: Sequence[Cleaned]) -> tuple[str, str]:
    """(ending, text) of the file that holds the members."""
    if kind == "gene_set":
        lines = ["\t".join((a.name, a.title or "na", *_symbols(a))) for a in annotations]
        return ".gmt", "\n".join(lines) + "\n"
    header = "\t".join(HEADERS[kind])
    rows = [
        "\t".join((x, y, SIGN_WORDS[value] if kind == "edges" else str(value)))
        for a in annotations
        for x, y, value in signs_of(a.members)
    ]
    return ".tsv", "\n".join((header, *rows)) + "\n"


def toml_table(name: str, fields: Mapping[str, str]) -> str:
    """One table of ``annotations.toml``; empty fields are left out. A JSON string is a TOML string."""
    lines = [f"{field} = {json.dumps(value, ensure_ascii=False)}" for field, value in fields.items() if value]
    return "\n".join((f"[{name}]", *lines)) + "\n"


def without_table(toml: str, name: str) -> str:
    """``toml`` without the table ``name`` and its sub-tables."""
    kept, inside = [], False
    for line in toml.splitlines():
        if line.startswith("["):
            inside = line.split("]")[0][1:].split(".")[0] == name
        if not inside:
            kept.append(line)
    return "\n".join(kept).rstrip() + "\n"


def _symbols(annotation: Cleaned) -> list[str]:
    return [member for member in annotation.members if isinstance(member, str)]
