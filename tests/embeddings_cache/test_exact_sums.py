"""Sums on a grid: exact, so in any order and by any code."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the sums are torch tensors")
torch.set_num_threads(1)  # tests run beside one another

from hyposcreen.embeddings_cache import exact_sums  # noqa: E402
from hyposcreen.embeddings_cache.exact_sums import add_states, grid_bits, on_grid, rounder  # noqa: E402


@given(st.floats(1e-6, 1e6), st.integers(1, 10**9))
def test_the_grid_is_the_finest_that_cannot_overflow(bound, count):
    bits = grid_bits(bound, count)
    assert bound * count * 2.0**bits <= 2.0**51 < bound * count * 2.0 ** (bits + 2)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_order_never_matters_and_no_addend_moves_by_more_than_half_a_step(values, random):
    bits = grid_bits(50.0, len(values))
    rounded = on_grid(torch.tensor(values, dtype=torch.float64), rounder(bits))
    assert float((rounded - torch.tensor(values, dtype=torch.float64)).abs().max()) <= 2.0 ** -(bits + 1)
    steps = [int(value * 2.0**bits) for value in rounded.tolist()]
    assert [step / 2.0**bits for step in steps] == rounded.tolist()  # multiples of the step
    shuffled = rounded.tolist()
    random.shuffle(shuffled)
    assert float(np.add.reduce(shuffled)) == sum(steps) / 2.0**bits


def totals_by(numba, order, monkeypatch, dtype=torch.float32, width=13):
    if numba and not exact_sums.HAVE_NUMBA:
        pytest.skip("numba is not installed")
    monkeypatch.setattr(exact_sums, "HAVE_NUMBA", numba)
    states = torch.randn(300, width, generator=torch.Generator().manual_seed(1)).to(dtype)
    rows = torch.from_numpy(np.random.default_rng(0).integers(0, 20, 300))
    sums, squares = torch.zeros(20, width, dtype=torch.float64), torch.zeros(20, dtype=torch.float64)
    magic = rounder(grid_bits(8.0, 10**6))
    for tokens in np.array_split(order, 7):
        chosen = torch.from_numpy(tokens)
        add_states(sums, squares, rows[chosen], chosen, states, magic, magic)
    return sums, squares, states, rows


def test_compiled_and_torch_sums_are_the_same_bits_in_any_order(monkeypatch):
    straight, backwards = np.arange(300), np.arange(300)[::-1].copy()
    first = totals_by(True, straight, monkeypatch)
    for numba, order in ((True, backwards), (False, straight), (False, backwards)):
        other = totals_by(numba, order, monkeypatch)
        assert torch.equal(other[0], first[0])
        assert float((other[1] - first[1]).abs().max()) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sums_are_those_of_numpy(monkeypatch, dtype):
    sums, squares, states, rows = totals_by(dtype == torch.float32, np.arange(300), monkeypatch, dtype)
    expected, lengths = np.zeros((20, 13)), np.zeros(20)
    np.add.at(expected, rows.numpy(), states.double().numpy())
    np.add.at(lengths, rows.numpy(), (states.double().numpy() ** 2).sum(axis=1))
    np.testing.assert_allclose(sums.numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(squares.numpy(), lengths, atol=1e-5)
