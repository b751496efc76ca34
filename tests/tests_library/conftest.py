"""Small worlds for the tests of the library. Fixtures hand out functions, because test modules cannot import each other."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hyposcreen.tests_library.run import Covariates
from hyposcreen.tests_library.spaces import Geometry
from hyposcreen.tests_library.statistics.base import Entity, TestKind
from hyposcreen.tests_library.statistics.crossmodel import PARTNER, partner_from_layers


@dataclass
class World:
    """A made embedding: correlated layers with a decaying spectrum, and the covariates the nulls need."""

    layers: list[NDArray[np.float32]]
    usable: NDArray[np.int64]
    universe: NDArray[np.int64]
    families: list[str]
    covariates: Covariates
    geometry: Geometry

    def again(self, **changes: Any) -> Geometry:
        """A fresh geometry of this world with some argument changed."""
        arguments: dict[str, Any] = {
            "layers": self.layers,
            "usable": self.usable,
            "universe": self.universe,
            "families": self.families,
            "n_axes": 10,
        }
        return Geometry(**(arguments | changes))

    def degenerate(self, what: str) -> list[NDArray[np.float32]]:
        """The layers with every gene at ``one place``, or the first twelve and the rest at ``two places``; else as they are."""
        layers = [X.copy() for X in self.layers]
        for X in layers:
            if what == "one place":
                X[:] = 1
            if what == "two places":
                X[:12], X[12:] = 1, -1
        return layers


def make_world(
    rows: int = 60,
    dim: int = 12,
    n_layers: int = 3,
    seed: int = 0,
    masked: Sequence[int] = (),
    universe: NDArray[np.int64] | None = None,
) -> World:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((rows, dim)) * 2.0 ** -np.linspace(0, 3, dim)
    layers = []
    for _ in range(n_layers):
        layers.append(X.astype(np.float32))
        X = X + 0.4 * rng.standard_normal((rows, dim)) * 2.0 ** -np.linspace(0, 3, dim)
    usable = np.setdiff1d(np.arange(rows), masked)
    universe = usable if universe is None else universe
    families = [f"family{i // 3}" for i in range(rows)]
    covariates = Covariates(
        tuple(f"GENE{i}" for i in universe),
        rng.random(rows)[universe],
        rng.random(rows)[universe],
        tuple(families[i] for i in universe),
    )
    return World(layers, usable, universe, families, covariates, Geometry(layers, usable, universe, families, 10))


def make_entity(kind: str, world: World, rng: np.random.Generator, size: int = 12) -> Entity:
    """A random entity of ``kind``; edges have two regulators inside the universe and one anywhere in the cache."""
    n = len(world.universe)
    if kind == "gene_set":
        return Entity("gene_set", members=np.sort(rng.choice(n, size, replace=False)).astype(np.int64))
    if kind == "gene_pairs":
        upper = np.stack(np.triu_indices(n, 1), axis=1)
        pairs = upper[np.sort(rng.choice(len(upper), 2 * size, replace=False))].astype(np.int64)
        return Entity("gene_pairs", pairs=pairs, grades=rng.integers(1, 5, len(pairs)).astype(np.int64))
    edges = []
    for row in (*world.universe[rng.choice(n, 2, replace=False)], rng.integers(len(world.layers[0]))):
        others = np.flatnonzero(world.universe != row)
        edges += [(int(row), int(t)) for t in rng.choice(others, size // 2, replace=False)]
    rows = np.array(sorted(set(edges)), dtype=np.int64)
    return Entity("edges", edges=rows, signs=np.ones(len(rows), np.int64))


@pytest.fixture(scope="session")
def world() -> Callable[..., World]:
    return make_world


@pytest.fixture(scope="session")
def entity() -> Callable[..., Entity]:
    return make_entity


@pytest.fixture(scope="session")
def entity_of() -> Callable[[TestKind, World, np.random.Generator], Entity]:
    """A random entity that fits a test kind, on a geometry that has all the kind needs."""

    def make(kind: TestKind, world: World, rng: np.random.Generator) -> Entity:
        n = world.geometry.n
        if "partner" in kind.needs:
            world.geometry.partners = {PARTNER: partner_from_layers(world.layers[::-1], world.universe, PARTNER)}
        if "attention" in kind.needs:
            world.geometry.attention = {q: rng.integers(0, 99, (n, n)) for q in range(1, len(world.layers))}
        return make_entity(kind.entity, world, rng)

    return make


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the small real tables, which are never committed; ``HYPOSCREEN_SHARED_DATA`` names it."""
    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("HYPOSCREEN_SHARED_DATA", root.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the real tables are not here; set HYPOSCREEN_SHARED_DATA to their folder")
    return folder
