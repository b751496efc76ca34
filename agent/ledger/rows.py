"""Projections → the rows a reader sees."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, Table, case, func, literal, select

from .counted import Counted
from .records import Completion, Registered, Row
from .reviews import stale_rows
from .schema import (
    ATTEMPT,
    COMPLETION,
    ENTRY,
    HYPOTHESIS,
    LOOK_RESULT,
    PROMOTION,
    PROPOSAL,
    RESULT,
    REVIEW,
    RUN,
    VERDICT,
    VIEW_RESULT,
)

_VIEW_COLUMNS = [VIEW_RESULT.c[n] for n in ("layer", "coordinate", "statistic", "effect", "null_mean", "z", "k")]
_REVIEW_COLUMNS = [REVIEW.c[n] for n in ("id", "author", "act", "text", "at")]
_PROPOSAL_COLUMNS = [PROPOSAL.c[n] for n in ("iteration", "slot", "proposer", "source")]
_NOT_TESTED = frozenset({"untestable", "invalid", "failed"})

_PAGE = 500
"""Ids in one question."""

Columns = Mapping[str, Any]


@dataclass(frozen=True)
class Whole:
    """What every row rests on, however few are asked for: a moment of the ledger. Small beside the rows."""

    end: int
    """Seq of the last entry of that moment. A ledger only grows, so its rows as they were then can be read at any later one."""
    cache_digest: str
    counted: Counted
    promoted: frozenset[str]
    reviews: Mapping[str, list[dict[str, Any]]]
    stale: Mapping[str, str]
    """Id → why the row is no claim any more."""

    @classmethod
    def read(cls, connection: Connection, end: int) -> "Whole":
        """The ledger as it is up to the entry ``end``."""
        run = connection.execute(select(RUN.c.cache_digest, RUN.c.alpha).where(RUN.c.seq <= end)).first()
        said = _said(connection, end)
        return cls(
            end=end,
            cache_digest=run.cache_digest if run else "",
            counted=Counted.read(connection, end, run.alpha if run else None),
            promoted=frozenset(connection.scalars(select(PROMOTION.c.id).where(PROMOTION.c.seq <= end))),
            reviews=_by_id(said),
            stale=_stale(connection, said, end),
        )


class Pages:
    """Every row in order of registration, a page at a time. Each page may be read in a transaction of its own."""

    def __init__(self, whole: Whole, views: bool) -> None:
        self._whole, self._views = whole, views
        self._after = self._proposed = 0
        self._proposals: dict[tuple[int, int], Columns] = {}
        self._attempts: Mapping[str, int] | None = None

    def next(self, connection: Connection, count: int) -> list[Row]:
        """The next ``count`` rows; fewer at the end, and none behind it."""
        end = self._whole.end
        query = select(HYPOTHESIS).where(HYPOTHESIS.c.seq > self._after, HYPOTHESIS.c.seq <= end)
        page = _dicts(connection, query.order_by(HYPOTHESIS.c.seq).limit(count))
        if not page:
            return []
        self._after = page[-1]["seq"]
        if self._attempts is None:
            self._attempts = _attempts(connection, end)
        self._read_proposals(connection, page)
        return _rows(connection, self._whole, page, self._attempts, self._proposals, self._views)

    def _read_proposals(self, connection: Connection, page: Sequence[Columns]) -> None:
        """Proposals stand before the row that came of them: one pass over them, beside the rows."""
        first, last = page[0]["iteration"], page[-1]["seq"]
        query = select(PROPOSAL.c.seq, *_PROPOSAL_COLUMNS).where(
            PROPOSAL.c.seq > self._proposed, PROPOSAL.c.seq <= last
        )
        self._proposals = {key: said for key, said in self._proposals.items() if key[0] >= first}
        self._proposals |= _by_slot(connection, query)
        self._proposed = last


def rows_named(connection: Connection, ids: Sequence[str], end: int) -> list[Row]:
    """The hypotheses of ``ids`` that there are, with their views, in order of registration."""
    query = select(HYPOTHESIS).where(HYPOTHESIS.c.id.in_(ids), HYPOTHESIS.c.seq <= end).order_by(HYPOTHESIS.c.seq)
    page = _dicts(connection, query)
    if not page:
        return []
    spoken = select(*_PROPOSAL_COLUMNS).where(PROPOSAL.c.iteration.in_({row["iteration"] for row in page}))
    proposals = _by_slot(connection, spoken.order_by(PROPOSAL.c.seq))
    return _rows(connection, Whole.read(connection, end), page, _attempts(connection, end, ids), proposals, True)


def first_and_last(connection: Connection) -> tuple[str, str] | None:
    """Ids of the first and the last hypothesis, or ``None`` where there is none."""
    ends = [
        connection.scalar(select(HYPOTHESIS.c.id).order_by(order).limit(1))
        for order in (HYPOTHESIS.c.seq, HYPOTHESIS.c.seq.desc())
    ]
    return (str(ends[0]), str(ends[1])) if ends[0] is not None else None


def verdict_counts(connection: Connection) -> dict[str, int]:
    """Verdict → rows, counted by the database; the tables are only joined where rows have no verdict yet, or are stale."""
    given = select(VERDICT.c.verdict, func.count()).group_by(VERDICT.c.verdict)
    found = Counter({str(verdict): int(count) for verdict, count in connection.execute(given)})
    rows = connection.scalar(select(func.count(ENTRY.c.seq)).where(ENTRY.c.kind == Registered.KIND)) or 0
    if rows > found.total():
        waiting = select(RESULT.c.status, func.count()).select_from(
            HYPOTHESIS.outerjoin(RESULT, RESULT.c.id == HYPOTHESIS.c.id)
        )
        waiting = waiting.where(HYPOTHESIS.c.id.not_in(select(VERDICT.c.id))).group_by(RESULT.c.status)
        for status, count in connection.execute(waiting):
            found[verdict_of(status, None)] += count
    for status, verdict in _called_of(connection, list(_stale(connection, _said(connection)))):
        found[verdict_of(status, verdict)] -= 1
        found["stale"] += 1
    return {name: count for name, count in sorted(found.items()) if count}


def _called_of(connection: Connection, ids: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Status and verdict of each of ``ids``."""
    joined = HYPOTHESIS.outerjoin(RESULT, RESULT.c.id == HYPOTHESIS.c.id).outerjoin(
        VERDICT, VERDICT.c.id == HYPOTHESIS.c.id
    )
    query = select(RESULT.c.status, VERDICT.c.verdict).select_from(joined)
    for start in range(0, len(ids), _PAGE):
        mine = query.where(HYPOTHESIS.c.id.in_(ids[start : start + _PAGE]))
        yield from (tuple(row) for row in connection.execute(mine))


