"""The built-in proposer on digests of every kind: it never repeats itself and says only what is offered."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hyposcreen.agent.digest import Digest, SeenRow, make_digest
from hyposcreen.agent.ledger import records as rec
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.proposers.offline import OfflineProposer
from hyposcreen.hypotheses.canonical import canonical_json
from hyposcreen.hypotheses.grammar import DIRECTIONS


def offered(finished: Any) -> Any:
    project = finished.project
    return project.offers


@st.composite
def digests(draw: st.DrawFn, all_offers: Any) -> Digest:
    """Any subset of the grammar, any of it said before with any numbers, some of it refined."""
    chosen = draw(
        st.lists(st.sampled_from(all_offers), min_size=0, max_size=12, unique_by=lambda o: (o.test, o.annotation))
    )
    rows: list[SeenRow] = []
    said = set()
    for number in range(draw(st.integers(0, 25)) if chosen else 0):
        offer = draw(st.sampled_from(chosen))
        layers, coordinates = draw(st.sampled_from(offer.layers)), draw(st.sampled_from(offer.coordinates))
        if (offer.test, offer.annotation, layers, coordinates) in said:
            continue
        said.add((offer.test, offer.annotation, layers, coordinates))
        status = draw(st.sampled_from(["ok", "ok", "ok", "untestable", "invalid", "failed"]))
        best = f"{draw(st.sampled_from(offer.layers))}·{draw(st.sampled_from(offer.coordinates))}"
        rows.append(
            SeenRow(
                f"H{number + 1:04d}", offer.test, offer.family, offer.annotation, layers, coordinates, status,
                1.0 if status != "ok" else draw(st.sampled_from([0.0001, 0.01, 0.05, 0.0501, 0.5, 1.0])),
                draw(st.floats(-2, 2)), draw(st.floats(-2, 2)), best if status == "ok" else "",
                draw(st.sampled_from([None, *[r.id for r in rows]])),
            )
        )  # fmt: skip
    return Digest(draw(st.integers(1, 63)), 63, tuple(chosen), tuple(rows))


@pytest.fixture(scope="module")
def all_offers(finished: Any) -> Any:
    return offered(finished)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data(), count=st.integers(1, 8), seed=st.integers(0, 2**63 - 1))
def test_it_says_only_what_is_offered_and_never_twice(all_offers: Any, data: Any, count: int, seed: int) -> None:
    digest = data.draw(digests(all_offers))
    said = OfflineProposer(seed).propose(digest, count)
    assert len(said) <= count
    options = {(o.test, o.annotation): o for o in digest.offers}
    before = {(r.test, r.annotation, r.layers, r.coordinates) for r in digest.rows}
    ours = [(p.test, p.annotation, p.layers, p.coordinates) for p in said]
    assert len(set(ours)) == len(ours)
    assert not before & set(ours)
    ids = {r.id: r for r in digest.rows}
    for p in said:
        offer = options[(p.test, p.annotation)]
        assert p.layers in offer.layers and p.coordinates in offer.coordinates
        assert 0 <= p.prior <= 1
        assert p.direction in DIRECTIONS
        if p.parent is not None:
            parent = ids[p.parent]
            assert (parent.status, parent.test, parent.annotation) == ("ok", p.test, p.annotation)
    assert sum(p.parent is not None for p in said) <= 1
    assert OfflineProposer(seed).propose(digest, count) == said


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_it_says_something_as_long_as_a_combination_is_left(all_offers: Any, data: Any) -> None:
    digest = data.draw(digests(all_offers))
    tried = {(r.test, r.annotation) for r in digest.rows}
    left = [o for o in digest.offers if (o.test, o.annotation) not in tried]
    said = OfflineProposer(0).propose(digest, 3)
    assert len(said) >= min(3, len(left))


def test_the_seed_matters(all_offers: Any) -> None:
    empty = Digest(1, 63, all_offers, ())
    assert OfflineProposer(1).propose(empty, 3) != OfflineProposer(2).propose(empty, 3)


def test_it_refines_a_promising_row_where_it_was_strongest(all_offers: Any) -> None:
    offer = next(o for o in all_offers if o.test == "axis_separation")
    view = f"{offer.layers[-1]}·{offer.coordinates[-1]}"
    row = SeenRow("H0001", offer.test, offer.family, offer.annotation, "all", "all", "ok", 0.01, 0.4, 0.5, view, None)
    (refined,) = [p for p in OfflineProposer(0).propose(Digest(2, 63, all_offers, (row,)), 3) if p.move == "refine"]
    assert (refined.parent, refined.layers, refined.direction) == ("H0001", offer.layers[-1], "less")
    weak = replace(row, p_scan=0.051)
    assert not [p for p in OfflineProposer(0).propose(Digest(2, 63, all_offers, (weak,)), 3) if p.move == "refine"]


def test_every_claim_reads_as_words(all_offers: Any) -> None:
    said = OfflineProposer(0).propose(Digest(1, 63, all_offers, ()), len(all_offers))
    assert len(said) == len(all_offers)
    assert all(p.annotation.replace("_", " ") in p.claim and "{" not in p.claim for p in said)


def digest_of(ledger: Ledger, all_offers: Any) -> Digest:
    tested = {t.id: t for t in ledger.records(rec.Tested)}
    return make_digest(5, 9, all_offers, ledger.records(rec.Registered), tested)


def test_equal_ledgers_give_equal_bytes(finished: Any, copied: Any, all_offers: Any) -> None:
    with Ledger.open_readonly(copied / "runs.db") as copy:
        one, two = digest_of(finished.ledger, all_offers), digest_of(copy, all_offers)
    assert canonical_json(one.to_json()) == canonical_json(two.to_json())
    assert one.sha256 == two.sha256
    assert len(one.rows) == 12
    fewer = replace(one, rows=one.rows[:-1])
    assert fewer.sha256 != one.sha256


def test_a_row_without_a_result_is_not_shown(finished: Any, all_offers: Any) -> None:
    registered = finished.ledger.records(rec.Registered)
    tested = {t.id: t for t in finished.ledger.records(rec.Tested)[:3]}
    assert [r.id for r in make_digest(2, 9, all_offers, registered, tested).rows] == ["H0001", "H0002", "H0003"]
