"""Is this ledger what hyposcreen wrote? Every check reads; none repairs.

A person who may write the file can recompute the whole chain, or cut its end off, and leave a consistent ledger behind.
Only a head that left the file (a report, an export, a note) catches that: pass it as ``head``.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table, UniqueConstraint, func, or_, select, true
from sqlalchemy.exc import DBAPIError

from .chain import GENESIS, Entry, entry_hash, next_content_hash
from .database import TIMEOUT, Database, Location, database_at
from .errors import DamagedLedgerError, LedgerError
from .projections import Projected, project
from .records import Head
from .rules import order_problem
from .schema import ENTRY, PROJECTIONS, SCHEMA_VERSION

_PAGE = 5000
_SHORTEST_PREFIX = 8


@dataclass(frozen=True)
class VerifyReport:
    """What a verification found."""

    ok: bool
    problems: tuple[str, ...]
    """One sentence each, naming the entry, or the table, key and column."""
    head: Head
    """The last entry as stored; the genesis head if nothing could be read."""
    entries: int
    """Entries read."""


def verify(where: Location, head: str | None = None) -> VerifyReport:
    """Check the storage, the chain, the order of the run, and every projection against a rebuild.

    ``head`` is ``HASH`` or ``SEQ:HASH`` as printed earlier; at least eight characters of the hash. It must be an entry
    of the chain. Raises :class:`LedgerError` if there is no ledger to check (missing, foreign, newer, locked) or if
    ``head`` is not a hash; everything else, damage included, is a problem of the report.
    """
    wanted = _parse_head(head)
    database = database_at(where, TIMEOUT)
    database.require(writable=False)
    walk = _Walk(wanted, database)
    try:
        with database.reading() as connection:
            version = database.schema_version(connection)
            walk.problems += database.damage(connection)
            walk.problems += database.trigger_problems(connection)
            walk.chain(connection, projections=version == SCHEMA_VERSION)
    except DamagedLedgerError as error:
        walk.problems.append(str(error))
    walk.finish()
    return VerifyReport(not walk.problems, tuple(walk.problems), walk.head, walk.entries)


def _parse_head(head: str | None) -> tuple[int | None, str] | None:
    if head is None:
        return None
    seq, _, prefix = head.strip().lower().rpartition(":")
    valid = len(prefix) >= _SHORTEST_PREFIX and set(prefix) <= set("0123456789abcdef") and (not seq or seq.isdecimal())
    if not valid:
        raise LedgerError(f"{head!r} is not a head; give HASH or SEQ:HASH, at least 8 hexadecimal characters of it")
    return (int(seq) if seq else None), prefix


@dataclass
class _Walk:
    """One pass over the chain: what was seen so far, and what was wrong with it."""

    wanted: tuple[int | None, str] | None
    database: Database
    head: Head = GENESIS
    entries: int = 0
    problems: list[str] = field(default_factory=list)
    found_head: bool = False
    _kinds: Counter[str] = field(default_factory=Counter)
    _keys: dict[tuple[str, tuple[str, ...]], set[tuple[Any, ...]]] = field(default_factory=dict)
    """(table, columns) → values so far, for every UNIQUE constraint and every column a foreign key points at."""

    def __post_init__(self) -> None:
        self._meets_head(GENESIS)

    def chain(self, connection: Connection, projections: bool) -> None:
        """Read every entry; with ``projections`` compare each page of them with the tables."""
        last: int | None = None
        while page := _entries(connection, last):
            expected: dict[str, dict[tuple[int, ...], dict[str, Any]]] = {table.name: {} for table in PROJECTIONS}
            for entry in page:
                self._link(entry)
                for name, row in self._told(entry):
                    expected[name][(row["seq"], row["ordinal"]) if "ordinal" in row else (row["seq"],)] = row
            if projections:
                for table in PROJECTIONS:
                    self.problems += _differences(
                        self.database, connection, table, expected[table.name], last, page[-1].seq
                    )
            last = page[-1].seq
        if projections:
            self.problems += _strays(self.database, connection, self.head.seq)

    def finish(self) -> None:
        """The last question: was the head the caller knows among the entries?"""
        if self.wanted is None or self.found_head:
            return
        seq, prefix = self.wanted
        where = f"entry {seq}" if seq is not None else "any entry"
        self.problems.append(
            f"the head {prefix} is not the hash of {where}: the ledger was truncated or rewritten after that head was "
            f"noted, or the head belongs to another ledger (this one ends at {self.head.seq}:{self.head.hash[:12]})"
        )

    def _link(self, entry: Entry) -> None:
        before, name = self.head, f"entry {entry.seq} ({entry.kind})"
        if entry.seq != before.seq + 1:
            self.problems.append(f"{name} follows entry {before.seq}: entries between them are missing")
        if entry.prev != before.hash:
            self.problems.append(f"{name} does not continue the chain: its prev is not the hash of entry {before.seq}")
        if entry.hash != entry_hash(entry.prev, entry.seq, entry.kind, entry.content, entry.context):
            self.problems.append(f"{name} was edited: its hash does not match what it holds")
        if entry.content_hash != next_content_hash(before.content_hash, entry.kind, entry.content):
            self.problems.append(f"{name} has a content hash that does not follow from entry {before.seq}")
        self.head = entry.head()
        self.entries += 1
        self._meets_head(self.head)

    def _meets_head(self, head: Head) -> None:
        if self.wanted is not None:
            seq, prefix = self.wanted
            self.found_head |= seq in (None, head.seq) and head.hash.startswith(prefix)

    def _told(self, entry: Entry) -> Projected:
        """The rows an entry adds, after checking that it may stand where it stands."""
        name = f"entry {entry.seq} ({entry.kind})"
        if problem := order_problem(entry.kind, self._kinds.__getitem__):
            self.problems.append(f"{name} is out of order: {problem}")
        self._kinds[entry.kind] += 1
        try:
            rows = project(entry.seq, entry.record())
        except (LedgerError, TypeError, ValueError) as error:
            self.problems.append(f"{name} cannot be read: {error}")
            return ()
        for table, row in rows:
            self._relate(name, table, row)
        return rows

    def _relate(self, name: str, table: str, row: dict[str, Any]) -> None:
        for column, target, key in _REFERENCES[table]:
            value = row[column]
            if value is not None and (value,) not in self._keys.get((target, (key,)), ()):
                self.problems.append(f"{name} comes before, or without, the {target} {value} it belongs to")
        for columns in _UNIQUE[table]:
            values = tuple(row[column] for column in columns)
            seen = self._keys.setdefault((table, columns), set())
            if values in seen:
                shown = ", ".join(f"{c} {v}" for c, v in zip(columns, values, strict=True))
                self.problems.append(f"{name} repeats the {table} with {shown}")
            seen.add(values)


_REFERENCES = {
    table.name: [
        (key.parent.name, key.column.table.name, key.column.name)
        for key in table.foreign_keys
        if key.column.table is not ENTRY
    ]
    for table in PROJECTIONS
}
"""Table → (column, table it points at, column there)."""
_UNIQUE = {
    table.name: [tuple(c.name for c in u.columns) for u in table.constraints if isinstance(u, UniqueConstraint)]
    for table in PROJECTIONS
}


def _entries(connection: Connection, after: int | None) -> list[Entry]:
    # No lower bound at first: an entry slipped in before the first one must not hide.
    page = select(ENTRY).where(true() if after is None else ENTRY.c.seq > after).order_by(ENTRY.c.seq).limit(_PAGE)
    return [Entry(*row) for row in connection.execute(page)]


def _differences(
    database: Database,
    connection: Connection,
    table: Table,
    expected: dict[tuple[int, ...], dict[str, Any]],
    after: int | None,
    last: int,
) -> Iterator[str]:
    """How the stored rows of entries ``after < seq <= last`` (``None``: from the first) differ from their rebuild."""
    query = select(table).where(true() if after is None else table.c.seq > after, table.c.seq <= last)
    try:
        with connection.begin_nested():  # PostgreSQL would refuse every later question after one that failed
            names = [column.name for column in table.columns]
            keys = len(table.primary_key)  # the first columns
            actual = {tuple(row[:keys]): dict(zip(names, row, strict=True)) for row in connection.execute(query)}
    except DBAPIError as error:
        if database.explained(error) is not None:
            raise
        if after is None:
            yield f"table {table.name} cannot be read: {str(error.orig).splitlines()[0]}"
        return
    for key in sorted(expected.keys() | actual.keys()):
        if actual.get(key) == expected.get(key):
            continue
        name = f"table {table.name}, {', '.join(f'{c.name} {v}' for c, v in zip(table.primary_key, key, strict=True))}"
        if key not in actual:
            yield f"{name}: the row is missing"
        elif key not in expected:
            yield f"{name}: the row does not come from any entry"
        else:
            for column, value in expected[key].items():
                if actual[key][column] != value:
                    yield f"{name}, column {column}: {actual[key][column]!r}, but its entry says {value!r}"


def _strays(database: Database, connection: Connection, last: int) -> Iterator[str]:
    for table in PROJECTIONS:
        query = select(func.count()).where(or_(table.c.seq < 1, table.c.seq > last))
        try:
            with connection.begin_nested():
                count = connection.scalar(query)
        except DBAPIError as error:
            if database.explained(error) is not None:
                raise
            continue  # an unreadable table is already reported
        if count:
            yield f"table {table.name}: {count} rows belong to entries that do not exist (the ledger ends at {last})"
