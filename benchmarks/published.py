"""Write ``docs/published.md``: numbers of arXiv:2602.22247 recomputed from its published artifacts with this engine.

``python benchmarks/published.py [--data DIR] [--date YYYY-MM-DD]``. ``DIR`` holds the small tables that the page names;
without the option it is ``../shared/data`` beside the repository. Nothing of those tables is copied into the project.
"""

import argparse
import csv
import functools
import itertools
import math
import re
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


# ---------------------------------------------------------------- the page


def p_text(p: float) -> str:
    return f"{p:.4f}" if p >= 1e-3 else f"{p:.2e}"


def line(*cells: Any) -> str:
    return "| " + " | ".join(str(c) for c in cells) + " |"


def head(*cells: str) -> list[str]:
    return ["", line(*cells), "|" + "---|" * len(cells)]


def prose(text: str) -> list[str]:
    """A paragraph, wrapped, after an empty line."""
    return ["", *textwrap.wrap(" ".join(text.split()), 118, break_long_words=False, break_on_hyphens=False)]


def copole_section(genes: Genes, strong: list[Pair]) -> list[str]:
    out = ["", "## Co-pole rate of STRING pairs at layer 11"]
    out += prose("""
        A pole is the quarter of genes with the largest (top) or smallest (bottom) loading: 52 of 209, and 46 of the 187
        that stay after masking. A gene belongs to a pole by its mid-rank, so genes that tie share their fate. A pair is
        co-polar when both genes lie in the same pole. Pairs: STRING combined score ≥ .7, the maximum over records, both
        genes in the table. Null: genes are permuted over the pair graph. z = (count − mean) / sd over the draws.
    """)
    columns = ("genes", "axis", "poles (top, bottom)", "co-polar / pairs", "rate", "null mean", "z", "k", "m", "p")
    out += head(*columns, "z, random pairs")
    for label, some in (("209", genes), ("187, masked", genes.masked())):
        for v, r in enumerate(copole(some, strong)):
            pole = some.poles()[:, v]
            sizes = f"{(pole == 1).sum()}, {(pole == -1).sum()}"
            rates = (f"{r.count / r.size:.4f}", f"{r.mean / r.size:.4f}")
            by_pair = f"{random_pair_z(some, r, v):.2f}"
            where = (label, f"SV{v + 1}", sizes, f"{r.count} / {r.size}")
            out.append(line(*where, *rates, f"{r.z:.2f}", r.k, f"{M:,}", p_text(r.p), by_pair))
    out += prose("""
        The last column is the z that the same count has if pairs are drawn one by one from all pairs; it ignores that
        pairs share genes. Published, as means over 12 layers with 500 random-pair draws (iter_0013 H01): z = 0.39 on
        SV1, 10.04 on SV2, 7.18 on SV3. Published for SV2 over 12 layers (iter_0012 H03): rates .198–.266, null means
        .121–.123, z = 3.26–6.52. The table here holds layer 11 only.
    """)
    rate = tie_rates(genes, strong, 2)
    middle = copole(genes, strong)[2]
    out += prose(f"""
        **Ties.** The all-zero rows share one value on every axis. On SV3 37 genes lie above it, so a pole of exactly 52
        cuts through the tie, and the order in which a stable sort meets the rows decides: {rate["table"]:.3f} in the
        order of the table, {rate["alphabetical"]:.3f} alphabetically, {rate["reversed"]:.3f} in reversed table order.
        Over all {rate["choices"]:,} ways to seat 15 of the 22 tied genes the rate runs from {rate["smallest"]:.3f} to
        {rate["largest"]:.3f} (mean {rate["mean"]:.3f}). By mid-rank all 22 fall into the top pole (59 genes) and the
        rate is {middle.count / middle.size:.3f}, against a null with the same 59.
    """)
    return out + prose("""
        Masking takes the 22 rows out of the ranking. The axes themselves were fitted on all rows, zero rows included;
        fitting them again needs the full matrix, which the published tables do not hold.
    """)


