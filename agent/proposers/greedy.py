"""The greedy proposer: its only aim is to exploit feedback. It exists to attack the error control, in audits.

After a short random start it spends most proposals in the neighbourhood of the best rows so far: the same entity under other
tests, the same test at the view that looked best, other bands of the same scan.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from ...hypotheses.spec import Proposal
from ...tests_library.catalogue import CATALOGUE
from ..digest import Digest, Offer, SeenRow

START = 12
EXPLORE_SHARE = 0.3
BEST = 8


@dataclass(frozen=True)
class GreedyProposer:
    """See the module docstring. Deterministic in (seed, digest)."""

    seed: int
    name: str = "greedy"

    def propose(self, digest: Digest, count: int) -> Sequence[Proposal]:
        """See :class:`~.base.Proposer`."""
        said = {(r.test, r.annotation, r.layers, r.coordinates) for r in digest.rows}
        best = sorted((r for r in digest.rows if r.status == "ok"), key=lambda r: (r.p_scan, r.id))[:BEST]
        out: list[Proposal] = []
        for slot in range(count):
            for attempt in range(40):
                roll = _Roll(f"{self.seed}|{digest.iteration}|{slot}|{attempt}")
                wander = len(digest.rows) < START or not best or roll.share() < EXPLORE_SHARE or attempt > 30
                near = None if wander else best[roll.pick(len(best))]
                sentence = _anywhere(digest.offers, roll) if near is None else _near(near, digest.offers, roll)
                if sentence not in said:
                    said.add(sentence)
                    out.append(_proposal(sentence, near))
                    break
        return out


class _Roll:
    """Draws that depend on a text only."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._count = 0

    def pick(self, n: int) -> int:
        """An integer in [0, n)."""
        self._count += 1
        word = hashlib.sha256(f"{self._text}|{self._count}".encode()).digest()
        return int.from_bytes(word[:8], "little") % n

    def share(self) -> float:
        """A number in [0, 1)."""
        return self.pick(1 << 30) / (1 << 30)


Sentence = tuple[str, str, str, str]


def _anywhere(offers: Sequence[Offer], roll: _Roll) -> Sentence:
    offer = offers[roll.pick(len(offers))]
    return offer.test, offer.annotation, "all", "all"


def _near(row: SeenRow, offers: Sequence[Offer], roll: _Roll) -> Sentence:
    move = roll.pick(3)
    if move == 0:
        siblings = [o for o in offers if o.annotation == row.annotation]
        return siblings[roll.pick(len(siblings))].test, row.annotation, "all", "all"
    offer = next(o for o in offers if (o.test, o.annotation) == (row.test, row.annotation))
    if move == 1:
        layer, _, coordinate = row.best_view.partition("·")
        layers = layer if layer in offer.layers else "all"
        coordinates = coordinate if coordinate in offer.coordinates else "all"
        return row.test, row.annotation, layers, coordinates
    layers = offer.layers[roll.pick(len(offer.layers))]
    return row.test, row.annotation, layers, offer.coordinates[roll.pick(len(offer.coordinates))]


def _proposal(sentence: Sentence, near: SeenRow | None) -> Proposal:
    test, annotation, layers, coordinates = sentence
    alternative = CATALOGUE[test].alternative
    return Proposal(
        test=test,
        annotation=annotation,
        layers=layers,
        coordinates=coordinates,
        claim=f"{annotation} shows something under {test} ({layers}, {coordinates})",
        prior=0.5,
        direction="either" if alternative == "two-sided" else alternative,
        rationale="looks like a place to find a small p" if near is None else f"{near.id} looked good",
        move="wander" if near is None else "exploit",
        parent=None if near is None else near.id,
    )
