"""The built-in proposer: no key, no network, deterministic. Coverage first, then a bandit, then refinement.

It is also the scientific baseline: a language model has to beat it at an equal number of tests. Each iteration it covers
something new, exploits what looked promising, and narrows at most one good row to the place where it was strongest.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from ...hypotheses.spec import Proposal
from ...tests_library.catalogue import CATALOGUE
from ..digest import Digest, Offer, SeenRow

PROMISING = 0.05
"""Exploratory p below which a row counts as promising."""
_PLACE = {
    kind.name: sum(1 for earlier in islice(CATALOGUE.values(), i) if earlier.family == kind.family)
    for i, kind in enumerate(CATALOGUE.values())
}
"""Place of a test in its family: the catalogue names the most general question of a family first."""
_PRIOR_HITS, _PRIOR_TESTS = 1.0, 4.0
"""Beta(1, 3): before any result, one test in four is expected to look promising."""


@dataclass(frozen=True)
class OfflineProposer:
    """See the module docstring. Ties are broken by sha256 of (seed, iteration, candidate), the same everywhere."""

    seed: int
    name: str = "offline"

    def propose(self, digest: Digest, count: int) -> Sequence[Proposal]:
        """See :class:`~.base.Proposer`."""
        state = _State(digest, self.seed)
        out: list[Proposal] = []
        for slot in range(count):
            moves = (state.cover, state.exploit, state.refine)
            order = [moves[slot % len(moves)], state.cover, state.exploit, state.refine]
            proposal = next((p for p in (move() for move in order) if p is not None), None)
            if proposal is None:
                break
            state.take(proposal)
            out.append(proposal)
        return out


class _State:
    """What the digest says, indexed; ``take`` marks what this iteration has already said."""

    def __init__(self, digest: Digest, seed: int) -> None:
        self._seed = seed
        self._iteration = digest.iteration
        self._offers = digest.offers
        self._rows = [r for r in digest.rows if r.status == "ok"]
        self._said = {(r.test, r.annotation, r.layers, r.coordinates) for r in digest.rows}
        self._combinations = Counter((r.test, r.annotation) for r in digest.rows)
        self._families = Counter(r.family for r in digest.rows)
        self._annotations = Counter(r.annotation for r in digest.rows)
        self._refined = {r.parent for r in digest.rows if r.parent is not None}
        self._refinements = 0
        self._bounds: dict[str, float] = {}
        """What :meth:`_arm` has said since the last ``take``."""
        self._hits: dict[str, float] = defaultdict(float)
        for r in self._rows:
            for arm in (f"family:{r.family}", f"annotation:{r.annotation}"):
                self._hits[arm] += r.p_scan <= PROMISING

    def take(self, proposal: Proposal) -> None:
        """Remember a proposal of this iteration."""
        family = CATALOGUE[proposal.test].family
        self._bounds.clear()
        self._said.add((proposal.test, proposal.annotation, proposal.layers, proposal.coordinates))
        self._combinations[(proposal.test, proposal.annotation)] += 1
        self._families[family] += 1
        self._annotations[proposal.annotation] += 1
        if proposal.parent is not None:
            self._refined.add(proposal.parent)
            self._refinements += 1

    def cover(self) -> Proposal | None:
        """The combination whose annotation, then family, has been looked at least; a family's general tests come first."""
        fresh = self._fresh()
        if not fresh:
            return None
        offer = self._first(
            fresh, lambda o: (self._annotations[o.annotation], self._families[o.family], _PLACE[o.test])
        )
        why = f"{offer.annotation} and the {offer.family} family have been looked at least so far"
        return self._full_scan(offer, "cover", why)

    def exploit(self) -> Proposal | None:
        """The combination with the highest upper confidence bound on looking promising."""
        fresh = self._fresh()
        if not fresh:
            return None
        offer = self._first(fresh, lambda o: (-self._bound(o), _PLACE[o.test]))
        rate = self._rate(f"annotation:{offer.annotation}", self._annotations[offer.annotation])
        why = f"tests of {offer.annotation} have looked promising at a rate of about {rate:.2f}"
        return self._full_scan(offer, "transfer", why)

    def refine(self) -> Proposal | None:
        """The most promising row not yet narrowed, at the layer where it was strongest. At most one an iteration."""
        if self._refinements:
            return None
        promising = [r for r in self._rows if r.p_scan <= PROMISING and r.id not in self._refined and r.layers == "all"]
        for row in sorted(promising, key=lambda r: (r.p_scan, r.id)):
            for narrowed in self._narrower(row):
                if (narrowed.test, narrowed.annotation, narrowed.layers, narrowed.coordinates) not in self._said:
                    return narrowed
        return None

    def _fresh(self) -> list[Offer]:
        return [o for o in self._offers if self._combinations[(o.test, o.annotation)] == 0]

    def _rate(self, arm: str, tests: int) -> float:
        return (self._hits[arm] + _PRIOR_HITS) / (tests + _PRIOR_TESTS)

    def _bound(self, offer: Offer) -> float:
        return self._arm("family", offer.family) + self._arm("annotation", offer.annotation)

    def _arm(self, of: str, name: str) -> float:
        """Upper confidence bound on the rate of promising rows of a family or an annotation."""
        arm = f"{of}:{name}"
        if arm not in self._bounds:
            tests = (self._families if of == "family" else self._annotations)[name]
            total = max(1, sum(self._families.values()))
            self._bounds[arm] = self._rate(arm, tests) + math.sqrt(math.log(total + 1) / (2 * (tests + 1)))
        return self._bounds[arm]

    def _narrower(self, row: SeenRow) -> Iterable[Proposal]:
        offer = next((o for o in self._offers if (o.test, o.annotation) == (row.test, row.annotation)), None)
        if offer is None:  # asked earlier, and not offered now
            return
        layer, _, coordinate = row.best_view.partition("·")
        choices = [(layer, "all"), ("all", coordinate), (layer, coordinate)]
        direction = "greater" if row.effect >= row.null_mean else "less"
        for layers, coordinates in choices:
            if layers in offer.layers and coordinates in offer.coordinates:
                yield Proposal(
                    test=row.test,
                    annotation=row.annotation,
                    layers=layers,
                    coordinates=coordinates,
                    claim=_claim(row.test, row.annotation, layers, coordinates),
                    prior=round(min(0.9, 0.4 + 0.1 * -math.log10(row.p_scan)), 3),
                    direction=direction,
                    rationale=f"{row.id} was strongest at {row.best_view} (p = {row.p_scan:.3g} on the explore genes)",
                    move="refine",
                    parent=row.id,
                )

    def _full_scan(self, offer: Offer, move: str, why: str) -> Proposal:
        prior = self._rate(f"annotation:{offer.annotation}", self._annotations[offer.annotation])
        alternative = CATALOGUE[offer.test].alternative
        proposal = Proposal(
            test=offer.test,
            annotation=offer.annotation,
            layers="all",
            coordinates="all",
            claim=_claim(offer.test, offer.annotation, "all", "all"),
            prior=round(prior, 3),
            direction="either" if alternative == "two-sided" else alternative,
            rationale=why,
            move=move,
        )
        return replace(proposal, move="cover") if self._families[offer.family] == 0 else proposal

    def _first(self, fresh: Sequence[Offer], order: Callable[[Offer], tuple[float, ...]]) -> Offer:
        """The offer that comes first in ``order``; among equals, by chance of the seed."""
        ranks = [order(offer) for offer in fresh]
        best = min(ranks)
        return min((o for o, rank in zip(fresh, ranks, strict=True) if rank == best), key=self._tie)

    def _tie(self, offer: Offer) -> str:
        text = f"{self._seed}|{self._iteration}|{offer.test}|{offer.annotation}"
        return hashlib.sha256(text.encode()).hexdigest()


_CLAIMS = {
    "axis_separation": "{a} genes separate from other genes along a spectral axis{where}",
    "pole_enrichment": "{a} genes gather in one pole of a spectral axis{where}",
    "cohesion": "{a} genes lie closer to each other than genes do in general{where}",
    "effective_dimension": "{a} genes occupy fewer dimensions than as many other genes{where}",
    "role_classifier": "membership in {a} can be predicted from spectral coordinates{where}",
    "layer_trajectory": "the cohesion of {a} changes over the layers{where}",
    "copole_rate": "pairs of {a} share a pole of a spectral axis more often than other genes{where}",
    "graded_gradient": "the stronger the evidence for a pair in {a}, the more similar its genes{where}",
    "edge_auroc": "regulators of {a} lie closer to their targets than to other genes{where}",
}


def _claim(test: str, annotation: str, layers: str, coordinates: str) -> str:
    places = [] if layers == "all" else [f"layers: {layers}" if layers in {"early", "late"} else f"layer {layers}"]
    places += [] if coordinates == "all" else [coordinates]
    template = _CLAIMS.get(test, "{a} shows an effect in " + test + "{where}")
    return template.format(a=annotation.replace("_", " "), where=f" ({', '.join(places)})" if places else "")
