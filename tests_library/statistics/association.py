"""Two matrices over the same genes: graded pairs against similarity, plain and partial, and attention against similarity."""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.jit import HAVE_NUMBA, jit
from ..engine.kernels import Arrangements, pair_sums
from ..spaces import Geometry, centred_ranks, pair_ranks, quantise
from .base import Entity, Prepared, TestKind, View, affine
from .coordinates import fixed

CONTROLLED = ("expression", "detection")
"""Covariates of a geometry that :data:`PARTIAL_MANTEL` takes out of the similarity."""
CORRELATION_BITS = 20
_RESIDUAL_BITS = 10
"""Residuals are rounded to 2⁻¹⁰ of a rank before they are ranked."""
_RANK_BITS = 12
"""Bits of the ranks inside a within-set correlation: its integer moments then fit into int64 for 1,000 genes."""
_CHUNK = 1 << 18
_NUMPY_CELLS = 1 << 22


def _prepare_mantel(geometry: Geometry, entity: Entity) -> Prepared:
    return _grades_against(geometry, entity, geometry.pair_ranks(), "cosine")


def _prepare_partial(geometry: Geometry, entity: Entity) -> Prepared:
    table = geometry.remember("partial mantel table", lambda: _residual_ranks(geometry))
    return _grades_against(geometry, entity, table, "residual cosine")


