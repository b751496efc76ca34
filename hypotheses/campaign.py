"""Campaigns: lists of hypotheses that someone wrote down before, resolved to rows of a grammar.

A campaign is a folder with a ``campaign.toml``: *slots* (kinds of knowledge, each with the names of annotations that may
fill it) and *systems* (what was claimed, how it was and how it should be tested, what would refute it) with their rows.
Everything in it was said before the run, so every row is ``prior_known``: a replication, not a discovery.
"""

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from ..tests_library.catalogue import CATALOGUE, n_views
from .annotation_files import Kind, read_text
from .canonical import sha256_of
from .grammar import NEED, Grammar
from .spec import Proposal

HERE = Path(__file__).with_name("campaigns")
FILE = "campaign.toml"
Definition = Literal["published", "corrected"]


class CampaignError(ValueError):
    """One sentence: the file, the value, and how to mend it."""


@dataclass(frozen=True)
class Slot:
    """A kind of knowledge that rows are about."""

    name: str
    kind: Kind
    means: str
    names: tuple[str, ...]
    """Annotations that may fill it, in order of preference."""
    near: int = 0
    """Of a gene set: the number of genes that a set which stands in should have."""
    most: int = 0
    """More genes than this on the explore side, and the set nearest to ``near`` stands in; 0: any number will do."""


@dataclass(frozen=True)
class CampaignRow:
    """One question of a system."""

    definition: Definition
    """``published``: at the very place the paper named; ``corrected``: the question itself."""
    test: str
    slot: str
    layers: str
    """Layer option of the grammar, or ``first`` or ``last``."""
    coordinates: str
    direction: str
    prior: float
    claim: str


@dataclass(frozen=True)
class System:
    """One claim of a campaign."""

    id: str
    title: str
    record: str
    """Where it was published."""
    published: str
    corrected: str
    prediction: str
    refuted_by: str
    companions: tuple[str, ...]
    rows: tuple[CampaignRow, ...] = ()
    refusal: str = ""
    """Why no row can test it; empty for the others."""


@dataclass(frozen=True)
class Campaign:
    """See the module docstring."""

    name: str
    title: str
    paper: str
    slots: Mapping[str, Slot]
    systems: tuple[System, ...]
    digest: str
    """sha256 of the content, as JSON."""


@dataclass(frozen=True)
class Line:
    """One row of a campaign in one project: a proposal, or why it cannot be one."""

    system: str
    definition: str
    proposal: Proposal
    reason: str = ""
    """Type of the refusal: ``no_test``, ``no_annotation``, ``missing_input`` or ``too_few_layers``; empty for a proposal."""
    detail: str = ""
    note: str = ""
    """Which set stands in for which, and why; empty where the slot has a set of its own."""


def list_campaigns() -> list[str]:
    """Names of the campaigns that come with the package."""
    return sorted(path.parent.name for path in HERE.glob(f"*/{FILE}"))


def load_campaign(name_or_path: str, project_dir: str | Path) -> Campaign:
    """A shipped campaign by name, or a folder with a ``campaign.toml``, as seen from ``project_dir``."""
    for folder in (HERE / name_or_path, Path(project_dir) / name_or_path):
        if (folder / FILE).is_file():
            return read_campaign(folder / FILE)
    near = difflib.get_close_matches(name_or_path, list_campaigns(), n=1, cutoff=0.4)
    hint = f"; did you mean '{near[0]}'?" if near else f"; there are {', '.join(list_campaigns())}"
    raise CampaignError(f"there is no campaign '{name_or_path}', and no folder of that name with a {FILE}{hint}")


def read_campaign(path: Path) -> Campaign:
    """The campaign of a file. Raises :class:`CampaignError` naming the first table that is wrong."""
    try:
        content: dict[str, Any] = tomllib.loads(read_text(path))
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise CampaignError(f"{path} is not valid TOML: {error}; mend that place") from None
    try:
        slots = {name: _slot(name, table) for name, table in content["slots"].items()}
        systems = tuple(_system(table) for table in content["systems"])
        campaign = Campaign(content["name"], content["title"], content["paper"], slots, systems, sha256_of(content))
    except (KeyError, TypeError, AttributeError) as error:
        raise CampaignError(f"{path}: a campaign needs {error}; see docs/campaign.md for every field") from None
    _check(campaign, path)
    return campaign


def _slot(name: str, table: Mapping[str, Any]) -> Slot:
    near, most = table.get("near", 0), table.get("most", 0)
    if bool(near) != bool(most) or not 0 <= near <= most or (most and table["kind"] != "gene_set"):
        raise TypeError(
            f"'near' ≤ 'most' in slot '{name}', both or neither, of a gene_set, and has near = {near}, most = {most}"
        )
    return Slot(name, cast("Kind", table["kind"]), table["means"], tuple(table["names"]), near, most)


def _system(table: Mapping[str, Any]) -> System:
    fields = {k: v for k, v in table.items() if k not in ("rows", "companions")}
    rows = tuple(CampaignRow(**row) for row in table.get("rows", ()))
    return System(**fields, companions=tuple(table["companions"]), rows=rows)


