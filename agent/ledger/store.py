"""The ledger file: append, read, and nothing else. The chain is the record, the tables beside it are projections."""

import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sqlalchemy import Connection, Engine, Select, StaticPool, create_engine, func, insert, select
from sqlalchemy.exc import IntegrityError

from . import rows as assembly
from .chain import GENESIS, Entry, canonical_text, link, record_of
from .connection import (
    error_name,
    make_engine,
    reading,
    require_file,
    require_writable_folder,
    schema_version,
    sentences,
    transaction,
)
from .errors import EXIT_INPUTS, EXIT_USAGE, EXIT_VERIFICATION, LedgerError
from .lock import runner_lock
from .projections import project
from .records import CONTEXT_KINDS, Head, Record, Registered, Rejected, Row, RunOpened
from .rules import order_problem
from .schema import ENTRY, METADATA, PROJECTIONS, SCHEMA_VERSION, create, trigger_problems

if TYPE_CHECKING:
    import pandas as pd

R = TypeVar("R", bound=Record)

_PAGE = 500
_TIMEOUT = 30.0
_MINIMUM_SQLITE = (3, 37, 0)


class Ledger:
    """One ledger file.

    Safe to use from several threads, after a fork, and beside other processes: every call is a transaction on a
    connection of its own, and the head is read inside the transaction that extends it. Every method raises
    :class:`LedgerError` for a file that is locked longer than ``timeout`` seconds, damaged, or not writable.
    """

    def __init__(self, path: Path, writer: Engine | None, reader: Engine, timeout: float, version: int) -> None:
        """Use :meth:`create`, :meth:`open` or :meth:`open_readonly`."""
        self.path = path
        self._writer = writer
        self._reader = reader
        self._timeout = timeout
        self._version = version
        self.stamp: dict[str, Any] = {}
        """Context that every entry written through this object carries, such as who wrote it."""
        self._read: dict[str, tuple[int, tuple[Record, ...]]] = {}
        """Kind → the last seq that was read and all records of that kind up to it."""
        self._told: tuple[Head, Counter[str]] = (GENESIS, Counter())
        """A head, and how many entries of each kind are up to it."""

    @classmethod
    def create(cls, path: str | Path, timeout: float = _TIMEOUT) -> Self:
        """A new, empty ledger, open for writing. Refuses a path that already holds anything.

        A file of zero bytes, which an interrupted creation leaves, is taken over.
        """
        path = Path(path)
        if sqlite3.sqlite_version_info < _MINIMUM_SQLITE:
            raise LedgerError(f"SQLite {sqlite3.sqlite_version} is too old: a ledger needs 3.37; upgrade Python")
        taken = LedgerError(f"{path} already exists; open it, or choose another path", EXIT_INPUTS)
        require_writable_folder(path)
        if path.exists() and (not path.is_file() or path.stat().st_size > 0):
            raise taken
        with transaction(make_engine(path, "rwc", timeout), path, timeout) as connection:
            if connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one():
                raise taken
            create(connection)
        return cls.open(path, timeout)

    @classmethod
    def open(cls, path: str | Path, timeout: float = _TIMEOUT) -> Self:
        """An existing ledger, open for writing.

        Refuses one whose append-only triggers are missing (exit code 4). One with an older schema is copied to
        ``<name>.schemaN.bak`` and its projections are rebuilt from the entries.
        """
        path = Path(path)
        require_file(path, writable=True)
        writer = make_engine(path, "rw", timeout)
        with transaction(writer, path, timeout) as connection:
            version = schema_version(connection, path)
            if problems := trigger_problems(connection):
                raise LedgerError(
                    f"{path} cannot be trusted for writing: {'; '.join(problems)}; run `screen ledger verify`",
                    EXIT_VERIFICATION,
                )
        ledger = cls(path, writer, make_engine(path, "ro", timeout), timeout, version)
        if version < SCHEMA_VERSION:
            ledger._back_up()
            ledger.rebuild()
        return ledger

    @classmethod
    def open_readonly(cls, path: str | Path, timeout: float = _TIMEOUT) -> Self:
        """An existing ledger, for reading only; works while another process writes."""
        path = Path(path)
        require_file(path, writable=False)
        reader = make_engine(path, "ro", timeout)
        with reading(reader, path, timeout) as connection:
            version = schema_version(connection, path)
        return cls(path, None, reader, timeout, version)

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
        writer = self._require_writer()
        if reserved := {"at", "record"} & set(context or {}):
            raise LedgerError(f"context key {sorted(reserved)[0]!r} is the ledger's own; rename it")
        bodies = [_body(record) for record in records]
        extra = self.stamp | dict(context or {})
        canonical_text(extra, "the context")
        with transaction(writer, self.path, self._timeout) as connection:
            head = _head(connection)
            told = self._told if self._told[0] == head else (head, _counts(connection))
            counts = told[1].copy()
            for record, body in zip(records, bodies, strict=True):
                head = self._append_one(connection, head, counts, record, body, extra)
                counts[record.KIND] += 1
        self._told = (head, counts)
        return head

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

    def rows(self, views: bool = True) -> tuple[Row, ...]:
        """Every hypothesis in order of registration; ``views=False`` leaves ``Row.views`` empty, which is faster."""
        return self.snapshot(views)[1]

    def snapshot(self, views: bool = True) -> tuple[Head, tuple[Row, ...]]:
        """Head and rows of one and the same moment."""
        with self._projected() as connection:
            return _head(connection), assembly.all_rows(connection, views)

    def row(self, id: str) -> Row:
        """One hypothesis. Raises :class:`LedgerError` naming the known range if there is none with that id."""
        with self._projected() as connection:
            row = assembly.one_row(connection, id)
        if row is not None:
            return row
        ids = [registered.id for registered in self.records(Registered)]
        known = f"it holds {ids[0]} to {ids[-1]}" if ids else "it holds no hypotheses yet"
        raise LedgerError(f"there is no hypothesis {id} in {self.path}; {known}", EXIT_USAGE)

    def to_pandas(self, views: bool = False) -> "pd.DataFrame":
        """Every row as a data frame, the head in ``frame.attrs``; see :func:`.export.to_pandas`. Views on request."""
        from .export import to_pandas

        head, rows = self.snapshot(views)
        return to_pandas(rows, head)

    def rebuild(self) -> None:
        """Drop every projection and make it again from the entries, in one transaction."""
        with transaction(self._require_writer(), self.path, self._timeout) as connection:
            METADATA.drop_all(connection, tables=PROJECTIONS)
            METADATA.create_all(connection, tables=PROJECTIONS, checkfirst=False)
            _fill(connection, connection)
            connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._version = SCHEMA_VERSION

    def copy_to(self, path: Path) -> Head:
        """Write every entry to a new SQLite ledger at ``path``; returns the head, which is the same there."""
        with Ledger.create(path, self._timeout) as other, self._reading() as source:
            with transaction(other._require_writer(), path, self._timeout) as target:
                pages = select(ENTRY).order_by(ENTRY.c.seq).execution_options(yield_per=_PAGE)
                for page in source.execute(pages).mappings().partitions():
                    target.execute(insert(ENTRY), [dict(row) for row in page])
                _fill(target, target)
            return _head(source)

    def lock_runner(self) -> AbstractContextManager[None]:
        """Exclude a second runner on this ledger while the block runs; see :func:`.lock.runner_lock`."""
        return runner_lock(self.path)

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
        for table, group in groupby(projected, key=lambda item: item[0]):
            try:
                connection.execute(insert(METADATA.tables[table]), [row for _, row in group])
            except IntegrityError as error:
                raise self._refusal(record, table, error) from error
        return entry.head()

    def _refusal(self, record: Record, table: str, error: IntegrityError) -> LedgerError:
        subject = " ".join(filter(None, (f"a {record.KIND} entry", _name_of(record))))
        match error_name(error):
            case "SQLITE_CONSTRAINT_UNIQUE" | "SQLITE_CONSTRAINT_PRIMARYKEY":
                columns = str(error.orig).rpartition(": ")[2]
                reason = f"{columns} is already in the ledger and may be there once"
            case "SQLITE_CONSTRAINT_FOREIGNKEY":
                reason = f"what it refers to ({_references(table)}) is not in the ledger"
            case _:
                reason = str(error.orig)
        return LedgerError(f"nothing was recorded in {self.path}: {subject} was refused, {reason}")

    def _require_writer(self) -> Engine:
        if self._writer is None:
            raise LedgerError(f"{self.path} was opened for reading only; open it for writing")
        return self._writer

    def _reading(self) -> AbstractContextManager[Connection]:
        return reading(self._reader, self.path, self._timeout)

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
                for row in connection.execute(select(ENTRY).order_by(ENTRY.c.seq)).mappings():
                    copy.execute(insert(ENTRY), dict(row))
                _fill(connection, copy)
                yield copy

    def _back_up(self) -> Path:
        stem = f"{self.path.name}.schema{self._version}"
        names = [f"{stem}.bak", *(f"{stem}.{number}.bak" for number in range(1, 1000))]
        target = next(path for name in names if not (path := self.path.with_name(name)).exists())
        with sentences(target, self._timeout), closing(sqlite3.connect(target)) as copy, self._reading() as source:
            driver = source.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.backup(copy)
        return target


def open_ledger(path: str | Path) -> Ledger:
    """The ledger at ``path``, for reading."""
    return Ledger.open_readonly(path)


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


def _fill(source: Connection, target: Connection) -> None:
    """Project every entry of ``source`` into the empty projections of ``target``."""
    for row in source.execute(select(ENTRY).order_by(ENTRY.c.seq)).all():
        entry = Entry(*row)
        for table, group in groupby(project(entry.seq, entry.record()), key=lambda item: item[0]):
            target.execute(insert(METADATA.tables[table]), [values for _, values in group])


def _name_of(record: Record) -> str:
    return str(getattr(record, "id", ""))


def _references(table: str) -> str:
    names = {key.column.table.name for key in METADATA.tables[table].foreign_keys} - {ENTRY.name}
    return " or ".join(sorted(names))
