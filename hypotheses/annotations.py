"""Annotations: the gene sets, graded pairs and signed edges a hypothesis may be about.

A folder of annotations holds one ``annotations.toml`` and the data files it names. Each top-level table describes one
file; the reserved table ``[defaults]`` fills the fields a table leaves out::

    [defaults]
    source = "MSigDB"                  # who made it
    version = "2024.1"
    licence = "CC-BY-4.0"
    citation = "Liberzon et al. 2015"  # optional
    provenance = "external"            # external | derived | control

    [markers]                          # name of the annotation where the file holds just one
    file = "markers.gmt"
    kind = "gene_set"                  # gene_set (.gmt) | gene_pairs (.tsv) | edges (.tsv)
    role = "positive_control"          # optional: claim (default) | positive_control | negative_control
    slugify = true                     # optional: HALLMARK_P53 in the file becomes hallmark_p53
    background = "housekeeping"        # optional: a gene set whose genes alone form the universe
    derived_from = "<cache digest>"    # needed by, and only allowed for, provenance = "derived"
    original = "x.gmt sha256:…"        # optional: the file an importer read; `screen annotations import` writes it

    [markers.sets.b_cells]             # optional: role, title or background of one annotation of the file
    role = "claim"

Files are UTF-8 and tab-separated; blank lines and lines starting with ``#`` are skipped. GMT: name, description (the
title), genes. Pairs: header ``gene_a gene_b grade``; edges: header ``regulator target sign``. A first column
``annotation`` lets one TSV hold several annotations.

Two rows about one edge: an unknown sign yields to a known one; activation and repression together make the sign 0, and
the annotation's ``notes`` say so. Two grades for one pair are refused, because a gradient has no truth there.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from .annotation_files import CONFIG, HEADERS, AnnotationError, Kind, Triple, read_gmt, read_text, read_tsv, slug
from .canonical import sha256_of

__all__ = [
    "CONFIG", "DEMO", "Annotation", "AnnotationError", "Kind", "Provenance", "Resolved", "Role", "Triple",
    "canonical_members", "find_annotations", "get", "index_symbols", "load_annotations", "resolve", "slug",
]  # fmt: skip

Role = Literal["claim", "positive_control", "negative_control"]
ProvenanceType = Literal["external", "derived", "control"]
Members = tuple[str, ...] | tuple[Triple, ...]

DEMO = Path(__file__).with_name("demo_annotations")
_OVERRIDES = frozenset(("role", "title", "background"))
_DEFAULTABLE = frozenset(("source", "version", "licence", "citation", "provenance", "derived_from", "role", "original"))
_FIELDS = _DEFAULTABLE | _OVERRIDES | {"file", "kind", "slugify", "sets"}


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an annotation comes from; ``type`` decides whether a cache may be tested against it at all."""

    type: ProvenanceType
    """``external`` (a database, a paper, a person), ``derived`` (computed from a cache), ``control`` (made null)."""
    source: str
    version: str
    licence: str
    citation: str
    """Empty where the source asks for none."""
    derived_from: str | None = None
    """Digest of the cache a ``derived`` label was computed from; ``None`` for the other types."""
    original: str = ""
    """Name and sha256 of the file it was imported from; empty where the folder's file is the original."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """One thing a hypothesis can be about. Built by hand it must already be canonical, or ``AnnotationError``."""

    name: str
    """Slug of ``[a-z0-9_]+``, unique in its folder."""
    kind: Kind
    title: str
    role: Role
    provenance: Provenance
    members: Members
    """Sorted and unique. ``gene_set``: symbols; ``gene_pairs``: (a, b, grade ≥ 0) with a < b; ``edges``: (regulator,
    target, sign in −1, 0, +1) without self-loops."""
    background: str | None = None
    """Name of a gene set that alone forms the universe of the test; ``None`` means every usable gene."""
    notes: tuple[str, ...] = ()
    """What the reader changed or would want to know; never part of the digest."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9_]+", self.name):
            raise AnnotationError(f"annotation name {self.name!r} must be made of a-z, 0-9 and _: {slug(self.name)!r}?")
        if not self.members:
            raise AnnotationError(f"annotation {self.name} has no member; name at least one gene, pair or edge")
        if self.members != canonical_members(self.kind, self.members)[0]:
            raise AnnotationError(f"annotation {self.name}: members are not canonical; pass them by canonical_members")

    @property
    def digest(self) -> str:
        """Sha256 of kind and members: the same genes under another name are the same annotation.

        Title, role, notes and provenance do not enter, so correcting a citation keeps old results comparable. Nor does
        the background: a test spec carries the background's own digest beside this one.
        """
        return sha256_of({"kind": self.kind, "members": self.members})

    @property
    def triples(self) -> tuple[Triple, ...]:
        """The members of ``gene_pairs`` or ``edges``; ``TypeError`` for a gene set."""
        if self.kind == "gene_set":
            raise TypeError(f"annotation {self.name} is a gene set and has no pairs")
        return cast("tuple[Triple, ...]", self.members)

    def genes(self) -> frozenset[str]:
        """Every symbol the annotation names."""
        if self.kind == "gene_set":
            return frozenset(cast("tuple[str, ...]", self.members))
        return frozenset(symbol for a, b, _ in self.triples for symbol in (a, b))


