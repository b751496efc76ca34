"""The few numbers a null distribution is drawn from."""

import numpy as np

from hyposcreen.tests_library.sketch import BINS, sketch


def test_a_sketch_counts_the_draws_and_leaves_the_observed_out() -> None:
    maximum = np.concatenate([[9.0], np.arange(1, 41, dtype=np.float64)])
    found = sketch(maximum)
    assert (found["observed"], found["low"], found["high"]) == (9.0, 1.0, 40.0)
    assert found["counts"] == [2] * BINS


def test_draws_that_are_all_one_value_or_none_at_all_have_a_sketch() -> None:
    assert sum(sketch(np.array([2.0, 1.0, 1.0]))["counts"]) == 2
    assert sketch(np.array([-np.inf, -np.inf]))["counts"] == []
    assert sketch(np.array([-np.inf, -np.inf]))["observed"] is None
    assert sum(sketch(np.array([1.0, -np.inf, 3.0]))["counts"]) == 1
