"""Boundaries that a program builds: command lines, and the protocol with a stand-in for ``docker`` that runs the worker itself.

Real here: the arguments, the frames, the deaths, the comparison of installations. Not real: any containment. No daemon and no Mac
was at hand.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hyposcreen.agent.config import load_config
from hyposcreen.agent.errors import UserError
from hyposcreen.agent.project import Side, open_project
from hyposcreen.agent.sandbox.backends import LAUNCHING
from hyposcreen.agent.sandbox.backends.base import Launch
from hyposcreen.agent.sandbox.backends.seatbelt import profile
from hyposcreen.agent.sandbox.base import Job, Limits
from hyposcreen.agent.sandbox.choose import for_foreign_code, workers
from hyposcreen.agent.sandbox.launched import IMAGE, LaunchedSandbox, OtherWorkerError, difference
from hyposcreen.agent.sandbox.process import ProcessSandbox
from hyposcreen.agent.sandbox.selftest import examine

STAND_IN = f"""#!{sys.executable}
import json, os, sys
here, said = os.path.dirname(os.path.abspath(__file__)), sys.argv[1:]
with open(f"{{here}}/calls", "a") as calls:
    calls.write(json.dumps(said) + "\\n")
if said[0] == "kill":
    os.kill(int(open(f"{{here}}/{{said[1]}}").read()), 9)
    sys.exit()
image = said.index({IMAGE!r})
options, program = said[1:image], said[image + 1 :]
with open(f"{{here}}/{{options[options.index('--name') + 1]}}", "w") as file:
    file.write(str(os.getpid()))
given = [options[i + 1].split("=", 1) for i, word in enumerate(options) if word == "--env"]
assert program[0] == "python"
os.execve(sys.executable, [sys.executable, *program[1:]], dict(given) | EXTRA)
"""
SOME = Launch("hyposcreen-1", "/opt/py", ("-m", "worker", "-"), "hyposcreen:1", "7:8", {"LANG": "C.UTF-8", "PATH": "/usr/bin"},
              ("/a/cache", "/b/cache"), 1 << 30)  # fmt: skip
ENOUGH = Limits(120, 2 << 30)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put a ``docker`` first on the PATH."""

    def make(**extra: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "docker").write_text(STAND_IN.replace("EXTRA", repr(extra)))
        (folder / "docker").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return folder

    return make


@pytest.fixture
def job(project: Path) -> Job:
    opened = open_project(project, load_config(project, {}))
    return opened.job("cohesion", "t_cells", Side.EXPLORE, subsets={"s": ("all", "all")}, nulls=("gene_label",), m=99, seed=0,
                      vectors=True)  # fmt: skip


