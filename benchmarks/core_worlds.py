"""Write ``docs/core-worlds.md``: 2,000 worlds of the statistical core, in which every confirmation is false.

``python benchmarks/core_worlds.py [--worlds N] [--kind null|confounded|both] [--processes N] [--out FILE] [--write]``. A world
is one relabelling of the demo cache, a greedy searcher that reads every result on genes A, and the two routes that may
confirm; no ledger, no file and no process inside a world. Finished worlds are lines of ``--out``, so an interrupted run
goes on where it was. Every number is a function of the code: a world depends on its kind and number alone. The exit code
is 1 where the upper end of our interval is above .065.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import textwrap
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from core_search import (
    AXES,
    KINDS,
    LARGEST,
    LAYERS,
    M_EXPLORE,
    M_LOOK,
    SEED,
    TESTS,
    WIDE_IN_A_ROW,
    Seen,
    Sentence,
    World,
    all_views,
    core,
    relabelling,
    search,
)
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from hyposcreen import __version__
from hyposcreen.agent import policy
from hyposcreen.agent.audit import proportion
from hyposcreen.agent.ledger.records import LookResult, Registered, Tested
from hyposcreen.agent.look import LOOK, LookPlan, Place, Scan, Tally, judge
from hyposcreen.agent.project import Side
from hyposcreen.tests_library.catalogue import CATALOGUE
from hyposcreen.tests_library.nulls import NULLS
from hyposcreen.tests_library.online import calibrate, e_bh, lond, saffron
from hyposcreen.tests_library.run import NullScan, SubsetScan
from hyposcreen.tests_library.sequential import rungs

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "core-worlds.md"
DEFAULT_OUT = Path("core-worlds.jsonl")
WORLDS, ALPHA, BOUND = 2_000, 0.05, 0.065
CAMPAIGNS: Mapping[str, tuple[str, ...]] = {
    "all nulls": tuple(NULLS),
    "stratified alone": ("stratified",),
    "gene_label alone": ("gene_label",),
}
"""A campaign is a searcher and its two routes under some nulls. The first is the product's rule."""
OF_KIND = {"null": ("all nulls", "stratified alone"), "confounded": tuple(CAMPAIGNS)}
VOID = ("bh", "bonferroni", "lond", "saffron", "e_bh", "e_mean", "e_product", "best_view")
TITLES = {
    "ours": "**ours: Route U or Route H**",
    "by_u": "Route U (.025)",
    "by_h": "Route H (.025)",
    "bh": "Benjamini–Hochberg over the searched rows",
    "bonferroni": "Bonferroni over the searched rows",
    "lond": "LOND in the order of testing",
    "saffron": "SAFFRON in the order of testing",
    "e_bh": "e-BH on calibrated e-values",
    "e_mean": "mean of the calibrated e-values ≥ 20",
    "e_product": "running product of the calibrated e-values ≥ 20",
    "best_view": "best view of a row, p ≤ .05, uncorrected",
}


# ---------------------------------------------------------------- the two routes, by the product's own functions


@dataclass(frozen=True)
class Plan:
    """The part of a run's plan that promotion and verdicts read."""

    alpha_u: float = ALPHA / 2
    alpha_h: float = ALPHA / 2
    promote_p: float = ALPHA
    max_promoted: int = 20


def routes(world: World, campaigns: Mapping[str, Sequence[Seen]]) -> dict[str, dict[str, int]]:
    """Confirmations of each campaign, all of them false: in all, by Route U, by Route H."""
    tested = {name: {f"H{i:04d}": seen for i, seen in enumerate(rows, 1)} for name, rows in campaigns.items()}
    promoted = {name: promote(rows) for name, rows in tested.items()}
    in_u = {seen.sentence for rows in campaigns.values() for seen in rows}
    in_h = {tested[name][id_].sentence for name, ids in promoted.items() for id_ in ids}
    universe = {
        wide: world.scan(Side.ALL, wide, said) for wide, said in by_combination(world.combinations, in_u).items()
    }
    sealed = {
        wide: world.scan(Side.SEALED, wide, said)
        for wide, said in by_combination((), in_h).items()
        if len(world.members[Side.SEALED][wide.name]) >= CATALOGUE[wide.test].min_size
    }
    out = {}
    for name, rows in tested.items():
        results = look(rows, promoted[name], universe, sealed, CAMPAIGNS[name])
        verdicts = [
            policy.verdict(
                Plan(), _tested(id_, seen), id_ in promoted[name], results.get(("U", id_)), results.get(("H", id_))
            )
            for id_, seen in rows.items()
        ]
        by = [v.route for v in verdicts if v.verdict == "confirmed"]
        out[name] = {"ours": len(by), "by_u": sum("U" in r for r in by), "by_h": sum("H" in r for r in by)}
    return out


