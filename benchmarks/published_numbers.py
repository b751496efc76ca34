"""The published tables of arXiv:2602.22247 and what follows from them, as functions; ``published.py`` makes the page."""

import csv
import functools
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact, hypergeom, t
from statsmodels.stats.multitest import multipletests

from hyposcreen.tests_library.engine.bank import Bank, bank_key
from hyposcreen.tests_library.engine.kernels import same_pole_counts, set_sums
from hyposcreen.tests_library.engine.maxt import exceedances, moments, p_value, standardise
from hyposcreen.tests_library.spaces import centred_ranks, poles, quantise

ROOT = Path(__file__).resolve().parents[1]
M, SEED, ALPHA = 10_000, 0, 0.05
AXES = ("sv1", "sv2", "sv3")
EDGES = (0.4, 0.459, 0.533, 0.64, 0.7958, 0.999)
GENES = "scgpt_layer11_svd_209_genes.tsv"
CHANNELS = "string_channels_209_genes.tsv"
PAIRS = "string_pairs_ge0.4.tsv"
HPA = "hpa_subcellular_location_2017.tsv"
GO_CC = "go_cellular_component_2025.gmt"
CAMPAIGN = "campaign_2602_22247_183_hypotheses.csv"
Pair = tuple[str, str]


@dataclass(frozen=True)
class Genes:
    """The published loadings: symbols in table order, loadings [n, 3], and which rows are all zero [n]."""

    symbols: tuple[str, ...]
    loadings: NDArray[np.float64]
    zero: NDArray[np.bool_]

    def masked(self) -> "Genes":
        """Without the all-zero rows."""
        keep = ~self.zero
        return Genes(tuple(itertools.compress(self.symbols, keep)), self.loadings[keep], self.zero[keep])

    def only(self, names: set[str]) -> "Genes":
        """The genes that are in ``names``."""
        keep = np.array([s in names for s in self.symbols])
        return Genes(tuple(itertools.compress(self.symbols, keep)), self.loadings[keep], self.zero[keep])

    def poles(self) -> NDArray[np.int8]:
        """+1, −1 or 0 for each gene and axis, int8 [n, 3], by mid-rank of the quantised loadings."""
        return poles(centred_ranks(quantise(self.loadings)))

    def rows(self, pairs: Sequence[Pair]) -> NDArray[np.int64]:
        """Pairs whose two genes are here, as positions, int64 [p, 2]."""
        at = {s: i for i, s in enumerate(self.symbols)}
        return np.array([(at[a], at[b]) for a, b in pairs if a in at and b in at], dtype=np.int64)

    def arrangements(self) -> NDArray[np.int32]:
        """Identity and M gene permutations, int32 [M + 1, n]; the key depends on the seed and the gene names."""
        free = np.zeros(len(self.symbols), dtype=np.int64)
        return Bank(bank_key(SEED, "gene_label", self.symbols, free), free).arrangements(0, M + 1)


@dataclass(frozen=True)
class Tested:
    """One count under the gene-label null: observed of ``size``, mean and sd of the null, z, and k of M draws."""

    count: int
    size: int
    mean: float
    sd: float
    z: float
    k: int

    @property
    def p(self) -> float:
        """(k + 1) / (M + 1)."""
        return p_value(self.k, M)


def tested(totals: NDArray[np.int64], size: int) -> list[Tested]:
    """Judge each column of int64 [M + 1, V], alternative 'greater'."""
    moment = moments(totals)
    z = standardise(totals, moment, "greater")
    columns = range(totals.shape[1])
    return [
        Tested(
            int(totals[0, v]), size, float(moment.mean[v]), float(moment.sd[v]), float(z[0, v]), exceedances(z[:, v])
        )
        for v in columns
    ]


# ---------------------------------------------------------------- reading


def table(folder: Path, name: str) -> list[dict[str, str]]:
    """Rows of a tab- or comma-separated file with a header."""
    path = folder / name
    if not path.is_file():
        raise SystemExit(f"{name} is not in the data folder; name the folder that holds it with --data DIR")
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle, delimiter="," if name.endswith(".csv") else "\t"))


def read_genes(folder: Path) -> Genes:
    rows = table(folder, GENES)
    return Genes(
        tuple(r["gene"] for r in rows),
        np.array([[float(r[a]) for a in AXES] for r in rows]),
        np.array([float(r["drift_l0_l11"]) == 0 for r in rows]),
    )


def read_pairs(folder: Path, name: str) -> dict[Pair, float]:
    """Largest score of each unordered pair."""
    best: dict[Pair, float] = {}
    for r in table(folder, name):
        a, b = sorted((r["gene1"], r["gene2"]))
        if a != b:
            best[a, b] = max(float(r["score"]), best.get((a, b), 0.0))
    return best


def read_locations(folder: Path) -> dict[str, set[str]]:
    """Gene → locations of Human Protein Atlas with reliability validated, supported or approved."""
    out: dict[str, set[str]] = {}
    for r in table(folder, HPA):
        found = out.setdefault(r["Gene name"], set())
        for column in ("Validated", "Supported", "Approved"):
            found.update(filter(None, r[column].split(";")))
    return out


