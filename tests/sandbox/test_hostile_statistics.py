"""Seven statistics, six hostile, where there is nothing to find; and the control that shows what the protocol prevents.

``benchmarks/hostile_statistics.py`` prints the table over 2,000 worlds; here are a few hundred.
"""

from typing import Any

from hyposcreen.agent.sandbox.statistics import StatisticSandbox

WORLDS = 150


def behind(sandbox: StatisticSandbox) -> Any:
    def run(code: str, embedding: Any, labels: Any) -> Any:
        found = sandbox.run(code, embedding, labels)
        return found.end, found.values

    return run


def test_blinding_alone_keeps_every_statistic_at_its_rate_and_the_checks_never_raise_it(hostile: Any) -> None:
    for name, code in hostile.STATISTICS.items():
        found = [hostile.blinded(code, hostile.world(w)) for w in range(WORLDS)]
        for rate in (sum(f.by_blinding <= hostile.ALPHA for f in found), sum(f.p <= hostile.ALPHA for f in found)):
            assert rate / WORLDS <= hostile.bound(WORLDS), name


def test_what_only_answers_by_place_clock_or_order_is_named(hostile: Any) -> None:
    one = hostile.world(5)
    assert {name: hostile.blinded(code, one).outcome for name, code in hostile.STATISTICS.items()} == {
        "honest: distance of means": "ok",
        "call counter": "nondeterministic",
        "hash of the labels": "order_dependent",
        "state across calls": "nondeterministic",
        "time": "nondeterministic",
        "order of rows": "order_dependent",
        "memory of earlier values": "order_dependent",
    }


def test_without_blinding_the_cheats_reach_the_smallest_p_in_every_world(hostile: Any) -> None:
    """The control of the harness: what cannot fail here could not be caught above."""
    for name in ("call counter", "state across calls", "time"):
        assert all(hostile.unblinded(hostile.STATISTICS[name], hostile.world(w)) == 0.01 for w in range(20)), name
    honest = hostile.STATISTICS["honest: distance of means"]
    assert sum(hostile.unblinded(honest, hostile.world(w)) <= 0.05 for w in range(WORLDS)) / WORLDS <= hostile.bound(
        WORLDS
    )


def test_a_boundary_changes_neither_outcome_nor_p(hostile: Any, sandbox: StatisticSandbox) -> None:
    for name, code in hostile.STATISTICS.items():
        for number in range(2):
            here, there = (hostile.blinded(code, hostile.world(number), *run) for run in ((), (behind(sandbox),)))
            assert (here.outcome, here.p) == (there.outcome, there.p), name


def test_a_planted_signal_is_found_at_the_smallest_p_through_the_sandbox(
    hostile: Any, sandbox: StatisticSandbox
) -> None:
    planted = hostile.world(3, planted=1.5)
    found = hostile.blinded(hostile.STATISTICS["honest: distance of means"], planted, behind(sandbox))
    assert (found.outcome, found.p) == ("ok", 1 / (hostile.M + 1))
    assert hostile.blinded(hostile.STATISTICS["honest: distance of means"], hostile.world(3)).p > 0.01
