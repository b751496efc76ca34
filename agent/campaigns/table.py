"""What a campaign came to in a run: one line a row, refusals with their reason, and a verdict for each system. Pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...hypotheses.campaign import Campaign
from ..ledger.records import Proposed, Rejected, Row

MARKS: Mapping[str, str] = {
    "confirmed": "every corrected row is confirmed",
    "in part": "some corrected rows are confirmed",
    "not confirmed": "rows were tested, and no corrected one is confirmed",
    "untestable": "no corrected row could be tested at this size",
    "refused": "nothing could be asked here",
    "open": "the run is not finished",
}
"""Verdict on a system → what it means. Verdicts of rows are the ledger's; this only counts them."""
_UNTESTED = ("untestable", "invalid", "failed")


@dataclass(frozen=True)
class CampaignLine:
    """One row of a campaign in one run."""

    system: str
    definition: str
    test: str
    annotation: str
    id: str
    """Of the row in the ledger; empty for a refusal."""
    effect: float | None
    null_mean: float | None
    p_scan: float | None
    """Exploratory, on genes A."""
    p_adj: float | None
    """Of the route that decided, on the universe or on genes B."""
    verdict: str
    """The ledger's, or ``refused``."""
    reason: str
    note: str = ""
    """Which set stands in for which, and why."""


def campaign_table(
    rows: Sequence[Row], proposed: Sequence[Proposed], rejected: Sequence[Rejected]
) -> tuple[CampaignLine, ...]:
    """The campaign's rows of a ledger in the order in which they were said; rows of another proposer are left out."""
    sources = {(p.iteration, p.slot): p for p in proposed if p.source.get("campaign")}
    out = []
    for row in rows:
        if row.proposal_source.get("campaign"):
            s = row.proposal_source
            out.append(
                CampaignLine(
                    s["system"], s["definition"], row.test, row.annotation, row.id, row.effect, row.null_mean,
                    row.p_scan if row.verdict not in _UNTESTED else None, row.p_confirm_adj, row.verdict, row.reason or "",
                    s.get("stands_in", ""),
                )
            )  # fmt: skip
    for r in rejected:
        if (r.iteration, r.slot) in sources:
            p = sources[(r.iteration, r.slot)]
            said = p.proposal
            out.append(
                CampaignLine(
                    p.source["system"], p.source["definition"], str(said.get("test", "")), str(said.get("annotation", "")),
                    "", None, None, None, None, "refused", f"{r.reason}: {r.detail}",
                )
            )  # fmt: skip
    return tuple(sorted(out, key=lambda line: (line.system, line.definition != "published", line.id)))


def system_verdicts(lines: Sequence[CampaignLine], campaign: Campaign) -> dict[str, str]:
    """System → one of :data:`MARKS`, from its corrected rows alone."""
    return {system.id: _verdict([x for x in lines if x.system == system.id]) for system in campaign.systems}


def _verdict(lines: Sequence[CampaignLine]) -> str:
    corrected = [line.verdict for line in lines if line.definition == "corrected"]
    asked = [v for v in corrected if v != "refused"]
    if not asked:
        return "refused"
    if "registered" in asked:
        return "open"
    if all(v in _UNTESTED for v in asked):
        return "untestable"
    confirmed = sum(v == "confirmed" for v in asked)
    return "confirmed" if confirmed == len(corrected) else "in part" if confirmed else "not confirmed"


def to_json(lines: Sequence[CampaignLine], verdicts: Mapping[str, str], campaign: Campaign) -> dict[str, Any]:
    """Lines and verdicts with the campaign's words, as JSON types."""
    return {
        "campaign": campaign.name,
        "paper": campaign.paper,
        "digest": campaign.digest,
        "prior_known": True,
        "systems": [
            {
                "id": s.id, "title": s.title, "record": s.record, "published": s.published, "corrected": s.corrected,
                "prediction": s.prediction, "refuted_by": s.refuted_by, "companions": list(s.companions),
                "verdict": verdicts[s.id],
                "rows": [vars(line) for line in lines if line.system == s.id],
            }
            for s in campaign.systems
        ],
    }  # fmt: skip
