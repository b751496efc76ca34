"""The contract of a proposer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ...hypotheses.spec import Proposal
from ..digest import Digest


@dataclass(frozen=True)
class Refusal:
    """Why something a proposer said never becomes a hypothesis: a type, and one sentence that names the mend."""

    reason: str
    detail: str


@dataclass(frozen=True)
class Said:
    """A proposal with its origin, from a proposer that lets another fill its slots. Made by our code, never by a model."""

    proposal: object
    """Untrusted."""
    by: str
    """Who said it."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """See :attr:`~hyposcreen.agent.ledger.records.Proposed.source`."""
    refusal: Refusal | None = None
    """Set where the proposer's own rules refused it: it is recorded with its reason, and takes no slot of the iteration."""


class Proposer(Protocol):
    """Proposes hypotheses from a digest of what has been explored.

    A proposer sees the digest and nothing else: no cache, no annotation content, no ledger, no sealed gene. What it
    returns is untrusted; every field is checked against the grammar, and a proposal that fails becomes a recorded
    rejection. ``propose`` must not raise for what the digest holds. One with ``reads_notes = True`` is given the digest's notes.
    """

    @property
    def name(self) -> str:
        """Name of the proposer, as recorded."""
        ...

    def propose(self, digest: Digest, count: int) -> Sequence[Proposal | Said]:
        """Up to ``count`` proposals for the iteration of ``digest``; before them, at most so many that were refused."""
        ...
