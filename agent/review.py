"""People read rows: a remark is appended to the ledger with its author and time, and an invalidation shows at once everywhere.

Nothing here reaches a test, a proposer or the content head. What an invalidated row takes with it is
:func:`.ledger.reviews.stale_rows`.
"""

import getpass
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .errors import Exit, UserError
from .ledger.lines import Line
from .ledger.records import VERDICTS, Reviewed, Row
from .ledger.reviews import ACTS
from .ledger.store import Ledger
from .untrusted import prose

MOST_TEXT, MOST_AUTHOR = 2000, 80
"""Characters of a remark and of a name."""
KEYS = {"a": "agree", "d": "doubt", "n": "note", "i": "invalidate"}
"""Key of the walk → act; ``s`` skips and ``q`` quits."""


@dataclass(frozen=True)
class Effect:
    """What a remark changed for readers."""

    id: str
    act: str
    verdict: str
    """Of the row, now."""
    stale: tuple[str, ...]
    """Rows that are no claim any more since this remark, the row itself first."""
    lost: tuple[str, ...]
    """Those of them that had been confirmed."""
    restored: tuple[str, ...]
    """Rows that were stale before this remark and are not now."""
    same_annotation: tuple[str, ...]
    """Of an invalidation: confirmed rows about the same annotation that do not descend from this one, for a second look."""


def author_name(given: str | None) -> str:
    """The author of a remark: as given, else the login name. Raises :class:`UserError` without either."""
    try:
        name = prose((given or getpass.getuser()).strip(), MOST_AUTHOR)
    except (KeyError, OSError):
        name = ""
    if not name.strip():
        raise UserError("who says so? Give --author NAME: this account has no login name", Exit.USAGE)
    return name


def remark(ledger: Ledger, id_: str, act: str, text: str, author: str) -> Effect:
    """Append one remark on row ``id_``. Raises :class:`UserError` for an unknown act or an invalidation without a reason."""
    if act not in ACTS:
        raise UserError(f"'{act}' is no kind of remark; they are {', '.join(ACTS)}", Exit.USAGE)
    said = prose(text.strip(), MOST_TEXT)
    if not said and act in {"note", "invalidate", "reinstate"}:
        raise UserError(f"a remark of kind '{act}' needs words: what is wrong with {id_}, or why not", Exit.USAGE)
    before = {line.id: line for line in ledger.lines()}
    if id_ not in before:
        ledger.row(id_)  # refuses it, naming those that are there
    ledger.append(Reviewed(id_, author, act, said, datetime.now(UTC).isoformat(timespec="seconds")))
    return _effect(id_, act, before, {line.id: line for line in ledger.lines()})


def _effect(id_: str, act: str, before: dict[str, Line], after: dict[str, Line]) -> Effect:
    stale = [i for i, line in after.items() if line.verdict == "stale" and i in before and before[i].verdict != "stale"]
    mine = after[id_]
    kin = [r.id for r in after.values() if r.annotation == mine.annotation and r.verdict == "confirmed" and r.id != id_]
    return Effect(
        id=id_,
        act=act,
        verdict=mine.verdict,
        stale=tuple(sorted(stale, key=lambda i: i != id_)),
        lost=tuple(i for i in stale if before[i].verdict == "confirmed"),
        restored=tuple(i for i, line in before.items() if line.verdict == "stale" and after[i].verdict != "stale"),
        same_annotation=tuple(kin) if act == "invalidate" else (),
    )


def unreviewed(ledger: Ledger) -> tuple[Row, ...]:
    """Rows nobody has said anything of, what the run claims first, then in the order of verdicts and ids."""
    order = ["confirmed", *(v for v in VERDICTS if v != "confirmed")]
    rows = [row for row in ledger.rows(views=False) if not row.reviews]
    return tuple(sorted(rows, key=lambda row: (row.role != "claim", order.index(row.verdict), row.id)))


Ask = Callable[[str], str | None]
"""A question → the answer, or ``None`` at the end of the input."""


def walk(ledger: Ledger, author: str, ask: Ask, say: Callable[[str], None]) -> Iterator[Effect]:
    """Show each unreviewed row and append what is said of it, until the rows, the input or the reader's patience ends.

    Every remark is durable before the next row is shown, so quitting loses nothing.
    """
    rows = unreviewed(ledger)
    for number, row in enumerate(rows, start=1):
        say(f"\n[{number}/{len(rows)}] {_shown(row)}")
        answer = _answer(row, ask, say)
        if answer is None:
            return
        act, text = answer
        if act:
            yield remark(ledger, row.id, act, text, author)


def _answer(row: Row, ask: Ask, say: Callable[[str], None]) -> tuple[str, str] | None:
    """Act and words for ``row``; an empty act skips it, ``None`` ends the walk."""
    while True:
        said = ask("a agree, d doubt, n note, i invalidate, s skip, q quit (words may follow the letter) > ")
        if said is None:
            return None
        key, _, text = said.strip().partition(" ")
        key = key.lower()
        if key in {"q", "quit"}:
            return None
        if key in {"s", "skip", ""}:
            return "", ""
        act = KEYS.get(key, key)
        if act not in KEYS.values():
            say(f"'{prose(key, 20)}' is none of a, d, n, i, s, q")
            continue
        if not text.strip() and act in {"note", "invalidate"}:
            more = ask(f"{act} {row.id}: why? > ")
            if more is None:
                return None
            text = more
        if text.strip() or act in {"agree", "doubt"}:
            return act, text
        say("nothing was recorded: that needs words")


def _shown(row: Row) -> str:
    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.4g}"

    lines = [
        f"{row.id}  {row.verdict}{f' (route {row.route})' if row.route else ''}  {row.role}, {row.test} of {row.annotation}",
        f"  {row.claim}",
        f"  effect {number(row.effect)} against {number(row.null_mean)} under the null"
        f"{f' at {row.best_view}' if row.best_view else ''}; k/m {row.k}/{row.m}, p_scan {number(row.p_scan)}, "
        f"adjusted p of the look {number(row.p_confirm_adj)}",
    ]
    notes = [row.reason, str(row.checks.get("unbalanced") or ""), *(row.checks.get("notes") or ())]
    lines += [f"  note: {note}" for note in notes if note]
    lines += [f"  refines {row.parent}"] if row.parent else []
    return "\n".join(lines)


def refresh_report(folder: Path, ledger: Ledger, name: str) -> Path | None:
    """Write the page of ``folder`` again if it has one, so that it says at once what the ledger says."""
    from .report.render import write_report
    from .report.source import report_data

    path = folder / name
    if not path.exists():
        return None
    write_report(report_data(ledger, folder), path)
    return path
