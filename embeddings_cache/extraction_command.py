"""``screen cache extract`` and ``screen cache merge``: parse, call, print. torch is imported only when one of them runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .commands import HERE, AsJson, Folder
from .errors import CacheError
from .printing import remark, say, say_json

if TYPE_CHECKING:
    from .checkpoint import Checkpoint
    from .store import Cache

INTERRUPTED = 130


def add_to(app: typer.Typer) -> None:
    """Add both commands to the sub-app ``screen cache``."""
    app.command("extract")(extract)
    app.command("merge")(merge)


def extract(
    checkpoint: Annotated[
        Path | None, typer.Option(help="Folder with args.json, vocab.json and best_model.pt or model.safetensors.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Raw counts: .h5ad, 10x .h5, or a 10x folder.")] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="The shipped model and cells; compared with the shipped cache.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Name of the cache; that of the data file when not given.")] = None,
    layer: Annotated[
        str | None, typer.Option(help="Layer with raw counts; 'raw' means .raw; X when not given.")
    ] = None,
    gene_column: Annotated[str | None, typer.Option(help="Column of var with gene symbols.")] = None,
    aliases: Annotated[Path | None, typer.Option(help="Table of two columns: a name and the one to use.")] = None,
    where: Annotated[list[str] | None, typer.Option(help="COLUMN=VALUE of obs; repeat it for more.")] = None,
    group_by: Annotated[str | None, typer.Option(help="Column of obs: one cache for each of its values.")] = None,
    cells: Annotated[int | None, typer.Option(help="Cells to draw; all when not given.")] = None,
    samples: Annotated[int, typer.Option(help="Disjoint samples of so many cells, one cache each.")] = 1,
    recipe: Annotated[str, typer.Option(help="official or paper-2602.22247.")] = "official",
    ties: Annotated[str | None, typer.Option(help="expected (default) or seeded: the bin of equal counts.")] = None,
    seed: Annotated[int, typer.Option(help="Of samples, random subsets of long cells, ties and halves.")] = 0,
    min_cells: Annotated[int, typer.Option(help="Genes read in fewer cells are masked.")] = 5,
    random_init: Annotated[int, typer.Option(help="Untrained controls, stored as NAME-random-init-0 ...")] = 2,
    shuffled_genes: Annotated[int, typer.Option(help="Controls with exchanged genes, NAME-shuffled-genes-0 ...")] = 1,
    halves: Annotated[
        bool, typer.Option("--halves/--no-halves", help="Keep the means over two halves of the cells.")
    ] = True,
    attention: Annotated[Path | None, typer.Option(help="Gene list: keep mean attention between these genes.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32, or bfloat16 for matrix products.")] = "float32",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; torch's choice when not given.")] = None,
    shard: Annotated[str | None, typer.Option(help="i/n: only this share; then `screen cache merge NAME`.")] = None,
    backend: Annotated[
        str, typer.Option(help="hyposcreen, or scgpt: the released package itself (slow).")
    ] = "hyposcreen",
    project: Folder = HERE,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a cache from a released-format scGPT checkpoint and raw counts, with its controls beside it.

    Stopped or killed, the same command goes on where it was.
    """
    from .controls import planned_controls
    from .gene_list import read_gene_list
    from .orders import make, plan_orders
    from .pace import Pace
    from .plan import Settings
    from .recipes import named_recipe
    from .shards import Shard

    share = None if shard is None else Shard.parse(shard)
    if threads is not None:
        _use_threads(threads)
    model = _model(checkpoint, demo, backend)
    drawn, name = _cells(data, demo, name, layer, gene_column, aliases, where or [], group_by, cells, samples, seed)
    settings = Settings(
        recipe=named_recipe(recipe, ties), seed=seed, min_cells=min_cells, device=device, dtype=dtype, halves=halves,
        attention=read_gene_list(attention).names if attention else (),
    )  # fmt: skip
    orders = plan_orders(name, drawn, planned_controls(random_init, shuffled_genes))
    if model.release is not None:
        remark(f"note: this is {model.release.name} ({model.release.source})")
    printed = []
    try:
        made = make(orders, model, settings, project, shard=share, progress=None if quiet else Pace)
        for order, result in zip(orders, made, strict=True):
            if share is not None:
                printed.append({"name": order.name, "shard": str(result)})
                _unless(as_json, f"wrote {result}")
                continue
            facts = _facts(result)
            _unless(as_json, f"wrote {facts['path']}: digest {facts['digest']}", facts["preflight"])
            if demo:
                facts |= _compared(result, order.control, as_json)
            printed.append(facts)
    except KeyboardInterrupt:
        remark("stopped; the same command goes on from the last snapshot, at most a minute or two back")
        raise typer.Exit(INTERRUPTED) from None
    if share is not None:
        _unless(as_json, f"when all {share.count} shards are there: screen cache merge {name}")
    if as_json:
        say_json(printed)


