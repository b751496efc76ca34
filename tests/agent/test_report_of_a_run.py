"""What a run leaves for its report, end to end: made by the loop and its workers, read back from the ledger."""

from typing import Any

from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.report.source import report_data


def test_every_tested_row_keeps_a_picture_of_each_of_its_nulls(finished: Any) -> None:
    with Ledger.open_readonly(finished.project.folder / "runs.db") as ledger:
        data = report_data(ledger)
    tested = [row for row in data.rows if row.companions]
    assert tested
    for row in tested:
        assert set(row.companions) <= set(data.sketches[row.id]), row.id
        for sketch in data.sketches[row.id].values():
            assert sketch["low"] <= sketch["high"]
            assert sum(sketch["counts"]) > 0
