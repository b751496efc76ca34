"""The paper's own definitions, as its artifacts have them, on any cache: what they would have called. Not part of the product.

Rows that were never sampled are zeros here, as they were there; pairs count as independent; one layer of many is not paid
for; layers count as samples in trends. ``docs/published.md`` says where each of these comes from.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hyposcreen.embeddings_cache.store import Cache
from hyposcreen.hypotheses.annotations import Annotation

Array = NDArray[np.float64]
DRAWS = 1000


@dataclass(frozen=True)
class Called:
    """What a definition comes to."""

    words: str
    p: float

    @property
    def positive(self) -> bool:
        """Whether the paper would have marked it promising."""
        return self.p <= 0.05


class World:
    """A cache as the artifacts saw it, with the annotation of each slot as rows."""

    def __init__(self, cache: Cache, slots: Mapping[str, Annotation]) -> None:
        self.layers = [np.nan_to_num(np.asarray(layer, dtype=np.float64)) for layer in cache.layers]
        self.n = cache.n_genes
        place = {symbol: row for row, symbol in enumerate(cache.genes.symbol)}
        self.sets: dict[str, NDArray[np.int64]] = {}
        self.triples: dict[str, list[tuple[int, int, int]]] = {}
        for slot, a in slots.items():
            if a.kind == "gene_set":
                self.sets[slot] = np.array(sorted(place[g] for g in a.genes() if g in place))
            else:
                self.triples[slot] = [(place[x], place[y], v) for x, y, v in a.triples if x in place and y in place]
        self._axes: dict[int, Array] = {}

    def axes(self, q: int) -> Array:
        """Left singular vectors of the centred layer, [n, 8]."""
        if q not in self._axes:
            centred = self.layers[q] - self.layers[q].mean(axis=0)
            self._axes[q] = np.linalg.svd(centred, full_matrices=False)[0][:, :8]
        return self._axes[q]

    def pole(self, q: int, axis: int) -> NDArray[np.int8]:
        """1 in the top quarter, −1 in the bottom quarter of SV ``axis`` (from 1)."""
        order = np.argsort(self.axes(q)[:, axis - 1], kind="stable")
        out = np.zeros(self.n, np.int8)
        out[order[: self.n // 4]], out[order[-(self.n // 4) :]] = -1, 1
        return out


def as_published(cache: Cache, slots: Mapping[str, Annotation]) -> dict[str, Called]:
    """System → what the paper's definition gives; systems whose slots are empty are left out."""
    world, rng = World(cache, slots), np.random.default_rng(0)
    out = {}
    for system, (needs, ask) in _SYSTEMS.items():
        if all(slot in world.sets or slot in world.triples for slot in needs):
            out[system] = ask(world, rng)
    return out


