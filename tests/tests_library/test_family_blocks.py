"""Families move as blocks: the null for labels that whole families share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyposcreen.tests_library.catalogue import CATALOGUE, scanned_views
from hyposcreen.tests_library.engine.bank import Bank, bank_key
from hyposcreen.tests_library.nulls import coarse_strata, exchange
from hyposcreen.tests_library.run import Covariates, scan
from hyposcreen.tests_library.spaces import Geometry
from hyposcreen.tests_library.statistics.base import Entity


@given(sizes=st.lists(st.integers(1, 4), min_size=2, max_size=25), seed=st.integers(0, 10**6), mix=st.randoms())
def test_a_family_is_played_by_a_family_of_its_size_whole_and_in_order(
    sizes: list[int], seed: int, mix: object
) -> None:
    families = [f"F{f}" for f, size in enumerate(sizes) for _ in range(size)]
    mix.shuffle(families)  # type: ignore[attr-defined]
    n = len(families)
    rule = exchange("family_block", np.zeros(n), np.zeros(n), families)
    bank = Bank(
        bank_key(seed, "family_block", tuple(map(str, range(n))), rule.strata, rule.units), rule.strata, rule.units
    )
    rows = bank.arrangements(0, 6)
    assert np.array_equal(rows[0], np.arange(n))
    places = {f: np.flatnonzero(np.array(families) == f) for f in families}
    for row in rows:
        assert sorted(row.tolist()) == list(range(n))
        for where in places.values():
            actors = {families[g] for g in row[where]}
            assert len(actors) == 1
            assert np.array_equal(row[where], places[actors.pop()])
    assert np.array_equal(bank.arrangements(3, 6), rows[3:])


def test_without_families_it_is_coarse_strata_gene_by_gene() -> None:
    rng = np.random.default_rng(0)
    expression, detection = rng.random(200), rng.random(200)
    alone = exchange("family_block", expression, detection, [str(i) for i in range(200)])
    plain = coarse_strata(expression, detection)
    assert len(np.unique(np.stack([alone.strata, plain]), axis=1).T) == len(np.unique(plain))


def test_units_of_unequal_size_cannot_stand_in_for_each_other() -> None:
    with pytest.raises(ValueError, match="different size"):
        Bank((1, 2), np.zeros(3, np.int64), np.array([0, 0, 1])).arrangements(0, 1)


def test_every_family_of_a_size_is_as_likely_to_play_a_place() -> None:
    families = np.repeat(np.arange(6), 2)
    rule = exchange("family_block", np.zeros(12), np.zeros(12), [str(f) for f in families])
    rows = Bank((5, 9), rule.strata, rule.units).arrangements(1, 6001)
    counts = np.bincount(families[rows[:, 0]], minlength=6)
    assert abs(counts - 1000).max() < 130  # 4.5 standard errors


def test_labels_that_whole_families_share_mislead_single_gene_nulls_and_not_blocks() -> None:
    """Embeddings shared within families, labels given to whole families at random: nothing is true."""
    rng = np.random.default_rng(0)
    sizes = np.array([1] * 90 + [2] * 20 + [3] * 20)
    family = np.repeat(np.arange(len(sizes)), sizes)
    n = len(family)
    names = tuple(f"F{f}" for f in family)
    kind = CATALOGUE["cohesion"]
    views = scanned_views(kind, 1, 8, "all", "all")
    rejected = {"stratified": 0, "family_block": 0}
    worlds = 150
    for world in range(worlds):
        shared = rng.standard_normal((len(sizes), 8))
        X = (np.sqrt(0.7) * shared[family] + np.sqrt(0.3) * rng.standard_normal((n, 8))).astype(np.float32)
        chosen = np.concatenate(
            [rng.choice(np.flatnonzero(sizes == s), k, replace=False) for s, k in ((3, 5), (2, 4), (1, 4))]
        )
        entity = Entity("gene_set", members=np.flatnonzero(np.isin(family, chosen)))
        rows = np.arange(n)
        geometry = Geometry([X], rows, rows, names, 8)
        covariates = Covariates(tuple(f"G{i}" for i in rows), rng.random(n), rng.random(n), names)
        for one in scan(
            geometry, covariates, kind, entity, subsets={"h": views}, nulls=tuple(rejected), m=99, seed=world
        ):
            rejected[one.null] += (one.subsets["h"].k + 1) / 100 <= 0.05
    assert rejected["stratified"] > 0.15 * worlds
    assert rejected["family_block"] <= 16  # 0.05 plus 3.2 standard errors of 150 worlds