def look(
    rows: Mapping[str, Seen],
    promoted: Sequence[str],
    universe: Mapping[Sentence, Sequence[NullScan]],
    sealed: Mapping[Sentence, Sequence[NullScan]],
    nulls: Sequence[str],
) -> dict[tuple[str, str], LookResult]:
    """Fill the tally of ``agent.look`` with scans and let it judge: (route, row id) → result."""
    tally = Tally()
    for scans in universe.values():
        for one in (s for s in scans if s.null in nulls):
            place = Place("U", "", one.null)
            before = tally.universe.get(place, one.overall)
            tally.universe[place] = np.maximum(before, one.overall)
    scans_of = [("U", id_, universe) for id_ in rows] + [("H", id_, sealed) for id_ in promoted]
    untestable = []
    for route, id_, where in scans_of:
        sentence = rows[id_].sentence
        if wide_of(sentence) not in where:
            untestable.append(LookResult(id_, LOOK, route, "untestable", null="none"))
            continue
        for one in (s for s in where[wide_of(sentence)] if s.null in nulls):
            subset = one.subsets[sentence.id]
            tally.own.setdefault(Place(route, "", one.null), {})[id_] = subset.maximum
            tally.facts[(route, id_, one.null)] = _facts(subset, one.m)
    plan = LookPlan(
        tuple(Scan(r, "", None, (id_,)) for r, id_, _ in scans_of), {("U", ""): 1.0, ("H", ""): 1.0}, tuple(untestable)
    )
    return {(r.route, r.id): r for r in judge(plan, tally)}


def promote(rows: Mapping[str, Seen]) -> tuple[str, ...]:
    """The frozen list, by ``policy.promote``."""
    registered = [
        Registered(
            id=id_, iteration=1, slot=0, claim="", family="", test=seen.sentence.test, annotation=seen.sentence.name,
            role="claim", spec={"annotation_digest": seen.sentence.name, "background_digest": None}, spec_sha256="",
            novelty_sha256="", prior=0.5, direction="either", rationale="", move="",
        )
        for id_, seen in rows.items()
    ]  # fmt: skip
    return policy.promote(Plan(), registered, {id_: _tested(id_, seen) for id_, seen in rows.items()}).hypotheses


def _tested(id_: str, seen: Seen) -> Tested:
    return Tested(id_, "ok", p_scan=seen.p, p_raw=seen.p_best, statistic=seen.statistic)


def _facts(subset: SubsetScan, m: int) -> dict[str, Any]:
    best = next(v for v in subset.views if v.view == subset.best)
    view = {"layer": best.view.layer, "coordinate": best.view.coordinate}
    numbers = {"effect": best.effect, "null_mean": best.null_mean}
    return {
        "m": m, "n": 0, "size": 0, "k": subset.k, "statistic": float(subset.maximum[0]), "best": subset.best.name,
        "views": [view | numbers],
    }  # fmt: skip


def by_combination(every: Iterable[Sentence], said: Iterable[Sentence]) -> dict[Sentence, list[Sentence]]:
    """The sentences of ``said`` under their combinations; those of ``every`` are there even where nothing was said."""
    out: defaultdict[Sentence, list[Sentence]] = defaultdict(list, {wide: [] for wide in every})
    for sentence in said:
        out[wide_of(sentence)].append(sentence)
    return out


@lru_cache(1 << 14)
def wide_of(sentence: Sentence) -> Sentence:
    """The combination a sentence narrows."""
    return Sentence(sentence.test, sentence.name)


def instead(rows: Sequence[Seen]) -> dict[str, int]:
    """False discoveries of procedures that take the searched rows' p as if nobody had chosen them after looking."""
    p = [seen.p for seen in rows]
    e = [calibrate(value) for value in p]
    running = np.cumsum(np.log(e))
    return {
        "bh": int((false_discovery_control(p, method="bh") <= ALPHA).sum()),
        "bonferroni": sum(value * len(p) <= ALPHA for value in p),
        "lond": sum(lond(p, ALPHA).rejected),
        "saffron": sum(saffron(p, ALPHA).rejected),
        "e_bh": sum(e_bh(e, ALPHA).rejected),
        "e_mean": int(float(np.mean(e)) >= 1 / ALPHA),
        "e_product": int(float(running.max()) >= np.log(1 / ALPHA)),
        "best_view": sum(seen.p_best <= ALPHA for seen in rows),
    }


