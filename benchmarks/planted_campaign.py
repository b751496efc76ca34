"""A synthetic cache in which every system of the campaign is true, and its twin with the genes shuffled, in which none is.

Nothing here is data: rows are random points with signals put in by hand, one for each system that a row can test. The twin
has the same rows under other genes' names, so everything that a set, a pair or an edge could have to do with them is chance.

    python benchmarks/planted_campaign.py --out FOLDER     # makes FOLDER/planted and FOLDER/shuffled, ready for `screen run`
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyposcreen.embeddings_cache.genes import GeneTable
from hyposcreen.embeddings_cache.store import STORE, write_cache

LAYERS, DIM = 5, 48
SIZES = {
    "secretory": 44, "compartment": 44, "regulators": 44, "b_cell_markers": 36, "t_cell_markers": 36, "circuit": 48,
    "b_cell_regulators": 40, "linked": 180, "masters": 10, "targets": 120, "background": 220,
}  # fmt: skip
"""Genes by what is planted in them; every gene has one role."""
SECRETORY, LINKED, REGULATORS, EDGES, COSY = 0, 1, 2, slice(3, 7), slice(8, 11)
"""Columns of the signals that show along leading axes; the rest of the width is for cohesion and noise."""


@dataclass
class Planted:
    """Arrays and annotations of one world."""

    symbols: tuple[str, ...]
    layers: list[NDArray[np.float64]]
    partner: list[NDArray[np.float64]]
    attention: NDArray[np.float64]
    sets: dict[str, list[str]] = field(default_factory=dict)
    pairs: list[tuple[str, str, int]] = field(default_factory=list)
    edges: list[tuple[str, str, str]] = field(default_factory=list)


def plant(seed: int = 1) -> Planted:
    """The world in which every system is true."""
    rng = np.random.default_rng(seed)
    n = sum(SIZES.values())
    where, start = {}, 0
    for name, size in SIZES.items():
        where[name] = np.arange(start, start + size)
        start += size
    symbols = tuple(f"G{i:04d}" for i in range(n))
    fixed = rng.standard_normal((n, DIM))
    layers = [fixed + 0.6 * rng.standard_normal((n, DIM)) for _ in range(LAYERS)]
    other = rng.standard_normal((n, DIM))
    partner = [other + 0.6 * rng.standard_normal((n, DIM)) for _ in range(LAYERS)]
    world = Planted(symbols, layers, partner, np.zeros((LAYERS - 1, n, n)))
    for name in (
        "secretory",
        "compartment",
        "regulators",
        "b_cell_markers",
        "t_cell_markers",
        "circuit",
        "b_cell_regulators",
    ):
        world.sets[name] = [symbols[i] for i in where[name]]
    _along_axes(world, where)
    _keeping_together(world, where, rng)
    _links(world, where["linked"], rng)
    _regulation(world, where["masters"], where["targets"], rng)
    _circuit(world, where["circuit"], rng)
    return world


def _along_axes(world: Planted, where: Mapping[str, NDArray[np.int64]]) -> None:
    """Systems 1 and 4: the end of an axis along which all genes vary, and a shift along another one."""
    for layer in world.layers:
        layer[:, SECRETORY] *= 3.0
        layer[where["secretory"], SECRETORY] = 8.0 + 0.2 * layer[where["secretory"], SECRETORY]
        layer[where["regulators"], REGULATORS] += 8.0


def _keeping_together(world: Planted, where: Mapping[str, NDArray[np.int64]], rng: np.random.Generator) -> None:
    """Systems 2, 7 and 8: a common direction, always, at one layer alone, or more with every layer."""
    common = {
        name: 0.9 * rng.standard_normal(DIM)
        for name in ("compartment", "b_cell_markers", "t_cell_markers", "b_cell_regulators")
    }
    for direction in common.values():
        direction[:11] = 0  # not along the axes of the others
    for q, layer in enumerate(world.layers):
        layer[where["compartment"]] += (2.5 if q == 2 else 0.0) * common["compartment"]
        layer[where["b_cell_markers"]] += 1.2 * common["b_cell_markers"]
        layer[where["t_cell_markers"]] += 1.2 * common["t_cell_markers"]
        layer[where["b_cell_regulators"]] += 2.4 * q / (LAYERS - 1) * common["b_cell_regulators"]


def _links(world: Planted, genes: NDArray[np.int64], rng: np.random.Generator) -> None:
    """System 3: linked genes share a pole of one axis, and are the more alike the higher the grade."""
    a, b = genes[: len(genes) // 2], genes[len(genes) // 2 :]
    grades = np.repeat([3, 2, 1], [len(a) // 3, len(a) // 3, len(a) - 2 * (len(a) // 3)])
    side = rng.choice([-1.0, 1.0], len(a))
    for layer in world.layers:
        for x, y, grade in zip(a, b, grades, strict=True):
            share = {1: -0.5, 2: 0.4, 3: 0.95}[int(grade)]
            layer[y, 11:] = share * layer[x, 11:] + np.sqrt(1 - share**2) * layer[y, 11:]
        layer[a, LINKED] += 2.8 * side
        layer[b, LINKED] += 2.8 * side
    world.pairs = [(world.symbols[x], world.symbols[y], int(g)) for x, y, g in zip(a, b, grades, strict=True)]


def _regulation(
    world: Planted, masters: NDArray[np.int64], targets: NDArray[np.int64], rng: np.random.Generator
) -> None:
    """Systems 5 and 6: targets lie near their own regulator, activated ones nearer."""
    width = EDGES.stop - EDGES.start
    places = 7.0 * _directions(rng, len(masters), width)
    owner = np.arange(len(targets)) % len(masters)
    activated = (np.arange(len(targets)) // len(masters)) % 2 == 0
    for layer in world.layers:
        layer[masters, EDGES] = places
        layer[targets, EDGES] = places[owner] + np.where(activated, 0.8, 9.0)[:, None] * rng.standard_normal(
            (len(targets), width)
        )
    world.edges = [
        (world.symbols[masters[o]], world.symbols[t], "activation" if up else "repression")
        for t, o, up in zip(targets, owner, activated, strict=True)
    ]


def _circuit(world: Planted, genes: NDArray[np.int64], rng: np.random.Generator) -> None:
    """Systems 9 to 12: an arc in a plane, in both caches; genes that are near each other attend to each other."""
    angle = np.linspace(0, 2.4, len(genes))
    arc = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for layer in (*world.layers, *world.partner):
        layer[genes] = 0.12 * rng.standard_normal((len(genes), DIM))
        layer[genes, COSY.start : COSY.start + 2] += 4.0 * arc
        layer[genes, COSY.start + 2] += 1.5
    n = len(world.symbols)
    near = arc @ arc.T
    for block in range(len(world.attention)):
        weights = rng.random((n, n)) * 0.02
        weights[np.ix_(genes, genes)] = 0.01 + 0.01 * near + 0.002 * rng.random(near.shape)
        world.attention[block] = weights


def _directions(rng: np.random.Generator, count: int, width: int) -> NDArray[np.float64]:
    points = rng.standard_normal((count, width))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def shuffled(world: Planted, seed: int = 2) -> Planted:
    """The same rows under other genes' names; the partner keeps its own, so nothing is common to both."""
    order = np.random.default_rng(seed).permutation(len(world.symbols))
    return Planted(
        world.symbols,
        [layer[order] for layer in world.layers],
        world.partner,
        np.array([block[np.ix_(order, order)] for block in world.attention]),
        world.sets,
        world.pairs,
        world.edges,
    )


