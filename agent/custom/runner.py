"""A committed statistic on real data: blinded under every companion null, judged outside, and an outcome like any other.

What the code printed goes to the record of the attempt, for people; no prompt is made of it.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ...embeddings_cache.families import gene_families
from ...embeddings_cache.store import Cache
from ...tests_library.run import Covariates
from ...tests_library.sketch import sketch
from ..sandbox.base import Outcome, OutcomeKind
from ..sandbox.statistics import Bounds
from ..untrusted import prose
from .bench import CodeBench, run_blinded
from .ensembles import ensemble_name, make_ensemble
from .jobs import CodeJob
from .kind import VALUE
from .likeness import signature

_KEPT = 400
"""Characters of the output that an attempt keeps."""


class CodeRunner:
    """Runs the jobs of one cache. ``text`` gives the code that a sha256 names; ``secret`` is the key of all draws."""

    def __init__(self, bench: CodeBench, cache: Cache, secret: bytes, text: Callable[[str], str]) -> None:
        self._bench = bench
        self._cache = cache
        self._secret = secret
        self._text = text
        self._families = gene_families(cache.genes.symbol)
        self._covariates: dict[tuple[Any, ...], Covariates] = {}

    @property
    def boundary(self) -> str:
        """Name of the boundary the code runs behind."""
        return self._bench.boundary

    def run(self, job: CodeJob, factor: float = 1.0) -> Outcome:
        """One try, with ``factor`` times the limits. Raises :class:`~..errors.UserError` for a fault of ours."""
        started = time.monotonic()
        code, covariates = self._text(job.code), self._universe(job)
        embedding = np.asarray(self._cache.layers[int(job.layer[1:])][np.array(job.universe)], np.float32)
        bounds = self._bench.bounds(job.m, factor)
        found: dict[str, NDArray[np.float64]] = {}
        for null in job.nulls:
            end, values, said = self._one_null(job, code, embedding, covariates, null, bounds)
            if values is None:
                seconds = time.monotonic() - started
                detail = f"under the {null} null; printed: {prose(said[-_KEPT:])}"
                none = {name: np.zeros(job.m + 1) for name in job.nulls}
                return Outcome(cast(OutcomeKind, end), seconds, detail, _value(job, none), _vectors(job, none))
            found[null] = values
        z = {null: standardised(values, job.alternative) for null, values in found.items()}
        beside = {
            "custom": {
                "values": signature(found[job.nulls[0]]),
                "ensemble": ensemble_name(job, job.nulls[0]),
                "order_invariant": job.order_invariant,
            }
        }
        value = _value(job, found) | {"beside": beside, "sketches": {null: sketch(v) for null, v in z.items()}}
        return Outcome("ok", time.monotonic() - started, "", value, _vectors(job, z))

    def _one_null(
        self, job: CodeJob, code: str, embedding: NDArray[np.float32], covariates: Covariates, null: str, bounds: Bounds
    ) -> tuple[str, NDArray[np.float64] | None, str]:
        """End, values float64 [m + 1] with the observed first (``None`` unless the end is ``ok``), and what was printed."""
        plan = make_ensemble(self._secret, job, null, covariates.exchange(null))
        end, sent, _, said = run_blinded(self._bench.run, code, embedding, plan, bounds, job.order_invariant)
        if end != "ok" or sent is None:
            return end, None, said
        values = sent[plan.places]
        z = standardised(values, job.alternative)
        if not np.isfinite(z).all():
            return "nonfinite", None, "values too large for their variance"
        return ("degenerate", None, said) if not z.any() else ("ok", values, said)

    def _universe(self, job: CodeJob) -> Covariates:
        name = (job.universe, job.load, job.matched)
        if name not in self._covariates:
            genes, rows = self._cache.genes, np.array(job.universe, np.int64)
            self._covariates[name] = Covariates(
                tuple(genes.symbol[r] for r in job.universe), genes.mean_expression[rows], genes.detection[rows],
                tuple(self._families[r] for r in job.universe), np.array(job.load, np.int64),
                np.array(job.matched, np.int64),
            )  # fmt: skip
        return self._covariates[name]


def standardised(values: NDArray[np.float64], alternative: str) -> NDArray[np.float64]:
    """Distance from the mean of all m + 1 labellings in their sd, larger = more extreme: float64 [m + 1]; 0 without variance,
    NaN where float64 cannot hold it.

    A symmetric function of the labellings, so that the rank of the observed one stays uniform under the null.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        sd = values.std() if np.isfinite(values.std()) else np.nan
        z = np.zeros(len(values)) if sd == 0 else (values - values.mean()) / sd
    return np.abs(z) if alternative == "two-sided" else z if alternative == "greater" else -z


def _vectors(job: CodeJob, z: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    return {f"{null}/{job.id}": values for null, values in z.items()} if job.vectors else {}


def _value(job: CodeJob, found: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    """The numbers of a row in the form all workers give them; values that are all equal come to k = m, p = 1."""
    best = f"{job.layer}·{VALUE}"
    return {
        "size": len(job.entity["members"]),
        "n": len(job.universe),
        "nulls": {null: {"m": job.m, "broken": [], "subsets": {job.id: _subset(job, v)}} for null, v in found.items()},
        "intervals": {
            best: {"low": None, "high": None, "level": 0.0, "method": "", "units": 0, "missing": "undeclared"}
        },
        "baselines": {best: {}},
    }


def _subset(job: CodeJob, values: NDArray[np.float64]) -> dict[str, Any]:
    z = standardised(values, job.alternative)
    k = int((z[1:] >= z[0]).sum())
    view = {
        "layer": job.layer, "coordinate": VALUE, "statistic": job.m - k, "effect": float(values[0]),
        "null_mean": float(values[1:].mean()), "null_sd": float(values[1:].std()), "z": float(z[0]), "k": k,
    }  # fmt: skip
    return {"k": k, "statistic": float(z[0]), "best": f"{job.layer}·{VALUE}", "views": [view]}