def gradient_section(genes: Genes, scores: dict[Pair, float]) -> list[str]:
    bins = quintiles(scores)
    out = ["", "## STRING confidence against co-pole z"]
    out += prose(f"""
        The {len(scores):,} pairs with score ≥ .4 in five bins, edges {", ".join(f"{e:g}" for e in EDGES)} (quantiles by
        linear interpolation); each bin's co-pole z as above, all bins on the same permutations. Spearman's rho over the
        five points; p is exact, by enumeration of the 5! = 120 orders, two-sided.
    """)
    out += head("genes", "axis", *(f"Q{q + 1}" for q in range(5)), "rho", "orders as extreme", "exact p")
    for label, some in (("209", genes), ("187, masked", genes.masked())):
        by_bin = [copole(some, b) for b in bins]
        for v in (1, 2):
            z = [r[v].z for r in by_bin]
            rho, extreme, orders = spearman_by_enumeration(z)
            law = (f"{rho:.2f}", f"{extreme} / {orders}", f"{extreme / orders:.4f}")
            out.append(line(label, f"SV{v + 1}", *(f"{x:.2f}" for x in z), *law))
    edges = np.quantile(np.array(list(scores.values())), np.linspace(0, 1, 6))
    out += prose(f"""
        Pairs in the bins: {", ".join(str(len(b)) for b in bins)}. The edges recomputed from the scores:
        {", ".join(f"{e:.4g}" for e in edges)}.
    """)
    return out + prose(f"""
        Published: SV2 mean z over 12 layers [1.00, 1.48, 2.09, 3.18, 5.02], rho = 1.000, p = 1.4e-24 (iter_0015 H02);
        SV3 [1.238, 1.447, 1.397, 1.906, 3.813], rho = .900, p = .037 (iter_0016 H01). These p come from the t
        approximation. Five points have 120 orders: the smallest two-sided p is 2/120 = {2 / math.factorial(5):.4f}, and
        rho = ±.9 has exact p = 10/120 = {spearman_exact(5, 2):.4f}. The five bins share genes and permutations, so they
        are not five independent points; the count above is the law of the orders alone.
    """)


def sets_of(folder: Path) -> list[tuple[str, set[str], set[str] | None]]:
    """Name, members, and the genes that could have been members (None: all genes)."""
    where = read_locations(folder)
    measured = set(where)
    route = {"Endoplasmic reticulum", "Golgi apparatus", "Vesicles"}
    inside = {"Cytosol"} | {place for places in where.values() for place in places if place.startswith("Nucle")}
    secretory = {g for g, places in where.items() if places & route and not places & inside}
    cytosol = {g for g, places in where.items() if "Cytosol" in places}
    return [
        ("HPA secretory route", secretory, None),
        ("HPA secretory route, measured genes", secretory, measured),
        ("HPA cytosol", cytosol, None),
        ("HPA cytosol, measured genes", cytosol, measured),
        ("GO ER lumen", read_gmt(folder, "GOCC_ENDOPLASMIC_RETICULUM_LUMEN"), None),
        ("GO collagen-containing matrix", read_gmt(folder, "GOCC_COLLAGEN_CONTAINING_EXTRACELLULAR_MATRIX"), None),
    ]


