"""``screen ledger import`` and ``screen ledger external``: parse, call, print."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...embeddings_cache.printing import say, say_json, say_table
from ..errors import Exit, UserError

if TYPE_CHECKING:
    from ..foreign import Corrected

Folder = Annotated[Path, typer.Option("--project", "-C", help="Working folder: runs.db is there, or is made.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
HERE = Path()


def add_to(ledger: typer.Typer) -> None:
    """Mount the commands of this module on ``screen ledger``."""
    ledger.command("import")(import_)
    ledger.command("external")(external)


def import_(
    file: Annotated[Path, typer.Argument(help="CSV, TSV or JSON lines: one hypothesis a row.")],
    columns: Annotated[str, typer.Option(help="Our fields = its columns: claim=Hypothesis,p=p_value,draws=n_perm …")],
    name: Annotated[str | None, typer.Option(help="Name of the campaign; by default the file's.")] = None,
    draws: Annotated[
        int | None, typer.Option(min=1, help="Null draws N behind every p, if known: zeros are (0+1)/(N+1).")
    ] = None,
    source: Annotated[str, typer.Option(help="Where it comes from, in your words.")] = "",
    project: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Take in hypotheses from elsewhere as external rows: p as printed, typed, corrected, and never confirmed here."""
    from ..foreign import as_json as plain
    from ..foreign import corrected, import_campaign, read_columns
    from ..ledger.store import Ledger
    from ..places import ledger_path

    mapped = read_columns(columns)
    place = ledger_path(project)
    if isinstance(place, Path) and not place.exists():
        if not file.is_file():
            raise UserError(f"there is no file {file}; check the path")
        Ledger.create(place).close()
    ledger = Ledger.open(place)
    about, rows = import_campaign(ledger, file, mapped, name or file.stem, draws, source)
    found = corrected(about.name, rows)
    if as_json:
        return say_json(plain(about, rows, found))
    say(f"{about.name}: {len(rows)} external rows, {rows[0].id} to {rows[-1].id}")
    _say_counts(found)
    return None


def external(
    name: Annotated[str | None, typer.Argument(help="One campaign, row by row; without: a summary of each.")] = None,
    project: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Hypotheses from elsewhere: p as printed, and what Bonferroni, Holm, BH and BY make of it."""
    from ..foreign import as_json as plain
    from ..foreign import campaigns
    from ..places import open_ledger

    found = campaigns(open_ledger(project))
    if name is not None and name not in (names := [about.name for about, _, _ in found]):
        known = f"it holds {', '.join(names)}" if names else "it holds none; `screen ledger import` takes one in"
        raise UserError(f"there is no foreign campaign '{name}' in this ledger: {known}", Exit.USAGE)
    chosen = [one for one in found if name in (None, one[0].name)]
    if as_json:
        return say_json([plain(*one) for one in chosen])
    for about, rows, corrections in chosen:
        say(f"{about.name}: {len(rows)} external rows from {about.file}{f' ({about.source})' if about.source else ''}")
        _say_counts(corrections)
        if name is not None:
            header = ("id", "label", "p printed", "kind", "draws", "p", "bonferroni", "holm", "bh", "by", "claim")
            table = corrections.repaired or corrections.printed
            columns = ("p", "bonferroni", "holm", "bh", "by")
            say_table(
                header,
                (
                    (
                        row.id, row.label, row.p_printed or "-", row.p_kind, row.draws or "-",
                        *(_number(table[row.id][c]) if row.id in table else "-" for c in columns), row.claim[:80],
                    )
                    for row in rows
                ),
            )  # fmt: skip
    if not chosen:
        say("no foreign campaign is in this ledger; `screen ledger import FILE --columns …` takes one in")
    return None


def _say_counts(found: "Corrected") -> None:
    say(f"p-values   {found.tests} of {found.rows}: {', '.join(f'{n} {kind}' for kind, n in found.kinds.items())}")
    survivors = found.survivors()
    say_table(
        ("p <= 0.05", "as printed", *(("zeros as 1/(N+1)",) if "repaired" in survivors else ())),
        [(column, *(str(table[column]) for table in survivors.values())) for column in survivors["printed"]],
    )
    if found.without_draws:
        say(
            f"{found.without_draws} zeros have no number of draws (--draws N or draws=COLUMN); as nothing is known of them, p = 1"
        )
    say(
        f"corrections count {found.tests} tests, as if the file held every test that was made; nothing here is confirmed by them"
    )


def _number(value: float) -> str:
    return f"{value:.4g}"
