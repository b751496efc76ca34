"""What a null draw keeps: the companion nulls and their strata.

Every null of :data:`NULLS` permutes which gene stands for which; none treats gene pairs, layers or cells as independent
samples. :data:`OWN_NULLS` are further questions that only some statistics can be asked.
A claim uses the largest p over its companion nulls.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 8
"""Fewest genes of a universe in a stratum of like genes; a stratum holds up to twice as many."""
MAX_STRATA = 50
MIN_STRATUM = 10
"""Fewer genes than this in a coarse stratum leave too little to exchange."""
MIN_HALF = 5
"""Fewest genes on either side of a cut by study load."""
MIN_HALVED = 8
"""Strata are halved by study load where the universe has room for at least this many."""


@dataclass(frozen=True)
class NullModel:
    """A declared null: what it asks the labels to be exchangeable over."""

    name: str
    preserves: str
    destroys: str
    assumes: str
    joint: bool = True
    """Whether draw j is the same rearrangement for every hypothesis on a universe, so that maxima over hypotheses have
    their joint distribution. Where not, hypotheses are combined by Bonferroni (Route U) and Holm (Route H)."""
    decides: bool = True
    """Whether a claim must beat it. A null that is too easy to beat, or answers another question, is only printed."""
    most: int | None = None
    """Most draws that are made of it, where a draw is dear; ``None``: as many as the run asks for."""


NULLS: dict[str, NullModel] = {
    "gene_label": NullModel(
        name="gene_label",
        preserves="set sizes, overlaps between sets, the whole embedding, degrees in pairs and edges",
        destroys="which gene carries which label",
        assumes="under the null, labels are exchangeable over all genes of the universe",
    ),
    "stratified": NullModel(
        name="stratified",
        preserves="all that gene_label preserves, and how labels spread over small strata (8 to 15 genes) of like expression "
        "and detection, cut in the whole universe before it is split",
        destroys="which gene of a stratum carries which label",
        assumes="under the null, labels are exchangeable among genes of nearly equal expression and detection",
    ),
    "family_block": NullModel(
        name="family_block",
        preserves="all that gene_label preserves, gene families (paralogs and subunits of a complex move as one block), and how "
        "labels spread over coarse strata of expression × detection × study load (number of annotations and network degree)",
        destroys="which family of a size carries which labels; which single gene of a stratum carries which",
        assumes="under the null, labels are exchangeable among families of equal size, and among single genes of roughly equal "
        "expression, detection and study load",
    ),
}
"""Companion nulls of every test, by name, in the order in which they are drawn: all permute which gene is which."""

OWN_NULLS: dict[str, NullModel] = {
    "random_axis": NullModel(
        name="random_axis",
        preserves="the labels, the span of the spectral axes, and the likeness of axes between layers",
        destroys="which directions of that span are the axes: every draw turns all of them by one random rotation",
        assumes="under the null, the axes are no special directions of the space they span",
        most=999,
    ),
    "rewired": NullModel(
        name="rewired",
        preserves="how many activating, repressing and unsigned edges each regulator has and each target has; regulators "
        "and signs; no edge twice, no self-loop",
        destroys="which regulator has which target",
        assumes="under the null, every graph with these margins that exchanges of targets can reach is equally likely",
        joint=False,
    ),
    "target_shuffle": NullModel(
        name="target_shuffle",
        preserves="each regulator, and how many targets it has of either sign",
        destroys="which genes they are, and how many regulators a target has",
        assumes="under the null, a regulator's targets are any genes of the universe but itself, equally likely, whatever "
        "other regulators have",
        joint=False,
    ),
    "sign_shuffle": NullModel(
        name="sign_shuffle",
        preserves="the graph, which edges have a known sign, and how many of either sign each regulator has",
        destroys="which of its edges activate and which repress",
        assumes="under the null, signs are exchangeable over the signed edges of a regulator",
        joint=False,
    ),
    "layer_order": NullModel(
        name="layer_order",
        preserves="the set and its statistic at every layer",
        destroys="the order of the layers",
        assumes="layers exchangeable, which successive layers of one network are not: smooth drift alone beats it",
        decides=False,
        most=999,
    ),
    "matched_gaussian": NullModel(
        name="matched_gaussian",
        preserves="the size of the set, and the second moments of the universe about the centre of the embedding, at each "
        "layer",
        destroys="labels, and every shape of the cloud beyond a Gaussian: clusters, tails, curved sheets",
        assumes="asks whether the set is like points of a Gaussian cloud; real genes are not, so it is printed and decides "
        "nothing; axis k of every layer is driven by the same random numbers",
        joint=False,
        decides=False,
        most=199,
    ),
    "feature_shuffle": NullModel(
        name="feature_shuffle",
        preserves="the size of the set and the distribution of each coordinate of the embedding over genes",
        destroys="labels, and all correlation between coordinates",
        assumes="weak: any real embedding has correlated coordinates, so any set beats it; printed, decides nothing",
        joint=False,
        decides=False,
        most=199,
    ),
}
"""Nulls that some test kinds have beside those, by name; the kind says which (``TestKind.nulls``) and draws them."""


def null_model(name: str) -> NullModel:
    """The declaration of a null; ``KeyError`` for one that is not known."""
    return NULLS[name] if name in NULLS else OWN_NULLS[name]


@dataclass(frozen=True, eq=False)
class Exchange:
    """What may stand in for what: strata [n] of equal rights, and units [n] that move as one (``None``: single genes)."""

    strata: NDArray[np.int64]
    units: NDArray[np.int64] | None = None


def exchange(
    null: str,
    expression: NDArray[np.float64],
    detection: NDArray[np.float64],
    families: Sequence[str],
    load: NDArray[np.int64] | None = None,
    matched: NDArray[np.int64] | None = None,
) -> Exchange:
    """The exchange rule of ``null`` on a universe: covariates float64 [n], one family label a gene, study load int64 [n].

    ``stratified``: ``matched`` int64 [n], strata that were cut in a wider universe (:func:`like_genes`), so that both halves of
    a split and their union ask the same; ``None`` cuts them here.

    ``family_block``: families of equal size swap places whole, genes in their order in the universe. Where at least 20
    families share a size (in practice size 1) they are stratified by mean expression, detection and load. A family whose
    size is unique in the universe cannot move; its labels then cannot make a statistic extreme.

    Raises ``ValueError`` for a null that is none of :data:`NULLS`.
    """
    if null == "gene_label":
        return Exchange(np.zeros(len(expression), dtype=np.int64))
    if null == "stratified":
        return Exchange(like_genes(expression, detection) if matched is None else matched)
    if null != "family_block":
        raise ValueError(f"unknown null '{null}'; the nulls are {', '.join(NULLS)}")
    _, units = np.unique(np.asarray(families), return_inverse=True)
    sizes = np.bincount(units)
    means = [np.bincount(units, weights=x) / sizes for x in (expression, detection)]
    loads = None if load is None else np.bincount(units, weights=load).astype(np.int64)
    by_unit = np.zeros(len(sizes), dtype=np.int64)
    for size in np.unique(sizes).tolist():
        rows = np.flatnonzero(sizes == size)
        coarse = coarse_strata(means[0][rows], means[1][rows], None if loads is None else loads[rows])
        by_unit[rows] = size * (MAX_STRATA + 1) + coarse
    return Exchange(by_unit[units], units.astype(np.int64))


def like_genes(expression: NDArray[np.float64], detection: NDArray[np.float64]) -> NDArray[np.int64]:
    """Strata of genes that are near each other in expression and in detection: int64 [n], 8 to 15 genes in each.

    The universe is halved at the median rank of whichever covariate spreads more in it (in ranks, of the two), then each
    half, until a half would hold fewer than :data:`NEIGHBOURS` genes: the leaves of a k-d tree. Ranks are of the whole
    universe, ties broken by position, so nothing is rounded. A universe of fewer than 16 genes is one stratum.

    Coarse bins are not enough: embeddings follow expression and detection so closely that a set of highly expressed genes
    stands out inside a fifth of a fifth (docs/matching.md has the rates).
    """
    ranks = np.stack([_ranks(expression), _ranks(detection)])
    out = np.zeros(len(expression), dtype=np.int64)
    waiting, done = [np.arange(len(expression))], 0
    while waiting:
        genes = waiting.pop()
        if len(genes) < 2 * NEIGHBOURS:
            out[genes] = done
            done += 1
            continue
        spread = np.ptp(ranks[:, genes], axis=1)
        order = genes[np.argsort(ranks[int(spread[1] > spread[0]), genes])]
        half = len(order) // 2
        waiting += [order[half:], order[:half]]
    return out


def coarse_strata(
    expression: NDArray[np.float64], detection: NDArray[np.float64], load: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Bins of mean expression, each cut into bins of detection, and those into lower and higher study load: int64 [n].

    Expression and detection are cut by rank, ties broken by position, so without load strata have equal sizes up to one.
    Small universes get fewer strata, because a stratum of under 10 genes would hardly move. ``expression`` and
    ``detection`` are float64 [n], ``load`` is int64 [n].

    Load belongs to the labels and not to the rows. A draw swaps labels inside strata only, and the cut by load has no ties
    across it, so all draws have the strata of the observed arrangement, and the test stays exact.
    """
    n = len(expression)
    wanted = max(1, min(MAX_STRATA if load is not None else MAX_STRATA // 2, n // MIN_STRATUM))
    halves = 2 if load is not None and wanted >= MIN_HALVED else 1
    outer = max(1, round((wanted // halves) ** 0.5))
    inner = max(1, wanted // halves // outer)
    out = _nested(expression, detection, outer, inner)
    return out if load is None or halves == 1 else _halved(out, load)


def study_load(annotations: NDArray[np.int64], degree: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number for how well studied each gene is: its doubled mid-rank in annotation count plus that in degree, int64 [n]."""
    return _mid_ranks(annotations) + _mid_ranks(degree)


def _nested(
    expression: NDArray[np.float64], detection: NDArray[np.float64], outer: int, inner: int
) -> NDArray[np.int64]:
    return _nested_in(_rank_bins(expression, outer), detection, inner)


def _nested_in(groups: NDArray[np.int64], values: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Each group cut into ``bins`` by rank of ``values``: group number · bins + bin."""
    out = np.zeros(len(groups), dtype=np.int64)
    for group in np.unique(groups).tolist():
        rows = np.flatnonzero(groups == group)
        out[rows] = group * bins + _rank_bins(values[rows], bins)
    return out


def _halved(groups: NDArray[np.int64], load: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each group cut in two at the distinct load that halves it best: group · 2 + (load ≥ cut).

    Genes of equal load share a side, so where the cut lies depends on the loads of the group and not on who has them; a
    draw, which moves loads inside a stratum only, finds the same strata. A side of under 5 genes is not split off.
    """
    out = 2 * groups
    for group in np.unique(groups).tolist():
        rows = np.flatnonzero(groups == group)
        inside = load[rows]
        above = {int(cut): int((inside >= cut).sum()) for cut in np.unique(inside)[1:].tolist()}
        even = [cut for cut, k in above.items() if min(k, len(rows) - k) >= MIN_HALF]
        if even:
            best = min(even, key=lambda cut: (abs(2 * above[cut] - len(rows)), cut))
            out[rows] += inside >= best
    return out


def _mid_ranks(values: NDArray[np.int64]) -> NDArray[np.int64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: NDArray[np.int64] = (2 * ends - counts + 1)[inverse].astype(np.int64)
    return ranks


def _rank_bins(values: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    return _ranks(values) * bins // max(1, len(values))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.int64]:
    rank = np.empty(len(values), dtype=np.int64)
    rank[np.argsort(values, kind="stable")] = np.arange(len(values))
    return rank
