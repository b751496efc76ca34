"""``screen annotations …``: parse, call, print. Nothing heavy is imported before a command needs it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...embeddings_cache.printing import remark, say, say_json, say_table
from ..errors import Exit, UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...hypotheses.importers.fetching import Source

app = typer.Typer(
    help="Gene sets, pairs and edges: what may be tested here.", no_args_is_help=True, rich_markup_mode=None
)

Folder = Annotated[Path, typer.Option("--project", "-C", help="Working folder: screen.toml and runs.db are there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
From = Annotated[
    str | None, typer.Option("--annotations", help="'demo' or a folder; the one of the settings when not given.")
]
HERE = Path()
SHOWN = 20
"""Rows of a file with many sets that an import prints."""
_COLUMNS = ("name", "kind", "named", "usable", "explore", "sealed")


@app.command("list")
def list_(project: Folder = HERE, annotations: From = None, as_json: AsJson = False) -> None:
    """What may be tested here, with sizes on the whole cache and on either side of the split."""
    from ..annotating import FOLDER, annotation_facts

    rows = annotation_facts(project, annotations)
    if as_json:
        return say_json(rows)
    columns = ("name", "kind", "role", "named", "usable", "explore", "sealed", "source", "version", "licence")
    say_table(columns, (tuple(r[c] for c in columns) for r in rows))
    if annotations is None and (project / FOLDER / "annotations.toml").exists() and rows and not rows[0]["original"]:
        remark(f"note: these are the annotations of the settings; those you imported: --annotations {FOLDER}")
    return None


@app.command()
def show(name: str, project: Folder = HERE, annotations: From = None, as_json: AsJson = False) -> None:
    """One annotation: source, licence, digest, sizes, what its import left out and why, and the tests it is open to."""
    from ..annotating import shown

    facts = shown(project, name, annotations)
    if as_json:
        return say_json(facts)
    tests, record = facts.pop("tests"), facts.pop("import")
    missing = facts.pop("missing")
    for key, value in facts.items():
        if value not in (None, "", []):
            say(f"{key:<12} {'; '.join(value) if isinstance(value, list) else value}")
    say(f"missing      {len(missing)} genes{': ' + ', '.join(missing[:12]) if missing else ''}")
    if record is not None:
        _print_record(record)
    say(f"open to      {len(tests['open'])} tests: {', '.join(tests['open']) or 'none'}")
    for test, sentence in tests["closed"].items():
        say(f"not open to  {test}: {sentence}")
    return None


@app.command()
def check(project: Folder = HERE, annotations: From = None, as_json: AsJson = False) -> None:
    """Open every annotation with the cache and say how many tests it is open to, and why not to others."""
    from ..annotating import checked

    rows = checked(project, annotations)
    if as_json:
        say_json(rows)
    else:
        say_table(
            (*_COLUMNS, "tests", "remarks"),
            (
                (*(r[c] for c in _COLUMNS), f"{r['open']}/{r['open'] + r['closed']}", "; ".join(r["remarks"]))
                for r in rows
            ),
        )
    if not any(r["open"] for r in rows):
        raise UserError("no annotation is open to any test on this cache; import larger ones, or take another cache")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="File to read: text, plain or gzip.")],
    format_: Annotated[
        str,
        typer.Option(
            "--as",
            help="sets, partition, pairs, edges, proteins, trrust, collectri, dorothea, hpa, panglaodb or cellmarker.",
        ),
    ],
    name: Annotated[str, typer.Option(help="Name of the annotation, or the first part of the names of its sets.")],
    columns: Annotated[list[str] | None, typer.Option(help="ROLE=COLUMN, such as gene=symbol; once for each.")] = None,
    where: Annotated[list[str] | None, typer.Option(help="COLUMN=VALUE,VALUE: keep only these lines.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Keep only this set of the file; once for each.")] = None,
    aliases: Annotated[
        list[Path] | None,
        typer.Option(help="Other names of genes: HGNC, STRING info or aliases, or a table of two columns."),
    ] = None,
    species: Annotated[str, typer.Option(help="human or mouse, of files that hold both.")] = "human",
    min_score: Annotated[float | None, typer.Option(help="Leave out pairs below this score.")] = None,
    min_genes: Annotated[int, typer.Option(min=1, help="Leave out sets with fewer genes in the cache.")] = 5,
    source: Annotated[str, typer.Option(help="Who made it.")] = "",
    version: Annotated[str, typer.Option(help="Its version or date.")] = "",
    licence: Annotated[str, typer.Option(help="Its licence.")] = "",
    citation: Annotated[str, typer.Option(help="What to cite.")] = "",
    title: Annotated[str, typer.Option(help="Title of pairs or edges.")] = "",
    role: Annotated[str, typer.Option(help="claim, positive_control or negative_control.")] = "claim",
    background: Annotated[str, typer.Option(help="Gene set whose genes alone form the universe.")] = "",
    to: Annotated[str, typer.Option(help="Folder of annotations, as seen from the working folder.")] = "annotations",
    replace: Annotated[bool, typer.Option("--replace", help="Replace the import of this name.")] = False,
    project: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Bring gene sets, pairs or edges into the project: names resolved, every irregularity counted and said."""
    from ..annotating import Asked, import_file

    if role not in (roles := ("claim", "positive_control", "negative_control")):
        raise UserError(f"--role {role} is not known; choose one of {', '.join(roles)}", Exit.USAGE)
    facts = import_file(
        project,
        Asked(
            file, format_, name, columns or (), where or (), only or (), aliases or (), species, min_score, min_genes,
            source, version, licence, citation, title, role, background, to, replace,
        ),
    )  # fmt: skip
    if as_json:
        return say_json(facts)
    _print_record(facts)
    rows = facts["annotations"]
    say_table(_COLUMNS, (tuple(r[c] for c in _COLUMNS) for r in rows[:SHOWN]))
    if len(rows) > SHOWN:
        say(f"… and {len(rows) - SHOWN} more: screen annotations list --annotations {to}")
    remark(f"next: screen run --annotations {to}")
    return None


