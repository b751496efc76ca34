"""What the report draws comes out of a real run: null distributions that agree with the k and m beside them."""

from typing import Any

import pytest

from hyposcreen.agent.ledger.records import Tested as Explored
from hyposcreen.agent.report import render_report
from hyposcreen.agent.report.source import report_data


def test_a_run_keeps_a_sketch_of_every_null_of_every_tested_row(finished: Any) -> None:
    data = report_data(finished.ledger, finished.project.folder)
    tested = [t for t in finished.ledger.records(Explored) if t.status == "ok"]
    assert tested
    assert set(data.sketches) == {t.id for t in tested}
    for row in tested:
        assert set(data.sketches[row.id]) == set(row.companions)
        for null, found in row.companions.items():
            sketch = data.sketches[row.id][null]
            assert sum(sketch["counts"]) == found["m"]
            assert sketch["observed"] == pytest.approx(float.fromhex(found["statistic_hex"]), rel=1e-4, abs=1e-9)
            # All draws above the observed are counted by k; the bins can only say that to the width of one.
            width = (sketch["high"] - sketch["low"]) / len(sketch["counts"])
            above = sum(
                n for i, n in enumerate(sketch["counts"]) if sketch["low"] + i * width > sketch["observed"] + 1e-3
            )
            assert above <= found["k"]


def test_sketches_are_context_and_reach_no_result(finished: Any) -> None:
    for entry in finished.ledger.entries():
        assert "sketches" not in (entry.content or "")


def test_the_page_of_a_real_run_is_made_from_its_ledger(finished: Any) -> None:
    data = report_data(finished.ledger, finished.project.folder)
    page = render_report(data)
    assert f"screen ledger verify --head {finished.ledger.head().hash}" in page
    assert {row.proposer for row in data.rows} == {"offline"}
