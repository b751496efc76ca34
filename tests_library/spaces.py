"""Coordinates of genes at a layer: spectral axes, poles, cosine similarity, and the integer tables made of them.

A :class:`Geometry` is the label-free half of every test. It knows the embedding matrices, the rows that may be tested
(the universe) and nothing else: no annotation, no label. Everything handed to a kernel is an integer: float64 scores are
quantised at 2⁻³⁰ of their scale *before* they are ranked, so that the last bits of a matrix product, which depend on the
BLAS and on threads, cannot decide a rank.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .engine.bank import BankCache
from .engine.kept import Kept
from .engine.ranks import mid_ranks

T = TypeVar("T")
QUANTUM = 2.0**-30
COSINE_SCALE = 1 << 15
_FIXED_BITS = 21
"""|coordinate| ≤ 2²¹: products of two, summed over up to 2¹¹ dimensions, are exact in float64 in any order."""
_ROTATED_BYTES = 96 << 20
"""Ranks on random axes kept for all sets of a universe: 999 draws of 5 layers × 10 axes × 765 genes are 76 MB."""
_COSINE_BYTES = 768 << 20
"""Cosine matrices kept: 13 layers of 2,500 genes are 650 MB; of 5,000 genes they would be 2.6 GB."""
_FINE_BITS = 40
"""Bits kept while centring, more than float32 has; a sum over up to 2²² genes fits in int64."""


class Geometry:
    """Embedding layers restricted to a universe of genes, with every derived table made once.

    ``layers``: float32 [genes, dim] each; ``usable``: int64 rows that define the axes (masked rows never do);
    ``universe``: int64 rows under test, a subset of ``usable``; ``families``: one label a gene of the *cache*.
    Not thread-safe; each worker has its own.
    """

    def __init__(
        self,
        layers: Sequence[NDArray[np.float32]],
        usable: NDArray[np.int64],
        universe: NDArray[np.int64],
        families: Sequence[str],
        n_axes: int,
        shared: "dict[Any, Any] | None" = None,
        covariates: "Mapping[str, NDArray[np.float64]] | None" = None,
    ) -> None:
        missing = np.setdiff1d(universe, usable)
        if len(missing):
            raise ValueError(f"universe holds masked rows {missing[:5].tolist()}; a masked gene may not be tested")
        self.layers = layers
        self.usable = usable
        self.universe = universe
        self.families = families
        self.covariates = dict(covariates or {})
        self.partners: dict[str, Any] = {}
        """Other caches by name (:class:`hyposcreen.tests_library.statistics.crossmodel.Partner`), where a test needs one."""
        self.attention: dict[int, NDArray[np.int64]] = {}
        """Layer → mean attention of gene i to gene j in the block that wrote it, int64 [n, n] in a unit of its own."""
        self.n_axes = min(n_axes, layers[0].shape[1], len(usable) - 1)
        self._shared = {} if shared is None else shared
        self._own: dict[Any, Any] = {}
        self.forget_draws()

    def forget_draws(self) -> None:
        """Drop every arrangement and rotation; they are made again when they are asked for."""
        self.banks = BankCache()
        self.rotated = Kept(_ROTATED_BYTES)

    @property
    def n(self) -> int:
        """Genes in the universe."""
        return len(self.universe)

    @property
    def n_layers(self) -> int:
        """Number of layers (the input embedding counts as layer 0)."""
        return len(self.layers)

    def axes(self, layer: int) -> NDArray[np.int64]:
        """Quantised scores of *all cache rows* on the top spectral axes of ``layer``: int64 [genes, n_axes].

        Source: singular value decomposition of the gene-centred matrix over usable rows, through the Gram matrix and
        ``eigh`` in float64. Masked rows score 0 and are never read. Signs are canonical (the usable gene with the largest
        score is positive) and follow the previous layer where the axes correlate.
        """
        return self._once(self._shared, ("axes", layer), lambda: self._make_axes(layer))[0]

    def axis_scale(self, layer: int) -> NDArray[np.float64]:
        """Largest |score| of each axis, float64 [n_axes]: ``axes(layer) · 2⁻³⁰ · axis_scale(layer)`` are the scores U·S."""
        return self._once(self._shared, ("axes", layer), lambda: self._make_axes(layer))[1]

    def local_axes(self, layer: int) -> NDArray[np.int64]:
        """:meth:`axes` of the universe: int64 [n, n_axes]."""
        return self.axes(layer)[self.universe]

    def axis_ranks(self, layer: int) -> NDArray[np.int32]:
        """Doubled centred mid-ranks of each axis over the universe: int32 [n, n_axes], entries in −(n−1) … n−1."""
        return self._once(self._own, ("ranks", layer), lambda: centred_ranks(self.local_axes(layer)))

    def poles(self, layer: int) -> NDArray[np.int8]:
        """+1 in the top quarter of an axis, −1 in the bottom quarter, else 0: int8 [n, n_axes].

        A gene belongs to a pole by its mid-rank, so genes that tie share their fate whatever a sort does with them.
        """
        return self._once(self._own, ("poles", layer), lambda: poles(self.axis_ranks(layer)))

    def unit(self, layer: int) -> NDArray[np.float64]:
        """Fixed-point coordinates centred on the usable genes: float64 holding integers [genes, dim]; masked rows 0."""
        return self._once(self._shared, ("unit", layer), lambda: _fixed_point(self.layers[layer], self.usable))

    def cosine(self, layer: int) -> NDArray[np.int64]:
        """Cosine similarity of the centred universe, in units of 2⁻³⁰: int64 [n, n], exact on every machine.

        Kept where those of all layers have room; of a large universe it is made again when it is asked for again.
        """
        name = ("cosine", layer)
        if name in self._own:
            kept: NDArray[np.int64] = self._own[name]
            return kept
        made = _cosine(self.unit(layer)[self.universe])
        if made.nbytes * self.n_layers <= _COSINE_BYTES:
            self._own[name] = made
        return made

    def pair_ranks(self) -> NDArray[np.int32]:
        """Doubled centred mid-ranks of cosine over all pairs of the universe: int32 [n, n, L], diagonal 0."""
        return self._once(self._own, "pair_ranks", lambda: self._all_layers(pair_ranks))

    def cosine_int16(self) -> NDArray[np.int32]:
        """Cosine in units of 2⁻¹⁵: int32 [n, n, L]."""
        return self._once(self._own, "cosine_int16", lambda: self._all_layers(lambda cosine: cosine >> 15))

    def _all_layers(self, of: Callable[[NDArray[np.int64]], NDArray[Any]]) -> NDArray[np.int32]:
        """``of`` the cosines of every layer, int32 [n, n, L]. Filled one by one: it is the largest thing a universe has."""
        out = np.empty((self.n, self.n, self.n_layers), np.int32)
        for q in range(self.n_layers):
            out[:, :, q] = of(self.cosine(q))
        return out

    def window_similarity(self, layer: int, low: int, high: int, regulator: int) -> NDArray[np.int64]:
        """Cosine of cache row ``regulator`` with each gene of the universe in axes low … high (1-based): int64 [n].

        Axes keep their lengths (scores U·S): an axis of little variance counts little.
        """
        scores, rows, lengths = self.remember(("window", layer, low, high), lambda: self._window(layer, low, high))
        vector = scores[regulator]
        return _quantise_cosine(rows @ vector, lengths, vector)

    def _window(
        self, layer: int, low: int, high: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Scores of all genes in a window of axes [genes, w], those of the universe [n, w], and their lengths [n]."""
        scores = (self.axes(layer) * self.axis_scale(layer))[:, low - 1 : high]
        rows = scores[self.universe]
        return scores, rows, np.sqrt((rows**2).sum(axis=1))

    def remember(self, name: Any, make: Callable[[], T]) -> T:
        """Make a table of this universe once."""
        return self._once(self._own, name, make)

    @staticmethod
    def _once(store: dict[Any, Any], name: Any, make: Callable[[], T]) -> T:
        if name not in store:
            store[name] = make()
        made: T = store[name]
        return made

    def _make_axes(self, layer: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        scores = spectral_scores(np.asarray(self.layers[layer])[self.usable], self.n_axes)
        if layer > 0:
            previous = self.axes(layer - 1)[self.usable].astype(np.float64)
            follow = np.sign(np.einsum("ij,ij->j", previous, scores))
            scores *= np.where(follow == 0, 1.0, follow)
        out = np.zeros((len(self.layers[layer]), self.n_axes), dtype=np.int64)
        out[self.usable] = quantise(scores)
        return out, np.abs(scores).max(axis=0)


def spectral_scores(X: NDArray[np.floating[Any]], k: int) -> NDArray[np.float64]:
    """Scores U·S of the top ``k`` components of the column-centred X [n, d]: float64 [n, k], canonical signs.

    Equal to ``numpy.linalg.svd`` of the centred matrix up to sign; through the d × d Gram matrix because d ≪ n.
    """
    Y = X.astype(np.float64)
    Y -= Y.mean(axis=0)
    _, vectors = np.linalg.eigh(Y.T @ Y)
    scores = np.asarray(Y @ vectors[:, ::-1][:, :k])
    peak = np.argmax(np.abs(scores), axis=0)
    return scores * np.where(scores[peak, np.arange(scores.shape[1])] < 0, -1.0, 1.0)


def quantise(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Columns in units of 2⁻³⁰ of their largest absolute value: int64, same shape. A zero column stays zero."""
    scale = np.abs(scores).max(axis=0)
    return np.rint(scores / np.where(scale > 0, scale, 1.0) / QUANTUM).astype(np.int64)


def centred_ranks(values: NDArray[np.int64]) -> NDArray[np.int32]:
    """Doubled centred mid-ranks down each column: 2·rank − (n + 1), int32 of the same shape; columns sum to 0."""
    return np.stack([mid_ranks(values[:, v]) for v in range(values.shape[1])], axis=1)


def poles(ranks: NDArray[np.int32]) -> NDArray[np.int8]:
    """Top and bottom quarter from doubled centred mid-ranks [n, V]: int8 +1, −1, 0. Pole size is n // 4 without ties."""
    edge = pole_edge(ranks.shape[0])
    top, bottom = (ranks >= edge).astype(np.int8), (ranks <= -edge).astype(np.int8)
    signed: NDArray[np.int8] = top - bottom
    return signed


def pole_edge(n: int) -> int:
    """The smallest doubled centred mid-rank that is in the top pole of n genes."""
    return (n - 1) - 2 * (n // 4 - 1)


def pair_ranks(similarity: NDArray[np.int64]) -> NDArray[np.int32]:
    """Doubled centred mid-ranks over the unordered pairs of a symmetric [n, n] matrix: int32 [n, n], diagonal 0."""
    upper = np.triu_indices(similarity.shape[0], 1)
    out = np.zeros(similarity.shape, np.int32)
    out[upper] = mid_ranks(similarity[upper])
    return out + out.T


def _fixed_point(X: NDArray[np.float32], usable: NDArray[np.int64]) -> NDArray[np.float64]:
    """Centred first and rounded to the spread that is left, so a mean far above the spread costs no precision.

    Every step is exact or element by element (powers of two, an integer mean), so no summation order can matter.
    """
    rows = np.asarray(X)[usable].astype(np.float64)
    fine = np.rint(np.ldexp(rows, _FINE_BITS - _exponent(rows))).astype(np.int64)
    centred = (fine - fine.sum(axis=0) // len(usable)).astype(np.float64)
    out = np.zeros(np.shape(X))
    out[usable] = np.rint(np.ldexp(centred, _FIXED_BITS - _exponent(centred)))
    return out


def _exponent(values: NDArray[np.float64]) -> int:
    """The smallest e with all |values| < 2ᵉ (0 for zeros)."""
    return int(np.frexp(np.abs(values).max())[1])


def _cosine(unit: NDArray[np.float64]) -> NDArray[np.int64]:
    gram = unit @ unit.T  # integers below 2⁵³: exact, whatever the BLAS does with the order
    norm = np.sqrt(np.diag(gram))
    safe = np.where(norm > 0, norm, 1.0)
    return np.rint(gram / safe[:, None] / safe[None, :] / QUANTUM).astype(np.int64)


def _quantise_cosine(
    dots: NDArray[np.float64], lengths: NDArray[np.float64], vector: NDArray[np.float64]
) -> NDArray[np.int64]:
    norms = lengths * np.sqrt((vector**2).sum())
    return np.rint(dots / np.where(norms > 0, norms, 1.0) / QUANTUM).astype(np.int64)
