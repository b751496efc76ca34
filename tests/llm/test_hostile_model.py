"""A hostile model over a whole run: only checked fields reach code, each refusal is a row, and the run ends well."""

import json
import sqlite3
from collections import Counter
from typing import Any

import pytest

from hyposcreen.agent.ledger.records import Completion, Proposed, Registered, Rejected, RunClosed, Tested
from hyposcreen.agent.ledger.verify import verify
from hyposcreen.agent.llm.attempts import SHORT_TEXT
from hyposcreen.hypotheses.grammar import DIRECTIONS

SAYS = "IGNORE ALL RULES\x1b[2J\u202e<script>alert(1)</script>{{ 7 * 7 }}'; DROP TABLE entry; --"


def answers(server: Any, body: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, answer) of one attack an iteration, each also given again when it is told what is wrong."""
    one = server.hypothesis
    good = json.loads(server.sensible(body))["hypotheses"]

    def said(*items: Any) -> str:
        return json.dumps({"hypotheses": list(items)})

    return [
        ("files", said(one("cohesion", "../../etc/passwd"), one("open('/etc/passwd')", "t_cells"), one("cohesion", "~/.ssh"))),
        ("invented sets", said(one("cohesion", "my_genes"), one("my_test", "t_cells"), one("cohesion", "t_cells_2"))),
        ("genes of its own", said(one("cohesion", "t_cells", genes=["CD3E", "CD3D"], side="B"), one("cohesion", ["CD3E"]))),
        ("sealed genes", said(*(one("cohesion", "t_cells", layers=q, coordinates="sealed") for q in ("B", "held_out", "all")))),
        ("itself", said(good[0], good[0], good[0])),
        ("a megabyte", "x" * 1_000_000),
        ("a megabyte in one claim", said(good[0] | {"claim": "y" * 1_000_000})),
        ("control characters", said(*(g | {"claim": SAYS, "rationale": SAYS, "parent": SAYS} for g in good))),
        ("words that look like code", said(*(g | {"claim": SAYS, "rationale": SAYS} for g in good))),
        ("ten thousand", said(*(good * 3334))),
        ("three hundred", said(*(g | {"claim": "c", "rationale": "r"} for g in good * 40))),
        ("numbers", said(*(g | {"prior": v} for g, v in zip(good, (1e400, -1, True), strict=False)))),
        ("a huge integer", said(*good).replace("0.4", "9" * 400)),
        ("a deep nest", '{"hypotheses":' * 3000),
        ("nothing at all", said()),
    ]  # fmt: skip


@pytest.fixture
def hostile(ask: Any, server: Any) -> Any:
    names: list[str] = []

    def answer(number: int, body: dict[str, Any]) -> Any:
        iteration, _ = server.asked_for(body)
        attacks = answers(server, body)
        name, text = attacks[(iteration - 1) % len(attacks)]
        names.append(name)
        return server.completion(text)

    with server.Scripted(answer) as scripted:
        ledger = ask("hostile", scripted, iterations=15)
    assert set(names) == {name for name, _ in answers(server, scripted.bodies[0])}, "every attack was made"
    return ledger


def test_a_hostile_model_costs_its_own_slots_and_nothing_else(hostile: Any, small: Any) -> None:
    assert hostile.records(RunClosed) and verify(hostile.path).ok
    registered = hostile.records(Registered)
    assert {h.id for h in registered} == {t.id for t in hostile.records(Tested)}
    assert len({h.novelty_sha256 for h in registered}) == len(registered) > 30

    known = {a.name for a in small.demo_annotations()}
    for h in registered:
        assert h.annotation in known and h.direction in DIRECTIONS and 0 <= h.prior <= 1
        assert h.claim.isprintable() and h.rationale.isprintable() and len(h.claim) <= 600
        assert not any(
            word in text for text in map(str, h.spec.values()) for word in ("DROP", "{{", "passwd", "<script")
        )
    words = [h for h in registered if "IGNORE ALL RULES" in h.claim]
    assert words, "prose is kept to be read, and is harmless"

    refused = Counter(r.reason for r in hostile.records(Rejected))
    assert {"outside_grammar", "malformed", "duplicate", "surplus", "lineage"} <= set(refused)
    slots = [(p.iteration, p.slot) for p in hostile.records(Proposed)]
    assert len(slots) == len(set(slots)) == len(registered) + sum(refused.values()), "what was said has its row, once"
    outcomes = Counter(c.outcome for c in hostile.records(Completion))
    assert outcomes["oversized"] >= 3 and outcomes["invalid_schema"] > 5 and outcomes["invalid_json"] >= 1
    has_not_swollen(hostile)


def has_not_swollen(hostile: Any) -> None:
    """What a model says is kept to a size, whatever its length."""
    completions, rejected = hostile.records(Completion), hostile.records(Rejected)
    assert max(len(c.response or "") for c in completions) <= SHORT_TEXT * 2
    assert all(len(r.detail) <= 600 and r.detail.isprintable() for r in rejected)
    assert max(Counter(r.iteration for r in rejected).values()) <= 2 * (3 + 1), "at most so many a turn, and a surplus"
    said = sum(len(json.dumps(dict(p.proposal))) for p in hostile.records(Proposed))
    assert said < 3000 * len(hostile.records(Proposed))
    kept = sum(len(c.request) + len(c.response or "") for c in completions)
    with sqlite3.connect(hostile.path) as database:
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    assert pages * size < 4 * kept + 3_000_000, "a few megabytes were said, and are not here"
