"""Is this ledger what hyposcreen wrote? Every check reads; none repairs.

A person who may write the file can recompute the whole chain, or cut its end off, and leave a consistent ledger behind.
Only a head that left the file (a report, an export, a note) catches that: pass it as ``head``.

Each page of entries is examined by itself (:mod:`.page`): hashes, rebuild, tables. What binds pages together is checked here,
page after page: the order of the run, what may be there once, what must stand before what. So the pages of a large ledger
are shared among processes, and the answer is the same.
"""

import gc
import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.pool import Pool
from typing import Any

from sqlalchemy import Connection, func, or_, select
from sqlalchemy.exc import DBAPIError

from .chain import GENESIS
from .database import TIMEOUT, Database, Location, database_at
from .errors import DamagedLedgerError, LedgerError
from .page import Key, Page, Span, Wanted, examine, meets, name_of, repeated
from .records import Head
from .rules import order_problem
from .schema import ENTRY, PROJECTIONS, SCHEMA_VERSION

PAGE = 5000
"""Entries examined at once."""
_FEW = 4
"""Pages that are not worth a second process."""
_MOST_JOBS = 8
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


def verify(where: Location, head: str | None = None, jobs: int | None = None, page: int = PAGE) -> VerifyReport:
    """Check the storage, the chain, the order of the run, and every projection against a rebuild.

    ``head`` is ``HASH`` or ``SEQ:HASH`` as printed earlier; at least eight characters of the hash. It must be an entry
    of the chain. ``jobs`` processes share a large ledger, by default one a core, ``page`` entries at a time. Raises
    :class:`LedgerError` if there is no ledger to check (missing, foreign, newer, locked) or if ``head`` is not a hash;
    everything else, damage included, is a problem of the report.
    """
    walk = _Walk(_parse_head(head))
    database = database_at(where, TIMEOUT)
    database.require(writable=False)
    try:
        with database.reading() as connection:
            whole = database.schema_version(connection) == SCHEMA_VERSION
            walk.problems += database.trigger_problems(connection)
            spans = _spans(connection, page)
            if (jobs := _jobs(jobs, len(spans))) == 1:
                walk.problems += database.damage(connection)
                walk.follow(examine(database, connection, span, walk.wanted, whole) for span in spans)
                walk.problems += _strays(database, connection, walk.head.seq) if whole else ()
        if jobs > 1:
            # No transaction is open here while others read: a writer that waited for it would keep them waiting. The pages before
            # the last are the same at any moment, because a ledger only grows; what it has grown by is read with the last.
            with _readers(where, jobs) as pool:
                damage = pool.apply_async(_damage)
                walk.follow(pool.imap(partial(_examine, wanted=walk.wanted, projections=whole), spans[:-1]))
                walk.problems += damage.get()
            with database.reading() as connection:
                walk.follow([examine(database, connection, spans[-1], walk.wanted, whole)])
                walk.problems += _strays(database, connection, walk.head.seq) if whole else ()
    except DamagedLedgerError as error:
        walk.problems.append(str(error))
    walk.finish()
    return VerifyReport(not walk.problems, tuple(walk.problems), walk.head, walk.entries)


def _parse_head(head: str | None) -> Wanted | None:
    if head is None:
        return None
    seq, _, prefix = head.strip().lower().rpartition(":")
    valid = len(prefix) >= _SHORTEST_PREFIX and set(prefix) <= set("0123456789abcdef") and (not seq or seq.isdecimal())
    if not valid:
        raise LedgerError(f"{head!r} is not a head; give HASH or SEQ:HASH, at least 8 hexadecimal characters of it")
    return (int(seq) if seq else None), prefix


@dataclass
class _Walk:
    """What was seen of the chain so far, and what was wrong with it."""

    wanted: Wanted | None
    head: Head = GENESIS
    entries: int = 0
    problems: list[str] = field(default_factory=list)
    _met: bool = False
    _kinds: Counter[str] = field(default_factory=Counter)
    _standing: dict[Key, set[Any]] = field(default_factory=dict)

    def follow(self, pages: Iterable[Page]) -> None:
        """Take pages in order: what they found, and what binds each to those before it."""
        for page in pages:
            self.problems += page.problems
            for seq, kind in page.entries:
                if problem := order_problem(kind, self._kinds.__getitem__):
                    self.problems.append(f"{name_of(seq, kind)} is out of order: {problem}")
                self._kinds[kind] += 1
            self._relate(page)
            self.head = page.head
            self.entries += len(page.entries)
            self._met = self._met or page.met

    def _relate(self, page: Page) -> None:
        for (table, columns), values in page.needs.items():
            standing = self._standing.get((table, columns), set())
            for value, place in values:
                if value not in standing:
                    name = name_of(*page.entries[place])
                    self.problems.append(f"{name} comes before, or without, the {table} {value} it belongs to")
        for key, stands in page.stands.items():
            standing = self._standing.setdefault(key, set())
            for value in standing.intersection(stands):
                self.problems.append(repeated(page, key, value, stands[value]))
            standing.update(stands)

    def finish(self) -> None:
        """The last question: was the head the caller knows among the entries?"""
        if self.wanted is None or self._met or meets(GENESIS, self.wanted):
            return
        seq, prefix = self.wanted
        where = f"entry {seq}" if seq is not None else "any entry"
        self.problems.append(
            f"the head {prefix} is not the hash of {where}: the ledger was truncated or rewritten after that head was "
            f"noted, or the head belongs to another ledger (this one ends at {self.head.seq}:{self.head.hash[:12]})"
        )


def _spans(connection: Connection, page: int) -> list[Span]:
    """The chain in pages; the last is open, and so is the first at its beginning.

    Entries are numbered without a gap. Where a tampered ledger's are not, pages are uneven, and beyond twice the number of
    entries there is one.
    """
    last, count = connection.execute(select(func.max(ENTRY.c.seq), func.count())).one()
    ends = range(page, min(last or 0, 2 * count), page)
    return list(zip([None, *ends], [*ends, None], strict=True))


def _jobs(asked: int | None, pages: int) -> int:
    if asked is not None:
        return max(1, min(asked, pages))
    if pages <= _FEW:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_JOBS)


@contextmanager
def _readers(where: Location, jobs: int) -> Iterator[Pool]:
    """Processes that read the ledger, each by itself."""
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with context.Pool(jobs, _begin_reading, (where,)) as pool:
        yield pool


_reader: list[Database] = []
"""The ledger that this process reads for another one."""


def _begin_reading(where: Location) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asked; these end with it
    gc.disable()  # a tenth of the time went into looking for circles among values that have none
    _reader[:] = [database_at(where, TIMEOUT)]


def _examine(span: Span, wanted: Wanted | None, projections: bool) -> Page:
    with _reader[0].reading() as connection:
        return examine(_reader[0], connection, span, wanted, projections)


def _damage() -> list[str]:
    with _reader[0].reading() as connection:
        return _reader[0].damage(connection)


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