def enrichment_section(genes: Genes, folder: Path) -> list[str]:
    shared = float(genes.loadings[genes.zero, 0][0])
    at_shared = genes.loadings[:, 0] == shared
    names = sorted(itertools.compress(genes.symbols, at_shared))
    measured = set(read_locations(folder))
    seen, seen_masked = (sum(s in measured for s in some.symbols) for some in (genes, genes.masked()))
    above, same, zero = (int(x.sum()) for x in (genes.loadings[:, 0] > shared, at_shared, genes.zero))
    out = ["", "## The SV1 poles and the all-zero rows"]
    out += prose(f"""
        {zero} of {len(genes.symbols)} rows have drift 0 between the first and the last layer: all-zero rows, the mark of
        a gene that was never sampled. {same} rows share one SV1 value, {shared:.6f}; {int((at_shared & genes.zero).sum())}
        of them are the all-zero rows. It is the largest value of the axis ({above} genes lie above it), so the top pole
        of 52 consists of these {same} and of {52 - same} others. The {same}: {", ".join(names)}.
    """)
    out += prose(f"""
        How the sets were derived. The 2017 table of the Human Protein Atlas has no location that means *secreted*.
        *Secretory route* is our stand-in: at least one of endoplasmic reticulum, Golgi apparatus, vesicles, and neither
        cytosol nor any location whose name begins with 'Nucle'. *Cytosol* is that location. Reliability validated,
        supported or approved. {seen} of the 209 genes are in that table, {seen_masked} of the 187; 'measured genes' are
        tests among those alone, with poles of their own. The GO sets are from the cellular-component file; it holds no
        set for extracellular space (GO:0005615), the term that was published.
    """)
    out += head("set", "genes", "SV1 pole", "in pole / set", "null mean", "z", "k", "p", "odds ratio", "Fisher p")
    for name, members, could in sets_of(folder):
        for some in (genes, genes.masked()):
            part = some if could is None else some.only(could)
            label = f"{len(part.symbols)}{'' if part.zero.any() else ', masked'}"
            for sign, r in zip("+−", enrichment(part, members), strict=True):
                x = r.test
                null = (f"{x.mean:.2f}", f"{x.z:.2f}", x.k, p_text(x.p), f"{r.odds:.2f}", p_text(r.fisher))
                out.append(line(name, label, f"{sign} ({r.pole})", f"{x.count} / {x.size}", *null))
    return out + prose(f"""
        m = {M:,} for every row; Fisher's p is one-sided (greater); one test a row, not corrected over the table.
        Published: top pole, extracellular space, odds ratio 6.37, p = .000257 (iter_0006 H02); bottom pole, cytosol,
        odds ratio 2.96, p = .010 (iter_0007 H03). The campaign noted itself that its early SV1 was dominated by zero
        vectors (iter_0047 H02: 18.6 % of the variance over non-zero rows, 93.4 % before).
    """)


def campaign_section(folder: Path) -> list[str]:
    rows = table(folder, CAMPAIGN)
    with_p = [r for r in rows if r["p_reported"]]
    printed = [float(r["p_reported"]) for r in with_p]
    repaired = [repaired_p(r) for r in with_p]
    spearman = [r for r in with_p if re.match(r"spearman n=(5|11|12)\b", r["p_kind"])]
    exact = [r for r in spearman if identified(r) is not None]
    left = [f"{r['iteration']} {r['id']}" for r in spearman if identified(r) is None]
    zeros = [r for r in with_p if float(r["p_reported"]) == 0]
    drawn = [r for r in with_p if r["n_perm"]]
    zeros_drawn = sum(bool(r["n_perm"]) for r in zeros)
    missing = len(rows) - len(with_p)
    columns = (survivors(printed), survivors(repaired), survivors(repaired + [1.0] * missing))
    level = ALPHA / len(with_p)
    reach = sum(1 / (int(float(r["n_perm"])) + 1) <= level for r in drawn)
    out = ["", "## The campaign as a foreign ledger"]
    out += prose(f"""
        {len(rows)} rows; {len(with_p)} with one p that can be read, {missing} without. {len(zeros)} p are printed as
        exactly 0: {zeros_drawn} from a finite number of draws, {len(zeros) - zeros_drawn} from the t approximation at
        |rho| = 1. {sum(r["decision"] == "promising" for r in rows)} rows are marked promising.
    """)
    out += prose(f"""
        *Repaired* means: a zero of N draws becomes (0 + 1)/(N + 1); a Spearman test over 5, 11 or 12 points gets its
        exact two-sided p. Of {len(spearman)} such tests {len(exact)} are determined by the printed numbers (one tie-free
        sum of squared rank differences gives a t approximation that rounds to the printed p; where several do, the
        printed rho decides); left as printed: {", ".join(left) or "none"}. Other p are as printed. That many rows are
        the best of several layers, axes or sets is not repaired here.
    """)
    known = f"({len(with_p)})"
    last = f"repaired, missing as 1 ({len(rows)})"
    out += head("rows with p ≤ .05 after", f"as printed {known}", f"repaired {known}", last)
    out += [line(name, *(int(c[name].sum()) for c in columns)) for name in columns[0]]
    out += prose(f"""
        Bonferroni over {len(with_p)} rows asks for p ≤ {level:.6f}. The smallest p of N draws is 1/(N + 1): {reach} of
        the {len(drawn)} rows with a known number of draws could reach that level.
    """)
    out += head("what the p rests on", "rows with p", "p ≤ .05 printed", "Holm, repaired", "BH, repaired")
    classes = [kind_class(r["p_kind"]) for r in with_p]
    for name in sorted(set(classes)):
        mask = np.array([c == name for c in classes])
        counts = (columns[0]["uncorrected"], columns[1]["Holm"], columns[1]["BH"])
        out.append(line(name, int(mask.sum()), *(int((c & mask).sum()) for c in counts)))
    out += prose("""
        An adjustment of printed p-values does not change what they rest on: rows on gene pairs count each gene many times
        (`docs/calibration.md` has the rejection rate under a null), and layers of one network are not samples. None of
        the four accounts for hypotheses chosen after earlier results were seen.
    """)
    out += prose("Exact p of the Spearman tests that were determined:")
    return [*out, *head("row", "n", "abs(rho)", "p as printed", "exact p"), *(exact_line(r) for r in exact)]


