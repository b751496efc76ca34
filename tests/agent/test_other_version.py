"""A run that another version opened: its numbers may differ, so it is not continued unnoticed."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hyposcreen.agent import orchestrator
from hyposcreen.agent.errors import Exit, UserError
from hyposcreen.agent.ledger.store import Ledger
from hyposcreen.agent.orchestrator import open_run


def test_an_unfinished_run_of_another_version_is_refused(
    finished: Any, fresh: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fresh("older")
    ledger = Ledger.create(folder / "runs.db")
    plan = open_run(finished.project, ledger)
    before = ledger.head()
    monkeypatch.setattr(orchestrator, "__version__", "99.0")
    with pytest.raises(UserError, match=f"opened by hyposcreen {plan.version}.*99.0") as refused:
        open_run(finished.project, ledger)
    assert refused.value.code is Exit.INPUTS
    assert ledger.head() == before


def test_a_finished_one_opens(finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = Path(shutil.copytree(finished.project.folder, tmp_path / "copy"))
    monkeypatch.setattr(orchestrator, "__version__", "99.0")
    assert open_run(finished.project, Ledger.open(copy / "runs.db")).seed == finished.project.config.seed
