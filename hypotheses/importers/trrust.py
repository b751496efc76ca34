"""TRRUST version 2: regulator, target, Activation, Repression or Unknown, PubMed ids, with or without a header."""

from collections.abc import Iterator
from pathlib import Path

from .base import AnnotationError, Options, Raw
from .edges import edges_of
from .signs import known_sign
from .table import Row, read_table

COLUMNS = {"regulator": ("TF", "1"), "target": ("Target", "2"), "sign": ("Regulation", "3")}


def read(path: Path, options: Options) -> Raw:
    """Every line of the file; the third column must hold TRRUST's words."""
    table = read_table(path, options, without_header=_data)
    sign = table.pick("sign", COLUMNS["sign"], options)
    assert sign is not None
    table.rows = _checked(table.rows, sign, path)
    return edges_of(table, options, COLUMNS, path)


def _checked(rows: Iterator[tuple[int, Row]], sign: int, path: Path) -> Iterator[tuple[int, Row]]:
    for line, row in rows:
        if not known_sign(row[sign]):
            raise AnnotationError(
                f"{path}, line {line}: '{row[sign][:40]}' stands where TRRUST has Activation, Repression or Unknown; the "
                "columns may have shifted. Mend the line, or name the columns with --columns"
            )
        yield line, row


def _data(row: Row) -> bool:
    return len(row) > 2 and known_sign(row[2])
