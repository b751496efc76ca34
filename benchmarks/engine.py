"""How fast the permutation engine is beside what people use: ``python benchmarks/engine.py``.

One hypothesis: a set of 100 among 5,000 genes, 120 views, 10,000 permutations, one max-T p-value. All contenders run in
this process on one thread, and only ratios are meant to be read. The slow ones are timed on a few calls and
extrapolated linearly to the whole job; each line says from how many.

The bank of arrangements is made once a universe of genes and shared by all hypotheses, so two ratios are printed: *with
the bank* (the first hypothesis pays for it) and *on a made bank* (every later one).
"""

import platform
import time
from collections.abc import Callable

import numpy as np
from scipy.stats import permutation_test, rankdata
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from hyposcreen.tests_library.engine.bank import Bank
from hyposcreen.tests_library.engine.jit import HAVE_NUMBA
from hyposcreen.tests_library.engine.kernels import set_sums
from hyposcreen.tests_library.engine.maxt import exceedances, moments, p_value, standardise
from hyposcreen.tests_library.spaces import centred_ranks, quantise

GENES, VIEWS, SIZE, PERMUTATIONS = 5_000, 120, 100, 10_000
HOLD = {"a rank-once NumPy loop": 40, "scipy.stats.permutation_test": 5_000, "a roc_auc_score loop": 100_000}


def best(job: Callable[[], object], repeats: int = 3) -> float:
    """Seconds of the fastest of a few runs: the one least disturbed by the rest of the machine."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        job()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((GENES, VIEWS))
    members = np.sort(rng.choice(GENES, SIZE, replace=False)).astype(np.int64)
    table = np.ascontiguousarray(centred_ranks(quantise(scores)))
    bank = Bank((1, 2), np.zeros(GENES, np.int64))
    made: list[np.ndarray] = []

    def draw() -> None:
        made[:] = [bank.arrangements(start, stop) for start, stop in bank.blocks(PERMUTATIONS)]

    def test() -> float:
        totals = np.concatenate([set_sums(table, members, block) for block in made])
        z = standardise(totals, moments(totals), "two-sided")
        return p_value(exceedances(z.max(axis=1)), PERMUTATIONS)

    bank.arrangements(0, 2)  # compile, or load what was compiled before
    set_sums(table, members, bank.arrangements(0, 2))
    seconds_bank, seconds_test = best(draw), best(test, 5)

    ranks = rankdata(scores, axis=0).T.copy()
    label = np.zeros(GENES, bool)
    label[members] = True
    few = {"a rank-once NumPy loop": 400, "scipy.stats.permutation_test": 500, "a roc_auc_score loop": 100}

    def rank_once() -> None:
        for _ in range(few["a rank-once NumPy loop"]):
            ranks[:, rng.permutation(GENES)[:SIZE]].sum(axis=1)

    def scipy_test() -> None:
        permutation_test(
            (ranks[0][label], ranks[0][~label]),
            lambda x, _y, axis=-1: x.sum(axis=axis),
            permutation_type="independent",
            vectorized=True,
            n_resamples=few["scipy.stats.permutation_test"],
            batch=100,
            rng=np.random.default_rng(1),
        )

    def sklearn_loop() -> None:
        for _ in range(few["a roc_auc_score loop"]):
            roc_auc_score(label[rng.permutation(GENES)], scores[:, 0])

    whole = PERMUTATIONS * VIEWS
    others = {
        "a rank-once NumPy loop": (best(rank_once), PERMUTATIONS, "permutations of all views"),
        "scipy.stats.permutation_test": (best(scipy_test, 2), whole, "permutations of one view"),
        "a roc_auc_score loop": (best(sklearn_loop, 2), whole, "calls"),
    }
    print(f"{GENES:,} genes, set of {SIZE}, {VIEWS} views, {PERMUTATIONS:,} permutations with max-T, one thread")
    print(
        f"{platform.processor() or platform.machine()}, NumPy {np.__version__}, numba {'on' if HAVE_NUMBA else 'off'}"
    )
    print(f"bank {seconds_bank:.3f} s, test on a made bank {seconds_test:.4f} s, p = {test():.4f}")
    print(f"{'against':<30}{'with the bank':>15}{'on a made bank':>16}{'to hold':>10}   extrapolated from")
    for name, (seconds, units, what) in others.items():
        total = seconds / few[name] * units
        cold, warm = total / (seconds_bank + seconds_test), total / seconds_test
        print(f"{name:<30}{cold:>14,.1f}×{warm:>15,.1f}×{HOLD[name]:>9,}×   {few[name]} of {units:,} {what}")


if __name__ == "__main__":
    with threadpool_limits(1):  # our kernels use one thread anyway
        main()
