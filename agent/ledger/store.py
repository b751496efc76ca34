"""The ledger file: append, read, and nothing else. The chain is the record, the tables beside it are projections."""

import json
import os
import secrets
import socket
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import chain, groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sqlalchemy import Connection, Select, StaticPool, create_engine, func, insert, select
from sqlalchemy.exc import IntegrityError

from . import leases
from . import rows as assembly
from .chain import GENESIS, Entry, canonical_text, link, record_of
from .database import TIMEOUT, Database, Location, database_at
from .errors import EXIT_USAGE, EXIT_VERIFICATION, LedgerError, RepeatedError
from .failpoints import reached
from .projections import named, project
from .records import CONTEXT_KINDS, AttemptStarted, Completion, Head, Record, Rejected, Row, RunOpened
from .rules import order_problem
from .schema import ENTRY, METADATA, PROJECTIONS, SCHEMA_VERSION

if TYPE_CHECKING:
    import pandas as pd

    from .lines import Line

R = TypeVar("R", bound=Record)

_PAGE = 500
_LARGE_PAGE = 2000


class Ledger:
    """One ledger: a file, or a schema of a PostgreSQL server.

    Safe to use from several threads, after a fork, and beside other processes: every call is a transaction on a
    connection of its own, and the head is read inside the transaction that extends it. Every method raises
    :class:`LedgerError` for a file that is locked longer than ``timeout`` seconds, damaged, or not writable.
    """

    def __init__(self, database: Database, writable: bool, version: int) -> None:
        """Use :meth:`create`, :meth:`open` or :meth:`open_readonly`."""
        self.database = database
        self._writable = writable
        self._version = version
        self.stamp: dict[str, Any] = {}
        """Context that every entry written through this object carries, such as who wrote it."""
        self._read: dict[str, tuple[int, tuple[Record, ...]]] = {}
        """Kind → the last seq that was read and all records of that kind up to it."""
        self._told: tuple[Head, Counter[str]] = (GENESIS, Counter())
        """A head, and how many entries of each kind are up to it."""

    @property
    def path(self) -> Location:
        """Where it is: a file, or an address without its password."""
        return self.database.where

    @classmethod
    def create(cls, where: Location, timeout: float = TIMEOUT) -> Self:
        """A new, empty ledger, open for writing. Refuses a place that already holds anything."""
        database = database_at(where, timeout)
        reached("create.begun")
        database.create()
        reached("create.done")
        return cls.open(where, timeout)

    @classmethod
    def open(cls, where: Location, timeout: float = TIMEOUT) -> Self:
        """An existing ledger, open for writing.

        Refuses one whose append-only triggers are missing (exit code 4). One with an older schema is copied first
        (``<name>.schemaN.bak``) and its projections are rebuilt from the entries.
        """
        database = database_at(where, timeout)
        database.require(writable=True)
        with database.transaction() as connection:
            version = database.schema_version(connection)
            if problems := database.trigger_problems(connection):
                raise LedgerError(
                    f"{database.where} cannot be trusted for writing: {'; '.join(problems)}; run `screen ledger verify`",
                    EXIT_VERIFICATION,
                )
        ledger = cls(database, True, version)
        if version < SCHEMA_VERSION:
            database.back_up(version)
            ledger.rebuild()
        return ledger

    @classmethod
    def open_readonly(cls, where: Location, timeout: float = TIMEOUT) -> Self:
        """An existing ledger, for reading only; works while another process writes."""
        database = database_at(where, timeout)
        database.require(writable=False)
        with database.reading() as connection:
            version = database.schema_version(connection)
        return cls(database, False, version)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing stays open between calls; here so that a ledger reads like a file."""

    def append(self, *records: Record, context: Mapping[str, Any] | None = None) -> Head:
        """Record all of ``records`` durably, in order, or none of them; returns the new head.

        ``context`` is kept with each entry but never reaches the content head; ``at`` and ``record`` are the ledger's
        own keys. Raises :class:`LedgerError`, and records nothing, if a record repeats one that may exist once, hangs
        on a hypothesis that is not registered, comes out of order, or holds a value that cannot be stored.
        """
        if reserved := {"at", "record"} & set(context or {}):
            raise LedgerError(f"context key {sorted(reserved)[0]!r} is the ledger's own; rename it")
        prepared = self._prepared(records)
        extra = self.stamp | dict(context or {})
        canonical_text(extra, "the context")
        reached("append.begun")
        with self._writing() as connection:
            head, counts = self._extend(connection, prepared, extra)
            reached("append.whole")
        self._told = (head, counts)
        reached("append.committed")
        return head

    def claim(self, ids: Collection[str], worker: str, lease_seconds: float) -> dict[str, int]:
        """Those of ``ids`` that ``worker`` may test now → the number of its attempt, which is recorded; the others are
        done or taken.

        A row without a result is taken while the lease of its last attempt runs, unless the runner that holds it is gone. Asked
        and recorded in one transaction, so two runners are never given the same row. ``worker``: the runner's name, a space,
        and which of its workers.
        """
        now = datetime.now(UTC)
        with self._writing() as connection:
            last = leases.last_attempts(connection, ids)
            free = [
                id_
                for id_ in leases.without_result(connection, ids)
                if leases.is_free(last.get(id_), now, lambda runner: self.database.lives(connection, runner))
            ]
            started = now.isoformat(timespec="milliseconds")
            numbers = {id_: last[id_].number + 1 if id_ in last else 1 for id_ in free}
            claims = [AttemptStarted(id_, numbers[id_], worker, started, lease_seconds) for id_ in free]
            if claims:
                self._told = self._extend(connection, self._prepared(claims), self.stamp)
        return numbers

    def head(self) -> Head:
        """Where the ledger ends now."""
        with self._reading() as connection:
            return _head(connection)

    def entries(self, kinds: Collection[str] | None = None, after: int = 0) -> Iterator[Entry]:
        """Entries with ``seq > after`` of the given kinds (all by default), as they are when iteration starts.

        Read in pages, so that a slow consumer never keeps a writer waiting.
        """
        yield from self._entries(kinds, after, self.head().seq)

    def records(self, cls: type[R]) -> tuple[R, ...]:
        """Every record of one type, in order. Raises :class:`LedgerError` (exit code 4) on an unreadable one.

        Entries never change, so what was read once is kept and only later entries are read.
        """
        end = self.head().seq
        seen, known = self._read.get(cls.KIND, (0, ()))
        if end < seen:  # another file has come in its place
            seen, known = 0, ()
        known += tuple(entry.record() for entry in self._entries((cls.KIND,), seen, end))
        self._read[cls.KIND] = (end, known)
        return tuple(record for record in known if isinstance(record, cls))

    def _entries(self, kinds: Collection[str] | None, after: int, end: int) -> Iterator[Entry]:
        while after < end:
            with self._reading() as connection:
                page = [Entry(*row) for row in connection.execute(_page(after, end, kinds))]
            yield from page
            after = page[-1].seq if len(page) == _PAGE else end

    def run(self) -> RunOpened | None:
        """The frozen plan, or ``None`` before a run was opened."""
        return next(iter(self.records(RunOpened)), None)

    def rejections(self) -> tuple[Rejected, ...]:
        """Proposals that never became hypotheses, in order."""
        return self.records(Rejected)

    def costs(self) -> tuple[Completion, ...]:
        """Every completion without what was asked and answered: ``request`` is empty, and so is a ``response`` there was."""
        with self._projected() as connection:
            return assembly.costs(connection)

    def rows(self, views: bool = True) -> tuple[Row, ...]:
        """Every hypothesis in order of registration; ``views=False`` leaves ``Row.views`` empty, which is faster."""
        return self.snapshot(views)[1]

    def lines(self, verdict: str | None = None, limit: int | None = None) -> tuple["Line", ...]:
        """What a list shows of each row, in order of registration, of one moment: those with ``verdict``, the first ``limit``."""
        from .lines import read

        with self._projected() as connection:
            return tuple(islice((line for line in read(connection) if verdict in (None, line.verdict)), limit))

    def stream(self, views: bool = True) -> tuple[Head, Iterator[Row]]:
        """Head and rows of one and the same moment, the rows read as they are taken: whoever takes them may be slow, and
        keeps no writer waiting."""
        if self._version != SCHEMA_VERSION:
            head, rows = self.snapshot(views)
            return head, iter(rows)
        with self._reading() as connection:
            head = _head(connection)
            pages = assembly.Pages(assembly.Whole.read(connection, head.seq), views)
        return head, self._stream(pages)

    def _stream(self, pages: assembly.Pages) -> Iterator[Row]:
        while True:
            with self._reading() as connection:
                page = pages.next(connection, _PAGE)
            if not page:
                return
            yield from page

    def counts(self) -> tuple[Head, dict[str, int], dict[str, int]]:
        """Head, kind of entry → how many, and verdict → rows, of one moment; quick however many rows there are."""
        with self._projected() as connection:
            return _head(connection), dict(_counts(connection)), assembly.verdict_counts(connection)

    def snapshot(self, views: bool = True) -> tuple[Head, tuple[Row, ...]]:
        """Head and rows of one and the same moment."""
        with self._projected() as connection:
            head = _head(connection)
            pages = assembly.Pages(assembly.Whole.read(connection, head.seq), views)
            return head, tuple(chain.from_iterable(iter(lambda: pages.next(connection, _PAGE), [])))

    def row(self, id: str) -> Row:
        """One hypothesis. Raises :class:`LedgerError` naming the known range if there is none with that id."""
        with self._projected() as connection:
            rows = assembly.rows_named(connection, [id], _head(connection).seq)
            ends = None if rows else assembly.first_and_last(connection)
        if rows:
            return rows[0]
        known = f"it holds {ends[0]} to {ends[1]}" if ends else "it holds no hypotheses yet"
        raise LedgerError(f"there is no hypothesis {id} in {self.path}; {known}", EXIT_USAGE)

    def to_pandas(self, views: bool = False) -> "pd.DataFrame":
        """Every row as a data frame, the head in ``frame.attrs``; see :func:`.export.to_pandas`. Views on request."""
        from .export import to_pandas

        head, rows = self.snapshot(views)
        return to_pandas(rows, head)

    def rebuild(self) -> None:
        """Drop every projection and make it again from the entries, in one transaction."""
        with self._writing() as connection:
            METADATA.drop_all(connection, tables=PROJECTIONS)
            METADATA.create_all(connection, tables=PROJECTIONS, checkfirst=False)
            _fill(connection)
            self.database.sign(connection)
        self._version = SCHEMA_VERSION

    def copy_to(self, path: Path) -> Head:
        """Write every entry to a new SQLite ledger at ``path``; returns the head, which is the same there."""
        with Ledger.create(path) as other, self._reading() as source:
            with other._writing() as target:
                _copy(source, target)
            return _head(source)

    def attempts(self) -> dict[str, int]:
        """Rows whose test is going on: ``running``, and ``stale`` where the lease has run out or the runner is gone."""
        now = datetime.now(UTC)
        with self._projected() as connection:
            waiting = leases.without_result(connection)
            last = leases.last_attempts(connection, waiting) if waiting else {}
            open_ = [last[id_] for id_ in waiting if id_ in last]
            stale = sum(leases.is_free(a, now, lambda runner: self.database.lives(connection, runner)) for a in open_)
        return {"running": len(open_) - stale, "stale": stale}

    @contextmanager
    def lock_runner(self) -> Iterator[str]:
        """Say that this process works on the ledger while the block runs; gives the name that its claims carry.

        In a file this excludes a second runner. In PostgreSQL it tells the others that this one is alive.
        """
        name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        with self.database.lock_runner(name):
            yield name

    def exclusive(self, job: str) -> AbstractContextManager[bool]:
        """Hold ``job`` among the runners of this ledger; see :class:`.database.Database`."""
        return self.database.exclusive(job)

    def _prepared(self, records: Sequence[Record]) -> list[tuple[Record, str]]:
        return [(record, _body(record)) for record in records]

    def _extend(
        self, connection: Connection, prepared: Sequence[tuple[Record, str]], extra: Mapping[str, Any]
    ) -> tuple[Head, Counter[str]]:
        """Write entries inside a writer's transaction; the new head and how many entries of each kind there are."""
        head = _head(connection)
        reached("append.read")
        told = self._told if self._told[0] == head else (head, _counts(connection))
        counts = told[1].copy()
        for record, body in prepared:
            head = self._append_one(connection, head, counts, record, body, extra)
            counts[record.KIND] += 1
        return head, counts

    def _append_one(
        self,
        connection: Connection,
        head: Head,
        counts: Counter[str],
        record: Record,
        body: str,
        extra: Mapping[str, Any],
    ) -> Head:
        if problem := order_problem(record.KIND, lambda kind: counts[kind]):
            raise LedgerError(f"nothing was recorded in {self.path}: {problem}")
        is_context = record.KIND in CONTEXT_KINDS
        context = dict(extra) | {"at": datetime.now(UTC).isoformat(timespec="milliseconds")}
        entry = link(
            head,
            record.KIND,
            None if is_context else body,
            canonical_text(context | {"record": json.loads(body)} if is_context else context, "the context"),
        )
        try:
            # From the stored text, not from `record`: the rebuild has nothing else.
            projected = project(entry.seq, record_of(entry.kind, entry.content, entry.context))
        except (TypeError, ValueError) as error:
            raise LedgerError(f"a {record.KIND} record cannot be stored: {error}") from error
        connection.execute(insert(ENTRY), asdict(entry))
        reached("append.entry")
        for table, group in groupby(projected, key=lambda item: item[0]):
            try:
                connection.execute(insert(METADATA.tables[table]), [named(table, values) for _, values in group])
            except IntegrityError as error:
                raise self._refusal(record, table, error) from error
        reached("append.projected")
        return entry.head()

    def _refusal(self, record: Record, table: str, error: IntegrityError) -> LedgerError:
        subject = " ".join(filter(None, (f"a {record.KIND} entry", _name_of(record))))
        what, detail = self.database.violation(error)
        begun = f"nothing was recorded in {self.path}: {subject} was refused, "
        if what == "unique":
            return RepeatedError(f"{begun}{detail} is already in the ledger and may be there once")
        if what == "foreign":
            return LedgerError(f"{begun}what it refers to ({_references(table)}) is not in the ledger")
        return LedgerError(begun + detail)

    def _writing(self) -> AbstractContextManager[Connection]:
        if not self._writable:
            raise LedgerError(f"{self.path} was opened for reading only; open it for writing")
        return self.database.transaction()

    def _reading(self) -> AbstractContextManager[Connection]:
        return self.database.reading()

    @contextmanager
    def _projected(self) -> Iterator[Connection]:
        """A connection whose projections have today's schema: the file's own, or for an older file a copy in memory."""
        with self._reading() as connection:
            if self._version == SCHEMA_VERSION:
                yield connection
                return
            memory = create_engine("sqlite+pysqlite://", poolclass=StaticPool)
            with memory.begin() as copy:
                METADATA.create_all(copy, checkfirst=False)
                _copy(connection, copy)
                yield copy