def costs(connection: Connection) -> tuple[Completion, ...]:
    """See :meth:`.store.Ledger.costs`."""
    bodies = {"request": literal(""), "response": case((COMPLETION.c.response.is_not(None), ""))}
    columns = [bodies[c.name].label(c.name) if c.name in bodies else c for c in COMPLETION.c if c.name != "seq"]
    query = select(*columns).order_by(COMPLETION.c.seq)
    return tuple(Completion(**row) for row in connection.execute(query).mappings())


def _said(connection: Connection, end: int | None = None) -> list[dict[str, Any]]:
    """Every remark, in order."""
    query = select(*_REVIEW_COLUMNS).order_by(REVIEW.c.seq)
    query = query if end is None else query.where(REVIEW.c.seq <= end)
    return _dicts(connection, query)


def _stale(connection: Connection, said: Sequence[Mapping[str, Any]], end: int | None = None) -> Mapping[str, str]:
    """Id → why the row is no claim any more; asks for the lineage only where anything was said."""
    if not said:
        return {}
    query = select(HYPOTHESIS.c.id, HYPOTHESIS.c.parent).order_by(HYPOTHESIS.c.seq)
    query = query if end is None else query.where(HYPOTHESIS.c.seq <= end)
    return stale_rows({row.id: row.parent for row in connection.execute(query)}, said)


