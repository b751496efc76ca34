"""Who may test a row now: attempts, read as leases. Stale is not failed: a lease that ran out says nothing of the test."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from .records import Registered, Tested
from .schema import ATTEMPT, ENTRY, HYPOTHESIS, RESULT

_MANY = 500


@dataclass(frozen=True)
class Attempt:
    """The last attempt at one row."""

    number: int
    runner: str
    until: datetime
    """When its lease runs out."""


def last_attempts(connection: Connection, ids: Collection[str]) -> dict[str, Attempt]:
    """Row id → its last attempt, ended or not: its runner still has the result to record. Rows never tried are left out."""
    query = select(ATTEMPT).where(ATTEMPT.c.event == "started").order_by(ATTEMPT.c.seq)
    if len(ids) <= _MANY:
        query = query.where(ATTEMPT.c.id.in_(list(ids)))
    found: dict[str, Attempt] = {}
    for row in connection.execute(query).mappings():
        until = datetime.fromisoformat(row["started"]) + timedelta(seconds=row["lease_seconds"])
        found[row["id"]] = Attempt(row["number"], row["worker"].partition(" ")[0], until)
    return found


def without_result(connection: Connection, ids: Collection[str] | None = None) -> list[str]:
    """Rows that are registered and have no result, all or those of ``ids``, in order of registration."""
    if _all_tested(connection):
        return []
    waiting = select(HYPOTHESIS.c.id).where(HYPOTHESIS.c.id.not_in(select(RESULT.c.id))).order_by(HYPOTHESIS.c.seq)
    asked = None if ids is None else set(ids)
    return [id_ for id_ in connection.scalars(waiting) if asked is None or id_ in asked]


def _all_tested(connection: Connection) -> bool:
    """Counted in the index of the entries: a row has one result at most, and the join would read every row to find none."""
    kinds = (Registered.KIND, Tested.KIND)
    query = select(ENTRY.c.kind, func.count()).where(ENTRY.c.kind.in_(kinds)).group_by(ENTRY.c.kind)
    count = {str(kind): int(n) for kind, n in connection.execute(query)}
    return count.get(Registered.KIND, 0) == count.get(Tested.KIND, 0)


def is_free(last: Attempt | None, now: datetime, lives: Callable[[str], bool]) -> bool:
    """Whether a row without a result may be tested: never tried, or left behind by a runner that is gone or out of time."""
    return last is None or now >= last.until or not lives(last.runner)
