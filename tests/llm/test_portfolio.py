"""The rules of a batch and of a direction, as code keeps them: what is refused, with which type, and what is filled instead."""

import json
from typing import Any

import pytest

from hyposcreen.agent.digest import Digest, Notes, Offer, SeenRow, detectable
from hyposcreen.agent.llm.answers import read
from hyposcreen.agent.llm.directions import adequate, retired, worth_seeing
from hyposcreen.agent.llm.filling import fill
from hyposcreen.agent.llm.portfolio import REASONS, Candidate, Rules
from hyposcreen.hypotheses.spec import Proposal
from hyposcreen.tests_library.catalogue import CATALOGUE

TESTS = ("cohesion", "gene_score", "axis_separation", "role_classifier", "two_nn", "community")
NAMES = ("t_cells", "b_cells", "monocytes")
OFFERS = tuple(Offer(t, CATALOGUE[t].family, a, 30, ("all", "L0", "L1"), ("all",)) for t in TESTS for a in NAMES)


def seen(n: int, test: str, annotation: str, p: float, effect: float = 0.6, layers: str = "all") -> SeenRow:
    family = CATALOGUE[test].family
    return SeenRow(f"H{n:04d}", test, family, annotation, layers, "all", "ok", p, effect, 0.5, "L0·cosine", None)


FOUND = seen(1, "cohesion", "t_cells", 0.01, 0.7)
"""What a cohesion worth seeing looks like: .2 above chance."""
NEGATIVE = (seen(2, "cohesion", "b_cells", 0.5), seen(3, "cohesion", "b_cells", 0.4, layers="L1"))


def rules(*rows: SeenRow, power: float = 0.1, intervals: dict[str, tuple[float, float]] | None = None) -> Rules:
    notes = Notes({}, intervals or {}, (), {r.id: power for r in rows})
    return Rules(Digest(2, 9, OFFERS, rows, notes))


def one(test: str = "community", annotation: str = "monocytes", bet: str = "safe", **changes: Any) -> Candidate:
    values: dict[str, Any] = {
        "layers": "all", "coordinates": "all", "claim": "c", "prior": 0.5, "direction": "either", "rationale": "r",
        "move": "cover", "parent": None,
    } | changes  # fmt: skip
    return Candidate(Proposal(test, annotation, **values), bet)


def reason(of: Rules, candidate: Candidate) -> str | None:
    fault = of.fault(candidate)
    assert fault is None or fault.reason in REASONS
    return None if fault is None else fault.reason


def test_two_negatives_with_power_retire_a_direction_and_without_power_they_do_not() -> None:
    (gone,) = rules(FOUND, *NEGATIVE).retired.values()
    assert (gone.family, gone.annotation, gone.negatives) == ("geometry", "b_cells", ("H0002", "H0003"))
    assert not rules(FOUND, *NEGATIVE, power=0.3).retired, "too little power to see .2"
    assert not rules(FOUND, NEGATIVE[0]).retired, "one is not two"
    assert not rules(*NEGATIVE).retired, "nothing says what would be worth seeing"
    assert not rules(FOUND, *NEGATIVE, seen(4, "gene_score", "b_cells", 0.03)).retired, "a row of it looks promising"
    without = Digest(2, 9, OFFERS, (FOUND, *NEGATIVE))
    assert not retired(without)


def test_an_interval_that_leaves_no_room_is_power_too() -> None:
    narrow = {r.id: (0.42, 0.65) for r in NEGATIVE}
    assert rules(FOUND, *NEGATIVE, power=9.0, intervals=narrow).retired
    wide = {r.id: (0.42, 0.75) for r in NEGATIVE}
    assert not rules(FOUND, *NEGATIVE, power=9.0, intervals=wide).retired
    worth = worth_seeing((FOUND, seen(9, "cohesion", "monocytes", 0.05, 0.3)))
    assert worth == {"cohesion": pytest.approx(0.2)}, "a distance from chance, whatever its side"
    assert not adequate(FOUND, Notes({}, {}, (), {"H0001": 0.01}), worth), "no negative"


def test_power_is_that_of_the_whole_scan() -> None:
    assert detectable(0.1, 1) == pytest.approx(0.1)
    assert detectable(0.1, 60) > 1.4 * detectable(0.1, 1)
    assert [detectable(0.1, v) for v in (2, 5, 13)] == sorted(detectable(0.1, v) for v in (2, 5, 13))


def test_a_retired_direction_is_left_alone_or_rescued_once_by_another_test() -> None:
    of = rules(FOUND, *NEGATIVE)
    assert reason(of, one("gene_score", "b_cells")) == "retired"
    assert reason(of, one("cohesion", "b_cells", layers="L0", move="refine", parent="H0002")) == "retired"
    assert reason(of, one("cohesion", "b_cells", layers="L0", move="rescue", parent="H0002")) == "retired"
    assert reason(of, one("gene_score", "b_cells", move="rescue")) == "lineage"
    assert reason(of, one("gene_score", "b_cells", move="rescue", parent="H0001")) == "lineage"
    assert reason(of, one("gene_score", "b_cells", move="rescue", parent="H0003")) is None
    assert reason(of, one("gene_score", "t_cells", move="rescue", parent="H0001")) == "lineage", "nothing to rescue"
    found = seen(5, "gene_score", "t_cells", 0.01, 0.7)
    failed = rules(FOUND, *NEGATIVE, found, seen(6, "gene_score", "b_cells", 0.6))
    assert reason(failed, one("cohesion", "b_cells", layers="L0", move="rescue", parent="H0002")) == "retired"
    assert next(iter(failed.retired.values())).closed


