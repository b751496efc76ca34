"""``screen proposers``: priors against outcomes, and two runs side by side. Parse, call, print."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ...embeddings_cache.printing import say, say_json, say_table
from ..errors import Exit, UserError

Folder = Annotated[Path, typer.Option("--project", "-C", help="Working folder: screen.toml and runs.db are there.")]


def add_to(app: typer.Typer) -> None:
    """Mount the command of this module."""
    app.command()(proposers)


def proposers(
    project: Folder = Path(),
    with_: Annotated[
        Path | None, typer.Option("--with", help="Folder of another finished run, to compare at equal numbers of rows.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """How well proposers knew what would be confirmed: Brier score and reliability of the priors of a finished run."""
    from ..report.proposers import between_proposers, compare, scores

    rows = _finished(project)
    found = scores(rows)
    difference = between_proposers(rows)
    if with_ is not None:
        other = _finished(with_)
        mine, theirs = (_run(folder, r) for folder, r in ((project, rows), (with_, other)))
        difference = compare(mine, theirs)
        found = (
            *(replace(s, proposer=f"{s.proposer} of {project}") for s in found),
            *(replace(s, proposer=f"{s.proposer} of {with_}") for s in scores(other)),
        )
    if as_json:
        say_json(
            {"scores": [asdict(s) for s in found], "difference": None if difference is None else asdict(difference)}
        )
        return
    say_table(
        ("proposer", "rows", "annotations", "mean prior", "confirmed", "Brier", "95 % interval", "constant"),
        (
            (
                s.proposer, s.n, s.annotations, f"{s.mean_prior:.3f}", s.confirmed, f"{s.brier:.4f}", _ends(s.interval),
                f"{s.constant:.4f}",
            )
            for s in found
        ),
    )  # fmt: skip
    for s in found:
        for b in s.bins:
            say(
                f"{s.proposer}: {b.n} rows with a prior of {b.low:g} to {b.high:g} (mean {b.mean_prior:.3f}), "
                f"{b.confirmed} confirmed = {b.confirmed / b.n:.3f} ({_ends(b.interval)})"
            )
    if difference is not None:
        say(
            f"over {difference.n} rows each, {difference.first} minus {difference.second}: "
            f"Brier {difference.brier:+.4f} ({_ends(difference.brier_interval)}), "
            f"share confirmed {difference.confirmed:+.3f} ({_ends(difference.confirmed_interval)})"
        )


def _run(folder: Path, rows: Any) -> tuple[str, list[Any]]:
    """A whole run as one proposer: what it was opened with, and every counted row, those it left to others included."""
    from ..report.proposers import by_proposer

    counted = {row.id for mine in by_proposer(rows).values() for row in mine}
    return str(folder), [row for row in rows if row.id in counted]


def _finished(folder: Path) -> Any:
    from ..ledger.records import RunClosed
    from ..places import open_ledger

    with open_ledger(folder) as ledger:
        if not ledger.records(RunClosed):
            raise UserError(f"{ledger.path} holds no finished run; go on with it: screen run", Exit.FAILURE)
        return ledger.rows(views=False)


def _ends(interval: tuple[float, float] | None) -> str:
    return "no interval" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
