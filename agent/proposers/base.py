"""The contract of a proposer."""

from collections.abc import Sequence
from typing import Protocol

from ...hypotheses.spec import Proposal
from ..digest import Digest


class Proposer(Protocol):
    """Proposes hypotheses from a digest of what has been explored.

    A proposer sees the digest and nothing else: no cache, no annotation content, no ledger, no sealed gene. What it
    returns is untrusted; every field is checked against the grammar, and a proposal that fails becomes a recorded
    rejection. ``propose`` must not raise for what the digest holds.
    """

    @property
    def name(self) -> str:
        """Name of the proposer, as recorded."""
        ...

    def propose(self, digest: Digest, count: int) -> Sequence[Proposal]:
        """Up to ``count`` proposals for the iteration of ``digest``."""
        ...