def _attempts(connection: Connection, end: int, ids: Sequence[str] | None = None) -> Mapping[str, int]:
    """Id → how often its test was begun."""
    begun = select(ATTEMPT.c.id, func.count()).where(ATTEMPT.c.event == "started", ATTEMPT.c.seq <= end)
    begun = begun if ids is None else begun.where(ATTEMPT.c.id.in_(ids))
    return {str(id_): int(count) for id_, count in connection.execute(begun.group_by(ATTEMPT.c.id))}


def _by_slot(connection: Connection, query: Select[Any]) -> dict[tuple[int, int], Columns]:
    """(iteration, slot) → who proposed, and from what."""
    return {(row["iteration"], row["slot"]): row for row in _dicts(connection, query)}


def _dicts(connection: Connection, query: Select[Any]) -> list[dict[str, Any]]:
    """Rows as column → value; twice as quick as by SQLAlchemy's mappings, which find the names of every row anew."""
    found = connection.execute(query)
    names = tuple(found.keys())
    return [dict(zip(names, row, strict=True)) for row in found]


def _rows(
    connection: Connection,
    whole: Whole,
    hypotheses: Sequence[Columns],
    attempts: Mapping[str, int],
    proposals: Mapping[tuple[int, int], Columns],
    views: bool,
) -> list[Row]:
    ids = [row["id"] for row in hypotheses]

    def read(query: Select[Any], of: Table) -> list[dict[str, Any]]:
        return _dicts(connection, query.where(of.c.id.in_(ids), of.c.seq <= whole.end))

    results = {row["id"]: row for row in read(select(RESULT), RESULT)}
    parts = _Parts(
        results=results,
        verdicts={row["id"]: row for row in read(select(VERDICT), VERDICT)},
        looks={
            (row["id"], row["route"]): row
            for row in read(select(LOOK_RESULT).order_by(LOOK_RESULT.c.look), LOOK_RESULT)
        },
        views=_views(connection, [row["seq"] for row in results.values()]) if views else {},
        attempts=attempts,
        proposals=proposals,
    )
    return [_row(hypothesis, whole, parts) for hypothesis in hypotheses]


def _views(connection: Connection, results: Sequence[int]) -> Mapping[str, list[dict[str, Any]]]:
    """Id → its views; asked for by the entries of the results, which are the key of their table."""
    query = select(VIEW_RESULT.c.id, *_VIEW_COLUMNS).where(VIEW_RESULT.c.seq.in_(results))
    return _by_id(_dicts(connection, query.order_by(VIEW_RESULT.c.seq, VIEW_RESULT.c.ordinal)), keep=False)


@dataclass(frozen=True)
class _Parts:
    """What the projections say of one page of rows, keyed by hypothesis."""

    results: Mapping[str, Columns]
    verdicts: Mapping[str, Columns]
    looks: Mapping[tuple[str, str], Columns]
    """(id, route) → the latest look's result."""
    views: Mapping[str, list[dict[str, Any]]]
    attempts: Mapping[str, int]
    proposals: Mapping[tuple[int, int], Columns]
    """(iteration, slot) → who proposed, and from what."""