@app.command()
def fetch(
    name: Annotated[str | None, typer.Argument(help="Source to fetch; without one, those there are.")] = None,
    list_all: Annotated[bool, typer.Option("--list", help="Only say what can be fetched, as without a name.")] = False,
    to: Annotated[Path, typer.Option(help="Folder for the file, as seen from the working folder.")] = Path("sources"),
    registry: Annotated[
        Path | None, typer.Option(help="TOML file of sources; the one that ships when not given.")
    ] = None,
    project: Folder = HERE,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
) -> None:
    """Fetch a database's file from its versioned address: resumed where it was cut off, and checked by its sha256."""
    from ...embeddings_cache.printing import Transfer
    from ...hypotheses.annotations import AnnotationError
    from ...hypotheses.importers import fetching

    try:
        sources = fetching.read_sources(registry or fetching.SOURCES)
        if name is None or list_all:
            return _print_sources(sources.values(), project / to, shipped=registry is None)
        wanted = fetching.source(name, sources)
        path, new = fetching.fetch(wanted, project / to, progress=None if quiet else Transfer())
    except AnnotationError as error:
        raise UserError(str(error)) from None
    say(f"{path} {'fetched' if new else 'is there'}: {wanted.name}, version {wanted.version}, licence {wanted.licence}")
    said = f"screen annotations import {path} {wanted.how}" if wanted.how else "give it with --aliases"
    remark(f"next: {said}")
    return None


def _print_sources(sources: "Iterable[Source]", folder: Path, *, shipped: bool) -> None:
    from ...hypotheses.importers.fetching import RECORD, checksum_note

    found = [(s.name, s.version, s.licence, checksum_note(s, folder), s.url) for s in sources]
    say_table(("name", "version", "licence", "sha256", "address"), found)
    say("")
    if any(row[3] == "none yet" for row in found):
        say(
            "none yet: no checksum is known. The first fetch takes what the address gives and records its sha256 in "
            f"{folder / RECORD};"
        )
        say("every later fetch of this project is held to it. Compare the first file with what its makers describe.")
    if shipped:
        say("The addresses that ship were written down and never tried; where one fails it has moved: --registry FILE.")
    say("The licence of a file is its makers'; read it there before you pass the file on.")


def _print_record(facts: dict[str, Any]) -> None:
    cache = facts["cache"]
    say(f"read         {facts['lines']} lines of {facts['file']} as {facts['read_as']} (sha256 {facts['sha256'][:12]})")
    say(f"source       {facts['source']}, version {facts['version']}, licence {facts['licence']}")
    if facts["citation"]:
        say(f"cite         {facts['citation']}")
    for key, label in (("lines_left_out", "lines"), ("names", "names"), ("members", "members"), ("notes", "note")):
        for sentence in facts[key]:
            say(f"{label:<12} {sentence}")
    first = f", such as {', '.join(cache['not_in_cache_first'][:3])}" if cache["not_in_cache"] else ""
    say(
        f"genes        {cache['in_cache']} of {cache['genes_named']} are in cache '{cache['name']}'; {cache['masked']} masked, "
        f"{cache['not_in_cache']} not there{first}"
    )
