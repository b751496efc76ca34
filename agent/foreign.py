"""A foreign campaign: a file of hypotheses → typed rows, and the corrections its p-values bear.

Nothing is guessed. A column is what the user says it is; a p of 0 stays 0 and is shown beside (0 + 1) / (N + 1) where N was
given; what cannot be read is typed as that and counted. Corrections are printed for orientation: they assume that the file
holds every test that was made.
"""

import csv
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .errors import Exit, UserError
from .ledger.foreign import ForeignRow, ForeignSource
from .ledger.store import Ledger
from .untrusted import prose

FIELDS = ("id", "claim", "p", "draws", "effect", "family", "verdict", "test", "annotation")
"""What a column may be mapped to; ``p`` and ``claim`` must be."""
_MISSING = frozenset({"", "na", "n/a", "nan", "none", "null", "-", "–", "—", "."})
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_BELOW = re.compile(r"(?:p\s*)?(<=|<|≤)\s*(.+)")
MOST_ROWS = 200_000


def read_columns(text: str) -> dict[str, str]:
    """``"p=p_value,claim=Hypothesis"`` → field → column. Raises :class:`UserError` naming what is wrong."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    found = {name.strip(): column.strip() for name, _, column in pairs}
    shape = "--columns maps our fields to the file's columns: claim=Hypothesis,p=p_value"
    if wrong := next((name for name, sign, column in pairs if not sign or not column.strip()), None):
        raise UserError(f"'{wrong.strip()}' names no column; {shape}", Exit.USAGE)
    if unknown := sorted(set(found) - set(FIELDS)):
        raise UserError(f"'{unknown[0]}' is no field of ours; they are {', '.join(FIELDS)}", Exit.USAGE)
    if lacking := [name for name in ("claim", "p") if name not in found]:
        raise UserError(f"{' and '.join(lacking)} must be mapped; {shape}", Exit.USAGE)
    if len(found) < len(pairs):
        raise UserError(f"a field is mapped twice; {shape}", Exit.USAGE)
    return found


def typed_p(printed: str) -> tuple[str, float | None]:
    """Kind and number of a printed p-value.

    >>> typed_p("0.03"), typed_p("0.0"), typed_p("<1e-16"), typed_p("n/a"), typed_p("0,03")
    (('value', 0.03), ('zero', 0.0), ('below', 1e-16), ('missing', None), ('unreadable', None))
    """
    text = printed.strip()
    if text.lower() in _MISSING:
        return "missing", None
    bound = _BELOW.fullmatch(text)
    number = (bound[2] if bound else text).strip()
    if not _NUMBER.fullmatch(number):
        return "unreadable", None
    value = float(number)
    if not 0 <= value <= 1 or (bound and value == 0):
        return "unreadable", None
    return ("below" if bound else "value" if value > 0 else "zero"), value


def read_rows(path: Path, columns: Mapping[str, str]) -> list[dict[str, str]]:
    """The file's rows, as field → printed text. Raises :class:`UserError` naming the file and the mend."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check the path") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8 first") from None
    readers = {".csv": _csv, ".tsv": _tsv, ".txt": _tsv, ".jsonl": _jsonl, ".ndjson": _jsonl}
    if path.suffix not in readers:
        raise UserError(f"{path} does not end in one of {', '.join(readers)}; name the file accordingly", Exit.USAGE)
    header, rows = readers[path.suffix](path, text)
    if absent := [column for column in columns.values() if column not in header]:
        raise UserError(f"{path} has no column '{absent[0]}'; it has {', '.join(header)}", Exit.USAGE)
    if not rows:
        raise UserError(f"{path} holds no row; check the file")
    if len(rows) > MOST_ROWS:
        raise UserError(f"{path} holds {len(rows):,} rows, more than {MOST_ROWS:,}; split it", Exit.USAGE)
    return [{name: row.get(column, "") for name, column in columns.items()} for row in rows]


