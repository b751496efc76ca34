"""Make the generated pages of the docs from the code: ``python docs/generate.py`` writes, ``--check`` compares.

``cli.md`` comes from the command line's own help, ``ledger-schema.md`` from the table definitions, ``tests.md`` from the
catalogue of tests. A test runs the comparison, so these pages cannot fall behind.
"""

import sys
from pathlib import Path
from typing import Any

import typer
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from hyposcreen.agent.ledger.schema import METADATA, SCHEMA_VERSION, TRIGGERS
from hyposcreen.cli import app
from hyposcreen.tests_library.describe import describe_all

HERE = Path(__file__).parent
NOTE = "<!-- Made by docs/generate.py from the code. Do not edit. -->\n\n"


def cli_page() -> str:
    """Every command with its arguments and options."""
    root = typer.main.get_command(app)
    parts = [
        "# Command line\n",
        "Exit codes: 0 ok, 1 failure, 2 usage, 3 replay diverged, 4 ledger verification failed,",
    ]
    parts.append(
        "5 inputs missing or changed, 6 budget exhausted, 130 interrupted. Results go to stdout, progress to stderr.\n"
    )
    _commands(root, "screen", parts)
    return "\n".join(parts)


def schema_page() -> str:
    """The tables of a ledger as SQLite creates them."""
    parts = [
        "# Schema of a ledger\n",
        f"Version {SCHEMA_VERSION}. `entry` is the record; every other table is a projection of it, filled in the same",
        "transaction and rebuildable from it.\n",
    ]
    for table in METADATA.sorted_tables:
        ddl = str(CreateTable(table).compile(dialect=sqlite.dialect())).strip()
        parts.append(f"## {table.name}\n\n```sql\n{ddl.replace(chr(9), '  ')};\n```\n")
    parts.append("## Triggers\n\n```sql\n" + "\n\n".join(str(t).strip() for t in _triggers()) + "\n```\n")
    return "\n".join(parts)


def _triggers() -> list[str]:
    return list(TRIGGERS.values()) if isinstance(TRIGGERS, dict) else [str(t) for t in TRIGGERS]


def _commands(command: Any, path: str, parts: list[str]) -> None:
    if hasattr(command, "commands"):
        for name, child in command.commands.items():
            _commands(child, f"{path} {name}", parts)
        return
    parts.append(f"## {path}\n\n{command.help or ''}\n")
    rows = []
    for p in command.params:
        if p.name == "help":
            continue
        names = (
            ", ".join(f"`{o}`" for o in p.opts)
            if p.param_type_name == "option"
            else f"`{(p.metavar or p.name).upper()}`"
        )
        rows.append(f"| {names} | {getattr(p, 'help', None) or ''} |")
    if rows:
        parts.append("| option | meaning |\n|---|---|\n" + "\n".join(rows) + "\n")


PAGES = {"cli.md": cli_page, "ledger-schema.md": schema_page, "tests.md": describe_all}


def main() -> int:
    """Write or check every page; returns the exit code."""
    stale = []
    for name, make in PAGES.items():
        text = NOTE + make().rstrip() + "\n"
        path = HERE / name
        if "--check" in sys.argv:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(name)
        else:
            path.write_text(text, encoding="utf-8")
    if stale:
        print(f"stale: {', '.join(stale)}; run python docs/generate.py")  # noqa: T201
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
