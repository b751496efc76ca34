"""Every way a server can fail, over real HTTP: each attempt has its outcome in the ledger, and the slots are always filled."""

import json
from typing import Any

import pytest

from hyposcreen.agent.digest import Digest, Notes, Offer, SeenRow
from hyposcreen.agent.errors import Exit, UserError
from hyposcreen.agent.ledger.records import Completion, RunOpened
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.llm.answers import read, schema
from hyposcreen.agent.llm.attempts import MAX_BYTES, OpenAISender, server_name
from hyposcreen.agent.llm.completions import Completions
from hyposcreen.agent.llm.openai_chat import MAX_ATTEMPTS, SILENT_ITERATIONS, OpenAIProposer, Settings
from hyposcreen.agent.llm.portfolio import Rules
from hyposcreen.agent.llm.spending import Budget, Prices, spend_facts
from hyposcreen.agent.sandbox.process import worker_environment
from hyposcreen.prompts import load

KEY = "sk-test-0123456789abcdef"
VIEWS = ("all", "early", "L0", "L1")
NAMES = ("t_cells", "b_cells", "monocytes", "secreted")
OFFERS = tuple(
    Offer(test, family, name, 12, VIEWS, ("all",))
    for name in NAMES
    for test, family in (("cohesion", "geometry"), ("effective_dimension", "spectrum"), ("axis_separation", "axis"))
)
RUN = RunOpened(
    1, 5, 2, "openai", 0.05, 0.025, 0.025, 99, 199, 4, 0.05, {"name": "c", "digest": "c"}, (), {"digest": "d"},
    {"digest": "u"}, "0",
)  # fmt: skip


def digest(iteration: int = 1, rows: tuple[SeenRow, ...] = ()) -> Digest:
    return Digest(iteration, 5, OFFERS, rows, Notes({}, {}, ()))


@pytest.fixture
def ledger(tmp_path: Any) -> Ledger:
    made = Ledger.create(tmp_path / "runs.db")
    made.append(RUN)
    return made


def proposer(ledger: Ledger, url: str, budget: Budget | None = None, seconds: float = 5.0) -> OpenAIProposer:
    sender = OpenAISender(url, seconds)
    return OpenAIProposer(Settings("m", 500, 2000), load(), Completions(ledger), 1, budget or Budget(), sender)


def outcomes(ledger: Ledger) -> list[str]:
    return [c.outcome for c in ledger.records(Completion)]


def two(server: Any, **changes: Any) -> str:
    items = [server.hypothesis("cohesion", "t_cells", **changes), server.hypothesis("axis_separation", "b_cells")]
    return json.dumps({"hypotheses": items})


def faults(server: Any) -> dict[str, tuple[Any, list[str], int]]:
    """Name → the first answers (a good one follows), the outcomes of all attempts, the model's slots of two."""
    c, e = server.completion, server.error
    good = two(server)
    return {
        "refusal": ([c(None, refusal="I cannot")], ["refused"], 0),
        "truncation": ([c(good[:40], "length")], ["truncated", "ok"], 2),
        "content filter": ([c(None, "content_filter")], ["filtered"], 0),
        "no text": ([c("")], ["empty", "ok"], 2),
        "no choice": ([server.Act(body=b'{"choices": []}')], ["empty", "ok"], 2),
        "choices of a wrong type": ([server.Act(body=b'{"choices": 7}')], ["empty", "ok"], 2),
        "prose": ([c("Gladly! T cells are nice.")], ["invalid_json", "ok"], 2),
        "prose twice": ([c("Gladly!"), c("Again!")], ["invalid_json", "invalid_json"], 0),
        "one of two is wrong, twice": (
            [c(two(server, layers="L99")), c(two(server, layers="L98"))], ["invalid_schema", "invalid_schema"], 1,
        ),
        "no list": ([c('{"hypotheses": 3}')], ["invalid_schema", "ok"], 2),
        "too few": ([c('{"hypotheses": []}')], ["invalid_schema", "ok"], 2),
        "a fence that was not asked for": ([c(f"Here:\n```json\n{good}\n```\nDone.")], ["ok"], 2),
        "reset": ([server.Act(reset=True)], ["transport_error", "ok"], 2),
        "cut in the middle": ([server.Act(body=c(good).body, cut=50)], ["transport_error", "ok"], 2),
        "a page instead of JSON": ([server.Act(body=b"<html>hello</html>")], ["transport_error", "ok"], 2),
        "busy": ([e(429, "slow down", retry_after="7")], ["rate_limited", "ok"], 2),
        "broken": ([e(500, "x"), e(503, "y")], ["server_error", "server_error", "ok"], 2),
        "broken for good": ([e(502, "x")] * MAX_ATTEMPTS, ["server_error"] * MAX_ATTEMPTS, 0),
        "knows no schema": ([e(400, "response_format json_schema is not supported")], ["unsupported", "ok"], 2),
        "knows no form": ([e(400, "response_format"), e(422, "response_format")], ["unsupported"] * 2 + ["ok"], 2),
        "wants the other limit": ([e(400, "use max_completion_tokens instead of max_tokens")], ["unsupported", "ok"], 2),
        "usage is missing": ([c(good, usage=None)], ["ok"], 2),
        "usage is nonsense": ([c(good, usage={"prompt_tokens": -5, "completion_tokens": "x"})], ["ok"], 2),
        "too large": ([server.Act(body=b" " * (MAX_BYTES + 1))], ["oversized"], 0),
    }  # fmt: skip


