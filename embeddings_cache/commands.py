"""``screen cache …``: parse, call, print. Nothing heavy is imported before a command needs it.

Commands that need torch stand in ``extraction_command`` and add themselves to :data:`app`.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from .printing import remark, say, say_json, say_table

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


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="One file with all layers, or one per layer in their order.")],
    name: Annotated[str, typer.Option(help="Name of the new cache.")],
    genes: Annotated[
        list[Path] | None,
        typer.Option(help="Gene list: text with one name a line, a table with 'symbol', or JSON of name and row."),
    ] = None,
    layer: Annotated[
        list[str] | None, typer.Option(help="Name of an array (of varm for h5ad); once for each layer, in their order.")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(help="Table of symbol and any of n_cells, mean_expression, detection; matched by name."),
    ] = None,
    aliases: Annotated[Path | None, typer.Option(help="Table of two columns: a name and the one to use.")] = None,
    model: Annotated[str | None, typer.Option(help="What the arrays are of, for the manifest.")] = None,
    despite: Annotated[
        str | None, typer.Option(help="Why the preflight's warning is no fault; it is kept in the manifest.")
    ] = None,
    project: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Make a cache of another model's arrays: npy, npz, safetensors or h5ad (varm), and an explicit gene list."""
    from .facts import facts_of
    from .gene_names import NO_ALIASES, read_aliases
    from .importing import import_cache

    made = import_cache(
        files, name, project, genes=genes or (), layers=layer or (), table=table,
        aliases=read_aliases(aliases) if aliases else NO_ALIASES, model=model, despite=despite,
    )  # fmt: skip
    for text in made.remarks:
        remark(f"note: {text}")
    facts = facts_of(made.cache)
    if as_json:
        return say_json({**facts, "remarks": list(made.remarks)})
    say(f"wrote {facts['path']}: {facts['layers']} layers of {facts['genes']} genes, digest {facts['digest'][:12]}")
    say(facts["preflight"])
    return None


@app.command()
def export(
    name: Name,
    output: Annotated[Path, typer.Option("--output", "-o", help="File; its ending says the format: .npz .h5ad .tsv")],
    project: Folder = HERE,
) -> None:
    """Write a cache for other programs: all layers (.npz, .h5ad), or the gene table (.tsv)."""
    from .exporting import export_cache
    from .store import find_cache, open_cache

    say(f"wrote {export_cache(open_cache(find_cache(name, project)), output)}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Release to fetch: scgpt-human.")],
    to: Annotated[Path | None, typer.Option(help="Folder for the checkpoint; checkpoints/NAME when not given.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Address of the model hub or a mirror; HF_ENDPOINT when not given.")
    ] = None,
    project: Folder = HERE,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
) -> None:
    """Fetch a released checkpoint at its pinned revision: verified, and resumed where a fetch was interrupted."""
    from .fetch import fetch as fetch_release
    from .fetch import fetchable
    from .printing import Transfer

    release = fetchable(name)
    folder = to or project / "checkpoints" / name
    fetch_release(release, folder, endpoint=endpoint, progress=None if quiet else Transfer())
    say(f"{folder} holds {name}, every file as released")
