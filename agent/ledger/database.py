"""Where a ledger lives: what SQLite and PostgreSQL must each give, so that one store serves both."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from .errors import LedgerError

Location = str | Path
"""A file, or an address ``postgresql+psycopg://HOST/DATABASE``."""
TIMEOUT = 30.0
"""Seconds a writer waits for another one."""


class Database(Protocol):
    """One ledger's place. Safe to use from several threads and after a fork: every transaction has its own connection.

    Every method turns what a person can mend into a :class:`LedgerError`; what is a fault of ours passes as it is.
    """

    shared: bool
    """Whether several runners may work on it at once."""

    @property
    def where(self) -> Location:
        """The place in words, without a password."""
        ...

    def vacant(self) -> bool:
        """Whether nothing is here yet, or only what a creation that was killed left."""
        ...

    def create(self) -> None:
        """Make every table of an empty ledger, or nothing. Refuses a place that already holds one."""
        ...

    def require(self, writable: bool) -> None:
        """Refuse what cannot be a ledger before anything is read."""
        ...

    def transaction(self) -> AbstractContextManager[Connection]:
        """The one writer there is at a time: committed when the block ends, rolled back when it raises."""
        ...

    def reading(self) -> AbstractContextManager[Connection]:
        """Everything in the block sees one moment of the ledger; it keeps no writer waiting."""
        ...

    def schema_version(self, connection: Connection) -> int:
        """Schema version of a ledger of ours; refuses another program's tables and a newer version's."""
        ...

    def sign(self, connection: Connection) -> None:
        """Say that the tables have today's schema."""
        ...

    def trigger_problems(self, connection: Connection) -> tuple[str, ...]:
        """One sentence for each append-only trigger that is missing, altered, or not ours."""
        ...

    def damage(self, connection: Connection) -> list[str]:
        """One sentence for each fault the database itself finds in its storage."""
        ...

    def back_up(self, version: int) -> str:
        """Keep a copy of every table as it is, beside the ledger; returns its name."""
        ...

    def explained(self, error: Exception) -> LedgerError | None:
        """The sentence for an error of the database, or ``None`` for one that is a fault of ours."""
        ...

    def violation(self, error: DBAPIError) -> tuple[str, str]:
        """What a refused insert broke: ``unique`` with the columns, ``foreign``, or ``other`` with the database's words."""
        ...

    def lock_runner(self, name: str) -> AbstractContextManager[None]:
        """Say that the runner ``name`` works on this ledger while the block runs; ends with the process, however it ends."""
        ...

    def exclusive(self, job: str) -> AbstractContextManager[bool]:
        """Hold ``job`` while the block runs, if no other runner does: the block is told whether it does. Never waits."""
        ...

    def lives(self, connection: Connection, runner: str) -> bool:
        """Whether the runner of that name may still be working. Asked within a transaction, by another runner."""
        ...


def database_at(where: Location, timeout: float = TIMEOUT) -> Database:
    """The database of a file or an address."""
    if isinstance(where, str) and where.startswith("postgresql"):
        from .postgres import PostgresDatabase

        return PostgresDatabase(where, timeout)
    from .sqlite import SqliteDatabase

    return SqliteDatabase(Path(where), timeout)