def _by_id(rows: Iterable[dict[str, Any]], keep: bool = True) -> dict[str, list[dict[str, Any]]]:
    """Id → its rows in order, from which the id is taken out unless it is to ``keep``."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["id"] if keep else row.pop("id"), []).append(row)
    return found


def _row(hypothesis: Columns, whole: Whole, parts: _Parts) -> Row:
    id_ = hypothesis["id"]
    result = parts.results.get(id_)
    verdict = parts.verdicts.get(id_)
    look = {route: parts.looks.get((id_, route)) for route in ("U", "H")}
    route = (verdict or {}).get("route") or None
    decided = deciding(route, look)
    proposal = parts.proposals.get((hypothesis["iteration"], hypothesis["slot"]), {})
    of_run = verdict_of(result["status"] if result else None, verdict["verdict"] if verdict else None)
    return Row(
        **{name: hypothesis[name] for name in _FROM_HYPOTHESIS},
        **(_numbers(result) | _refused(verdict)),
        **whole.counted.columns(result["seq"] if result else None),
        verdict="stale" if id_ in whole.stale else of_run,
        route=route,
        p_confirm=decided["p"] if decided else None,
        p_confirm_adj=decided["p_adj"] if decided else None,
        p_u_adj=look["U"]["p_adj"] if look["U"] else None,
        p_h_adj=look["H"]["p_adj"] if look["H"] else None,
        promoted=id_ in whole.promoted,
        proposer_move=hypothesis["move"],
        spec=json.loads(hypothesis["spec"]),
        cache_digest=whole.cache_digest,
        views=tuple(parts.views.get(id_, ())),
        attempts=parts.attempts.get(id_, 0),
        proposer=proposal.get("proposer", ""),
        proposal_source=json.loads(proposal.get("source", "{}")),
        reviews=tuple(whole.reviews.get(id_, ())),
        invalidated=whole.stale.get(id_, ""),
        verdict_of_run=of_run if id_ in whole.stale else "",
    )


_FROM_HYPOTHESIS = (
    "id", "iteration", "family", "test", "annotation", "role", "claim", "prior", "direction", "parent", "rationale",
    "spec_sha256",
)  # fmt: skip
_COUNTS = ("k", "m", "p_raw", "p_scan")
_DRAWN = ("statistic", "effect", "null_mean")
_WORDS = ("effect_unit", "best_view", "statistic_hex", "interval_method", "interval_missing")
_ENDS = ("effect_low", "effect_high", "interval_level")
_NESTED = ("checks", "baselines", "companions")


def _numbers(result: Columns | None) -> dict[str, Any]:
    """What the exploratory result says. Without draws (m = 0) k is 0 and p is (0 + 1) / (0 + 1) = 1, and there is no effect."""
    if result is None:
        names = (*_COUNTS, *_DRAWN, *_WORDS, *_ENDS, "interval_units", "null", "n_genes", "n_entity", "min_effect")
        return dict.fromkeys(names, None) | {"reason": "", **{name: {} for name in _NESTED}}
    return {
        **{name: result[name] for name in _COUNTS},
        **{name: result[name] if result["m"] > 0 else None for name in _DRAWN},
        **{name: result[name] or None for name in _WORDS},
        "null": result["null_name"] or None,
        "n_genes": result["n_genes"],
        "n_entity": result["n_entity"],
        "min_effect": result["min_effect"] or None,
        "reason": result["reason"],
        **{name: result[name] for name in _ENDS},
        "interval_units": result["interval_units"] or None,
        **{name: json.loads(result[name]) for name in _NESTED},
    }


def _refused(verdict: Columns | None) -> dict[str, Any]:
    """The reason of a row that was explored, but that no look could have confirmed."""
    return {"reason": verdict["rule"]} if verdict is not None and verdict["verdict"] == "untestable" else {}


def verdict_of(status: str | None, verdict: str | None) -> str:
    """What a row is called, from the status of its result and the verdict it was given, where it has them."""
    if verdict is not None:
        return verdict
    if status is None:
        return "registered"
    return status if status in _NOT_TESTED else "screened"


def deciding(route: str | None, look: Mapping[str, Columns | None]) -> Columns | None:
    """The look result behind the verdict: of ``U+H``, the one with the smaller adjusted p."""
    candidates = [found for name in (route or "").split("+") if (found := look.get(name)) is not None]
    return min(candidates, key=lambda found: float(found["p_adj"]), default=None)
