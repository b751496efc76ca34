"""The rows for other programs: CSV, JSON, JSON lines, a data frame.

Every export carries the head, so that a table found years later can be checked against its ledger with
``screen ledger verify --head``. JSON holds it once, beside the rows. CSV and JSON lines repeat it in three last
columns, ``ledger_seq``, ``ledger_head`` and ``ledger_content_head``: every reader takes such a file without options (a
comment line would need one), and a row that is filtered out or pasted elsewhere still says where it comes from.
"""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal, TextIO

from ...hypotheses.canonical import canonical_json
from .records import Head, Row

if TYPE_CHECKING:
    import pandas as pd

    from .store import Ledger

Format = Literal["csv", "json", "jsonl"]

COLUMNS: tuple[str, ...] = tuple(f.name for f in fields(Row))
"""Column order of every export: the fields of ``Row``, as declared."""

HEAD_COLUMNS = ("ledger_seq", "ledger_head", "ledger_content_head")

NESTED = ("spec", "views", "checks", "baselines", "companions", "proposal_source", "reviews")
_PROSE = ("claim", "rationale", "reason", "family", "annotation", "invalidated")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_DTYPES = {
    **dict.fromkeys(("iteration", "k", "m", "n_genes", "n_entity", "attempts", "interval_units"), "Int64"),
    **dict.fromkeys(
        ("statistic", "effect", "null_mean", "p_raw", "p_scan", "q_bh", "q_by", "p_holm", "p_confirm",
         "p_confirm_adj", "p_u_adj", "p_h_adj", "prior", "min_effect", "level_lond", "level_saffron", "e_value", "effect_low",
         "effect_high", "interval_level"),
        "float64",
    ),
    "promoted": "bool",
}  # fmt: skip


def row_to_json(row: Row) -> dict[str, Any]:
    """A row as plain JSON types, one key a field of ``Row``, in their order; unknown values are ``None``."""
    values = {name: getattr(row, name) for name in COLUMNS}
    return values | {"spec": dict(row.spec), "views": [dict(view) for view in row.views], "reviews": list(row.reviews)}


def head_to_json(head: Head) -> dict[str, Any]:
    """A head as plain JSON types."""
    return {"seq": head.seq, "hash": head.hash, "content_hash": head.content_hash}


def write_json(rows: Iterable[Row], head: Head, out: TextIO) -> None:
    """``{"head": {...}, "rows": [...]}``, one row a line."""
    out.write(f'{{"head": {_line(head_to_json(head))},\n"rows": [')
    for number, row in enumerate(rows):
        out.write(("," if number else "") + "\n" + _line(row_to_json(row)))
    out.write("\n]}\n")


def write_jsonl(rows: Iterable[Row], head: Head, out: TextIO) -> None:
    """One JSON object a line: the row and the three head columns."""
    stamp = _stamp(head)
    for row in rows:
        out.write(_line(row_to_json(row) | stamp) + "\n")


def write_csv(rows: Iterable[Row], head: Head, out: TextIO) -> None:
    """CSV with a header line; nested values as JSON text, unknown values empty.

    Open ``out`` with ``newline=""``. Words a proposer chose that a spreadsheet would run as a formula (``=``, ``+``,
    ``-``, ``@`` first) get a leading apostrophe; JSON and JSON lines hold them unchanged.
    """
    stamp = _stamp(head)
    writer = csv.DictWriter(out, fieldnames=[*COLUMNS, *HEAD_COLUMNS], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        values = row_to_json(row) | stamp
        writer.writerow(values | {name: _defused(values[name]) for name in _PROSE} | _nested(values))


def export(ledger: "Ledger", format: Format, out: TextIO) -> Head:
    """Write every row of ``ledger`` as it is now, row by row; returns the head the export carries."""
    head, rows = ledger.stream()
    {"csv": write_csv, "json": write_json, "jsonl": write_jsonl}[format](rows, head, out)
    return head


def to_pandas(rows: Sequence[Row], head: Head | None = None) -> "pd.DataFrame":
    """A data frame with the columns of ``COLUMNS`` and the same dtypes however many rows there are.

    Counts are ``Int64`` (``<NA>`` where unknown), numbers ``float64``, words and nested values ``object``. ``head``, if
    given, is kept in ``frame.attrs["head"]``.
    """
    import pandas as pd

    values = [[getattr(row, name) for name in COLUMNS] for row in rows]
    frame = pd.DataFrame(values, columns=list(COLUMNS), dtype=object).astype(_DTYPES)
    if head is not None:
        frame.attrs["head"] = head_to_json(head)
    return frame


def _stamp(head: Head) -> dict[str, Any]:
    return dict(zip(HEAD_COLUMNS, (head.seq, head.hash, head.content_hash), strict=True))


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _nested(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: canonical_json(values[name]) for name in NESTED}


def _defused(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