def write_project(world: Planted, folder: Path, **settings: object) -> Path:
    """A working folder with the cache, its partner and the annotations of ``world``."""
    store = folder / STORE
    rng = np.random.default_rng(3)
    n = len(world.symbols)
    expression, detection = rng.gamma(2.0, 0.5, n), rng.uniform(0.05, 0.95, n)
    for name, layers in (("planted", world.layers), ("partner", world.partner)):
        genes = GeneTable(
            world.symbols, np.full(n, 500), expression, detection, np.linalg.norm(layers[-1], axis=1), ("",) * n
        )
        extras = {"attention": world.attention, "attention_rows": np.arange(n)} if name == "planted" else {}
        write_cache(store / name, layers=layers, genes=genes, manifest={"model": "synthetic"}, extras=extras)
    _write_annotations(world, folder / "annotations")
    lines = {"cache": "planted", "partner": "partner", "annotations": "annotations", **settings}
    text = "".join(f"{k} = {v!r}\n" if not isinstance(v, str) else f'{k} = "{v}"\n' for k, v in lines.items())
    (folder / "screen.toml").write_text(text, encoding="utf-8")
    return folder


def _write_annotations(world: Planted, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "sets.gmt").write_text(_table([(name, "na", *genes) for name, genes in world.sets.items()]))
    (folder / "ppi.tsv").write_text(_table([("gene_a", "gene_b", "grade"), *world.pairs]))
    (folder / "regulation.tsv").write_text(_table([("regulator", "target", "sign"), *world.edges]))
    head = '[defaults]\nsource = "planted by hand"\nversion = "1"\nlicence = "CC0-1.0"\nprovenance = "external"\n'
    tables = (("sets", "gmt", "gene_set"), ("ppi", "tsv", "gene_pairs"), ("regulation", "tsv", "edges"))
    body = "".join(f'\n[{name}]\nfile = "{name}.{end}"\nkind = "{kind}"\n' for name, end, kind in tables)
    (folder / "annotations.toml").write_text(head + body, encoding="utf-8")


def _table(rows: Sequence[Sequence[object]]) -> str:
    return "".join("\t".join(str(x) for x in row) + "\n" for row in rows)


def main() -> int:
    """Write both folders; returns the exit code."""
    arguments = argparse.ArgumentParser(description="Make the planted cache and its shuffled twin.")
    arguments.add_argument("--out", type=Path, required=True, help="folder to make both projects in")
    out = arguments.parse_args().out
    world = plant()
    print(write_project(world, out / "planted"))
    print(write_project(shuffled(world), out / "shuffled"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
