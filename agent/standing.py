"""How the run of a folder stands. Counts, not rows: it is quick however large the ledger has grown, and while a run goes on."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from .ledger.records import (
    BudgetSet,
    IterationClosed,
    LookCounted,
    LookOpened,
    Promoted,
    Rejected,
    RunClosed,
)
from .llm.spending import spend_facts
from .places import open_ledger


def status(folder: Path) -> dict[str, Any]:
    """What ``screen status`` says, as JSON types. Reads only."""
    with open_ledger(folder) as ledger:
        plan = ledger.run()
        head, entries, verdicts = ledger.counts()
        phase = "empty"
        if plan is not None:
            looking = entries.get(LookOpened.KIND, 0) > entries.get(LookCounted.KIND, 0)
            phase = "complete" if entries.get(RunClosed.KIND) else "look" if looking else "exploring"
        return {
            "folder": str(folder),
            "phase": phase,
            "iterations_done": entries.get(IterationClosed.KIND, 0),
            "iterations": plan.iterations if plan else 0,
            "rows": sum(verdicts.values()),
            "rejected": entries.get(Rejected.KIND, 0),
            "verdicts": verdicts,
            "looks": plan.looks if plan else 0,
            "looks_counted": [asdict(c) for c in ledger.records(LookCounted)],
            "attempts": ledger.attempts(),
            "promoted": sum(len(p.hypotheses) for p in ledger.records(Promoted)),
            "seed": plan.seed if plan else None,
            "proposer": plan.proposer if plan else None,
            "spend": spend_facts(ledger.costs(), ledger.records(BudgetSet)),
            "alpha": plan.alpha if plan else None,
            "universe": dict(plan.universe) if plan else None,
            "split": dict(plan.split) if plan else None,
            "cache": dict(plan.cache) if plan else None,
            "head": asdict(head),
        }
