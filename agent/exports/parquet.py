"""Parquet: the data frame of a ledger, nested values as JSON text, the head in the file's metadata (extra ``parquet``)."""

from itertools import islice
from pathlib import Path
from typing import Any

from ...hypotheses.canonical import canonical_json
from ..errors import UserError
from ..ledger.export import NESTED, head_to_json, to_pandas
from ..ledger.records import Row
from ..ledger.store import Ledger

GROUP = 2000
"""Rows of one row group: that many are held at once."""


def write_parquet(ledger: Ledger, path: Path) -> None:
    """Every row with the columns and types of :func:`..ledger.export.to_pandas`, in row groups.

    Raises :class:`UserError` without pyarrow.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UserError("Parquet needs pyarrow: pip install 'hyposcreen[parquet]', or export .csv or .jsonl") from None
    head, rows = ledger.stream()
    empty = _frame([])
    words = [name for name, kind in empty.dtypes.items() if str(kind) == "object"]
    fields = pa.schema(
        [
            pa.field(name, pa.string()) if name in words else pa.Schema.from_pandas(empty[[name]]).field(0)
            for name in empty
        ]
    )  # a column without any value would have no type otherwise
    kept = {b"hyposcreen_head": canonical_json(head_to_json(head)).encode()}
    described = pa.Table.from_pandas(empty, schema=fields, preserve_index=False).schema
    schema = described.with_metadata({**(described.metadata or {}), **kept})
    with pq.ParquetWriter(path, schema) as out:
        group = list(islice(rows, GROUP))
        while True:  # a ledger without rows is one empty group
            table = pa.Table.from_pandas(_frame(group), schema=fields, preserve_index=False)
            out.write_table(table.replace_schema_metadata(schema.metadata))
            if not (group := list(islice(rows, GROUP))):
                return


def _frame(rows: list[Row]) -> Any:
    frame = to_pandas(rows)
    for name in NESTED:
        frame[name] = frame[name].map(canonical_json)
    return frame
