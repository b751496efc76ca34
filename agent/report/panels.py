"""Numbers of the panels that need no script: p-value histograms, proposer calibration, coverage map, rejections."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..ledger.records import Rejected, Row
from .model import ROLES, ReportData

BINS = 20
"""Bins of the p-value histogram, each 0.05 wide."""
CALIBRATION_BINS = 5
CONTRASTS = "contrasts"
"""Column of the coverage map for tests that compare layers instead of reading one."""


@dataclass(frozen=True)
class Histogram:
    """p_scan of the tested rows of one role."""

    label: str
    counts: tuple[int, ...]
    """Rows in ((i) / 20, (i + 1) / 20], p = 0.05 in the first bin."""
    expected: float
    """Rows a bin would hold if p were uniform."""


@dataclass(frozen=True)
class CalibrationBin:
    """Claims whose prior lay in one fifth of [0, 1], and how many of them were confirmed."""

    low: float
    high: float
    n: int
    confirmed: int
    mean_prior: float


@dataclass(frozen=True)
class CoverageCell:
    """Hypotheses of one family that scanned one layer."""

    scanned: int
    confirmed: int
    """Confirmed ones whose best view lies there."""
    shade: float
    """Share of the fullest cell, 0 to 1."""


@dataclass(frozen=True)
class Coverage:
    """Family × layer."""

    layers: tuple[str, ...]
    families: tuple[str, ...]
    totals: tuple[int, ...]
    """Hypotheses of each family, tested or not."""
    cells: tuple[tuple[CoverageCell, ...], ...]


@dataclass(frozen=True)
class Rejections:
    """Proposals that never became hypotheses."""

    reasons: tuple[tuple[str, int], ...]
    """Reason and how often, most frequent first."""
    rows: tuple[Rejected, ...]


def histograms(rows: Sequence[Row]) -> tuple[Histogram, ...]:
    """One histogram a role that has tested rows; an unknown role counts as a claim."""
    by_role: dict[str, list[float]] = {role: [] for role in ROLES}
    for row in rows:
        if row.p_scan is not None:
            by_role[row.role if row.role in ROLES else "claim"].append(row.p_scan)
    return tuple(_histogram(ROLES[role], values) for role, values in by_role.items() if values)


def _histogram(label: str, values: Sequence[float]) -> Histogram:
    # 1e-9: a p of exactly 0.15 must not fall into the next bin because 0.15 · 20 is a rounding above 3
    places = Counter(min(BINS - 1, max(0, math.ceil(p * BINS - 1e-9) - 1)) for p in values)
    return Histogram(label, tuple(places[i] for i in range(BINS)), len(values) / BINS)


def calibration(data: ReportData) -> tuple[CalibrationBin, ...]:
    """Prior against outcome over the claims of a finished run that were tested; empty before."""
    if not data.complete:
        return ()
    rows = [row for row in data.rows if row.role == "claim" and row.p_scan is not None]
    bins: list[list[Row]] = [[] for _ in range(CALIBRATION_BINS)]
    for row in rows:
        bins[min(CALIBRATION_BINS - 1, int(row.prior * CALIBRATION_BINS))].append(row)
    return tuple(
        CalibrationBin(
            low=i / CALIBRATION_BINS,
            high=(i + 1) / CALIBRATION_BINS,
            n=len(held),
            confirmed=sum(row.verdict == "confirmed" for row in held),
            mean_prior=sum(row.prior for row in held) / len(held) if held else 0.0,
        )
        for i, held in enumerate(bins)
    )


def coverage(data: ReportData) -> Coverage:
    """How many hypotheses of each family scanned each layer, and where the confirmed ones have their best view."""
    scanned: Counter[tuple[str, str]] = Counter()
    confirmed: Counter[tuple[str, str]] = Counter()
    for row in data.rows:
        scanned.update({(row.family, _place(str(view["layer"]))) for view in row.views})
        if data.complete and row.verdict == "confirmed" and row.best_view:
            confirmed[row.family, _place(re.split(r"[·\s]", row.best_view, maxsplit=1)[0])] += 1
    families = sorted({row.family for row in data.rows})
    layers = sorted({layer for _, layer in scanned}, key=_layer_order)
    most = max(scanned.values(), default=1)
    totals = Counter(row.family for row in data.rows)
    return Coverage(
        tuple(layers),
        tuple(families),
        tuple(totals[family] for family in families),
        tuple(
            tuple(
                CoverageCell(scanned[family, q], confirmed[family, q], round(scanned[family, q] / most, 3))
                for q in layers
            )
            for family in families
        ),
    )


def rejections(data: ReportData) -> Rejections:
    """Rejected proposals and a count by reason."""
    reasons = Counter(rejected.reason for rejected in data.rejections)
    return Rejections(tuple(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))), data.rejections)


def _place(layer: str) -> str:
    return CONTRASTS if ":" in layer else layer


def _layer_order(layer: str) -> tuple[bool, int, str]:
    number = re.search(r"\d+", layer)
    return (layer == CONTRASTS, int(number.group()) if number else -1, layer)
