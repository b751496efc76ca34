"""What a model's batch must hold, and what each of its hypotheses may be. Pure functions; every refusal has a type.

One hypothesis: a refinement names the row it narrows; a retired direction is left alone, or rescued by a test it has not seen;
a predicted direction is one the test can confirm; a cheap bet is a cheap test. A batch: at most one refinement, at least one
hypothesis of a family that nobody has looked at (or, when all were, that was looked at least), and, from three hypotheses on, one
safe, one risky and one cheap bet, where safe means a higher prior than risky. Quotas wait while fewer untested combinations are
left than a batch has places.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ...hypotheses.spec import Proposal
from ...tests_library.catalogue import CATALOGUE
from ..custom.kind import kind_of
from ..custom.proposal import CodeProposal
from ..custom.reading import Shelf
from ..digest import Digest, Offer
from ..proposers.base import Refusal
from .directions import Name, Retired, retired

BETS = ("safe", "risky", "cheap")
MOVES = ("cover", "transfer", "refine", "rescue")
REASONS = ("lineage", "retired", "direction", "bet", "quota_refinement", "quota_new_family", "quota_bet")
"""Types of refusal that are made here."""


@dataclass(frozen=True)
class Candidate:
    """A hypothesis whose every field is one of those offered."""

    proposal: Proposal
    bet: str
    """Which of :data:`BETS` the model takes it for."""

    @property
    def combination(self) -> tuple[str, str]:
        """Test and annotation; of a statistic of the model's own, the test is its code and layer."""
        p = self.proposal
        return f"{p.sha256} {p.layers}" if isinstance(p, CodeProposal) else p.test, p.annotation

    @property
    def name(self) -> Name:
        """The direction it belongs to."""
        return family(self.proposal), self.proposal.annotation


def family(proposal: Proposal) -> str:
    """The family of a proposal's test."""
    return kind_of(proposal.test).family


def cheap(test: str) -> bool:
    """Whether a draw of ``test`` costs no more than looking up a table; such tests are also covered by Route U."""
    return kind_of(test).universe


