"""A look: Route U over the whole universe, Route H on the sealed genes. Planned first, then run, then judged.

Route U asks of every explored row whether it stands out from everything the grammar could have said, on all genes; it is
valid whatever made the proposer choose that row. Route H asks of the frozen list whether it holds on genes no result
of this run ever touched. Both read sealed labels, so neither is computed before the declared iterations are done. A run
may declare looks between its iterations: they hold Route H alone, and show how many rows they confirmed and no more.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..hypotheses.grammar import Grammar
from ..tests_library.catalogue import deciding_nulls, n_views
from ..tests_library.engine.maxt import p_value
from ..tests_library.multiplicity import (
    Adjusted,
    bonferroni,
    holm,
    largest_over_nulls,
    single_step,
    step_down,
    weighted,
)
from ..tests_library.nulls import null_model
from ..tests_library.statistics.base import Entity
from .custom.ends import ENDED
from .custom.jobs import CodeJob, code_job
from .custom.kind import NAME, kind_of
from .ledger.records import LookResult, Registered, RunOpened
from .policy import Look
from .project import Project, Side
from .results import best_view
from .sandbox.base import Job, Outcome

LOOK = 1
CODE_GROUP = "statistics of a model"
"""Its rows share no draws with the others, so they have a share of alpha of their own, and Holm among themselves."""
Vectors = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Scan:
    """One job of the look and the rows it answers."""

    route: str
    group: str
    """Background annotation, or empty: rows of one group share arrangements. Of models' statistics :data:`CODE_GROUP`."""
    job: Job
    rows: tuple[str, ...]

    def apart(self, null: str) -> str:
        """What alone these draws belong to, where they are not those of every row with this ``null``; else empty."""
        return "" if null_model(null).joint and not isinstance(self.job, CodeJob) else self.job.name

    def stops(self, outcome: Outcome) -> bool:
        """Whether the look cannot go on. A model's statistic that fails on the sealed genes counts as p = 1 instead."""
        return outcome.kind != "ok" and not isinstance(self.job, CodeJob)


@dataclass(frozen=True)
class LookPlan:
    """Every job of the look, the share of alpha of each background group, and the rows that cannot be tested on B."""

    scans: tuple[Scan, ...]
    weights: Mapping[tuple[str, str], float]
    """(route, group) → share of that route's alpha."""
    untestable: tuple[LookResult, ...]
    look: int = LOOK


class Place(NamedTuple):
    """Whose maxima may be compared draw by draw."""

    route: str
    group: str
    null: str
    alone: str = ""
    """Test and annotation where the null draws for each of them apart (``NullModel.joint``), else empty."""


@dataclass
class Tally:
    """What comes back from the workers."""

    own: dict[Place, Vectors] = field(default_factory=dict)
    """Row id → its maximum over its views, float64 [m + 1]."""
    universe: dict[Place, NDArray[np.float64]] = field(default_factory=dict)
    """Maximum over every view of every entity and kind that has the null (Route U only)."""
    facts: dict[tuple[str, str, str], Mapping[str, Any]] = field(default_factory=dict)
    """(route, row id, null) → the numbers of the row."""
    failed: dict[str, str] = field(default_factory=dict)
    """Row id → how the statistic of a model ended on the sealed genes; it counts as p = 1."""

    def add(self, scan: Scan, outcome: Outcome) -> None:
        """Take in one finished job."""
        if outcome.kind != "ok":
            self.failed |= dict.fromkeys(scan.rows, outcome.kind)
        for null, numbers in outcome.value["nulls"].items():
            place = Place(scan.route, scan.group, null, scan.apart(null))
            if scan.route == "U":
                overall = outcome.vectors[f"{null}/overall"]
                self.universe[place] = np.maximum(self.universe[place], overall) if place in self.universe else overall
            for row in scan.rows:
                self.own.setdefault(place, {})[row] = outcome.vectors[f"{null}/{row}"]
                self.facts[(scan.route, row, null)] = {
                    "m": numbers["m"], "n": outcome.value["n"], "size": outcome.value["size"], **numbers["subsets"][row]
                }  # fmt: skip

    def adjusted(self, place: Place) -> dict[str, Adjusted]:
        """Adjusted p of the rows at ``place``, within its route, group and null."""
        if place.route == "U":
            apart = sum(1 for other in self.universe if other[:3] == place[:3])
            found = single_step(self.own[place], self.universe[place])
            return {row: bonferroni(a, apart) for row, a in found.items()}
        if not place.alone:
            return step_down(self.own[place])
        together = {row: v for other, rows in self.own.items() if other[:3] == place[:3] for row, v in rows.items()}
        by_row = holm(together)
        return {row: by_row[row] for row in self.own[place]}