def open_ledger(where: Location) -> Ledger:
    """The ledger at ``where``, a file or an address, for reading."""
    return Ledger.open_readonly(where)


def _body(record: Record) -> str:
    what = f"a {record.KIND} record"
    try:
        content = record.to_content()
    except TypeError as error:
        raise LedgerError(
            f"{what} cannot be copied as plain values: {error}; use dict, list, str and numbers"
        ) from error
    return canonical_text(content, what)


def _head(connection: Connection) -> Head:
    last = select(ENTRY.c.seq, ENTRY.c.hash, ENTRY.c.content_hash).order_by(ENTRY.c.seq.desc()).limit(1)
    found = connection.execute(last).first()
    return GENESIS if found is None else Head(*found)


def _page(after: int, end: int, kinds: Collection[str] | None) -> Select[Any]:
    page = select(ENTRY).where(ENTRY.c.seq > after, ENTRY.c.seq <= end).order_by(ENTRY.c.seq).limit(_PAGE)
    return page if kinds is None else page.where(ENTRY.c.kind.in_(kinds))


def _counts(connection: Connection) -> Counter[str]:
    """Kind → how many entries of it there are."""
    rows = connection.execute(select(ENTRY.c.kind, func.count()).group_by(ENTRY.c.kind)).all()
    return Counter({str(kind): int(n) for kind, n in rows})


