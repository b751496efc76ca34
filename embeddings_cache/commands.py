"""``screen cache …``: parse, call, print. Nothing heavy is imported before a command needs it.

Commands that need torch stand in ``extraction_command`` and add themselves to :data:`app`.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from .printing import say, say_json, say_table

app = typer.Typer(help="Embedding caches.", no_args_is_help=True, rich_markup_mode=None)

Folder = Annotated[Path, typer.Option("--project", "-C", help="Working folder: screen.toml and runs.db are there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(help="Name of a cache, or the path of its folder.")]
HERE = Path()


@app.command("list")
def list_(project: Folder = HERE, as_json: AsJson = False) -> None:
    """Caches that ship with the package and those of this folder."""
    from .facts import list_facts

    rows = list_facts(project)
    if as_json:
        return say_json(rows)
    say_table(
        ("name", "genes", "masked", "layers", "dim", "digest"),
        (
            (r["name"], "-", "-", "-", "-", r["broken"])
            if "broken" in r
            else (r["name"], r["genes"], r["masked"], r["layers"], r["dim"], r["digest"][:12])
            for r in rows
        ),
    )
    return None


@app.command()
def show(name: Name, project: Folder = HERE, as_json: AsJson = False) -> None:
    """Provenance and preflight of one cache."""
    from .facts import cache_facts

    facts = cache_facts(name, project)
    if as_json:
        return say_json(facts)
    for key, value in facts.items():
        say(f"{key:<12} {json.dumps(value, indent=1) if isinstance(value, dict | list) else value}")
    return None


@app.command()
def check(name: Name, project: Folder = HERE, as_json: AsJson = False) -> None:
    """Verify every file of a cache and run the preflight: what is masked, and what looks wrong."""
    from .facts import cache_facts

    facts = cache_facts(name, project)
    if as_json:
        keys = ("digest", "masked", "warnings", "preflight")
        return say_json({"ok": True, **{key: facts[key] for key in keys}})
    say(f"ok: digest {facts['digest']}")
    say(facts["preflight"])
    return None
