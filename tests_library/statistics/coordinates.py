"""What a test kind ranges over besides layers: axes, poles, windows, one fixed coordinate, or comparisons of layers."""

from collections.abc import Callable
from dataclasses import dataclass

WINDOWS = ((2, 7), (1, 10))
"""Spectral windows, 1-based and inclusive; SV2–7 is the one of arXiv:2602.22247."""


@dataclass(frozen=True)
class Coordinates:
    """The coordinates of a test kind.

    ``singles(n_layers, n_axes)`` names every coordinate of one layer. ``banded``: the names start with ``SVk``, and the
    grammar also offers the lower and the higher half of the axes. ``spans``: one value is computed from several layers
    together, so a hypothesis chooses no layer; every view then has the layer ``L0:L{last}``. ``first``: the first layer that
    has any view; blocks begin at layer 1, the input embedding is layer 0.
    """

    name: str
    singles: Callable[[int, int], tuple[str, ...]]
    banded: bool = False
    spans: bool = False
    first: int = 0


def windows(n_axes: int) -> tuple[tuple[int, int], ...]:
    """The windows that fit into ``n_axes`` axes; all axes where the embedding is too narrow for any of them."""
    return tuple(w for w in WINDOWS if w[1] <= n_axes) or ((1, n_axes),)


def axis_number(coordinate: str) -> int:
    """3 for ``SV3``, ``SV3+`` and ``SV3-``."""
    return int(coordinate[2:].rstrip("+-"))


def _axes(_: int, n_axes: int) -> tuple[str, ...]:
    return tuple(f"SV{k + 1}" for k in range(n_axes))


def _poles(n_layers: int, n_axes: int) -> tuple[str, ...]:
    return tuple(f"{axis}{pole}" for pole in "+-" for axis in _axes(n_layers, n_axes))


def _windows(_: int, n_axes: int) -> tuple[str, ...]:
    return tuple(f"SV{a}-{b}" for a, b in windows(n_axes))


AXES = Coordinates("axes", _axes, banded=True)
POLES = Coordinates("poles", _poles, banded=True)
WINDOW = Coordinates("windows", _windows)


def fixed(*names: str, first: int = 0) -> Coordinates:
    """The same named coordinates at every layer from ``first`` on, whatever the cache: ``fixed("cosine")``."""
    return Coordinates("layers", lambda _layers, _axes: names, first=first)


def spanning(names: Callable[[int], tuple[str, ...]]) -> Coordinates:
    """Comparisons of layers: ``names(n_layers)`` are the coordinates; none where the cache has too few layers."""
    return Coordinates("contrasts", lambda n_layers, _axes: names(n_layers), spans=True)


def layer_span(n_layers: int) -> str:
    """The layer name of every view of a spanning kind: ``L0:L4``."""
    return f"L0:L{n_layers - 1}"


def steps(n_layers: int) -> tuple[str, ...]:
    """Consecutive layers, and the first against the last: ``L0-L1``, …, ``L0-L4``."""
    pairs = [(q, q + 1) for q in range(n_layers - 1)]
    if n_layers > 2:
        pairs.append((0, n_layers - 1))
    return tuple(f"L{a}-L{b}" for a, b in pairs)


def step_layers(name: str) -> tuple[int, int]:
    """``L1-L2`` → (1, 2)."""
    first, last = name.split("-")
    return int(first[1:]), int(last[1:])
