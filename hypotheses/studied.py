"""How well studied a gene is, apart from what the embedding holds: its annotations and its network degree.

Well-studied genes are in many annotations, and often highly expressed and well embedded too. The matched nulls swap labels
among genes of like study load, and every row prints how far its genes stand out in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .annotations import Annotation, Resolved


@dataclass(frozen=True, eq=False)
class Studied:
    """Of each gene of a universe, int64 [n] each: annotations that name it, and pairs and edges it is in."""

    annotations: NDArray[np.int64]
    degree: NDArray[np.int64]


def studied(
    annotations: Mapping[str, Annotation], resolved: Mapping[str, Resolved], rows: NDArray[np.int64], without: str = ""
) -> Studied:
    """Counts over labels that lie inside the universe ``rows`` (cache rows, int64 [n]), leaving out one annotation.

    Backgrounds and negative controls are not counted: they say nothing about how well a gene is known. A pair counts
    where both genes are in the universe, an edge where its target is, so nothing outside ``rows`` is read.
    """
    size = max((int(r.rows.max(initial=-1)) for r in resolved.values()), default=-1)
    inside = np.zeros(max(size, int(rows.max(initial=-1))) + 1, dtype=np.bool_)
    inside[rows] = True
    named, degree = np.zeros(len(inside), np.int64), np.zeros(len(inside), np.int64)
    backgrounds = {a.background for a in annotations.values()}
    for name, annotation in annotations.items():
        if name == without or name in backgrounds or annotation.role == "negative_control":
            continue
        labels = resolved[name].rows
        match annotation.kind:
            case "gene_set":
                mine = labels[inside[labels]]
            case "gene_pairs":
                mine = labels[inside[labels].all(axis=1)]
            case "edges":
                mine = labels[inside[labels[:, 1]]]
        if annotation.kind != "gene_set":
            np.add.at(degree, mine.ravel(), 1)
        named[np.unique(mine)] += 1
    return Studied(named[rows], degree[rows])
