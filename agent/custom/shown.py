"""What a proposer may be told of a model's statistic on real data: how it ended, and in which of five classes its p lies.

One exact number would be enough to fake the next p. A first code returns a hash of each labelling it is sent; its observed
value, or its rank among the draws, then names the observed labelling to a second code, which answers large for it and passes
every check (``tests/sandbox/test_feedback.py`` plays it). A class of p tells such a code less than one bit. People read all
numbers in the ledger and on the page, which no prompt is made of.
"""

CLASSES = (0.001, 0.01, 0.05, 0.2, 1.0)
"""Upper ends."""


def shown_p(p: float) -> float:
    """The upper end of the class of ``p``."""
    return next(end for end in CLASSES if p <= end)
