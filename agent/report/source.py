"""A ledger → what its report shows. The only file of this folder that reads a ledger."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..config import LEDGER_NAME
from ..custom.codes import codes_of
from ..foreign import campaigns
from ..ledger.errors import LedgerError
from ..ledger.records import AttemptEnded, Promoted, Row, RunClosed
from ..ledger.store import Ledger
from .audits import read_audits
from .control import FOLDERS, Control, control_lines
from .foreign import foreign_line
from .model import ReportData


def report_data(ledger: Ledger, folder: Path | None = None) -> ReportData:
    """Everything the report of ``ledger`` shows, as it is now.

    Audits and the run on a control are those of ``folder``, by default the one that the ledger's file is in; a ledger on a
    server is in no folder.
    """
    head, rows = ledger.snapshot()
    beside = folder if folder is not None else _folder_of(ledger)
    return ReportData(
        run=ledger.run(),
        rows=rows,
        rejections=ledger.rejections(),
        head=head,
        promoted=tuple(id_ for p in ledger.records(Promoted) for id_ in p.hypotheses),
        complete=bool(ledger.records(RunClosed)),
        generated=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        audit=() if beside is None else read_audits(beside),
        foreign=tuple(foreign_line(source, found) for source, _, found in campaigns(ledger)),
        codes=_codes(ledger, rows),
        sketches=_sketches(ledger),
        control=None if beside is None else _control(rows, beside),
    )


def _folder_of(ledger: Ledger) -> Path | None:
    return ledger.path.parent if isinstance(ledger.path, Path) else None


def _control(rows: Sequence[Row], folder: Path) -> Control | None:
    """The finished run on a control beside this one, or ``None``; a broken control is no reason to have no report."""
    for kind, name in FOLDERS.items():
        path = folder / name / LEDGER_NAME
        if not path.is_file():
            continue
        with suppress(LedgerError), Ledger.open_readonly(path) as held:
            plan = held.run()
            if plan is not None and held.records(RunClosed):
                head, there = held.snapshot(views=False)
                cache = str(plan.cache["name"])
                return Control(kind, cache, f"{head.seq}:{head.hash}", control_lines(rows, there))
    return None


def _codes(ledger: Ledger, rows: Sequence[Row]) -> Mapping[str, str]:
    """The code of every row whose statistic a model wrote; what was refused in rehearsal stays in the ledger."""
    wanted = {row.spec["code"] for row in rows if "code" in row.spec}
    return {sha256: code for sha256, code in codes_of(ledger).items() if sha256 in wanted} if wanted else {}


def _sketches(ledger: Ledger) -> Mapping[str, Mapping[str, Any]]:
    """Id → null → sketch, from the last attempt that has them: they are context, beside the record."""
    found = {}
    for entry in ledger.entries(kinds={AttemptEnded.KIND}):
        context = json.loads(entry.context)
        if "sketches" in context:
            found[context["record"]["id"]] = context["sketches"]
    return found
