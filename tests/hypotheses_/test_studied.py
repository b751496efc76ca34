"""Study load: what counts, and that nothing outside the universe is read."""

from dataclasses import replace

import numpy as np
import pytest

from hyposcreen.embeddings_cache.store import SHIPPED, open_cache
from hyposcreen.hypotheses.annotations import DEMO, index_symbols, load_annotations, resolve
from hyposcreen.hypotheses.studied import studied


@pytest.fixture(scope="module")
def demo():
    genes = open_cache(SHIPPED["demo"], verify=False).genes
    annotations = {a.name: a for a in load_annotations(DEMO)}
    index = index_symbols(genes.symbol)
    resolved = {n: resolve(a, index, genes.usable, cache_name="demo") for n, a in annotations.items()}
    return annotations, resolved, genes


def by_hand(annotations, resolved, rows, without=""):
    inside, backgrounds = set(rows.tolist()), {a.background for a in annotations.values()}
    named, degree = dict.fromkeys(inside, 0), dict.fromkeys(inside, 0)
    for name, a in annotations.items():
        if name == without or name in backgrounds or a.role == "negative_control":
            continue
        touched = set()
        for label in resolved[name].rows.tolist():
            ends = [label] if a.kind == "gene_set" else label
            counts = ends[-1] in inside if a.kind == "edges" else all(e in inside for e in ends)
            if counts:
                touched |= set(ends) & inside
                for e in ends:
                    if a.kind != "gene_set" and e in inside:
                        degree[e] += 1
        for gene in touched:
            named[gene] += 1
    return [named[r] for r in rows.tolist()], [degree[r] for r in rows.tolist()]


@pytest.mark.parametrize("without", ["", "b_cells"])
def test_counts_are_those_of_a_loop_over_labels(demo, without):
    annotations, resolved, genes = demo
    rows = np.flatnonzero(genes.usable)[::2]
    found = studied(annotations, resolved, rows, without)
    named, degree = by_hand(annotations, resolved, rows, without)
    assert found.annotations.tolist() == named
    assert found.degree.tolist() == degree
    assert max(named) > 1
    assert max(degree) > 1


def test_labels_outside_the_universe_do_not_count(demo):
    annotations, resolved, genes = demo
    rows = np.flatnonzero(genes.usable)[::2]
    outside = np.setdiff1d(np.flatnonzero(genes.usable), rows)
    swap = np.arange(genes.usable.size)
    swap[outside] = np.random.default_rng(0).permutation(outside)
    moved = {name: replace(r, rows=swap[r.rows]) for name, r in resolved.items()}
    before, after = (studied(annotations, r, rows) for r in (resolved, moved))
    assert before.annotations.tolist() == after.annotations.tolist()
    assert before.degree.tolist() == after.degree.tolist()
