"""Published numbers of arXiv:2602.22247 recomputed through our own poles and counts, from real scGPT loadings."""

import csv
from pathlib import Path

import numpy as np
import pytest

from hyposcreen.tests_library.engine.kernels import same_pole_counts
from hyposcreen.tests_library.spaces import centred_ranks, poles, quantise

N_GENES, POLE = 209, 52


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="module")
def loadings(shared_data) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Genes, loadings float64 [209, 3], and which rows are all zero in the source."""
    rows = read(shared_data / "scgpt_layer11_svd_209_genes.tsv")
    values = np.array([[float(row[f"sv{k}"]) for k in (1, 2, 3)] for row in rows])
    return [row["gene"] for row in rows], values, np.array([float(row["drift_l0_l11"]) == 0 for row in rows])


@pytest.fixture(scope="module")
def string_pairs(shared_data, loadings) -> list[tuple[str, str]]:
    """Unordered pairs with both genes in the table and a maximum STRING score of at least 0.7."""
    genes, best = set(loadings[0]), {}
    for row in read(shared_data / "string_channels_209_genes.tsv"):
        pair = tuple(sorted((row["gene1"], row["gene2"])))
        if pair[0] != pair[1] and set(pair) <= genes:
            best[pair] = max(best.get(pair, 0.0), float(row["score"]))
    return sorted(pair for pair, score in best.items() if score >= 0.7)


def by_engine(genes: list[str], values: np.ndarray, pairs: list[tuple[str, str]]) -> list[int]:
    """Co-polar pairs on each axis through quantise, mid-ranks, poles and the kernel."""
    place = {gene: i for i, gene in enumerate(genes)}
    table = poles(centred_ranks(quantise(values)))
    rows = np.array([(place[a], place[b]) for a, b in pairs])
    return same_pole_counts(table, rows, np.arange(len(genes), dtype=np.int32)[None])[0].tolist()


def by_sets(genes: list[str], column: np.ndarray, pairs: list[tuple[str, str]], size: int = POLE) -> int:
    """The same by plain sets: a gene is in a pole when fewer than ``size`` genes, counting half of its ties, lie beyond it."""
    sets = []
    for sign in (1, -1):
        x = (sign * column).tolist()
        beyond = [sum(b > a for b in x) + (sum(b == a for b in x) - 1) / 2 for a in x]
        sets.append({gene for gene, count in zip(genes, beyond, strict=True) if count < size})
    return sum(any(a in pole and b in pole for pole in sets) for a, b in pairs)


def test_the_table_is_the_published_one(loadings, string_pairs):
    genes, values, zero = loadings
    assert (len(genes), len(set(genes)), int(zero.sum()), len(string_pairs)) == (N_GENES, N_GENES, 22, 1022)
    assert len(np.unique(values[zero], axis=0)) == 1
    assert N_GENES // 4 == POLE


def test_copole_rates_of_string_in_two_independent_ways(loadings, string_pairs):
    genes, values, _ = loadings
    got = by_engine(genes, values, string_pairs)
    naive = [by_sets(genes, column, string_pairs) for column in values.T]
    print("co-polar STRING >= 0.7 pairs on SV1, SV2, SV3:", got, [round(k / 1022, 4) for k in got])  # noqa: T201
    assert got == naive
    assert got == [175, 228, 186]
    assert round(got[1] / len(string_pairs), 4) == 0.2231


def test_the_22_zero_rows_do_not_depend_on_row_order(loadings, string_pairs):
    """A sort puts some of 22 equal values into a pole of SV3 and leaves the others out: 154 to 181 of 1,022 pairs here.

    By mid-rank all 22 share the upper pole, which then has 59 genes: 186 pairs whatever the order. Masking them, as
    preflight does with rows that were never sampled, leaves 834 pairs.
    """
    genes, values, zero = loadings
    expected = by_engine(genes, values, string_pairs)
    by_sort = set()
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(N_GENES)
        shuffled = [genes[i] for i in order]
        assert by_engine(shuffled, values[order], string_pairs) == expected
        ranked = np.argsort(values[order][:, 2], kind="stable")
        ends = ({shuffled[i] for i in ranked[:POLE]}, {shuffled[i] for i in ranked[-POLE:]})
        by_sort.add(sum(any(a in e and b in e for e in ends) for a, b in string_pairs))
    assert len(by_sort) > 1  # the flaw is real: sorting alone gives several answers
    pole = poles(centred_ranks(quantise(values)))
    assert len(np.unique(pole[zero], axis=0)) == 1
    sampled = [gene for gene, never in zip(genes, zero, strict=True) if not never]
    kept = [pair for pair in string_pairs if set(pair) <= set(sampled)]
    masked = by_engine(sampled, values[~zero], kept)
    print("SV3 by sort:", sorted(by_sort), "pole sizes:", [((pole == s).sum(axis=0)).tolist() for s in (1, -1)])  # noqa: T201
    print("without the zero rows:", masked, "of", len(kept))  # noqa: T201
    assert (len(kept), masked) == (834, [147, 178, 130])
    assert (pole == 1).sum(axis=0).tolist() == [52, 52, 59]
    assert masked == [by_sets(sampled, column, kept, 187 // 4) for column in values[~zero].T]
