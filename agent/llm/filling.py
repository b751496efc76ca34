"""What the offline proposer says in the places a model left open: within the quotas, and outside retired directions."""

from collections.abc import Sequence
from dataclasses import replace

from ...hypotheses.spec import Proposal
from ..digest import Digest
from ..proposers.offline import OfflineProposer
from .answers import sentence
from .portfolio import Rules, family


def fill(seed: int, rules: Rules, said: Sequence[Proposal], count: int) -> list[Proposal]:
    """Proposals for the places of ``count`` that ``said`` leaves open; fewer where nothing is left to ask."""
    out: list[Proposal] = []
    offline, digest = OfflineProposer(seed), rules.digest
    if len(said) < count > 1 and not {family(p) for p in said} & set(rules.new_families):
        fresh = tuple(o for o in rules.fresh if o.family in rules.new_families)
        out += offline.propose(replace(digest, offers=fresh), 1) if fresh else []
    taken = {sentence(p) for p in (*said, *out)}
    refined = any(p.move == "refine" for p in said)
    for p in offline.propose(_open(digest, rules), count + len(taken) + 1):
        if len(said) + len(out) >= count:
            break
        if sentence(p) not in taken and not (refined and p.move == "refine"):
            out.append(p)
            refined |= p.move == "refine"
    return out


def _open(digest: Digest, rules: Rules) -> Digest:
    return replace(digest, offers=tuple(o for o in digest.offers if (o.family, o.annotation) not in rules.retired))