@dataclass(frozen=True, eq=False)
class Rules:
    """The rules as they stand before one iteration."""

    digest: Digest
    code: Shelf | None = None
    """What statistics of the model's own may be about; ``None`` in a run that takes none."""

    @cached_property
    def retired(self) -> dict[Name, Retired]:
        """See :func:`~.directions.retired`."""
        return retired(self.digest)

    @cached_property
    def fresh(self) -> tuple[Offer, ...]:
        """Combinations of test and annotation that nobody has tested, outside retired directions."""
        seen = {(r.test, r.annotation) for r in self.digest.rows}
        return tuple(
            o
            for o in self.digest.offers
            if (o.test, o.annotation) not in seen and (o.family, o.annotation) not in self.retired
        )

    @cached_property
    def new_families(self) -> tuple[str, ...]:
        """Families that nobody has looked at; when there is none, those looked at least of the ones with something untested."""
        looked = Counter(r.family for r in self.digest.rows)
        open_ = dict.fromkeys(o.family for o in self.fresh)
        fewest = min((looked[f] for f in open_), default=0)
        return tuple(sorted(f for f in open_ if looked[f] == fewest))

    def fault(self, candidate: Candidate) -> Refusal | None:
        """Why ``candidate`` may not be tested, whatever else is in its batch."""
        if isinstance(candidate.proposal, CodeProposal):
            return self._cost(candidate) or self._of_code(candidate.proposal)
        return self._direction(candidate) or self._cost(candidate) or self._lineage(candidate)

    def batch(
        self, candidates: Sequence[Candidate], count: int
    ) -> tuple[list[Candidate], list[tuple[Candidate, Refusal]]]:
        """(kept, refused) of a batch of ``count`` places, each hypothesis of which is faultless."""
        kept: list[Candidate] = []
        refused: list[tuple[Candidate, Refusal]] = []
        for c in candidates:
            if len(kept) == count:
                break
            why = self._beside(c, kept)
            refused += [(c, why)] if why is not None else []
            kept += [c] if why is None else []
        if len(kept) < count or len(self.fresh) < count:
            return kept, refused  # an open place is filled by the offline proposer, which keeps the quotas
        if (why := self._without_new_family(kept, count)) is not None:
            refused.append((kept.pop(), why))
        surplus, why = self._unbalanced(kept, count)
        refused += [(c, why) for c in surplus]
        return [c for c in kept if c not in surplus], refused

    def _direction(self, c: Candidate) -> Refusal | None:
        can = CATALOGUE[c.proposal.test].alternative
        if can == "two-sided" or c.proposal.direction in (can, "either"):
            return None
        return Refusal(
            "direction", f"{c.proposal.test} can only confirm '{can}', and '{c.proposal.direction}' is predicted"
        )

    def _cost(self, c: Candidate) -> Refusal | None:
        if c.bet != "cheap" or cheap(c.proposal.test):
            return None
        return Refusal("bet", f"{c.proposal.test} is not a cheap test; call it safe or risky, or choose a cheap test")

    def _of_code(self, p: Proposal) -> Refusal | None:
        if p.parent is not None and p.parent not in {r.id for r in self.digest.rows}:
            return Refusal("lineage", "parent is no row that was tested; name one such as H0001, or null")
        if p.move == "rescue":
            return Refusal("lineage", "a statistic of your own rescues nothing; cover, transfer or refine")
        return None

    def _lineage(self, c: Candidate) -> Refusal | None:
        p, rows = c.proposal, {r.id: r for r in self.digest.rows}
        if p.parent is not None and p.parent not in rows:
            return Refusal("lineage", "parent is no row that was tested; name one such as H0001, or null")
        gone = self.retired.get(c.name)
        if gone is not None:
            return _not_a_rescue(c, gone)
        if p.move == "rescue":
            return Refusal("lineage", f"{c.name[0]} of this annotation is not retired, so there is nothing to rescue")
        same = [r.id for r in self.digest.rows if (r.test, r.annotation) == c.combination]
        if same and (p.move != "refine" or p.parent not in same):
            asked = ", ".join(same[:3])
            return Refusal(
                "lineage", f"{asked} asked this test of this annotation: it is a refinement, with that row as parent"
            )
        if p.move == "refine" and not same:
            return Refusal(
                "lineage", "it refines no row: this test was not asked of this annotation; cover or transfer"
            )
        return None

    def _beside(self, c: Candidate, kept: Sequence[Candidate]) -> Refusal | None:
        if any(k.combination == c.combination for k in kept):
            return Refusal(
                "lineage", "it narrows another hypothesis of the same answer; wait for the result of that one"
            )
        if c.proposal.move == "refine" and any(k.proposal.move == "refine" for k in kept):
            return Refusal("quota_refinement", "one refinement a batch, and there is one already")
        return None

    def _without_new_family(self, kept: Sequence[Candidate], count: int) -> Refusal | None:
        if count < 2 or {c.name[0] for c in kept} & set(self.new_families):
            return None
        families = ", ".join(self.new_families)
        return Refusal("quota_new_family", f"no hypothesis is of a family that was looked at least: {families}")

    def _unbalanced(self, kept: Sequence[Candidate], count: int) -> tuple[list[Candidate], Refusal]:
        """Hypotheses that stand where a missing bet should, the last ones first; and those that are riskier than called."""
        bets = Counter(c.bet for c in kept)
        wanted = [b for b in BETS if b != "cheap" or any(cheap(o.test) for o in self.fresh)]
        missing = [b for b in wanted if not bets[b]] if count >= len(BETS) and len(kept) == count else []
        out: list[Candidate] = []
        for c in reversed(kept):
            if len(out) < len(missing) and bets[c.bet] > 1:
                bets[c.bet] -= 1
                out.append(c)
        if missing:
            return out, Refusal("quota_bet", f"the batch holds no bet that is {' and none that is '.join(missing)}")
        least = min((c.proposal.prior for c in kept if c.bet == "safe"), default=1.0)
        wrong = [c for c in kept if c.bet == "risky" and c.proposal.prior >= least]
        return wrong, Refusal("bet", f"it is called risky, and its prior is not below {least:g}, that of a safe one")


def _not_a_rescue(c: Candidate, gone: Retired) -> Refusal | None:
    p, known = c.proposal, ", ".join(gone.negatives[:4])
    if gone.closed:
        return Refusal("retired", f"{gone.family} of this annotation is retired ({known}), and its rescue has failed")
    if p.move != "rescue":
        return Refusal("retired", f"{gone.family} of this annotation is retired by {known}; rescue it by another test")
    if p.parent not in gone.negatives:
        return Refusal("lineage", f"the parent of a rescue is one of the rows that retired the direction: {known}")
    if p.test in gone.tests:
        return Refusal("retired", f"a rescue needs a test that was not asked here; {', '.join(gone.tests)} were")
    return None
