"""Write ``docs/published.md``: numbers of arXiv:2602.22247 recomputed from its published artifacts with this engine.

``python benchmarks/published.py [--data DIR] [--date YYYY-MM-DD]``. ``DIR`` holds the small tables that the page names;
without the option it is ``../shared/data`` beside the repository. Nothing of those tables is copied into the project.
"""

import argparse
import itertools
import math
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
from markdown_page import head, line, prose
from published_numbers import (
    ALPHA,
    CAMPAIGN,
    CHANNELS,
    EDGES,
    GENES,
    GO_CC,
    HPA,
    PAIRS,
    ROOT,
    SEED,
    Genes,
    M,
    Pair,
    copole,
    enrichment,
    identified,
    kind_class,
    quintiles,
    random_pair_z,
    read_genes,
    read_gmt,
    read_locations,
    read_pairs,
    repaired_p,
    spearman_by_enumeration,
    spearman_exact,
    survivors,
    table,
    tie_rates,
)

from hyposcreen.agent.foreign import corrected, import_campaign
from hyposcreen.agent.ledger.store import Ledger


def p_text(p: float) -> str:
    return f"{p:.4f}" if p >= 1e-3 else f"{p:.2e}"


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
    out += foreign_section(folder)
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


def foreign_section(folder: Path) -> list[str]:
    """The same file through ``screen ledger import``, in a ledger of its own that is thrown away."""
    with tempfile.TemporaryDirectory() as scratch:
        ledger = Ledger.create(Path(scratch) / "runs.db")
        columns = {"id": "id", "claim": "name", "p": "p_reported", "draws": "n_perm"}
        about, rows = import_campaign(ledger, folder / CAMPAIGN, columns, "published", None, "arXiv:2602.22247, MIT")
        found = corrected(about.name, rows)
    counts = found.survivors()
    out = prose("""
        The file as a foreign ledger, `screen ledger import … --columns "id=id,claim=name,p=p_reported,draws=n_perm"`: every row
        is external, its p as printed and typed, and nothing of it enters a run. Its second column repairs zeros alone (a zero
        without a number of draws is 1), not the Spearman tests, so it stays a little below the one above.
    """)
    out += head("rows with p ≤ .05", "as printed", "zeros repaired")
    words = {"p": "uncorrected", "bonferroni": "Bonferroni", "holm": "Holm", "bh": "BH", "by": "BY"}
    return out + [line(f"external, {word}", counts["printed"][t], counts["repaired"][t]) for t, word in words.items()]


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
