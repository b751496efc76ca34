"""Edges, co-poles, classifiers and axes beside what people use; rows of ``benchmarks/engine.py``.

Ours is timed on a made bank; each note says what drawing the arrangements adds.
"""

import warnings
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score
from table_tools import Row, fastest

from hyposcreen.tests_library.engine.bank import Bank
from hyposcreen.tests_library.engine.discriminant import discriminant_auroc, prepare_discriminant
from hyposcreen.tests_library.engine.edge_kernels import edge_sums
from hyposcreen.tests_library.engine.kernels import narrow, same_pole_counts
from hyposcreen.tests_library.spaces import centred_ranks, poles, spectral_scores

LAYERS, VIEWS, FOLDS = 12, 120, 5


def kernel_rows() -> Iterator[Row]:
    yield edge_row(195, 50, 589, hold=6_000)
    yield edge_row(5_000, 300, 10_000, hold=175)
    yield copole_row(195, 589)
    yield copole_row(5_000, 10_000)
    yield classifier_row(195, 51, hold=6_000)
    yield classifier_row(5_000, 300, hold=90)
    yield axes_row(5_000, 512)


def against(
    name: str,
    hold: float,
    n: int,
    ours: Callable[[NDArray[np.int32]], object],
    theirs: Callable[[], object],
    whole: float,
    what: str,
) -> Row:
    """Seconds of ``theirs`` times ``whole``, beside those of ``ours`` for one arrangement of n genes."""
    bank = Bank((1, 2), np.zeros(n, np.int64))
    draws = 1_000 if n < 1_000 else 200
    made = bank.arrangements(1, draws + 1)
    drawing, mine, other = fastest(lambda: bank.arrangements(1, draws + 1), lambda: ours(made), theirs, turns=7)
    mine, drawing = mine / draws, drawing / draws
    with_bank = other * whole / (mine + drawing)
    note = f"{what}; ours {mine * 1e6:.1f} µs a permutation, with its draw {with_bank:,.0f}×"
    return Row(f"{name}, n = {n:,}", other * whole / mine, hold, note)


def ranks_of(rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.int32]:
    return centred_ranks(rng.integers(0, 1 << 40, (rows, columns)))


def edge_row(n: int, regulators: int, edges: int, hold: float) -> Row:
    """Twelve layers in one pass, against one ``roc_auc_score`` a layer of all edges and four non-edges for each."""
    rng = np.random.default_rng(n)
    table = narrow(np.ascontiguousarray(np.stack([ranks_of(rng, n, LAYERS) for _ in range(regulators)])))
    pairs = np.stack([np.sort(rng.integers(0, regulators, edges)), rng.integers(0, n, edges)], axis=1)
    similarity = rng.standard_normal((n, n))
    left, right = rng.integers(0, n, (2, 5 * edges))
    label = np.arange(5 * edges) < edges

    def theirs() -> None:
        a = rng.permutation(n)
        roc_auc_score(label, similarity[a[left], a[right]])

    what = f"{edges:,} edges of {regulators} regulators; scikit-learn has four non-edges an edge, ours has all"
    name = f"edge AUROC, {LAYERS} layers, against scikit-learn"
    return against(name, hold, n, lambda a: edge_sums(table, pairs, a), theirs, LAYERS, what)


def copole_row(n: int, edges: int) -> Row:
    """120 axes in one pass, against sets of pole genes and a Python loop over pairs, one axis at a time."""
    rng = np.random.default_rng(n)
    pole = poles(ranks_of(rng, n, VIEWS))
    pairs = rng.integers(0, n, (edges, 2))
    scores = rng.standard_normal(n)
    listed = pairs.tolist()

    def theirs() -> float:
        order = np.argsort(scores[rng.permutation(n)]).tolist()
        bottom, top = set(order[: n // 4]), set(order[-(n // 4) :])
        return sum((i in top and j in top) or (i in bottom and j in bottom) for i, j in listed) / edges

    what = f"{edges:,} pairs; {VIEWS} axes"
    return against(
        "co-pole rate against a Python-set loop",
        900,
        n,
        lambda a: same_pole_counts(pole, pairs, a),
        theirs,
        VIEWS,
        what,
    )


def classifier_row(n: int, positives: int, hold: float) -> Row:
    """Five folds, six features, pooled within-fold AUROC; scikit-learn fits a logistic regression a fold."""
    rng = np.random.default_rng(n)
    features = rng.standard_normal((n, 6))
    features[:positives, :3] += 0.35
    fold = rng.permutation(np.arange(n) % FOLDS)
    parts = [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(FOLDS)]
    label = np.arange(n) < positives
    model, members = prepare_discriminant(features, fold), np.arange(positives)

    def theirs() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cross_val_score(
                LogisticRegression(max_iter=1000), features, label[rng.permutation(n)], cv=parts, scoring="roc_auc"
            )

    name = "cross-validated LDA AUROC against scikit-learn logistic regression"
    what = f"{positives} positives, {FOLDS} folds, six features"
    return against(name, hold, n, lambda a: discriminant_auroc(model, members, a), theirs, 1, what)


def axes_row(n: int, dim: int, k: int = 20) -> Row:
    """Top 20 axes of a matrix whose spectrum falls as those of embeddings do, with 1e-12 on the singular values."""
    rng = np.random.default_rng(n)
    left, right = (np.linalg.qr(rng.standard_normal((rows, dim)))[0] for rows in (n, dim))
    matrix = ((left * (np.exp(-np.arange(dim) / 25) + 1e-4)) @ right.T).astype(np.float32)
    centred = matrix.astype(np.float64) - matrix.astype(np.float64).mean(axis=0)
    ours, theirs = fastest(
        lambda: spectral_scores(matrix, k), lambda: np.linalg.svd(centred, full_matrices=False), turns=3
    )
    exact = np.linalg.svd(centred, compute_uv=False)[:k]
    error = float(np.max(np.abs(np.linalg.norm(spectral_scores(matrix, k), axis=0) / exact - 1)))
    if error > 1e-12:
        raise AssertionError(f"top-{k} singular values differ by {error:.1e}, more than 1e-12")
    note = f"{n:,} × {dim}; top-{k} σ within {error:.0e}"
    return Row("SVD axes against `numpy.linalg.svd`", theirs / ours, 3.6, note)
