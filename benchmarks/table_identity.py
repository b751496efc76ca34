"""Do counts depend on threads, chunks or backend? The last row of ``benchmarks/engine.py``.

Run as a program it prints the exceedance counts of four statistics for every number of threads and chunk size, as JSON;
the row runs it once with numba and once with ``HYPOSCREEN_NO_NUMBA=1`` and compares.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from table_tools import Row
from threadpoolctl import threadpool_limits

from hyposcreen.tests_library.engine.bank import Bank
from hyposcreen.tests_library.engine.discriminant import discriminant_auroc, prepare_discriminant
from hyposcreen.tests_library.engine.edge_kernels import edge_sums
from hyposcreen.tests_library.engine.jit import HAVE_NUMBA
from hyposcreen.tests_library.engine.kernels import same_pole_counts, set_sums
from hyposcreen.tests_library.engine.maxt import exceedances, moments, standardise
from hyposcreen.tests_library.spaces import centred_ranks, poles, quantise, spectral_scores

GENES, DIM, AXES, DRAWS = 400, 96, 12, 2_000
THREADS, CHUNKS = (1, 2), (37, 1_000, DRAWS + 1)
Sums = Callable[[NDArray[np.int32]], NDArray[np.int64]]


def statistics() -> dict[str, Sums]:
    """Sum functions of four tests, from float32 embeddings on, so that the matrix products are part of the check."""
    rng = np.random.default_rng(7)
    axes = quantise(spectral_scores(rng.standard_normal((GENES, DIM)).astype(np.float32), AXES))
    ranks = centred_ranks(axes)
    pole = poles(ranks)
    members = np.sort(rng.choice(GENES, 40, replace=False)).astype(np.int64)
    pairs = rng.integers(0, GENES, (200, 2))
    edges = np.stack([rng.integers(0, 3, 150), rng.integers(0, GENES, 150)], axis=1)
    by_regulator = np.ascontiguousarray(np.stack([np.roll(ranks, r, axis=0) for r in range(3)]))
    model = prepare_discriminant(axes[:, :6].astype(np.float64), rng.permutation(np.arange(GENES) % 5))
    return {
        "sets": lambda a: set_sums(ranks, members, a),
        "edges": lambda a: edge_sums(by_regulator, edges, a),
        "co-poles": lambda a: same_pole_counts(pole, pairs, a),
        "classifier": lambda a: discriminant_auroc(model, members, a)[:, None],
    }


def counts(sums: Sums, threads: int, chunk: int) -> list[int]:
    """Exceedances of every view and, last, of their maximum."""
    bank = Bank((2026, 11), np.arange(GENES) % 3)
    starts = range(0, DRAWS + 1, chunk)
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(lambda s: sums(bank.arrangements(s, min(s + chunk, DRAWS + 1))), starts))
    totals = np.concatenate(parts)
    z = standardise(totals, moments(totals), "two-sided")
    return [*(exceedances(column) for column in z.T), exceedances(z.max(axis=1))]


def everything() -> dict[str, dict[str, list[int]]]:
    """Counts by setting and statistic."""
    out: dict[str, dict[str, list[int]]] = {}
    for threads in THREADS:
        with threadpool_limits(threads):
            made = statistics()
            for chunk in CHUNKS:
                out[f"{threads} threads, chunks of {chunk}"] = {
                    name: counts(sums, threads, chunk) for name, sums in made.items()
                }
    return out


def identity_row() -> Row:
    settings: dict[str, dict[str, list[int]]] = {}
    backends = []
    for off in ("", "1"):
        done = subprocess.run(
            [sys.executable, str(Path(__file__))],
            env=os.environ | {"HYPOSCREEN_NO_NUMBA": off},
            capture_output=True,
            text=True,
            check=True,
        )
        found = json.loads(done.stdout)
        backends.append(found["backend"])
        settings |= {f"{found['backend']}, {name}": values for name, values in found["counts"].items()}
    first, *rest = settings.values()
    differing = sum(a != b for other in rest for name in first for a, b in zip(first[name], other[name], strict=True))
    compared = sum(len(values) for values in first.values())
    note = (
        f"{compared} counts of {', '.join(first)} in {len(settings)} settings: threads 1, 2 × chunks "
        f"{', '.join(map(str, CHUNKS[:-1]))}, all × {' and '.join(backends)}"
    )
    return Row("differing exceedance counts over threads × chunks × backends", differing, 0, note, "", at_most=True)


if __name__ == "__main__":
    print(json.dumps({"backend": "numba" if HAVE_NUMBA else "NumPy", "counts": everything()}))
