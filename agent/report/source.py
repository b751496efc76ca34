"""A ledger → what its report shows. The only file of this folder that reads a ledger."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..foreign import campaigns
from ..ledger.records import AttemptEnded, Promoted, RunClosed
from ..ledger.store import Ledger
from .audits import read_audits
from .foreign import foreign_line
from .model import ReportData


def report_data(ledger: Ledger, folder: Path | None = None) -> ReportData:
    """Everything the report of ``ledger`` shows, as it is now. Audits are those of ``folder``, by default the ledger's own."""
    head, rows = ledger.snapshot()
    return ReportData(
        run=ledger.run(),
        rows=rows,
        rejections=ledger.rejections(),
        head=head,
        promoted=tuple(id_ for p in ledger.records(Promoted) for id_ in p.hypotheses),
        complete=bool(ledger.records(RunClosed)),
        generated=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        audit=read_audits(folder or Path(ledger.path).parent),
        foreign=tuple(foreign_line(source, found) for source, _, found in campaigns(ledger)),
        sketches=_sketches(ledger),
    )


def _sketches(ledger: Ledger) -> Mapping[str, Mapping[str, Any]]:
    """Id → null → sketch, from the last attempt that has them: they are context, beside the record."""
    found = {}
    for entry in ledger.entries(kinds={AttemptEnded.KIND}):
        context = json.loads(entry.context)
        if "sketches" in context:
            found[context["record"]["id"]] = context["sketches"]
    return found
