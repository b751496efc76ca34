"""Random axes: rotations are uniform and orthogonal, ranks are those of a sort, and a coherent set is not an axis."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import kstest, rankdata

from hyposcreen.tests_library.catalogue import CATALOGUE
from hyposcreen.tests_library.engine.rotation import rotated_ranks, rotations, white
from hyposcreen.tests_library.run import Covariates, scan
from hyposcreen.tests_library.spaces import Geometry
from hyposcreen.tests_library.statistics.base import Entity

KEY = (7, 9)
ONE = 1 << 20


def test_rotations_are_orthogonal_start_at_the_identity_and_depend_on_their_number_alone():
    turns = rotations(KEY, 0, 40, 6)
    assert (turns[0] == np.eye(6, dtype=np.int64) * ONE).all()
    products = np.einsum("pij,pik->pjk", turns, turns) / ONE**2
    assert np.abs(products - np.eye(6)).max() < 1e-5
    assert (rotations(KEY, 13, 14, 6)[0] == turns[13]).all()
    assert (rotations((7, 10), 13, 14, 6)[0] != turns[13]).any()


def test_a_rotated_axis_points_everywhere_alike():
    """The first coordinate of a uniform direction in R^k: (x + 1)/2 is Beta((k−1)/2, (k−1)/2)."""
    from scipy.stats import beta

    turns = rotations(KEY, 1, 1501, 5) / ONE
    for row, column in ((0, 0), (3, 1), (4, 4)):
        assert kstest((turns[:, row, column] + 1) / 2, beta(2, 2).cdf).pvalue > 1e-3
    signs = np.sign(np.linalg.det(turns)).mean()
    assert abs(signs) < 0.1  # rotations with and without a reflection, half and half


def test_ranks_on_rotated_axes_are_those_of_a_sort():
    rng = np.random.default_rng(0)
    scores = np.stack([white(rng.integers(-(2**30), 2**30, (60, 4))) for _ in range(3)])
    genes = np.array([3, 17, 59])
    turns = rotations(KEY, 0, 5, 4)
    found = rotated_ranks(scores, turns)[:, genes]
    for p in range(5):
        for q in range(3):
            turned = (scores[q] @ turns[p]) >> 20
            expected = 2 * rankdata(turned, axis=0) - 61
            assert found[p][:, 4 * q : 4 * q + 4].tolist() == expected[genes].astype(int).tolist()


def test_both_backends_give_the_same_ranks():
    code = (
        "import numpy as np;from hyposcreen.tests_library.engine.rotation import *;r=np.random.default_rng(1);"
        "s=np.stack([white(r.integers(-2**30,2**30,(50,3))//2**26) for _ in range(2)]);"
        "print(rotated_ranks(s,rotations((1,2),0,9,3)).tolist())"
    )
    said = [
        subprocess.run([sys.executable, "-c", code], env={"HYPOSCREEN_NO_NUMBA": off}, capture_output=True, check=True)
        for off in ("", "1")
    ]
    assert said[0].stdout == said[1].stdout
    assert len(said[0].stdout) > 100


def world(coherent_on: str, seed: int = 3) -> tuple[Geometry, Covariates, np.ndarray]:
    """Genes with four spectral axes of falling length; a set pushed along one axis, or along all of them alike."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((200, 4)) * [4, 3, 2.2, 1.6]
    members = np.arange(20)
    X[members] += np.array([0, 3, 0, 0]) * 2.0 if coherent_on == "axis" else np.array([4, 3, 2.2, 1.6]) * 0.9
    everyone = np.arange(200)
    geometry = Geometry([X.astype(np.float32)], everyone, everyone, [f"f{i}" for i in range(200)], 4)
    return geometry, Covariates(tuple(f"g{i}" for i in range(200)), rng.random(200), rng.random(200)), members


@pytest.mark.parametrize("name", ["axis_separation", "pole_enrichment"])
def test_a_coherent_set_that_follows_no_axis_beats_shuffled_labels_and_not_a_random_axis(name):
    p = {}
    for where in ("axis", "everywhere"):
        geometry, covariates, members = world(where)
        kind = CATALOGUE[name]
        views = frozenset(kind.prepare(geometry, Entity("gene_set", members=members)).views)
        found = scan(
            geometry, covariates, kind, Entity("gene_set", members=members), subsets={"all": views},
            nulls=("gene_label", "random_axis"), m=2000, seed=1,
        )  # fmt: skip
        p[where] = {one.null: (one.subsets["all"].k + 1) / (one.m + 1) for one in found}
        assert [one.m for one in found] == [2000, 999]
    assert p["everywhere"]["gene_label"] < 0.01
    assert p["everywhere"]["random_axis"] > 0.1
    assert p["axis"]["gene_label"] < 0.01
    assert p["axis"]["random_axis"] < 0.05


def test_the_observed_draw_is_the_observed_statistic():
    geometry, _, members = world("axis")
    for name in ("axis_separation", "pole_enrichment"):
        prepared = CATALOGUE[name].prepare(geometry, Entity("gene_set", members=members))
        observed = prepared.sums(np.arange(200, dtype=np.int32)[None, :])
        assert prepared.own["random_axis"]((1, 2), 0, 3)[0].tolist() == observed[0].tolist()


def test_under_its_own_null_the_random_axis_p_is_uniform():
    """Labels that are spherical noise in the space of the axes: the p-value is at most t with probability t."""
    p = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((120, 4))
        direction = rng.standard_normal(4)
        direction /= np.linalg.norm(direction)
        members = np.sort(np.argsort(-(X @ direction))[:15])
        everyone = np.arange(120)
        geometry = Geometry([X.astype(np.float32)], everyone, everyone, [str(i) for i in range(120)], 4)
        covariates = Covariates(tuple(f"g{i}" for i in range(120)), rng.random(120), rng.random(120))
        kind = CATALOGUE["axis_separation"]
        e = Entity("gene_set", members=members)
        views = frozenset(kind.prepare(geometry, e).views)
        (one,) = scan(geometry, covariates, kind, e, subsets={"a": views}, nulls=("random_axis",), m=99, seed=seed)
        p.append((one.subsets["a"].k + 1) / 100)
    assert np.mean(np.array(p) <= 0.1) < 0.19
    assert kstest(p, "uniform").pvalue > 1e-3
