"""Directed edges from regulator to target, with a sign where the table has one."""

from collections.abc import Mapping
from pathlib import Path

from .base import Group, Options, Raw, Tally
from .signs import sign_of
from .table import Table, read_table

COLUMNS = {
    "regulator": ("regulator", "tf", "source", "source_genesymbol", "transcription_factor", "from"),
    "target": ("target", "target_genesymbol", "gene", "target_gene", "to"),
    "sign": ("sign", "mor", "weight", "regulation", "effect", "mode", "direction"),
}


def read(path: Path, options: Options) -> Raw:
    """Every edge of the table."""
    return edges_of(read_table(path, options), options, COLUMNS, path)


def edges_of(table: Table, options: Options, columns: Mapping[str, tuple[str, ...]], path: Path) -> Raw:
    """Edges of an open table whose columns are looked for under the names of ``columns``."""
    regulator = table.pick("regulator", columns["regulator"], options)
    target = table.pick("target", columns["target"], options)
    sign = table.pick("sign", columns["sign"], options, required=False)
    assert regulator is not None and target is not None
    dropped, read_lines = Tally(), 0
    group = Group("", "")
    for line, row in table.kept(options, dropped):
        read_lines += 1
        if row[regulator].startswith("COMPLEX:") or row[target].startswith("COMPLEX:"):
            dropped.add("edges of protein complexes, which are no gene", f"{row[regulator]} → {row[target]}")
            continue
        if not row[regulator] or not row[target]:
            dropped.add("lines without a regulator or a target", f"line {line}")
            continue
        value = 0 if sign is None else sign_of(row[sign], path, line)
        group.triples.append((row[regulator], row[target], value))
    notes = [] if sign is not None else ["the file has no sign, so every edge is kept with the sign 0 (unknown)"]
    return Raw("edges", [group], dropped, read_lines, notes)
