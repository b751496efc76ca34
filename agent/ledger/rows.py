"""Projections → the rows a reader sees."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Select, Table, case, func, literal, select

from ...tests_library.online import calibrate, lond, saffron
from ...tests_library.printed import printed_columns
from .errors import EXIT_VERIFICATION, LedgerError
from .records import Completion, Row
from .reviews import stale_rows
from .schema import (
    ATTEMPT,
    COMPLETION,
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
_COUNTED = frozenset({"ok", "failed"})
"""A test that was run and failed counts with p = 1; one that was never run is no test."""

Columns = Mapping[str, Any]


def all_rows(connection: Connection, views: bool, ids: Sequence[str] | None = None) -> tuple[Row, ...]:
    """Every hypothesis in order of registration, or those of ``ids``. Their q-values always rest on every row."""
    parts = _Parts.read(connection, views, ids)
    return _with_multiplicity(connection, [_row(hypothesis, parts) for hypothesis in parts.hypotheses], parts.alpha)


def one_row(connection: Connection, id_: str) -> Row | None:
    """One hypothesis with its views, or ``None``."""
    return next(iter(all_rows(connection, True, [id_])), None)


def ids_of(connection: Connection, first: int) -> list[str]:
    """The first so many hypotheses, in order of registration."""
    return list(connection.scalars(select(HYPOTHESIS.c.id).order_by(HYPOTHESIS.c.seq).limit(first)))


def verdict_counts(connection: Connection) -> dict[str, int]:
    """Verdict → rows, without reading what else the rows say."""
    query = (
        select(HYPOTHESIS.c.id, RESULT.c.status, VERDICT.c.verdict)
        .outerjoin(RESULT, RESULT.c.id == HYPOTHESIS.c.id)
        .outerjoin(VERDICT, VERDICT.c.id == HYPOTHESIS.c.id)
    )
    stale = _stale(connection)
    found = Counter(
        "stale" if id_ in stale else _verdict(status and {"status": status}, verdict and {"verdict": verdict})
        for id_, status, verdict in connection.execute(query)
    )
    return dict(sorted(found.items()))


def costs(connection: Connection) -> tuple[Completion, ...]:
    """See :meth:`.store.Ledger.costs`."""
    bodies = {"request": literal(""), "response": case((COMPLETION.c.response.is_not(None), ""))}
    columns = [bodies[c.name].label(c.name) if c.name in bodies else c for c in COMPLETION.c if c.name != "seq"]
    query = select(*columns).order_by(COMPLETION.c.seq)
    return tuple(Completion(**row) for row in connection.execute(query).mappings())


def _stale(connection: Connection) -> Mapping[str, str]:
    """Id → why the row is no claim any more; asks for the lineage only where anything was said."""
    said = [dict(row) for row in connection.execute(select(*_REVIEW_COLUMNS).order_by(REVIEW.c.seq)).mappings()]
    if not said:
        return {}
    parents = connection.execute(select(HYPOTHESIS.c.id, HYPOTHESIS.c.parent).order_by(HYPOTHESIS.c.seq)).all()
    return stale_rows({row.id: row.parent for row in parents}, said)


@dataclass(frozen=True)
class _Parts:
    """The projections of one moment, keyed by hypothesis."""

    cache_digest: str
    alpha: float | None
    """The run's; ``None`` before a run is opened."""
    hypotheses: tuple[Columns, ...]
    results: Mapping[str, Columns]
    verdicts: Mapping[str, Columns]
    promoted: frozenset[str]
    attempts: Mapping[str, int]
    looks: Mapping[tuple[str, str], Columns]
    """(id, route) → the latest look's result."""
    views: Mapping[str, list[dict[str, Any]]]
    proposals: Mapping[tuple[int, int], Columns]
    """(iteration, slot) → who proposed, and from what."""
    reviews: Mapping[str, list[dict[str, Any]]]
    stale: Mapping[str, str]
    """Id → why the row is no claim any more."""

    @classmethod
    def read(cls, connection: Connection, views: bool, ids: Sequence[str] | None = None) -> "_Parts":
        def read(query: Select[Any], of: Table | None = None) -> Iterable[Columns]:
            if ids is not None and of is not None:
                query = query.where(of.c.id.in_(ids))
            return [dict(row) for row in connection.execute(query).mappings()]

        started = select(ATTEMPT.c.id, func.count()).where(ATTEMPT.c.event == "started").group_by(ATTEMPT.c.id)
        if ids is not None:
            started = started.where(ATTEMPT.c.id.in_(ids))
        hypotheses = tuple(read(select(HYPOTHESIS).order_by(HYPOTHESIS.c.seq), HYPOTHESIS))
        said = [dict(review) for review in read(select(*_REVIEW_COLUMNS).order_by(REVIEW.c.seq), REVIEW)]
        spoken = select(*_PROPOSAL_COLUMNS)
        if ids is not None:
            spoken = spoken.where(PROPOSAL.c.iteration.in_({row["iteration"] for row in hypotheses}))
        by_view: dict[str, list[dict[str, Any]]] = {}
        if views:
            query = select(VIEW_RESULT.c.id, *_VIEW_COLUMNS).order_by(VIEW_RESULT.c.seq, VIEW_RESULT.c.ordinal)
            for view in map(dict, read(query, VIEW_RESULT)):
                by_view.setdefault(view.pop("id"), []).append(view)
        return cls(
            cache_digest=connection.scalar(select(RUN.c.cache_digest)) or "",
            alpha=connection.scalar(select(RUN.c.alpha)),
            hypotheses=hypotheses,
            results={row["id"]: row for row in read(select(RESULT), RESULT)},
            verdicts={row["id"]: row for row in read(select(VERDICT), VERDICT)},
            promoted=frozenset(connection.scalars(select(PROMOTION.c.id))),
            attempts={str(id_): int(count) for id_, count in connection.execute(started)},
            looks={
                (row["id"], row["route"]): row
                for row in read(select(LOOK_RESULT).order_by(LOOK_RESULT.c.look), LOOK_RESULT)
            },
            views=by_view,
            proposals={(row["iteration"], row["slot"]): row for row in read(spoken)},
            reviews=_by_id(said),
            stale=_stale(connection),
        )


