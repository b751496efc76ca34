"""A ledger in PostgreSQL: several runners at once, on one machine or many.

One schema holds one ledger (the first of ``search_path``; ``?options=-csearch_path%3DNAME`` chooses another). Writers queue
for an advisory lock that their transaction holds, so the head is read by the one who extends it. A runner holds another such
lock in a session of its own: the server frees it when the process or its machine is gone, and that is how a stale attempt
is told from a slow one. Passwords belong in ``~/.pgpass`` or ``PGPASSWORD``, never in an address that settings keep.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from .addresses import parsed, shown
from .errors import EXIT_FAILURE, EXIT_INPUTS, EXIT_VERIFICATION, LedgerError
from .schema import METADATA, SCHEMA_VERSION

_SIGNATURE = "hyposcreen ledger, schema "
_FUNCTION = "entry_append_only"
_BODY = "BEGIN RAISE EXCEPTION 'the ledger is append-only' USING ERRCODE = 'integrity_constraint_violation'; END"
TRIGGERS = {
    f"entry_no_{action.lower()}": f"BEFORE {action} ON entry FOR EACH {scope} EXECUTE FUNCTION {_FUNCTION}()"
    for action, scope in (("UPDATE", "ROW"), ("DELETE", "ROW"), ("TRUNCATE", "STATEMENT"))
}
"""Name → what follows ``CREATE TRIGGER name``."""
_FOUND = """
SELECT t.tgname, c.relname, pg_get_triggerdef(t.oid), t.tgenabled::text, p.proname, p.prosrc
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid
WHERE NOT t.tgisinternal AND c.relnamespace = current_schema()::regnamespace
"""
_RULES = "SELECT tablename, rulename FROM pg_rules WHERE schemaname = current_schema()"
_KEY = "hashtextextended(current_schema() || ' hyposcreen ' || :name, 0)"


class PostgresDatabase:
    """See :class:`~.database.Database`."""

    shared = True

    def __init__(self, address: str, timeout: float) -> None:
        try:
            import psycopg  # noqa: F401 - SQLAlchemy loads it by name
        except ImportError:
            raise LedgerError(
                "a ledger in PostgreSQL needs psycopg: pip install 'hyposcreen[postgres]'", EXIT_INPUTS
            ) from None
        url = parsed(address)
        self._where = shown(url)
        self._timeout = timeout
        # Without a pool threads and forks share nothing, no idle session is left behind, and a lock ends with its session.
        self._engine: Engine = create_engine(url.set(drivername="postgresql+psycopg"), poolclass=NullPool)

    @property
    def where(self) -> str:
        """The address, its password hidden."""
        return self._where

    def vacant(self) -> bool:
        """No table of ours; tables are made in one transaction."""
        with self.reading() as connection:
            return not self._tables(connection)

    def create(self) -> None:
        """Every table, the triggers and the signature, in one transaction."""
        with self.transaction() as connection:
            encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
            if encoding != "UTF8":
                raise LedgerError(f"{self._where} has encoding {encoding}; a ledger needs a UTF8 database", EXIT_INPUTS)
            if self._tables(connection):
                raise LedgerError(
                    f"{self._where} already holds tables of that name; open it, or choose another schema", EXIT_INPUTS
                )
            METADATA.create_all(connection, checkfirst=False)
            connection.exec_driver_sql("CREATE INDEX entry_kind ON entry (kind)")
            connection.exec_driver_sql(f"CREATE FUNCTION {_FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS $${_BODY}$$")
            for name, rest in TRIGGERS.items():
                connection.exec_driver_sql(f"CREATE TRIGGER {name} {rest}")
            self.sign(connection)

    def require(self, writable: bool) -> None:
        """There is a ledger, and this role may read it, or write it."""
        with self.reading() as connection:
            if "entry" not in self._tables(connection):
                raise LedgerError(f"there is no ledger at {self._where}; start a run there", EXIT_INPUTS)
            right = "INSERT" if writable else "SELECT"
            may = "SELECT has_table_privilege(current_schema() || '.entry', :right)"
            if not connection.scalar(text(may), {"right": right}):
                raise LedgerError(
                    f"{self._where}: this role has no {right} right on the table entry; grant it", EXIT_INPUTS
                )

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """READ COMMITTED behind the writers' lock, which is taken first."""
        with self._sentences(), self._engine.begin() as connection:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(self._timeout * 1000)}")
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_KEY})"), {"name": "writer"})
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """REPEATABLE READ, READ ONLY: a snapshot."""
        with self._sentences(), self._engine.connect() as plain:
            yield plain.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def schema_version(self, connection: Connection) -> int:
        """From the comment on the table ``entry``."""
        comment = connection.scalar(text("SELECT obj_description((current_schema() || '.entry')::regclass)")) or ""
        number = comment.removeprefix(_SIGNATURE)
        if number == comment or not number.isdecimal():
            raise LedgerError(
                f"{self._where} holds a table 'entry' of another program, not a hyposcreen ledger; choose another schema",
                EXIT_INPUTS,
            )
        if int(number) > SCHEMA_VERSION:
            raise LedgerError(
                f"{self._where} was written by a newer hyposcreen (schema {number}, this one knows {SCHEMA_VERSION}): "
                "upgrade hyposcreen",
                EXIT_INPUTS,
            )
        return int(number)

    def sign(self, connection: Connection) -> None:
        """A comment on the table ``entry``."""
        connection.exec_driver_sql(f"COMMENT ON TABLE entry IS '{_SIGNATURE}{SCHEMA_VERSION}'")

    def trigger_problems(self, connection: Connection) -> tuple[str, ...]:
        """Triggers by their definition, whether they are switched on, and the body of their function; rules at all."""
        ours = {table.name for table in METADATA.sorted_tables}
        found = {row[0]: row[1:] for row in connection.execute(text(_FOUND)) if row[1] in ours}
        schema = connection.scalar(text("SELECT quote_ident(current_schema())"))
        problems = []
        for name, rest in TRIGGERS.items():
            wanted = f"CREATE TRIGGER {name} {rest}"
            if name not in found:
                problems.append(f"the append-only trigger {name} is missing")
                continue
            table, definition, enabled, function, body = found[name]
            plain = definition.replace(f"{schema}.", "")
            if (table, plain, enabled, function, body) != ("entry", wanted, "O", _FUNCTION, _BODY):
                problems.append(f"the append-only trigger {name} was altered")
        problems += [
            f"the trigger {name} on table {found[name][0]} is not hyposcreen's" for name in found.keys() - TRIGGERS
        ]
        rules = connection.execute(text(_RULES))
        problems += [f"the rule {rule} on table {table} is not hyposcreen's" for table, rule in rules if table in ours]
        return tuple(sorted(problems))

    def damage(self, connection: Connection) -> list[str]:  # noqa: ARG002 - the server checks its own pages
        """The server checks its own storage."""
        return []

    def back_up(self, version: int) -> str:
        """A schema ``<schema>_schemaN_bak`` with a copy of every table, or the next such name that is free."""
        with self.transaction() as connection:
            schema = str(connection.scalar(text("SELECT current_schema()")))
            held = set(connection.scalars(text("SELECT nspname FROM pg_namespace")))
            stem = f"{schema}_schema{version}_bak"
            name = next(n for n in (stem, *(f"{stem}{k}" for k in range(1, 1000))) if n not in held)
            quoted = str(connection.scalar(text("SELECT quote_ident(:name)"), {"name": name}))
            connection.exec_driver_sql(f"CREATE SCHEMA {quoted}")
            for table in sorted(self._tables(connection)):
                connection.exec_driver_sql(f"CREATE TABLE {quoted}.{table} AS TABLE {table}")
        return name

    def explained(self, error: Exception) -> LedgerError | None:
        """By SQLSTATE; a server that cannot be reached has none."""
        if not isinstance(error, DBAPIError):
            return None
        state = getattr(error.orig, "sqlstate", None) or ""
        said = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
        for prefix, (sentence, code) in _SENTENCES.items():
            if state.startswith(prefix):
                return LedgerError(sentence.format(where=self._where, timeout=self._timeout, said=said), code)
        if isinstance(error, OperationalError):
            return LedgerError(
                f"{self._where} cannot be reached ({said}); check the server and the address", EXIT_INPUTS
            )
        return None

    def violation(self, error: DBAPIError) -> tuple[str, str]:
        """By SQLSTATE; the columns by the server's detail, ``Key (id)=(H0001) already exists.``"""
        diagnosis = getattr(error.orig, "diag", None)
        match getattr(error.orig, "sqlstate", ""):
            case "23505":
                key = str(getattr(diagnosis, "message_detail", "")).partition("(")[2].partition(")")[0]
                return "unique", ", ".join(f"{getattr(diagnosis, 'table_name', '')}.{c}" for c in key.split(", "))
            case "23503":
                return "foreign", ""
        return "other", str(error.orig).strip()

    @contextmanager
    def lock_runner(self, name: str) -> Iterator[None]:
        """A lock of the runner's own, in a session that ends with it."""
        with self._held(name) as holds:
            if not holds:
                raise LedgerError(f"a runner called {name} already works on {self._where}")
            yield

    @contextmanager
    def exclusive(self, job: str) -> Iterator[bool]:
        """A lock named by the job, in a session that ends with the block."""
        with self._held(f"job {job}") as holds:
            yield holds

    def lives(self, connection: Connection, runner: str) -> bool:
        """The lock of a runner that is gone can be had; it is let go with the transaction."""
        free = connection.scalar(text(f"SELECT pg_try_advisory_xact_lock({_KEY})"), {"name": runner})
        return not free

    @contextmanager
    def _held(self, name: str) -> Iterator[bool]:
        with self._sentences():
            session = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            with self._sentences():
                holds = session.scalar(text(f"SELECT pg_try_advisory_lock({_KEY})"), {"name": name})
            yield bool(holds)
        finally:
            session.close()  # without a pool the session ends here, and its locks with it

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            explained = self.explained(error)
            if explained is None:
                raise
            raise explained from error

    @staticmethod
    def _tables(connection: Connection) -> set[str]:
        """Tables of the schema that a ledger has too."""
        held = connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"))
        return set(held) & {table.name for table in METADATA.sorted_tables}


_SENTENCES = {
    "55P03": (
        "{where} is locked: another process has been writing for over {timeout:g} s; try again later",
        EXIT_FAILURE,
    ),
    "42501": ("{where}: {said}; grant it to this role, or ask who administers the database", EXIT_INPUTS),
    "25006": ("{where} is read-only: {said}; connect to the primary server", EXIT_INPUTS),
    "28": ("{where} refused this role: {said}; put the password in ~/.pgpass or PGPASSWORD", EXIT_INPUTS),
    "3D000": ("{said} ({where}); create the database first (createdb)", EXIT_INPUTS),
    "3F000": ("{said} ({where}); create the schema first (CREATE SCHEMA)", EXIT_INPUTS),
    "53": ("{where} has no room left and nothing was recorded: {said}", EXIT_FAILURE),
    "57P": ("{where} ended the connection and nothing was recorded: {said}; run again", EXIT_FAILURE),
    "08": ("{where} lost the connection and nothing was recorded: {said}; run again", EXIT_FAILURE),
    "23000": ("{where} is append-only: an entry is never changed or removed", EXIT_VERIFICATION),
}
"""First characters of an SQLSTATE → the sentence and its exit code."""
