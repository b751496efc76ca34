"""Digest → the text a language model reads: fixed sections, fixed order, cut to a fixed number of tokens.

A token is counted as three characters: a rough figure, the same for every model, because a tokenizer would be another input.
Each section has a share of the budget; what does not fit is counted, not hidden. Names, and what a model said earlier, are
quoted.
Same digest, same bytes. Nothing but the digest is read, so what the digest may not hold cannot be here.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from ...prompts import quoted
from ...tests_library.catalogue import CATALOGUE
from ..custom.kind import NAME
from ..digest import Digest, Offer, SeenRow
from .portfolio import Rules, cheap

CHARACTERS_A_TOKEN = 3
_SHARES = {"offers": 0.27, "rules": 0.12, "coverage": 0.08, "strong": 0.17, "weak": 0.10, "failed": 0.09, "open": 0.17}
"""Section → share of the budget."""
_EXAMPLES = 3
"""Untested combinations that are named for each new family."""


def digest_text(digest: Digest, per_iteration: int, tokens: int) -> str:
    """At most ``tokens`` tokens of what ``digest`` holds. ``per_iteration`` is only shown, as a part of what is left."""
    room = tokens * CHARACTERS_A_TOKEN
    left = digest.iterations - digest.iteration + 1
    head = (
        f"Left: {left} iterations with this one, {per_iteration} hypotheses each. Explored so far: {len(digest.rows)} rows. "
        "All numbers are exploratory."
    )
    rules = Rules(digest)
    sections = (
        ("offers", "What can be tested (test: annotations with their sizes)", _offers(digest.offers)),
        ("rules", "New families and retired directions", _rules(rules)),
        ("coverage", "Coverage, rows by family and layers", _coverage(digest)),
        ("strong", "Strongest rows", _rows(digest, strongest=True)),
        ("weak", "Weakest rows: negatives are results too", _rows(digest, strongest=False)),
        ("failed", "Not tested or refused, by reason", _failures(digest)),
        ("open", "Combinations nobody has tested", _open(rules)),
    )
    room -= len(head) + sum(len(title) + 4 for _, title, _ in sections)
    parts = [head]
    for name, title, lines in sections:
        parts.append(f"## {title}\n" + "\n".join(_fit(list(lines), int(room * _SHARES[name]))))
    return "\n\n".join(parts)[: tokens * CHARACTERS_A_TOKEN]


def _offers(offers: Sequence[Offer]) -> Iterable[str]:
    by_test: dict[str, list[Offer]] = defaultdict(list)
    for o in offers:
        by_test[o.test].append(o)
    shapes: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = defaultdict(list)
    for test, mine in by_test.items():
        shapes[mine[0].layers, mine[0].coordinates].append(test)
    for (layers, coordinates), tests in shapes.items():
        yield f"layers {_list(layers)}; coordinates {_list(coordinates)}; for the tests {_list(tests)}"
    targets: dict[tuple[tuple[str, int], ...], list[str]] = defaultdict(list)
    for mine in by_test.values():
        targets[tuple((o.annotation, o.size) for o in mine)].append(_marked(mine[0]))
    for entities, named in targets.items():
        yield f"annotations of {_list(named)}: " + ", ".join(f"{quoted(name)} {size}" for name, size in entities)


def _marked(offer: Offer) -> str:
    """``cohesion (geometry, cheap, greater)``: family, cost, and the direction of a test that can only confirm one."""
    alternative = CATALOGUE[offer.test].alternative
    marks = [
        offer.family,
        *(["cheap"] if cheap(offer.test) else []),
        *([] if alternative == "two-sided" else [alternative]),
    ]
    return f"{offer.test} ({', '.join(marks)})"


def _rules(rules: Rules) -> Iterable[str]:
    yield f"new families, one of which every batch holds: {_list(rules.new_families) or 'none'}"
    for family in rules.new_families:
        fresh = [f"{o.test} of {quoted(o.annotation)}" for o in rules.fresh if o.family == family]
        yield f"untested in {family}: {'; '.join(fresh[:_EXAMPLES])}"
    for gone in rules.retired.values():
        rescue = "a rescue has failed too" if gone.closed else f"a rescue needs another test than {_list(gone.tests)}"
        yield f"retired: {gone.family} of {quoted(gone.annotation)} by {_list(gone.negatives)}; {rescue}"


def _coverage(digest: Digest) -> Iterable[str]:
    table: dict[str, Counter[str]] = {family: Counter() for family in sorted({o.family for o in digest.offers})}
    for r in digest.rows:
        table.setdefault(r.family, Counter())[r.layers] += 1
    for family, counts in table.items():
        cells = ", ".join(f"{layers} {n}" for layers, n in sorted(counts.items()))
        yield f"{family}: {cells or 'none'}"


def _rows(digest: Digest, strongest: bool) -> Iterable[str]:
    tested = sorted((r for r in digest.rows if r.status == "ok"), key=lambda r: (r.p_scan, r.id))
    half = (len(tested) + 1) // 2
    for r in tested[:half] if strongest else tested[half:][::-1]:
        yield _row(r, digest)


def _row(r: SeenRow, digest: Digest) -> str:
    if r.test == NAME:
        return f"{r.id} {r.test} of {quoted(r.annotation)}, layers {r.layers}: p at most {r.p_scan:g}; no other number is shown"
    interval = digest.notes.intervals.get(r.id) if digest.notes else None
    ends = "" if interval is None else f" [{interval[0]:.3g}, {interval[1]:.3g}]"
    return (
        f"{r.id} {r.test} of {quoted(r.annotation)}, layers {r.layers}, coordinates {r.coordinates}: effect "
        f"{r.effect:.3g}{ends}, by chance {r.null_mean:.3g}, strongest at {r.best_view}, p_scan {r.p_scan:.3g}"
    )


def _failures(digest: Digest) -> Iterable[str]:
    reasons = digest.notes.reasons if digest.notes else {}
    ended: dict[tuple[str, str], list[str]] = defaultdict(list)
    for r in digest.rows:
        if r.status != "ok":
            ended[r.status, reasons.get(r.id, "")].append(f"{r.id} {r.test} of {quoted(r.annotation)}")
    for (status, reason), rows in ended.items():
        yield f"{status}, {len(rows)} rows, {quoted(reason)}: {'; '.join(rows[:6])}"
    refused: Counter[tuple[str, str]] = Counter((reason, detail) for _, reason, detail in _refused(digest))
    for (reason, detail), n in refused.items():
        yield f"refused before registration, {reason}, {n} times: {quoted(detail)}"


def _refused(digest: Digest) -> Sequence[tuple[int, str, str]]:
    return digest.notes.refused if digest.notes else ()


def _open(rules: Rules) -> Iterable[str]:
    """By annotation, those looked at least first; retired directions are left out."""
    looks = Counter(r.annotation for r in rules.digest.rows)
    fresh: dict[str, list[str]] = defaultdict(list)
    for o in rules.fresh:
        fresh[o.annotation].append(o.test)
    for name in sorted(fresh, key=lambda a: (looks[a], a)):
        yield f"{quoted(name)}: {', '.join(fresh[name])}"


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _fit(lines: Sequence[str], room: int) -> list[str]:
    """As many whole lines as fit, and how many did not."""
    if not lines:
        return ["none"]
    kept: list[str] = []
    for number, line in enumerate(lines):
        short = line if len(line) <= room // 2 else line[: max(0, room // 2 - 2)] + " …"
        room -= len(short) + 1
        if room < 40:
            kept.append(f"… and {len(lines) - number} more")
            break
        kept.append(short)
    return kept
