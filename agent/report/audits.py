"""What audits of a project found: the lines of ``audit.jsonl`` → one line a plan for the page. Pure, but for reading the file."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER, NAME = "audit", "audit.jsonl"
UNKNOWN = "not recorded"


@dataclass(frozen=True)
class AuditLine:
    """The worlds of one audit plan: in how many of them anything false was confirmed, with the exact 95 % interval."""

    kind: str
    """``null``, ``confounded`` or ``planted``; ``not recorded`` for worlds of an older version."""
    proposer: str
    iterations: int | None
    alpha: float | None
    cache_digest: str
    """Of the cache audited; empty where it was not recorded."""
    worlds: int
    hypotheses: int
    false: int
    """Worlds with any false confirmation."""
    low: float
    high: float
    """Clopper–Pearson 95 % interval of the probability of one."""


def read_audits(project: Path) -> tuple[AuditLine, ...]:
    """The audits kept in ``project/audit/audit.jsonl``, or none."""
    path = project / FOLDER / NAME
    return audit_lines(path.read_text(encoding="utf-8", errors="replace").splitlines()) if path.is_file() else ()


def audit_lines(lines: Iterable[str]) -> tuple[AuditLine, ...]:
    """One line a plan, in order of appearance. A line that is no world (a cut last one) is passed over; a world counts once."""
    plans: dict[str, dict[int, Mapping[str, Any]]] = {}
    for line in lines:
        world = _world(line)
        if world is not None:
            plans.setdefault(world["plan"], {})[world["number"]] = world
    return tuple(_summed(list(worlds.values())) for worlds in plans.values())


def _world(line: str) -> Mapping[str, Any] | None:
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        return None
    wanted = {"plan": str, "number": int, "rows": int, "confirmed": list}
    fits = isinstance(value, dict) and all(isinstance(value.get(name), kind) for name, kind in wanted.items())
    return value if fits else None


def _summed(worlds: list[Mapping[str, Any]]) -> AuditLine:
    from scipy.stats import binomtest

    false = sum(bool(world["confirmed"]) for world in worlds)
    interval = binomtest(false, len(worlds)).proportion_ci(0.95, method="exact")
    first = worlds[0].get("of") or {}
    return AuditLine(
        kind=str(first.get("kind", UNKNOWN)),
        proposer=str(first.get("proposer", UNKNOWN)),
        iterations=first.get("iterations"),
        alpha=first.get("alpha"),
        cache_digest=str(first.get("cache_digest", "")),
        worlds=len(worlds),
        hypotheses=sum(int(world["rows"]) for world in worlds),
        false=false,
        low=float(interval.low),
        high=float(interval.high),
    )
