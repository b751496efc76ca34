"""A model whose first statistic returns hashes, so that a number fed back would name the labels to its second one.

``tests/sandbox/test_feedback.py`` shows that the attack works where numbers are told; here it is the run that does not tell them.
"""

import re
from typing import Any

import pytest

from hyposcreen.agent.ledger import records as rec

pytestmark = pytest.mark.usefixtures("confined")

SPY = """
import hashlib
import numpy as np
def statistic(emb, labels):
    rows = sorted(row.tobytes() for row in emb[labels == 1])
    return int.from_bytes(hashlib.sha256(b"".join(rows)).digest()[:6], "little") / 2**48
"""
_NUMBER = re.compile(r"(?<![\w.])\d+\.?\d*(?:e-?\d+)?")


def test_no_prompt_holds_a_number_of_real_data_but_the_class_of_p(run_with: Any, server: Any, author: Any) -> None:
    prompts: list[str] = []

    class Spying(author.Author):  # type: ignore[misc]
        def __call__(self, number: int, body: dict[str, Any]) -> Any:
            prompts.append("\n".join(str(m["content"]) for m in body["messages"]))
            return super().__call__(number, body)

    model = Spying(server, lambda n: [author.item(SPY, "b_cells", "L1")] if n == 1 else [])
    with server.Scripted(model) as scripted:
        ledger = run_with("spied", scripted, iterations=3)
    (row,) = [h for h in ledger.records(rec.Registered) if h.test == "custom_statistic"]
    (tested,) = [t for t in ledger.records(rec.Tested) if t.id == row.id]
    assert tested.status == "ok" and 0.0 < tested.effect < 1.0
    lines = [line for prompt in prompts for line in prompt.splitlines() if row.id in line]
    assert any("no other number is shown" in line for line in lines)
    for line in lines:
        numbers = {float(n) for n in _NUMBER.findall(line.replace(row.id, ""))}
        secret = {tested.effect, tested.null_mean, tested.min_effect, tested.p_scan, tested.p_raw}
        assert not any(
            abs(n - s) < 0.005 * abs(s) for n in numbers for s in secret if s not in (0.001, 0.01, 0.05, 0.2, 1.0)
        )
