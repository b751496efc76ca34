"""A ledger in a file of SQLite's: one runner at a time, any number of readers."""

import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from . import connection as c
from .errors import EXIT_INPUTS, LedgerError
from .lock import runner_lock
from .schema import SCHEMA_VERSION, create, trigger_problems

_MINIMUM = (3, 37, 0)


class SqliteDatabase:
    """See :class:`~.database.Database`."""

    shared = False

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._writer = c.make_engine(path, "rw", timeout)
        self._reader = c.make_engine(path, "ro", timeout)
        self._runner = ""

    @property
    def where(self) -> Path:
        """The file."""
        return self._path

    def vacant(self) -> bool:
        """No file, or one without a byte once SQLite has rolled back what was cut off."""
        path = self._path
        if path.is_file() and path.with_name(path.name + "-journal").exists():
            with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as connection:
                connection.execute("SELECT 1 FROM sqlite_master").fetchall()
        return not path.exists() or (path.is_file() and path.stat().st_size == 0)

    def create(self) -> None:
        """A file of zero bytes, which an interrupted creation leaves, is taken over."""
        path, timeout = self._path, self._timeout
        if sqlite3.sqlite_version_info < _MINIMUM:
            raise LedgerError(f"SQLite {sqlite3.sqlite_version} is too old: a ledger needs 3.37; upgrade Python")
        taken = LedgerError(f"{path} already exists; open it, or choose another path", EXIT_INPUTS)
        c.require_writable_folder(path)
        if path.exists() and (not path.is_file() or path.stat().st_size > 0):
            raise taken
        with c.transaction(c.make_engine(path, "rwc", timeout), path, timeout) as connection:
            if connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one():
                raise taken
            create(connection)

    def require(self, writable: bool) -> None:
        """The file is there and may be read, or written."""
        c.require_file(self._path, writable)

    def transaction(self) -> AbstractContextManager[Connection]:
        """``BEGIN IMMEDIATE``."""
        return c.transaction(self._writer, self._path, self._timeout)

    def reading(self) -> AbstractContextManager[Connection]:
        """A read transaction of a connection that may not write."""
        return c.reading(self._reader, self._path, self._timeout)

    def schema_version(self, connection: Connection) -> int:
        """``PRAGMA user_version``."""
        return c.schema_version(connection, self._path)

    def sign(self, connection: Connection) -> None:
        """``PRAGMA user_version``."""
        connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def trigger_problems(self, connection: Connection) -> tuple[str, ...]:
        """Compared as SQLite keeps them."""
        return trigger_problems(connection)

    def damage(self, connection: Connection) -> list[str]:
        """``PRAGMA integrity_check``."""
        answers = [row[0] for row in connection.exec_driver_sql("PRAGMA integrity_check")]
        return [f"SQLite integrity check: {answer}" for answer in answers if answer != "ok"]

    def back_up(self, version: int) -> str:
        """``<name>.schemaN.bak``, or the next such name that is free."""
        stem = f"{self._path.name}.schema{version}"
        names = [f"{stem}.bak", *(f"{stem}.{number}.bak" for number in range(1, 1000))]
        target = next(path for name in names if not (path := self._path.with_name(name)).exists())
        with c.sentences(target, self._timeout), closing(sqlite3.connect(target)) as copy, self.reading() as source:
            driver = source.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.backup(copy)
        return str(target)

    def explained(self, error: Exception) -> LedgerError | None:
        """By SQLite's name of the error."""
        return c.explain(error, self._path, self._timeout)

    def violation(self, error: DBAPIError) -> tuple[str, str]:
        """By SQLite's name of the error; it names the columns at the end of its sentence."""
        match c.error_name(error):
            case "SQLITE_CONSTRAINT_UNIQUE" | "SQLITE_CONSTRAINT_PRIMARYKEY":
                return "unique", str(error.orig).rpartition(": ")[2]
            case "SQLITE_CONSTRAINT_FOREIGNKEY":
                return "foreign", ""
        return "other", str(error.orig)

    @contextmanager
    def lock_runner(self, name: str) -> Iterator[None]:
        """Excludes a second runner; see :func:`.lock.runner_lock`."""
        with runner_lock(self._path):
            self._runner = name
            try:
                yield
            finally:
                self._runner = ""

    @contextmanager
    def exclusive(self, job: str) -> Iterator[bool]:  # noqa: ARG002 - the one runner there is holds every job
        """The runner lock excludes others already."""
        yield True

    def lives(self, connection: Connection, runner: str) -> bool:  # noqa: ARG002 - see Database
        """Whoever holds the runner lock knows that every other runner is gone. Others ask this machine for its process."""
        if self._runner:
            return runner == self._runner
        host, _, rest = runner.partition(":")
        pid = rest.partition(":")[0]
        if not pid.isdecimal():
            return False
        return host != socket.gethostname() or _is_there(int(pid))


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