def test_each_fault_has_its_outcome_and_the_slots_are_filled(
    tmp_path: Any, server: Any, no_waiting: list[float]
) -> None:
    waiting: list[Any] = []
    with server.Scripted(lambda *_: waiting.pop(0) if waiting else server.completion(two(server))) as scripted:
        sender = OpenAISender(scripted.url, 5.0)  # one client: making one costs more than all that it sends here
        for place, (name, (acts, expected, from_model)) in enumerate(faults(server).items()):
            ledger = Ledger.create(tmp_path / f"{place}.db")
            ledger.append(RUN)
            waiting[:] = acts
            asked = OpenAIProposer(Settings("m", 500, 2000), load(), Completions(ledger), 1, Budget(), sender)
            answered = asked.propose(digest(), 2)
            said = [s for s in answered if s.refusal is None]
            refused = [s.refusal.reason for s in answered if s.refusal is not None]
            assert refused == ["outside_grammar"] * 2 * ("one of two" in name), name
            assert outcomes(ledger) == expected, name
            assert [s.by for s in said] == ["openai"] * from_model + ["offline"] * (2 - from_model), name
            assert len({(s.proposal.test, s.proposal.annotation, s.proposal.layers) for s in said}) == 2, name
            for s in said[from_model:]:
                assert (s.source["filled_for"], s.source["reason"]) == ("openai", expected[-1]), name
            if "usage" in name:
                (kept,) = ledger.records(Completion)
                assert kept.tokens_prompt is None and kept.tokens_completion is None and kept.charged_tokens > 300
    assert 7.0 in no_waiting and max(no_waiting) <= 60


def test_the_rung_is_remembered_and_the_request_changes(ledger: Ledger, server: Any) -> None:
    def answer(number: int, body: Any) -> Any:
        return (
            server.error(400, "no response_format here")
            if "response_format" in body
            else server.completion(two(server))
        )

    with server.Scripted(answer) as scripted:
        proposer(ledger, scripted.url).propose(digest(1), 2)
        proposer(ledger, scripted.url).propose(digest(2), 2)  # another process, later
    assert outcomes(ledger) == ["unsupported", "unsupported", "ok", "ok"]
    forms = [b.get("response_format", {}).get("type") for b in scripted.bodies]
    assert forms == ["json_schema", "json_object", None, None]


def test_a_killed_run_does_not_ask_again_for_what_it_was_told(ledger: Ledger, server: Any) -> None:
    acts = [server.error(500, "x"), server.completion("prose"), server.completion(two(server))]
    with server.Scripted(lambda number, body: acts[number]) as scripted:
        first = proposer(ledger, scripted.url).propose(digest(), 2)
        again = proposer(ledger, scripted.url).propose(digest(), 2)  # nothing was registered: the run goes on here
    assert again == first and len(scripted.requests) == 3 == len(outcomes(ledger))


