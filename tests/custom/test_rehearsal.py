"""Every way in which a statistic is broken or hostile has its end in rehearsal, and the host is as it was."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from hyposcreen.agent.custom.bench import CodeBench, run_blinded
from hyposcreen.agent.custom.fixtures import Shape, fixtures
from hyposcreen.agent.custom.rehearsal import told
from hyposcreen.agent.llm.repair import MAX_REPAIRS, code_in, rehearsed
from hyposcreen.agent.sandbox.statistics import Bounds

M = 59


@pytest.fixture(scope="module")
def bench() -> Iterator[CodeBench]:
    one = CodeBench("auto", Bounds(4.0, 4, 512 << 20))
    if one.unavailable:
        pytest.skip(one.unavailable)
    yield one
    one.close()


def tried(bench: CodeBench, code: str, planted: bool = True) -> tuple[str, int, str]:
    fixture = fixtures(Shape(120, 8, 15), M)[0 if planted else 1]
    bounds = bench.bounds(M)
    end, _, judged, said = run_blinded(bench.run, code, fixture.embedding, fixture.plan, bounds)
    return end, M if judged is None else judged.k, said


def test_honest_statistics_pass_and_some_see_what_is_planted(bench: CodeBench, statistics: ModuleType) -> None:
    found = {name: tried(bench, code) for name, code in statistics.HONEST.items()}
    assert {end for end, _, _ in found.values()} == {"ok"}
    assert found["distance of means"][1] == found["spread"][1] == 0


def test_broken_and_hostile_statistics_end_as_typed_and_touch_nothing(
    bench: CodeBench, statistics: ModuleType, host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-a-key-of-the-parent")
    for name, bad in statistics.BAD.items():
        end, _, said = tried(bench, host.aimed(bad.code))
        assert end in bad.ends, f"{name} ended as {end}: {said[-300:]}"
        assert "key-of-the-parent" not in said and "canary sings" not in said, name
    assert host.harm() == []


@pytest.mark.parametrize("name", ["write files", "remove files", "network"])
def test_without_a_boundary_the_same_code_does_its_harm(statistics: ModuleType, host: Any, name: str) -> None:
    """The control: what the test above would see."""
    exec(host.aimed(statistics.BAD[name].code), {})
    assert host.harm()


def test_what_stays_broken_is_refused_after_three_repairs() -> None:
    class Never:
        """A rehearser whose code always breaks."""

        def refusal(self, _: Any) -> None:
            return None

        def rehearse(self, p: Any) -> Any:
            from hyposcreen.agent.custom.rehearsal import Rehearsal, Trial

            return Rehearsal(p.sha256, (Trial("made-up data", "exception", M, M, "Traceback"),))

    from hyposcreen.agent.custom.proposal import CodeProposal

    said = CodeProposal("custom_statistic", "a", "L1", "all", "c", 0.1, "either", "r", "cover", code="x = 1")
    asked: list[dict[str, Any]] = []

    def ask(values: dict[str, Any]) -> str:
        asked.append(values)
        return "no JSON" if len(asked) == 2 else '{"code": "x = 2"}'

    done = rehearsed(Never(), said, ask)  # type: ignore[arg-type]
    assert done.refusal is not None and done.refusal.reason == "rehearsal:exception"
    assert len(asked) == MAX_REPAIRS and [v["left"] for v in asked] == [2, 1, 0]


def test_what_a_model_is_told_is_bounded_and_the_same_on_every_machine() -> None:
    text = 'File "/home/someone/hyposcreen/foreign.py", line 3\n<object at 0x7f11223344ab>\n' + "x" * 90_000 + "the end"
    said = told(text)
    assert 'File "foreign.py", line 3' in said and "0x…" in said and said.endswith("the end")
    assert len(said) < 7000 and "/home" not in said
    assert code_in('{"code": "\\ud800"}') is None and code_in('{"code": ""}') is None and code_in("[]") is None
