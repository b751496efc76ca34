"""Sums within a set are remembered for the same block of arrangements only, and are those of a plain loop."""

import numpy as np

from hyposcreen.tests_library.engine.bank import Bank
from hyposcreen.tests_library.spaces import Geometry
from hyposcreen.tests_library.statistics.within import within_auroc_scale, within_pairs, within_rank_sums


def made(n: int = 40) -> Geometry:
    rng = np.random.default_rng(5)
    everyone = np.arange(n)
    layers = [rng.standard_normal((n, 6)).astype(np.float32) for _ in range(3)]
    return Geometry(layers, everyone, everyone, [f"f{i}" for i in range(n)], 3)


def plain(geometry: Geometry, members: np.ndarray, arrangements: np.ndarray) -> np.ndarray:
    ranks = geometry.pair_ranks().astype(np.int64)
    pairs = [(i, j) for a, i in enumerate(members) for j in members[a + 1 :]]
    return np.array([[sum(ranks[a[i], a[j], q] for i, j in pairs) for q in range(3)] for a in arrangements])


def test_sums_are_those_of_a_loop_over_pairs():
    geometry, members = made(), np.array([3, 7, 8, 20, 33])
    arrangements = Bank((1, 2), np.zeros(40, np.int64)).arrangements(0, 9)
    found = within_rank_sums(geometry, members)(arrangements)
    assert found.tolist() == plain(geometry, members, arrangements).tolist()
    pairs = within_pairs(members)
    assert len(pairs) == 10
    assert within_auroc_scale(geometry, pairs) == 1 / (2 * 10 * (40 * 39 // 2 - 10))


def test_a_block_is_computed_once_a_set_and_a_writeable_one_each_time():
    geometry, members = made(), np.array([3, 7, 8, 20, 33])
    bank = Bank((1, 2), np.zeros(40, np.int64))
    block = geometry.banks.get(bank, 0, 9)
    first = within_rank_sums(geometry, members)(block)
    assert within_rank_sums(geometry, members)(block) is first
    assert within_rank_sums(geometry, members + 1)(block) is not first
    scratch = bank.arrangements(0, 9)
    within_rank_sums(geometry, members)(scratch)
    scratch[:] = bank.arrangements(9, 18)
    assert within_rank_sums(geometry, members)(scratch).tolist() == plain(geometry, members, scratch).tolist()


def test_a_new_block_at_an_old_address_is_no_old_block():
    """Arrays come and go; many blocks in turn reuse addresses, and each must get its own sums."""
    geometry, members = made(), np.array([1, 2, 30, 31, 32, 39])
    bank = Bank((9, 9), np.zeros(40, np.int64))
    addresses = set()
    for start in range(0, 60, 3):
        block = bank.arrangements(start, start + 3)
        block.flags.writeable = False
        addresses.add(id(block))
        assert within_rank_sums(geometry, members)(block).tolist() == plain(geometry, members, block).tolist()
        del block
    assert len(addresses) < 20  # so an address was used again
