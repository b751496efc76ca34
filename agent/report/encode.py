"""Compact JSON for thousands of rows: columns, dictionaries of repeated values, packed views. ``core.js`` is the inverse."""

import base64
import json
import math
import re
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
"""Digits of the packed numbers, 64 of them, none special in JSON or HTML."""

_STEPS = 4094
COARSER = 67
"""A thin line's step over the main line's: 4,094 / 67 leaves 62 codes, one letter."""


def column(values: Sequence[Any]) -> Any:
    """``values`` as a list, ``{"c": the only value}``, or ``{"d": distinct values, "i": place of each}`` where shorter."""
    plain = list(values)
    distinct = {compact(value): value for value in plain}
    if len(distinct) == 1:
        return {"c": plain[0]}
    indexed = _indexed([compact(value) for value in plain], distinct)
    return indexed if len(compact(indexed)) < len(compact(plain)) else plain


def float_column(values: Sequence[float | None], exact: bool = False) -> Any:
    """Numbers as :func:`column`, or packed in base64 where shorter: ``{"f": float32}``, or ``{"g": float64}`` if ``exact``.

    float32 keeps the six digits that are shown. Unknown values and those that are not finite are NaN there.
    """
    known = [None if v is None or not math.isfinite(v) else v for v in values]
    small = all(v is None or v == 0 or _FLOAT32[0] <= abs(v) <= _FLOAT32[1] for v in known)
    shown = known if exact else [significant(v) for v in known]
    plain = column(shown)
    if not (exact or small):
        return plain
    key, letter = ("g", "d") if exact else ("f", "f")
    data = struct.pack(f"<{len(known)}{letter}", *(math.nan if v is None else v for v in known))
    packed = {key: base64.b64encode(data).decode("ascii")}
    return packed if len(compact(packed)) < len(compact(plain)) else plain


_FLOAT32 = (1e-30, 1e30)


def significant(value: float | None, digits: int = 6) -> float | int | None:
    """``value`` with that many significant digits; whole numbers as integers; ``None`` if unknown or not finite."""
    if value is None or not math.isfinite(value):
        return None
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 2**53 else rounded


def id_column(ids: Sequence[str]) -> Any:
    """Ids, or ``{"h": n}`` where they are H and a number of four digits or more, counted up from n."""
    first = ids[0][1:] if ids else ""
    if first.isdigit() and [f"H{int(first) + i:04d}" for i in range(len(ids))] == list(ids):
        return {"h": int(first)}
    return column(ids)