def calls(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


@pytest.mark.parametrize(("program", "account"), [("docker", ["--user", "7:8"]), ("podman", [])])
def test_a_container_has_no_network_no_rights_and_reads_only_the_caches(program: str, account: list[str]) -> None:
    said = list(LAUNCHING[program].command(SOME))
    image = said.index("hyposcreen:1")
    assert said[:2] == [program, "run"] and said[image + 1 :] == ["python", "-m", "worker", "-"]
    joined = " ".join(said[:image])
    for part in (
        "--rm", "--interactive", "--pull never", "--name hyposcreen-1", "--network none", "--read-only", "--cap-drop ALL",
        "--security-opt no-new-privileges", "--pids-limit 64", f"--memory {3 << 30} --memory-swap {3 << 30}",
        "--mount type=bind,source=/a/cache,target=/a/cache,readonly",
        "--mount type=bind,source=/b/cache,target=/b/cache,readonly",
        "--env LANG=C.UTF-8", *([" ".join(account)] if account else []),
    ):  # fmt: skip
        assert part in joined
    assert ("--user" in said) == bool(account)
    assert "PATH=" not in joined and "--privileged" not in said and "--volume" not in said
    end = LAUNCHING[program].end
    assert end is not None and end("hyposcreen-1") == (program, "kill", "hyposcreen-1")


def test_the_seatbelt_denies_by_default_and_names_what_may_be_read() -> None:
    text = profile(["/opt/py", "/opt/py"], ["/lib x", '/odd"name\\'])
    lines = text.splitlines()
    assert lines[:3] == ["(version 1)", "(deny default)", '(allow process-exec (literal "/opt/py"))']
    assert '(subpath "/lib x")' in text and r'(subpath "/odd\"name\\")' in text
    assert not any(word in text for word in ("network", "process-fork", "file-write*", "mach-lookup"))
    assert text.count("(") == text.count(")")
    said = LAUNCHING["seatbelt"].command(SOME)
    assert said[:2] == ("sandbox-exec", "-p") and said[3:] == ("/opt/py", "-m", "worker", "-")
    assert '(subpath "/a/cache")' in said[2]


def test_another_installation_is_told_by_its_first_difference() -> None:
    mine: dict[str, Any] = {"code": "a", "packages": {"numpy": "2.1"}, "numerics": {"threads": 1}}
    assert difference(mine, json.loads(json.dumps(mine))) == ""
    assert difference(mine, mine | {"packages": {"numpy": "1.26"}}) == "numpy is 1.26 there and 2.1 here"
    assert difference(mine, mine | {"packages": {}}) == "numpy is missing there and 2.1 here"
    assert difference(mine, mine | {"code": "b"}) == "its code is another"


@pytest.mark.skipif(sys.platform != "linux", reason="containers are those of Linux")
def test_the_bits_are_the_same_and_an_overrun_is_ended_by_name(
    stand_in: Callable[..., Path], job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-mine")
    folder = stand_in()
    plain, docker = ProcessSandbox(), LaunchedSandbox(LAUNCHING["docker"])
    try:
        expected, found = plain.run(job, ENOUGH), docker.run(job, ENOUGH)
        assert (found.kind, json.dumps(found.value)) == ("ok", json.dumps(expected.value))
        assert {k: v.tobytes() for k, v in found.vectors.items()} == {
            k: v.tobytes() for k, v in expected.vectors.items()
        }
        assert b"sk-of-mine" not in Path(f"/proc/{docker.pid}/environ").read_bytes()
        (run,) = calls(folder)
        assert f"type=bind,source={job.cache_path},target={job.cache_path},readonly" in run
        assert "sk-of-mine" not in " ".join(run)
        late = docker.run(replace(job, m=20_000_000), replace(ENOUGH, wall_seconds=1.0))
        assert (late.kind, late.detail) == ("timeout", "no answer within 1 s")
        assert calls(folder)[-1] == ["kill", run[run.index("--name") + 1]]
    finally:
        plain.close()
        docker.close()


@pytest.mark.skipif(sys.platform != "linux", reason="containers are those of Linux")
def test_another_installation_in_the_image_computes_nothing(stand_in: Callable[..., Path], job: Job) -> None:
    stand_in(HYPOSCREEN_NO_NUMBA="1", OMP_NUM_THREADS="1")
    sandbox = LaunchedSandbox(LAUNCHING["docker"])
    pytest.importorskip("numba")
    with pytest.raises(OtherWorkerError, match=f"not this installation .*there and .*make the image {IMAGE}"):
        sandbox.run(job, ENOUGH)
    sandbox.close()


@pytest.mark.skipif(sys.platform != "linux", reason="containers are those of Linux")
def test_the_self_test_sees_that_a_stand_in_contains_nothing(stand_in: Callable[..., Path]) -> None:
    stand_in()
    found = examine(["docker"])["docker"]
    assert not found.holds
    assert {"read a file", "write a file", "connect by TCP"} <= set(found.open)
    assert found.reason.startswith("a worker behind it could still ")


@pytest.mark.skipif(sys.platform != "linux", reason="containers are those of Linux")
def test_a_worker_that_is_computing_ends_when_its_input_does(stand_in: Callable[..., Path], job: Job) -> None:
    """As when the loop is killed: nobody is left to end the container, and its own parent is not visible in it."""
    stand_in()
    sandbox = LaunchedSandbox(LAUNCHING["docker"])
    assert sandbox.run(job, ENOUGH).kind == "ok"
    process = sandbox._process
    assert process is not None and process.stdin is not None
    running = threading.Thread(target=sandbox.run, args=(replace(job, m=20_000_000), ENOUGH))
    running.start()
    time.sleep(0.5)
    process.stdin.close()
    assert process.wait(30) == 1
    running.join()
    sandbox.close()


def test_a_program_that_is_not_there_or_has_no_daemon_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    wanted = (
        "it needs Linux" if sys.platform != "linux" else "there is no program 'docker' on the PATH; use --sandbox auto"
    )
    with pytest.raises(UserError, match=f"sandbox 'docker' does not hold here: {wanted}"):
        workers("docker")
    deaf = tmp_path / "docker"
    deaf.write_text(
        "#!/bin/sh\necho 'docker: Cannot connect to the daemon.' >&2\necho 'Run it with --help.' >&2\nexit 125\n"
    )
    deaf.chmod(0o755)
    if sys.platform == "linux":
        with pytest.raises(UserError, match="docker ended with exit status 125: docker: Cannot connect to the daemon"):
            workers("docker")
    for name in LAUNCHING:
        with pytest.raises(UserError, match=f"'{name}' holds no code that nobody vouches for"):
            for_foreign_code(name)


def test_auto_takes_no_program_that_nobody_has_tried() -> None:
    assert not any(LAUNCHING[name].chosen for name in LAUNCHING)
    assert all(LAUNCHING[name].untried for name in LAUNCHING)


def test_a_real_daemon_if_there_is_one() -> None:
    """Does nothing where none answers; where one does, the image decides."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True, timeout=60, check=False).returncode:
        pytest.skip("no docker daemon answers here")
    if subprocess.run([docker, "image", "inspect", IMAGE], capture_output=True, timeout=60, check=False).returncode:
        pytest.skip(f"there is no image {IMAGE}")
    assert examine(["docker"])["docker"].holds
