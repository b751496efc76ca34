"""``screen review`` and ``screen serve``: parse, call, print. Nothing heavy is imported before a command needs it."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...embeddings_cache.printing import remark, say, say_json
from ..errors import Exit, UserError
from .foreign import add_to as add_foreign

if TYPE_CHECKING:
    from ..ledger.store import Ledger
    from ..review import Effect

Folder = Annotated[Path, typer.Option("--project", "-C", help="Working folder: screen.toml and runs.db are there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
HERE = Path()


def add_to(app: typer.Typer, ledger: typer.Typer) -> None:
    """Mount the commands of this module."""
    add_foreign(ledger)
    app.command()(review)
    app.command()(serve)


def review(
    id_: Annotated[str | None, typer.Argument(metavar="[ID]", help="A row such as H0042; without: walk.")] = None,
    note: Annotated[str | None, typer.Option(help="A remark.")] = None,
    agree: Annotated[str | None, typer.Option(help="You agree, and why ('' for no words).")] = None,
    doubt: Annotated[str | None, typer.Option(help="You doubt it, and why ('' for no words).")] = None,
    invalidate: Annotated[
        str | None, typer.Option(help="The row is wrong, and why: it and all that descends from it become stale.")
    ] = None,
    reinstate: Annotated[str | None, typer.Option(help="Take an invalidation back, and why.")] = None,
    author: Annotated[str | None, typer.Option(help="Who says so; your login name by default.")] = None,
    project: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Say something of a row, or walk through the rows nobody has said anything of. Remarks are appended, never edited."""
    from ..ledger.store import Ledger
    from ..places import ledger_path
    from ..review import author_name
    from ..review import remark as append

    given = {"note": note, "agree": agree, "doubt": doubt, "invalidate": invalidate, "reinstate": reinstate}
    said = {act: text for act, text in given.items() if text is not None}
    if len(said) > 1:
        raise UserError(f"one remark at a time, not {' and '.join('--' + act for act in said)}", Exit.USAGE)
    if bool(said) != (id_ is not None):
        mend = "say something of it, for example --note 'seen before'" if id_ else "name a row such as H0042"
        raise UserError(
            f"{id_ or '--' + next(iter(said))}: {mend}; `screen review` alone walks through rows", Exit.USAGE
        )
    name = author_name(author)
    ledger = Ledger.open(ledger_path(project))
    if id_ is None:
        if as_json:
            raise UserError("the walk is a conversation and has no --json; name a row and a remark", Exit.USAGE)
        _walk(project, ledger, name)
        return
    (act, text) = next(iter(said.items()))
    effect = append(ledger, id_, act, text, name)
    _refresh(project, ledger, quiet=as_json)
    if as_json:
        say_json(asdict(effect))
    else:
        _say_effect(effect)


def serve(
    project: Folder = HERE,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8765,
    host: Annotated[str, typer.Option(help="Address to listen on; others than loopback show the ledger to others.")] = (
        "127.0.0.1"
    ),
) -> None:
    """Show the report live and read-only at an address of this machine, until Ctrl-C."""
    from ..ledger.store import Ledger
    from ..places import ledger_path
    from ..report.serve import is_loopback, make_server

    if not isinstance(place := ledger_path(project), Path) or place.exists():
        Ledger.open_readonly(place)  # what is no ledger is refused before anything listens
    server = make_server(project, host, port)
    where = f"[{host}]" if ":" in host else host
    if not is_loopback(host):
        remark(
            f"warning: {host} is no loopback address. Whoever reaches port {server.server_port} of this machine can read every "
            "row of this ledger; there is no password and no encryption. Leave --host away to show it to this machine only"
        )
    say(f"http://{where}:{server.server_port}/  read-only; Ctrl-C ends")
    sys.stdout.flush()
    try:
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        remark("stopped")
    finally:
        server.server_close()


def _walk(project: Path, ledger: "Ledger", author: str) -> None:
    from ..review import unreviewed, walk

    if not unreviewed(ledger):
        say("every row has a remark; nothing is left to walk through")
        return
    count = 0
    try:
        for effect in walk(ledger, author, _ask, say):
            _say_effect(effect)
            count += 1
    finally:
        if count:
            _refresh(project, ledger)
    say(f"{count} remarks recorded, {len(unreviewed(ledger))} rows left")


def _ask(question: str) -> str | None:
    print(question, end="", flush=True)  # noqa: T201
    line = sys.stdin.readline()
    return line if line else None


def _refresh(project: Path, ledger: "Ledger", quiet: bool = False) -> None:
    from ..places import REPORT_NAME
    from ..review import refresh_report

    written = refresh_report(project, ledger, REPORT_NAME)
    if written and not quiet:
        say(f"wrote {written}")


def _say_effect(effect: "Effect") -> None:
    say(f"{effect.id}: {effect.act} recorded; its verdict reads {effect.verdict}")
    if effect.stale:
        lost = f", of which {', '.join(effect.lost)} had been confirmed" if effect.lost else ""
        say(f"stale now: {', '.join(effect.stale)}{lost}")
    if effect.restored:
        say(f"as the run left them again: {', '.join(effect.restored)}")
    if effect.same_annotation:
        say(f"confirmed rows about the same annotation, which this leaves alone: {', '.join(effect.same_annotation)}")