def play(labels: NDArray[np.int64], seed: int, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """One world: what the searcher of each named campaign said, and what each procedure called a discovery."""
    world = World(labels, seed)
    campaigns = {name: search(world, CAMPAIGNS[name], np.random.default_rng(seed)) for name in names}
    ours = routes(world, campaigns)
    return {name: {"rows": len(rows), **ours[name], **instead(rows)} for name, rows in campaigns.items()}


def one_world(task: tuple[str, int]) -> dict[str, Any]:
    """The line of a world: plan, kind, number, seconds and counts."""
    kind, number = task
    start = time.process_time()
    seed = int.from_bytes(hashlib.sha256(f"{SEED} {kind} {number}".encode()).digest()[:6], "little")
    found = play(relabelling(kind, number), seed, OF_KIND[kind])
    return {"plan": plan_key(), "kind": kind, "number": number, "cpu": time.process_time() - start, "found": found}


# ---------------------------------------------------------------- running


def plan_key() -> str:
    """Names everything the counts depend on besides the code; lines of another plan are not read."""
    said = (
        __version__, core().digest, tuple(core().sets), tuple(NULLS), KINDS, LAYERS, AXES, TESTS, WIDE_IN_A_ROW,
        M_EXPLORE, M_LOOK, rungs(M_EXPLORE), SEED, ALPHA, tuple(CAMPAIGNS), OF_KIND,
    )  # fmt: skip
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


def read(path: Path, kinds: Sequence[str], worlds: int) -> dict[tuple[str, int], dict[str, Any]]:
    """Finished worlds of this plan. A last line that was cut off is a world that is played again."""
    done = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            continue
        if value.get("plan") == plan_key() and value["kind"] in kinds and value["number"] <= worlds:
            done[(value["kind"], value["number"])] = value
    return done


def measure(path: Path, kinds: Sequence[str], worlds: int, processes: int) -> list[dict[str, Any]]:
    """Every world of ``kinds``, those in ``path`` not again; each is on disk when it is finished."""
    done = read(path, kinds, worlds)
    waiting = [(kind, n) for kind in kinds for n in range(1, worlds + 1) if (kind, n) not in done]
    start, cut_off = (
        time.perf_counter(),
        path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size,
    )
    with path.open("a", encoding="utf-8") as out:
        out.write("\n" if cut_off else "")
        for i, value in enumerate(_played(waiting, processes), 1):
            out.write(json.dumps(value) + "\n")
            out.flush()
            done[(value["kind"], value["number"])] = value
            if i % 10 == 0 or i == len(waiting):
                rate = (time.perf_counter() - start) / i
                left = f"{rate * (len(waiting) - i):.0f} s left"
                print(
                    f"\r{len(done)} of {worlds * len(kinds)} worlds, {rate:.2f} s a world, {left}   ",
                    end="",
                    file=sys.stderr,
                )
    print(file=sys.stderr)
    return [done[name] for name in sorted(done)]


def _played(waiting: Sequence[tuple[str, int]], processes: int) -> Iterator[dict[str, Any]]:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # read by the workers, which import NumPy anew
    if processes == 1 or len(waiting) < 2:
        yield from map(one_world, waiting)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(one_world, waiting, chunksize=2)


# ---------------------------------------------------------------- the page


def any_false(worlds: Sequence[Mapping[str, Any]], campaign: str, procedure: str) -> dict[str, Any]:
    """In how many worlds a procedure made any false discovery, with the Clopper–Pearson interval."""
    return proportion(sum(w["found"][campaign][procedure] > 0 for w in worlds), len(worlds))


def table(worlds: Sequence[Mapping[str, Any]], campaigns: Sequence[str]) -> list[str]:
    """Procedures down, campaigns across."""
    out = ["| any false discovery in a world | " + " | ".join(campaigns) + " |", "|---" * (len(campaigns) + 1) + "|"]
    for procedure, title in TITLES.items():
        cells = []
        for campaign in campaigns:
            share = any_false(worlds, campaign, procedure)
            rate = share["count"] / max(1, share["worlds"])
            cells.append(f"{rate:.4f} ({share['ci_low']:.4f}–{share['ci_high']:.4f})")
        out.append(f"| {title} | " + " | ".join(cells) + " |")
    return out


def page(worlds: Sequence[Mapping[str, Any]], date: str) -> str:
    """The text of docs/core-worlds.md."""
    c = core()
    sizes = {side: len(universe.rows) for side, universe in c.sides.items()}
    views = {test: len(all_views(test)) for test in KINDS}
    out = ["<!-- Made by benchmarks/core_worlds.py. Do not edit. -->", "", "# Worlds of the statistical core"]
    out += prose(f"""
        In how many worlds is anything confirmed, when nothing is there and a searcher reads every result before its next
        question? Measured {date} by `benchmarks/core_worlds.py`; in brackets the exact (Clopper–Pearson) 95 % interval.
        *All nulls* is the product's rule: a row's p is the largest over {", ".join(CAMPAIGNS["all nulls"])}. *Stratified
        alone* is close to the null of which these worlds are made, so there ours may come near its .05; *gene_label alone*
        ignores expression, as a naive test would. Each column has a searcher of its own, who sees the p of that column.
    """)
    for kind, text in SAID.items():
        mine = [w for w in worlds if w["kind"] == kind]
        if mine:
            rows = np.mean([w["found"]["all nulls"]["rows"] for w in mine])
            said = prose(f"{text} {rows:.0f} rows a world.")
            out += ["", f"## {len(mine):,} {kind} worlds", *said, "", *table(mine, OF_KIND[kind])]
    stops = ", ".join(f"{r.draws:,} draws where p > {r.stop_above:g}" for r in rungs(M_EXPLORE)[:-1])
    out += ["", "## What is kept of the product, and what is left out"]
    out += prose(f"""
        Kept: the demo cache and its split ({sizes[Side.EXPLORE]} genes A, {sizes[Side.SEALED]} genes B); `run.scan`;
        promotion, tally, judgement and verdicts of `agent/policy.py` and `agent/look.py` as they are, so single-step and
        step-down max-T, all companion nulls and .025 + .025; study load of this world's labels in the matched nulls. Every
        world has arrangements of its own: one bank for all worlds would measure the luck of that bank.
    """)
    out += prose(f"""
        Left out, for speed: ledger, processes, files, model, and the checks that only refuse rows. {len(c.sets)} gene sets
        of at most {LARGEST} genes, no pairs and no edges; {len(KINDS)} of the test kinds
        ({", ".join(f"{t}, {n} views" for t, n in views.items())}); layers {", ".join(map(str, LAYERS))} and {AXES} axes;
        m = {M_LOOK} in both routes; m = {M_EXPLORE:,} on genes A, by the ladder of `tests_library/sequential.py` (a row
        stops after {stops}). Degree takes no part in study load, because there are no networks here.
    """)
    out += prose(f"""
        The searcher says every (kind, set) once with all its views, in random order. After every second row it takes the
        most extreme row so far and narrows it to its best view, or to the layer or the coordinate of that; {TESTS} rows in
        all. BH, Bonferroni and the rest take those rows' p on genes A as they come; e = 1/(2√p). The mean of e-values and
        e-BH pay for their validity with power: here they find nothing, which is no proof that they survive a searcher.
    """)
    seconds = float(np.median([w["cpu"] for w in worlds])) if worlds else 0.0
    out += ["", "## How to make this page again", "", "```", "python benchmarks/core_worlds.py --write", "```"]
    out += prose(f"""
        A world takes {seconds:.2f} s of processor time (median). Finished worlds are kept in `{DEFAULT_OUT}` (`--out`), and a run
        that was stopped goes on there. Seeds are fixed; only the order of the lines and the seconds differ between runs.
    """)
    return "\n".join(out) + "\n"


SAID = {
    "null": "Labels permuted within strata of expression × detection: sizes and overlaps of sets stay, the rest is chance.",
    "confounded": "Genes in many sets are drawn towards high expression, and are exchangeable within strata.",
}


def prose(text: str) -> list[str]:
    """A paragraph, wrapped, after an empty line."""
    return ["", *textwrap.wrap(" ".join(text.split()), 118, break_long_words=False, break_on_hyphens=False)]


def main(given: Sequence[str] | None = None) -> int:
    """Play the worlds, print the tables; 1 where the upper end of our interval is above the bound."""
    arguments = argparse.ArgumentParser(description="Worlds of the statistical core.")
    arguments.add_argument("--worlds", type=int, default=WORLDS, help="worlds of each kind")
    arguments.add_argument("--kind", choices=("null", "confounded", "both"), default="both")
    arguments.add_argument("--processes", type=int, default=2)
    arguments.add_argument("--out", type=Path, default=DEFAULT_OUT, help="JSON lines of finished worlds")
    arguments.add_argument("--write", action="store_true", help="write docs/core-worlds.md")
    arguments.add_argument("--date", default="2026-11-23", help="date printed on the page")
    said = arguments.parse_args(given)
    kinds = list(SAID) if said.kind == "both" else [said.kind]
    worlds = measure(said.out, kinds, said.worlds, said.processes)
    text = page(worlds, said.date)
    if said.write:
        PAGE.write_text(text, encoding="utf-8")
    print(text)
    high = [any_false([w for w in worlds if w["kind"] == kind], "all nulls", "ours")["ci_high"] for kind in kinds]
    print(
        f"upper end of the 95 % interval of ours, all nulls: {', '.join(f'{h:.4f}' for h in high)}; at most {BOUND} wanted"
    )
    return int(max(high) > BOUND)


if __name__ == "__main__":
    sys.exit(main())
