"""Sums and exceedance counts are the same integers over threads {1, 2} × chunks {37, 1000, all} × backends.

Each backend is a process of its own. Threads are those of the matrix products that make the axes, and those that share
the chunks out: compiled kernels let go of the interpreter lock, so two really run side by side.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from hyposcreen.tests_library.engine.bank import Bank

COUNTS = """
import hashlib, json, sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from threadpoolctl import threadpool_limits
from hyposcreen.tests_library.engine import edge_kernels, kernels
from hyposcreen.tests_library.engine.bank import Bank
from hyposcreen.tests_library.engine.discriminant import discriminant_auroc, prepare_discriminant
from hyposcreen.tests_library.engine.maxt import exceedances, moments, standardise
from hyposcreen.tests_library.spaces import centred_ranks, poles, quantise, spectral_scores

N, DRAWS = 60, 1200

def statistics():
    rng = np.random.default_rng(3)
    axes = quantise(spectral_scores(rng.standard_normal((N, 24)).astype(np.float32), 9))
    ranks, members = centred_ranks(axes), np.arange(0, N, 5)
    pairs, weights = rng.integers(0, N, (31, 2)), rng.integers(-9, 10, 31)
    edges = np.stack([rng.integers(0, 2, 21), rng.integers(0, N, 21)], axis=1)
    rolled = np.stack([ranks, ranks[::-1]])
    square = rng.integers(-(2**15), 2**15, (N, N, 2)).astype(np.int32)
    square += square.transpose(1, 0, 2)
    square //= 2
    model = prepare_discriminant(axes[:, :3].astype(np.float64), rng.permutation(np.arange(N) % 5))
    return {
        "sets": lambda a: kernels.set_sums(ranks, members, a),
        "pairs": lambda a: kernels.pair_sums(square, pairs, weights, a),
        "poles": lambda a: kernels.same_pole_counts(poles(ranks), pairs, a),
        "edges": lambda a: edge_kernels.edge_sums(rolled, edges, a),
        "gram": lambda a: np.concatenate(kernels.gram_moments(square, members, a), axis=1),
        "classifier": lambda a: discriminant_auroc(model, members, a)[:, None],
    }

def result(sums, bank, threads, chunk):
    with ThreadPoolExecutor(threads) as pool:
        work = lambda s: sums(bank.arrangements(s, min(s + chunk, DRAWS + 1)))
        totals = np.concatenate(list(pool.map(work, range(0, DRAWS + 1, chunk))))
    z = standardise(totals, moments(totals), "two-sided")
    digest = hashlib.sha256(totals.tobytes()).hexdigest()
    return [digest, *(exceedances(column) for column in z.T), exceedances(z.max(axis=1))]

banks = {
    "genes": Bank((1, 2), np.zeros(N, np.int64)),
    "strata": Bank((1, 2), np.arange(N) % 7),
    "units": Bank((1, 2), np.zeros(N, np.int64), np.arange(N) // 2),
}
out = {"numba": kernels.HAVE_NUMBA}
for threads in (1, 2):
    with threadpool_limits(threads):
        for name, sums in statistics().items():
            for chunk in (37, 1000, DRAWS + 1):
                for of, bank in banks.items():
                    out[f"{name} {of}|{threads} {chunk}"] = result(sums, bank, threads, chunk)
print(json.dumps(out))
"""


def counts(no_numba: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", COUNTS],
        env=os.environ | {"HYPOSCREEN_NO_NUMBA": no_numba},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def by_statistic(found: dict) -> dict[str, list]:
    """All results of one statistic on one bank, whatever the threads and chunks."""
    grouped: dict[str, list] = {}
    for name, value in found.items():
        grouped.setdefault(name.split("|")[0], []).append(value)
    return grouped


def test_counts_do_not_depend_on_threads_chunks_or_backend():
    fast, slow = counts(""), counts("1")
    assert slow.pop("numba") is False
    if not fast.pop("numba"):
        pytest.skip("numba is not here, so there is one path only")
    fast, slow = by_statistic(fast), by_statistic(slow)
    assert len(fast) == 6 * 3
    for name, values in fast.items():
        assert len(values) == 6, name
        assert all(value == values[0] for value in values + slow[name]), name


def test_banks_with_different_keys_or_exchange_rules_are_different():
    """So the identity above is not that of a constant."""
    rows = [
        Bank(key, strata, units).arrangements(1, 4).tobytes()
        for key, strata, units in (
            ((1, 2), np.zeros(60, np.int64), None),
            ((1, 3), np.zeros(60, np.int64), None),
            ((2, 2), np.zeros(60, np.int64), None),
            ((1, 2), np.arange(60) % 7, None),
            ((1, 2), np.zeros(60, np.int64), np.arange(60) // 2),
        )
    ]
    assert len(set(rows)) == len(rows)
