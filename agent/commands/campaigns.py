"""``screen campaign …``: what published lists there are, what they ask, and what one came to here."""

from pathlib import Path
from typing import Annotated

import typer

from ...embeddings_cache.printing import say, say_json, say_table
from ..errors import UserError

app = typer.Typer(help="Published lists of hypotheses, re-run on a cache.", no_args_is_help=True, rich_markup_mode=None)

Folder = Annotated[Path, typer.Option("--project", "-C", help="Working folder: screen.toml and runs.db are there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
HERE = Path()


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Campaigns that come with the package."""
    from ...hypotheses.campaign import list_campaigns, load_campaign

    found = [load_campaign(name, ".") for name in list_campaigns()]
    if as_json:
        return say_json([{"name": c.name, "paper": c.paper, "title": c.title, "digest": c.digest} for c in found])
    say_table(("name", "paper", "systems", "title"), ((c.name, c.paper, len(c.systems), c.title) for c in found))
    return None


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of a campaign, or a folder with a campaign.toml.")],
    project: Folder = HERE,
) -> None:
    """Every system: as published, as tested here, what it predicts and what would refute it."""
    from ...hypotheses.campaign import CampaignError, load_campaign

    try:
        campaign = load_campaign(name, project)
    except CampaignError as error:
        raise UserError(str(error)) from None
    say(f"{campaign.name}: {campaign.title} ({campaign.paper}; sha256 {campaign.digest[:12]})")
    for s in campaign.systems:
        say(f"\n{s.id}  {s.title}  [{s.record}]")
        for label, text in (
            ("published", s.published), ("corrected", s.corrected), ("predicts", s.prediction),
            ("refuted by", s.refuted_by), ("no row", s.refusal),
        ):  # fmt: skip
            if text:
                say(f"  {label:<11} {text}")
        for row in s.rows:
            say(f"  {row.definition:<11} {row.test}({row.slot}), layers {row.layers}, coordinates {row.coordinates}")


@app.command()
def table(project: Folder = HERE, as_json: AsJson = False) -> None:
    """What the campaign of this folder's run came to: effect, null mean, p and verdict of every row, and of every system."""
    from ..campaigns.running import table_of

    lines, verdicts, campaign, facts = table_of(project)
    if as_json:
        return say_json(facts)
    titles = {s.id: s.title for s in campaign.systems}
    columns = ("system", "definition", "test", "annotation", "effect", "null mean", "p (A)", "p adjusted", "verdict")
    say_table(
        columns,
        (
            (
                x.system, x.definition, x.test, x.annotation, *map(_number, (x.effect, x.null_mean, x.p_scan, x.p_adj)),
                x.verdict,
            )
            for x in lines
        ),
    )  # fmt: skip
    say("")
    say_table(("system", "title", "verdict"), ((s, titles[s], v) for s, v in verdicts.items()))
    for line in lines:
        if line.verdict in ("refused", "untestable"):
            say(f"{line.system} {line.test}: {line.reason}")
    for note in sorted({f"{line.system}: {line.note}" for line in lines if line.note}):
        say(note)
    say("every row is prior_known: published before this run, a replication and no discovery")
    return None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
