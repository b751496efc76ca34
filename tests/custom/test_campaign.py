"""A campaign whose model writes statistics: honest ones become rows like any other, broken ones are mended or refused."""

import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hyposcreen.agent.custom.codes import as_shown
from hyposcreen.agent.ledger.provenance import Artifact
from hyposcreen.agent.ledger.records import (
    AttemptEnded,
    Completion,
    LookResult,
    Proposed,
    ProposerOpened,
    Registered,
    Rejected,
    RunClosed,
    Tested,
)
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.ledger.verify import verify
from hyposcreen.agent.report.model import page_json
from hyposcreen.agent.report.source import report_data
from hyposcreen.hypotheses.canonical import sha256_text

pytestmark = pytest.mark.usefixtures("confined")
NAME = "custom_statistic"


def of_models(ledger: Ledger) -> dict[str, tuple[Registered, Tested]]:
    """sha256 of the code → its row and result."""
    tested = {t.id: t for t in ledger.records(Tested)}
    return {h.spec["code"]: (h, tested[h.id]) for h in ledger.records(Registered) if h.test == NAME}


def test_an_honest_statistic_is_registered_before_it_is_tested_and_looked_at_by_route_h_alone(
    run_with: Any, server: Any, author: Any, statistics: Any
) -> None:
    code = statistics.HONEST["distance of means"]
    model = author.Author(server, lambda n: [author.item(code, "b_cells", "L2")] if n == 1 else [])
    with server.Scripted(model) as scripted:
        ledger = run_with("honest", scripted, promote_p=1.0, max_promoted=9)
    assert verify(ledger.path).ok and ledger.records(RunClosed)
    row, tested = of_models(ledger)[sha256_text(code)]
    assert row.spec["layers"] == "L2" and row.spec["nulls"] == ["gene_label", "stratified", "family_block"]
    assert tested.status == "ok" and tested.m == 99 and set(tested.companions) == set(row.spec["nulls"])
    order = [e.kind for e in ledger.entries() if e.kind in ("registration", "artifact", "result")]
    assert order.index("artifact") < order.index("registration") < order.index("result")
    (look,) = [r for r in ledger.records(LookResult) if r.id == row.id]
    assert (look.route, look.status, look.m) == ("H", "ok", 199)
    rows_of_list = {r.id for r in ledger.records(LookResult) if r.route == "H" and r.status != "untestable"}
    assert look.weight == 1 / len(rows_of_list) and look.p_adj == min(1.0, look.p / look.weight)
    (said,) = [p for p in ledger.records(Proposed) if p.proposal.get("test") == NAME]
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
    assert set(of_models(ledger)) == {sha256_text(bad.mended)}
    assert [c.turn for c in ledger.records(Completion) if c.iteration == 1] == ["propose", "rehearsal"]
    assert all(c.charged_tokens > 0 for c in ledger.records(Completion))
    assert verify(ledger.path).ok


def test_a_campaign_of_which_a_third_is_broken_or_hostile(
    run_with: Any, server: Any, author: Any, statistics: Any, host: Any, call: Any, fresh: Any, small: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """``benchmarks/custom_campaign.py`` does the same over 63 iterations of the demo."""
    monkeypatch.setenv("A_KEY_OF_THE_PARENT", "sk-nobody-may-see-this")
    bad, two, honest = statistics.BAD, statistics.TWO_FACED, statistics.HONEST
    plan = [
        (bad["network"].code, bad["syntax"].code), (honest["norms"], two["exception"]), (bad["fork"].code, two["segv"]),
        (honest["spread"], bad["the environment"].code), (two["nonfinite"], honest["cohesion"]),
        (bad["call counter"].code, honest["spread"] + "# again, in other words\n"),
    ]  # fmt: skip
    sets = ("b_cells", "t_cells")
    written = {
        n: [author.item(host.aimed(c), s) for c, s in zip(pair, sets, strict=True)] for n, pair in enumerate(plan, 1)
    }
    mends = {b.code: b.mended for b in bad.values() if b.mended}
    model = author.Author(server, lambda n: written.get(n, []), lambda code: mends.get(code, code))
    with server.Scripted(model) as scripted:
        ledger = run_with("mixed", scripted, iterations=6, per_iteration=4, timeout_seconds=20.0)
    folder = Path(ledger.path).parent
    assert verify(ledger.path).ok and ledger.records(RunClosed) and host.harm() == []
    found = of_models(ledger)
    ends = {name: found[sha256_text(host.aimed(two[name]))][1] for name in ("exception", "segv", "nonfinite")}
    for name, tested in ends.items():
        assert (tested.status, tested.p_scan, tested.reason.split(":")[0]) == ("failed", 1.0, name)
    reasons = Counter(r.reason for r in ledger.records(Rejected))
    assert {"rehearsal:exception", "rehearsal:nondeterministic"} <= set(reasons)
    assert sha256_text(bad["syntax"].mended) in found and sha256_text(honest["norms"]) in found
    told = "\n".join(str(body) for body in scripted.bodies)
    labels = next(a.detail for a in ledger.records(AttemptEnded) if a.outcome == "exception")
    assert "RuntimeError: seen on real data" in labels
    assert "RuntimeError: seen on real data" not in told, "what real data made the code say stays here"
    everything = b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file()) + told.encode()
    for entry in ledger.entries():
        everything += f"{entry.content}{entry.context}".encode()
    everything += "".join(a.text() for a in ledger.records(Artifact)).encode()
    for secret in (b"sk-nobody-may-see-this", ledger.records(ProposerOpened)[0].blinding.encode()):
        assert (secret in everything) == (secret != b"sk-nobody-may-see-this")
        assert secret not in told.encode()
    done = call("replay", "--all", "--project", folder, "--quiet", "--json")
    assert done.code == 0 and {r["outcome"] for r in done.json} == {"identical"}
    monkeypatch.setattr(socket, "create_connection", None)
    again = fresh("again", proposer="recorded", recording="../mixed", timeout_seconds=20.0)
    small.run_campaign_in_process(again)
    assert Ledger.open_readonly(again / "runs.db").head().content_hash == ledger.head().content_hash


