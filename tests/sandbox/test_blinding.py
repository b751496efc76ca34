"""The blinding protocol: hostile statistics gain nothing, honest ones find what is there, and a person can try one."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hyposcreen.agent.blinded import judge, make_plan
from hyposcreen.agent.custom.bench import run_blinded
from hyposcreen.agent.custom.trying import try_statistic
from hyposcreen.agent.errors import UserError
from hyposcreen.agent.sandbox.statistics import Bounds, StatisticSandbox

N, LABELLED, M = 60, 12, 19
WORLDS = 400
Batch = Callable[[np.ndarray, np.ndarray], np.ndarray]


def distance(emb: np.ndarray, sent: np.ndarray) -> np.ndarray:
    weights = sent / sent.sum(1, keepdims=True)
    return np.linalg.norm(weights @ emb, axis=1)


def first_is_large(emb: np.ndarray, sent: np.ndarray) -> np.ndarray:
    return np.where(np.arange(len(sent)) == 0, 1e9, np.arange(len(sent)))


def last_is_large(emb: np.ndarray, sent: np.ndarray) -> np.ndarray:
    return np.arange(len(sent), dtype=float)


def only_the_best(emb: np.ndarray, sent: np.ndarray) -> np.ndarray:
    found = distance(emb, sent)
    return (found == found.max()).astype(float)


def odd_one_out(emb: np.ndarray, sent: np.ndarray) -> np.ndarray:
    return -(sent.astype(float) @ sent.T.astype(float)).mean(1)


def hash_of_labels(emb: np.ndarray, sent: np.ndarray) -> np.ndarray:
    return np.array([int.from_bytes(row.tobytes()[:6], "little") * 2654435761 % 2**32 for row in sent], dtype=float)


def place_in_matrix(emb: np.ndarray, sent: np.ndarray) -> np.ndarray:
    return (sent * np.arange(sent.shape[1])).sum(1).astype(float)


HOSTILE = [distance, first_is_large, last_is_large, only_the_best, odd_one_out, hash_of_labels, place_in_matrix]


def world(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A matrix whose rows are sorted by what the labels do not know, and labels that mean nothing."""
    random = np.random.default_rng(number)
    embedding = random.normal(size=(N, 4))
    labels = np.zeros(N, np.int8)
    labels[random.choice(N, LABELLED, replace=False)] = 1
    return embedding[np.argsort(embedding[:, 0])], labels


def p_of(statistic: Batch, embedding: np.ndarray, labels: np.ndarray, name: str) -> float:
    plan = make_plan(b"secret", name, labels, np.zeros(N, np.int64), M)
    values = statistic(embedding[plan.genes], plan.sent)
    again = statistic(embedding[plan.genes_again], plan.sent_again)
    return judge(plan, values, again).p


@pytest.mark.parametrize("statistic", HOSTILE)
def test_no_statistic_rejects_more_than_it_may(statistic: Batch) -> None:
    rejected = sum(p_of(statistic, *world(w), name=str(w)) <= 0.05 for w in range(WORLDS))
    assert rejected / WORLDS <= 0.05 + 3 * (0.05 * 0.95 / WORLDS) ** 0.5


def test_without_blinding_the_first_call_is_always_significant() -> None:
    """The control: what the protocol is there for."""
    for w in range(10):
        _, labels = world(w)
        random = np.random.default_rng(w)
        sent = np.stack([labels, *(random.permutation(labels) for _ in range(M))])  # the observed one first
        values = first_is_large(np.zeros((N, 1)), sent)
        assert (1 + int((values[1:] >= values[0]).sum())) / (M + 1) == 1 / (M + 1)


def test_a_planted_signal_is_found_at_the_smallest_p() -> None:
    embedding, labels = world(1)
    assert p_of(distance, embedding + 2.0 * labels[:, None], labels, "planted") == 1 / (M + 1)


