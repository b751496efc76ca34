"""``docs/calibration.md`` from the rates that ``calibration_cells.py`` measured: tables, and what they say."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from calibration_cells import (
    AGAIN,
    ALPHA,
    AT,
    ATTAINABLE,
    BY_LABEL,
    HIGH,
    LOW,
    M_PRINTED,
    OWN,
    REPETITIONS,
    SHARED,
    UNTESTABLE,
    M,
    Rates,
)
from calibration_worlds import PAIRS, REGULATORS, SET, TARGETS, demo
from scipy.stats import norm

from hyposcreen.tests_library.catalogue import CATALOGUE, N_AXES, n_views
from hyposcreen.tests_library.nulls import NULLS, OWN_NULLS

WORLDS: Mapping[str, str] = {
    "random_axis": """the same 200 genes of the demo cache on five axes and three layers, all layers turned by one random
        rotation, so which frame is called the axes is random; the labels go together along one uniformly random direction
        (20 top genes of one layer with noise, or 60 pairs of neighbours in that order), independent of the frame. Exact.""",
    "rewired": """12 regulators with 12 targets each among 200 genes, eight of them genes of the universe, hubs on both sides;
        graphs along a chain of exchanges of two and of three targets (another program than the engine's) that keeps the
        margins of every sign. Exact given the chain's own mixing: 10 attempts an edge between repetitions, 100 before the
        first.""",
    "target_shuffle": """the same regulators; each draws its number of targets from the universe without itself. Exact.""",
    "sign_shuffle": """one such graph that never changes; its known signs permuted within each regulator. Exact.""",
    "layer_order": """twelve layers that are one cloud of 60 points with fresh noise each. Exact; with few layers hardly any
        p is reached (below).""",
    "matched_gaussian": """300 points of a Gaussian cloud in six dimensions, two layers with other spreads along the same
        principal axes; the set is 20 of them. Only asymptotically exact: the draws have the second moments estimated from
        the 300, not the true ones.""",
    "feature_shuffle": """eight coordinates of 200 genes of the demo cache, each permuted over genes by itself, alike in both
        layers; the set is ten of them. Exact.""",
}
"""Own null → the world in which it is true."""


def line(*cells: Any) -> str:
    return "| " + " | ".join(str(c) for c in cells) + " |"


def head(*cells: str) -> list[str]:
    return ["", line(*cells), "|" + "---|" * len(cells)]


def prose(text: str, first: str = "") -> list[str]:
    """A paragraph, wrapped, after an empty line."""
    words = first + " ".join(text.split())
    return [
        "",
        *textwrap.wrap(
            words, 118, break_long_words=False, break_on_hyphens=False, subsequent_indent="  " if first == "- " else ""
        ),
    ]


def with_error(r: Rates, name: str) -> str:
    return f"{r.rejected[name]:.4f} ± {r.error(name):.4f}"


def of(results: Sequence[Rates], section: str) -> list[Rates]:
    return [r for r in results if r.cell.section == section]


def in_own_world(r: Rates) -> tuple[str, ...]:
    """Repetitions, rates, what was attainable, and whether the rate lies where it should."""
    return (
        f"{r.cell.repetitions:,}",
        with_error(r, AT),
        f"{r.rejected[ATTAINABLE]:.4f}",
        with_error(r, "p ≤ .01"),
        "no" if r.outside else "yes",
    )


COLUMNS = ("repetitions", "p ≤ .05 (± s.e.)", "attainable", "p ≤ .01 (± s.e.)", f"in {LOW}–{HIGH}")


def summary(mine: list[Rates], again: list[Rates]) -> list[str]:
    """How the cells of a section spread, and those outside once more."""
    rates = [r.rejected[AT] for r in mine]
    error = math.sqrt(ALPHA * (1 - ALPHA) / REPETITIONS)
    chance = 2 * norm.sf((HIGH - ALPHA) / error)
    stray = sum(r.outside for r in mine)
    out = prose(f"""
        Mean over the {len(mine)} cells {np.mean(rates):.4f}, smallest {min(rates):.4f}, largest {max(rates):.4f}. At
        {REPETITIONS:,} repetitions the standard error of an exact test is {error:.4f}, so an exact cell falls outside
        {LOW}–{HIGH} with probability {chance:.3f}, and of {len(mine)} cells {chance * len(mine):.1f} are expected to. A
        cell outside is repeated with another seed and {AGAIN:,} repetitions, and both are printed. Outside: {stray}.
    """)
    if again:
        out += head("cell", *COLUMNS)
        out += [line(" · ".join(str(a) for a in named(r)), *in_own_world(r)) for r in again]
    return out


def named(r: Rates) -> tuple[Any, ...]:
    """The arguments of a cell as words."""
    if r.cell.section == "own":
        return r.cell.arguments
    name, null, loaded = r.cell.arguments
    return (name, f"{null}, with study load" if loaded else null)


def section_shared(results: list[Rates], again: list[Rates]) -> list[str]:
    c, g = demo().covariates, demo().geometry
    out = ["", "## The shared nulls, each in its own world"]
    out += prose(f"""
        The embedding is the demo cache ({len(c.symbols)} usable genes, {g.n_layers} layers) and never changes. In each repetition
        a structure is drawn (gene sets of about {SET}, {PAIRS} graded pairs of a graph with hubs, {REGULATORS} regulators ×
        {TARGETS} targets), with a pull towards highly expressed genes and, under family_block, with whole families; then its
        genes are permuted as the null says they may be, by a generator that is not the engine's. So labels are exchangeable
        in the null's own sense and often in no wider one. *With study load*: labels also lean on a made study load, strata
        are cut by it as well, and a gene's load moves with its labels. The test is the full scan, max-T over all views of
        the kind, m = {M}, other draws in every repetition.
    """)
    out += prose("""
        *Attainable* is the probability of p ≤ .05 if the observed arrangement were any one of the m + 1 that were scanned,
        averaged over repetitions. It is .05 where no two arrangements tie; ties count against rejection and lower it.
    """)
    out += head("test kind", "views", "null", *COLUMNS)
    order = tuple(CATALOGUE)
    mine = sorted(of(results, "shared"), key=lambda r: order.index(r.cell.arguments[0]))
    for r in mine:
        name, null = named(r)
        out.append(line(name, n_views(CATALOGUE[name], g.n_layers, N_AXES), null, *in_own_world(r)))
    out += summary(mine, of(again, "shared"))
    left = [name for name in CATALOGUE if name not in SHARED]
    out += prose(f"""
        One kind of each shape of statistic suffices. If the null is true, the observed arrangement and the m drawn ones are
        exchangeable; so are the values of any function of an arrangement, and p = (k + 1)/(m + 1) is exact whatever the
        function is. What can go wrong is in the arrangements, which every row measures, and in a kernel that treats the observed
        one unlike the others: `tests/tests_library/test_exactness.py` enumerates every arrangement of a small universe for every
        kind that needs neither a second cache nor attention. Not measured under these nulls: {", ".join(left)}.
    """)
    return out


def section_own(results: list[Rates], again: list[Rates]) -> list[str]:
    out = ["", "## The nulls of single kinds, each in its own world"]
    out += prose(f"""
        Full scan, max-T over all views, m = {M}; nulls that are printed and decide nothing: m = {M_PRINTED}. In each world the
        null is true by construction, made by code that shares nothing with the engine's draws:
    """)
    for i, null in enumerate(OWN_NULLS):
        out += prose(f"*{null}*: {WORLDS[null]}", "- ")[0 if i == 0 else 1 :]
    out += head("null", "test kind", *COLUMNS)
    mine = of(results, "own")
    out += [line(*r.cell.arguments, *in_own_world(r)) for r in mine]
    out += summary(mine, of(again, "own"))
    axis = {r.cell.arguments[1]: r for r in mine if r.cell.arguments[0] == "random_axis"}
    said = ", ".join(f"{name} {with_error(r, BY_LABEL)}" for name, r in axis.items())
    out += prose(f"""
        Why an axis claim needs random_axis: in its world, where the axes are no special directions, gene_label alone says
        p ≤ .05 at these rates: {said}. Labels that go together separate on any direction.
    """)
    untestable = max((r.rejected[UNTESTABLE] for r in mine), default=0.0)
    out += prose(f"""
        layer_order: a split has no order inside its halves, and its mirror image is as extreme. So the smallest p of
        change_point is 2·⌊L/2⌋!·⌈L/2⌉!/L! with L layers: {least_p(5):.3f} with five, {least_p(6):.3f} with six,
        {least_p(12):.4f} with twelve. With few layers this null cannot say p ≤ .05 at all; it is printed and decides
        nothing. The largest share of repetitions whose entity was too little to test (counted as p = 1) was {untestable:.4f}.
    """)
    missing = [
        f"{kind.name} ({', '.join(nulls)})"
        for kind in CATALOGUE.values()
        if (nulls := [n for n in kind.nulls if kind.name not in OWN[n]])
    ]
    return out + prose(f"Kinds that carry one of these nulls and were not measured with it: {', '.join(missing)}.")


def least_p(layers: int) -> float:
    """The smallest p that layer_order can give a change point when every order is drawn once."""
    low = layers // 2
    return 2 * math.factorial(low) * math.factorial(layers - low) / math.factorial(layers)


def section_confound(results: list[Rates]) -> list[str]:
    out = ["", "## A confound: labels that lean on expression, on families or on study load"]
    out += prose(f"""
        Sets of about {SET} genes that know nothing of the embedding. *Pull w*: genes are drawn with weight exp(w × normal score
        of mean expression); w = 0 is uniform. *Families*: whole families of two to four members, drawn at random. The pull is
        continuous, so strata remove it only up to what varies within a stratum. Demo cache, full scan and m as above, no study
        load; a claim uses the largest p over its companion nulls.
    """)
    out += head("test kind", "labels", "repetitions", *(f"{n}: p ≤ .05" for n in NULLS), "largest p ≤ .05")
    rows = of(results, "confound")
    for r in rows:
        name, labels = r.cell.arguments
        said = labels if labels == "families" else f"pull {labels}"
        out.append(line(name, said, f"{r.cell.repetitions:,}", *(with_error(r, n) for n in (*NULLS, "largest"))))
    free = ", ".join(f"{r.cell.arguments[0]} {with_error(r, 'largest')}" for r in rows if r.cell.arguments[1] == "0.0")
    out += prose(f"""
        No single null holds everywhere: stratified ignores families, and family_block matches families of several members
        for expression only coarsely, or not at all where fewer than 20 share their size. So a claim uses the largest p of the
        three. Its cost is power: with nothing to confound (pull 0) the largest p is ≤ .05 far less often than .05 ({free}), so
        a true effect must be stronger to be seen than any one null would ask.
    """)
    out += prose("""
        The same in made worlds of 1,000 genes where the strength b is known. The only axis is b·cause + √(1 − b²)·noise, and
        membership is logistic in the cause (slope .8, about 5 % of genes); test: axis_separation on that axis. First the
        cause is expression, and detection follows it with noise:
    """)
    out += head("b", "repetitions", "gene_label: p ≤ .05", "stratified: p ≤ .05")
    for r in of(results, "made"):
        counts = (with_error(r, "gene_label"), with_error(r, "stratified"))
        out.append(line(*r.cell.arguments, f"{r.cell.repetitions:,}", *counts))
    out += prose("Then the cause is study load, and expression and detection are noise:")
    names = ("gene_label", "family_block", "with load")
    said_ = ("gene_label: p ≤ .05", "family_block without load: p ≤ .05", "family_block with load: p ≤ .05")
    out += head("b", "repetitions", *said_)
    for r in of(results, "made load"):
        out.append(line(*r.cell.arguments, f"{r.cell.repetitions:,}", *(with_error(r, n) for n in names)))
    return out + prose("""
        The strata of family_block are cut only in halves by study load, so load that differs within a half stays in:
        matching weakens that confound, and where embeddings follow study load closely it does not remove it.
    """)


def section_pairs(results: list[Rates]) -> list[str]:
    out = ["", "## Gene pairs as independent observations"]
    out += prose(f"""
        A pair graph with hubs is laid over the genes at random, so pairs tell nothing about similarity. The statistic is
        one: the rank sum of the pairs' similarities among all pairs. It is judged twice, two-sided: by the Mann–Whitney
        formula, which takes pairs as independent, and by permuting genes over the graph (m = {M}). *Made*: new points in
        three dimensions with unequal norms in every repetition; *demo*: cosine at the last layer of the demo cache.
    """)
    out += head("embedding", "genes", "pairs", "repetitions", "pairs independent: p ≤ .05", "genes permuted: p ≤ .05")
    for r in of(results, "pairs"):
        where, n, wanted = r.cell.arguments
        counts = (with_error(r, "pairs independent"), with_error(r, "genes permuted"))
        out.append(line(where, n, f"{wanted:,}", f"{r.cell.repetitions:,}", *counts))
    return out + prose("""
        A gene far from the rest makes all of its pairs far at once; the formula counts each of them as new evidence. This
        is why no test here offers pairs as independent samples.
    """)


def section_small_m(results: list[Rates]) -> list[str]:
    out = ["", "## k/m against (k + 1)/(m + 1)"]
    out += prose("""
        Without ties k is uniform on 0 … m under the null, so P(k/m ≤ α) = (⌊αm⌋ + 1)/(m + 1) and
        P((k + 1)/(m + 1) ≤ α) = ⌊α(m + 1)⌋/(m + 1). The first two columns are that law at α = .05, the third the
        probability that k/m prints an exact zero, the fourth that at least one of 183 null tests does. Measured:
        axis_separation under gene_label on the demo cache.
    """)
    measured = {r.cell.arguments[0]: r for r in of(results, "small m")}
    laws = ("k/m ≤ .05", "(k+1)/(m+1) ≤ .05", "k/m = 0", "a zero in 183 tests")
    out += head("m", *laws, "repetitions", "measured k/m", "measured (k+1)/(m+1)", "measured zeros")
    for m in (15, 50, 100, 200, 500, 1000):
        zero = 1 / (m + 1)
        plain = (math.floor(ALPHA * m + 1e-9) + 1) / (m + 1)
        kept = math.floor(ALPHA * (m + 1) + 1e-9) / (m + 1)
        law = (f"{plain:.4f}", f"{kept:.4f}", f"{zero:.4f}", f"{1 - (1 - zero) ** 183:.3f}")
        seen: tuple[str, ...] = ("", "", "", "")
        if m in measured:
            r = measured[m]
            seen = (f"{r.cell.repetitions:,}", *(with_error(r, n) for n in ("k/m", "(k+1)/(m+1)", "zero")))
        out.append(line(m, *law, *seen))
    return out


def page(results: list[Rates], again: list[Rates], date: str) -> str:
    """The whole page; ``again`` are the cells that were repeated."""
    out = ["<!-- Made by benchmarks/calibration.py. Do not edit. -->", "", "# Calibration"]
    out += prose(f"""
        How often a test says p ≤ .05 when nothing is there, measured {date} by `benchmarks/calibration.py`. Rates are
        printed with their Monte-Carlo standard error. Seeds are fixed: the same code prints the same page, but for the
        minutes in its last line.
    """)
    out += section_shared(results, again) + section_own(results, again) + section_confound(results)
    out += section_pairs(results) + section_small_m(results)
    out += ["", "## How to make this page again", "", "```", "python benchmarks/calibration.py", "```"]
    minutes = sum(r.seconds for r in (*results, *again)) / 60
    out += prose(f"""
        About {minutes:.0f} minutes of processor time on a shared virtual machine. `--keep FILE` remembers finished cells, so an
        interrupted run goes on; `--share 0.05` is a quick look.
    """)
    return "\n".join(out) + "\n"
