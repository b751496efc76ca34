"""Outcome → result: the numbers a worker sent become the row the ledger keeps. Pure functions."""

from collections.abc import Mapping
from typing import Any

from ..tests_library.catalogue import deciding_nulls
from ..tests_library.engine.maxt import p_value
from ..tests_library.multiplicity import largest_over_nulls
from .custom.ends import ENDED
from .custom.kind import kind_of
from .ledger.records import Registered, Tested
from .sandbox.base import Outcome

POWER_Z = 1.959964 + 0.841621
"""z(0.975) + z(0.8): an effect this many null sds from the null mean is found with 80 % power at one view."""


FAILURES = {
    **ENDED,
    "error": "error: the test stopped with an error",
    "timeout": "timeout: no answer within the time limit, twice",
    "memory": "memory: more than the memory limit, twice",
    "crash": "crash: the worker process ended, twice",
}
"""Why a row failed, in words that are the same on every machine; what the worker said is kept with the attempt."""


def untested(hypothesis: Registered, status: str, reason: str, size: int, universe: int) -> Tested:
    """A row that no test was run for; its p is 1 by convention ((0 + 1) / (0 + 1))."""
    unit = kind_of(hypothesis.test).effect_unit
    return Tested(
        hypothesis.id, status, reason, n_genes=universe, n_entity=size, null=" and ".join(hypothesis.spec["nulls"]),
        effect_unit=unit,
    )  # fmt: skip


def explored(hypothesis: Registered, outcome: Outcome, checks: Mapping[str, Any] | None = None) -> Tested:
    """The exploratory result of ``hypothesis``: the companion null with the largest p speaks for the row."""
    if outcome.kind != "ok":
        return untested(hypothesis, "failed", FAILURES[outcome.kind], 0, 0)
    nulls = {name: (n["m"], n["subsets"][hypothesis.id]) for name, n in outcome.value["nulls"].items()}
    p_by_null = {name: p_value(subset["k"], m) for name, (m, subset) in nulls.items()}
    deciding = deciding_nulls(kind_of(hypothesis.test))
    null, p_scan = largest_over_nulls({name: p for name, p in p_by_null.items() if name in deciding})
    m, subset = nulls[null]
    broken = outcome.value["nulls"][null]["broken"]
    scanned = [f"{v['layer']}·{v['coordinate']}" for v in subset["views"]]
    if all(name in broken for name in scanned):
        reason = f"the {null} null has no variance at any scanned view; the entity cannot move in this universe"
        return untested(hypothesis, "invalid", reason, outcome.value["size"], outcome.value["n"])
    best = best_view(subset)
    return Tested(
        id=hypothesis.id,
        status="ok",
        n_genes=outcome.value["n"],
        n_entity=outcome.value["size"],
        null=null,
        m=m,
        k=subset["k"],
        p_scan=p_scan,
        p_raw=p_value(best["k"], m),
        statistic=subset["statistic"],
        statistic_hex=float(subset["statistic"]).hex(),
        best_view=subset["best"],
        effect=best["effect"],
        null_mean=best["null_mean"],
        effect_unit=kind_of(hypothesis.test).effect_unit,
        min_effect=POWER_Z * best["null_sd"],
        **_beside(outcome.value, subset["best"]),
        companions={
            name: {"k": s["k"], "m": mm, "p_scan": p_by_null[name], "statistic_hex": float(s["statistic"]).hex()}
            for name, (mm, s) in nulls.items()
        },
        views=tuple({k: v for k, v in view.items() if k != "null_sd"} for view in subset["views"]),
        checks={**(checks or {}), **outcome.value.get("beside", {})},
    )


def _beside(value: Mapping[str, Any], best: str) -> dict[str, Any]:
    """The interval and the baselines at the best view, as fields of :class:`Tested`."""
    found = value["intervals"][best]
    known = found["missing"] == ""
    return {
        "effect_low": found["low"],
        "effect_high": found["high"],
        "interval_level": found["level"] if known else None,
        "interval_method": found["method"],
        "interval_units": found["units"],
        "interval_missing": found["missing"],
        "baselines": value["baselines"][best],
    }


def best_view(subset: Mapping[str, Any]) -> Mapping[str, Any]:
    """The numbers of the view that attains a subset's maximum."""
    view: Mapping[str, Any] = next(v for v in subset["views"] if f"{v['layer']}·{v['coordinate']}" == subset["best"])
    return view