def test_lineage_is_what_the_rows_say() -> None:
    of = rules(FOUND)
    assert reason(of, one("cohesion", "t_cells", layers="L1")) == "lineage", "a refinement under another name"
    assert reason(of, one("cohesion", "t_cells", layers="L1", move="refine")) == "lineage"
    assert reason(of, one("cohesion", "t_cells", layers="L1", move="refine", parent="H0001")) is None
    assert reason(of, one("cohesion", "b_cells", move="refine", parent="H0001")) == "lineage"
    assert reason(of, one(parent="H0099")) == "lineage"
    assert reason(of, one(parent="H0001", move="transfer")) is None


def test_a_direction_the_test_cannot_confirm_and_a_dear_bargain_are_refused() -> None:
    assert CATALOGUE["cohesion"].alternative == "greater"
    assert reason(rules(), one("cohesion", direction="less")) == "direction"
    assert reason(rules(), one("cohesion", direction="greater")) is None
    assert reason(rules(), one("role_classifier", bet="cheap")) == "bet"
    assert reason(rules(), one("cohesion", bet="cheap")) is None


def batch(of: Rules, *candidates: Candidate, count: int = 3) -> tuple[int, list[str]]:
    kept, refused = of.batch(candidates, count)
    assert all(why.detail.isprintable() and len(why.detail) < 300 for _, why in refused)
    assert {why.reason for _, why in refused} <= set(REASONS)
    return len(kept), [why.reason for _, why in refused]


def test_the_quotas_of_a_batch() -> None:
    safe, risky = one("two_nn", prior=0.7), one("community", bet="risky", prior=0.1)
    cheap = one("axis_separation", bet="cheap")
    of = rules(FOUND, *NEGATIVE)
    assert of.new_families == ("axis", "classifier", "neighbours", "spectrum")
    assert batch(of, safe, risky, cheap) == (3, [])
    old = [one("gene_score", "t_cells"), one("gene_score", "monocytes", bet="risky", prior=0.1)]
    assert batch(of, *old, one("cohesion", "monocytes", bet="cheap")) == (2, ["quota_new_family"])
    assert batch(of, safe, risky, one("axis_separation")) == (2, ["quota_bet"])
    assert batch(of, safe, one("community"), one("axis_separation")) == (1, ["quota_bet"] * 2)
    assert batch(of, one("two_nn", prior=0.1), risky, cheap) == (2, ["bet"]), (
        "a risky one is less likely than a safe one"
    )
    narrow = [one("cohesion", "t_cells", layers=q, move="refine", parent="H0001") for q in ("L0", "L1")]
    assert batch(of, narrow[0], one("role_classifier", layers="L0"), one("role_classifier", layers="L1")) == (
        2,
        ["lineage"],
    )
    more = rules(FOUND, *NEGATIVE, seen(7, "gene_score", "t_cells", 0.02))
    both = narrow[0], one("gene_score", "t_cells", layers="L0", move="refine", parent="H0007")
    assert batch(more, *both, cheap) == (2, ["quota_refinement"])


def test_quotas_wait_where_little_is_left() -> None:
    rows = tuple(seen(n, o.test, o.annotation, 0.5) for n, o in enumerate(OFFERS[:-1], start=1))
    of = Rules(Digest(9, 9, OFFERS, rows, Notes({}, {}, ())))
    assert len(of.fresh) == 1
    narrow = one("cohesion", "t_cells", layers="L0", move="refine", parent="H0001")
    assert batch(of, narrow, one("community", "monocytes"), count=2) == (2, [])


def test_what_is_filled_keeps_the_quotas() -> None:
    of = rules(FOUND, *NEGATIVE)
    narrow = one("cohesion", "t_cells", layers="L0", move="refine", parent="H0001").proposal
    filled = fill(3, of, [narrow], 3)
    assert len(filled) == 2 and CATALOGUE[filled[0].test].family in of.new_families
    assert not any(p.move == "refine" for p in filled)
    everything = fill(3, of, [], 40)
    assert len({(p.test, p.annotation, p.layers) for p in everything}) == len(everything) > len(of.fresh)
    assert not any((CATALOGUE[p.test].family, p.annotation) == ("geometry", "b_cells") for p in everything)
    assert sum(p.move == "refine" for p in everything) <= 1


def test_an_answer_that_breaks_a_rule_is_told_so_and_kept_with_its_reason(server: Any) -> None:
    of = rules(FOUND, *NEGATIVE)
    items = [
        server.hypothesis("gene_score", "b_cells", bet="safe"),
        server.hypothesis("two_nn", "t_cells", bet="cheap"),
        server.hypothesis("cohesion", "t_cells"),
    ]
    reading = read(json.dumps({"hypotheses": items}), of, 3)
    assert reading.good == ()
    assert [why.reason for _, why in reading.refused] == ["retired", "bet", "duplicate"]
    assert all(json.loads(text)["test"] == item["test"] for (text, _), item in zip(reading.refused, items, strict=True))
    assert all(any(f"hypothesis {n}: " in e for e in reading.errors) for n in (1, 2, 3))
