"""Logarithm and exponential made of IEEE + − × ÷ and powers of two only, so every machine gives the same bits.

The ones of a C library differ in the last bit between machines. These are within 3 units in the last place of the true
value, which is as good for a statistic, and element by element, so neither order nor chunks matter.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

_LN2 = 0.6931471805599453
_LN2_HIGH = 0.693147180369123816490
"""ln 2 with its low 32 bits zero, so that k · _LN2_HIGH is exact for |k| < 2¹⁶."""
_LN2_LOW = 1.90821492927058770002e-10
_SQRT_HALF = 0.7071067811865476
_LOG_TERMS = 12
_EXP_TERMS = 15
_EXP_LIMIT = 700.0


def log(values: ArrayLike) -> NDArray[np.float64]:
    """Natural logarithm of positive finite float64 numbers, same shape. ``ValueError`` for any other number.

    x = m · 2ᵉ with m in [√½, √2), and ln m = 2·artanh((m − 1) / (m + 1)) as its power series.
    """
    x = np.asarray(values, dtype=np.float64)
    if not ((x > 0) & (x < np.inf)).all():
        raise ValueError("a logarithm needs positive finite numbers")
    m, e = np.frexp(x)
    low = m < _SQRT_HALF
    m, e = np.where(low, 2 * m, m), np.where(low, e - 1, e)
    f = (m - 1) / (m + 1)
    z = f * f
    series = np.zeros_like(f)
    for term in range(_LOG_TERMS, 0, -1):
        series = (series + 1 / (2 * term + 1)) * z
    return np.asarray(e * _LN2_HIGH + (2 * f + (2 * f * series + e * _LN2_LOW)))


def exp(values: ArrayLike) -> NDArray[np.float64]:
    """eˣ for |x| ≤ 700, float64, same shape. ``ValueError`` beyond.

    x = k · ln 2 + r with |r| ≤ ½·ln 2, and eʳ as its power series.
    """
    x = np.asarray(values, dtype=np.float64)
    if not (np.abs(x) <= _EXP_LIMIT).all():
        raise ValueError(f"an exponential needs numbers within ±{_EXP_LIMIT:.0f}")
    k = np.rint(x / _LN2)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    series = np.ones_like(r)
    for term in range(_EXP_TERMS, 0, -1):
        series = 1 + r * series / term
    return np.asarray(np.ldexp(series, k.astype(np.int64)))