def _by_id(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["id"], []).append(row)
    return found


def _row(hypothesis: Columns, parts: _Parts) -> Row:
    id_ = hypothesis["id"]
    result = parts.results.get(id_)
    verdict = parts.verdicts.get(id_)
    look = {route: parts.looks.get((id_, route)) for route in ("U", "H")}
    route = (verdict or {}).get("route") or None
    deciding = _deciding(route, look)
    proposal = parts.proposals.get((hypothesis["iteration"], hypothesis["slot"]), {})
    return Row(
        **{name: hypothesis[name] for name in _FROM_HYPOTHESIS},
        **(_numbers(result) | _refused(verdict)),
        verdict="stale" if id_ in parts.stale else _verdict(result, verdict),
        route=route,
        q_bh=None,
        q_by=None,
        p_holm=None,
        p_confirm=deciding["p"] if deciding else None,
        p_confirm_adj=deciding["p_adj"] if deciding else None,
        p_u_adj=look["U"]["p_adj"] if look["U"] else None,
        p_h_adj=look["H"]["p_adj"] if look["H"] else None,
        promoted=id_ in parts.promoted,
        proposer_move=hypothesis["move"],
        spec=json.loads(hypothesis["spec"]),
        cache_digest=parts.cache_digest,
        views=tuple(parts.views.get(id_, ())),
        attempts=parts.attempts.get(id_, 0),
        proposer=proposal.get("proposer", ""),
        proposal_source=json.loads(proposal.get("source", "{}")),
        reviews=tuple(parts.reviews.get(id_, ())),
        invalidated=parts.stale.get(id_, ""),
        verdict_of_run=_verdict(result, verdict) if id_ in parts.stale else "",
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


def _verdict(result: Columns | None, verdict: Columns | None) -> str:
    if verdict is not None:
        return str(verdict["verdict"])
    if result is None:
        return "registered"
    return str(result["status"]) if result["status"] in _NOT_TESTED else "screened"


def _deciding(route: str | None, look: Mapping[str, Columns | None]) -> Columns | None:
    """The look result behind the verdict: of ``U+H``, the one with the smaller adjusted p."""
    candidates = [found for name in (route or "").split("+") if (found := look.get(name)) is not None]
    return min(candidates, key=lambda found: float(found["p_adj"]), default=None)


def _with_multiplicity(connection: Connection, rows: list[Row], alpha: float | None) -> tuple[Row, ...]:
    """The columns that need every counted row, in the order of their results."""
    query = select(RESULT.c.id, RESULT.c.p_scan).where(RESULT.c.status.in_(_COUNTED)).order_by(RESULT.c.seq)
    counted = connection.execute(query).all()
    try:
        columns = _printed([p for _, p in counted], alpha)
    except ValueError as error:
        raise LedgerError(f"the result table was edited: {error}; verify the ledger", EXIT_VERIFICATION) from error
    place = {id_: number for number, (id_, _) in enumerate(counted)}
    for index, row in enumerate(rows):
        if row.id in place:
            numbers: dict[str, Any] = {name: values[place[row.id]] for name, values in columns.items()}
            rows[index] = replace(row, **numbers)
    return tuple(rows)


def _printed(p: list[float], alpha: float | None) -> dict[str, Sequence[float]]:
    """Column → one value a counted row, for p in the order of testing. For the eye, never for a decision."""
    adjusted = printed_columns(p)
    columns: dict[str, Sequence[float]] = {
        "q_bh": adjusted["bh"],
        "q_by": adjusted["by"],
        "p_holm": adjusted["holm"],
        "e_value": [calibrate(value) for value in p],
    }
    if alpha is None:
        return columns
    return columns | {"level_lond": lond(p, alpha).levels, "level_saffron": saffron(p, alpha).levels}
