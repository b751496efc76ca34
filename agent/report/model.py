"""What a report shows: the ledger's rows of one moment, and the small JSON that the page reads.

Everything here is pure. Floats are rounded to six significant digits for display; p-values are kept exactly: an integer
``k`` where the p is (k + 1) / (m + 1), which the page divides again to the same double, otherwise the decimal as text.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...tests_library.nulls import NULLS, OWN_NULLS, null_model
from ...tests_library.uncertainty import MISSING
from ..custom.codes import as_shown
from ..ledger.records import Head, Rejected, Row, RunOpened
from .audits import AuditLine
from .control import Control
from .drawn import sketch_of, source_of
from .encode import Packer, column, float_column, id_column, prose_column, short_digest, significant, spec_columns
from .foreign import ForeignLine

VERDICTS: Mapping[str, str] = {
    "confirmed": "confirmed",
    "not_confirmed": "not confirmed",
    "screened": "screened",
    "untestable": "untestable",
    "invalid": "invalid",
    "failed": "failed",
    "retired": "retired",
    "stale": "stale",
    "registered": "registered",
}
"""Verdict → label, in the order in which a reader wants them."""

ROLES: Mapping[str, str] = {
    "claim": "claim",
    "positive_control": "positive control",
    "negative_control": "negative control",
}
"""Role → label."""

_AS_GIVEN = (
    "iteration", "family", "test", "annotation", "role", "verdict", "route", "effect_unit",
    "best_view", "m", "n_genes", "n_entity", "null", "direction", "parent", "proposer_move",
    "proposer", "invalidated", "cache_digest", "attempts", "interval_level", "interval_method", "interval_units",
    "interval_missing",
)  # fmt: skip
_PROSE = ("claim", "rationale", "reason")
_ROUNDED = ("effect", "null_mean", "effect_low", "effect_high", "q_bh", "q_by", "p_holm", "prior", "min_effect")
SHORT = 16
"""Hexadecimal digits of a spec's sha256 on the page: enough to find it; ``ledger show`` has all 64."""
_EXPLORED_P = ("p_raw", "p_scan")
_LOOKED_P = ("p_confirm", "p_confirm_adj", "p_u_adj", "p_h_adj")


@dataclass(frozen=True)
class ReportData:
    """One moment of one ledger. All fields come from a single snapshot, or the head would vouch for other rows."""

    run: RunOpened | None
    """The frozen plan; ``None`` for a ledger in which no run was opened."""
    rows: tuple[Row, ...]
    """Every hypothesis, in order of registration, with its views."""
    rejections: tuple[Rejected, ...]
    """Proposals that never became hypotheses."""
    head: Head
    """Where the ledger ended when the rows were read."""
    promoted: tuple[str, ...]
    """Ids on the frozen list for the held-out genes; empty before promotion."""
    complete: bool
    """The look is done and the run is closed. While ``False`` the page claims nothing, whatever the rows say."""
    generated: str
    """When the report was made, as it shall be printed. The only part that two reports of one ledger differ in."""
    audit: tuple[AuditLine, ...] = ()
    """What audits of this project found, one line a plan; empty without an ``audit.jsonl``."""
    foreign: tuple[ForeignLine, ...] = ()
    """Campaigns from elsewhere that were imported into this ledger; nothing of them enters any count of the run."""
    control: Control | None = None
    """The same questions asked of an untrained model, where that was done."""
    codes: Mapping[str, str] = field(default_factory=dict)
    """sha256 → code, of statistics that a model wrote."""
    sketches: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Id → null → its distribution in a few numbers (:mod:`hyposcreen.tests_library.sketch`); rows of older ledgers have none."""


def page_json(data: ReportData) -> dict[str, Any]:
    """The JSON that the page's script reads: columns instead of rows, repeated values once, views packed."""
    packer = Packer()
    m_look = data.run.permutations_look if data.run else None
    columns = {name: column([getattr(row, name) for row in data.rows]) for name in _AS_GIVEN}
    columns |= {name: prose_column([getattr(row, name) for row in data.rows]) for name in _PROSE}
    columns["id"] = id_column([row.id for row in data.rows])
    columns["statistic"] = float_column([row.statistic for row in data.rows], exact=True)  # the page writes its hex
    columns |= {name: float_column([getattr(row, name) for row in data.rows]) for name in _ROUNDED}
    columns |= {name: column([exact_p(getattr(row, name), row.m) for row in data.rows]) for name in _EXPLORED_P}
    columns |= {name: column([exact_p(getattr(row, name), m_look) for row in data.rows]) for name in _LOOKED_P}
    if [row.k for row in data.rows] != [exact_p(row.p_scan, row.m) for row in data.rows]:
        columns["k"] = column([row.k for row in data.rows])  # else it is what p_scan is made of
    columns["spec_sha256"] = column([short_digest(row.spec_sha256[:SHORT]) for row in data.rows])
    columns |= _beside(data.rows)
    columns["sketches"] = column([sketch_of(row, data.sketches.get(row.id, {})) for row in data.rows])
    columns["source"] = column([source_of(row) for row in data.rows])
    columns["reviews"] = column(
        [[[r["at"], r["author"], r["act"], r["text"]] for r in row.reviews] for row in data.rows]
    )
    columns["promoted"] = column([int(row.promoted) for row in data.rows])
    columns["views"] = column([packer.pack(row.views, row.best_view) for row in data.rows])
    return {
        "n": len(data.rows),
        "columns": columns,
        "specs": spec_columns([row.spec for row in data.rows]),
        "grids": packer.grids,
        "mLook": m_look,
        "promoteP": data.run.promote_p if data.run else None,
        "complete": data.complete,
        "missing": {
            name: MISSING.get(name, name) for name in dict.fromkeys(r.interval_missing for r in data.rows) if name
        },
        "verdicts": dict(VERDICTS),
        "roles": dict(ROLES),
        "printed": sorted(_printed_only({null for row in data.rows for null in row.companions})),
        "start": default_row(data.rows),
        **({"codes": {sha256: as_shown(code) for sha256, code in data.codes.items()}} if data.codes else {}),
    }


