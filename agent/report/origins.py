"""Where the labels of a run come from, and which of its questions somebody had published before."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..ledger.records import Row, RunOpened


@dataclass(frozen=True)
class Origin:
    """Annotations that share a source, version and licence."""

    source: str
    version: str
    licence: str
    citation: str
    original: str
    """Name and start of the sha256 of the file they were imported from; empty where they came with the folder."""
    names: tuple[str, ...]
    members: int


@dataclass(frozen=True)
class Known:
    """The rows of a run that came from a campaign."""

    paper: str
    campaign: str
    rows: tuple[tuple[str, str, str, str], ...]
    """(system, definition, row id, verdict) in the order of the systems."""
    confirmed: int


def origins(run: RunOpened | None) -> tuple[Origin, ...]:
    """One line a source, in the order of the annotations."""
    found: dict[tuple[str, str, str, str, str], list[tuple[str, int]]] = {}
    for a in run.annotations if run else ():
        said = {name: str(a.get(name) or "") for name in ("source", "version", "licence", "citation", "original")}
        key = (said["source"], said["version"], said["licence"], said["citation"], said["original"])
        found.setdefault(key, []).append((a["name"], a["size"]))
    return tuple(
        Origin(
            source, version, licence, citation, _shortened(original),
            tuple(name for name, _ in held), sum(size for _, size in held),
        )
        for (source, version, licence, citation, original), held in found.items()
    )  # fmt: skip


def known_before(run: RunOpened | None, rows: Sequence[Row]) -> Known | None:
    """Rows that replicate what was published; ``None`` for a run without a campaign."""
    mine = [row for row in rows if row.proposal_source.get("prior_known")]
    if run is None or not run.campaign or not mine:
        return None
    lines = sorted(
        (str(row.proposal_source["system"]), str(row.proposal_source["definition"]), row.id, row.verdict)
        for row in mine
    )
    confirmed = sum(row.verdict == "confirmed" for row in mine)
    return Known(str(run.campaign["paper"]), str(run.campaign["name"]), tuple(lines), confirmed)


def _shortened(original: str) -> str:
    name, _, sha256 = original.partition(" sha256:")
    return f"{name} ({sha256[:12]})" if sha256 else original
