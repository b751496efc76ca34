"""Priors against outcomes: an oracle, the coverage of the intervals, and where the page and the command show them."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hyposcreen.agent.ledger.records import Row
from hyposcreen.agent.report.proposers import (
    FEWEST,
    between_proposers,
    brier,
    compare,
    jackknife,
    reliability,
    score,
    scores,
)
from hyposcreen.agent.report.render import render_report


@pytest.fixture
def said(data_of: Callable[..., Any]) -> Callable[..., Row]:
    """``said(prior, confirmed, annotation, proposer)``: a tested row."""
    example = data_of(1).rows[0]

    def make(prior: float, confirmed: bool, annotation: str = "a", proposer: str = "openai", **changes: Any) -> Row:
        verdict = "confirmed" if confirmed else "screened"
        return replace(
            example, prior=prior, verdict=verdict, annotation=annotation, proposer=proposer, p_scan=0.5, **changes
        )

    return make


def test_the_score_is_that_of_another_library(said: Any) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    draw = random.Random(1)
    rows = [said(draw.random(), draw.random() < 0.3, f"a{draw.randrange(9)}") for _ in range(200)]
    truth, priors = [row.verdict == "confirmed" for row in rows], [row.prior for row in rows]
    assert brier(rows) == pytest.approx(metrics.brier_score_loss(truth, priors), abs=1e-12)
    found = score("openai", rows)
    share = sum(truth) / len(truth)
    constant = metrics.brier_score_loss(truth, [share] * len(truth))
    assert found.constant == pytest.approx(constant, abs=1e-12)
    assert sum(b.n for b in found.bins) == 200 and sum(b.confirmed for b in found.bins) == sum(truth)
    assert all(
        b.low <= b.mean_prior <= b.high and b.interval[0] <= b.confirmed / b.n <= b.interval[1] for b in found.bins
    )


def test_the_interval_is_the_textbook_one_where_clusters_are_of_one_size(said: Any) -> None:
    from scipy.stats import t

    draw = random.Random(2)
    rows = [said(draw.random(), draw.random() < 0.5, f"a{g}") for g in range(12) for _ in range(4)]
    means = [brier(rows[4 * g : 4 * g + 4]) for g in range(12)]
    mean = sum(means) / 12
    error = math.sqrt(sum((m - mean) ** 2 for m in means) / 11 / 12)
    half = t.ppf(0.975, 11) * error
    found = jackknife([rows], lambda parts: brier(parts[0]), (0.0, 1.0))
    assert found == pytest.approx((mean - half, mean + half))


def test_the_interval_covers_where_rows_of_an_annotation_share_their_fate(said: Any) -> None:
    """600 worlds of 30 annotations, 1 to 5 rows each, half of whose outcomes are the annotation's own."""
    draw = random.Random(3)
    example = said(0.3, False)
    rows = {
        (g, hit): replace(example, annotation=f"a{g}", verdict="confirmed" if hit else "screened")
        for g in range(30)
        for hit in (0, 1)
    }
    truth = 0.25 * 0.7**2 + 0.75 * 0.3**2
    covered = 0
    for _ in range(600):
        world = []
        for g in range(30):
            fate = draw.random() < 0.25
            hits = [fate if draw.random() < 0.5 else draw.random() < 0.25 for _ in range(draw.randrange(1, 6))]
            world += [rows[g, hit] for hit in hits]
        low, high = jackknife([world], lambda parts: brier(parts[0]), (0.0, 1.0))  # type: ignore[misc]
        covered += low <= truth <= high
    assert 0.91 <= covered / 600 <= 0.98


def test_few_annotations_give_no_interval(said: Any) -> None:
    rows = [said(0.5, True, f"a{g}") for g in range(FEWEST - 1) for _ in range(20)]
    assert score("openai", rows).interval is None
    assert score("openai", [*rows, said(0.5, True, "one more")]).interval is not None
    with pytest.raises(ValueError, match="no row"):
        score("openai", [])


def test_what_could_not_be_tested_is_not_counted_and_proposers_are_told_apart(said: Any) -> None:
    rows = [
        said(0.9, True), replace(said(0.9, False), verdict="untestable"), replace(said(0.9, False), p_scan=None),
        said(0.1, False, proposer="offline"), replace(said(0.4, False), verdict="not_confirmed"),
    ]  # fmt: skip
    one, two = scores(rows)
    assert (one.proposer, one.n, one.confirmed, two.proposer, two.n) == ("openai", 2, 1, "offline", 1)
    assert one.brier == pytest.approx((0.1**2 + 0.4**2) / 2) and two.brier == pytest.approx(0.01)


def test_two_proposers_are_compared_over_as_many_rows(said: Any) -> None:
    good = [said(0.9 if g % 2 else 0.1, bool(g % 2), f"a{g}") for g in range(20)]
    bad = [said(0.5, bool(g % 2), f"a{g % 20}", "offline") for g in range(50)]
    found = compare(("openai", good), ("offline", bad))
    assert found is not None and found.n == 20 and found.confirmed == 0
    assert found.brier == pytest.approx(0.01 - 0.25)
    assert found.brier_interval is not None and found.brier_interval[1] < -0.2
    mirrored = compare(("offline", bad), ("openai", good))
    assert mirrored is not None and mirrored.brier == pytest.approx(-found.brier)
    assert compare(("openai", good), ("offline", [])) is None
    assert between_proposers([*good, *bad]) == found and between_proposers(good) is None


def test_priors_on_the_edge_have_a_bin(said: Any) -> None:
    assert [(b.low, b.n) for b in reliability([said(p, True) for p in (0.0, 0.2, 0.999, 1.0)])] == [
        (0.0, 1),
        (0.2, 1),
        (0.8, 2),
    ]


def test_the_page_shows_it_when_the_run_is_finished_and_not_before(data_of: Callable[..., Any]) -> None:
    done = data_of(60)
    page = render_report(done)
    assert "How well the proposer knew" in page and 'href="#proposers"' in page
    assert f"{scores(done.rows)[0].n}</td>" in page
    assert "How well the proposer knew" not in render_report(replace(done, complete=False))
    assert "How well the proposer knew" not in render_report(data_of(0))
