"""What a list shows of each row: a dozen columns of one joined question, because whole rows of a large ledger take a while."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, select

from .rows import Whole, deciding, verdict_of
from .schema import ENTRY, HYPOTHESIS, LOOK_RESULT, RESULT, VERDICT


@dataclass(frozen=True, slots=True)
class Line:
    """Columns of :class:`.records.Row`, under the same names and with the same values."""

    id: str
    test: str
    annotation: str
    verdict: str
    route: str | None
    effect: float | None
    null_mean: float | None
    k: int | None
    m: int | None
    p_scan: float | None
    q_bh: float | None
    p_confirm_adj: float | None


def read(connection: Connection) -> Iterator[Line]:
    """Every row in order of registration."""
    whole = Whole.read(connection, connection.scalar(select(func.max(ENTRY.c.seq))) or 0)
    looked = _looked(connection)
    for id_, test, annotation, seq, status, m, k, p, effect, null_mean, verdict, route in connection.execute(_joined()):
        decided = deciding(route, looked[id_]) if route else None
        yield Line(
            id=id_,
            test=test,
            annotation=annotation,
            verdict="stale" if id_ in whole.stale else verdict_of(status, verdict),
            route=route or None,
            effect=effect if m else None,
            null_mean=null_mean if m else None,
            k=k,
            m=m,
            p_scan=p,
            q_bh=whole.counted.q_bh(seq),
            p_confirm_adj=decided["p_adj"] if decided else None,
        )


def _joined() -> Select[Any]:
    result = [RESULT.c[name] for name in ("seq", "status", "m", "k", "p_scan", "effect", "null_mean")]
    rows = HYPOTHESIS.outerjoin(RESULT, RESULT.c.id == HYPOTHESIS.c.id)
    rows = rows.outerjoin(VERDICT, VERDICT.c.id == HYPOTHESIS.c.id)
    columns = (HYPOTHESIS.c.id, HYPOTHESIS.c.test, HYPOTHESIS.c.annotation, *result, VERDICT.c.verdict, VERDICT.c.route)
    return select(*columns).select_from(rows).order_by(HYPOTHESIS.c.seq)


def _looked(connection: Connection) -> Mapping[str, dict[str, Mapping[str, Any]]]:
    """Id → route → the latest look's result, of the rows whose verdict rests on one."""
    resting = select(VERDICT.c.id).where(VERDICT.c.route != "")
    query = select(LOOK_RESULT.c.id, LOOK_RESULT.c.route, LOOK_RESULT.c.p_adj).where(LOOK_RESULT.c.id.in_(resting))
    found: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for id_, route, p_adj in connection.execute(query.order_by(LOOK_RESULT.c.look)):
        found[id_][route] = {"p_adj": p_adj}
    return found
