"""Records for ledger tests. Fixtures hand out functions, because test modules cannot import each other here."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hyposcreen.agent.ledger import records as r
from hyposcreen.agent.ledger.store import Ledger


def run_opened(**changes: Any) -> r.RunOpened:
    values: dict[str, Any] = {
        "seed": 7,
        "iterations": 2,
        "per_iteration": 3,
        "proposer": "offline",
        "alpha": 0.05,
        "alpha_u": 0.025,
        "alpha_h": 0.025,
        "permutations_explore": 999,
        "permutations_look": 9999,
        "max_promoted": 10,
        "promote_p": 0.05,
        "cache": {"name": "demo", "digest": "c" * 64, "layers": ["L0", "L1"]},
        "annotations": ({"name": "tf", "kind": "set"},),
        "split": {"digest": "d" * 64, "explore": 100, "sealed": 100},
        "universe": {"digest": "e" * 64, "cells": 240, "hypotheses": 60},
        "version": "0.1.0",
    }
    return r.RunOpened(**values | changes)


def registered(number: int, **changes: Any) -> r.Registered:
    values: dict[str, Any] = {
        "id": f"H{number:04d}",
        "iteration": 1,
        "slot": number,
        "claim": f"claim {number}: κ ≥ 1",
        "family": "axis",
        "test": "axis_auroc",
        "annotation": "tf",
        "role": "claim",
        "spec": {"test": "axis_auroc", "views": ["L0"], "number": number},
        "spec_sha256": f"{number:064x}",
        "novelty_sha256": f"{number + 10**6:064x}",
        "prior": 0.25,
        "direction": "greater",
        "rationale": "because",
        "move": "cover",
    }
    return r.Registered(**values | changes)


def tested(number: int, k: int = 4, **changes: Any) -> r.Tested:
    values: dict[str, Any] = {
        "id": f"H{number:04d}",
        "status": "ok",
        "n_genes": 100,
        "n_entity": 12,
        "null": "labels",
        "m": 99,
        "k": k,
        "p_scan": (k + 1) / 100,
        "p_raw": (k // 2 + 1) / 100,
        "statistic": 3.25,
        "statistic_hex": (3.25).hex(),
        "best_view": "L0 SV1",
        "effect": 0.61,
        "null_mean": 0.5,
        "effect_unit": "AUROC",
        "min_effect": 0.58,
        "companions": {"labels": {"k": k, "m": 99}},
        "views": tuple(view(f"L{layer}") for layer in range(2)),
    }
    return r.Tested(**values | changes)


def view(layer: str) -> dict[str, Any]:
    return {"layer": layer, "coordinate": "SV1", "statistic": 41, "effect": 0.61, "null_mean": 0.5, "z": 3.25, "k": 1}


def look_result(number: int, route: str, p_adj: float, **changes: Any) -> r.LookResult:
    values: dict[str, Any] = {
        "id": f"H{number:04d}",
        "look": 1,
        "route": route,
        "status": "ok",
        "m": 9999,
        "k": 19,
        "p": 0.002,
        "k_adj": round(p_adj * 10**4) - 1,
        "p_adj": p_adj,
    }
    return r.LookResult(**values | changes)


def campaign() -> list[r.Record]:
    """A small complete run: every kind of entry, context included."""
    return [
        run_opened(),
        r.Proposed(1, 1, "offline", "f" * 64, {"claim": "claim 1"}),
        registered(1),
        r.AttemptStarted("H0001", 1, "worker-1", "2026-01-01T00:00:00+00:00", 60.0),
        r.AttemptEnded("H0001", 1, "ok", 0.5),
        tested(1),
        registered(2, parent="H0001"),
        tested(2, k=0),
        r.Rejected(1, 3, "duplicate", "says what H0001 says", "H0001"),
        r.IterationClosed(1, 2, 1),
        registered(3),
        tested(3, status="untestable", reason="three genes", m=0, k=0, p_scan=1.0, p_raw=1.0, views=()),
        registered(4),
        r.IterationClosed(2, 2, 0),
        r.Promoted(("H0002", "H0001"), "p_scan <= 0.05"),
        r.LookOpened(1, 0.025, 0.025),
        look_result(1, "U", 0.5),
        look_result(1, "H", 0.04),
        look_result(2, "U", 0.02),
        look_result(2, "H", 0.01),
        r.VerdictGiven("H0001", "not_confirmed", "H", "p_adj > alpha"),
        r.VerdictGiven("H0002", "confirmed", "U+H", "p_adj <= alpha"),
        r.RunClosed({"confirmed": 1, "not_confirmed": 1}),
        r.Replayed("H0002", "identical"),
    ]


@pytest.fixture
def make() -> SimpleNamespace:
    return SimpleNamespace(
        run_opened=run_opened, registered=registered, tested=tested, look_result=look_result, campaign=campaign
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """An empty ledger, open for writing."""
    return Ledger.create(tmp_path / "runs.db", timeout=5)


@pytest.fixture
def full(ledger: Ledger) -> Ledger:
    """A ledger that holds :func:`campaign`."""
    ledger.append(*campaign())
    return ledger


@pytest.fixture
def refused() -> Callable[..., str]:
    """Call something that must raise LedgerError with this exit code; returns the sentence."""
    from hyposcreen.agent.ledger.errors import LedgerError

    def check(exit_code: int, call: Callable[..., object], *arguments: object, **options: object) -> str:
        with pytest.raises(LedgerError) as caught:
            call(*arguments, **options)
        assert caught.value.exit_code == exit_code, caught.value
        return str(caught.value)

    return check
