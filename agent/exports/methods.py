"""A methods paragraph and a bibliography, written from what the ledger holds. Pure, but for reading the ledger."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...tests_library.nulls import NULLS, OWN_NULLS, null_model
from ..ledger.records import Head, Promoted, Row, RunClosed, RunOpened
from ..ledger.store import Ledger

_REFERENCES = Path(__file__).with_name("references.bib")
_KEYS = re.compile(r"^@[a-z]+\{([a-z0-9]+),$", re.MULTILINE)
NOTHING = "This ledger holds no run.\n"


def methods_page(ledger: Ledger) -> str:
    """Markdown: the paragraph, and the BibTeX of what it cites."""
    run = ledger.run()
    if run is None:
        return NOTHING
    head, rows = ledger.snapshot(views=False)
    promoted = sum(len(p.hypotheses) for p in ledger.records(Promoted))
    closed = bool(ledger.records(RunClosed))
    text = paragraph(run, rows, len(ledger.rejections()), promoted, closed, head)
    return f"# Methods\n\n{text}\n\n# References\n\n```bibtex\n{bibliography(run, _nulls(rows))}```\n"


def bibliography_of(ledger: Ledger) -> str:
    """The BibTeX alone; empty for a ledger without a run."""
    return bibliography(ledger.run(), _nulls(ledger.rows(views=False)))


def paragraph(run: RunOpened, rows: Sequence[Row], rejected: int, promoted: int, closed: bool, head: Head) -> str:
    """What was done, in sentences that a methods section can hold. Nothing in it is typed by hand."""
    return " ".join(
        [*_design(run), *_tests(run, rows, rejected), *_decision(run, rows, promoted, closed), _record(head)]
    )


def _design(run: RunOpened) -> list[str]:
    cache, split = run.cache, run.split
    what = " ".join(str(cache[name]) for name in ("model", "data") if cache.get(name))
    return [
        f"Hypotheses about gene embeddings were screened with hyposcreen {run.version} [@hyposcreen].",
        f"The embedding cache '{cache.get('name', 'unnamed')}'{f' ({what})' if what else ''} holds {_n(cache.get('genes'))} "
        f"genes, of which {_n(cache.get('masked'))} were masked before any test, in {_n(cache.get('layers'))} layers of "
        f"{_n(cache.get('dim'))} dimensions (sha256 {str(cache.get('digest', ''))[:12]}).",
        f"Before any hypothesis was proposed, the usable genes were split into {_n(split.get('explore'))} genes for exploration "
        f"and {_n(split.get('sealed'))} sealed ones (seed {run.seed}), and {_n(len(run.annotations))} annotations were frozen "
        f"with a closed grammar of {_n(run.universe.get('hypotheses'))} hypotheses over {_n(run.universe.get('cells'))} "
        "elementary statistics.",
    ]


def _tests(run: RunOpened, rows: Sequence[Row], rejected: int) -> list[str]:
    by = Counter(row.proposer for row in rows if row.proposer)
    who = f"the proposer '{run.proposer}'"
    if by and set(by) != {run.proposer}:
        who += f" ({', '.join(f'{n} by {name}' for name, n in by.most_common())})"
    done = max((row.iteration for row in rows), default=0)
    return [
        f"In {_n(done)} of {_n(run.iterations)} declared iterations {who} proposed hypotheses, of which {_n(rejected)} were "
        f"refused and {_n(len(rows))} were registered in a hash-chained ledger before being tested.",
        f"Each was tested on the exploration genes by permuting genes (at most {_n(run.permutations_explore)} draws), with "
        "p = (k + 1)/(m + 1) [@phipson2010] for the maximum of the standardised statistic over all views the hypothesis "
        "scans [@westfall1993]; a row reports the largest p over the companion nulls that decide "
        f"({', '.join(n for n in _nulls(rows) if _decides(n)) or 'none yet'}).",
    ]


def _decision(run: RunOpened, rows: Sequence[Row], promoted: int, closed: bool) -> list[str]:
    if not closed:
        return [
            "The run was not finished when this was written: the sealed genes had not been judged and nothing is confirmed."
        ]
    looks = (
        "once" if run.looks == 1 else f"in {run.looks} declared looks, each later one charged for what was shown before"
    )
    counts = Counter(row.verdict for row in rows)
    judged = sum(row.p_u_adj is not None for row in rows)
    roles = [_role(rows, role) for role in ("claim", "positive_control", "negative_control")]
    said = [
        f"Rows with p at most {run.promote_p:g} (at most {_n(run.max_promoted)} a look; {_n(promoted)} here) were frozen and "
        f"tested {looks} on the sealed genes by step-down max-T with {_n(run.permutations_look)} permutations (Route H, level "
        f"{run.alpha_h:g}); {_n(judged)} explored rows were also compared with the maximum over the whole grammar on all genes "
        f"(Route U, level {run.alpha_u:g}).",
        f"The probability of any false confirmation in the run is thereby at most {run.alpha:g}, although tests were chosen "
        "after results were seen.",
        f"{_n(counts['confirmed'])} rows were confirmed: {roles[0]}, {roles[1]} and {roles[2]}.",
    ]
    if counts["stale"]:
        said.append(
            f"{_n(counts['stale'])} rows were set aside, because a person invalidated them or what they rest on."
        )
    return [*said, "All other p-values and q-values are exploratory."]


def _role(rows: Sequence[Row], role: str) -> str:
    mine = [row for row in rows if row.role == role]
    return f"{_n(sum(row.verdict == 'confirmed' for row in mine))} of {_n(len(mine))} {role.replace('_', ' ')}s"


def _record(head: Head) -> str:
    return (
        f"The ledger ends at entry {head.seq} with head {head.hash} (content head {head.content_hash}); every row can be "
        "executed again with `screen replay`."
    )


def bibliography(run: RunOpened | None, nulls: Iterable[str] = ()) -> str:
    """BibTeX of the software, the methods used, the model where it is named, and the source of every annotation."""
    if run is None:
        return ""
    references = _REFERENCES.read_text(encoding="utf-8")
    known = dict(zip(_KEYS.findall(references), references.split("\n\n"), strict=True))
    cited = ["phipson2010", "westfall1993"]
    cited += ["besag1989"] if "rewired" in set(nulls) else []
    cited += ["cui2024"] if "scgpt" in str(run.cache.get("model", "")).lower() else []
    people = "{The hyposcreen developers}"
    ours = _entry("software", "hyposcreen", author=people, title="hyposcreen", version=run.version, note="Apache-2.0")
    entries = [ours, *(known[key].rstrip("\n") + "\n" for key in cited)]
    return "\n".join([*entries, *_sources(run.annotations)])


def _sources(annotations: Iterable[Mapping[str, Any]]) -> list[str]:
    """One entry a source: annotations of one source and version share it."""
    names: dict[tuple[str, str, str], list[str]] = {}
    for one in annotations:
        key = (str(one.get("source", "")), str(one.get("version", "")), str(one.get("licence", "")))
        names.setdefault(key, []).append(str(one.get("name", "")))
    return [
        _entry("misc", f"annotations{number}", title=source or "unnamed source", version=version,
               note=f"{licence or 'licence not stated'}; annotations: {', '.join(held)}")
        for number, ((source, version, licence), held) in enumerate(names.items(), start=1)
    ]  # fmt: skip


def _entry(kind: str, key: str, **fields: str) -> str:
    lines = [f"  {name} = {{{_escaped(value)}}}," for name, value in fields.items() if value]
    return f"@{kind}{{{key},\n" + "\n".join(lines) + "\n}\n"


def _escaped(text: str) -> str:
    """Signs that TeX obeys, and braces that do not pair, made harmless."""
    if text.count("{") != text.count("}"):
        text = text.replace("{", "(").replace("}", ")")
    return re.sub(r"(?<!\\)([&%$#_])", r"\\\1", " ".join(text.split()))


def _nulls(rows: Iterable[Row]) -> list[str]:
    return sorted({null for row in rows for null in row.companions})


def _decides(null: str) -> bool:
    known = NULLS | OWN_NULLS
    return null not in known or null_model(null).decides


def _n(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "an unknown number of" if value is None else str(value)
