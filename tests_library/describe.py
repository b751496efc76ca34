"""The catalogue as a page a person can judge: made from the declarations, never typed."""

from .catalogue import CATALOGUE, N_AXES, coordinate_options, layer_options, n_views
from .nulls import NULLS, OWN_NULLS, NullModel
from .statistics.base import NOUN, Need, TestKind

EXAMPLE_LAYERS = 13
"""Layers of the example that view counts refer to: an input embedding and twelve blocks, as in scGPT."""
ENTITIES = {"gene_set": "gene set", "gene_pairs": "gene pairs", "edges": "signed, directed edges"}
NEEDS: dict[Need, str] = {
    "attention": "a cache that holds mean attention",
    "partner": "another cache, which the setting `partner` names",
}

HEAD = f"""# Tests and nulls

Each test kind asks one question about an annotation and looks at it in many *views* (layers × coordinates). All its
views share one bank of arrangements; the maximum over the views that a hypothesis scans gives its one p-value,
(k + 1) / (m + 1). An effect is printed beside its null mean and sd. Counts of views are for {EXAMPLE_LAYERS} layers.
"""


def describe_all() -> str:
    """Every test kind and every companion null as Markdown."""
    rows = [f"| [{k.name}](#{k.name}) | {k.family} | {ENTITIES[k.entity]} | {k.asks} |" for k in CATALOGUE.values()]
    table = "\n".join(("| test | family | about | question |", "|---|---|---|---|", *rows)) + "\n"
    kinds = [describe(kind) for kind in CATALOGUE.values()]
    intro = "A hypothesis is tested under every one of these, and a claim uses the largest p.\n"
    shared = ["## Companion nulls\n", intro, *(describe_null(null) for null in NULLS.values())]
    intro = "Only some tests have these. A claim must beat those that decide; the others are printed.\n"
    own = ["## Nulls of their own\n", intro, *(describe_null(null) for null in OWN_NULLS.values())]
    return "\n".join((HEAD, table, *kinds, *shared, *own))


def describe(kind: TestKind) -> str:
    """One test kind as a Markdown section."""
    views = n_views(kind, EXAMPLE_LAYERS, N_AXES)
    options = (layer_options(kind, EXAMPLE_LAYERS), coordinate_options(kind, EXAMPLE_LAYERS, N_AXES))
    layers, coordinates = (_shortened([f"`{o}`" for o in choices]) for choices in options)
    facts = {
        "family": kind.family,
        "about": ENTITIES[kind.entity],
        "formula": kind.formula,
        "effect": f"{kind.effect_unit}; alternative: {kind.alternative}",
        "null preserves": kind.null_preserves,
        "assumes": kind.assumes,
        "views": f"{views}; layers {layers}; coordinates {coordinates}",
        "minimum size": f"{kind.min_size} {NOUN[kind.entity]}",
        "nulls of its own": ", ".join(f"[{null}](#{null})" for null in kind.nulls) or "none",
        "confirmed by": "Routes U and H" if kind.universe else "Route H",
        "source": kind.source,
    }
    if kind.needs:
        facts["needs"] = "; ".join(NEEDS[need] for need in sorted(kind.needs))
    return f"## {kind.name}\n\n{kind.asks}\n\n{_facts(facts)}"


def describe_null(null: NullModel) -> str:
    """One companion null as a Markdown section."""
    facts = {"preserves": null.preserves, "destroys": null.destroys, "assumes": null.assumes}
    if null.name in OWN_NULLS:
        facts["a claim"] = "must beat it" if null.decides else "need not beat it: it is printed"
        facts["draws"] = "as many as the run asks for" if null.most is None else f"at most {null.most}"
    return f"### {null.name}\n\n{_facts(facts)}"


def _facts(facts: dict[str, str]) -> str:
    rows = [f"| {name} | {_cell(value)} |" for name, value in facts.items()]
    return "\n".join(("| | |", "|---|---|", *rows)) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _shortened(choices: list[str], most: int = 6) -> str:
    return ", ".join(choices if len(choices) <= most else [*choices[: most - 2], "…", choices[-1]])