def _pages(connection: Connection) -> Iterator[list[Entry]]:
    """Every entry, in order, a page at a time."""
    query = select(ENTRY).order_by(ENTRY.c.seq).limit(_LARGE_PAGE)
    page = [Entry(*row) for row in connection.execute(query)]
    while page:
        yield page
        page = [Entry(*row) for row in connection.execute(query.where(ENTRY.c.seq > page[-1].seq))]


def _copy(source: Connection, target: Connection) -> None:
    """Every entry of ``source`` into the empty ledger ``target``, and its projections."""
    for page in _pages(source):
        target.execute(insert(ENTRY), [vars(entry) for entry in page])
        _project(page, target)


def _fill(connection: Connection) -> None:
    """Project every entry into the empty projections beside them."""
    for page in _pages(connection):
        _project(page, connection)


def _project(page: Sequence[Entry], target: Connection) -> None:
    """The rows of a page of entries. Tables go in the order of their foreign keys, so what a row points at stands before it."""
    rows: dict[str, list[dict[str, Any]]] = {table.name: [] for table in PROJECTIONS}
    for entry in page:
        for name, values in project(entry.seq, entry.record()):
            rows[name].append(named(name, values))
    for table in PROJECTIONS:
        if rows[table.name]:
            target.execute(insert(table), rows[table.name])


def _name_of(record: Record) -> str:
    return str(getattr(record, "id", ""))


def _references(table: str) -> str:
    names = {key.column.table.name for key in METADATA.tables[table].foreign_keys} - {ENTRY.name}
    return " or ".join(sorted(names))
