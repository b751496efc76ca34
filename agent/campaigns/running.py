"""A run that begins with a campaign: settings, plan and proposer. The error control is that of any other run.

``screen run --campaign NAME`` says the campaign's rows and nothing else; with ``--iterations`` or ``--proposer`` the run goes on
with a proposer when they are said. The campaign's name and digest are frozen with the run.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...hypotheses.campaign import Campaign, CampaignError, Line, asked, lines, load_campaign
from ...hypotheses.grammar import make_grammar
from ..config import Config
from ..errors import Exit, UserError
from ..ledger.records import Proposed, Rejected
from ..places import open_ledger
from ..project import Project, Side
from ..proposers.base import Proposer
from ..proposers.campaign import NAME, CampaignProposer, iterations_needed
from .table import CampaignLine, campaign_table, system_verdicts, to_json

ALONE = NAME
"""The proposer of a run that says a campaign and nothing else."""


def begin_campaign(config: Config, flags: Mapping[str, Any]) -> Config:
    """The settings of a new run: its campaign goes alone where nobody asked for iterations or a proposer."""
    if config.proposer == ALONE and not config.campaign:
        raise UserError(
            "proposer 'campaign' needs --campaign, the name of one or a folder with a campaign.toml", Exit.USAGE
        )
    asked_on = flags.get("iterations") is not None or flags.get("proposer") is not None
    return replace(config, proposer=ALONE) if flags.get("campaign") and not asked_on else config


def declared(project: Project) -> Project:
    """``project`` with the iterations that its campaign needs; one that goes on must declare at least as many."""
    if not project.config.campaign:
        return project
    found = campaign_lines(project)
    needed = iterations_needed(found, project.config.per_iteration)
    if project.config.proposer == ALONE:
        return replace(project, config=replace(project.config, iterations=needed))
    if project.config.iterations < needed:
        raise UserError(
            f"campaign '{project.config.campaign}' has {len(asked(found))} rows for this cache, which are {needed} iterations "
            f"of {project.config.per_iteration}, and iterations = {project.config.iterations}; raise --iterations or "
            "--per-iteration",
            Exit.USAGE,
        )
    return project


def with_campaign(project: Project, make: Callable[[], Proposer]) -> Proposer:
    """The proposer that ``make`` gives, with the project's campaign before it; the campaign alone where that was asked for."""
    if not project.config.campaign:
        return make()
    then = None if project.config.proposer == ALONE else make()
    return CampaignProposer(_campaign(project).name, campaign_lines(project), then)


def campaign_facts(project: Project) -> dict[str, Any]:
    """The campaign as a run freezes it; empty without one."""
    if not project.config.campaign:
        return {}
    campaign, found = _campaign(project), campaign_lines(project)
    return {
        "name": project.config.campaign,
        "paper": campaign.paper,
        "digest": campaign.digest,
        "rows": len(asked(found)),
    }


def table_of(folder: Path) -> tuple[tuple[CampaignLine, ...], dict[str, str], Campaign, dict[str, Any]]:
    """Lines, verdicts of systems, the campaign, and all of it as JSON types, of the run in ``folder``. Reads only."""
    with open_ledger(folder) as ledger:
        plan = ledger.run()
        if plan is None or not plan.campaign:
            raise UserError(f"the run of {folder} has no campaign; start one with `screen run --campaign NAME`")
        _, rows = ledger.snapshot(views=False)
        found = campaign_table(rows, ledger.records(Proposed), ledger.records(Rejected))
    campaign = _named(plan.campaign["name"], folder)
    if campaign.digest != plan.campaign["digest"]:
        raise UserError(
            f"campaign '{campaign.name}' is another one than the run of {folder} was made with "
            f"({campaign.digest[:12]}, then {plan.campaign['digest'][:12]}); put its campaign.toml back"
        )
    verdicts = system_verdicts(found, campaign)
    return found, verdicts, campaign, to_json(found, verdicts, campaign)


def campaign_lines(project: Project) -> tuple[Line, ...]:
    """The project's campaign, resolved by the names of annotations and, where a set may be too large, by sizes on genes A."""
    project_grammar = make_grammar(
        tuple(project.annotations.values()),
        project.cache.digest,
        project.cache.n_layers,
        project.cache.dim,
        {},
        project.brings,
    )
    sizes = {name: project.entity_size(name, Side.EXPLORE) for name in project.annotations}
    return lines(_campaign(project), project_grammar, sizes)


def _campaign(project: Project) -> Campaign:
    return _named(project.config.campaign, project.folder)


def _named(name: str, folder: Path) -> Campaign:
    try:
        return load_campaign(name, folder)
    except CampaignError as error:
        raise UserError(str(error)) from None