def read_gmt(folder: Path, wanted: str) -> set[str]:
    path = folder / GO_CC
    if not path.is_file():
        raise SystemExit(f"{GO_CC} is not in the data folder; name the folder that holds it with --data DIR")
    for line in path.read_text(encoding="utf-8").splitlines():
        name, _, *members = line.split("\t")
        if name == wanted:
            return set(members)
    raise SystemExit(f"{GO_CC} has no set {wanted}")


# ---------------------------------------------------------------- co-poles


def copole(genes: Genes, pairs: Sequence[Pair]) -> list[Tested]:
    """Co-pole count of the pairs on each axis against gene permutation."""
    rows = genes.rows(pairs)
    return tested(same_pole_counts(genes.poles(), rows, genes.arrangements()), len(rows))


def random_pair_z(genes: Genes, result: Tested, axis: int) -> float:
    """z of the same count if the pairs were drawn one by one from all pairs (hypergeometric)."""
    pole, n = genes.poles()[:, axis], len(genes.symbols)
    same = sum(math.comb(int((pole == side).sum()), 2) for side in (1, -1))
    law = hypergeom(math.comb(n, 2), same, result.size)
    return float((result.count - law.mean()) / law.std())


def tie_rates(genes: Genes, pairs: Sequence[Pair], axis: int) -> dict[str, float]:
    """Co-pole rate with a top pole of exactly n // 4 genes, by who of the tied all-zero rows is counted in.

    Three orders in which a stable sort may meet the rows, and the smallest, mean and largest rate over all choices.
    Needs the tie to cross the edge of the top pole, as it does on SV3.
    """
    values, n = genes.loadings[:, axis], len(genes.symbols)
    tied = np.flatnonzero(genes.zero)
    shared = values[tied[0]]
    pole = np.where(values > shared, 1, 0)
    pole[np.argsort(values, kind="stable")[: n // 4]] = -1
    seats = n // 4 - int((pole == 1).sum())
    rows = genes.rows(pairs)
    fixed = int((pole[rows[:, 0]] * pole[rows[:, 1]] == 1).sum())
    link = np.zeros((n, n), np.int64)
    link[rows[:, 0], rows[:, 1]] = 1
    link += link.T
    gain, within = link[np.ix_(tied, pole == 1)].sum(axis=1), link[np.ix_(tied, tied)]

    def rate(chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        own = np.zeros((len(chosen), len(tied)), np.int64)
        np.put_along_axis(own, chosen, 1, axis=1)
        return np.asarray((fixed + own @ gain + ((own @ within) * own).sum(axis=1) // 2) / len(rows))

    by_name = np.argsort([genes.symbols[i] for i in tied])
    every = rate(np.array(list(itertools.combinations(range(len(tied)), seats))))
    return {
        "table": float(rate(np.arange(len(tied))[None, -seats:])[0]),
        "reversed": float(rate(np.arange(len(tied))[None, :seats])[0]),
        "alphabetical": float(rate(by_name[None, -seats:])[0]),
        "smallest": float(every.min()),
        "mean": float(every.mean()),
        "largest": float(every.max()),
        "choices": len(every),
    }


def quintiles(scores: dict[Pair, float]) -> list[list[Pair]]:
    """Pairs by the published edges; the last interval is closed."""
    inner = np.array(EDGES[1:-1])
    bins: list[list[Pair]] = [[] for _ in range(5)]
    for pair, score in scores.items():
        bins[int(np.searchsorted(inner, score, side="right"))].append(pair)
    return bins


# ---------------------------------------------------------------- Spearman, exactly


@functools.cache
def spearman_counts(n: int) -> NDArray[np.float64]:
    """Number of the n! orders with each sum of squared rank differences D: float64 [D_max + 1], exact below 2⁵³.

    Ranks are dealt one position at a time; the state is the set of ranks already used.
    """
    largest = n * (n * n - 1) // 3
    ways: dict[int, NDArray[np.float64]] = {0: np.eye(1, largest + 1)[0]}
    for position in range(n):
        grown: dict[int, NDArray[np.float64]] = {}
        for used, counts in ways.items():
            for rank in range(n):
                if used >> rank & 1:
                    continue
                step = (position - rank) ** 2
                into = grown.setdefault(used | 1 << rank, np.zeros(largest + 1))
                into[step:] += counts[: largest + 1 - step]
        ways = grown
    return ways[(1 << n) - 1]


def spearman_exact(n: int, D: int) -> float:
    """Two-sided exact p of D = Σ d²: the share of orders with |rho| at least as large."""
    counts = spearman_counts(n)
    middle = n * (n * n - 1) // 6
    away = np.abs(np.arange(len(counts)) - middle) >= abs(D - middle)
    return float(counts[away].sum() / counts.sum())


def spearman_by_enumeration(values: Sequence[float]) -> tuple[float, int, int]:
    """rho of the values against their position, how many of all orders have |rho| as large, and how many there are."""
    n = len(values)
    ranks = np.argsort(np.argsort(values))
    d = [int(((np.array(order) - np.arange(n)) ** 2).sum()) for order in itertools.permutations(range(n))]
    D, middle = int(((ranks - np.arange(n)) ** 2).sum()), n * (n * n - 1) // 6
    return 1 - D / middle, sum(abs(x - middle) >= abs(D - middle) for x in d), len(d)


def spearman_asymptotic(n: int, rho: float) -> float:
    """Two-sided p of the t approximation, the formula behind the printed p-values."""
    if abs(rho) >= 1:
        return 0.0
    return float(2 * t.sf(abs(rho) * math.sqrt((n - 2) / (1 - rho * rho)), n - 2))


def identified(row: dict[str, str]) -> tuple[int, int] | None:
    """(n, D) of a printed Spearman test over n ≤ 12 points, or None where the printed numbers do not determine it.

    D is the one whose t-approximation rounds to the printed p; where several do, the one whose rho is printed beside it.
    """
    found = re.match(r"spearman n=(\d+)", row["p_kind"])
    if not found or int(found[1]) > 12:
        return None
    n = int(found[1])
    middle = n * (n * n - 1) // 6
    if "rho=1" in row["p_kind"] or "rho=-1" in row["p_kind"]:
        return n, 0
    printed = row["p_reported"]
    digits = printed.lower().split("e")[0].split(".")[-1]
    exponent = int(printed.lower().split("e")[1]) if "e" in printed.lower() else 0
    half = 0.5 * 10.0 ** (exponent - len(digits)) * (1 + 1e-9)
    if float(printed) < spearman_asymptotic(n, 1 - 2 / middle) / 2:  # below every |rho| < 1: rounding of rho = ±1
        return n, 0
    near = [
        D
        for D in range(0, middle + 1, 2)
        if abs(spearman_asymptotic(n, 1 - D / middle) - float(printed)) <= max(half, 0.003 * float(printed))
    ]
    rhos = re.findall(r"\d?\.\d+", row["result_value"])
    named = [
        D for D in near if any(abs(1 - D / middle - float(r)) <= 0.51 * 10.0 ** -len(r.split(".")[1]) for r in rhos)
    ]
    keep = named or near
    return (n, keep[0]) if len(keep) == 1 else None


# ---------------------------------------------------------------- enrichment


@dataclass(frozen=True)
class Enriched:
    """A set at one pole: counts under permutation, pole size, and Fisher's odds ratio with its one-sided p."""

    test: Tested
    pole: int
    odds: float
    fisher: float


def enrichment(genes: Genes, members: set[str], axis: int = 0) -> tuple[Enriched, Enriched]:
    """The set at the top (+) and at the bottom (−) pole of an axis."""
    pole = genes.poles()[:, axis]
    both = np.ascontiguousarray(np.stack([pole == 1, pole == -1], axis=1), dtype=np.int32)
    inside = np.flatnonzero([s in members for s in genes.symbols]).astype(np.int64)
    results = tested(set_sums(both, inside, genes.arrangements()), len(inside))
    out = []
    for v, one in enumerate(results):
        size, n = int(both[:, v].sum()), len(genes.symbols)
        a, b, c = one.count, one.size - one.count, size - one.count
        odds, p = fisher_exact([[a, b], [c, n - one.size - c]], alternative="greater")
        out.append(Enriched(one, size, float(odds), float(p)))
    return out[0], out[1]


# ---------------------------------------------------------------- the campaign


def repaired_p(row: dict[str, str]) -> float:
    """The printed p; zeros of N draws become 1/(N + 1), and identified Spearman tests their exact p."""
    exact = identified(row)
    if exact is not None:
        return spearman_exact(*exact)
    p = float(row["p_reported"])
    if p > 0:
        return p
    if not row["n_perm"]:
        raise SystemExit(
            f"{row['iteration']} {row['id']}: p is 0 and neither a number of draws nor an exact law is known"
        )
    return 1 / (int(float(row["n_perm"])) + 1)


def survivors(p: Sequence[float]) -> dict[str, NDArray[np.bool_]]:
    """Which rows stay below .05 without correction and under four adjustments (statsmodels)."""
    values = np.array(p)
    methods = {"Bonferroni": "bonferroni", "Holm": "holm", "BH": "fdr_bh", "BY": "fdr_by"}
    plain = {"uncorrected": values <= ALPHA}
    return plain | {name: multipletests(values, alpha=ALPHA, method=how)[0] for name, how in methods.items()}


def kind_class(kind: str) -> str:
    """What a printed p treats as exchangeable or independent, from its ``p_kind``."""
    if "perm" in kind.split("(label-perm", maxsplit=1)[0] or kind.startswith("z=") or kind == "bootstrap":
        return "permutation, bootstrap or random draws"
    if "pairs" in kind:
        return "formula, gene pairs as observations"
    if re.search(r"n=(5|11|12|36)|transitions", kind):
        return "formula, layers or bins as observations"
    return "formula, genes or table counts"
