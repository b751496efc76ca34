"""Every integer kernel: compiled loop, NumPy expression and naive Python agree on random small inputs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyposcreen.tests_library.engine import discriminant, edge_kernels, kernels

seeds = st.integers(0, 2**32 - 1)
small = settings(max_examples=40, deadline=None)


@contextmanager
def numpy_path(module: Any, chunk_cells: int | None = None) -> Iterator[None]:
    """Switch a kernel module to its NumPy expressions, with tiny chunks so that their seams are tested too."""
    have, cells = module.HAVE_NUMBA, kernels._NUMPY_CELLS
    module.HAVE_NUMBA = False
    kernels._NUMPY_CELLS = cells if chunk_cells is None else chunk_cells
    try:
        yield
    finally:
        module.HAVE_NUMBA, kernels._NUMPY_CELLS = have, cells


def case(seed: int) -> tuple[np.random.Generator, int, int, np.ndarray]:
    rng = np.random.default_rng(seed)
    n, views = int(rng.integers(2, 14)), int(rng.integers(1, 5))
    arrangements = np.stack([rng.permutation(n) for _ in range(int(rng.integers(1, 7)))]).astype(np.int32)
    return rng, n, views, arrangements


def agree(call: Callable[[], Any], naive: Any, module: Any = kernels) -> None:
    results = [call()]
    for cells in (None, 1, 50):
        with numpy_path(module, cells):
            results.append(call())
    for got in results:
        for part, expected in zip(got if isinstance(got, tuple) else (got,), naive, strict=True):
            assert part.dtype == np.int64
            assert part.tolist() == expected


@given(seeds)
@small
def test_set_sums(seed):
    rng, n, views, arrangements = case(seed)
    table = rng.integers(-n, n, (n, views)).astype(np.int32)
    members = rng.choice(n, int(rng.integers(1, n + 1)), replace=False)
    naive = [[sum(int(table[a[i], v]) for i in members) for v in range(views)] for a in arrangements]
    agree(lambda: kernels.set_sums(table, members, arrangements), [naive])


@given(seeds)
@small
def test_pair_sums(seed):
    rng, n, views, arrangements = case(seed)
    table = rng.integers(-(2**24), 2**24, (n, n, views)).astype(np.int32)
    pairs = rng.integers(0, n, (int(rng.integers(1, 9)), 2))
    weights = rng.integers(-5000, 5000, len(pairs))
    naive = [
        [
            sum(int(w) * int(table[a[i], a[j], v]) for (i, j), w in zip(pairs, weights, strict=True))
            for v in range(views)
        ]
        for a in arrangements
    ]
    agree(lambda: kernels.pair_sums(table, pairs, weights, arrangements), [naive])


@given(seeds)
@small
def test_same_pole_counts(seed):
    rng, n, views, arrangements = case(seed)
    pole = rng.integers(-1, 2, (n, views)).astype(np.int8)
    pairs = rng.integers(0, n, (int(rng.integers(1, 9)), 2))
    naive = [
        [sum(int(pole[a[i], v] == pole[a[j], v] != 0) for i, j in pairs) for v in range(views)] for a in arrangements
    ]
    agree(lambda: kernels.same_pole_counts(pole, pairs, arrangements), [naive])


@given(seeds)
@small
def test_edge_sums(seed):
    rng, n, views, arrangements = case(seed)
    table = rng.integers(-n, n, (3, n, views)).astype(np.int32)
    edges = np.stack([rng.integers(0, 3, 6), rng.integers(0, n, 6)], axis=1)
    naive = [[sum(int(table[r, a[t], v]) for r, t in edges) for v in range(views)] for a in arrangements]
    agree(lambda: edge_kernels.edge_sums(table, edges, arrangements), [naive], edge_kernels)


@given(seeds)
@small
def test_gram_moments(seed):
    rng, n, views, arrangements = case(seed)
    half = rng.integers(-(2**15), 2**15, (n, n, views))
    table = (np.triu(half.T).T + np.triu(half.T, 1).transpose(0, 2, 1).T).astype(np.int32)
    members = rng.choice(n, int(rng.integers(1, n + 1)), replace=False)
    total, rows_sq, squares = [], [], []
    for a in arrangements:
        G = [[[int(table[a[i], a[j], v]) for j in members] for i in members] for v in range(views)]
        total.append([sum(map(sum, g)) for g in G])
        rows_sq.append([sum(sum(row) ** 2 for row in g) for g in G])
        squares.append([sum(x * x for row in g for x in row) for g in G])
    agree(lambda: kernels.gram_moments(table, members, arrangements), [total, rows_sq, squares])


@given(seeds)
@small
def test_discriminant_auroc(seed):
    rng, n, _, arrangements = case(seed)
    width = int(rng.integers(1, 4))
    d = discriminant.Discriminant(
        features=rng.integers(-3, 4, (n, width)),
        weights=rng.integers(-3, 4, (n, width)),
        fold=rng.integers(0, 3, n),
    )
    members = rng.choice(n, int(rng.integers(1, n + 1)), replace=False)
    naive = []
    for a in arrangements:
        positives = {int(a[i]) for i in members}
        wins = comparisons = 0
        for p in positives:
            total = sum((d.features[j] for j in positives if d.fold[j] != d.fold[p]), np.zeros(width, int))
            for q in set(range(n)) - positives:
                if d.fold[q] == d.fold[p]:
                    mine, other = int(d.weights[p] @ total), int(d.weights[q] @ total)
                    comparisons += 1
                    wins += 2 * (mine > other) + (mine == other)
        naive.append(2**19 if comparisons == 0 else (wins << 20) // (2 * comparisons))
    agree(lambda: discriminant.discriminant_auroc(d, members, arrangements), [naive], discriminant)


@pytest.mark.parametrize("views", [1, 7])
def test_a_sum_does_not_depend_on_how_arrangements_are_split(views):
    rng = np.random.default_rng(views)
    table = rng.integers(-40, 40, (40, views)).astype(np.int32)
    arrangements = np.stack([rng.permutation(40) for _ in range(33)]).astype(np.int32)
    members = np.arange(9)
    whole = kernels.set_sums(table, members, arrangements)
    parts = [kernels.set_sums(table, members, arrangements[s : s + 5]) for s in range(0, 33, 5)]
    assert (np.concatenate(parts) == whole).all()


def test_large_sets_do_not_overflow():
    """Half of 100,000 genes, all at the top: the sum is beyond 2³¹."""
    n = 100_000
    table = (2 * np.arange(n)[:, None] - (n - 1)).astype(np.int32)
    members = np.arange(n // 2, n)
    identity = np.arange(n, dtype=np.int32)[None]
    assert kernels.set_sums(table, members, identity).tolist() == [[(n // 2) ** 2]]
