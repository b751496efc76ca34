"""How fast the permutation engine is beside what people use: ``python benchmarks/engine.py``.

Everything runs in this process on one thread, contenders take turns, the fastest run of each counts in CPU seconds, and
only ratios are meant to be read. Slow contenders are timed on a few calls and extrapolated linearly to the whole job;
each line says from how many. The bank of arrangements is made once a universe of genes and shared by all hypotheses, so
the max-T rows come twice: *bank included* is the first hypothesis, which pays for it, *bank made* is every later one.
"""

import platform
from collections.abc import Iterator

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.stats import permutation_test, rankdata
from sklearn.metrics import roc_auc_score
from table_identity import identity_row
from table_kernels import kernel_rows
from table_tools import HEAD, Row, fastest
from threadpoolctl import threadpool_limits

from hyposcreen.tests_library.engine.bank import Bank
from hyposcreen.tests_library.engine.jit import HAVE_NUMBA
from hyposcreen.tests_library.engine.kernels import narrow, set_sums
from hyposcreen.tests_library.engine.maxt import exceedances, moments, p_value, standardise
from hyposcreen.tests_library.spaces import centred_ranks, quantise

GENES, VIEWS, SIZE, PERMUTATIONS = 5_000, 120, 100, 10_000
SETS, SAMPLE = 5_000, 20
ROUNDS = 20_000


class Case:
    """One universe: 5,000 genes, 120 views, a table of ranks and a bank with all its arrangements made."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.scores = self.rng.standard_normal((GENES, VIEWS))
        self.table = narrow(np.ascontiguousarray(centred_ranks(quantise(self.scores))))
        self.members = np.sort(self.rng.choice(GENES, SIZE, replace=False)).astype(np.int64)
        self.bank = Bank((1, 2), np.zeros(GENES, np.int64))
        self.blocks = [self.bank.arrangements(start, stop) for start, stop in self.bank.blocks(PERMUTATIONS)]

    def draw(self) -> None:
        """The whole bank, block by block."""
        for start, stop in self.bank.blocks(PERMUTATIONS):
            self.bank.arrangements(start, stop)

    def sums(self, members: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.concatenate([set_sums(self.table, members, block) for block in self.blocks])

    def test(self, members: NDArray[np.int64]) -> float:
        """One max-T p-value over all views, as a scan does it."""
        totals = self.sums(members)
        z = standardise(totals, moments(totals), "two-sided")
        return p_value(exceedances(z.max(axis=1)), PERMUTATIONS)


def maxt_rows(case: Case) -> Iterator[Row]:
    ranks = rankdata(case.scores, axis=0).T.copy()
    label = np.zeros(GENES, bool)
    label[case.members] = True
    rng = case.rng

    def rank_once() -> None:
        for _ in range(400):
            ranks[:, rng.permutation(GENES)[:SIZE]].sum(axis=1)

    def scipy_test() -> None:
        permutation_test(
            (ranks[0][label], ranks[0][~label]),
            lambda x, _y, axis=-1: x.sum(axis=axis),
            permutation_type="independent",
            vectorized=True,
            n_resamples=500,
            batch=100,
            rng=np.random.default_rng(1),
        )

    def sklearn_loop() -> None:
        for _ in range(100):
            roc_auc_score(label[rng.permutation(GENES)], case.scores[:, 0])

    bank, test, *others = fastest(case.draw, lambda: case.test(case.members), rank_once, scipy_test, sklearn_loop)
    whole = PERMUTATIONS * VIEWS
    opponents = (
        ("a rank-once NumPy loop", 40, 400, PERMUTATIONS, "permutations of all views"),
        ("`scipy.stats.permutation_test`", 5_000, 500, whole, "permutations of one view"),
        ("a `roc_auc_score` loop", 100_000, 100, whole, "calls"),
    )
    for (name, hold, few, units, what), seconds in zip(opponents, others, strict=True):
        total = seconds / few * units
        note = f"extrapolated from {few} of {units:,} {what}"
        yield Row(f"max-T against {name}, bank made", total / test, hold, f"{note}; ours {test:.3f} s")
        yield Row(
            f"max-T against {name}, bank included", total / (bank + test), hold, f"{note}; ours {bank + test:.3f} s"
        )


@njit
def _add(a: NDArray[np.int16], b: NDArray[np.int16], rounds: int) -> None:
    for _ in range(rounds):
        for i in range(len(a)):
            a[i] += b[i]


def gather_row(case: Case) -> Row:
    """Additions a second of the gather kernel beside those of a loop that never leaves the nearest cache."""
    a, b = np.zeros(2048, np.int16), np.ones(2048, np.int16)
    block = case.blocks[0]
    peak, ours = fastest(lambda: _add(a, b, ROUNDS), lambda: set_sums(case.table, case.members, block), turns=60)
    most, reached = len(a) * ROUNDS / peak / 1e9, len(block) * SIZE * VIEWS / ours / 1e9
    note = f"{reached:.1f} of {most:.1f} × 10⁹ additions a second, finding the members in each arrangement included"
    return Row("gather kernel, share of the int16 add peak", 100 * reached / most, 45, note, " %")


def universe_row(case: Case) -> Row:
    """5,000 sets of 10 to 500 genes; every 250th by size is timed."""
    sizes = np.sort(np.clip(np.exp(case.rng.normal(3.5, 0.9, SETS)).astype(int), 10, 500))
    chosen = sizes[SETS // SAMPLE // 2 :: SETS // SAMPLE]
    sets = [np.sort(case.rng.choice(GENES, size, replace=False)).astype(np.int64) for size in chosen]
    bank, sums, tests = fastest(
        case.draw, lambda: [case.sums(s) for s in sets], lambda: [case.test(s) for s in sets], turns=3
    )
    times = SETS / len(sets)
    note = (
        f"extrapolated from {len(sets)} of {SETS:,} sets (mean {chosen.mean():.0f} genes): bank {bank:.1f} s, "
        f"sums {sums * times:.0f} s, standardising and max-T {(tests - sums) * times:.0f} s"
    )
    return Row(
        f"universe: {SETS:,} sets × {VIEWS} views × {PERMUTATIONS:,} permutations",
        bank + tests * times,
        60,
        note,
        " s",
        at_most=True,
    )


def rewiring_rows() -> Iterator[Row]:
    """The rows of ``benchmarks/rewiring.py``, where igraph is installed."""
    try:
        import igraph  # noqa: F401
        from rewiring import rows
    except ImportError as missing:
        yield Row("rewiring against igraph", float("nan"), 8, str(missing))
        return
    for name, ratio, hold, note in rows():
        yield Row(f"{name} against igraph", ratio, hold, note)


def table() -> Iterator[Row]:
    case = Case()
    yield from maxt_rows(case)
    yield gather_row(case)
    yield universe_row(case)
    yield from kernel_rows()
    yield from rewiring_rows()
    yield identity_row()


def main() -> None:
    machine = platform.processor() or platform.machine()
    print(f"{machine}, NumPy {np.__version__}, numba {'on' if HAVE_NUMBA else 'off'}, one thread\n")
    print(HEAD)
    rows = []
    for row in table():
        rows.append(row)
        print(row.line(), flush=True)
    print(f"\n{sum(row.held for row in rows)} of {len(rows)} rows held")


if __name__ == "__main__":
    with threadpool_limits(1):  # our kernels use one thread anyway
        main()
