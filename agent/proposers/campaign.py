"""A campaign as a proposer: a fixed list, in its order, then nothing, or another proposer.

What it says depends on the iteration alone, never on a result, so it resumes anywhere. Its rows are registered, tested,
promoted and judged like any others; they are marked ``prior_known``, because somebody had published them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from ...hypotheses.campaign import Line, asked
from ...hypotheses.spec import Proposal
from ..digest import Digest
from .base import Proposer, Refusal, Said

NAME = "campaign"


@dataclass(frozen=True)
class CampaignProposer:
    """See the module docstring."""

    campaign: str
    lines: tuple[Line, ...]
    then: Proposer | None = None
    """Who fills the places that the campaign leaves."""

    @property
    def name(self) -> str:
        """``campaign``, or the name of the proposer that it is the seed of."""
        return NAME if self.then is None else self.then.name

    @property
    def reads_notes(self) -> bool:
        """Whether the proposer that goes on is given the digest's notes."""
        return bool(getattr(self.then, "reads_notes", False))

    def propose(self, digest: Digest, count: int) -> Sequence[Proposal | Said]:
        """See :class:`~.base.Proposer`. What cannot be asked here is said with its reason in the first iteration."""
        rows = asked(self.lines)
        start = (digest.iteration - 1) * count
        mine = [self._said(line) for line in rows[start : start + count]]
        refused = [self._said(line) for line in self.lines if line.reason] if digest.iteration == 1 else []
        left = count - len(mine)
        rest: Sequence[Proposal | Said] = () if self.then is None or not left else self.then.propose(digest, left)
        return [*refused, *mine, *rest]

    def _said(self, line: Line) -> Said:
        source = {
            "campaign": self.campaign,
            "system": line.system,
            "definition": line.definition,
            "prior_known": True,
            **({"stands_in": line.note} if line.note else {}),
        }
        return Said(line.proposal, NAME, source, Refusal(line.reason, line.detail) if line.reason else None)


def iterations_needed(lines: Sequence[Line], per_iteration: int) -> int:
    """Iterations that hold every row of a campaign; at least one, in which refusals are recorded."""
    return max(1, ceil(len(asked(lines)) / per_iteration))