def _grades_against(geometry: Geometry, entity: Entity, table: NDArray[np.int32], name: str) -> Prepared:
    """Correlation, over all pairs of the universe, of grades (0 where unlisted) with the ranks in ``table`` [n, n, L]."""
    pairs = entity.need_pairs()
    if entity.grades is None:
        raise ValueError("a Mantel correlation needs graded pairs; this annotation has no grades")
    grades = entity.grades
    possible = max(1, geometry.n * (geometry.n - 1) // 2)
    spread = max(0.0, float(exact_dot(grades, grades) - Fraction(int(grades.sum()) ** 2, possible)))
    lengths = geometry.remember(("mantel lengths", name), lambda: _rank_lengths(table)) * math.sqrt(spread)
    views = tuple(View(f"L{q}", name) for q in range(geometry.n_layers))

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        return pair_sums(table, pairs, grades, arrangements)

    scale = np.where(lengths > 0, 1 / np.where(lengths > 0, lengths, 1.0), 0.0)
    return Prepared(views, sums, scale, np.zeros(len(views)))


def _rank_lengths(table: NDArray[np.int32]) -> NDArray[np.float64]:
    """√Σ r² over the pairs of each layer of a symmetric [n, n, L] with diagonal 0: float64 [L]."""
    layers = [table[:, :, q].astype(np.int64).ravel() for q in range(table.shape[2])]
    return np.array([math.sqrt(exact_dot(r, r) // 2) for r in layers])


def _residual_ranks(geometry: Geometry) -> NDArray[np.int32]:
    """Doubled centred mid-ranks over pairs of what covariates leave of the similarity: int32 [n, n, L], diagonal 0."""
    n = geometry.n
    upper = np.triu_indices(n, 1)
    cosine = geometry.pair_ranks()
    out = np.zeros(cosine.shape, np.int32)
    shared = _controlled(geometry)
    for q in range(geometry.n_layers):
        columns = [_difference_ranks(x) for x in (shared or (_lengths(geometry, q),))]
        left = residuals(cosine[:, :, q][upper].astype(np.int64), columns)
        half = np.zeros((n, n), np.int32)
        half[upper] = centred_ranks(left[:, None])[:, 0]
        out[:, :, q] = half + half.T
    return out


def _controlled(geometry: Geometry) -> tuple[NDArray[np.float64], ...]:
    covariates: Mapping[str, NDArray[np.float64]] = getattr(geometry, "covariates", {})
    missing = [name for name in CONTROLLED if name not in covariates]
    if covariates and missing:
        raise ValueError(
            f"partial_mantel needs the covariates {', '.join(CONTROLLED)}; {', '.join(missing)} is missing"
        )
    return tuple(covariates[name] for name in CONTROLLED) if covariates else ()


def _lengths(geometry: Geometry, layer: int) -> NDArray[np.float64]:
    """Lengths of the centred vectors of a layer, float64 [n]; exact sums of squares, so the same on every machine."""
    unit = geometry.unit(layer)[geometry.universe]
    lengths: NDArray[np.float64] = np.sqrt((unit * unit).sum(axis=1))
    return lengths


def _difference_ranks(x: NDArray[np.float64]) -> NDArray[np.int64]:
    """Doubled centred mid-ranks of |xᵢ − xⱼ| over pairs i < j: int64 [n(n − 1)/2]; x [n] is quantised first."""
    whole = quantise(np.asarray(x, dtype=np.float64)[:, None])[:, 0]
    i, j = np.triu_indices(len(whole), 1)
    return centred_ranks(np.abs(whole[i] - whole[j])[:, None])[:, 0].astype(np.int64)


def residuals(y: NDArray[np.int64], columns: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """What least squares on centred ``columns`` leaves of centred y [N], in units of 2⁻¹⁰: int64 [N].

    Coefficients solve the normal equations in rational numbers; a column without variance, or one that the columns
    before it determine, gets 0. What follows is element by element, so the bits are the same everywhere.
    """
    left = y.astype(np.float64)
    for slope, x in zip(_least_squares(y, columns), columns, strict=True):
        left = left - float(slope) * x
    return np.rint(left * (1 << _RESIDUAL_BITS)).astype(np.int64)


def _least_squares(y: NDArray[np.int64], columns: Sequence[NDArray[np.int64]]) -> list[Fraction]:
    """Gauss–Jordan on the normal equations, exactly."""
    rows = [[Fraction(exact_dot(a, b)) for b in (*columns, y)] for a in columns]
    for k, pivot in enumerate(rows):
        if pivot[k] == 0:
            continue
        rows[k] = [v / pivot[k] for v in pivot]
        for other in range(len(rows)):
            if other != k:
                factor = rows[other][k]
                rows[other] = [v - factor * w for v, w in zip(rows[other], rows[k], strict=True)]
    return [row[-1] if row[k] else Fraction(0) for k, row in enumerate(rows)]


def exact_dot(x: NDArray[np.int64], y: NDArray[np.int64]) -> int:
    """Σ x·y as a Python integer, for entries below 2³²: halves of x keep every partial sum inside int64."""
    total = 0
    for s in range(0, len(x), _CHUNK):
        a, b = x[s : s + _CHUNK], y[s : s + _CHUNK]
        total += (int(((a >> 20) * b).sum()) << 20) + (int(((a & 0xFFFFF) * (b >> 20)).sum()) << 20)
        total += int(((a & 0xFFFFF) * (b & 0xFFFFF)).sum())
    return total


def _prepare_attention(geometry: Geometry, entity: Entity) -> Prepared:
    members = entity.need_members()
    attention: Mapping[int, NDArray[np.int64]] = geometry.attention
    layers = sorted(attention)
    views = tuple(View(f"L{q}", "attention") for q in layers)

    def sums(arrangements: Arrangements) -> NDArray[np.int64]:
        if not layers:
            return np.zeros((len(arrangements), 0), np.int64)
        tables = geometry.remember("attention tables", lambda: _attention_tables(geometry, attention))
        return correlations(*tables, members, arrangements)

    return Prepared(views, sums, *affine(len(views), 2.0**-CORRELATION_BITS, 0.0))


def _attention_tables(
    geometry: Geometry, attention: Mapping[int, NDArray[np.int64]]
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Ranks over pairs of attention (both directions added) and of cosine, cut to 12 bits: int16 [n, n, layers] each.

    Filled layer by layer, because with a copy of either they would be the largest thing of a run.
    """
    layers = sorted(attention)
    shift = max(0, (geometry.n * (geometry.n - 1) // 2).bit_length() - _RANK_BITS)
    known = geometry.pair_ranks()
    both, cosine = (np.empty((geometry.n, geometry.n, len(layers)), np.int16) for _ in range(2))
    for v, q in enumerate(layers):
        one_way = np.asarray(attention[q], dtype=np.int64)
        both[:, :, v] = pair_ranks(one_way + one_way.T) >> shift
        cosine[:, :, v] = known[:, :, q] >> shift
    return both, cosine


def correlations(
    first: NDArray[np.signedinteger[Any]],
    second: NDArray[np.signedinteger[Any]],
    members: NDArray[np.int64],
    arrangements: Arrangements,
) -> NDArray[np.int64]:
    """Pearson correlation of two tables [n, n, V] over the pairs inside a set, in units of 2⁻²⁰: int64 [P, V].

    Entries lie within ±2¹². 0 where one of them does not vary inside the set.
    """
    i, j = np.triu_indices(len(members), 1)
    pairs = np.stack([members[i], members[j]], axis=1)
    shift = max(0, len(pairs).bit_length() - 19)  # sets above 1,000 genes give up a bit, so that the moments fit
    out = np.zeros((5, len(arrangements), first.shape[2]), np.int64)
    fill = _moments_loop if HAVE_NUMBA else _moments_numpy
    fill(first, second, pairs, arrangements, shift, out)
    a, b, aa, bb, ab = out
    m = len(pairs)
    spread_a, spread_b, together = m * aa - a * a, m * bb - b * b, m * ab - a * b
    lengths = np.sqrt(spread_a.astype(np.float64)) * np.sqrt(spread_b.astype(np.float64))
    r = np.where(lengths > 0, together / np.where(lengths > 0, lengths, 1.0), 0.0)
    whole: NDArray[np.int64] = np.rint(r * (1 << CORRELATION_BITS)).astype(np.int64)
    return whole


@jit
def _moments_loop(
    first: NDArray[np.signedinteger[Any]],
    second: NDArray[np.signedinteger[Any]],
    pairs: NDArray[np.int64],
    arrangements: Arrangements,
    shift: int,
    out: NDArray[np.int64],
) -> None:
    views = first.shape[2]
    for p in range(arrangements.shape[0]):
        for e in range(pairs.shape[0]):
            i = arrangements[p, pairs[e, 0]]
            j = arrangements[p, pairs[e, 1]]
            for v in range(views):
                a = np.int64(first[i, j, v] >> shift)
                b = np.int64(second[i, j, v] >> shift)
                out[0, p, v] += a
                out[1, p, v] += b
                out[2, p, v] += a * a
                out[3, p, v] += b * b
                out[4, p, v] += a * b


def _moments_numpy(
    first: NDArray[np.signedinteger[Any]],
    second: NDArray[np.signedinteger[Any]],
    pairs: NDArray[np.int64],
    arrangements: Arrangements,
    shift: int,
    out: NDArray[np.int64],
) -> None:
    step = max(1, _NUMPY_CELLS // (len(pairs) * first.shape[2]))
    for s in range(0, len(arrangements), step):
        block = arrangements[s : s + step]
        i, j = block[:, pairs[:, 0]], block[:, pairs[:, 1]]
        a, b = ((table[i, j] >> shift).astype(np.int64) for table in (first, second))
        for k, values in enumerate((a, b, a * a, b * b, a * b)):
            out[k, s : s + step] = values.sum(axis=1)


MANTEL = TestKind(
    name="mantel",
    family="association",
    entity="gene_pairs",
    alternative="greater",
    effect_unit="correlation",
    coordinates=fixed("cosine"),
    min_size=10,
    asks="Over all pairs of genes, listed or not, does similarity rise with the grade of evidence?",
    formula="T = Σ_{i<j} g_ij · r_ij, g = grade (0 where the pair is not listed), r = doubled centred mid-rank of cosine among "
    "all pairs; effect = Pearson correlation of g and r over all pairs",
    null_preserves="the graded pair graph and the similarity matrix; genes are permuted over it, never pairs",
    assumes="genes exchangeable as carriers of the graph's nodes (within strata); grades as numbers with 0 as no evidence",
    source="Mantel 1967; QAP: Hubert & Schultz 1976",
    prepare=_prepare_mantel,
    universe=False,
    uses="grades",
)

PARTIAL_MANTEL = TestKind(
    name="partial_mantel",
    family="association",
    entity="gene_pairs",
    alternative="greater",
    effect_unit="correlation",
    coordinates=fixed("residual cosine"),
    min_size=10,
    asks="Does similarity rise with the grade beyond what likeness in expression and detection explains of it?",
    formula="as mantel, with r the mid-rank of the residual of rank(cos_ij) after least squares on rank(|Δ mean expression|) "
    "and rank(|Δ detection|) over all pairs of a layer (a cache without them: rank(|Δ length of the centred vectors|)); "
    "only the similarity is adjusted, so the effect is a semipartial correlation",
    null_preserves="the graded pair graph and the residual matrix; genes are permuted over it, never pairs",
    assumes="genes exchangeable as carriers of the graph's nodes (within strata); what is not linear in those ranks stays in",
    source="Smouse, Long & Sokal 1986; adjustment of one matrix and permutation of the other: Legendre 2000",
    prepare=_prepare_partial,
    universe=False,
    uses="grades",
)

ATTENTION_GEOMETRY = TestKind(
    name="attention_geometry",
    family="association",
    entity="gene_set",
    alternative="two-sided",
    effect_unit="correlation",
    coordinates=fixed("attention", first=1),
    min_size=8,
    asks="Inside the set, do genes that attend to each other lie closer together: more, or less, than in other sets?",
    formula="Pearson correlation over pairs i<j∈S of rank(A_ij + A_ji) and rank(cos_ij), A = mean attention of the block that "
    "wrote the layer (0 for a pair that no cell held together), ranks among all pairs of the universe cut to 12 bits; "
    "rounded to 2⁻²⁰",
    null_preserves="attention, similarity and how the two go together in the universe; the set size",
    assumes="labels exchangeable over genes (within strata)",
    source="Mantel 1967 inside a set, with permutation of genes",
    prepare=_prepare_attention,
    universe=False,
    needs=frozenset({"attention"}),
)
