"""One page of the chain, examined by itself: hashes, links, the rebuild of its entries, the rows of every table that they make.

Whatever binds the page to others (the order of the run, what may be there once, what must stand before what) is handed on in
:class:`Page`, for :mod:`.verify` to follow from page to page. Nothing here repairs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Select, Table, UniqueConstraint, select
from sqlalchemy.exc import DBAPIError

from .chain import GENESIS, Entry, both_hashes, record_of
from .database import Database
from .projections import Values, named, project
from .records import Head
from .schema import ENTRY, PROJECTIONS

Span = tuple[int | None, int | None]
"""Entries ``after < seq <= last``; ``None`` means from the first, or to the end."""
Wanted = tuple[int | None, str]
"""A head that a reader wrote down: its seq where that is known, and the first characters of its hash."""
Key = tuple[str, tuple[str, ...]]
"""A table, and columns of it whose values may be there once."""


@dataclass
class Page:
    """What one page holds, as far as others must know of it. Small: it travels between processes."""

    head: Head
    """Its last entry as stored, or the one before it where the page is empty."""
    problems: list[str] = field(default_factory=list)
    entries: list[tuple[int, str]] = field(default_factory=list)
    """Seq and kind, in order."""
    stands: dict[Key, dict[Any, int]] = field(default_factory=dict)
    """Key → value → place in ``entries`` of the first entry that has it."""
    needs: dict[Key, list[tuple[Any, int]]] = field(default_factory=dict)
    """Key → values that must stand on an earlier page, each with the place of the entry that asks for it."""
    met: bool = False
    """Whether the wanted head is among the entries."""


def examine(
    database: Database, connection: Connection, span: Span, wanted: Wanted | None, projections: bool
) -> Page:  # fmt: skip
    """Read and check the entries of ``span``; with ``projections`` also compare every table with what the entries say."""
    page = Page(_head_at(connection, span[0]))
    expected: dict[str, list[Values]] = {table.name: [] for table in PROJECTIONS}
    for place, row in enumerate(connection.execute(_within(ENTRY, span)).all()):
        entry = Entry(*row)
        page.entries.append((entry.seq, entry.kind))
        page.problems += _broken_links(entry, page.head)
        page.head = entry.head()
        page.met = page.met or meets(page.head, wanted)
        try:
            rows = project(entry.seq, record_of(entry.kind, entry.content, entry.context))
        except (KeyError, TypeError, ValueError) as error:
            page.problems.append(f"{name_of(entry.seq, entry.kind)} cannot be read: {error}")
            continue
        for table, values in rows:
            expected[table].append(values)
            _relate(page, place, table, values)
    if projections:
        for found in PROJECTIONS:
            page.problems += _differences(database, connection, found, expected[found.name], span)
    return page


def name_of(seq: int, kind: str) -> str:
    """How a sentence names an entry."""
    return f"entry {seq} ({kind})"


def meets(head: Head, wanted: Wanted | None) -> bool:
    """Whether ``head`` is the one a reader wrote down."""
    return wanted is not None and wanted[0] in (None, head.seq) and head.hash.startswith(wanted[1])


def _head_at(connection: Connection, seq: int | None) -> Head:
    if seq is None:
        return GENESIS
    before = select(ENTRY.c.seq, ENTRY.c.hash, ENTRY.c.content_hash).where(ENTRY.c.seq <= seq)
    found = connection.execute(before.order_by(ENTRY.c.seq.desc()).limit(1)).first()
    return GENESIS if found is None else Head(*found)


def _within(table: Table, span: Span) -> Select[Any]:
    """Rows of the entries of ``span``, in order. No lower bound at first: an entry before the first one must not hide."""
    after, last = span
    query = select(table).order_by(*table.primary_key)
    query = query if after is None else query.where(table.c.seq > after)
    return query if last is None else query.where(table.c.seq <= last)


def _broken_links(entry: Entry, before: Head) -> Iterator[str]:
    whole, content = both_hashes(entry, before.content_hash)
    if (entry.seq, entry.prev, entry.hash, entry.content_hash) == (before.seq + 1, before.hash, whole, content):
        return
    name = name_of(entry.seq, entry.kind)
    if entry.seq != before.seq + 1:
        yield f"{name} follows entry {before.seq}: entries between them are missing"
    if entry.prev != before.hash:
        yield f"{name} does not continue the chain: its prev is not the hash of entry {before.seq}"
    if entry.hash != whole:
        yield f"{name} was edited: its hash does not match what it holds"
    if entry.content_hash != content:
        yield f"{name} has a content hash that does not follow from entry {before.seq}"


Pick = Callable[[Values], Any]
"""A row → its value in some columns: the value itself of one column, a tuple of several."""


def _pick(table: Table, columns: Sequence[str]) -> Pick:
    names = [column.name for column in table.columns]
    return itemgetter(*(names.index(column) for column in columns))


_REFERENCES: Mapping[str, list[tuple[Pick, Key]]] = {
    table.name: [
        (_pick(table, [key.parent.name]), (key.column.table.name, (key.column.name,)))
        for key in table.foreign_keys
        if key.column.table is not ENTRY
    ]
    for table in PROJECTIONS
}
"""Table → its value, and what that points at."""
_UNIQUE: Mapping[str, list[tuple[Pick, Key]]] = {
    table.name: [
        (_pick(table, columns), (table.name, columns))
        for columns in (tuple(c.name for c in u.columns) for u in table.constraints if isinstance(u, UniqueConstraint))
    ]
    for table in PROJECTIONS
}
"""Table → its value, and what may be there once: every UNIQUE constraint, and so every column a foreign key points at."""


def _relate(page: Page, place: int, table: str, values: Values) -> None:
    for pick, key in _REFERENCES[table]:
        value = pick(values)
        if value is not None and value not in page.stands.get(key, ()):
            page.needs.setdefault(key, []).append((value, place))
    for pick, key in _UNIQUE[table]:
        value, standing = pick(values), page.stands.setdefault(key, {})
        if value in standing:
            page.problems.append(repeated(page, key, value, place))
        else:
            standing[value] = place


def repeated(page: Page, key: Key, value: Any, place: int) -> str:
    """The sentence for a value that may be there once and stood before."""
    table, columns = key
    shown = zip(columns, value if len(columns) > 1 else (value,), strict=True)
    return f"{name_of(*page.entries[place])} repeats the {table} with {', '.join(f'{c} {v}' for c, v in shown)}"


def _differences(
    database: Database, connection: Connection, table: Table, expected: list[Values], span: Span
) -> Iterator[str]:
    """How the stored rows of the page's entries differ from their rebuild."""
    try:
        with connection.begin_nested():  # PostgreSQL would refuse every later question after one that failed
            actual = [tuple(row) for row in connection.execute(_within(table, span))]
    except DBAPIError as error:
        if database.explained(error) is not None:
            raise
        if span[0] is None:
            yield f"table {table.name} cannot be read: {str(error.orig).splitlines()[0]}"
        return
    if actual != expected:
        yield from _named_differences(table, actual, expected)


def _named_differences(table: Table, actual: list[Values], expected: list[Values]) -> Iterator[str]:
    keys = len(table.primary_key)  # the first columns
    found, told = ({row[:keys]: row for row in rows} for rows in (actual, expected))
    for key in sorted(told.keys() | found.keys()):
        if found.get(key) == told.get(key):
            continue
        name = f"table {table.name}, {', '.join(f'{c.name} {v}' for c, v in zip(table.primary_key, key, strict=True))}"
        if key not in found:
            yield f"{name}: the row is missing"
        elif key not in told:
            yield f"{name}: the row does not come from any entry"
        else:
            is_, says = named(table.name, found[key]), named(table.name, told[key])
            for column, value in says.items():
                if is_[column] != value:
                    yield f"{name}, column {column}: {is_[column]!r}, but its entry says {value!r}"
