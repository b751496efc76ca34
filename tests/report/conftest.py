"""Plausible report data, drawn from a seed. Fixtures hand out functions, because test modules cannot import each other."""

import dataclasses
import functools
import hashlib
import math
import random
from collections.abc import Callable
from typing import Any

import pytest

from hyposcreen.agent.ledger.records import Head, Rejected, Row, RunOpened
from hyposcreen.agent.report import ReportData

LAYERS = 6
TESTS = {
    "axis_separation": ("axis", "AUROC", [f"SV{k + 1}" for k in range(10)]),
    "cohesion": ("geometry", "AUROC", ["cosine"]),
    "copole_rate": ("pairs", "co-pole rate", [f"SV{k + 1}" for k in range(10)]),
    "edge_auroc": ("edges", "AUROC", ["SV1-5", "SV2-7", "SV6-10"]),
    "layer_trajectory": ("trajectory", "AUROC change", ["change", "trend", "bend"]),
    "effective_dimension": ("spectrum", "dimensions", ["unit sphere"]),
}
ENTITIES = {
    "claim": ["oxidative_phosphorylation", "antigen_presentation", "tf_targets_gata1", "interferon_response", "cell_cycle"],
    "positive_control": ["ribosomal_proteins", "b_cell_markers"],
    "negative_control": ["drawn_set_1", "drawn_set_2"],
}  # fmt: skip


def run_opened(**changes: Any) -> RunOpened:
    values: dict[str, Any] = {
        "seed": 20260226, "iterations": 63, "per_iteration": 3, "proposer": "offline",
        "alpha": 0.05, "alpha_u": 0.025, "alpha_h": 0.025,
        "permutations_explore": 1999, "permutations_look": 9999, "max_promoted": 20, "promote_p": 0.01,
        "cache": {"name": "demo", "digest": "c" * 64, "genes": 1184, "masked": 16, "dim": 64,
                  "layers": [f"L{q}" for q in range(LAYERS)], "model": "scGPT-shaped demo", "data": "drawn cells"},
        "annotations": tuple(
            {"name": name, "kind": "gene_set", "role": role, "size": 20, "source": "drawn here", "version": "1",
             "licence": "CC0-1.0", "provenance_type": "external", "digest": hashlib.sha256(name.encode()).hexdigest()}
            for role, names in ENTITIES.items() for name in names
        ),
        "split": {"digest": "d" * 64, "explore": 592, "sealed": 592},
        "universe": {"digest": "e" * 64, "cells": 14160, "hypotheses": 5310},
        "version": "0.1.0",
    }  # fmt: skip
    return RunOpened(**values | changes)


_VOCABULARY = """
middle early late layers axis embedding genes expression regulators targets because suggests whereas stronger weaker
cluster module pathway membrane nuclear signalling immune metabolic transcription factor binding the a of in with from
toward along within between earlier rows refine broader narrower separation geometry spectral window direction gradient
attention context tokens cells blood marker lineage stress response housekeeping controls expected distinct shared
"""
_WORDS = _VOCABULARY.split()


def _prose(draw: random.Random, words: int) -> str:
    """Words at random: prose that compresses no better than what a model writes."""
    return " ".join(draw.choices(_WORDS, k=words))


def _views(draw: random.Random, test: str, shift: float) -> list[dict[str, Any]]:
    coordinates = TESTS[test][2]
    layers = ["L0:L5"] if test == "layer_trajectory" else [f"L{q}" for q in range(LAYERS)]
    base = {"effective_dimension": 14.0, "layer_trajectory": 0.0, "copole_rate": 0.08}.get(test, 0.5)
    unit = {"effective_dimension": 2.0}.get(test, 0.04)
    out = []
    for layer_index, layer in enumerate(layers):
        for place, coordinate in enumerate(coordinates):
            signal = shift * math.exp(-((layer_index - 3) ** 2) / 3) if place == 1 or len(coordinates) == 1 else 0
            z = draw.gauss(0, 1) + signal
            null_mean = base + draw.gauss(0, unit / 40)
            out.append({"layer": layer, "coordinate": coordinate, "statistic": int(z * 1e5), "effect": null_mean + unit * z,
                        "null_mean": null_mean, "z": z, "k": draw.randint(0, 1999)})  # fmt: skip
    return out


def _sketch(draw: random.Random) -> dict[str, Any]:
    """A null distribution as a worker describes it."""
    low, high = draw.uniform(-1, 1), draw.uniform(3, 5)
    counts = [int(400 * math.exp(-((i - 6) ** 2) / 18) * draw.uniform(0.9, 1.1)) for i in range(20)]
    return {"low": round(low, 4), "high": round(high, 4), "observed": round(draw.uniform(-1, 9), 4), "counts": counts}


COVARIATES = ("expression", "detection", "other annotations", "other degree")
NULLS = ("gene_label", "stratified", "family_block")


