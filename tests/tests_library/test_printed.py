"""The columns for the eye have the bits of statsmodels, with ties, ones and any number of rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from hyposcreen.tests_library.printed import printed_columns

METHODS = {"bh": "fdr_bh", "by": "fdr_by", "holm": "holm"}


def as_statsmodels_has_it(p):
    return {name: multipletests(p, method=method)[1].tolist() for name, method in METHODS.items()}


def test_by_hand():
    p = [0.001, 0.02, 0.02, 0.5, 1.0, 1e-4]
    got = printed_columns(p)
    assert got["bh"] == pytest.approx([0.003, 0.03, 0.03, 0.6, 1.0, 6e-4])  # 6 · p / rank, monotone from the right
    assert got["by"] == pytest.approx([min(1.0, q * 2.45) for q in got["bh"]])  # 1 + 1/2 + … + 1/6 = 2.45
    assert got["holm"] == pytest.approx([0.005, 0.08, 0.08, 1.0, 1.0, 6e-4])
    assert printed_columns([]) == {"bh": [], "by": [], "holm": []}


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=60))
def test_the_same_bits_for_permutation_p_values_and_their_ties(k):
    p = [(value + 1) / 2001 for value in k]
    assert printed_columns(p) == as_statsmodels_has_it(p)


def test_the_same_bits_for_many_rows():
    p = ((np.random.default_rng(0).integers(0, 2000, 20_000) ** 2 // 2000 + 1) / 2001).tolist()
    assert printed_columns(p) == as_statsmodels_has_it(p)


@pytest.mark.parametrize("bad", [0, 0.0, float("nan"), 1.0000001, -0.1, float("inf")])
def test_what_is_no_p_value_is_refused(bad):
    with pytest.raises(ValueError, match=str(bad)):
        printed_columns([0.5, bad])