def plan_look(project: Project, plan: RunOpened, rows: Sequence[Registered], look: Look) -> LookPlan:
    """Every job of a look. ``rows`` are the explored hypotheses (status ok); Route U, at the last look, covers the grammar."""
    universe = list(_universe_scans(project, plan, rows)) if look.last else []
    held_out, untestable = _held_out_scans(
        project, plan, [h for h in rows if h.id in set(look.hypotheses)], look.number
    )
    weights = _weights(project.grammar, held_out)
    if plan.looks > 1:
        hopeless = _out_of_reach(plan, look, held_out, weights)
        untestable += hopeless
        held_out = [scan for scan in held_out if not {r.id for r in hopeless} & set(scan.rows)]
    return LookPlan((*universe, *held_out), weights, tuple(untestable), look.number)


def judge(plan: LookPlan, tally: Tally) -> tuple[LookResult, ...]:
    """Adjusted p of every row and route: the largest over the companion nulls, divided by the group's share of alpha."""
    adjusted: dict[tuple[str, str], dict[str, Adjusted]] = {}
    for place in tally.own:
        for row, value in tally.adjusted(place).items():
            adjusted.setdefault((place.route, row), {})[place.null] = value
    groups = {(scan.route, row): scan.group for scan in plan.scans for row in scan.rows}
    results = [
        _result(tally, plan.look, route, row, by_null, plan.weights[(route, groups[(route, row)])])
        for (route, row), by_null in adjusted.items()
    ]
    return tuple(sorted([*results, *plan.untestable], key=lambda r: (r.route, r.id)))


def _result(
    tally: Tally, look: int, route: str, row: str, by_null: Mapping[str, Adjusted], weight: float
) -> LookResult:
    null, _ = largest_over_nulls({name: a.p for name, a in by_null.items()})
    own = own_numbers(tally.facts[(route, row, null)])
    return LookResult(
        id=row,
        look=look,
        route=route,
        status="failed" if row in tally.failed else "ok",
        reason=ENDED[tally.failed[row]] if row in tally.failed else "",
        null=null,
        k_adj=by_null[null].k,
        p_adj=weighted(by_null[null], weight),
        weight=weight,
        **own,
    )