def test_the_same_name_gives_the_same_draws_and_the_place_is_uniform() -> None:
    _, labels = world(2)
    strata = np.zeros(N, np.int64)
    one, two = (make_plan(b"secret", "x", labels, strata, M) for _ in range(2))
    assert one.sent.tobytes() == two.sent.tobytes() and (one.places == two.places).all()
    assert make_plan(b"other", "x", labels, strata, M).sent.tobytes() != one.sent.tobytes()
    first = [int(make_plan(b"secret", str(i), labels, strata, M).places[0]) for i in range(2000)]
    sent = len(one.sent)
    assert set(first) == set(range(sent))
    assert abs(np.mean(first) - (sent - 1) / 2) < 4 * (sent / 12**0.5) / 2000**0.5


def test_draws_keep_the_count_of_labels_in_every_stratum() -> None:
    _, labels = world(3)
    strata = np.arange(N) // 15
    plan = make_plan(b"secret", "strata", labels, strata, M)
    here = plan.sent[:, np.argsort(plan.genes)]
    for stratum in range(4):
        assert set(here[:, strata == stratum].sum(1)) == {labels[strata == stratum].sum()}
    assert (here[plan.places[0]] == labels).all()


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        (lambda v: v * np.nan, "nonfinite"),
        (lambda v: v * 0.0, "degenerate"),
        (lambda v: v + np.arange(len(v)), "nondeterministic"),
    ],
)
def test_values_that_cannot_be_judged_count_as_one(change: Any, outcome: str) -> None:
    embedding, labels = world(4)
    plan = make_plan(b"secret", "y", labels, np.zeros(N, np.int64), M)
    values = change(distance(embedding[plan.genes], plan.sent))
    found = judge(plan, values, None)
    assert (found.outcome, found.p) == (outcome, 1.0)


ORDER = "import numpy as np\ndef statistic_batch(emb, L): return (L * np.arange(L.shape[1])).sum(1).astype(float)"
HONEST = "def statistic(emb, labels): return float(((emb[labels == 1].mean(0) - emb[labels == 0].mean(0)) ** 2).sum())"
COUNTING = "calls = [0]\ndef statistic(emb, labels):\n    calls[0] += 1\n    return float(calls[0])"


@pytest.mark.parametrize(
    ("code", "outcome"), [(HONEST, "ok"), (ORDER, "order_dependent"), (COUNTING, "nondeterministic")]
)
def test_the_protocol_through_a_real_worker(sandbox: StatisticSandbox, code: str, outcome: str) -> None:
    embedding, labels = world(5)
    plan = make_plan(b"secret", "z", labels, np.zeros(N, np.int64), M)
    said, _, found, _ = run_blinded(sandbox.run, code, embedding.astype(np.float32), plan, Bounds())
    assert said == outcome
    assert found is not None and (found.p == 1.0) == (outcome != "ok" or found.k == M)


def test_a_person_tries_a_statistic_and_hears_nothing_of_real_data(chosen: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("print('label hashes, to be told to the next run')\n" + HONEST)
    planted, null, real = try_statistic(file, tmp_path, "t_cells", 2, 99, chosen)
    assert planted.outcome == "ok" and planted.p == 0.01
    assert null.outcome == "ok" and null.p > 0.05
    assert "label hashes" in planted.output
    assert real.outcome == "ok" and real.output == ""
    assert not list(tmp_path.glob("runs.db"))
    with pytest.raises(UserError, match="'none' is no gene set here"):
        try_statistic(file, tmp_path, "none", None, 99, chosen)


def test_the_command_says_what_it_found(chosen: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def statistic(emb, labels): return undefined")
    command = [sys.executable, "-m", "hyposcreen", "test", "try", "broken.py", "--sandbox", chosen, "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120)
    said = json.loads(done.stdout)
    assert [t["outcome"] for t in said] == ["exception", "exception"] and {t["p"] for t in said} == {1.0}
    assert "NameError: name 'undefined' is not defined" in said[0]["output"]


def test_without_a_boundary_nothing_is_tried(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(HONEST)
    with pytest.raises(UserError, match="'none' holds no code that nobody vouches for"):
        try_statistic(tmp_path / "mine.py", tmp_path, None, None, 99, "none")