def test_values_that_say_the_same_again_are_flagged_and_the_same_code_is_refused(
    run_with: Any, server: Any, author: Any, statistics: Any, call: Any
) -> None:
    code = statistics.HONEST["cohesion"]
    other = code.replace("return ((", "return 3.0 + 2.0 * ((") + "# \x1b[2J\u202e <script>\n"
    written = {1: code, 2: other, 3: code}
    model = author.Author(server, lambda n: [author.item(written[n], "b_cells", claim=f"attempt {n}")])
    with server.Scripted(model) as scripted:
        ledger = run_with("again", scripted, iterations=3)
    first, second = (of_models(ledger)[sha256_text(c)] for c in (code, other))
    assert not any("says the same again" in n for n in first[1].checks["notes"])
    assert any(f"nearly those of {first[0].id}" in n for n in second[1].checks["notes"])
    assert first[1].k == second[1].k, "the same draws, whatever the code"
    assert [r.reason for r in ledger.records(Rejected) if r.iteration == 3] == ["duplicate"]
    shown = call("ledger", "show", second[0].id, "--project", Path(ledger.path).parent)
    assert sha256_text(other) in shown.out and "return 3.0 + 2.0 * ((total" in shown.out
    assert "\x1b" not in shown.out and "\\x1b[2J\\u202e <script>" in shown.out
    assert call("ledger", "show", second[0].id, "--project", Path(ledger.path).parent, "--json").json["code"] == other
    assert page_json(report_data(ledger))["codes"][sha256_text(other)] == as_shown(other)


def test_without_the_flag_code_is_refused_by_type_and_the_model_is_told(
    run_with: Any, server: Any, author: Any, statistics: Any
) -> None:
    mine = [author.item(statistics.HONEST["norms"], "b_cells")]
    asked: list[str] = []

    def answer(number: int, body: dict[str, Any]) -> Any:
        asked.append(body["messages"][-1]["content"])
        return author.Author(server, lambda _: mine)(number, {**body, "messages": body["messages"][:2]})

    with server.Scripted(answer) as scripted:
        ledger = run_with("without", scripted, iterations=1, allow_code=False)
    assert not of_models(ledger) and not ledger.records(ProposerOpened)[0].allow_code
    assert "code_not_allowed" in {r.reason for r in ledger.records(Rejected)}
    assert "a run that does is opened with --allow-code" in asked[1]


def test_where_nothing_confines_code_is_refused_with_the_mend_and_library_tests_go_on(
    run_with: Any, server: Any, author: Any, statistics: Any
) -> None:
    model = author.Author(server, lambda n: [author.item(statistics.HONEST["norms"], "b_cells")] if n == 1 else [])
    with server.Scripted(model) as scripted:
        ledger = run_with("nowhere", scripted, sandbox="none")
    assert not of_models(ledger) and ledger.records(RunClosed) and len(ledger.records(Tested)) == 6
    (refused,) = [r for r in ledger.records(Rejected) if r.reason == "sandbox_unavailable"]
    assert "use --sandbox auto" in refused.detail
