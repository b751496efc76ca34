"""``screen ledger …`` and ``screen replay``: parse, call, print. Nothing heavy is imported before a command needs it."""

import json
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from ...embeddings_cache.printing import say, say_json, say_json_array, say_table
from ..errors import Exit, UserError

ledger = typer.Typer(help="Read, check and export the record of a run.", no_args_is_help=True, rich_markup_mode=None)

Folder = Annotated[Path, typer.Option("--project", "-C", help="Working folder: screen.toml and runs.db are there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
HERE = Path()


def add_to(app: typer.Typer) -> None:
    """Mount the commands of this module."""
    app.add_typer(ledger, name="ledger")
    app.command()(replay)


def replay(
    ids: Annotated[list[str] | None, typer.Argument(help="Rows such as H0042.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every row, the whole look and all verdicts.")] = False,
    project: Folder = HERE,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the numeric libraries in each worker.")] = 1,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", "--workers", help="Worker processes; 0 = one a core.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Code or environment that changed is a divergence, whatever the bits.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    as_json: AsJson = False,
) -> None:
    """Execute rows again: bit-identical, or what differs and what has changed since (exit 3; inputs: exit 5)."""
    from ..progress import Progress
    from ..replay.inputs import InputsDifferError
    from ..session import replay_rows

    if everything == bool(ids):
        raise UserError("name rows such as H0042, or give --all", Exit.USAGE)
    done = []
    try:
        for r in replay_rows(project, ids or None, jobs, threads, Progress(quiet), strict):
            done.append(r)
            if not as_json:
                _say_replay(r)
    except InputsDifferError as error:
        if as_json:
            say_json({"outcome": error.outcome, "named": list(error.named)})
        raise
    diverged = [r.id for r in done if r.outcome != "identical"]
    same = sum(r.numbers == "identical" for r in done)
    if as_json:
        say_json([asdict(r) for r in done])
    else:
        for cause in dict.fromkeys(cause for r in done for cause in r.causes):
            say(f"{cause.kind.replace('_', ' ')}: {cause.detail}" + (f"\n{cause.diff}" if cause.diff else ""))
        say(f"{same} of {len(done)} rows bit-identical")
    if diverged:
        raise UserError(f"{len(diverged)} rows diverged: {', '.join(diverged[:10])}", Exit.REPLAY_DIVERGED)


def _say_replay(r: Any) -> None:
    say(f"{r.id}  {r.outcome:<10} k/m = {r.k}/{r.m}  {r.statistic_hex or '-':<22} checked: {', '.join(r.checked)}")
    if r.numbers != "identical":
        say(f"       numbers: {r.numbers.replace('_', ' ')}" + (f", {r.ulps} ulp at most" if r.ulps else ""))
    for difference in r.differences:
        say(f"       {difference}")


@ledger.command("list")
def ledger_list(
    project: Folder = HERE,
    verdict: Annotated[str | None, typer.Option(help="Only rows with this verdict.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many rows.")] = None,
    as_json: AsJson = False,
) -> None:
    """One line, or one JSON object, a hypothesis."""
    from ..ledger.records import VERDICTS
    from ..places import open_ledger

    if verdict not in (None, *VERDICTS):
        raise UserError(f"--verdict {verdict} is not known; the verdicts are {', '.join(VERDICTS)}", Exit.USAGE)
    held = open_ledger(project)
    if as_json:
        from ..ledger.export import row_to_json

        rows = (r for r in held.stream()[1] if verdict in (None, r.verdict))
        return say_json_array(row_to_json(r) for r in islice(rows, limit))
    columns = ("id", "test", "annotation", "verdict", "route", "effect", "null", "k/m", "p_scan", "q_bh*", "p_adj")
    say_table(
        columns,
        (
            (
                r.id, r.test, r.annotation, r.verdict, r.route or "-", _number(r.effect), _number(r.null_mean),
                "-" if r.m is None else f"{r.k}/{r.m}", _number(r.p_scan), _number(r.q_bh), _number(r.p_confirm_adj),
            )
            for r in held.lines(verdict, limit)
        ),
    )  # fmt: skip
    say("* exploratory: BH over all rows does not survive an adaptive proposer; claims rest on p_adj of routes U and H")
    return None


@ledger.command("show")
def ledger_show(
    id_: Annotated[str, typer.Argument(metavar="ID")], project: Folder = HERE, as_json: AsJson = False
) -> None:
    """Everything about one row."""
    from ..custom.codes import as_shown, code_of
    from ..ledger.export import row_to_json
    from ..places import open_ledger

    held = open_ledger(project)
    row = row_to_json(held.row(id_))
    code = code_of(held, row["spec"])
    if as_json:
        return say_json(row if code is None else row | {"code": code})
    views = row.pop("views")
    for name, value in row.items():
        say(f"{name:<16} {json.dumps(value) if isinstance(value, dict) else '-' if value is None else value}")
    say_table(
        ("layer", "coordinate", "T", "effect", "null mean", "z", "k"),
        (
            (
                v["layer"],
                v["coordinate"],
                v["statistic"],
                _number(v["effect"]),
                _number(v["null_mean"]),
                _number(v["z"]),
                v["k"],
            )
            for v in sorted(views, key=lambda v: -abs(v["z"]))
        ),
    )
    if code is not None:
        say(f"\nThe statistic, which a model wrote; sha256 {row['spec']['code']}:\n")
        say("\n".join(f"    {line}" for line in as_shown(code).split("\n")))
    return None


@ledger.command("verify")
def ledger_verify(
    project: Folder = HERE,
    head: Annotated[str | None, typer.Option(help="A head written down earlier: HASH or SEQ:HASH.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check the chain, the triggers and every table against a rebuild (exit 4 when anything is amiss)."""
    from ..ledger.verify import verify
    from ..places import ledger_path

    found = verify(ledger_path(project), head)
    if as_json:
        say_json(
            {"ok": found.ok, "problems": list(found.problems), "head": _head(found.head), "entries": found.entries}
        )
    elif found.ok:
        say(f"ok: {found.entries} entries, head {found.head.seq}:{found.head.hash}")
    if not found.ok:
        raise UserError("; ".join(found.problems[:20]), Exit.LEDGER_BROKEN)


@ledger.command("head")
def ledger_head(project: Folder = HERE, as_json: AsJson = False) -> None:
    """Where the ledger ends: write it down to catch a cut tail later."""
    from ..places import open_ledger

    head = open_ledger(project).head()
    if as_json:
        return say_json(_head(head))
    say(f"{head.seq}:{head.hash}")
    say(f"content {head.content_hash}")
    return None


@ledger.command("export")
def ledger_export(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File; its ending says the format. A folder for a bundle. Without: stdout."
        ),
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="csv, json, jsonl, parquet, h5ad, methods, bibtex or crate.")
    ] = None,
    bundle: Annotated[
        str | None, typer.Option(metavar="ID", help="Write a folder in which this row replays on another machine.")
    ] = None,
    project: Folder = HERE,
) -> None:
    """Write every row, with the head of the ledger; or one row with all its replay needs to a folder."""
    if bundle is not None:
        from ..session import bundle_to

        return say(f"wrote {bundle_to(project, bundle, output or Path(f'{bundle}.bundle'))}")
    from ..exports import export_run

    written = export_run(project, output, format_)
    return None if written is None else say(f"wrote {written}")


def _head(head: Any) -> dict[str, Any]:
    return {"seq": head.seq, "hash": head.hash, "content_hash": head.content_hash}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