def _beside(draw: random.Random, test: str, entity: str, k: int, effect: float, unit: float) -> dict[str, Any]:
    """Interval, baselines, companions and checks, as a real row has them: balance belongs to the annotation."""
    own = {
        "axis_separation": ("random_axis",),
        "copole_rate": ("random_axis",),
        "edge_auroc": ("rewired", "target_shuffle"),
    }
    nulls = (*NULLS, *own.get(test, ()))
    ks = {"stratified": k} | {null: draw.randint(0, max(1, k)) for null in nulls if null != "stratified"}
    of = random.Random(entity)
    none = test == "effective_dimension" or draw.random() < 0.2
    width = draw.uniform(0.5, 3) * unit
    return {
        "effect_low": None if none else effect - width, "effect_high": None if none else effect + width,
        "interval_level": None if none else 0.95,
        "interval_method": None if none else {"axis_separation": "delong"}.get(test, "family_jackknife"),
        "interval_units": None if none else draw.randint(6, 27),
        "interval_missing": ("size_dependent" if test == "effective_dimension" else "few_clusters") if none else None,
        "baselines": {b: draw.uniform(0.4, 0.8) for b in ("norm", "expression and detection", "degree")}
        if test == "cohesion" else {},
        "companions": {n: {"k": ks[n], "m": 999 if n == "random_axis" else 1999, "p_scan": (ks[n] + 1) / 2000,
                           "statistic_hex": draw.random().hex()} for n in nulls},
        "checks": {
            "balance": {null: {c: of.gauss(0, 0.4 if null == "gene_label" else 0.1) for c in COVARIATES} for null in NULLS},
            "unbalanced": "",
            "notes": [f"'{entity}' mixes 41 activating and 12 repressing edges on the explore side, and edge_auroc ignores "
                      "signs: opposite effects may cancel"] if test == "edge_auroc" else [],
        },
    }  # fmt: skip


def make_row(number: int, draw: random.Random, **changes: Any) -> Row:
    """One tested row; ``changes`` overrides any field."""
    role = draw.choices(list(ENTITIES), [0.84, 0.08, 0.08])[0]
    test = draw.choices(list(TESTS), [5, 2, 3, 2, 1, 1])[0]
    family, unit, _ = TESTS[test]
    entity = draw.choice(ENTITIES[role])
    strong = role == "positive_control" or (role == "claim" and draw.random() < 0.12)
    views = _views(draw, test, 7.0 if strong else 0.0)
    best = max(views, key=lambda view: float(view["z"]))
    k = min(1999, int(1999 * len(views) * 0.5 * math.erfc(best["z"] / math.sqrt(2))))
    k_raw = min(k, int(1999 * 0.5 * math.erfc(best["z"] / math.sqrt(2))))
    promoted = (k + 1) / 2000 <= 0.01
    p_adj = min(1.0, (3 * k + draw.randint(1, 90)) / 10000) if promoted else None
    confirmed = promoted and p_adj is not None and p_adj <= 0.025 and role != "negative_control"
    spec = {
        "test": test, "annotation": entity, "annotation_digest": hashlib.sha256(entity.encode()).hexdigest(),
        "background": None, "background_digest": None, "cache_digest": "c" * 64, "layers": "all", "coordinates": "all",
        "alternative": "greater", "nulls": ["gene_label", "stratified"], "scan": "max_t",
    }  # fmt: skip
    values: dict[str, Any] = {
        "id": f"H{number:04d}", "iteration": (number - 1) // 3 + 1, "family": family, "test": test,
        "annotation": entity, "role": role,
        "claim": f"Genes of {entity.replace('_', ' ')} separate from the other genes by {test.replace('_', ' ')}, "
                 f"{_prose(draw, 8)}.",
        "verdict": "confirmed" if confirmed else "not_confirmed" if promoted else "screened",
        "route": draw.choice(["U", "H", "U+H"]) if promoted else None,
        "statistic": best["z"], "effect": best["effect"], "effect_unit": unit, "null_mean": best["null_mean"],
        "best_view": f"{best['layer']}·{best['coordinate']}", "k": k, "m": 1999,
        "p_raw": (k_raw + 1) / 2000, "p_scan": (k + 1) / 2000, "q_bh": min(1.0, (k + 1) / 400), "q_by": 1.0,
        "p_holm": min(1.0, (k + 1) / 11), "p_confirm": (k + 1) / 10000 if promoted else None, "p_confirm_adj": p_adj,
        "p_u_adj": p_adj, "p_h_adj": p_adj, "promoted": promoted, "n_genes": 592, "n_entity": draw.randint(12, 60),
        "null": "stratified", "prior": round(draw.uniform(0.02, 0.9), 2), "direction": "greater",
        "parent": f"H{draw.randint(1, number - 1):04d}" if number > 5 and draw.random() < 0.3 else None,
        "proposer_move": draw.choice(["cover", "refine", "transfer"]),
        "rationale": f"{entity} is not yet covered by {test} (z ≈ {draw.uniform(0, 4):.1f} before); {_prose(draw, 12)}.",
        "reason": "", "min_effect": draw.uniform(0.02, 0.1), "statistic_hex": float(best["z"]).hex(), "spec": spec,
        "spec_sha256": hashlib.sha256(f"{number}".encode()).hexdigest(), "cache_digest": "c" * 64,
        "views": tuple(views), "attempts": 1, **_said_by(draw),
        **_beside(draw, test, entity, k, best["effect"], {"effective_dimension": 2.0}.get(test, 0.04)),
    }  # fmt: skip
    return Row(**values | changes)


