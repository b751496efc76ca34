"""The campaign on several caches as one page: what each system came to, and what the paper's definition would have called.

    python benchmarks/campaign.py NAME=FOLDER NAME=FOLDER … --out docs/campaign.md

Each FOLDER holds a finished ``screen run --campaign scgpt-2602.22247``.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaign_as_published import Called, as_published

from hyposcreen.agent.campaigns.running import table_of
from hyposcreen.agent.campaigns.table import MARKS, CampaignLine
from hyposcreen.agent.ledger.records import AttemptEnded
from hyposcreen.agent.session import open_existing
from hyposcreen.hypotheses.campaign import Campaign

HEAD = Path(__file__).with_name("campaign_head.md")


@dataclass(frozen=True)
class Column:
    """One cache."""

    name: str
    lines: tuple[CampaignLine, ...]
    verdicts: dict[str, str]
    published: dict[str, Called]
    facts: dict[str, Any]
    seconds: dict[str, float]
    """Row id → seconds of its last attempt on genes A."""


def column(name: str, folder: Path) -> tuple[Column, Campaign]:
    """Everything the page says of one run."""
    lines, verdicts, campaign, _ = table_of(folder)
    project, ledger, plan = open_existing(folder)
    slots = {}
    for slot in campaign.slots.values():
        filled = next((n for n in slot.names if n in project.annotations), None)
        if filled is not None:
            slots[slot.name] = project.annotations[filled]
    with ledger:
        head = ledger.head()
        seconds = {entry.id: entry.seconds for entry in ledger.records(AttemptEnded)}
    facts = {
        "genes": int(project.cache.genes.usable.sum()), "layers": project.cache.n_layers, "dim": project.cache.dim,
        "digest": project.cache.digest[:12], "head": head.content_hash[:12], "universe": plan.universe["hypotheses"],
    }  # fmt: skip
    return Column(name, lines, verdicts, as_published(project.cache, slots), facts, seconds), campaign


def page(columns: Sequence[Column], campaign: Campaign) -> str:
    """The page as Markdown."""
    names = [c.name for c in columns]
    out = [HEAD.read_text(encoding="utf-8").rstrip(), "", "## The caches", ""]
    out += _table(
        ("cache", "genes", "layers × width", "hypotheses that could be said", "cache digest", "content head"),
        [
            (
                c.name,
                c.facts["genes"],
                f"{c.facts['layers']} × {c.facts['dim']}",
                f"{c.facts['universe']:,}",
                f"`{c.facts['digest']}`",
                f"`{c.facts['head']}`",
            )
            for c in columns
        ],
    )
    out += ["", "## Thirteen systems", "", "; ".join(f"**{k}**: {v}" for k, v in MARKS.items()) + ".", ""]
    out += _table(
        ("", "system", *names), [(s.id, s.title, *(c.verdicts[s.id] for c in columns)) for s in campaign.systems]
    )
    out += ["", *(_sum(c) for c in columns)]
    out += ["", "## What the paper's own definitions would have called", ""]
    out += [
        "A p of 0 is printed as it would have been; bold where it is at most .05, which was the mark of a promising row.",
        "",
    ]
    out += _table(
        ("", "system", *names),
        [
            (s.id, s.title, *(_called(c.published.get(s.id)) for c in columns))
            for s in campaign.systems
            if any(s.id in c.published for c in columns)
        ],
    )
    for c in columns:
        out += ["", f"## Rows: {c.name}", ""]
        rows = [
            (
                x.system,
                x.definition,
                f"`{x.test}`",
                x.annotation,
                _number(x.effect),
                _number(x.null_mean),
                _number(x.p_scan),
                _number(x.p_adj),
                x.verdict.replace("_", " "),
                f"{c.seconds[x.id]:.1f}" if x.id in c.seconds else "–",
            )
            for x in c.lines
        ]
        out += _table(
            (
                "",
                "definition",
                "test",
                "annotation",
                "effect",
                "null mean",
                "p on genes A",
                "p adjusted",
                "verdict",
                "s",
            ),
            rows,
        )
        reasons = [
            f"- {x.system} `{x.test}`: {x.reason}"
            for x in c.lines
            if x.reason and x.verdict in ("refused", "untestable")
        ]
        out += ["", *reasons] if reasons else []
    return "\n".join(out) + "\n"


def _sum(c: Column) -> str:
    confirmed = [s for s, v in c.verdicts.items() if v in ("confirmed", "in part")]
    called = [s for s, found in c.published.items() if found.positive]
    return (
        f"- {c.name}: systems confirmed: {len(confirmed)}{_listed(confirmed)}; by the published "
        f"definitions {len(called)} of {len(c.published)} would have been called{_listed(called)}."
    )


def _listed(names: Sequence[str]) -> str:
    return f" ({', '.join(names)})" if names else ""


def _called(found: Called | None) -> str:
    if found is None:
        return "–"
    p = f"p = {found.p:.2g}"
    return f"{found.words}; {f'**{p}**' if found.positive else p}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    return [_line(head), _line(["---"] * len(head)), *(_line(row) for row in rows)]


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def main() -> int:
    """Write the page; returns the exit code."""
    arguments = argparse.ArgumentParser(description="The campaign on several caches as one page.")
    arguments.add_argument("runs", nargs="+", help="NAME=FOLDER of a finished run")
    arguments.add_argument("--out", type=Path, required=True, help="page to write")
    given = arguments.parse_args()
    found = [column(*_named(run)) for run in given.runs]
    given.out.write_text(page([c for c, _ in found], found[0][1]), encoding="utf-8")
    return 0


def _named(run: str) -> tuple[str, Path]:
    name, _, folder = run.partition("=")
    return name, Path(folder)


if __name__ == "__main__":
    sys.exit(main())