@pytest.mark.parametrize(
    ("status", "text"), [(401, f"Incorrect API key provided: {KEY}"), (404, "no such model"), (403, "no")]
)
def test_what_no_retry_mends_stops_the_run_and_is_asked_again_later(
    ledger: Ledger, server: Any, status: int, text: str
) -> None:
    acts = [server.error(status, text), server.completion(two(server))]
    with server.Scripted(lambda number, body: acts[number]) as scripted:
        with pytest.raises(UserError) as stopped:
            proposer(ledger, scripted.url).propose(digest(), 2)
        assert (
            stopped.value.code == Exit.FAILURE and str(status) in str(stopped.value) and KEY not in str(stopped.value)
        )
        assert len(proposer(ledger, scripted.url).propose(digest(), 2)) == 2
    assert outcomes(ledger) == ["denied", "ok"]


def test_a_model_that_is_never_heard_stops_the_run(ledger: Ledger, server: Any) -> None:
    with server.Scripted(lambda number, body: server.error(503, "x")) as scripted:
        asked = proposer(ledger, scripted.url)
        for iteration in range(1, SILENT_ITERATIONS):
            assert {s.by for s in asked.propose(digest(iteration), 2)} == {"offline"}
        with pytest.raises(UserError, match="no answer in 3 iterations"):
            asked.propose(digest(SILENT_ITERATIONS), 2)


def test_a_server_that_drips_is_left(ledger: Ledger, server: Any) -> None:
    act = server.Act(body=server.completion(two(server)).body, drip=0.05)
    acts = [act, server.completion(two(server))]
    with server.Scripted(lambda number, body: acts[number]) as scripted:
        proposer(ledger, scripted.url, seconds=0.5).propose(digest(), 2)
    assert outcomes(ledger)[0] == "timeout" and outcomes(ledger)[-1] == "ok"


def test_the_key_is_sent_and_kept_nowhere(tmp_path: Any, ledger: Ledger, server: Any) -> None:
    acts = [server.error(500, f"Bearer {KEY}"), server.completion(KEY), server.completion(two(server, claim=KEY))]
    with server.Scripted(lambda number, body: acts[number]) as scripted:
        proposer(ledger, scripted.url).propose(digest(), 2)
    assert {{k.lower(): v for k, v in h.items()}["authorization"] for _, h, _ in scripted.requests} == {f"Bearer {KEY}"}
    assert KEY not in json.dumps([c.to_content() for c in ledger.records(Completion)])
    assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.iterdir())
    assert not any("KEY" in name or KEY in value for name, value in worker_environment(1).items())
    for url in ("http://user:secret@127.0.0.1/v1", "http://127.0.0.1/v1?key=secret"):
        with pytest.raises(UserError) as refused:
            server_name(url)
        assert "secret" not in str(refused.value)


def test_no_key_and_no_address_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UserError, match="OPENAI_API_KEY is not set"):
        OpenAISender("", 5.0, {})


@pytest.mark.parametrize("kind", ["tokens", "dollars"])
def test_a_budget_is_never_crossed_and_stops_with_six(ledger: Ledger, server: Any, kind: str) -> None:
    prices = Prices(prompt=10.0, completion=20.0, cached=5.0)
    budget = Budget(max_tokens=6000) if kind == "tokens" else Budget(max_usd=0.06, prices={"m": prices})
    with server.Scripted(lambda number, body: server.completion(two(server))) as scripted:
        asked = proposer(ledger, scripted.url, budget)
        with pytest.raises(UserError, match="Go on with: screen run") as stopped:
            for iteration in range(1, 30):
                asked.propose(digest(iteration), 2)
    assert stopped.value.code == Exit.BUDGET and 1 <= len(scripted.requests) < 10
    spent = spend_facts(ledger.records(Completion), ())
    assert spent is not None and spent["charged_tokens"] == 1200 * len(scripted.requests) <= 6000
    if kind == "dollars":
        each = (600 * 10 + 400 * 5 + 200 * 20) / 1e6
        assert spent["charged_usd"] == pytest.approx(each * len(scripted.requests)) and spent["charged_usd"] <= 0.06


