"""A scheduler and workers of Dask as processes of their own on loopback."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

START_SECONDS = 120.0
ENDS_WITH_ITS_PARENT = """
import os, sys, threading, time
def _watch(parent=os.getppid()):
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
threading.Thread(target=_watch, daemon=True).start()
"""
"""A test that is killed ends nothing itself."""


class LoopbackCluster:
    """``with LoopbackCluster(folder) as cluster: cluster.add_worker()``; ends what it started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.scheduler: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "LoopbackCluster":
        self.folder.mkdir(parents=True, exist_ok=True)
        arguments = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(self.file)]
        self.scheduler = self._start("dask_scheduler", arguments, {})
        patience = time.monotonic() + START_SECONDS
        while not (self.file.exists() and self.file.read_text().rstrip().endswith("}")):
            assert self.scheduler.poll() is None and time.monotonic() < patience, self.log()
            time.sleep(0.05)
        return self

    def add_worker(
        self, *options: str, before: str = "", environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """One worker with one thread. ``before``: Python that its process runs first."""
        number = len(self.workers)
        arguments = ["--scheduler-file", str(self.file), "--nthreads", "1", "--no-nanny", "--no-dashboard",
                     "--host", "127.0.0.1", "--name", f"w{number}", "--local-directory", str(self.folder), *options]  # fmt: skip
        self.workers.append(self._start("dask_worker", arguments, environment or {}, before))
        return self.workers[-1]

    def log(self) -> str:
        """What all processes said."""
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in sorted(self.folder.glob("*.log")))

    def __exit__(self, *_: object) -> None:
        for process in (*self.workers, self.scheduler):
            if process is not None and process.poll() is None:
                process.kill()
            if process is not None:
                process.wait()

    def _start(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str], before: str = ""
    ) -> subprocess.Popen[bytes]:
        code = f"{ENDS_WITH_ITS_PARENT}\n{before}\nfrom distributed.cli.{module} import main\nsys.exit(main())"
        # Nothing of the test's environment that could stand for a user's secrets or settings.
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_CACHE_HOME", "LANG") if name in os.environ}
        with (self.folder / f"{module}-{len(self.workers)}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-c", code, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.folder, env=kept | {"DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "info", **environment},
            )  # fmt: skip
