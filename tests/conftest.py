"""What every test shares: its surroundings, helpers by path, the small project and its finished run, a database server.

Test folders are no packages, so tests cannot import each other: what two folders need is a fixture here, or a file that
the fixture ``load_file`` gives.
"""

import importlib.util
import itertools
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from hypothesis import settings

# A slow machine is not a wrong result, and CI must say the same of the same commit twice.
settings.register_profile("repository", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("repository")

# A suite that a shell started in the background inherits an ignored Ctrl-C, and so would every program that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("SCREEN_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def no_fsync_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Durability is tested in processes of their own; here it would only be slow. Undone after each test."""
    from hyposcreen.agent.ledger import connection

    quick = tuple(p.replace("synchronous = FULL", "synchronous = OFF") for p in connection._WRITER_PRAGMAS)
    monkeypatch.setattr(connection, "_WRITER_PRAGMAS", quick)


@pytest.fixture(scope="session")
def load_file() -> Callable[[str], ModuleType]:
    """A file of the repository as a module, once a process: ``load_file("tests/llm/scripted_server.py")``."""

    def once(path: str) -> ModuleType:
        name = f"hyposcreen_{path.removesuffix('.py').replace('/', '_')}"
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, ROOT / path)
            assert spec is not None and spec.loader is not None
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        return sys.modules[name]

    return once


@pytest.fixture(scope="session")
def small(load_file: Callable[[str], ModuleType]) -> ModuleType:
    """Makes small projects and runs them."""
    return load_file("tests/agent/small.py")


@pytest.fixture(scope="session")
def finished(small: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished run of the small project; read only."""
    return small.finished_run(lambda: tmp_path_factory.mktemp("finished"))


@pytest.fixture
def copied(finished: Any, tmp_path: Path) -> Path:
    """The folder of the finished run, copied to be changed."""
    return Path(shutil.copytree(finished.project.folder, tmp_path / "copy"))


@pytest.fixture
def without_run(small: ModuleType, tmp_path: Path) -> Callable[..., Path]:
    """Copies a working folder, its run left out, and sets it anew: ``without_run(folder, "a", seed=6)``."""

    def make(template: Path, name: str, **changes: Any) -> Path:
        run = shutil.ignore_patterns("runs.db*", "report.html")
        return Path(small.write_settings(Path(shutil.copytree(template, tmp_path / name, ignore=run)), **changes))

    return make


@pytest.fixture
def fresh(finished: Any, small: ModuleType, without_run: Callable[..., Path]) -> Callable[..., Path]:
    """Makes working folders without a run: ``fresh("a", seed=6)``; ``only`` names the annotations it keeps."""

    def make(name: str, only: Sequence[str] = (), **changes: Any) -> Path:
        folder = without_run(finished.project.folder, name, **changes)
        if only:
            small.write_annotations(folder / "labels", [a for a in small.demo_annotations() if a.name in only])
        return folder

    return make


class Called(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def call(
    small: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Called]:
    """``screen ARGUMENTS`` in this process, without worker processes."""
    from hyposcreen.agent import session
    from hyposcreen.cli import main

    monkeypatch.setattr(session, "open_executor", lambda *_: small.in_process())

    def run(*arguments: Any) -> Called:
        code = 0
        try:
            main([str(a) for a in arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return Called(code, said.out, said.err)

    return run


@pytest.fixture(scope="session")
def server(load_file: Callable[[str], ModuleType]) -> ModuleType:
    """A language model's server on loopback that says what a test has it say; the file explains."""
    return load_file("tests/llm/scripted_server.py")


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits for a model are noted, not waited for; its key is known, so that a test can look for it everywhere."""
    from hyposcreen.agent.llm import openai_chat

    waited: list[float] = []
    monkeypatch.setattr(openai_chat, "_pause", waited.append)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    return waited


@pytest.fixture
def ask(fresh: Callable[..., Path], small: ModuleType) -> Callable[..., Any]:
    """``ask(folder name, server, settings…)``: a whole run whose proposer is the model at ``server``; gives its ledger."""
    from hyposcreen.agent.ledger.store import Ledger

    def run(name: str, scripted: Any, **changes: Any) -> Any:
        model = {"proposer": "openai", "model": "m", "base_url": scripted.url, "iterations": 2}
        folder = fresh(name, **(model | changes))
        small.run_campaign_in_process(folder)
        return Ledger.open_readonly(folder / "runs.db")

    return run


@pytest.fixture(scope="session")
def database_server(load_file: Callable[[str], ModuleType]) -> Iterator[str]:
    """The address of a PostgreSQL server of the tests' own; where there is none, the test is skipped with the reason."""
    postgres = load_file("tests/ledger/postgres.py")
    try:
        with postgres.server() as address:
            yield address
    except postgres.NoServerError as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def new_schema(database_server: str, load_file: Callable[[str], ModuleType]) -> Callable[[], str]:
    """The address of a new, empty schema on the server, another with each call."""
    postgres, numbers = load_file("tests/ledger/postgres.py"), itertools.count(1)
    return lambda: str(postgres.schema_on(database_server, f"schema{next(numbers)}"))
