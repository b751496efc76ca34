"""Projections → the rows a reader sees."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Select, func, select

from ...tests_library.multiplicity import printed_columns
from ...tests_library.online import calibrate, lond, saffron
from .errors import EXIT_VERIFICATION, LedgerError
from .records import Row
from .reviews import stale_rows
from .schema import ATTEMPT, HYPOTHESIS, LOOK_RESULT, PROMOTION, PROPOSAL, RESULT, REVIEW, RUN, VERDICT, VIEW_RESULT

_VIEW_COLUMNS = [VIEW_RESULT.c[n] for n in ("layer", "coordinate", "statistic", "effect", "null_mean", "z", "k")]
_REVIEW_COLUMNS = [REVIEW.c[n] for n in ("id", "author", "act", "text", "at")]
_PROPOSAL_COLUMNS = [PROPOSAL.c[n] for n in ("iteration", "slot", "proposer", "source")]
_NOT_TESTED = frozenset({"untestable", "invalid", "failed"})
_COUNTED = frozenset({"ok", "failed"})
"""A test that was run and failed counts with p = 1; one that was never run is no test."""

Columns = Mapping[str, Any]


def all_rows(connection: Connection, views: bool) -> tuple[Row, ...]:
    """Every hypothesis in order of registration, q-values and all."""
    parts = _Parts.read(connection, views)
    order = {id_: result["seq"] for id_, result in parts.results.items() if result["status"] in _COUNTED}
    return _with_multiplicity([_row(hypothesis, parts) for hypothesis in parts.hypotheses], order, parts.alpha)


def one_row(connection: Connection, id_: str) -> Row | None:
    """One hypothesis, or ``None``. Its q-values need every row; its views are its own."""
    found = next((row for row in all_rows(connection, views=False) if row.id == id_), None)
    if found is None:
        return None
    views = connection.execute(
        select(*_VIEW_COLUMNS).where(VIEW_RESULT.c.id == id_).order_by(VIEW_RESULT.c.ordinal)
    ).mappings()
    return replace(found, views=tuple(dict(view) for view in views))


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
    def read(cls, connection: Connection, views: bool) -> "_Parts":
        def read(query: Select[Any]) -> Iterable[Columns]:
            return [dict(row) for row in connection.execute(query).mappings()]

        started = select(ATTEMPT.c.id, func.count()).where(ATTEMPT.c.event == "started").group_by(ATTEMPT.c.id)
        hypotheses = tuple(read(select(HYPOTHESIS).order_by(HYPOTHESIS.c.seq)))
        said = [dict(review) for review in read(select(*_REVIEW_COLUMNS).order_by(REVIEW.c.seq))]
        by_view: dict[str, list[dict[str, Any]]] = {}
        if views:
            query = select(VIEW_RESULT.c.id, *_VIEW_COLUMNS).order_by(VIEW_RESULT.c.seq, VIEW_RESULT.c.ordinal)
            for row in connection.execute(query).mappings():
                view = dict(row)
                by_view.setdefault(view.pop("id"), []).append(view)
        return cls(
            cache_digest=connection.scalar(select(RUN.c.cache_digest)) or "",
            alpha=connection.scalar(select(RUN.c.alpha)),
            hypotheses=hypotheses,
            results={row["id"]: row for row in read(select(RESULT))},
            verdicts={row["id"]: row for row in read(select(VERDICT))},
            promoted=frozenset(connection.scalars(select(PROMOTION.c.id))),
            attempts={str(id_): int(count) for id_, count in connection.execute(started)},
            looks={(row["id"], row["route"]): row for row in read(select(LOOK_RESULT).order_by(LOOK_RESULT.c.look))},
            views=by_view,
            proposals={(row["iteration"], row["slot"]): row for row in read(select(*_PROPOSAL_COLUMNS))},
            reviews=_by_id(said),
            stale=stale_rows({row["id"]: row["parent"] for row in hypotheses}, said),
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


def _with_multiplicity(rows: list[Row], order: Mapping[str, int], alpha: float | None) -> tuple[Row, ...]:
    """The columns that need every counted row. ``order`` is the ledger place of each counted result."""
    places = sorted((order[row.id], index) for index, row in enumerate(rows) if row.id in order)
    in_order = [rows[index] for _, index in places]
    try:
        columns = _printed([row.p_scan or 0.0 for row in in_order], alpha)
    except ValueError as error:
        raise LedgerError(f"the result table was edited: {error}; verify the ledger", EXIT_VERIFICATION) from error
    for number, (_, index) in enumerate(places):
        numbers: dict[str, Any] = {name: values[number] for name, values in columns.items()}
        rows[index] = replace(rows[index], **numbers)
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
