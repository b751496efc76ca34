"""Record → rows of the typed tables. One pure function, used by append, by rebuild and by verify alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from sqlalchemy import Integer, Table, Text

from ...hypotheses.canonical import canonical_json
from . import records as r
from .schema import METADATA, VIEW_RESULT

Row = dict[str, Any]
Values = tuple[Any, ...]
Projected = Sequence[tuple[str, Values]]

_INT64 = 2**63


def project(seq: int, record: r.Record) -> Projected:
    """Rows that the entry ``seq`` adds, as ``(table name, values in order of its columns)``, in order of their foreign keys.

    Raises ``ValueError`` naming the column when a value does not fit it: SQLite would otherwise convert some of them
    silently, and the row would no longer equal its rebuild.
    """
    placed = []
    for table, row in _PROJECTORS[record.KIND](record):
        if type(row) is tuple:  # in order of its columns already, all but the seq
            placed.append((table, _fitting(_TYPES[table], (seq, *row))))
        else:
            row["seq"] = seq
            placed.append((table, _checked(table, row)))
    return placed


def named(table: str, values: Values) -> Row:
    """A row as column → value."""
    return dict(zip(_TYPES[table].names, values, strict=True))


def _run_opened(record: r.RunOpened) -> list[tuple[str, Row]]:
    if not isinstance(record.cache.get("digest"), str):
        raise ValueError("run.cache has no 'digest'")
    row = _values(record) | _as_json(record, "cache", "annotations", "split", "universe", "look_alphas")
    del row["campaign"]  # in the entry, and with every proposal that came from it
    # A seed may need more than SQLite's 63 bits.
    return [("run", row | {"seed": str(record.seed), "cache_digest": record.cache["digest"]})]


def _proposal(record: r.Proposed) -> list[tuple[str, Row]]:
    return [("proposal", _values(record) | _as_json(record, "proposal", "source"))]


def _proposer_opened(record: r.ProposerOpened) -> list[tuple[str, Row]]:
    row = _values(record) | _as_json(record, "prompts")
    del row["critic"], row["blinding"]  # in the entry; the critic also with every row it remarked on
    return [("proposer", row)]


def _budget(record: r.BudgetSet) -> list[tuple[str, Row]]:
    return [("budget", _values(record) | _as_json(record, "prices"))]


def _registration(record: r.Registered) -> list[tuple[str, Row]]:
    return [("hypothesis", _values(record) | _as_json(record, "spec"))]


def _attempt(record: r.AttemptStarted) -> list[tuple[str, Row]]:
    ending = {"outcome": None, "seconds": None, "detail": None}
    return [("attempt", {"event": "started"} | _values(record) | ending)]


def _attempt_ended(record: r.AttemptEnded) -> list[tuple[str, Row]]:
    beginning = {"worker": None, "started": None, "lease_seconds": None}
    return [("attempt", {"event": "ended"} | _values(record) | beginning)]


def _result(record: r.Tested) -> list[tuple[str, Any]]:
    row = _values(record) | _as_json(record, "baselines", "companions", "checks")
    row["null_name"] = row.pop("null")
    placed: list[tuple[str, Any]] = [("result", row)]
    for ordinal, view in enumerate(row.pop("views")):
        if view.keys() != _VIEW_NAMES:
            r.ViewNumbers.from_content(view)  # names what is wrong with it
        placed.append(("view_result", (ordinal, record.id, *_VIEW(view))))
    return placed


_VIEW_COLUMNS = tuple(column.name for column in VIEW_RESULT.columns)[3:]
"""Those after ``seq``, ``ordinal`` and ``id``: the fields of :class:`.records.ViewNumbers`, in their order."""
_VIEW_NAMES = frozenset(_VIEW_COLUMNS)
_VIEW = itemgetter(*_VIEW_COLUMNS)
"""A large ledger holds millions of views: each goes from its entry to its row without a record and a dictionary between."""


def _promotion(record: r.Promoted) -> list[tuple[str, Row]]:
    return [
        ("promotion", {"ordinal": ordinal, "id": id_, "rule": record.rule})
        for ordinal, id_ in enumerate(record.hypotheses)
    ]


def _look_result(record: r.LookResult) -> list[tuple[str, Row]]:
    row = _values(record)
    row["null_name"] = row.pop("null")
    return [("look_result", row)]


def _run_closed(record: r.RunClosed) -> list[tuple[str, Row]]:
    return [("run_end", _as_json(record, "counts"))]


def _artifact(record: r.Artifact) -> list[tuple[str, Row]]:
    record.text()  # ValueError where the body is not what its name says
    return [("artifact", {"sha256": record.sha256, "name": record.name, "bytes": len(record.body)})]


def _environment(record: r.Environment) -> list[tuple[str, Row]]:
    return [("environment", _values(record) | _as_json(record, "inputs", "packages", "numerics", "machine"))]


def _foreign_source(record: r.ForeignSource) -> list[tuple[str, Row]]:
    return [("foreign_source", _values(record) | _as_json(record, "columns"))]


def _foreign(record: r.ForeignRow) -> list[tuple[str, Row]]:
    return [("foreign_row", _values(record) | _as_json(record, "others"))]


def _plain(table: str) -> Callable[[Any], list[tuple[str, Row]]]:
    return lambda record: [(table, _values(record))]


_PROJECTORS: Mapping[str, Callable[[Any], Sequence[tuple[str, Any]]]] = {
    r.RunOpened.KIND: _run_opened,
    r.ProposerOpened.KIND: _proposer_opened,
    r.Completion.KIND: _plain("completion"),
    r.BudgetSet.KIND: _budget,
    r.Proposed.KIND: _proposal,
    r.Rejected.KIND: _plain("rejection"),
    r.Registered.KIND: _registration,
    r.AttemptStarted.KIND: _attempt,
    r.AttemptEnded.KIND: _attempt_ended,
    r.Tested.KIND: _result,
    r.IterationClosed.KIND: _plain("iteration"),
    r.Promoted.KIND: _promotion,
    r.LookOpened.KIND: _plain("look"),
    r.LookCounted.KIND: _plain("look_count"),
    r.LookResult.KIND: _look_result,
    r.VerdictGiven.KIND: _plain("verdict"),
    r.RunClosed.KIND: _run_closed,
    r.Replayed.KIND: _plain("replay"),
    r.Artifact.KIND: _artifact,
    r.Environment.KIND: _environment,
    r.Reviewed.KIND: _plain("review"),
    r.ForeignSource.KIND: _foreign_source,
    r.ForeignRow.KIND: _foreign,
}


def _values(record: r.Record) -> Row:
    # Not dataclasses.asdict: its deep copies take most of a rebuild's time.
    return dict(vars(record))


def _as_json(record: r.Record, *names: str) -> Row:
    return {name: canonical_json(getattr(record, name)) for name in names}


@dataclass(frozen=True)
class _Types:
    """What the columns of one table take."""

    table: str
    names: tuple[str, ...]
    values: Callable[[Row], Values]
    """Row → its values in order of the columns."""
    allowed: tuple[frozenset[type], ...]
    """The Python types a value may have, exactly: a bool is no int here."""
    seen: dict[tuple[type, ...], tuple[int, ...]] = field(default_factory=dict)
    """Types of a whole row that were found to fit → the places of its integers. A few for each table, asked for millions."""


def _types(table: Table) -> _Types:
    names = tuple(c.name for c in table.columns)
    allowed = tuple(
        frozenset(
            ({str} if isinstance(c.type, Text) else {int} if isinstance(c.type, Integer) else {int, float})
            | ({type(None)} if c.nullable else set())
        )
        for c in table.columns
    )
    return _Types(table.name, names, itemgetter(*names), allowed)


_TYPES: Mapping[str, _Types] = {table.name: _types(table) for table in METADATA.sorted_tables}


def _checked(table: str, row: Row) -> Values:
    types = _TYPES[table]
    values = types.values(row)
    if len(row) != len(values):
        raise ValueError(f"{table} has no column {', '.join(sorted(row.keys() - set(types.names)))}")
    return _fitting(types, values)


def _fitting(types: _Types, values: Values) -> Values:
    kinds = tuple(map(type, values))
    places = types.seen.get(kinds)
    if places is None:
        for column, value, allowed in zip(types.names, values, types.allowed, strict=True):
            if type(value) not in allowed:
                wanted = " or ".join(sorted(t.__name__ for t in allowed - {type(None)}))
                raise ValueError(f"{types.table}.{column} must be {wanted}, not {value!r}")
        places = types.seen[kinds] = tuple(place for place, kind in enumerate(kinds) if kind is int)
    for place in places:
        if not -_INT64 <= values[place] < _INT64:
            raise ValueError(f"{types.table}.{types.names[place]} = {values[place]} does not fit 64 bits")
    return values
