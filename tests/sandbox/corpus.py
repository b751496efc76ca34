"""The corpus of attacks and the scene it plays on. Everything attacked is of the scene's own making, and evidence is harmless.

Our half lies in ``attacks/``, one file a category. Another half, where there is one beside the repository, is read from
``../shared/attacks`` and never committed. An attack prints ESCAPED where it got through; besides, the scene looks for itself.
"""

import json
import os
import platform
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hyposcreen.agent.sandbox.linux.syscalls import MACHINES
from hyposcreen.agent.sandbox.statistics import OUR_FAULT, Bounds, StatisticSandbox

OURS = Path(__file__).parent / "attacks"
SHARED = Path(__file__).parents[3] / "shared" / "attacks"
KEY = "CANARY-ENV-9c1d"
"""In the environment of the parent; nowhere else."""
BY_DESIGN = {"path_exists": "see that a path exists"}
"""Attack → what a backend must say it lets, for the attack to get through."""
BOUNDS = Bounds(wall_seconds=6.0, cpu_seconds=3, memory_bytes=1 << 30)

PRELUDE = """
import os,sys,ctypes
libc=ctypes.CDLL(None,use_errno=True); libc.syscall.restype=ctypes.c_long
libc.prctl.argtypes=[ctypes.c_int]+[ctypes.c_ulong]*4
NUMBERS=@NUMBERS@
def esc(*a): print("ESCAPED",*a,flush=True)
def raw(number,*a):
    ctypes.set_errno(0)
    r=libc.syscall(ctypes.c_long(number),*[ctypes.c_long(x) if isinstance(x,int) else x for x in a])
    if r<0: raise OSError(ctypes.get_errno(),os.strerror(ctypes.get_errno()))
    return r
def call(name,*a): return raw(NUMBERS[name],*a)
def prctl(*a):
    if libc.prctl(*(a+(0,)*(5-len(a))))<0: raise OSError(ctypes.get_errno(),"prctl")
    return 0
def attempt(name,f,ok=lambda r: True):
    try: r=f()
    except BaseException as e: print("blocked",name,type(e).__name__,str(e)[:80],flush=True); return
    if ok(r): esc(name,type(r).__name__)
CAN="@CAN@"; VICTIM=@VICTIM@; PARENT=@PARENT@; PORT=@PORT@
"""
POSTLUDE = "\ndef statistic(emb, labels): return float(labels.sum())\n"


@dataclass(frozen=True)
class Attack:
    """One attack: python that defines a statistic, or never comes to it."""

    name: str
    category: str
    code: str


@dataclass(frozen=True)
class Verdict:
    """What an attack came to."""

    attack: Attack
    end: str
    evidence: tuple[str, ...]
    """Empty when it was contained. A worker that never ran the attack is evidence too: it shows nothing."""
    output: str


def own_attacks() -> list[Attack]:
    """The project's half."""
    table, _ = MACHINES.get(platform.machine(), MACHINES["x86_64"])
    found = []
    for file in sorted(OURS.glob("*.txt")):
        for text in re.split(r"^### ", file.read_text(encoding="utf-8"), flags=re.M)[1:]:
            head, code = text.split("\n", 1)
            prelude = PRELUDE.replace("@NUMBERS@", repr(table))
            ends = "" if "def statistic" in code else POSTLUDE
            found.append(Attack(head.split(":")[0], file.stem, prelude + code + ends))
    return found


def shared_attacks() -> list[Attack]:
    """The other half, where it is there."""
    if not (SHARED / "manifest.json").exists():
        return []
    listed = json.loads((SHARED / "manifest.json").read_text(encoding="utf-8"))
    return [Attack(a["id"], a["category"], (SHARED / a["file"]).read_text(encoding="utf-8")) for a in listed]