def spec_columns(specs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Specs as one column a key, keys in order of first appearance. A key that a spec lacks has no place."""
    out: dict[str, Any] = {}
    for key in dict.fromkeys(key for spec in specs for key in spec):
        distinct = {compact(spec[key]): _spec_value(spec[key]) for spec in specs if key in spec}
        out[key] = _indexed([compact(spec[key]) if key in spec else None for spec in specs], distinct)
    return out


def _indexed(keys: Sequence[str | None], distinct: Mapping[str, Any]) -> dict[str, Any]:
    place = {key: index for index, key in enumerate(distinct)}
    places = [None if key is None else place[key] for key in keys]
    # Places beyond two letters only occur in columns that stay plain lists or in ledgers of many thousand specs.
    fits = len(distinct) <= _STEPS
    return {"d": list(distinct.values()), "i": _letters(places) if fits else [-1 if p is None else p for p in places]}


def _spec_value(value: Any) -> Any:
    """A value of a spec as it is, digests as ``{"x": letters}``."""
    return {"x": short_digest(value)} if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) else value


def short_digest(digest: str) -> str:
    """An even number of hexadecimal digits in URL-safe base64, two thirds as long; any other text behind an ``=``."""
    if not re.fullmatch("([0-9a-f]{2})+", digest):
        return f"={digest}"
    return base64.urlsafe_b64encode(bytes.fromhex(digest)).decode("ascii").rstrip("=")


_encoded = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def compact(value: Any) -> str:
    """JSON without spaces, Unicode as it is. ``ValueError`` for NaN and infinities."""
    # Most values are single numbers, which the encoder would make a machinery for, each time.
    if type(value) is int:
        return int.__repr__(value)
    if type(value) is float and math.isfinite(value):
        return float.__repr__(value)
    return _encoded(value)


def prose_column(texts: Sequence[str]) -> Any:
    """Texts with their frequent words replaced by one letter each: ``{"w": {letter: word}, "v": texts}``.

    The letters are two-byte characters that no text contains, so the inverse is a plain replacement. A word carries its
    trailing space. Loses nothing; halves what a proposer wrote, and needs no decompressor in the browser.
    """
    used = set().union(*texts) if texts else set()
    letters = [chr(code) for low, high in _CODE_LETTERS for code in range(low, high) if chr(code) not in used]
    counts = Counter(word for text in texts for word in _WORD.findall(text))
    saving = {word: (len(word.encode("utf-8", "replace")) - 2) * (n - 1) - 8 for word, n in counts.items()}
    worth = sorted((word for word, gain in saving.items() if gain > 0), key=lambda word: (-saving[word], word))
    code = dict(zip(worth, letters, strict=False))
    short = [_WORD.sub(lambda found: code.get(found.group(), found.group()), text) for text in texts]
    return {"w": {letter: word for word, letter in code.items()}, "v": column(short)}


_WORD = re.compile(r"\S+ ?")
_CODE_LETTERS = ((0x100, 0x250), (0x400, 0x530))


class Packer:
    """Packs the views of rows: a grid of (layer, coordinate) is stored once, effects and null means as a few letters.

    A row becomes ``[grid, group, low, step, effects, base, null_means, others]``. The *group* is the line a
    reader looks at: the coordinate of the best view over all layers, or, where there is one layer, everything. Its
    effects are ``low + step · code`` and its null means ``base + step · code``, with ``step`` a 4,094th of the row's
    range. The other coordinates are thin lines behind it: effects only, ``low + 67 · step · code``. Codes have
    two letters, or one where that is enough; the largest code of either width means unknown.
    """

    def __init__(self) -> None:
        self.grids: list[list[Any]] = []
        """Each ``[layers, coordinates, layer index of each view, coordinate index of each view]``."""
        self._known: dict[tuple[tuple[str, str], ...], int] = {}

    def pack(self, views: Sequence[Mapping[str, Any]], best_view: str | None) -> list[Any] | None:
        """One row's views; ``None`` if it has none."""
        if not views:
            return None
        grid = self._grid(views)
        layers, coordinates, _, place = self.grids[grid]
        best = re.split(r"[·\s]", best_view or "", maxsplit=1)[-1]
        group = coordinates.index(best) if best in coordinates else 0
        fine = [v for v, c in zip(views, place, strict=True) if len(layers) == 1 or c == group]
        others = [v for v, c in zip(views, place, strict=True) if len(layers) > 1 and c != group]
        effects, nulls, rest = _values(fine, "effect"), _values(fine, "null_mean"), _values(others, "effect")
        low, high = _range([*effects, *nulls, *rest])
        base, _ = _range(nulls)
        step = float(f"{max(high - low, 0.0) / _STEPS:.5g}")
        return [
            grid,
            group,
            low,
            step,
            _letters(_codes(effects, low, step)),
            base,
            _letters(_codes(nulls, base, step)),
            _letters(_codes(rest, low, step * COARSER)),
        ]

    def _grid(self, views: Sequence[Mapping[str, Any]]) -> int:
        key = tuple((str(view["layer"]), str(view["coordinate"])) for view in views)
        if key not in self._known:
            layers = list(dict.fromkeys(layer for layer, _ in key))
            coordinates = list(dict.fromkeys(coordinate for _, coordinate in key))
            self._known[key] = len(self.grids)
            self.grids.append(
                [layers, coordinates, [layers.index(q) for q, _ in key], [coordinates.index(c) for _, c in key]]
            )
        return self._known[key]


def _values(views: Sequence[Mapping[str, Any]], name: str) -> list[float | None]:
    values = [view.get(name) for view in views]
    return [None if v is None or not math.isfinite(v) else float(v) for v in values]


def _range(values: Sequence[float | None]) -> tuple[float, float]:
    known = [value for value in values if value is not None]
    return float(f"{min(known, default=0.0):.7g}"), max(known, default=0.0)


def _codes(values: Sequence[float | None], low: float, step: float) -> list[int | None]:
    return [None if v is None else min(_STEPS, max(0, round((v - low) / step))) if step else 0 for v in values]


def _letters(codes: Sequence[int | None]) -> str:
    if max((code for code in codes if code is not None), default=0) < len(ALPHABET) - 1:
        return "".join(ALPHABET[-1 if code is None else code] for code in codes)
    wide = (_STEPS + 1 if code is None else code for code in codes)
    return "".join(ALPHABET[code // 64] + ALPHABET[code % 64] for code in wide)
