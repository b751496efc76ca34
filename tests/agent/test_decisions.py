"""Policy, results and the judging of the look: pure functions against what they are said to do."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hyposcreen.agent import look as looking
from hyposcreen.agent import policy
from hyposcreen.agent import results as res
from hyposcreen.agent.ledger import records as rec
from hyposcreen.agent.look import LookPlan, Scan, Tally, judge, plan_look
from hyposcreen.agent.project import open_project
from hyposcreen.agent.sandbox.base import Job, Outcome
from hyposcreen.tests_library.catalogue import CATALOGUE


@pytest.fixture
def plan(finished: Any) -> Any:
    return replace(finished.ledger.run(), alpha_u=0.025, alpha_h=0.025, promote_p=0.05, max_promoted=3)


def row(id_: str, test: str = "cohesion", entity: str = "e") -> Any:
    return rec.Registered(
        id_, 1, 0, "c", "geometry", test, "a", "claim",
        {"annotation_digest": entity, "background_digest": None, "nulls": ("gene_label",)}, id_,
        id_, 0.5, "greater", "r", "cover",
    )  # fmt: skip


def result(id_: str, p: float = 0.01, statistic: float = 1.0, status: str = "ok") -> Any:
    return rec.Tested(id_, status, p_scan=p, statistic=statistic, reason="" if status == "ok" else "a reason")


def look(id_: str, p_adj: float, route: str = "U") -> Any:
    return rec.LookResult(id_, 1, route, "ok", p_adj=p_adj)


def one_look(*ids: str) -> policy.Look:
    return policy.Look(1, ids, 0.025, 1, last=True)


# promote


def promoted(plan: Any, rows: list[Any], tested: list[Any]) -> tuple[str, ...]:
    return tuple(policy.promote(plan, rows, {t.id: t for t in tested}).hypotheses)


def test_the_best_row_of_each_test_and_entity_is_promoted(plan: Any) -> None:
    rows = [row("H1"), row("H2"), row("H3", entity="f"), row("H4", test="edge_auroc")]
    tested = [result("H1", 0.02), result("H2", 0.01), result("H3", 0.05), result("H4", 0.051)]
    assert promoted(plan, rows, tested) == ("H2", "H3")


def test_an_unbalanced_row_is_neither_promoted_nor_confirmed(plan: Any) -> None:
    far = replace(result("H1", 0.001), checks={"unbalanced": "its genes differ in expression +0.40 sd"})
    rows = [row("H1"), row("H2", entity="f")]
    assert promoted(plan, rows, [far, result("H2", 0.01)]) == ("H2",)
    given = policy.verdict(plan, far, False, look("H1", 0.0001), None)
    assert (given.verdict, given.route) == ("screened", "")
    assert "+0.40 sd" in given.rule
    fair = policy.verdict(plan, result("H1", 0.001), False, look("H1", 0.0001), None)
    assert fair.verdict == "confirmed"


def test_balance_of_a_row_comes_from_genes_a_and_names_what_is_far(finished: Any) -> None:
    project = finished.project
    found = {a: project.label_checks("cohesion", a) for a in ("b_cells", "t_cells", "housekeeping_half_1")}
    for checks in found.values():
        assert set(checks["balance"]) == {"gene_label", "stratified", "family_block"}
        matched = checks["balance"]["stratified"]
        assert set(matched) == {"expression", "detection", "other annotations", "other degree"}
        far = [name for name in ("expression", "detection") if abs(matched[name]) > 0.25]
        assert bool(checks["unbalanced"]) == bool(far)
        assert all(name in checks["unbalanced"] for name in far)
    whole = found["t_cells"]["balance"]
    assert abs(whole["stratified"]["detection"]) < abs(whole["gene_label"]["detection"])
    recorded = next(t for t in finished.ledger.records(rec.Tested) if t.status == "ok")
    assert recorded.checks["balance"]


def test_ties_go_to_the_larger_statistic_and_then_to_the_earlier_row(plan: Any) -> None:
    rows = [row("H1", entity="1"), row("H2", entity="2"), row("H3", entity="3")]
    tested = [result("H1", 0.01, 2.0), result("H2", 0.01, 3.0), result("H3", 0.01, 2.0)]
    assert promoted(plan, rows, tested) == ("H2", "H1", "H3")


def test_the_list_is_cut_at_its_length_and_holds_no_untested_row(plan: Any) -> None:
    rows = [row(f"H{n}", entity=str(n)) for n in range(6)]
    tested = [result(f"H{n}", 0.001 * (n + 1), status="failed" if n == 0 else "ok") for n in range(6)]
    assert promoted(plan, rows, tested) == ("H1", "H2", "H3")
    assert promoted(plan, [], []) == ()


# verdict


@pytest.mark.parametrize(
    ("p_u", "p_h", "is_promoted", "expected", "route"),
    [
        (0.025, None, False, "confirmed", "U"),
        (0.0251, None, False, "screened", "U"),
        (0.5, 0.025, True, "confirmed", "H"),
        (0.001, 0.001, True, "confirmed", "U+H"),
        (0.001, 0.9, True, "confirmed", "U"),
        (0.9, 0.0251, True, "not_confirmed", "H"),
        (0.03, 0.9, True, "not_confirmed", "U"),
        (None, 0.9, True, "not_confirmed", "H"),
        (None, None, False, "screened", ""),
    ],
)
def test_a_verdict_needs_one_route_at_its_own_share(
    plan: Any, p_u: float | None, p_h: float | None, is_promoted: bool, expected: str, route: str
) -> None:
    universe = None if p_u is None else look("H1", p_u)
    held_out = None if p_h is None else look("H1", p_h, "H")
    given = policy.verdict(plan, result("H1"), is_promoted, universe, held_out)
    assert (given.id, given.verdict, given.route) == ("H1", expected, route)


@pytest.mark.parametrize("status", ["untestable", "invalid", "failed"])
def test_a_row_without_a_test_is_never_confirmed(plan: Any, status: str) -> None:
    given = policy.verdict(plan, result("H1", status=status), True, look("H1", 0.001), look("H1", 0.001, "H"))
    assert (given.verdict, given.route, given.rule) == (status, "", "a reason")


# results


def numbers(k: int, statistic: float, broken: bool = False) -> dict[str, Any]:
    views = [
        {"layer": "L0", "coordinate": "cosine", "statistic": 5, "effect": 0.2, "null_mean": 0.1, "null_sd": 0.05,
         "z": 2.0, "k": k},
        {"layer": "L1", "coordinate": "cosine", "statistic": 7, "effect": 0.4, "null_mean": 0.1, "null_sd": 0.1,
         "z": 3.0, "k": max(0, k - 1)},
    ]  # fmt: skip
    subset = {"k": k, "statistic": statistic, "best": "L1·cosine", "views": views}
    names = ["L0·cosine", "L1·cosine"] if broken else ["L0·cosine"]
    return {"m": 99, "broken": names, "subsets": {"H1": subset}}


def outcome(**nulls: Any) -> Outcome:
    interval = {"low": 0.3, "high": 0.5, "level": 0.95, "method": "family_jackknife", "units": 6, "missing": ""}
    none = {"low": None, "high": None, "level": 0.95, "method": "", "units": 0, "missing": "few_clusters"}
    value = {
        "n": 50, "size": 7, "nulls": nulls, "intervals": {"L1·cosine": interval, "L0·cosine": none},
        "baselines": {"L1·cosine": {"norm": 0.6}, "L0·cosine": {}},
    }  # fmt: skip
    return Outcome("ok", 0.1, value=value)


def test_the_null_with_the_largest_p_speaks_for_the_row() -> None:
    tested = res.explored(row("H1"), outcome(gene_label=numbers(0, 3.0), stratified=numbers(4, 2.5)))
    assert (tested.status, tested.null, tested.k, tested.m, tested.p_scan) == ("ok", "stratified", 4, 99, 0.05)
    assert (tested.p_raw, tested.best_view, tested.effect, tested.null_mean) == (0.04, "L1·cosine", 0.4, 0.1)
    assert (tested.n_genes, tested.n_entity) == (50, 7)
    assert float.fromhex(tested.statistic_hex) == tested.statistic == 2.5
    assert tested.companions["gene_label"] == {"k": 0, "m": 99, "p_scan": 0.01, "statistic_hex": (3.0).hex()}
    assert tested.min_effect == pytest.approx((1.96 + 0.8416) * 0.1, rel=1e-3)
    assert all("null_sd" not in view for view in tested.views)
    assert (tested.effect_low, tested.effect_high, tested.interval_level, tested.interval_units) == (0.3, 0.5, 0.95, 6)
    assert (tested.interval_method, tested.interval_missing) == ("family_jackknife", "")
    assert tested.baselines == {"norm": 0.6}


def test_a_row_without_an_interval_says_why() -> None:
    chosen = numbers(4, 2.5)
    chosen["subsets"]["H1"]["best"] = "L0·cosine"
    tested = res.explored(row("H1"), outcome(gene_label=chosen, stratified=chosen, family_block=chosen))
    assert (tested.effect_low, tested.effect_high, tested.interval_level, tested.interval_method) == (None,) * 3 + ("",)
    assert tested.interval_missing == "few_clusters"


@pytest.mark.parametrize("kind", ["error", "timeout", "memory", "crash"])
def test_a_failed_job_is_a_failed_row_with_p_one(kind: Any) -> None:
    tested = res.explored(row("H1"), Outcome(kind, 1.0, "what happened"))
    assert (tested.status, tested.reason) == ("failed", res.FAILURES[kind])
    assert tested.reason.startswith(kind) and "what happened" not in tested.reason
    assert (tested.p_scan, tested.p_raw, tested.k, tested.m, tested.views) == (1.0, 1.0, 0, 0, ())


def test_a_null_that_cannot_move_makes_the_row_invalid() -> None:
    tested = res.explored(row("H1"), outcome(gene_label=numbers(0, 3.0), stratified=numbers(99, 0.0, broken=True)))
    assert (tested.status, tested.p_scan) == ("invalid", 1.0)
    assert "stratified" in tested.reason and "variance" in tested.reason


# the look


def naive_step_down(vectors: dict[str, Any]) -> dict[str, tuple[int, float]]:
    """Westfall & Young by the book, in loops."""
    z = {}
    for name, v in vectors.items():
        mean = sum(v) / len(v)
        sd = math.sqrt(sum((x - mean) ** 2 for x in v) / len(v))
        z[name] = [(x - mean) / sd for x in v]
    order = sorted(z, key=lambda name: (-z[name][0], name))
    m = len(next(iter(z.values()))) - 1
    worst, out = 0, {}
    for i, name in enumerate(order):
        count = sum(max(z[other][j] for other in order[i:]) >= z[name][0] - 1e-12 for j in range(1, m + 1))
        worst = max(worst, count)
        out[name] = (worst, (worst + 1) / (m + 1))
    return out


def scan_of(route: str, group: str, rows: tuple[str, ...]) -> Scan:
    job = Job("n", "p", "d", (), (), (), "cohesion", {}, {}, ("gene_label", "stratified"), 19, 0, 10)
    return Scan(route, group, job, rows)


def test_judging_agrees_with_a_recomputation_by_hand() -> None:
    chance = np.random.default_rng(3)
    nulls, m = ("gene_label", "stratified"), 19
    scans = [scan_of("U", "", ("H1", "H2")), scan_of("U", "", ()), scan_of("U", "bg", ("H3",)),
             scan_of("H", "", ("H1",)), scan_of("H", "", ("H2",)), scan_of("H", "bg", ("H3",))]  # fmt: skip
    tally, drawn = Tally(), []
    for scan in scans:
        vectors: dict[str, Any] = {}
        value: dict[str, Any] = {"n": 50, "size": 7, "nulls": {}}
        for null in nulls:
            own = {name: chance.integers(0, 40, m + 1) / 8 for name in scan.rows}
            if scan.route == "U" and null == "gene_label" and "H1" in own:
                own["H1"][0] = 6.0  # one row that stands out under one null only
            overall = np.max([*own.values(), chance.integers(0, 36, m + 1) / 8], axis=0)
            vectors |= {f"{null}/overall": overall} | {f"{null}/{name}": v for name, v in own.items()}
            subsets = {n: numbers(3, float(v[0]))["subsets"]["H1"] for n, v in own.items()}
            value["nulls"][null] = {"m": m, "broken": [], "subsets": subsets}
        drawn.append((scan, vectors))
        tally.add(scan, Outcome("ok", 0.0, value=value, vectors=vectors))
    weights = {("U", ""): 0.75, ("U", "bg"): 0.25, ("H", ""): 2 / 3, ("H", "bg"): 1 / 3}
    judged = {(r.route, r.id): r for r in judge(LookPlan(tuple(scans), weights, ()), tally)}
    assert len(judged) == 6
    for (route, id_), found in judged.items():
        group = "bg" if id_ == "H3" else ""
        by_null = {}
        for null in nulls:
            mine = [v for scan, v in drawn if (scan.route, scan.group) == (route, group)]
            own = next(v[f"{null}/{id_}"] for v in mine if f"{null}/{id_}" in v)
            if route == "U":
                top = np.max([v[f"{null}/overall"] for v in mine], axis=0)
                k = int(sum(top[j] >= own[0] for j in range(1, m + 1)))
                by_null[null] = (k, (k + 1) / (m + 1))
            else:
                names = ["H1", "H2"] if group == "" else ["H3"]
                family = {n: next(v[f"{null}/{n}"] for v in mine if f"{null}/{n}" in v).tolist() for n in names}
                by_null[null] = naive_step_down(family)[id_]
        worst = max(by_null, key=lambda null: (by_null[null][1], null))
        assert (found.null, found.k_adj) == (worst, by_null[worst][0]), (route, id_)
        assert found.p_adj == min(1.0, by_null[worst][1] / weights[(route, group)])
        assert found.p == 4 / 20


def test_the_plan_of_the_look_covers_everything_that_could_be_said(finished: Any) -> None:
    project, plan = finished.project, finished.ledger.run()
    rows = finished.ledger.records(rec.Registered)
    (promoted,) = finished.ledger.records(rec.Promoted)
    made = plan_look(project, plan, rows, policy.looks(plan, [promoted])[0])
    said = [s.job.name for s in made.scans if s.route == "U"]
    assert said == [f"{k.name}({a.name}) on genes A+B" for k, a in project.grammar.universe]
    assert len(said) > len({(h.test, h.annotation) for h in rows}), "most of the universe was never proposed"
    for route in "UH":
        shares = [w for (r, _), w in made.weights.items() if r == route]
        assert math.fsum(shares) == pytest.approx(1.0, abs=1e-12)
    assert {group for route, group in made.weights if route == "U"} == {"", "housekeeping"}
    answered = [row for s in made.scans if s.route == "U" for row in s.rows]
    assert sorted(answered) == [h.id for h in rows if CATALOGUE[h.test].universe]
    assert answered
    assert [s.rows for s in made.scans if s.route == "H"] == [(h.id,) for h in rows if h.id in promoted.hypotheses]
    assert all(s.job.m == plan.permutations_look and s.job.vectors for s in made.scans)


def test_a_row_without_enough_sealed_genes_is_untestable_there(finished: Any) -> None:
    project, plan = finished.project, finished.ledger.run()
    h = next(h for h in finished.ledger.records(rec.Registered) if h.annotation == "t_cells")
    split = project.split.copy()
    split[project._entities["t_cells"].rows] = 0
    other = open_project(project.folder, project.config, split)
    made = plan_look(other, plan, [h], one_look(h.id))
    (untestable,) = made.untestable
    assert (untestable.status, untestable.p_adj, untestable.n_entity) == ("untestable", 1.0, 0)
    assert not [s for s in made.scans if s.route == "H"]
    given = policy.verdict(plan, result(h.id), True, look(h.id, 0.9), untestable)
    assert given.verdict == "not_confirmed"
    assert untestable.look == looking.LOOK


def test_a_row_without_enough_signs_among_sealed_genes_is_untestable_there(finished: Any) -> None:
    project, plan = finished.project, finished.ledger.run()
    h = next(h for h in finished.ledger.records(rec.Registered) if h.spec["background"] is None)
    signed = replace(h, test="signed_edge_split", annotation="tf_targets")
    (untestable,) = plan_look(project, plan, [signed], one_look(h.id)).untestable
    assert (untestable.status, untestable.route) == ("untestable", "H")
    assert "2 repressing edges of regulators that have both, and signed_edge_split needs 5" in untestable.reason