@dataclass(frozen=True, slots=True)
class Resolved:
    """An annotation as row indices of one gene table. Arrays are read-only."""

    name: str
    kind: Kind
    rows: NDArray[np.int64]
    """``gene_set``: [m], ascending; ``gene_pairs`` and ``edges``: [p, 2] in the order of the members."""
    grade: NDArray[np.int64] | None
    """[p] for ``gene_pairs``, else ``None``."""
    sign: NDArray[np.int64] | None
    """[p] in −1, 0, +1 for ``edges``, else ``None``."""
    missing: tuple[str, ...]
    """Symbols the gene table does not hold, sorted."""
    masked: tuple[str, ...]
    """Symbols the gene table holds but whose row is not usable, sorted."""
    n_genes_named: int
    n_genes_used: int
    """Distinct genes in ``rows``; a gene whose every partner is lost counts as not used."""
    n_members_named: int
    n_members_used: int


def canonical_members(kind: Kind, raw: Iterable[str] | Iterable[Triple]) -> tuple[Members, tuple[str, ...]]:
    """``raw`` sorted, unique and oriented, with notes on what was merged.

    Raises ``AnnotationError`` for an unknown kind, a self-loop, a negative grade, a sign outside −1, 0, +1 and two
    grades for one pair.
    """
    if kind == "gene_set":
        return tuple(sorted(set(cast("Iterable[str]", raw)))), ()
    if kind not in HEADERS:
        raise AnnotationError(f"kind {kind!r} is none of {', '.join(get_args(Kind))}")
    values: dict[tuple[str, str], set[int]] = {}
    for a, b, value in cast("Iterable[Triple]", raw):
        if a == b:
            raise AnnotationError(f"{a} is paired with itself; remove the line, a gene has no distance to itself")
        if value < 0 if kind == "gene_pairs" else value not in (-1, 0, 1):
            raise AnnotationError(f"{HEADERS[kind][2]} {value} of {a} and {b} is out of range")
        key = (b, a) if kind == "gene_pairs" and b < a else (a, b)
        values.setdefault(key, set()).add(value)
    notes, triples = [], list[Triple]()
    for (a, b), seen in sorted(values.items()):
        if kind == "gene_pairs" and len(seen) > 1:
            grades = " and ".join(str(grade) for grade in sorted(seen))
            raise AnnotationError(f"the pair {a} and {b} has the grades {grades}; keep one of them")
        if {-1, 1} <= seen:
            notes.append(f"{a} → {b} is given as activation and as repression; its sign is kept as 0 (unknown)")
        triples.append((a, b, sum(seen)))  # of one edge's signs {−1, +1} cancel and 0 yields
    return tuple(triples), tuple(notes)


def find_annotations(name_or_path: str | Path, project_dir: str | Path) -> Path:
    """The folder meant by ``name_or_path``: ``demo`` (shipped), a path, or a name in ``project_dir/annotations``.

    Relative paths start at ``project_dir``. Raises ``AnnotationError`` where none of them is a folder.
    """
    if str(name_or_path) == "demo":
        return DEMO
    project = Path(project_dir)
    for candidate in (project / name_or_path, project / "annotations" / name_or_path):
        if candidate.is_dir():
            return candidate
    where = f"in {project} or {project / 'annotations'}"
    raise AnnotationError(f"no folder of annotations {str(name_or_path)!r} {where}; give one with {CONFIG}, or 'demo'")


