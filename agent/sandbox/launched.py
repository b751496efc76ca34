"""Library tests behind a boundary that a program builds: one worker that ``docker run``, say, starts as its child.

Such a worker speaks as a plain one does (:mod:`.process`). It may be another installation, in an image, so it is asked first what
it is made of: numbers of other code, packages or numerics would stand in the ledger as those of this process.
"""

import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from ... import __version__
from ..errors import Exit, UserError
from .backends.base import Launch, Launching
from .base import Job, Limits, Outcome
from .process import ARGUMENTS, ProcessSandbox, tail_of, worker_environment

IMAGE = f"hyposcreen:{__version__}"
"""The image that holds this version, where a boundary wants one."""
_OPEN_SECONDS = 120.0
_END_SECONDS = 10.0
_MOST_LOG = 1 << 16


class OtherWorkerError(UserError):
    """What the program started is not this installation, or does not start at all."""


class LaunchedSandbox(ProcessSandbox):
    """One worker behind ``backend``, started on first use, after a crash, and for other caches or limits.

    :meth:`run` raises :class:`OtherWorkerError` before it sends a job, and ``OSError`` where there is no such program.
    """

    def __init__(self, backend: Launching, threads: int = 1) -> None:
        super().__init__(threads)
        self.confines = f"{backend.name}: {backend.confines}"
        self._backend = backend
        self._caches: frozenset[str] = frozenset()
        self._memory_bytes = Limits().memory_bytes
        self._name = ""

    def probe(self, targets: Mapping[str, Any], memory_bytes: int) -> dict[str, str]:
        """What the probes of the self-test say behind this boundary. ``OSError``, with the reason, where no worker answers."""
        return self._asked({"probe": dict(targets), "memory_bytes": memory_bytes})

    def _run(self, job: Job, limits: Limits) -> Outcome:
        named = (job.cache_path, *((job.partner[0],) if job.partner else ()))
        wanted = {os.path.abspath(path) for path in named}  # noqa: PTH100 - a string
        alive = self._process is not None and self._process.poll() is None
        if not alive or not wanted <= self._caches or limits.memory_bytes != self._memory_bytes:
            self._release()
            self._caches, self._memory_bytes = self._caches | wanted, limits.memory_bytes
            self._meet()
        return super()._run(job, limits)

    def _meet(self) -> None:
        """Start the worker and hear what it is made of."""
        try:
            theirs = self._asked({"threads": self._threads})
        except OSError as error:
            raise OtherWorkerError(f"sandbox '{self._backend.name}' starts no worker: {error}", Exit.FAILURE) from None
        if different := difference(made_of(self._threads), theirs):
            self._release()
            raise OtherWorkerError(
                f"the worker that sandbox '{self._backend.name}' starts is not this installation ({different}), so its numbers "
                f"would not be these; make the image {IMAGE} from this installation, or use --sandbox auto",
                Exit.FAILURE,
            )

    def _asked(self, question: Mapping[str, Any]) -> dict[str, Any]:
        try:
            reply, _ = self._ask(question, time.monotonic() + _OPEN_SECONDS)
        except TimeoutError:
            self._release()
            raise OSError(f"no answer within {_OPEN_SECONDS:g} s") from None
        except (EOFError, BrokenPipeError):
            said = self._last_words()
            self._release()
            raise OSError(said) from None
        return dict(reply["value"])

    def _last_words(self) -> str:
        assert self._process is not None
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        tail = "" if self._log is None else _complaint(self._log, self._backend.name)
        return f"{self._backend.name} ended with exit status {self._process.poll()}{': ' + tail if tail else ''}"

    def _command(self) -> Sequence[str]:
        name = f"hyposcreen-{uuid.uuid4().hex}"
        command = self._backend.command(
            Launch(
                name=name,
                interpreter=sys.executable,
                arguments=(*ARGUMENTS, "-"),
                image=IMAGE,
                account=f"{os.getuid()}:{os.getgid()}",
                environment=worker_environment(self._threads),
                caches=tuple(sorted(self._caches)),
                memory_bytes=self._memory_bytes,
            )
        )
        placed = _placed(command)
        self._name = name
        return placed

    def _environment(self) -> dict[str, str]:
        passed = {name: value for name, value in os.environ.items() if name.startswith(self._backend.needs)}
        return passed | worker_environment(self._threads)

    def _kill(self) -> None:
        super()._kill()
        name, self._name = self._name, ""
        if name and self._backend.end is not None:
            with suppress(OSError, subprocess.SubprocessError):
                command = _placed(self._backend.end(name))
                subprocess.run(command, env=self._environment(), capture_output=True, timeout=_END_SECONDS, check=False)


def _placed(command: Sequence[str]) -> tuple[str, ...]:
    """``command`` with its program's own path: it is started with a PATH on which it need not be."""
    found = shutil.which(command[0])
    if found is None:
        raise OSError(f"there is no program '{command[0]}' on the PATH")
    return (found, *command[1:])


def _complaint(log: IO[bytes], program: str) -> str:
    """The line of a log in which the program complains, or else the last."""
    log.seek(0)
    lines = log.read(_MOST_LOG).decode(errors="replace").splitlines()
    return next((line.strip() for line in lines if line.startswith(f"{program}: ")), tail_of(log))


def made_of(threads: int) -> dict[str, Any]:
    """What the numbers of a worker of this installation are made of, in JSON types."""
    from ..fingerprint import environment

    _, found = environment({}, threads)
    return {"code": found.code, "packages": dict(found.packages), "numerics": dict(found.numerics)}


def difference(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """The first thing in which two installations differ, in words; empty where they do not. Pure.

    >>> difference({"packages": {"numpy": "2.1.0"}}, {"packages": {"numpy": "1.26.4"}})
    'numpy is 1.26.4 there and 2.1.0 here'
    """
    for part, held in mine.items():
        other = theirs.get(part)
        if isinstance(held, Mapping) and isinstance(other, Mapping):
            for name in sorted(held.keys() | other.keys()):
                if held.get(name) != other.get(name):
                    return f"{name} is {other.get(name, 'missing')} there and {held.get(name, 'missing')} here"
        elif held != other:
            return f"its {part} is another"
    return ""
