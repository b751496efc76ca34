"""``screen test try``."""

from pathlib import Path
from typing import Annotated

import typer

from ...embeddings_cache.printing import say, say_json

app = typer.Typer(help="Statistics of your own.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Statistics of your own."""


@app.command("try")
def try_(
    file: Annotated[Path, typer.Argument(help="Python that defines statistic(emb, labels) or statistic_batch.")],
    annotation: Annotated[str | None, typer.Option(help="Then on genes A, with the labels of this gene set.")] = None,
    layer: Annotated[int | None, typer.Option(help="Layer of the cache; the last where not given.")] = None,
    permutations: Annotated[int, typer.Option(min=19, max=100_000, help="Null labellings.")] = 499,
    sandbox: Annotated[str, typer.Option(help="Boundary: auto, namespaces, landlock or sealed.")] = "auto",
    project: Annotated[Path, typer.Option("--project", "-C", help="Working folder.")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Rehearse a statistic behind a boundary on made-up data, then on the cache. Records nothing and confirms nothing."""
    from ..custom.trying import try_statistic

    trials = try_statistic(file, project, annotation, layer, permutations, sandbox)
    if as_json:
        return say_json(
            [
                {
                    "where": t.where, "outcome": t.outcome, "p": t.p, "output": t.output,
                    "k": t.judgement.k if t.judgement else None, "m": t.judgement.m if t.judgement else permutations,
                    "observed": t.judgement.observed if t.judgement else None,
                    "null_mean": t.judgement.null_mean if t.judgement else None,
                }
                for t in trials
            ]
        )  # fmt: skip
    for t in trials:
        say(t.where)
        if t.judgement is None or t.outcome != "ok":
            say(f"  {t.outcome}: counts as p = 1")
        else:
            j = t.judgement
            say(
                f"  observed {j.observed:.6g}, null {j.null_mean:.6g} ± {j.null_sd:.3g}, k/m = {j.k}/{j.m}, p = {t.p:.4g}"
            )
        for line in t.output.strip().splitlines()[-8:]:
            say(f"  | {line}")
    say("nothing was recorded; a result on genes A is exploratory and confirms nothing")
    return None