def load_annotations(directory: str | Path) -> tuple[Annotation, ...]:
    """Every annotation of a folder, sorted by name; the module's head shows the format.

    Raises ``AnnotationError`` at the first file, line or field that is wrong; nothing is skipped silently.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise AnnotationError(f"there is no folder {folder}; give a folder that holds {CONFIG}, or 'demo'")
    path = folder / CONFIG
    try:
        tables = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise AnnotationError(f"{path} is not valid TOML: {error}; mend that place") from None
    defaults = tables.pop("defaults", {})
    _check_keys(defaults, _DEFAULTABLE, f"{path}, [defaults]")
    if not tables:
        raise AnnotationError(f"{path} describes no annotation; add a table such as [markers] with file and kind")
    found: dict[str, Annotation] = {}
    places: dict[str, str] = {}
    for key, table in tables.items():
        where = f"{path}, [{key}]"
        _check_keys(table, _FIELDS, where)
        for annotation, place in _load_table(folder, key, defaults | table, where):
            if annotation.name in found:
                first = places[annotation.name]
                raise AnnotationError(f"{place}: annotation {annotation.name!r} already stands at {first}; rename one")
            found[annotation.name] = annotation
            places[annotation.name] = place
    return tuple(_with_background(found[name], found, places[name]) for name in sorted(found))


def get(annotations: Iterable[Annotation], name: str) -> Annotation:
    """The annotation called ``name``; ``AnnotationError`` suggests the closest names."""
    known = {annotation.name: annotation for annotation in annotations}
    if name not in known:
        raise AnnotationError(f"there is no annotation {name!r}{_suggest(name, known)}")
    return known[name]


def index_symbols(symbols: Sequence[str]) -> dict[str, int]:
    """Symbol → row of a gene table; ``AnnotationError`` where a symbol stands twice. Make it once for many sets."""
    index = {symbol: row for row, symbol in enumerate(symbols)}
    if len(index) != len(symbols):
        twice = next(symbol for row, symbol in enumerate(symbols) if index[symbol] != row)
        raise AnnotationError(f"the gene table holds {twice!r} twice, so its row is ambiguous; make symbols unique")
    return index


def resolve(
    annotation: Annotation,
    symbols: Sequence[str] | Mapping[str, int],
    usable: NDArray[np.bool_],
    *,
    cache_name: str = "this cache",
) -> Resolved:
    """Row indices of ``annotation`` in a gene table of n genes.

    ``symbols`` is the table's symbol column [n] or :func:`index_symbols` of it; ``usable`` [n] is False where preflight
    masked a row. A pair or edge is kept only when both its genes are usable. Raises ``AnnotationError`` when nothing is
    left and ``ValueError`` when the two lengths differ. A background is not applied here: resolve it as its own set.
    """
    index = symbols if isinstance(symbols, Mapping) else index_symbols(symbols)
    if usable.shape != (len(index),):
        raise ValueError(f"usable has shape {usable.shape} for {len(index)} symbols")
    named = sorted(annotation.genes())
    missing = tuple(symbol for symbol in named if symbol not in index)
    masked = tuple(symbol for symbol in named if symbol in index and not usable[index[symbol]])
    kept = set(named).difference(missing, masked)
    values: NDArray[np.int64] | None = None
    if annotation.kind == "gene_set":
        rows = np.array(sorted(index[symbol] for symbol in kept), dtype=np.int64)
    else:
        triples = [triple for triple in annotation.triples if triple[0] in kept and triple[1] in kept]
        rows = np.array([(index[a], index[b]) for a, b, _ in triples], dtype=np.int64).reshape(-1, 2)
        values = np.array([value for _, _, value in triples], dtype=np.int64)
        values.flags.writeable = False
    if not len(rows):
        raise AnnotationError(_nothing_left(annotation, index, named, masked, cache_name))
    rows.flags.writeable = False
    return Resolved(
        name=annotation.name,
        kind=annotation.kind,
        rows=rows,
        grade=values if annotation.kind == "gene_pairs" else None,
        sign=values if annotation.kind == "edges" else None,
        missing=missing,
        masked=masked,
        n_genes_named=len(named),
        n_genes_used=len(np.unique(rows)),
        n_members_named=len(annotation.members),
        n_members_used=len(rows),
    )


def _nothing_left(
    annotation: Annotation, index: Mapping[str, int], named: list[str], masked: tuple[str, ...], cache_name: str
) -> str:
    what = {"gene_set": "gene", "gene_pairs": "pair", "edges": "edge"}[annotation.kind]
    message = f"annotation {annotation.name} has no {what} in {cache_name}: it names {len(named)} genes such as "
    if masked:
        return (
            f"{message}{_some(named)}, of which preflight masked {len(masked)} such as {_some(masked)}; "
            "read the cache's preflight report"
        )
    message += f"{_some(named)}; the cache holds symbols such as {_some(list(index))}; check species and identifiers"
    lower = {symbol.lower() for symbol in index}
    alike = sum(symbol not in index and symbol.lower() in lower for symbol in named)
    return f"{message} ({alike} would match if upper and lower case were the same)" if alike else message


def _load_table(folder: Path, key: str, table: dict[str, Any], where: str) -> list[tuple[Annotation, str]]:
    """The annotations of one table of the TOML file, each with the place where it starts."""
    kind = cast("Kind", _choice(table, "kind", get_args(Kind), where))
    provenance = _provenance(table, where)
    path = folder / _required(table, "file", where)
    single = _required(table, "title", where) if "title" in table else key.replace("_", " ")
    rename: Callable[[str], str] = slug if table.get("slugify") is True else str
    read = read_gmt(path) if kind == "gene_set" else read_tsv(path, kind, key)
    overrides = table.get("sets", {})
    _check_keys(overrides, frozenset(rename(name) for name, *_ in read), f"{where}, sets")
    annotations = []
    for raw_name, title, raw, line in read:
        name = rename(raw_name)
        place = f"{path}, line {line}"
        if not re.fullmatch(r"[a-z0-9_]+", name):
            mend = f"write {slug(name)!r}, or set slugify = true in [{key}] of {CONFIG}"
            raise AnnotationError(f"{place}: annotation name {name!r} must be made of a-z, 0-9 and _; {mend}")
        override = overrides.get(name, {})
        own = f"{where}, sets.{name}" if override else where
        _check_keys(override, _OVERRIDES, own)
        fields = table | override
        try:
            members, notes = canonical_members(kind, raw)
        except AnnotationError as error:
            raise AnnotationError(f"{path}, annotation {name}: {error}") from None
        annotation = Annotation(
            name=name,
            kind=kind,
            title=_required(override, "title", own) if "title" in override else title or single,
            role=cast("Role", _choice({"role": "claim"} | fields, "role", get_args(Role), own)),
            provenance=provenance,
            members=members,
            background=_required(fields, "background", own) if "background" in fields else None,
            notes=notes,
        )
        annotations.append((annotation, place))
    return annotations


def _provenance(table: dict[str, Any], where: str) -> Provenance:
    kind = cast("ProvenanceType", _choice(table, "provenance", get_args(ProvenanceType), where))
    derived_from = _required(table, "derived_from", where) if kind == "derived" else None
    if kind != "derived" and "derived_from" in table:
        raise AnnotationError(f"{where}: derived_from goes with provenance = 'derived', not {kind!r}; change one")
    return Provenance(
        type=kind,
        source=_required(table, "source", where),
        version=_required(table, "version", where),
        licence=_required(table, "licence", where),
        citation=str(table.get("citation", "")),
        derived_from=derived_from,
        original=str(table.get("original", "")),
    )


def _with_background(annotation: Annotation, found: Mapping[str, Annotation], place: str) -> Annotation:
    """``annotation``, checked against the gene set it names as background."""
    if annotation.background is None:
        return annotation
    background = found.get(annotation.background)
    where = f"{place}: annotation {annotation.name} names the background {annotation.background!r}"
    if background is None:
        raise AnnotationError(f"{where}, which is no annotation of this folder{_suggest(annotation.background, found)}")
    if background.kind != "gene_set" or background.name == annotation.name:
        raise AnnotationError(f"{where}, but a background must be another annotation of kind gene_set")
    outside = sorted(annotation.genes() - background.genes())
    if len(outside) == len(annotation.genes()):
        raise AnnotationError(f"{where}, but shares no gene with it; take another background")
    note = f"{len(outside)} genes such as {_some(outside)} are outside the background {background.name}"
    return replace(annotation, notes=(*annotation.notes, note)) if outside else annotation


def _required(table: Mapping[str, Any], field: str, where: str) -> str:
    value = table.get(field)
    if not isinstance(value, str) or not value.strip():
        said = f"is {value!r}" if field in table else "is missing"
        raise AnnotationError(f'{where}: {field} {said}; write {field} = "some text", in quotes')
    return value.strip()


def _choice(table: Mapping[str, Any], field: str, allowed: Iterable[str], where: str) -> str:
    value = _required(table, field, where)
    if value not in allowed:
        raise AnnotationError(f"{where}: {field} {value!r} is none of {', '.join(allowed)}")
    return value


def _check_keys(table: Any, allowed: frozenset[str], where: str) -> None:
    if not isinstance(table, dict):
        raise AnnotationError(f"{where} is the value {table!r}; make it a table")
    for field in table:
        if field not in allowed:
            raise AnnotationError(f"{where}: {field!r} is not known there{_suggest(field, allowed)}")


def _suggest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else f"; known are {_some(names, 8)}"


def _some(symbols: Sequence[str], count: int = 3) -> str:
    return ", ".join(list(symbols)[:count]) or "none"