def _localisation(w: World, _: np.random.Generator) -> Called:
    pole, rows = w.pole(len(w.layers) - 1, 1), w.sets["secretory"]
    found = []
    for side in (1, -1):
        inside = int((pole[rows] == side).sum())
        table = [[inside, len(rows) - inside], [w.n // 4 - inside, w.n - w.n // 4 - len(rows) + inside]]
        found.append(
            (
                float(stats.fisher_exact(table, "greater").pvalue),
                f"{inside} of {len(rows)} in the {side:+d} pole of SV1",
            )
        )
    p, words = min(found)
    return Called(f"{words}, Fisher", p)


def _transient(w: World, rng: np.random.Generator) -> Called:
    rows, ps = w.sets["compartment"], []
    for q in range(len(w.layers)):
        pole = w.pole(q, 1) == 1
        drawn = np.array([pole[rng.choice(w.n, len(rows), replace=False)].sum() for _ in range(DRAWS)])
        ps.append(float((drawn >= pole[rows].sum()).mean()))
    return Called(f"{sum(p <= 0.05 for p in ps)} of {len(ps)} layers at p ≤ .05, the smallest printed", min(ps))


def _shared(
    w: World, q: int, axis: int, pairs: Sequence[tuple[int, int]], rng: np.random.Generator
) -> tuple[float, float]:
    """(rate, z) of pairs in one pole, against as many pairs drawn one by one."""
    pole = w.pole(q, axis)
    a, b = np.array(pairs).T
    rate = float(((pole[a] == pole[b]) & (pole[a] != 0)).mean())
    x, y = rng.integers(0, w.n, (2, DRAWS, len(pairs)))
    drawn = ((pole[x] == pole[y]) & (pole[x] != 0)).mean(axis=1)
    return rate, float((rate - drawn.mean()) / drawn.std())


def _copole(w: World, rng: np.random.Generator) -> Called:
    pairs = [(a, b) for a, b, _ in w.triples["ppi"]]
    rate, z = _shared(w, len(w.layers) - 1, 2, pairs, rng)
    return Called(f"co-pole rate {rate:.3f} on SV2, z = {z:.2f} over random pairs", float(stats.norm.sf(z)))


def _classifier(w: World, rng: np.random.Generator) -> Called:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    y = np.zeros(w.n, int)
    y[w.sets["regulators"]] = 1
    folds = StratifiedKFold(5, shuffle=True, random_state=0)

    def auroc(q: int, labels: NDArray[np.int64]) -> float:
        model = LinearDiscriminantAnalysis()
        return float(cross_val_score(model, w.axes(q)[:, 1:7], labels, scoring="roc_auc", cv=folds).mean())

    scores = [auroc(q, y) for q in range(len(w.layers))]
    best = int(np.argmax(scores))
    drawn = np.array([auroc(best, rng.permutation(y)) for _ in range(100)])
    return Called(
        f"AUROC {scores[best]:.3f} at its best layer, shuffled {drawn.mean():.3f}",
        float((drawn >= scores[best]).mean()),
    )


def _distances(points: Array, a: NDArray[np.int64], b: NDArray[np.int64]) -> Array:
    out: Array = np.linalg.norm(points[a] - points[b], axis=1)
    return out


def _edges(w: World, rng: np.random.Generator) -> Called:
    a, b, _ = np.array(w.triples["regulation"]).T
    points = w.axes(0)[:, 1:7]
    other = _distances(points, *rng.integers(0, w.n, (2, 20 * len(a))))
    test = stats.mannwhitneyu(_distances(points, a, b), other, alternative="less")
    auroc = 1 - float(test.statistic) / (len(a) * len(other))
    return Called(f"AUROC {auroc:.3f} in SV2–7 of layer 0, rank test on pairs", float(test.pvalue))


def _signs(w: World, rng: np.random.Generator) -> Called:
    p = {}
    for sign in (1, -1):
        pairs = [(a, b) for a, b, s in w.triples["regulation"] if s == sign]
        p[sign] = float(stats.norm.sf(_shared(w, len(w.layers) - 1, 2, pairs, rng)[1])) if len(pairs) > 2 else 1.0
    split = p[1] <= 0.05 < p[-1]
    words = f"activation p = {p[1]:.2g}, repression p = {p[-1]:.2g}: {'read as' if split else 'no'} difference"
    return Called(words, p[1] if split else 1.0)


def _trend(values: Sequence[float], sign: int) -> Called:
    rho, p = stats.spearmanr(np.arange(len(values)), values)
    return Called(
        f"{values[0]:.3g} → {values[-1]:.3g}, Spearman {rho:+.2f} over {len(values)} layers",
        float(p) if rho * sign > 0 else 1.0,
    )


def _converging(w: World, _: np.random.Generator) -> Called:
    rows = w.sets["b_cell_regulators"]
    return _trend([float(np.linalg.norm(x[rows] - x[rows].mean(axis=0), axis=1).mean()) for x in w.layers], -1)


def _markers(w: World, rng: np.random.Generator) -> Called:
    x, rows = w.layers[-1], w.sets["b_cell_markers"]
    squares = (x**2).sum(axis=1)
    distance = squares[:, None] + squares[None, :] - 2 * x @ x.T
    np.fill_diagonal(distance, np.inf)
    near = np.argsort(distance, axis=1)[:, :10]

    def precision(chosen: NDArray[np.int64]) -> float:
        inside = np.zeros(w.n, bool)
        inside[chosen] = True
        return float(inside[near[chosen]].mean())

    drawn = np.array([precision(rng.choice(w.n, len(rows), replace=False)) for _ in range(DRAWS)])
    found = precision(rows)
    z = (found - drawn.mean()) / drawn.std()
    return Called(f"precision at 10 {found:.3f}, z = {z:.2f}", float((drawn >= found).mean()))


def _collapse(w: World, _: np.random.Generator) -> Called:
    return _trend([_effective_rank(x) for x in w.layers], -1)


def _effective_rank(x: Array) -> float:
    """exp of the entropy of the singular values' shares, as there."""
    s = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    share = s / s.sum()
    return float(np.exp(-(share * np.log(np.maximum(share, 1e-300))).sum()))


def _topology(w: World, rng: np.random.Generator) -> Called:
    rows = w.sets["circuit"]
    i, j = np.triu_indices(len(rows), 1)
    other = _distances(w.layers[-1], *rng.integers(0, w.n, (2, len(i))))
    test = stats.mannwhitneyu(_distances(w.layers[-1], rows[i], rows[j]), other)
    return Called(f"distances of {len(i)} pairs against random pairs, rank test", float(test.pvalue))


_SYSTEMS: Mapping[str, tuple[tuple[str, ...], Callable[[World, np.random.Generator], Called]]] = {
    "S01": (("secretory",), _localisation), "S02": (("compartment",), _transient), "S03": (("ppi",), _copole),
    "S04": (("regulators",), _classifier), "S05": (("regulation",), _edges), "S06": (("regulation",), _signs),
    "S07": (("b_cell_regulators",), _converging), "S08": (("b_cell_markers",), _markers), "S10": ((), _collapse),
    "S11": (("circuit",), _topology),
}  # fmt: skip


def systems() -> Iterator[str]:
    """Systems that have a definition here."""
    yield from _SYSTEMS