def exact_line(row: dict[str, str]) -> str:
    found = identified(row)
    if found is None:
        raise ValueError(f"{row['iteration']} {row['id']} has no determined Spearman statistic")
    n, D = found
    rho = abs(1 - 6 * D / (n * (n * n - 1)))
    return line(f"{row['iteration']} {row['id']}", n, f"{rho:.3f}", row["p_reported"], p_text(spearman_exact(n, D)))


def page(folder: Path, date: str) -> str:
    genes = read_genes(folder)
    known = set(genes.symbols)
    channels = read_pairs(folder, CHANNELS)
    strong = [pair for pair, score in channels.items() if score >= 0.7 and set(pair) <= known]
    graded = {pair: s for pair, s in read_pairs(folder, PAIRS).items() if set(pair) <= known}
    out = ["<!-- Made by benchmarks/published.py. Do not edit. -->", "", "# The published record re-examined"]
    out += prose(f"""
        Computed {date} from the published artifacts of arXiv:2602.22247 and public annotation tables, with the engine of
        this project: poles by mid-rank, gene-label permutations from one Philox bank per gene list, m = {M:,} draws, seed
        {SEED}, p = (k + 1)/(m + 1) with k draws at least as large as the observed count. Rows are cited as iteration and
        id of the published campaign.
    """)
    out += copole_section(genes, strong)
    out += gradient_section(genes, graded)
    out += enrichment_section(genes, folder)
    out += campaign_section(folder)
    out += ["", "## How to make this page again", "", "```", "python benchmarks/published.py --data DIR", "```"]
    out += prose(f"""
        `DIR` holds `{GENES}`, `{CHANNELS}`, `{PAIRS}` (STRING v12, CC BY 4.0), `{HPA}` (Human Protein Atlas, CC BY-SA),
        `{GO_CC}` (Gene Ontology via MSigDB, CC BY 4.0) and `{CAMPAIGN}`; the first and the last are published artifacts
        of the paper (MIT). None is part of this project. `tests/docs_/test_published_numbers.py` recomputes the main
        numbers without the engine.
    """)
    return "\n".join(out) + "\n"


def main() -> int:
    """Write the page; returns the exit code."""
    arguments = argparse.ArgumentParser(description="Write docs/published.md from the published tables.")
    arguments.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the tables")
    arguments.add_argument("--out", type=Path, default=ROOT / "docs" / "published.md", help="page to write")
    arguments.add_argument("--date", default="2026-11-23", help="date printed on the page")
    given = arguments.parse_args()
    text = page(given.data, given.date)
    given.out.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
