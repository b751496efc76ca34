"""What a worker may read: libraries wherever they are, and no folder of work."""

import sys
from pathlib import Path

import pytest

from hyposcreen.agent.sandbox import readable


def test_libraries_of_another_environment_may_be_read_and_working_folders_may_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, work = tmp_path / "other" / "lib" / "site-packages", tmp_path / "work"
    elsewhere.mkdir(parents=True)
    work.mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(elsewhere), str(work)])
    for cached in (readable.libraries, readable.readable):
        monkeypatch.setattr(readable, cached.__name__, cached.__wrapped__)  # what was found before does not count here
    paths = readable.readable(package=False)
    assert str(elsewhere) in paths
    assert not any(Path(p) == work or Path(p) in work.parents for p in paths)
