"""Hops between the genes of a set, against networkx."""

import itertools

import networkx as nx
import numpy as np
import pytest

from hyposcreen.tests_library.engine.maxt import p_value
from hyposcreen.tests_library.run import Covariates, scan
from hyposcreen.tests_library.spaces import Geometry
from hyposcreen.tests_library.statistics.base import Entity
from hyposcreen.tests_library.statistics.geodesic import GEODESIC_DISTANCE, hops
from hyposcreen.tests_library.statistics.neighbours import graph

N, MEMBERS = 90, np.array([2, 5, 11, 30, 47, 60, 88])


def made(seed: int = 4) -> Geometry:
    """Two layers of points on a noisy ring: straight lines cut through it, steps along it do not."""
    rng = np.random.default_rng(seed)
    angle = np.arange(N) * 2 * np.pi / N
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    layers = [(ring + 0.02 * rng.standard_normal((N, 3))).astype(np.float32) for _ in range(2)]
    everyone = np.arange(N)
    return Geometry(layers, everyone, everyone, [f"f{i}" for i in range(N)], 2)


def test_the_effect_is_the_mean_shortest_path_of_networkx():
    geometry = made()
    prepared = GEODESIC_DISTANCE.prepare(geometry, Entity("gene_set", members=MEMBERS))
    arrangements = np.stack([np.arange(N), np.random.default_rng(0).permutation(N)]).astype(np.int32)
    found = prepared.offset + prepared.scale * prepared.sums(arrangements)
    for p, q in itertools.product(range(2), range(2)):
        G = nx.from_numpy_array(graph(geometry, q))
        played = arrangements[p][MEMBERS].tolist()
        expected = [nx.shortest_path_length(G, a, b) for a, b in itertools.combinations(played, 2)]
        assert found[p, q] == pytest.approx(np.mean(expected), abs=1e-12)
    assert found.max() > 2


def test_parts_that_nothing_joins_are_one_hop_beyond_the_farthest():
    near = np.zeros((6, 6), bool)
    for a, b in ((0, 1), (1, 2), (3, 4)):
        near[a, b] = near[b, a] = True
    assert hops(near).tolist() == [
        [0, 1, 2, 3, 3, 3], [1, 0, 1, 3, 3, 3], [2, 1, 0, 3, 3, 3], [3, 3, 3, 0, 1, 3], [3, 3, 3, 1, 0, 3],
        [3, 3, 3, 3, 3, 0],
    ]  # fmt: skip


def test_an_arc_is_found_and_a_scatter_is_not():
    geometry = made()
    covariates = Covariates(tuple(f"g{i}" for i in range(N)), np.random.default_rng(1).random(N), np.zeros(N))
    p = []
    for members in (np.arange(20, 32), np.arange(0, N, 8)):
        entity = Entity("gene_set", members=members)
        views = frozenset(GEODESIC_DISTANCE.prepare(geometry, entity).views)
        (one,) = scan(geometry, covariates, GEODESIC_DISTANCE, entity, subsets={"all": views}, nulls=("gene_label",),
                      m=199, seed=3)  # fmt: skip
        p.append(p_value(one.subsets["all"].k, one.m))
    assert p[0] == 1 / 200
    assert p[1] > 0.2
