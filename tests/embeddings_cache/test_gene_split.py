"""The held-out split keeps relatives together, halves alike, and is the same everywhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyposcreen.embeddings_cache import CacheError, gene_families, plan_split, split_digest, split_genes


def families_of(*symbols):
    return dict(zip(symbols, gene_families(symbols), strict=True))


@pytest.mark.parametrize(
    ("label", "members"),
    [
        ("HLA", ["HLA-A", "HLA-DRB1", "HLA-DQA2"]),
        ("ribosomal", ["RPL10A", "RPS4X", "RPS4Y1", "RPLP0", "RPSA", "RPL36AL", "RPS27L"]),
        ("mitochondrial ribosomal", ["MRPL9", "MRPS21"]),
        ("mitochondrial", ["MT-ND1", "MT-CO2"]),
        ("histone", ["HIST1H4C", "H2AFZ", "H1FX", "H3C2", "H2BC5", "H4-16"]),
        ("keratin", ["KRT5", "KRT14", "KRT6A"]),
        ("immunoglobulin", ["IGHG1", "IGHM", "IGKC", "IGLC2", "IGLL5", "IGHV3-23", "JCHAIN"]),
        ("T-cell receptor", ["TRAC", "TRBC1", "TRGC2", "TRDC", "TRAV1-2", "TRDV2"]),
        ("CD3", ["CD3D", "CD3E", "CD3G", "CD247"]),
        ("CD79", ["CD79A", "CD79B"]),
        ("CD1", ["CD1C", "CD1E"]),
        ("CD8", ["CD8A", "CD8B"]),
        ("S100", ["S100A8", "S100B", "S100P"]),
        ("granzyme", ["GZMA", "GZMK"]),
        ("proteasome", ["PSMA7", "PSMB2", "PSMD13"]),
        ("chemokine", ["CCL5", "CXCL8", "XCL1", "PF4"]),
        ("interferon-induced", ["IFIT1", "IFITM3", "ISG15", "MX1", "OASL"]),
    ],
)
def test_named_families(label, members):
    assert set(gene_families(members)) == {label}


@pytest.mark.parametrize(
    "outsider",
    ["RPS6KA1", "IGHMBP2", "TRADD", "TRAF2", "CD4", "CD19", "CD14", "CD300A", "KRTCAP2", "MTOR", "H19", "PSMG"],
)
def test_look_alikes_stay_outside_named_families(outsider):
    crowd = ["RPS6", "IGHM", "TRAC", "CD3D", "CD79A", "CD1C", "CD8A", "KRT5", "MT-ND1", "HIST1H4C", "PSMA1"]
    assert families_of(outsider, *crowd)[outsider] == outsider


def test_paralogs_by_stem():
    found = families_of("IRF7", "IRF8", "JUN", "JUNB", "JUND", "SLC25A5", "SLC25A6", "SLC2A3", "TMEM176A", "TMEM176B")
    assert found["IRF7"] == found["IRF8"] == "IRF7~"
    assert found["JUN"] == found["JUNB"] == found["JUND"]
    assert found["SLC25A5"] == found["SLC25A6"] != found["SLC2A3"]
    assert found["TMEM176A"] == found["TMEM176B"]


def test_numbers_that_mean_nothing_do_not_join_genes():
    strangers = ["CD4", "CD14", "CD27", "IL7R", "IL32", "TMEM14", "TMEM66", "LINC00926", "LINC00152", "FAM3C", "FAM26F"]
    assert gene_families(strangers) == tuple(strangers)


def test_case_of_the_species_does_not_matter():
    assert families_of("Irf7", "Irf8")["Irf7"] == families_of("Irf7", "Irf8")["Irf8"]
    assert gene_families(["mt-Nd1"]) == ("mitochondrial",)


def made_up(n_families, sizes, seed=0):
    """Genes whose families are known from how they were made, with covariates that families do not explain."""
    # Four-letter stems that no named family and no other stem can match.
    stems = ["Q" + chr(65 + i // 26) + chr(65 + i % 26) + "Q" for i in range(n_families)]
    symbols = [f"{stem}{k + 1}" for stem, size in zip(stems, sizes, strict=True) for k in range(size)]
    rng = np.random.default_rng(seed)
    expression = rng.gamma(1.0, 1.0, len(symbols))
    return symbols, expression, np.clip(expression / 5, 0, 1), rng.poisson(2.0, len(symbols))


def split(symbols, expression, detection, annotations, seed=0, *, usable=None, **options):
    usable = np.ones(len(symbols), dtype=bool) if usable is None else usable
    return plan_split(
        symbols,
        usable,
        mean_expression=expression,
        detection=detection,
        annotation_count=annotations,
        seed=seed,
        **options,
    )


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(1, 6), min_size=70, max_size=120), seed=st.integers(0, 2**64), data=st.data())
def test_families_stay_whole_and_halves_stay_even(sizes, seed, data):
    genes = made_up(len(sizes), sizes)
    usable = np.array(data.draw(st.lists(st.booleans(), min_size=len(genes[0]), max_size=len(genes[0]))))
    usable[:60] = True
    planned = split(*genes, seed=seed, usable=usable)
    assert planned.notes == ()
    assert ((planned.side == -1) == ~usable).all()
    sides = {}
    for symbol, side in zip(genes[0], planned.side, strict=True):
        if side >= 0:
            sides.setdefault(symbol[:4], set()).add(int(side))
    assert all(len(both) == 1 for both in sides.values())
    assert abs(int((planned.side == 0).sum()) - int((planned.side == 1).sum())) <= max(6, 0.1 * usable.sum())


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), shuffle=st.randoms(use_true_random=False))
def test_order_of_genes_does_not_matter(seed, shuffle):
    symbols, expression, detection, annotations = made_up(80, [1, 2, 3, 1] * 20)
    order = list(range(len(symbols)))
    shuffle.shuffle(order)
    straight = split(symbols, expression, detection, annotations, seed)
    mixed = split([symbols[i] for i in order], expression[order], detection[order], annotations[order], seed)
    assert list(mixed.side) == [straight.side[i] for i in order]
    assert split_digest(mixed.side, [symbols[i] for i in order]) == split_digest(straight.side, symbols)


def test_known_split_never_changes():
    """A change of this digest re-seals genes that were looked at: it needs a new version of the split."""
    symbols, _, _, _ = made_up(40, [1, 2] * 20)
    number = np.arange(len(symbols))
    side = split_genes(symbols, number >= 0, number * 0.5, (number % 7) / 7, number % 3, 11)
    assert (int((side == 0).sum()), int((side == 1).sum())) == (30, 30)
    assert split_digest(side, symbols) == "697581337bbacce7601b4e212f8a05618d6824544ccbb851b812c9714b73978a"


def test_another_seed_gives_another_split():
    genes = made_up(100, [1] * 100)
    splits = {tuple(split(*genes, seed=seed).side) for seed in range(20)}
    assert len(splits) == 20


def test_no_gene_is_bound_to_a_side():
    genes = made_up(60, [1] * 60)
    explored = np.mean([split(*genes, seed=seed).side == 0 for seed in range(200)], axis=0)
    assert explored.min() > 0.3 and explored.max() < 0.7


def test_halves_are_alike_in_every_covariate():
    from scipy.stats import ks_2samp

    genes = made_up(300, [1, 2, 1, 4] * 75)
    for seed in range(5):
        side = split(*genes, seed=seed).side
        for covariate in genes[1:]:
            assert ks_2samp(covariate[side == 0], covariate[side == 1], method="asymp").statistic < 0.09


def test_complexes_are_joined_with_the_families_of_their_members():
    symbols, *covariates = made_up(60, [3] * 60)
    bridges = [(symbols[0], symbols[3]), (symbols[4], symbols[6], "NOT-MEASURED")]
    for seed in range(10):
        side = split(symbols, *covariates, seed=seed, extra_blocks=bridges).side
        assert len(set(side[:9])) == 1


def test_overgrown_block_is_broken_into_families_and_said():
    symbols, *covariates = made_up(30, [2] * 30)
    planned = split(symbols, *covariates, extra_blocks=[symbols[:20]])
    assert planned.notes == (f"the block of {min(symbols[:20])} holds 20 of 60 genes and was broken into families.",)
    assert set(planned.side[:20]) == {0, 1}
    assert all(planned.side[i] == planned.side[i + 1] for i in range(0, 60, 2))


def test_overgrown_family_is_dealt_singly_and_said():
    symbols, *covariates = made_up(31, [20] + [1] * 30)
    planned = split(symbols, *covariates)
    assert planned.notes == (f"family {symbols[0]}~ holds 20 of 50 genes and was dealt singly.",)
    assert 6 <= (planned.side[:20] == 0).sum() <= 14


def test_bad_input_is_named():
    symbols, expression, detection, annotations = made_up(4, [1] * 4)
    with pytest.raises(CacheError, match="'detection' has 3 entries for 4 genes"):
        split(symbols, expression, detection[:3], annotations)
    with pytest.raises(CacheError, match="not unique"):
        split([symbols[0], *symbols[:3]], expression, detection, annotations)
    expression[2] = np.nan
    with pytest.raises(CacheError, match=f"'mean_expression' of gene '{symbols[2]}' is not finite"):
        split(symbols, expression, detection, annotations)
    assert split(symbols, expression, detection, annotations, usable=np.array([1, 1, 0, 1], dtype=bool)).side[2] == -1
