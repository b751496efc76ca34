"""Opening SQLite the way a ledger needs it, and saying what went wrong in a sentence.

The database file is never opened by other means than SQLite: closing any other descriptor of it would silently drop
the POSIX locks that SQLite holds in this process.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from .errors import EXIT_FAILURE, EXIT_INPUTS, EXIT_VERIFICATION, DamagedLedgerError, LedgerError
from .schema import APPLICATION_ID, SCHEMA_VERSION

Mode = Literal["ro", "rw", "rwc"]

_WRITER_PRAGMAS = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA recursive_triggers = ON",  # REPLACE deletes without the delete trigger otherwise
    "PRAGMA journal_mode = DELETE",
    "PRAGMA synchronous = FULL",
)
_READER_PRAGMAS = ("PRAGMA query_only = ON",)


def make_engine(path: Path, mode: Mode, timeout: float) -> Engine:
    """An engine without a pool: each transaction opens the file anew, so threads and forks share nothing."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"

    def connect() -> sqlite3.Connection:
        # isolation_level=None: pysqlite begins nothing by itself, the listener below does.
        return sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)

    engine = create_engine("sqlite+pysqlite://", creator=connect, poolclass=NullPool)
    pragmas, begin = (_READER_PRAGMAS, "BEGIN") if mode == "ro" else (_WRITER_PRAGMAS, "BEGIN IMMEDIATE")

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        for pragma in pragmas:
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


@contextmanager
def transaction(engine: Engine, path: Path, timeout: float) -> Iterator[Connection]:
    """One transaction, committed when the block ends and rolled back when it raises; SQLite errors become sentences."""
    with sentences(path, timeout), engine.begin() as connection:
        yield connection


@contextmanager
def reading(engine: Engine, path: Path, timeout: float) -> Iterator[Connection]:
    """A read transaction: everything in the block sees one moment of the ledger.

    A writer that was killed inside its commit leaves a journal that a read-only connection may not roll back; it is
    rolled back here, once, by a connection that may write.
    """
    with sentences(path, timeout), engine.connect() as connection:
        try:
            connection.exec_driver_sql("SELECT 1 FROM sqlite_master LIMIT 1")
        except DBAPIError as error:
            if error_name(error) != "SQLITE_READONLY_ROLLBACK":
                raise
            connection.rollback()
            _roll_back_interrupted_write(path, timeout)
        yield connection


def _roll_back_interrupted_write(path: Path, timeout: float) -> None:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=timeout)
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    finally:
        connection.close()


def require_file(path: Path, writable: bool) -> None:
    """Refuse, with a sentence each, what cannot be a ledger before SQLite is asked."""
    if not path.exists():
        raise LedgerError(f"there is no ledger at {path}; check the path, or start a run there", EXIT_INPUTS)
    if not path.is_file():
        raise LedgerError(f"{path} is not a file; give the path of the ledger itself, such as runs.db", EXIT_INPUTS)
    if path.stat().st_size == 0 and not path.with_name(path.name + "-journal").exists():
        raise LedgerError(f"{path} is an empty file, not a ledger; delete it and start the run again", EXIT_INPUTS)
    if not os.access(path, os.R_OK):
        raise LedgerError(f"{path} may not be read by this account; change its permissions", EXIT_INPUTS)
    if writable and not os.access(path, os.W_OK):
        raise LedgerError(f"{path} may not be written by this account; open it for reading, or copy it", EXIT_INPUTS)
    if writable:
        require_writable_folder(path)


def require_writable_folder(path: Path) -> None:
    """Refuse a folder in which SQLite could not put its journal."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise LedgerError(f"the folder {folder} of the ledger {path.name} does not exist; make it first", EXIT_INPUTS)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise LedgerError(
            f"the folder {folder} may not be written by this account, and the ledger {path.name} needs a journal "
            "beside it; choose another folder",
            EXIT_INPUTS,
        )


def schema_version(connection: Connection, path: Path) -> int:
    """Schema version of our file. Raises :class:`LedgerError` for another program's and for a newer version's."""
    application = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
    if application != APPLICATION_ID:
        raise LedgerError(
            f"{path} is a SQLite database of another program (application_id {application}), not a hyposcreen ledger; "
            "choose another path",
            EXIT_INPUTS,
        )
    version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    if version > SCHEMA_VERSION:
        raise LedgerError(
            f"{path} was written by a newer hyposcreen (schema {version}, this one knows {SCHEMA_VERSION}): "
            "upgrade hyposcreen",
            EXIT_INPUTS,
        )
    return version


@contextmanager
def sentences(path: Path, timeout: float) -> Iterator[None]:
    """Turn the SQLite errors of the block into :class:`LedgerError`; those without a sentence of ours pass."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        explained = explain(error, path, timeout)
        if explained is None:
            raise
        raise explained from error


def error_name(error: Exception) -> str:
    """SQLite's symbolic name of an error, such as ``SQLITE_BUSY``; empty if it has none."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(original, "sqlite_errorname", ""))


def explain(error: Exception, path: Path, timeout: float) -> LedgerError | None:
    """The sentence for an SQLite error at ``path``, or ``None`` for one that is a fault of ours."""
    name = error_name(error)
    for prefix, sentence in _SENTENCES.items():
        if name.startswith(prefix):
            return sentence(path, timeout)
    return None


def _damaged(path: Path, _timeout: float) -> LedgerError:
    return DamagedLedgerError(
        f"{path} is damaged: SQLite cannot read it as a whole database (truncated or overwritten); restore a copy"
    )


def _says(message: str, exit_code: int = EXIT_FAILURE) -> Callable[[Path, float], LedgerError]:
    return lambda path, timeout: LedgerError(message.format(path=path, timeout=timeout), exit_code)


_SENTENCES: dict[str, Callable[[Path, float], LedgerError]] = {
    "SQLITE_BUSY": _says(
        "{path} is locked: another process has been writing to it, or has kept one reading of it open, for over {timeout:g} s; "
        "nothing was recorded; end that program (a database viewer, say) and give the command again"
    ),
    "SQLITE_NOTADB": _says("{path} is not a SQLite database; give the path of a ledger such as runs.db", EXIT_INPUTS),
    "SQLITE_CORRUPT": _damaged,
    "SQLITE_IOERR_SHORT_READ": _damaged,
    "SQLITE_CANTOPEN": _says("{path} cannot be opened; check that its folder exists and is writable", EXIT_INPUTS),
    "SQLITE_READONLY": _says("{path} or its folder may not be written by this account; change that", EXIT_INPUTS),
    "SQLITE_PERM": _says("{path} may not be opened by this account; change its permissions", EXIT_INPUTS),
    "SQLITE_FULL": _says("the disk of {path} is full and nothing was recorded; make room, then run again"),
    "SQLITE_IOERR": _says("the disk under {path} reported an error and nothing was recorded; check it, then run again"),
    "SQLITE_CONSTRAINT_TRIGGER": _says(
        "{path} is append-only: an entry is never changed or removed", EXIT_VERIFICATION
    ),
}
"""Prefix of SQLite's error name → its sentence; the first match counts."""