def _said_by(draw: random.Random) -> dict[str, Any]:
    """Who proposed a row: a model, or the offline proposer for it."""
    digests = {f"{name}_sha256": hashlib.sha256(draw.randbytes(8)).hexdigest() for name in ("request", "response")}
    if draw.random() < 0.85:
        return {"proposer": "openai", "proposal_source": {"model": "a-model", "prompts": "a" * 64, **digests}}
    return {
        "proposer": "offline",
        "proposal_source": {"filled_for": "openai", "reason": "the answer held 2 of 3 proposals"},
    }


_NUMBERS = (
    "route", "statistic", "effect", "effect_unit", "null_mean", "best_view", "k", "m", "p_raw", "p_scan", "q_bh", "q_by",
    "p_holm", "p_confirm", "p_confirm_adj", "p_u_adj", "p_h_adj", "n_genes", "n_entity", "null", "min_effect",
    "statistic_hex", "effect_low", "effect_high", "interval_level", "interval_method", "interval_units", "interval_missing",
)  # fmt: skip


def empty_numbers(**changes: Any) -> dict[str, Any]:
    """Fields of a row that has not been tested, or could not be."""
    nothing = {"checks": {}, "companions": {}, "baselines": {}, "views": (), "promoted": False, "verdict": "registered"}
    return {**dict.fromkeys(_NUMBERS), **nothing, **changes}


def make_data(n: int = 189, seed: int = 1, complete: bool = True, **changes: Any) -> ReportData:
    """A run with ``n`` rows: every verdict occurs once ``n`` is 20 or more."""
    draw = random.Random(seed)
    rows = [make_row(number, draw) for number in range(1, n + 1)]
    broken = {
        "untestable": "7 members on side A; 12 are needed to reach p ≤ 0.05",
        "invalid": "the label is derived from this cache",
        "failed": "timeout: the worker exceeded 60 s",
    }
    if n >= 20:
        for place, (verdict, reason) in enumerate(broken.items()):
            for index in range(6 + place, n, 47):
                given = empty_numbers(verdict=verdict, reason=reason, n_entity=7, n_genes=592)
                rows[index] = make_row(index + 1, draw, **given)
        rows[10] = make_row(11, draw, verdict="retired")
        rows[12] = make_row(13, draw, verdict="stale")
    if not complete:
        hidden = dict.fromkeys(("route", "p_confirm", "p_confirm_adj", "p_u_adj", "p_h_adj"))
        shown = {"confirmed": "screened", "not_confirmed": "screened"}
        rows = [
            Row(**{**vars(r), **hidden, "promoted": False, "verdict": shown.get(r.verdict, r.verdict)}) for r in rows
        ]
        rows[-2:] = [] if n < 2 else [make_row(n - 1 + i, draw, **empty_numbers()) for i in range(2)]
    values: dict[str, Any] = {
        "run": run_opened(),
        "rows": tuple(rows),
        "rejections": tuple(
            Rejected(1 + i % 63, i % 3, ("duplicate", "outside_grammar", "malformed")[i % 3],
                     f"layers 'L{i + 9}' is not one of all, early, late, L0 … L5", "H0001" if i % 3 == 0 else None)
            for i in range(n // 15)
        ),
        "head": Head(4 * n, hashlib.sha256(b"head").hexdigest(), hashlib.sha256(b"content").hexdigest()),
        "promoted": tuple(row.id for row in rows if row.promoted),
        "complete": complete,
        "generated": "2026-03-01 12:00 UTC",
    }  # fmt: skip
    values["sketches"] = {row.id: {null: _sketch(draw) for null in row.companions} for row in rows if row.companions}
    return ReportData(**values | changes)


_plain = functools.cache(make_data)
"""Data without changes are made once: they are frozen, and thousands of rows take seconds."""


@pytest.fixture
def data_of() -> Callable[..., ReportData]:
    def make(n: int = 189, seed: int = 1, complete: bool = True, **changes: Any) -> ReportData:
        return dataclasses.replace(_plain(n, seed, complete), **changes)

    return make


@pytest.fixture
def row_of() -> Callable[..., Row]:
    def make(number: int = 1, seed: int = 1, **changes: Any) -> Row:
        return make_row(number, random.Random(seed), **changes)

    return make


@pytest.fixture
def untested() -> Callable[..., dict[str, Any]]:
    return empty_numbers
