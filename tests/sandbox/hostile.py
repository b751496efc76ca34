"""Seven statistics, six of them hostile, and worlds in which nothing is there to find. A benchmark and tests load this file.

Each is the source that a worker would get. In process (:func:`in_process`) it runs under the same two rules as there: a fresh
namespace for every run, and one call a labelling in the order of the batch. The boundary does not change values; the benchmark
and ``test_hostile_statistics`` compare.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyposcreen.agent.blinded import Judgement, Plan, judge, make_plan

N, LABELLED, COLUMNS, M = 60, 12, 4, 99
"""Genes, labelled genes, columns and null labellings of a world."""
ALPHA = 0.05
Values = NDArray[np.float64]
Runner = Callable[[str, NDArray[np.float32], NDArray[np.int8]], tuple[str, Values]]

STATISTICS = {
    "honest: distance of means": """
import numpy as np
def statistic(emb, labels):
    return float(np.linalg.norm(emb[labels == 1].mean(0) - emb[labels == 0].mean(0)))
""",
    "call counter": """
calls = 0
def statistic(emb, labels):
    global calls
    calls += 1
    return -float(calls)
""",
    "hash of the labels": """
import zlib
def statistic(emb, labels):
    return float(zlib.crc32(labels.tobytes()))
""",
    "state across calls": """
import numpy as np
total, calls = 0.0, 0
def statistic(emb, labels):
    global total, calls
    far = 1e9 if calls == 0 else float(np.abs(labels - total / calls).sum())  # how unlike all that came before
    total, calls = total + labels, calls + 1
    return far
""",
    "time": """
import time
def statistic(emb, labels):
    return -time.perf_counter()
""",
    "order of rows": """
import numpy as np
def statistic(emb, labels):
    return -float(np.flatnonzero(labels).sum())
""",
    "memory of earlier values": """
import numpy as np
seen = {}
def statistic(emb, labels):
    name = labels.tobytes()
    if name not in seen:  # a copy gets the value it had before
        found = float(emb[labels == 1, 0].sum())
        seen[name] = max([found, *seen.values()]) + 1.0 if len(seen) % 7 == 0 else found
    return seen[name]
""",
}
"""Name → source. The memory cheat answers copies alike, so that only the second run can catch it."""


@dataclass(frozen=True)
class World:
    """A matrix, labels that mean nothing, and four strata of genes."""

    embedding: NDArray[np.float32]
    labels: NDArray[np.int8]
    strata: NDArray[np.int64]
    name: str


def world(number: int, planted: float = 0.0) -> World:
    """Rows are sorted by their first column, so that places tell of values; labels are drawn within strata."""
    random = np.random.default_rng(number)
    embedding = random.normal(size=(N, COLUMNS)).astype(np.float32)
    embedding = embedding[np.argsort(embedding[:, 0])]
    strata = np.arange(N) % 4
    labels = np.zeros(N, np.int8)
    for stratum in range(4):
        labels[random.choice(np.flatnonzero(strata == stratum), LABELLED // 4, replace=False)] = 1
    return World(embedding + np.float32(planted) * labels[:, None], labels, strata, f"world {number}")


def in_process(code: str, embedding: NDArray[np.float32], labels: NDArray[np.int8]) -> tuple[str, Values]:
    """One run of ``code`` here."""
    space: dict[str, object] = {"__name__": "statistic"}
    exec(compile(code, "statistic.py", "exec"), space)
    whole, single = space.get("statistic_batch"), space.get("statistic")
    if callable(whole):
        return "ok", np.asarray(whole(embedding, labels), np.float64)
    assert callable(single)
    return "ok", np.array([single(embedding, row) for row in labels], np.float64)


@dataclass(frozen=True)
class Found:
    """What one world came to."""

    outcome: str
    p: float
    by_blinding: float
    """p as it would be without any check: what the secret place alone is worth."""


def blinded(code: str, of: World, run: Runner = in_process, secret: bytes = b"secret") -> Found:
    """The protocol of ``agent/blinded.py``."""
    plan = make_plan(secret, of.name, of.labels, of.strata, M)
    found = both_runs(code, of, plan, run)
    if isinstance(found, str):
        return Found(found, 1.0, 1.0)
    return Found(found.outcome, found.p, (found.k + 1) / (found.m + 1))


def both_runs(code: str, of: World, plan: Plan, run: Runner) -> Judgement | str:
    """What the judge says, or how a run ended that gave no values."""
    end, first = run(code, of.embedding[plan.genes], plan.sent)
    if end != "ok":
        return end
    end, second = run(code, of.embedding[plan.genes_again], plan.sent_again)
    return judge(plan, first, second) if end == "ok" else end


def unblinded(code: str, of: World) -> float:
    """p as it is usually computed: the observed labelling first, the permuted ones after it, one run. The control."""
    random = np.random.default_rng(int(of.name.split()[-1]) + 10**6)
    sent = np.repeat(of.labels[None, :], M + 1, axis=0)
    for stratum in range(4):
        members = np.flatnonzero(of.strata == stratum)
        sent[1:, members] = random.permuted(sent[1:, members], axis=1)
    _, values = in_process(code, of.embedding, sent)
    return float(1 + (values[1:] >= values[0]).sum()) / (M + 1)


def bound(worlds: int) -> float:
    """The largest rate that is compatible with ALPHA: three standard errors above it."""
    return float(ALPHA + 3 * (ALPHA * (1 - ALPHA) / worlds) ** 0.5)
