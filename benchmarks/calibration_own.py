"""Worlds for the nulls that only some tests have, for ``calibration.py``: each null's own hypothesis, made true.

A world is an endless stream of cases, one a repetition, drawn by NumPy's generator with code of its own: no rotation, no
exchange of targets and no cloud here comes from the engine.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from calibration_worlds import SET, Case, Rng, demo
from numpy.typing import NDArray

from hyposcreen.tests_library.catalogue import CATALOGUE
from hyposcreen.tests_library.run import Covariates
from hyposcreen.tests_library.spaces import Geometry
from hyposcreen.tests_library.statistics.base import Entity

PAIRS = 60
ATTEMPTS = 10
"""Exchanges tried for each edge between two repetitions; ten times as many before the first."""


def unnamed(n: int) -> Covariates:
    """Covariates of n genes of which nothing is known."""
    return Covariates(tuple(str(i) for i in range(n)), np.zeros(n), np.zeros(n))


def whole(layers: Sequence[NDArray[np.float64]], axes: int) -> Geometry:
    """A geometry of which every row is tested."""
    n = len(layers[0])
    everyone = np.arange(n)
    return Geometry([X.astype(np.float32) for X in layers], everyone, everyone, [str(i) for i in everyone], axes)


# ---------------------------------------------------------------- random_axis: the axes are any frame of their span


@cache
def white_cloud(
    genes: int = 200, axes: int = 5, layers: tuple[int, ...] = (0, 2, 4)
) -> tuple[NDArray[np.float64], ...]:
    """Orthonormal axes of some genes of the demo cache, float64 [n, k] a layer, each turned to lie as near as it can to the last.

    With U'V of two layers symmetric and not negative, so is R'U'VR: an axis and its successor keep the same sign however
    both are turned, and the signs that a geometry gives to axes are common to all layers.
    """
    d = demo().geometry
    rows = d.universe[np.sort(np.random.default_rng(0).choice(d.n, genes, replace=False))]
    out: list[NDArray[np.float64]] = []
    for q in layers:
        X = np.asarray(d.layers[q])[rows].astype(np.float64)
        U = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[0][:, :axes]
        if out:
            A, _, Bt = np.linalg.svd(out[-1].T @ U)
            U = U @ Bt.T @ A.T
        out.append(U)
    return tuple(out)


def haar(k: int, rng: Rng) -> NDArray[np.float64]:
    """A Haar-distributed orthogonal matrix [k, k]: QR of normals with positive diagonal (Mezzadri 2007)."""
    Q, R = np.linalg.qr(rng.standard_normal((k, k)))
    return np.asarray(Q * np.sign(np.diag(R)))


def direction(k: int, rng: Rng) -> NDArray[np.float64]:
    """A uniformly distributed direction, float64 [k]."""
    u = rng.standard_normal(k)
    return np.asarray(u / np.sqrt((u * u).sum()))


def random_axis(name: str, rng: Rng) -> Iterator[Case]:
    """Genes that lie together along a random direction of a cloud; which frame of the cloud is called its axes is random too.

    The embedding of each repetition has the same cloud, all layers turned by one random rotation, and axes of falling length.
    """
    cloud = white_cloud()
    n, k = cloud[0].shape
    lengths = np.linspace(2.0, 1.0, k)
    while True:
        frame = haar(k, rng)
        geometry = whole([U @ frame * lengths for U in cloud], k)
        along = np.argsort(np.sqrt(n) * (cloud[1] @ direction(k, rng)) + 0.5 * rng.standard_normal(n))
        if CATALOGUE[name].entity == "gene_set":
            entity = Entity("gene_set", members=np.sort(along[-SET:]))
        else:
            at = np.sort(rng.choice(n - 1, PAIRS, replace=False))
            entity = Entity("gene_pairs", pairs=np.sort(np.stack([along[at], along[at + 1]], axis=1), axis=1))
        yield Case(geometry, unnamed(n), entity)


# ---------------------------------------------------------------- graphs


@dataclass(frozen=True, eq=False)
class Network:
    """Edges: regulators as numbers 0 … R−1 and targets as positions in the universe, int64 [e]; signs int64 [e].

    ``rows`` are the regulators' cache rows [R], ``own`` their positions in the universe, −1 outside, [R].
    """

    regulators: NDArray[np.int64]
    targets: NDArray[np.int64]
    signs: NDArray[np.int64]
    rows: NDArray[np.int64]
    own: NDArray[np.int64]

    def entity(self) -> Entity:
        edges = np.stack([self.rows[self.regulators], self.targets], axis=1)
        return Entity("edges", edges=edges, signs=self.signs)


@cache
def small_side() -> Case:
    """200 genes of the demo cache as a universe; the entity is without edges."""
    d = demo()
    rows = np.sort(np.random.default_rng(1).choice(d.geometry.n, 200, replace=False))
    g = d.geometry
    geometry = Geometry(g.layers, g.usable, g.universe[rows], g.families, g.n_axes)
    return Case(geometry, unnamed(200), Entity("edges", edges=np.empty((0, 2), np.int64)))


def network(rng: Rng, inside: int = 8, outside: int = 4, out_degree: int = 12) -> Network:
    """Regulators of which most are genes of the universe; hubs among targets, and regulators are hubs (so loops close)."""
    g = small_side().geometry
    own = np.concatenate([rng.choice(g.n, inside, replace=False), np.full(outside, -1)])
    elsewhere = rng.choice(np.setdiff1d(g.usable, g.universe), outside, replace=False)
    weight = rng.pareto(1.5, g.n) + 0.3
    weight[own[:inside]] += 5 * weight.mean()
    targets = []
    for self_ in own.tolist():
        w = weight.copy()
        if self_ >= 0:
            w[self_] = 0
        targets.append(rng.choice(g.n, out_degree, replace=False, p=w / w.sum()))
    e = out_degree * len(own)
    return Network(
        regulators=np.repeat(np.arange(len(own)), out_degree),
        targets=np.concatenate(targets).astype(np.int64),
        signs=rng.choice([1, -1, 0], e, p=[0.5, 0.3, 0.2]).astype(np.int64),
        rows=np.concatenate([g.universe[own[:inside]], elsewhere]).astype(np.int64),
        own=own.astype(np.int64),
    )


def exchanged(net: Network, attempts: int, rng: Rng) -> Network:
    """``net`` after a chain of exchanges that keeps its margins: two edges of one sign swap targets, or three pass them on.

    Slots are picked uniformly, and a move that would double an edge or close it on itself is not made; a move and its
    undoing are equally likely, so the uniform distribution over what can be reached stays what it is.
    """
    regulator, target, sign = net.regulators.tolist(), net.targets.tolist(), net.signs.tolist()
    own = net.own.tolist()
    there = set(zip(regulator, target, strict=True))
    picks = rng.integers(len(target), size=(attempts, 3)).tolist()
    for pick, two in zip(picks, (rng.random(attempts) < 0.8).tolist(), strict=True):
        slots = pick[:2] if two else pick
        if len(set(slots)) < len(slots) or len({sign[s] for s in slots}) > 1:
            continue
        passed = [target[s] for s in (*slots[1:], slots[0])]
        new = {(regulator[s], t) for s, t in zip(slots, passed, strict=True)}
        if new & there or any(own[r] == t for r, t in new):
            continue
        there -= {(regulator[s], target[s]) for s in slots}
        there |= new
        for s, t in zip(slots, passed, strict=True):
            target[s] = t
    return replace(net, targets=np.array(target, np.int64))


def rewired(_name: str, rng: Rng) -> Iterator[Case]:
    """Graphs along a chain over all graphs with the margins of one made graph."""
    side, net = small_side(), network(rng)
    net = exchanged(net, 10 * ATTEMPTS * len(net.targets), rng)
    while True:
        net = exchanged(net, ATTEMPTS * len(net.targets), rng)
        yield replace(side, entity=net.entity())


def target_shuffle(_name: str, rng: Rng) -> Iterator[Case]:
    """Each regulator has its number of targets, drawn uniformly from the universe without itself."""
    side, net = small_side(), network(rng)
    n = side.geometry.n
    while True:
        targets = net.targets.copy()
        for r, self_ in enumerate(net.own.tolist()):
            mine = np.flatnonzero(net.regulators == r)
            others = np.setdiff1d(np.arange(n), [self_])
            targets[mine] = rng.choice(others, len(mine), replace=False)
        yield replace(side, entity=replace(net, targets=targets).entity())


def sign_shuffle(_name: str, rng: Rng) -> Iterator[Case]:
    """A graph that never changes, its known signs permuted within each regulator."""
    side, net = small_side(), network(rng)
    while True:
        signs = net.signs.copy()
        for r in range(len(net.rows)):
            mine = np.flatnonzero((net.regulators == r) & (net.signs != 0))
            signs[mine] = rng.permutation(net.signs[mine])
        yield replace(side, entity=replace(net, signs=signs).entity())


# ---------------------------------------------------------------- nulls that are printed and decide nothing


def layer_order(_name: str, rng: Rng) -> Iterator[Case]:
    """Twelve layers that are one cloud of 60 points with fresh noise each, so any order of them is as likely as any other."""
    n, d = 60, 8
    members = np.arange(12)
    while True:
        cloud = rng.standard_normal((n, d))
        cloud[members] += 0.5 * rng.standard_normal(d)
        layers = [cloud + 0.7 * rng.standard_normal((n, d)) for _ in range(12)]
        yield Case(whole(layers, 2), unnamed(n), Entity("gene_set", members=members))


def matched_gaussian(_name: str, rng: Rng) -> Iterator[Case]:
    """300 points of a Gaussian cloud of six dimensions; two layers that stretch its principal axes differently."""
    n, d = 300, 6
    stretch = (np.linspace(2.0, 1.0, d), np.linspace(3.0, 0.5, d))
    turn = [haar(d, rng) for _ in stretch]
    while True:
        Z = rng.standard_normal((n, d))
        layers = [Z * s @ V.T for s, V in zip(stretch, turn, strict=True)]
        yield Case(whole(layers, 2), unnamed(n), Entity("gene_set", members=np.arange(SET)))


def feature_shuffle(_name: str, rng: Rng) -> Iterator[Case]:
    """Eight coordinates of 200 genes of the demo cache, each permuted over genes by itself, the same way in both layers."""
    d = demo().geometry
    rows, columns = rng.choice(d.universe, 200, replace=False), rng.choice(d.layers[0].shape[1], 8, replace=False)
    base = [np.asarray(d.layers[q])[np.ix_(rows, columns)].astype(np.float64) for q in (0, d.n_layers - 1)]
    members = np.arange(SET // 2)
    while True:
        order = rng.permuted(np.tile(np.arange(200)[:, None], (1, 8)), axis=0)
        layers = [np.take_along_axis(X, order, axis=0) for X in base]
        yield Case(whole(layers, 2), unnamed(200), Entity("gene_set", members=members))


WORLDS: Mapping[str, Callable[[str, Rng], Iterator[Case]]] = {
    "random_axis": random_axis,
    "rewired": rewired,
    "target_shuffle": target_shuffle,
    "sign_shuffle": sign_shuffle,
    "layer_order": layer_order,
    "matched_gaussian": matched_gaussian,
    "feature_shuffle": feature_shuffle,
}
"""(name of a test kind, generator) → cases in which the null is true, by null."""
