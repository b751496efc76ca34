"""Normal numbers and elementary functions: right values, and the same bits however they are asked for."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hyposcreen.tests_library.engine.elementary import exp, log
from hyposcreen.tests_library.engine.normals import normals
from hyposcreen.tests_library.engine.philox import philox

KEY = (0x12345678, 0x9ABCDEF0)


def units_off(got: np.ndarray, exact: np.ndarray) -> float:
    return float((np.abs(got - exact) / np.spacing(np.abs(exact.astype(np.float64)))).max())


def test_log_and_exp_are_within_three_units_in_the_last_place():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.random(20_000), 2.0 ** rng.uniform(-1000, 1000, 20_000), 1 + rng.normal(0, 1e-9, 2_000)])
    assert units_off(log(x), np.log(x.astype(np.longdouble))) < 3
    y = np.concatenate([rng.uniform(-700, 700, 20_000), rng.uniform(-1, 1, 20_000)])
    assert units_off(exp(y), np.exp(y.astype(np.longdouble))) < 3
    assert log(1.0) == 0
    assert exp(0.0) == 1


@pytest.mark.parametrize("bad", [0.0, -1.0, np.inf, np.nan])
def test_log_refuses_what_has_no_logarithm(bad):
    with pytest.raises(ValueError, match="positive"):
        log([1.0, bad])


def test_exp_refuses_what_would_overflow():
    with pytest.raises(ValueError, match="700"):
        exp([0.0, np.nan])


def test_normals_are_normal_and_neighbours_are_independent():
    z = normals(KEY, 3, 200_000)
    assert stats.kstest(z, "norm").pvalue > 1e-3
    assert abs(z.mean()) < 4 / np.sqrt(len(z))
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / len(z))
    assert abs(stats.kurtosis(z)) < 4 * np.sqrt(24 / len(z))
    for lag in (1, 2, 3, 4):
        assert abs(np.corrcoef(z[:-lag], z[lag:])[0, 1]) < 4 / np.sqrt(len(z))
    assert abs(np.corrcoef(z, normals(KEY, 4, len(z)))[0, 1]) < 4 / np.sqrt(len(z))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 2**32 - 1))
def test_a_number_depends_on_key_draw_and_position_alone(short, more, draw):
    assert (normals(KEY, draw, short + more)[:short] == normals(KEY, draw, short)).all()


def test_a_number_is_what_its_own_counter_says():
    """The polar method in plain Python, one pair at a time, to the last bit but for the logarithm's."""
    got = normals(KEY, 9, 40)
    for pair in range(20):
        attempt = 0
        while True:
            words = philox((pair // 2, 9, attempt, 1), KEY)[2 * (pair % 2) :][:2]
            u, v = (((w >> 1) * 2 + 1 - 2**31) / 2**31 for w in words)
            if u * u + v * v < 1:
                break
            attempt += 1
        s = u * u + v * v
        radius = (-2 * np.log(s) / s) ** 0.5
        np.testing.assert_allclose(got[2 * pair : 2 * pair + 2], [u * radius, v * radius], rtol=1e-12)


def test_the_bits_are_pinned():
    """Any change of these bits changes published numbers."""
    digest = hashlib.sha256(normals(KEY, 1, 1001).astype("<f8").tobytes()).hexdigest()
    assert digest == "774a555b024989bb796f97b402055f1ee263aeed26ce4f81a2e1ffaf89ff5269"


def test_draws_and_keys_differ_and_nonsense_is_refused():
    base = normals(KEY, 1, 64)
    assert not np.isin(base, normals(KEY, 2, 64)).any()
    assert not np.isin(base, normals((KEY[0], KEY[1] ^ 1), 1, 64)).any()
    assert len(normals(KEY, 1, 0)) == 0
    for draw, count in ((-1, 3), (2**32, 3), (1, -1)):
        with pytest.raises(ValueError, match="must lie"):
            normals(KEY, draw, count)
