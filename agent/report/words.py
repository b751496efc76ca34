"""The overview in words: what is confirmed at which error rate, what is only explored, and what to worry about."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..ledger.records import Row
from .model import ROLES, VERDICTS, ReportData


@dataclass(frozen=True)
class Controls:
    """How one kind of control came out."""

    confirmed: int
    total: int
    names: tuple[str, ...]
    """Ids of the confirmed ones."""


@dataclass(frozen=True)
class Overview:
    """The first thing a reader sees."""

    headline: str
    error_rate: str
    """The error statement of a finished run, or why there is none."""
    explored: str
    warnings: tuple[str, ...]
    """Loud: shown above everything else."""
    notices: tuple[str, ...]
    """State of the run, shown above the headline; not a fault."""
    counts: tuple[tuple[str, str, int], ...]
    """Verdict, label, rows; every verdict that occurs, in order."""
    positive: Controls
    negative: Controls


def overview(data: ReportData) -> Overview:
    """Everything the first screen says, from the records alone."""
    verdicts = Counter(row.verdict for row in data.rows)
    negative = controls(data, "negative_control")
    return Overview(
        headline=_headline(data),
        error_rate=_error_rate(data),
        explored=_explored(data, verdicts),
        warnings=_warnings(negative, verdicts, data.rows),
        notices=_notices(data),
        counts=_labels(verdicts),
        positive=controls(data, "positive_control"),
        negative=negative,
    )


def controls(data: ReportData, role: str) -> Controls:
    """How many rows of ``role`` are confirmed. None of an unfinished run is."""
    rows = [row for row in data.rows if row.role == role]
    confirmed = tuple(row.id for row in rows if data.complete and row.verdict == "confirmed")
    return Controls(len(confirmed), len(rows), confirmed)


def confirmed_rows(data: ReportData) -> tuple[Row, ...]:
    """What the page may claim, claims before controls, then by adjusted p. Empty while the run is unfinished."""
    if not data.complete:
        return ()
    order = list(ROLES)

    def rank(row: Row) -> tuple[int, float, str]:
        return (
            order.index(row.role) if row.role in order else len(order),
            1.0 if row.p_confirm_adj is None else row.p_confirm_adj,
            row.id,
        )

    return tuple(sorted((row for row in data.rows if row.verdict == "confirmed"), key=rank))


def remarks(rows: Sequence[Row]) -> tuple[Mapping[str, Any], ...]:
    """What people said, latest first."""
    return tuple(sorted((r for row in rows for r in row.reviews), key=lambda r: str(r["at"]), reverse=True))


def facts(data: ReportData) -> tuple[tuple[str, str], ...]:
    """Label and value of what a methods section would state."""
    run = data.run
    if run is None:
        return ()
    done = max((row.iteration for row in data.rows), default=0)
    cache, split, universe = run.cache, run.split, run.universe
    return (
        ("Cache", _join(cache, "name", "model", "data")),
        ("Cache digest", str(cache.get("digest", "–"))),
        ("Genes", _counted(cache.get("genes"), "in all", cache.get("masked"), "masked")),
        *(
            [("Not matched by any null", f"{' and '.join(cache['not_matched'])}: not known of this cache")]
            if cache.get("not_matched")
            else []
        ),
        ("Layers × dimensions", f"{_layers(cache.get('layers'))} × {_number(cache.get('dim'))}"),
        ("Explore side A / sealed side B", f"{_number(split.get('explore'))} / {_number(split.get('sealed'))} genes"),
        ("Universe", f"{_number(universe.get('cells'))} cells, {_number(universe.get('hypotheses'))} sentences"),
        ("Annotations", _number(len(run.annotations))),
        ("Permutations explore / look", f"{_number(run.permutations_explore)} / {_number(run.permutations_look)}"),
        ("Iterations", f"{_number(done)} of {_number(run.iterations)}, {_number(run.per_iteration)} each"),
        ("Proposer", run.proposer),
        ("Promotion", f"p_scan ≤ {run.promote_p:g} on genes A, at most {_number(run.max_promoted)}"),
        ("Error rate", f"α = {run.alpha:g} = {run.alpha_u:g} (U) + {run.alpha_h:g} (H)"),
        ("Seed", str(run.seed)),
        ("hyposcreen", run.version),
    )


def plural(n: int, one: str, many: str | None = None) -> str:
    """``1 claim``, ``2 claims``."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def _headline(data: ReportData) -> str:
    if data.run is None:
        return "This ledger holds no run."
    if not data.complete:
        return f"{plural(len(data.rows), 'hypothesis', 'hypotheses')} registered, none of them claimable yet."
    confirmed = confirmed_rows(data)
    claims = sum(row.role not in {"positive_control", "negative_control"} for row in confirmed)
    if not claims:
        return f"No claim is confirmed among {plural(len(data.rows), 'hypothesis', 'hypotheses')}."
    be = "is" if claims == 1 else "are"
    return f"{plural(claims, 'claim')} {be} confirmed among {plural(len(data.rows), 'hypothesis', 'hypotheses')}."


