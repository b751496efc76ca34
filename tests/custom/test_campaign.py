"""A campaign whose model writes statistics: honest ones become rows like any other, broken ones are mended or refused."""

from typing import Any

import pytest

from hyposcreen.agent.ledger.provenance import Artifact
from hyposcreen.agent.ledger.records import Completion, LookResult, Proposed, Registered, RunClosed, Tested
from hyposcreen.agent.ledger.verify import verify
from hyposcreen.hypotheses.canonical import sha256_text

pytestmark = pytest.mark.usefixtures("confined")


def test_an_honest_statistic_is_registered_before_it_is_tested_and_confirmed_by_route_h_alone(
    run_with: Any, server: Any, author: Any, statistics: Any
) -> None:
    code = statistics.HONEST["distance of means"]
    model = author.Author(server, lambda n: [author.item(code, "b_cells", "L2")] if n == 1 else [])
    with server.Scripted(model) as scripted:
        ledger = run_with("honest", scripted)
    assert verify(ledger.path).ok and ledger.records(RunClosed)
    (row,) = [h for h in ledger.records(Registered) if h.test == "custom_statistic"]
    assert row.spec["code"] == sha256_text(code) and row.spec["layers"] == "L2"
    assert row.spec["nulls"] == ["gene_label", "stratified", "family_block"]
    (tested,) = [t for t in ledger.records(Tested) if t.id == row.id]
    assert tested.status == "ok" and tested.m == 99 and set(tested.companions) == set(row.spec["nulls"])
    order = [e.kind for e in ledger.entries() if e.kind in ("registration", "artifact", "result")]
    assert order.index("artifact") < order.index("registration") < order.index("result")
    assert {a.name for a in ledger.records(Artifact)} >= {"statistic", "rehearsal"}
    assert {r.route for r in ledger.records(LookResult) if r.id == row.id} <= {"H"}
    (said,) = [p for p in ledger.records(Proposed) if p.proposal.get("test") == "custom_statistic"]
    assert said.source["rehearsal"]["repairs"] == 0
    planted, null = said.source["rehearsal"]["trials"]
    assert planted["k"] == 0 and null["k"] > 5


def test_a_broken_statistic_is_mended_by_its_author_who_sees_all_it_printed(
    run_with: Any, server: Any, author: Any, statistics: Any
) -> None:
    bad = statistics.BAD["exception"]
    model = author.Author(server, lambda n: [author.item(bad.code, "t_cells")] if n == 1 else [], lambda _: bad.mended)
    with server.Scripted(model) as scripted:
        ledger = run_with("mended", scripted)
    assert len(model.repairs) == 1 and "NameError: name 'undefined' is not defined" in model.repairs[0]
    (row,) = [h for h in ledger.records(Registered) if h.test == "custom_statistic"]
    assert row.spec["code"] == sha256_text(bad.mended)
    turns = [c.turn for c in ledger.records(Completion) if c.iteration == 1]
    assert turns == ["propose", "rehearsal"]
    assert all(c.charged_tokens > 0 for c in ledger.records(Completion))
    assert verify(ledger.path).ok