def test_waits_grow_and_depend_on_the_seed_alone(tmp_path: Any, server: Any, no_waiting: list[float]) -> None:
    seen = []
    for name in ("a", "b"):
        ledger = Ledger.create(tmp_path / f"{name}.db")
        ledger.append(RUN)
        no_waiting.clear()
        with server.Scripted(lambda number, body: server.error(500, "x")) as scripted:
            proposer(ledger, scripted.url).propose(digest(), 2)
        seen.append(list(no_waiting))
    assert seen[0] == seen[1] and len(seen[0]) == MAX_ATTEMPTS - 1
    assert all(0.5 * 2**n <= wait <= 2**n for n, wait in enumerate(seen[0]))


def hostile(server: Any) -> dict[str, str]:
    one = server.hypothesis
    return {
        "asks for files": json.dumps({"hypotheses": [one("cohesion", "../../etc/passwd"), one("open('/etc')", "t_cells")]}),
        "invents sets": json.dumps({"hypotheses": [one("cohesion", "my_genes"), one("my_test", "t_cells")]}),
        "a megabyte": "x" * 1_000_000,
        "a megabyte of braces": '{"a":' * 200_000,
        "control characters": json.dumps({"hypotheses": [one("cohesion\x00", "t_cells\x1b[2J"), one("\ud800", "t_cells")]}),
        "wrong types": json.dumps({"hypotheses": [one("cohesion", "t_cells", prior=True, claim=[1])]}),
        "not finite": json.dumps({"hypotheses": [one("cohesion", "t_cells", prior=float("nan"))]}),
        "more keys": json.dumps({"hypotheses": [one("cohesion", "t_cells", genes=["CD3E"])]}),
        "a number of 5,000 digits": json.dumps({"hypotheses": [one("cohesion", "t_cells")]}).replace("0.25", "9" * 5000),
    }  # fmt: skip


def test_a_hostile_answer_becomes_errors_and_never_a_proposal(server: Any) -> None:
    for name, text in hostile(server).items():
        reading = read(text, Rules(digest()), 2)
        assert reading.good == (), name
        assert reading.errors and all(e.isprintable() and len(e) < 2500 for e in reading.errors), name


def test_ten_thousand_hypotheses_are_two_and_a_repetition_is_named(server: Any) -> None:
    items = [server.hypothesis(o.test, o.annotation, layers=q) for o in OFFERS for q in VIEWS]
    asked = [items[0] | {"bet": "cheap"}, *items[4:5], *items * 220]
    many = read(json.dumps({"hypotheses": asked}), Rules(digest()), 2)
    assert len(many.good) == 2 and not many.errors
    ((_, surplus),) = many.refused
    assert surplus.reason == "surplus" and str(len(asked)) in surplus.detail
    same = read(json.dumps({"hypotheses": [items[0], items[0]]}), Rules(digest()), 2)
    assert len(same.good) == 1 and "hypothesis 2: it asks what hypothesis 1 asks" in same.errors
    row = SeenRow("H0001", "cohesion", "geometry", "t_cells", "all", "all", "ok", 0.1, 1.0, 0.5, "L0·cosine", None)
    told = read(json.dumps({"hypotheses": items[:1]}), Rules(digest(2, (row,))), 1)
    assert told.good == () and "H0001" in told.errors[0]


def test_prose_of_a_model_is_cut_and_printable(server: Any) -> None:
    nasty = "\x1b[31mred\x00\u202e\ud83d" + "y" * 1_000_000
    reading = read(
        json.dumps({"hypotheses": [server.hypothesis("cohesion", "t_cells", claim=nasty)]}), Rules(digest()), 1
    )
    (proposal,) = (c.proposal for c in reading.good)
    assert proposal.claim.isprintable() and len(proposal.claim) <= 2000


def test_the_schema_is_flat_and_every_field_required_and_nullable() -> None:
    made = schema(digest())
    item = made["properties"]["hypotheses"]["items"]
    assert item["required"] == list(item["properties"]) and item["additionalProperties"] is False
    for name, field in item["properties"].items():
        assert field["type"][1] == "null" and set(field) <= {"type", "enum"}, name
        assert "enum" not in field or field["enum"][-1] is None
    assert item["properties"]["annotation"]["enum"] == [*NAMES, None]