class Scene:
    """A folder of canaries, servers on the loopback and a process, all its own."""

    def __init__(self, folder: Path, user: int | None = None) -> None:
        self.folder = folder
        self.user = user
        self.visits = 0
        self._sockets: list[socket.socket] = []
        self._stage()
        self._planted = [path for path in _planted() if not path.exists()]
        self.port = self._listen()

    def close(self) -> None:
        """Stop listening."""
        for one in self._sockets:
            one.close()

    def play(self, sandbox: StatisticSandbox, attack: Attack) -> Verdict:
        """Run one attack and look."""
        before, self.visits = self._look(), 0
        labels = np.zeros((20, 500), np.int8)
        for row in labels:
            row[np.random.default_rng(1).choice(500, 60, False)] = 1
        with self._victim() as victim:
            run = sandbox.run(self._cast(attack.code, victim.pid), np.zeros((500, 8), np.float32), labels, BOUNDS)
            time.sleep(0.05)
            evidence = [line[:100] for line in run.output.splitlines() if line.startswith("ESCAPED")]
            evidence += ["the victim ended"] if victim.poll() is not None else []
        evidence += [f"{self.visits} visits to the servers"] if self.visits else []
        evidence += [f"changed: {name}" for name in _differing(before, self._look())]
        left = survivors(sandbox.pid)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        evidence += [f"{len(left)} processes left"] if left else []
        evidence += [f"it never ran: {run.end}"] if run.end in OUR_FAULT else []
        if evidence:
            for path in self._planted:
                path.unlink(missing_ok=True)
            self._stage()
        return Verdict(attack, run.end, tuple(evidence), run.output)

    def _cast(self, code: str, victim: int) -> str:
        places = {
            "@CAN@": str(self.folder), "@VICTIM@": str(victim), "@PARENT@": str(os.getpid()), "@PORT@": str(self.port),
            "@SCRATCH@": "None",
        }  # fmt: skip
        for name, value in places.items():
            code = code.replace(name, value)
        return code

    def _stage(self) -> None:
        for name in ("home/.ssh", "out"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "home/.ssh/id_rsa").write_text("CANARY-SSH-7f3a")
        (self.folder / "planted_module.py").write_text("x = 1\n")
        with suppress(FileNotFoundError):
            (self.folder / "runs.db").unlink()
        with sqlite3.connect(self.folder / "runs.db") as ledger:
            ledger.execute("create table tests(id int, p real)")
            ledger.execute("insert into tests values(1, .5)")
        ledger.close()
        np.save(self.folder / "cache.npy", np.zeros((100, 100), np.float32))
        np.save(self.folder / "labels.npy", np.ones(5000, np.int8))
        for path in (self.folder, *self.folder.rglob("*")):
            path.chmod(0o777 if path.is_dir() else 0o666)
            if self.user is not None:
                os.chown(path, self.user, self.user)

    def _look(self) -> dict[str, object]:
        found: dict[str, object] = {}
        for path in sorted(self.folder.rglob("*")):
            facts = path.lstat()
            content = path.read_bytes() if path.is_file() and os.access(path, os.R_OK) else b""
            found[path.name] = (facts.st_mode, facts.st_uid, int(facts.st_mtime), content)
        return found | {str(path): path.exists() for path in _planted()}

    def _listen(self) -> int:
        tcp, udp = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp.bind(("127.0.0.1", 0))
        udp.bind(tcp.getsockname())
        named, abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        named.bind(str(self.folder / "sock"))
        (self.folder / "sock").chmod(0o777)
        for one in (tcp, named):
            one.listen(50)
        self._sockets = [tcp, udp, named, abstract]
        try:
            abstract.bind("\0sbx-canary")
            abstract.listen(50)
        except OSError:  # another scene holds the name
            self._sockets.remove(abstract)
            abstract.close()
        for one in self._sockets:
            threading.Thread(target=self._welcome, args=(one,), daemon=True).start()
        return int(tcp.getsockname()[1])

    def _welcome(self, one: socket.socket) -> None:
        while True:
            try:
                one.recvfrom(100) if one.type == socket.SOCK_DGRAM else one.accept()[0].close()
            except OSError:
                return
            self.visits += 1

    @contextmanager
    def _victim(self) -> Iterator[subprocess.Popen[bytes]]:
        identity = {} if self.user is None else {"user": self.user, "group": self.user, "extra_groups": []}
        victim = subprocess.Popen(["/bin/sh", "-c", "sleep 60; : CANARYPROC"], cwd="/", **identity)
        try:
            yield victim
        finally:
            victim.kill()
            victim.wait()


_OUTSIDE = ("/tmp", "/var/tmp", "/dev/shm")


def _planted() -> list[Path]:
    """Files outside the scene that an attack writes, if it may."""
    return [Path(np.__file__).parent / "sbx_planted.py", *(Path(folder) / "sbx_pwn" for folder in _OUTSIDE)]


def survivors(zygote: int | None) -> list[int]:
    """Processes that a zygote for foreign code made and that are still there."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in (zygote, os.getpid()):
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                state, parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:2]
                ours = b"hyposcreen.agent.sandbox.zygote" in words and b"foreign" in words
                if (
                    ours and state != "Z" and int(parent) in (zygote, 1)
                ):  # those of another zygote are not ours to judge
                    found.append(int(entry.name))
    return found


def _differing(before: dict[str, object], after: dict[str, object]) -> list[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


if __name__ == "__main__":
    sys.exit("read by the tests and by benchmarks/sandbox.py")