_Table = tuple[list[str], list[dict[str, str]]]


def _csv(path: Path, text: str, delimiter: str = ",") -> _Table:
    lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    filled = [(number, line) for number, line in enumerate(lines, start=1) if any(cell.strip() for cell in line)]
    if not filled:
        return [], []
    header = [cell.strip() for cell in filled[0][1]]
    if twice := [name for name, n in Counter(header).items() if n > 1]:
        raise UserError(f"{path} has two columns '{twice[0]}'; rename one")
    for number, line in filled[1:]:
        if len(line) != len(header):
            raise UserError(
                f"{path}, line {number}: {len(line)} cells under {len(header)} columns; quote the cells or mend it"
            )
    return header, [dict(zip(header, line, strict=True)) for _, line in filled[1:]]


def _tsv(path: Path, text: str) -> _Table:
    return _csv(path, text, "\t")


def _jsonl(path: Path, text: str) -> _Table:
    header: dict[str, None] = {}
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            # Numbers stay the text they are: what was printed is kept, not what a float makes of it.
            value = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number} is no JSON ({error.msg}); mend it") from None
        if not isinstance(value, dict):
            raise UserError(f"{path}, line {number} is no JSON object; give one object a line")
        header |= dict.fromkeys(value)
        rows.append({name: _printed(cell) for name, cell in value.items()})
    return list(header), rows


def _printed(cell: object) -> str:
    if cell is None:
        return ""
    return cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)


def import_campaign(
    ledger: Ledger, path: Path, columns: Mapping[str, str], name: str, draws: int | None, source: str
) -> tuple[ForeignSource, tuple[ForeignRow, ...]]:
    """Read ``path`` and append it whole, or not at all. Raises :class:`UserError` for a file that is not what was said of it."""
    name = prose(name.strip(), 80)
    if any(held.name == name for held in ledger.records(ForeignSource)):
        raise UserError(f"the ledger already holds a foreign campaign '{name}'; give another --name", Exit.FAILURE)
    if draws is not None and "draws" in columns:
        raise UserError("--draws N is for all rows, and --columns draws=… for each; give one of them", Exit.USAGE)
    cells = read_rows(path, columns)
    begin = len(ledger.records(ForeignRow)) + 1
    rows = tuple(_row(path, f"X{begin + n:04d}", name, cell, draws) for n, cell in enumerate(cells))
    kinds = Counter(row.p_kind for row in rows)
    if kinds["unreadable"] + kinds["missing"] == len(rows):
        raise UserError(
            f"no cell of column '{columns['p']}' of {path} holds a p-value (the first is {cells[0]['p']!r}); map another column",
            Exit.USAGE,
        )
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    at = datetime.now(UTC).isoformat(timespec="seconds")
    about = ForeignSource(name, path.name, sha, dict(columns), draws, prose(source.strip()), len(rows), at)
    ledger.append(about, *rows)
    return about, rows


def _row(path: Path, id_: str, source: str, cell: Mapping[str, str], draws: int | None) -> ForeignRow:
    kind, p = typed_p(cell["p"])
    others = {
        name: prose(text) for name, text in cell.items() if name not in {"id", "claim", "p", "draws"} and text.strip()
    }
    own = _draws(path, cell["draws"]) if "draws" in cell else draws
    return ForeignRow(
        id_, source, prose(cell.get("id", ""), 80), prose(cell["claim"]), prose(cell["p"], 80), kind, p, own, others
    )


def _draws(path: Path, text: str) -> int | None:
    """N as a whole number, also where a table program wrote 15.0; empty means not known."""
    if text.strip().lower() in _MISSING:
        return None
    if not re.fullmatch(r"\d+(\.0+)?", text.strip()):
        raise UserError(
            f"{path}: '{prose(text, 40)}' is no number of draws; map another column, or leave it out", Exit.USAGE
        )
    return int(float(text)) or None