def merge(
    name: Annotated[str, typer.Argument(help="Name of the cache, as it was given to extract.")],
    discard: Annotated[
        bool, typer.Option("--discard", help="Remove the shards of each cache once it is written.")
    ] = False,
    project: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Add up the shards of a cache and of the samples and controls made with it: the bits that one pass would give."""
    from .orders import merge_all

    printed = []
    for cache in merge_all(name, project, discard=discard):
        facts = _facts(cache)
        printed.append(facts)
        _unless(as_json, f"wrote {facts['path']}: digest {facts['digest']}", facts["preflight"])
    if as_json:
        say_json(printed)


def _use_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _model(checkpoint: Path | None, demo: bool, backend: str) -> "Checkpoint":
    from .store import SHIPPED

    if demo == (checkpoint is not None):
        raise CacheError("one model is needed: give --checkpoint FOLDER, or --demo for the shipped one.")
    folder = SHIPPED["demo"].parent / "model" if checkpoint is None else checkpoint
    if backend == "scgpt":
        from .reference import load_reference

        return load_reference(folder)
    if backend != "hyposcreen":
        raise CacheError(f"backend '{backend}' is unknown: choose one of hyposcreen, scgpt.")
    from .checkpoint import load_checkpoint

    return load_checkpoint(folder)


def _cells(
    data: Path | None,
    demo: bool,
    name: str | None,
    layer: str | None,
    gene_column: str | None,
    aliases: Path | None,
    where: list[str],
    group_by: str | None,
    cells: int | None,
    samples: int,
    seed: int,
) -> tuple[list[tuple[str, Any]], str]:
    """The samples of cells with their suffixes, and the name of the first cache."""
    from .cells import demo_cells
    from .gene_names import NO_ALIASES, read_aliases
    from .sampling import plan_samples
    from .streamed import read_cells

    if demo == (data is not None):
        raise CacheError("cells are needed: give --data FILE, or --demo for the shipped cells alone.")
    table = read_aliases(aliases) if aliases else NO_ALIASES
    source = demo_cells() if data is None else read_cells(data, layer=layer, gene_column=gene_column, aliases=table)
    planned = plan_samples(source, where=where, group_by=group_by, n_cells=cells, samples=samples, seed=seed)
    for text in planned.skipped:
        remark(f"note: {text}; left out")
    return list(planned.cells), name or ("demo-again" if data is None else data.stem)


def _facts(cache: "Cache | Path") -> dict[str, Any]:
    from .facts import facts_of
    from .store import Cache

    assert isinstance(cache, Cache)
    return facts_of(cache)


def _compared(cache: Any, control: Any, as_json: bool) -> dict[str, Any]:
    """Say how far a cache is from the shipped one; raises ``CacheError`` beyond the tolerance."""
    from .orders import DEMO_TOLERANCE, difference_from_shipped

    found = difference_from_shipped(cache, control)
    if found is None:
        return {}
    name, largest = found
    if largest > DEMO_TOLERANCE:
        raise CacheError(
            f"{cache.path} differs from the shipped cache '{name}' by up to {largest:.2g}, more than {DEMO_TOLERANCE:g}: "
            "give the same recipe and seed, or report it."
        )
    _unless(as_json, f"largest difference from the shipped cache '{name}': {largest:.2g}")
    return {"shipped": name, "largest_difference": largest}


def _unless(as_json: bool, *lines: str) -> None:
    if not as_json:
        for line in lines:
            say(line)