def _error_rate(data: ReportData) -> str:
    run = data.run
    if run is None:
        return "Open one with `screen run`."
    looks = (
        "one look" if run.looks == 1 else f"{run.looks} looks, every later one charged for what earlier ones showed,"
    )
    shares = (
        f"α = {run.alpha:g} is shared between Route U ({run.alpha_u:g}: one maximum over everything the grammar could "
        f"have said, {_number(run.universe.get('cells'))} cells) and Route H ({run.alpha_h:g}: {looks} at the "
        f"{_number(run.split.get('sealed'))} held-out genes)."
    )
    if not data.complete:
        taken = "the look is taken once" if run.looks == 1 else "the last look is taken"
        return f"When the {plural(run.iterations, 'declared iteration')} are done, {taken}. {shares}"
    return (
        f"P(any false confirmation in this run) ≤ {run.alpha:g}, although the proposer chose the tests after seeing "
        f"results. {shares}"
    )


def _explored(data: ReportData, verdicts: Mapping[str, int]) -> str:
    if not data.rows:
        return "Nothing has been tested yet."
    if not data.complete:
        return (
            "All p-values and q-values below come from genes A, which the proposer has seen: they guide the search and "
            "claim nothing."
        )
    others = ", ".join(f"{n:,} {label}" for name, label, n in _labels(verdicts) if name != "confirmed")
    by_u = sum(row.p_u_adj is not None for row in data.rows)
    by_h = sum(row.p_h_adj is not None for row in data.rows)
    rest = len(data.rows) - verdicts.get("confirmed", 0)
    return (
        f"{_distinct(data)}Of {plural(len(data.rows), 'row')}, {by_u:,} were judged by Route U and {by_h:,} by Route H, "
        f"for which {len(data.promoted):,} were promoted. Not confirmed are {rest:,} ({others or 'none'}): what genes A say "
        "of these (p_scan, q) guided the search and claims nothing."
    )


def _distinct(data: ReportData) -> str:
    """Refinements of one finding are several rows; a reader should not count them as several findings."""
    claims = [row for row in confirmed_rows(data) if row.role == "claim"]
    pairs = {(row.test, row.annotation) for row in claims}
    if len(pairs) == len(claims):
        return ""
    return (
        f"The {len(claims):,} confirmed claims concern {plural(len(pairs), 'distinct pair')} of test and annotation. "
    )


def _warnings(negative: Controls, verdicts: Mapping[str, int], rows: Sequence[Row]) -> tuple[str, ...]:
    out = []
    if negative.confirmed:
        out.append(
            f"{negative.confirmed:,} of {plural(negative.total, 'negative control')} came out confirmed "
            f"({_some(negative.names)}). A negative control is drawn to hold no signal: either this is one of the "
            "false confirmations that α allows, or the null is too easy here. Doubt every claim of this run until it "
            "is explained."
        )
    if verdicts.get("stale"):
        were = sum(row.verdict_of_run == "confirmed" for row in rows)
        lost = f"; {were:,} of them had been confirmed" if were else ""
        out.append(
            f"{plural(verdicts['stale'], 'row')} no claim any more{lost}: a person invalidated "
            f"{_some(_struck(rows)) or 'what they rest on'}, and whatever descends from such a row is stale with it."
        )
    return tuple(out)


def _struck(rows: Sequence[Row]) -> tuple[str, ...]:
    """Rows that were invalidated themselves: the last word of people on them says so."""
    last = {row.id: [r["act"] for r in row.reviews if r["act"] in {"invalidate", "reinstate"}][-1:] for row in rows}
    return tuple(id_ for id_, acts in last.items() if acts == ["invalidate"])


def _notices(data: ReportData) -> tuple[str, ...]:
    if data.run is None or data.complete:
        return ()
    if any(row.p_confirm is not None for row in data.rows):
        return (
            "This run is unfinished: the look at the held-out genes has begun and is not closed. Nothing is claimable yet.",
        )
    if data.run.looks > 1:
        return ("This run is unfinished. Nothing is claimable yet: looks before the last show counts, and no row.",)
    return ("This run is unfinished. Nothing is claimable yet: held-out genes are still sealed.",)


def _labels(verdicts: Mapping[str, int]) -> tuple[tuple[str, str, int], ...]:
    unknown = {name: name for name in sorted(verdicts) if name not in VERDICTS}
    return tuple((name, label, verdicts[name]) for name, label in {**VERDICTS, **unknown}.items() if verdicts.get(name))


def _some(names: tuple[str, ...], shown: int = 8) -> str:
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _join(values: Mapping[str, Any], *keys: str) -> str:
    return " · ".join(str(values[key]) for key in keys if values.get(key)) or "–"


def _layers(value: Any) -> str:
    return _number(len(value)) if isinstance(value, list | tuple) else _number(value)


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else "–" if value is None else str(value)


def _counted(first: Any, first_word: str, second: Any, second_word: str) -> str:
    both = [(first, first_word), (second, second_word)]
    return ", ".join(f"{_layers(value)} {word}" for value, word in both if value is not None) or "–"