def _printed_only(nulls: set[str]) -> set[str]:
    """Nulls that are printed and decide nothing."""
    known = NULLS | OWN_NULLS
    return {name for name in nulls if name in known and not null_model(name).decides}


def _beside(rows: Sequence[Row]) -> dict[str, Any]:
    """What stands beside a row's numbers: companion nulls, balance in hundredths of a sd, notes, baselines."""
    balance = [row.checks.get("balance") or {} for row in rows]
    covariates = [list(next(iter(found.values()), {})) for found in balance]
    hundredths = [
        [round(100 * by_name[name]) for by_name in found.values() for name in names if name in by_name]
        for found, names in zip(balance, covariates, strict=True)
    ]
    return {
        "nulls": column([list(row.companions) for row in rows]),
        "null_k": column([[found["k"] for found in row.companions.values()] for row in rows]),
        "null_m": column([[found["m"] for found in row.companions.values()] for row in rows]),
        "balanced": column([[list(found), names] for found, names in zip(balance, covariates, strict=True)]),
        "balance": column(hundredths),
        "unbalanced": prose_column([row.checks.get("unbalanced") or "" for row in rows]),
        "notes": prose_column(["\n".join(row.checks.get("notes") or ()) for row in rows]),
        "baselines": column([{name: significant(v, 3) for name, v in row.baselines.items()} or None for row in rows]),
    }


def exact_p(p: float | None, m: int | None) -> int | str | None:
    """A p-value without loss: ``k`` if p is exactly (k + 1) / (m + 1), otherwise its shortest decimal as text.

    >>> exact_p(0.05, 99), exact_p(0.0123, 99), exact_p(None, 99)
    (4, '0.0123', None)
    """
    if p is None or not math.isfinite(p):
        return None
    if m is not None:
        k = round(p * (m + 1)) - 1
        if 0 <= k <= m and (k + 1) / (m + 1) == p:
            return k
    return repr(p)


def default_row(rows: Sequence[Row]) -> int | None:
    """Index of the row a reader should see first: confirmed before explored, then the smaller p. ``None`` without rows."""
    order = list(VERDICTS)

    def rank(index: int) -> tuple[bool, int, float, float, int]:
        row = rows[index]
        verdict = order.index(row.verdict) if row.verdict == "confirmed" else len(order)
        return (not row.views, verdict, _p(row.p_confirm_adj), _p(row.p_scan), index)

    return min(range(len(rows)), key=rank, default=None)


def _p(p: float | None) -> float:
    return 2.0 if p is None else p
