"""The store of completions: every attempt is an entry of the run's ledger, and no recorded answer is asked for again.

The key is the sha256 of the canonical request and how often the run had sent it before. A run that was killed between an answer
and its registration finds the answer here; ``--proposer recorded`` finds all of them in another run's ledger.
"""

from collections.abc import Iterable
from dataclasses import replace

from ..ledger.records import Completion
from ..ledger.store import Ledger
from .spending import Spent

Key = tuple[str, int]


class Completions:
    """Attempts of this run, and those of a ``recording`` if there is one."""

    def __init__(self, ledger: Ledger, recording: Ledger | None = None) -> None:
        self._ledger = ledger
        self._recorded = {} if recording is None else _index(recording.records(Completion))
        self._servers = {c.iteration: c.server for c in reversed(tuple(self._recorded.values()))}

    def find(self, sha256: str, occurrence: int) -> Completion | None:
        """What came of this request before, here or in the recording. An attempt that stopped a run does not count."""
        key = (sha256, occurrence)
        mine = _index(self._ledger.records(Completion)).get(key)
        if mine is not None:
            return mine
        found = self._recorded.get(key)
        if found is None:
            return None
        free = replace(found, served="recorded", charged_tokens=0, charged_usd=None, seconds=0.0)
        self.add(free)
        return free

    def add(self, completion: Completion) -> None:
        """Record an attempt durably, before anything is made of it."""
        self._ledger.append(completion)

    def before(self, iteration: int) -> tuple[Completion, ...]:
        """Attempts of earlier iterations."""
        return tuple(c for c in self._ledger.records(Completion) if c.iteration < iteration)

    def server(self, iteration: int) -> str:
        """The server that the recording asked in ``iteration``; empty if it asked none."""
        return self._servers.get(iteration, "")

    def spent(self) -> Spent:
        """What this run has spent so far."""
        return Spent.of(self._ledger.records(Completion))


def _index(completions: Iterable[Completion]) -> dict[Key, Completion]:
    return {(c.request_sha256, c.occurrence): c for c in completions if c.outcome != "denied"}
