"""The batched logistic regression against scikit-learn, and its two paths against each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from hyposcreen.tests_library.engine import logistic
from hyposcreen.tests_library.engine.logistic import (
    RIDGE,
    coefficients,
    count_wins,
    logistic_auroc,
    prepare_logistic,
    solve,
)


def made(n=120, d=6, folds=5, seed=0):
    """Features of unequal scale, folds, and members that lean on the second feature."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * 3.0 ** -np.arange(d)
    members = np.sort(np.argsort(3 * X[:, 1 % d] + rng.standard_normal(n))[-n // 6 :])
    return X, rng.permutation(np.arange(n) % folds), members


def arrangements(n: int, P: int, seed=1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([np.arange(n)] + [rng.permutation(n) for _ in range(P - 1)]).astype(np.int32)


def scikit(X, fold, members) -> tuple[float, list[np.ndarray]]:
    """Pooled AUROC, and intercept and slopes of every fold, converged."""
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    label = np.isin(np.arange(len(X)), members)
    wins = comparisons = 0.0
    found = []
    for f in range(fold.max() + 1):
        test = fold == f
        model = LogisticRegression(C=1 / RIDGE, tol=1e-10, max_iter=1000).fit(Z[~test], label[~test])
        found.append(np.concatenate([model.intercept_, model.coef_[0]]))
        pairs = label[test].sum() * (~label[test]).sum()
        if pairs:
            wins += pairs * roc_auc_score(label[test], model.decision_function(Z[test]))
            comparisons += pairs
    return wins / comparisons, found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_is_scikit_learns_ridge_logistic_regression(seed):
    X, fold, members = made(seed=seed)
    model = prepare_logistic(X, fold)
    auroc, betas = scikit(X, fold, members)
    label = np.isin(np.arange(len(X)), members)
    for part, expected in zip(model.folds, betas, strict=True):
        got = coefficients(part, label[None, part.train], model.weight_bits)[0] / 2**20
        np.testing.assert_allclose(got, expected, atol=0.02)
    assert logistic_auroc(model, members, arrangements(120, 1))[0] / 2**20 == pytest.approx(auroc, abs=2e-3)
    assert auroc > 0.65


def test_more_steps_converge_to_scikit_learn(monkeypatch):
    monkeypatch.setattr(logistic, "STEPS", 9)
    X, fold, members = made(seed=3)
    model = prepare_logistic(X, fold)
    label = np.isin(np.arange(len(X)), members)
    for part, expected in zip(model.folds, scikit(X, fold, members)[1], strict=True):
        got = coefficients(part, label[None, part.train], model.weight_bits)[0] / 2**20
        np.testing.assert_allclose(got, expected, atol=1e-3)


@given(seed=st.integers(0, 2**31), d=st.integers(1, 10), n=st.integers(20, 60))
@settings(max_examples=15, deadline=None)
def test_a_labelling_is_the_same_alone_and_in_a_block(seed, d, n):
    X, fold, members = made(n, d, seed=seed)
    model = prepare_logistic(X, fold)
    a = arrangements(n, 12, seed)
    together = logistic_auroc(model, members, a)
    alone = [logistic_auroc(model, row[members].astype(np.int64), a[:1])[0] for row in a]
    np.testing.assert_array_equal(together, alone)


def test_blocks_do_not_matter(monkeypatch):
    X, fold, members = made()
    model, a = prepare_logistic(X, fold), arrangements(120, 41)
    whole = logistic_auroc(model, members, a)
    monkeypatch.setattr(logistic, "_BLOCK", 7)
    np.testing.assert_array_equal(whole, logistic_auroc(model, members, a))
    assert whole.std() > 0


@pytest.mark.parametrize("ties", [False, True])
def test_numpy_and_compiled_paths_are_the_same_bits(ties, monkeypatch):
    if not logistic.HAVE_NUMBA:
        pytest.skip("numba is not here, so there is one path only")
    X, fold, members = made(d=10, seed=4)
    if ties:
        X = np.round(X)
    model, a = prepare_logistic(X, fold), arrangements(120, 60)
    part = model.folds[0]
    label = np.zeros((60, 120), bool)
    np.put_along_axis(label, a[:, members].astype(np.int64), True, axis=1)
    fast = logistic_auroc(model, members, a), coefficients(part, label[:, part.train], model.weight_bits)
    monkeypatch.setattr(logistic, "HAVE_NUMBA", False)
    slow = logistic_auroc(model, members, a), coefficients(part, label[:, part.train], model.weight_bits)
    for one, other in zip(fast, slow, strict=True):
        assert one.tobytes() == other.tobytes()


def test_products_are_exact_in_any_order():
    """The claim that makes a BLAS harmless: every sum stays below 2⁵³ and holds integers."""
    X, fold, _ = made(n=300, d=10)
    X[0] = 1e6  # one gene far out takes nearly all of a column's variance
    model = prepare_logistic(X, fold)
    part = model.folds[0]
    rng = np.random.default_rng(0)
    most = np.full(len(part.train), float(1 << (model.weight_bits - 2)))
    for weight in (most, rng.integers(1, most[0], len(most)).astype(float)):
        exact = [sum(int(w) * int(x) for w, x in zip(weight, column, strict=True)) for column in part.products.T]
        assert (weight @ part.products).tolist() == exact
        shuffle = rng.permutation(len(weight))
        assert (weight[shuffle] @ part.products[shuffle]).tolist() == exact
    absolute = most @ np.abs(part.products)
    assert absolute.max() < 2**53
    score = np.abs(part.X).sum(axis=1).max() * 2**26
    assert score < 2**53


def test_the_table_is_the_logistic_function():
    table = logistic._table(23)
    x = np.arange(len(table)) / 256
    np.testing.assert_allclose(table, 2**23 / (1 + np.exp(-x)), rtol=1e-14)
    one = float(1 << 23)
    score = np.random.default_rng(1).uniform(-20, 20, (3, 500)) * 2**31
    label = score > 0
    for fill in (logistic._weigh_loop, logistic._weigh_numpy):
        weight, residual = np.empty(score.shape), np.empty(score.shape)
        fill(score, label, table, one, weight, residual)
        sigma = 1 / (1 + np.exp(-score / 2**31))
        np.testing.assert_allclose(weight / one, sigma * (1 - sigma), atol=1e-6)
        np.testing.assert_allclose(residual / one, label - sigma, atol=1e-6)


@pytest.mark.parametrize("compiled", [True, False])
def test_solve_is_lapacks(compiled, monkeypatch):
    monkeypatch.setattr(logistic, "HAVE_NUMBA", logistic.HAVE_NUMBA and compiled)
    rng = np.random.default_rng(5)
    A = rng.standard_normal((20, 9, 4))
    H, right, ridge = np.einsum("pij,pik->pjk", A, A), rng.standard_normal((20, 4)), np.array([0, 1.0, 2, 3])
    i, j = np.triu_indices(4)
    expected = np.linalg.solve(H + np.diag(ridge), right[:, :, None])[:, :, 0]
    np.testing.assert_allclose(solve(np.ascontiguousarray(H[:, i, j]), ridge, right), expected, rtol=1e-9)


@pytest.mark.parametrize("compiled", [True, False])
def test_wins_count_ties_once(compiled, monkeypatch):
    monkeypatch.setattr(logistic, "HAVE_NUMBA", logistic.HAVE_NUMBA and compiled)
    score, label = np.array([[1.0, 2, 2, 3], [0, 0, 0, 0]]), np.array([[False, True, False, False], [True] * 4])
    wins, comparisons = np.zeros((2, 2), np.int64)
    count_wins(score, label, wins, comparisons)
    assert wins.tolist() == [3, 0]
    assert comparisons.tolist() == [3, 0]


@pytest.mark.parametrize("compiled", [True, False])
def test_degenerate_input_is_finite(compiled, monkeypatch):
    monkeypatch.setattr(logistic, "HAVE_NUMBA", logistic.HAVE_NUMBA and compiled)
    n, half = 40, 1 << 19
    fold, members = np.arange(n) % 5, np.arange(0, 16)
    a = arrangements(n, 5)
    flat = logistic_auroc(prepare_logistic(np.ones((n, 3)), fold), members, a)
    assert (flat == half).all(), "without variance every comparison is a tie"
    perfect = np.zeros((n, 2))
    perfect[members] = 1e9
    found = logistic_auroc(prepare_logistic(perfect, fold), members, a)
    assert found[0] == 1 << 20, "separable labels, twin columns"
    twins = logistic_auroc(
        prepare_logistic(np.repeat(np.random.default_rng(0).random((n, 1)), 10, axis=1), fold), members, a
    )
    assert ((twins >= 0) & (twins <= 1 << 20)).all()
    one_fold = logistic_auroc(prepare_logistic(perfect, np.zeros(n, np.int64)), members, a)
    assert (one_fold == half).all(), "nothing to learn from"
    everybody = logistic_auroc(prepare_logistic(perfect, fold), np.arange(n), a)
    assert (everybody == half).all(), "no comparison"


@pytest.mark.parametrize("compiled", [True, False])
def test_coefficients_stay_where_scores_are_exact(compiled, monkeypatch):
    """One class alone in training drives the intercept away, a step at a time, up to its bound."""
    monkeypatch.setattr(logistic, "HAVE_NUMBA", logistic.HAVE_NUMBA and compiled)
    monkeypatch.setattr(logistic, "STEPS", 120)
    X, fold, _ = made()
    model = prepare_logistic(X, fold)
    part = model.folds[0]
    got = coefficients(part, np.ones((1, len(part.train)), bool), model.weight_bits)[0]
    assert got[0] == 2**26
    assert np.isfinite(got).all()
