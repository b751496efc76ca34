"""How good is the demo model? Are markers of one blood cell type closer to one another than to other markers?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..store import Cache

MARKERS = {
    "T": "CD3D CD3E CD3G CD2 CD27 CCR7 IL7R LCK CD8A CD8B IL32 LTB",
    "NK": "NKG7 GNLY PRF1 GZMA GZMB GZMH CTSW CST7 FGFBP2 KLRB1 SPON2",
    "B": "CD79A CD79B MS4A1 CD19 CD37 TCL1A BANK1 FCER2 VPREB3 IGLL5",
    "monocyte": "LYZ CD14 FCN1 S100A8 S100A9 FCGR3A LST1 AIF1 CFD TYROBP SERPINA1 CD68",
    "dendritic": "FCER1A CLEC10A CD1C LILRA4 PLD4 ITM2C IRF8 HLA-DQA1 HLA-DPA1 HLA-DRA",
}
"""Textbook markers, for judging only; nothing is trained or tested on them."""


@dataclass(frozen=True)
class Judgement:
    """AUROC of "same cell type" by cosine similarity over all pairs of markers, and what chance gives.

    Attributes:
        auroc: of the markers.
        null_mean: mean AUROC over draws in which each marker is replaced by a gene of about its detection rate.
        null_sd: standard deviation over these draws.
        n_markers: markers found in the cache.
    """

    auroc: float
    null_mean: float
    null_sd: float
    n_markers: int


def judge_layer(cache: Cache, layer: int, draws: int = 200, seed: int = 0) -> Judgement:
    """Judge one layer of a cache; see :class:`Judgement`."""
    usable = np.flatnonzero(cache.genes.usable)
    row_of = {cache.genes.symbol[row]: position for position, row in enumerate(usable)}
    found = [(row_of[gene], kind) for kind, text in MARKERS.items() for gene in text.split() if gene in row_of]
    rows = np.array([row for row, _ in found])
    kinds = np.array([kind for _, kind in found])
    similarity = cosine_similarity(cache.layers[layer][usable])
    rng = np.random.default_rng(seed)
    detection = cache.genes.detection[usable]
    null = [_pair_auroc(similarity, _matched(rows, detection, rng), kinds) for _ in range(draws)]
    return Judgement(
        auroc=_pair_auroc(similarity, rows, kinds),
        null_mean=float(np.mean(null)),
        null_sd=float(np.std(null, ddof=1)),
        n_markers=len(rows),
    )


def cosine_similarity(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosine similarity of centred rows, float64 ``[n, n]``."""
    centred = rows.astype(np.float64)
    centred -= centred.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    product: NDArray[np.float64] = centred @ centred.T
    return product


def _pair_auroc(similarity: NDArray[np.float64], rows: NDArray[np.intp], kinds: NDArray[np.str_]) -> float:
    from scipy.stats import rankdata

    first, second = np.triu_indices(len(rows), 1)
    same = kinds[first] == kinds[second]
    ranks = rankdata(similarity[rows[first], rows[second]])
    n_same, n_other = int(same.sum()), int((~same).sum())
    return float((ranks[same].sum() - n_same * (n_same + 1) / 2) / (n_same * n_other))


def _matched(rows: NDArray[np.intp], detection: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.intp]:
    """Replace every gene by a distinct one within 25 ranks of its detection rate."""
    order = np.argsort(detection, kind="stable")
    rank = np.empty(len(order), dtype=np.intp)
    rank[order] = np.arange(len(order))
    chosen: list[int] = []
    for row in rows:
        near = order[max(rank[row] - 25, 0) : rank[row] + 26]
        chosen.append(int(rng.choice(np.setdiff1d(near, chosen))))
    return np.array(chosen, dtype=np.intp)
