"""kill -9 between every two steps, twice, on both databases; see ``sweep.py``."""

import itertools
import multiprocessing
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hyposcreen.agent import session
from hyposcreen.agent.ledger import failpoints
from hyposcreen.agent.ledger import records as r
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.ledger.verify import verify


@dataclass(frozen=True)
class Undisturbed:
    """A run without an accident."""

    folder: Path
    content_hash: str
    rows: int
    visits: Any


@pytest.fixture(scope="session")
def sweep(load_file: Callable[[str], ModuleType]) -> ModuleType:
    return load_file("tests/agent/sweep.py")


@pytest.fixture(scope="module")
def whole(small: Any, sweep: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Also warms this process, of which every run of the sweep is a fork."""
    kept = [a for a in small.demo_annotations() if a.name in sweep.ONLY]
    folder = small.make_project_folder(tmp_path_factory.mktemp("whole") / "p", kept, **sweep.SETTINGS)
    template = shutil.copytree(folder, folder.with_name("template"))
    (template / "screen.toml").rename(template / "settings")
    visits = sweep.visits_of(lambda: small.run_campaign_in_process(folder))
    with Ledger.open_readonly(folder / "runs.db") as ledger:
        return Undisturbed(template, ledger.head().content_hash, len(ledger.rows(views=False)), visits)


@pytest.fixture
def fresh_folder(whole: Undisturbed, tmp_path: Path) -> Callable[..., Path]:
    numbers = itertools.count()

    def make(ledger: str = "") -> Path:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        for path in whole.folder.iterdir():
            (folder / path.name).symlink_to(path)
        settings = (whole.folder / "settings").read_text(encoding="utf-8")
        (folder / "settings").unlink()
        (folder / "screen.toml").write_text(f'{settings}ledger = "{ledger}"\n', encoding="utf-8")
        return folder

    return make


def campaign(small: Any, folder: Path, case: Any) -> Callable[[], Any]:
    """The run of a case. Only the place after the report needs the report, which makes half of the time of a small run."""

    def run() -> Any:
        with pytest.MonkeyPatch.context() as patch:
            if case.point != "report.written":
                patch.setattr(session, "write_report_of", lambda _, path, *__: path)
            return small.run_campaign_in_process(folder)

    return run


def test_an_unknown_place_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no failpoint 'nowhere'"):
        failpoints.arm("nowhere:1")
    failpoints.arm(None)


def test_a_run_comes_by_every_place(whole: Undisturbed) -> None:
    assert whole.rows == 4
    missing = set(failpoints.POINTS) - set(whole.visits)
    assert missing == {"config.written"}, "the settings of this run were there already; see the test below"


def test_sqlite(whole: Undisturbed, small: Any, sweep: ModuleType, fresh_folder: Any) -> None:
    done = []
    for case in sweep.cases(whole.visits.__getitem__):
        if case.point == "config.written":
            continue
        folder = fresh_folder()
        run = campaign(small, folder, case)
        done.append(sweep.sweep(case, folder / "runs.db", run, whole.content_hash, whole.rows))
    assert len(done) >= len(failpoints.POINTS)
    assert {(c.point, c.visit): c.violations for c in done if c.violations} == {}


def test_postgresql(
    whole: Undisturbed, small: Any, sweep: ModuleType, fresh_folder: Any, new_schema: Callable[[], str]
) -> None:
    done = []
    for case in sweep.cases(whole.visits.__getitem__):
        if case.point == "config.written":
            continue
        place = new_schema()
        folder = fresh_folder(place)
        run = campaign(small, folder, case)
        done.append(sweep.sweep(case, place, run, whole.content_hash, whole.rows))
    assert {(c.point, c.visit): c.violations for c in done if c.violations} == {}


def test_runners_that_start_together_share_one_run(
    whole: Undisturbed, small: Any, fresh_folder: Any, new_schema: Callable[[], str]
) -> None:
    """Three processes, one empty place: every row is tested once, and the content is that of a single runner."""
    place = new_schema()
    folders = [fresh_folder(place) for _ in range(3)]
    context = multiprocessing.get_context("fork")
    runners = [context.Process(target=small.run_campaign_in_process, args=(folder,)) for folder in folders]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()
    assert [runner.exitcode for runner in runners] == [0, 0, 0]
    with Ledger.open_readonly(place) as ledger:
        assert ledger.head().content_hash == whole.content_hash
        attempts = Counter(a.id for a in ledger.records(r.AttemptStarted))
        results = Counter(t.id for t in ledger.records(r.Tested))
    assert len(results) == whole.rows and set(results.values()) == {1}
    assert set(attempts.values()) == {1}, "nobody tested what another one was testing"
    assert verify(place).ok


def test_settings_are_whole_or_not_there(small: Any, sweep: ModuleType, whole: Undisturbed, tmp_path: Path) -> None:
    """A first run writes its settings; a kill right after that leaves a folder that goes on as the same run."""
    folder = tmp_path / "first"
    folder.mkdir()
    for path in whole.folder.iterdir():
        if path.name != "settings":
            (folder / path.name).symlink_to(path)
    flags = {"cache": "small", "annotations": "labels", "seed": 5, "iterations": 1}
    run = lambda: small.run_campaign_in_process(folder, **flags)  # noqa: E731
    assert sweep._in_child(run, "config.written:1") == -9
    assert "seed = 5" in (folder / "screen.toml").read_text(encoding="utf-8")
    assert sweep._in_child(run, None) == 0
    assert sweep._hashes(folder / "runs.db")