def _check(campaign: Campaign, path: Path) -> None:
    for system in campaign.systems:
        if bool(system.rows) == bool(system.refusal):
            raise CampaignError(
                f"{path}, system {system.id}: it must have rows, or a refusal that says why it has none"
            )
        for row in system.rows:
            where = f"{path}, system {system.id}"
            if row.test not in CATALOGUE:
                near = difflib.get_close_matches(row.test, list(CATALOGUE), n=1)
                raise CampaignError(f"{where}: there is no test '{row.test}'{f'; {near[0]}?' if near else ''}")
            if row.slot not in campaign.slots:
                raise CampaignError(f"{where}: '{row.slot}' is none of the slots {', '.join(campaign.slots)}")
            if campaign.slots[row.slot].kind != CATALOGUE[row.test].entity:
                raise CampaignError(
                    f"{where}: {row.test} needs a {CATALOGUE[row.test].entity}, and '{row.slot}' is a "
                    f"{campaign.slots[row.slot].kind}"
                )
            if row.definition not in ("published", "corrected"):
                raise CampaignError(f"{where}: definition '{row.definition}' is neither published nor corrected")


def lines(campaign: Campaign, grammar: Grammar, sizes: Mapping[str, int]) -> tuple[Line, ...]:
    """Every row of the campaign as the grammar can say it, or with the reason why it cannot.

    ``sizes``: annotation → its genes on the explore side. Names and these numbers are all that is read of the annotations.
    """
    filled = {name: _filled(slot, grammar, sizes) for name, slot in campaign.slots.items()}
    return tuple(_lines(campaign, grammar, filled))


def _lines(campaign: Campaign, grammar: Grammar, filled: Mapping[str, tuple[str | None, str]]) -> Iterator[Line]:
    for system in campaign.systems:
        if system.refusal:
            nothing = Proposal("none", "none", "all", "all", system.title, 0.0, "either", system.published, "campaign")
            yield Line(system.id, "corrected", nothing, "no_test", f"{system.title}: {system.refusal}")
        for row in system.rows:
            slot = campaign.slots[row.slot]
            name, note = filled[slot.name]
            proposal = Proposal(
                test=row.test,
                annotation=name or slot.name,
                layers=_layers(row.layers, grammar.n_layers),
                coordinates=row.coordinates,
                claim=row.claim,
                prior=row.prior,
                direction=row.direction,
                rationale=f"{campaign.paper}, {system.record}: {system.prediction}" + (f" ({note})" if note else ""),
                move="replicate",
            )
            yield Line(system.id, row.definition, proposal, *_refused(row, slot, name, grammar), note)


def _filled(slot: Slot, grammar: Grammar, sizes: Mapping[str, int]) -> tuple[str | None, str]:
    """Which annotation fills ``slot``, and what to say where another one stands in for a set that is too large.

    The first of the slot's names that is there; of a slot with ``most`` the first that is no larger, and if there is none the
    set whose size on the explore side is nearest to ``near``, of equally near ones the first by name. Sizes belong to genes
    A, which any proposer may know; negative controls stand in for nothing.
    """
    named = [n for n in slot.names if n in grammar.annotations and grammar.annotations[n].kind == slot.kind]
    fitting = [n for n in named if not slot.most or sizes[n] <= slot.most]
    if fitting or not named:
        return (fitting[0] if fitting else None), ""
    others = (a for a in grammar.annotations.values() if a.kind == slot.kind and a.role != "negative_control")
    near = [a.name for a in others if sizes[a.name] <= slot.most]
    if not near:
        return named[0], ""
    best = min(near, key=lambda name: (abs(sizes[name] - slot.near), name))
    return best, (
        f"{named[0]} has {sizes[named[0]]:,} genes to explore, more than {slot.most}; of the sets here {best} with "
        f"{sizes[best]:,} is nearest to {slot.near} and stands in"
    )


def _layers(said: str, n_layers: int) -> str:
    return {"first": "L0", "last": f"L{n_layers - 1}"}.get(said, said)


def _refused(row: CampaignRow, slot: Slot, name: str | None, grammar: Grammar) -> tuple[str, str]:
    kind = CATALOGUE[row.test]
    if name is None:
        return "no_annotation", (
            f"{row.test} needs {slot.means}, and no annotation is called {' or '.join(slot.names[:3])}; import one with "
            f"`screen annotations import FILE --as {_HOW[slot.kind]} --name {slot.names[0]}`"
        )
    for need in grammar.missing(kind):
        return "missing_input", f"{row.test} needs {NEED[need]}"
    if not n_views(kind, grammar.n_layers, grammar.n_axes):
        return "too_few_layers", f"{row.test} needs more layers than the {grammar.n_layers} of this cache"
    return "", ""


_HOW: Mapping[Kind, str] = {"gene_set": "sets", "gene_pairs": "pairs", "edges": "edges"}


def asked(found: Sequence[Line]) -> list[Line]:
    """The lines that are proposals."""
    return [line for line in found if not line.reason]