def own_numbers(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a :class:`LookResult` that rest on the row alone, not on its competitors."""
    best = best_view(facts)
    return {
        "n_genes": facts["n"],
        "n_entity": facts["size"],
        "m": facts["m"],
        "k": facts["k"],
        "p": p_value(facts["k"], facts["m"]),
        "statistic_hex": float(facts["statistic"]).hex(),
        "effect": best["effect"],
        "null_mean": best["null_mean"],
        "best_view": facts["best"],
    }


def _universe_scans(project: Project, plan: RunOpened, rows: Sequence[Registered]) -> Iterable[Scan]:
    """One job a (test, annotation) of the universe, said or unsaid: it is everything that could have been said."""
    for kind, annotation in project.grammar.universe:
        mine = [h for h in rows if h.test == kind.name and h.annotation == annotation.name]
        yield _scan(project, plan, "U", Side.ALL, kind.name, annotation.name, mine)


def _held_out_scans(
    project: Project, plan: RunOpened, promoted: Sequence[Registered], look: int
) -> tuple[list[Scan], list[LookResult]]:
    scans, untestable = [], []
    for h in promoted:
        entity = Entity.from_json(project.entity(h.annotation, Side.SEALED))
        rows = project.rows(Side.SEALED, h.spec["background"])
        reason = kind_of(h.test).shortage(entity, rows)
        if not reason and entity.kind == "gene_set" and entity.size >= len(rows):
            reason = f"{entity.size} of {len(rows)} genes, and {h.test} needs something to compare with"
        if reason:
            said = f"on the sealed side are {reason}"
            untestable.append(
                LookResult(h.id, look, "H", "untestable", said, n_genes=len(rows), n_entity=entity.size, null="none")
            )
        else:
            scan = _scan(project, plan, "H", Side.SEALED, h.test, h.annotation, [h])
            scans.append(replace(scan, group=CODE_GROUP, job=code_job(scan.job, h)) if h.test == NAME else scan)
    return scans, untestable


def _out_of_reach(
    plan: RunOpened, look: Look, held_out: Sequence[Scan], weights: Mapping[tuple[str, str], float]
) -> list[LookResult]:
    """Rows whose smallest possible p_adj is above the level of the look: said before anything is computed.

    Where draws are shared the smallest p is 1 / (m + 1); where a null draws for each of n rows apart, Holm makes it
    n / (m + 1); a background group with a share of alpha divides it by that share. Some nulls make few draws (``most``).
    """
    apart = Counter((s.group, null) for s in held_out for null in s.job.nulls if s.apart(null))
    out = []
    for scan in held_out:
        share = weights[(scan.route, scan.group)]
        draws = {
            null: min(plan.permutations_look, null_model(null).most or plan.permutations_look)
            for null in scan.job.nulls
        }
        best = {null: (apart[(scan.group, null)] or 1) / (m + 1) / share for null, m in draws.items()}
        null, smallest = largest_over_nulls(best)
        if smallest > look.level:
            needed = ceil(smallest * (draws[null] + 1) / look.level)
            most = null_model(null).most
            mend = (
                "fewer looks or shorter lists"
                if most is not None and needed > most
                else f"permutations_look = {needed}"
            )
            reason = (
                f"look {look.number} could not confirm it: {draws[null]} draws of the {null} null give p_adj = {smallest:.3g} "
                f"at best, above {look.level:.3g}; {mend} would do"
            )
            out += [LookResult(row, look.number, scan.route, "untestable", reason, null="none") for row in scan.rows]
    return out


def _scan(
    project: Project, plan: RunOpened, route: str, side: Side, test: str, annotation: str, rows: Sequence[Registered]
) -> Scan:
    job = project.job(
        test,
        annotation,
        side,
        subsets={h.id: (h.spec["layers"], h.spec["coordinates"]) for h in rows},
        nulls=deciding_nulls(kind_of(test)),
        m=plan.permutations_look,
        seed=plan.seed,
        vectors=True,
    )
    return Scan(route, project.annotations[annotation].background or "", job, tuple(h.id for h in rows))


def _weights(grammar: Grammar, held_out: Sequence[Scan]) -> dict[tuple[str, str], float]:
    """Shares of alpha: Route U by cells, Route H by promoted rows. Groups do not share arrangements (weighted Bonferroni)."""
    cells: dict[str, int] = {}
    for kind, annotation in grammar.universe:
        group = annotation.background or ""
        cells[group] = cells.get(group, 0) + n_views(kind, grammar.n_layers, grammar.n_axes)
    rows: dict[str, int] = {}
    for scan in held_out:
        rows[scan.group] = rows.get(scan.group, 0) + 1
    shares = {("U", group): n / sum(cells.values()) for group, n in cells.items()}
    return shares | {("H", group): n / sum(rows.values()) for group, n in rows.items()}
