"""Parquet: the data frame of a ledger, nested values as JSON text, the head in the file's metadata (extra ``parquet``)."""

from pathlib import Path

from ...hypotheses.canonical import canonical_json
from ..errors import UserError
from ..ledger.export import NESTED, head_to_json, to_pandas
from ..ledger.store import Ledger


def write_parquet(ledger: Ledger, path: Path) -> None:
    """Every row with the columns and types of :func:`..ledger.export.to_pandas`. Raises :class:`UserError` without pyarrow."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UserError("Parquet needs pyarrow: pip install 'hyposcreen[parquet]', or export .csv or .jsonl") from None
    head, rows = ledger.snapshot()
    frame = to_pandas(rows)
    for name in NESTED:
        frame[name] = [canonical_json(value) for value in frame[name]]
    words = [name for name, kind in frame.dtypes.items() if str(kind) == "object"]
    schema = pa.schema(
        [
            pa.field(name, pa.string()) if name in words else pa.Schema.from_pandas(frame[[name]]).field(0)
            for name in frame
        ]
    )  # a column without any value would have no type otherwise
    table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
    kept = {b"hyposcreen_head": canonical_json(head_to_json(head)).encode()}
    pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **kept}), path)
