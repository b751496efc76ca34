"""A run that asks a model: it works, what it froze and spent is recorded, and its answers can be read again without a server."""

import json
import socket
from typing import Any

import pytest

from hyposcreen.agent.errors import Exit, UserError
from hyposcreen.agent.ledger.records import (
    Completion,
    ProposerOpened,
    Registered,
    RunClosed,
    RunOpened,
    Tested,
)
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.ledger.verify import verify


def good(server: Any) -> Any:
    return server.Scripted(lambda number, body: server.completion(server.sensible(body)))


def test_a_run_asks_once_an_iteration_and_its_rows_say_who_spoke(ask: Any, server: Any) -> None:
    with good(server) as scripted:
        ledger = ask("good", scripted)
    assert verify(ledger.path).ok and ledger.records(RunClosed)
    assert [c.outcome for c in ledger.records(Completion)] == ["ok", "ok"]
    assert len(scripted.requests) == 2
    (opened,) = ledger.records(ProposerOpened)
    assert opened.model == "m" and set(opened.prompts) == {"system", "propose", "repair"}
    rows = ledger.rows()
    assert len(rows) == 6 and {r.proposer for r in rows} == {"openai"}
    assert all(r.proposal_source["model"] == "scripted-1" and len(r.proposal_source["prompts"]) == 64 for r in rows)
    completion = ledger.records(Completion)[0]
    assert (completion.tokens_prompt, completion.tokens_completion) == (1000, 200)
    assert (completion.tokens_cached, completion.tokens_reasoning) == (400, 50)
    assert (completion.fingerprint, completion.request_id, completion.status) == ("fp_1", "req_1", 200)
    assert json.loads(completion.request) == scripted.bodies[0]


def test_a_recorded_run_reaches_the_same_content_head_with_no_server(
    ask: Any, server: Any, fresh: Any, small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(number: int, body: dict[str, Any]) -> Any:
        if number in (0, 3):
            return server.error(503, "busy")
        return server.completion("no json at all" if number == 1 else server.sensible(body))

    with server.Scripted(answer) as scripted:
        first = ask("asked", scripted, iterations=3)
    outcomes = [c.outcome for c in first.records(Completion)]
    assert outcomes == ["server_error", "invalid_json", "ok", "server_error", "ok", "ok"]
    assert len(scripted.requests) == 6
    monkeypatch.delenv("OPENAI_API_KEY")
    folder = fresh("again", proposer="recorded", recording="../asked")
    small.run_campaign_in_process(folder)  # the server is closed
    again = Ledger.open_readonly(folder / "runs.db")
    assert again.head().content_hash == first.head().content_hash
    assert [c.outcome for c in again.records(Completion)] == outcomes
    assert {c.served for c in again.records(Completion)} == {"recorded"}
    assert sum(c.charged_tokens for c in again.records(Completion)) == 0
    assert verify(again.path).ok
    third = fresh("third", proposer="recorded", recording="../again")
    small.run_campaign_in_process(third)
    assert Ledger.open_readonly(third / "runs.db").head().content_hash == first.head().content_hash


def test_what_a_recording_does_not_hold_is_named(ask: Any, server: Any, fresh: Any, small: Any) -> None:
    with good(server) as scripted:
        first = ask("asked", scripted)
    other = fresh("other", proposer="recorded", recording="../asked")
    (other / "prompts").mkdir()
    (other / "prompts" / "system.md.j2").write_text("Answer in JSON.")
    with pytest.raises(UserError) as missed:
        small.run_campaign_in_process(other)
    assert "holds no answer to request" in str(missed.value) and "iteration 1" in str(missed.value)
    assert missed.value.code == Exit.INPUTS
    fewer = fresh("fewer", proposer="recorded", recording="../asked")
    few = [a for a in small.demo_annotations() if a.name in ("t_cells", "tf_targets")]
    small.write_annotations(fewer / "labels", few)
    with pytest.raises(UserError, match="annotations"):
        small.run_campaign_in_process(fewer)
    assert not (fewer / "runs.db").exists() and first.records(RunOpened)


def test_every_hypothesis_has_a_result_when_a_third_of_the_calls_fail(
    ask: Any, server: Any, fresh: Any, small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``benchmarks/model_run.py`` does the same over 63 iterations of the demo."""
    unreliable = server.Unreliable(7)
    with server.Scripted(unreliable) as scripted:
        ledger = ask("third", scripted, iterations=6, answer_seconds=1.0)
    registered = ledger.records(Registered)
    assert {h.id for h in registered} == {t.id for t in ledger.records(Tested)}
    assert len({h.novelty_sha256 for h in registered}) == len(registered) > 9
    completions = ledger.records(Completion)
    assert len(completions) == len(scripted.requests) == sum(unreliable.drawn.values())
    assert sum(c.outcome == "ok" for c in completions) >= unreliable.drawn["answered"] > 0
    assert len(unreliable.drawn) > 4, "several kinds of fault were met"
    assert verify(ledger.path).ok and ledger.records(RunClosed)
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setattr(socket, "create_connection", _refused)
    monkeypatch.setattr(socket.socket, "connect", _refused)
    again = fresh("again", proposer="recorded", recording="../third")
    small.run_campaign_in_process(again)
    assert Ledger.open_readonly(again / "runs.db").head().content_hash == ledger.head().content_hash


def _refused(*_: Any, **__: Any) -> None:
    raise OSError("the network is closed")
