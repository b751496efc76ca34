"""The command line of a run that asks a model: prices, budget, what was spent, and how well its priors did."""

from pathlib import Path
from typing import Any

import pytest

PRICES = '["m"]\nprompt = 10.0\ncompletion = 20.0\ncached = 5.0\n'
A_CALL = (600 * 10 + 400 * 5 + 200 * 20) / 1e6
"""Dollars of one answer as the scripted server counts it: 1,000 tokens of prompt, 400 of them cached, and 200 of answer."""


@pytest.fixture
def good(server: Any) -> Any:
    with server.Scripted(lambda number, body: server.completion(server.sensible(body))) as scripted:
        yield scripted


def settings(scripted: Any, **more: Any) -> dict[str, Any]:
    return {"proposer": "openai", "model": "m", "base_url": scripted.url, "iterations": 3} | more


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read as a price table"),
        ("prompt = ", "cannot be read as a price table"),
        ('["m"]\nprompt = 1.0\n', "must name prompt and completion"),
        ('["m"]\nprompt = 1.0\ncompletion = 1.0\ncashed = 1.0\n', "must name prompt and completion"),
        ('["m"]\nprompt = -1.0\ncompletion = 1.0\n', 'prompt of ["m"] is -1.0'),
        ('["m"]\nprompt = "1"\ncompletion = 1.0\n', "dollars per million tokens"),
        ('["m"]\nprompt = nan\ncompletion = 1.0\n', "dollars per million tokens"),
        ("m = 3\n", "must name prompt and completion"),
    ],
)
def test_a_price_table_that_cannot_be_used_is_named_before_anything_is_asked(
    fresh: Any, call: Any, good: Any, text: str | None, words: str
) -> None:
    folder = fresh("prices", **settings(good))
    if text is not None:
        (folder / "prices.toml").write_text(text, encoding="utf-8")
    ended = call("run", "-C", folder, "--max-usd", 1.0, "--prices", "prices.toml", "--quiet")
    assert ended.code == 5 and words in ended.err and "prices.toml" in ended.err and ended.err.count("\n") == 1
    assert not good.requests and not (folder / "runs.db").exists()


def test_a_limit_in_money_needs_the_model_and_its_critic_in_the_table(fresh: Any, call: Any, good: Any) -> None:
    folder = fresh("unpriced", **settings(good))
    assert "--prices names no table" in call("run", "-C", folder, "--max-usd", 1.0).err
    (folder / "prices.toml").write_text(PRICES, encoding="utf-8")
    ended = call("run", "-C", folder, "--max-usd", 1.0, "--prices", "prices.toml", "--critic", "c")
    assert ended.code == 2 and "prices of 'c'" in ended.err and not good.requests


def test_a_budget_stops_with_six_and_a_line_that_goes_on(fresh: Any, call: Any, good: Any) -> None:
    folder = fresh("budget", **settings(good, answer_tokens=500))
    (folder / "prices.toml").write_text(PRICES, encoding="utf-8")
    stopped = call("run", "-C", folder, "--max-usd", 0.05, "--prices", "prices.toml", "--quiet")
    assert stopped.code == 6 and f"screen run --project {folder} --max-usd" in stopped.err
    asked = len(good.requests)
    assert 1 <= asked < 3
    how = call("status", "-C", folder, "--json").json
    assert how["phase"] == "exploring" and how["iterations_done"] == asked
    spend = how["spend"]
    assert (spend["calls"], spend["answers"], spend["unknown"], spend["charged_tokens"]) == (
        asked,
        asked,
        0,
        1200 * asked,
    )
    assert spend["charged_usd"] == pytest.approx(A_CALL * asked) and spend["max_usd"] == 0.05
    assert spend["usd_left"] == pytest.approx(0.05 - A_CALL * asked)
    shown = call("status", "-C", folder).out
    assert f"asked      {asked} calls, {asked} answers; {asked} ok" in shown
    assert f"${A_CALL * asked:.4f} of $0.05, ${0.05 - A_CALL * asked:.4f} left" in shown
    went_on = call("run", "-C", folder, "--max-usd", 1.0, "--prices", "prices.toml", "--quiet")
    assert went_on.code == 0 and len(good.requests) == 3, "no answer is paid for twice"
    assert call("status", "-C", folder, "--json").json["spend"]["charged_usd"] == pytest.approx(3 * A_CALL)


def test_priors_against_outcomes_are_a_command(ask: Any, good: Any, server: Any, call: Any, fresh: Any) -> None:
    ledger = ask("first", good, iterations=3)
    folder = Path(ledger.path).parent
    (score,) = call("proposers", "-C", folder, "--json").json["scores"]
    assert (score["proposer"], score["n"]) == ("openai", 9) and 0 <= score["brier"] <= 1
    offline = fresh("offline", iterations=2)
    unfinished = call("proposers", "-C", folder, "--with", offline)
    assert unfinished.code == 5 and "runs.db" in unfinished.err
    assert call("run", "-C", offline, "--quiet").code == 0
    both = call("proposers", "-C", folder, "--with", offline)
    assert "over 6 rows each" in both.out and f"offline of {offline}" in both.out
    found = call("proposers", "-C", folder, "--with", offline, "--json").json
    assert found["difference"]["n"] == 6 and len(found["scores"]) == 2