@dataclass(frozen=True)
class Corrected:
    """Corrections of one foreign campaign, over its rows with a number. Exploratory; none of them confirms anything here."""

    name: str
    rows: int
    kinds: Mapping[str, int]
    """P kind → rows."""
    tests: int
    """Rows with a number: what the corrections count."""
    printed: Mapping[str, Mapping[str, float]]
    """Id → ``p``, ``bonferroni``, ``holm``, ``bh``, ``by``, from the p-values as printed (zeros as 0)."""
    repaired: Mapping[str, Mapping[str, float]] | None
    """The same with zeros as (0 + 1) / (N + 1), and 1 for a zero without N: of such a test nothing can be said. ``None``
    where there is no zero, or none has N."""
    without_draws: int
    """Zeros without N."""

    def survivors(self, alpha: float = 0.05) -> dict[str, dict[str, int]]:
        """``printed`` and, where known, ``repaired`` → column → rows at most ``alpha``."""
        tables = {"printed": self.printed} | ({"repaired": self.repaired} if self.repaired is not None else {})
        columns = ("p", "bonferroni", "holm", "bh", "by")
        return {
            title: {c: sum(values[c] <= alpha for values in table.values()) for c in columns}
            for title, table in tables.items()
        }


def corrected(name: str, rows: Sequence[ForeignRow]) -> Corrected:
    """Bonferroni, Holm, BH and BY over the rows of one campaign that have a number."""
    known = [row for row in rows if row.p is not None]
    zeros = [row for row in known if row.p_kind == "zero"]
    return Corrected(
        name=name,
        rows=len(rows),
        kinds=dict(Counter(row.p_kind for row in rows)),
        tests=len(known),
        printed=_adjusted((row.id, row.p or 0.0) for row in known),
        repaired=_adjusted((row.id, repaired_p(row)) for row in known) if any(row.draws for row in zeros) else None,
        without_draws=sum(row.draws is None for row in zeros),
    )


def repaired_p(row: ForeignRow) -> float:
    """The p of a row with a number; a zero of N draws is (0 + 1) / (N + 1), and one of unknown N is 1."""
    assert row.p is not None
    return row.p if row.p_kind != "zero" else 1 / (row.draws + 1) if row.draws else 1.0


def _adjusted(p: Iterable[tuple[str, float]]) -> dict[str, dict[str, float]]:
    from statsmodels.stats.multitest import multipletests

    pairs = list(p)
    values = [value for _, value in pairs]
    methods = {"bonferroni": "bonferroni", "holm": "holm", "bh": "fdr_bh", "by": "fdr_by"}
    columns = {name: multipletests(values, method=method)[1] for name, method in methods.items()} if values else {}
    return {
        id_: {"p": value} | {name: float(column[n]) for name, column in columns.items()}
        for n, (id_, value) in enumerate(pairs)
    }


def campaigns(ledger: Ledger) -> list[tuple[ForeignSource, tuple[ForeignRow, ...], Corrected]]:
    """Every foreign campaign of a ledger with its rows and their corrections, in order of import."""
    rows = ledger.records(ForeignRow)
    found: list[tuple[ForeignSource, tuple[ForeignRow, ...], Corrected]] = []
    for source in ledger.records(ForeignSource):
        mine = tuple(row for row in rows if row.source == source.name)
        found.append((source, mine, corrected(source.name, mine)))
    return found


def as_json(source: ForeignSource, rows: Sequence[ForeignRow], found: Corrected) -> dict[str, Any]:
    """One campaign as plain JSON types."""
    return {
        "source": source.to_content(),
        "status": "external: not tested here, and never confirmed here",
        "kinds": dict(found.kinds),
        "tests": found.tests,
        "zeros_without_draws": found.without_draws,
        "at_most_0.05": found.survivors(),
        "rows": [
            row.to_content() | {"printed": found.printed.get(row.id), "repaired": (found.repaired or {}).get(row.id)}
            for row in rows
        ],
    }
