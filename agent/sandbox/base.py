"""The contract between the loop and whatever runs a test.

A *job* is a specification and paths, never an array and never a ledger. An *outcome* is typed: either numbers, or one of
a closed list of failures. A backend may run a job on any machine, any number of times; the same job gives the same bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

OutcomeKind = Literal[
    "ok", "error", "timeout", "memory", "crash", "lost",
    "incomplete", "exception", "syntax", "no_statistic", "wrong_type", "cpu", "output", "policy_violation", "segv", "abort",
    "oom", "nondeterministic", "nonfinite", "degenerate", "order_dependent",
]  # fmt: skip
"""``lost``: the worker went away, with its host or its service, and nothing is known of the job; it never becomes a result.
From the second line on: of a statistic that a model wrote."""
RESOURCE_OUTCOMES = frozenset({"timeout", "memory", "crash"})
"""Outcomes that get one more try, with four times the limits, before they count as failed."""


@dataclass(frozen=True)
class Limits:
    """What one job may use."""

    wall_seconds: float = 300.0
    memory_bytes: int = 4 << 30
    """On top of what the worker holds after its imports."""

    def times(self, factor: int) -> "Limits":
        """Both limits, multiplied."""
        return Limits(self.wall_seconds * factor, self.memory_bytes * factor)


@dataclass(frozen=True)
class Job:
    """One scan: what :func:`hyposcreen.tests_library.run.scan` needs, as JSON types and a path."""

    name: str
    """For messages; not used by the computation."""
    cache_path: str
    cache_digest: str
    universe: tuple[int, ...]
    """Cache rows under test."""
    load: tuple[int, ...]
    """Study load of each of them."""
    matched: tuple[int, ...]
    """Stratum of like genes of each of them, cut where both sides of the split are together."""
    test: str
    entity: Mapping[str, Any]
    """``kind`` and the rows: ``members`` / ``pairs`` + ``grades`` / ``edges`` + ``signs``, local to the universe."""
    subsets: Mapping[str, tuple[str, str]]
    """Name → (layer option, coordinate option) of the grammar."""
    nulls: tuple[str, ...]
    m: int
    seed: int
    n_axes: int
    studied: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Counts of other annotations and partners of each gene, by name: what baselines of a classifier need."""
    partner: tuple[str, str] | None = None
    """Path and digest of the cache to compare with, where the project names one."""
    vectors: bool = False
    """Also return the maxima over all arrangements (the look needs them, exploration does not). Without them: intervals and
    baselines at the best views."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "name": self.name, "cache_path": self.cache_path, "cache_digest": self.cache_digest,
            "universe": list(self.universe), "load": list(self.load),
            "matched": list(self.matched), "test": self.test, "entity": dict(self.entity),
            "subsets": {k: list(v) for k, v in self.subsets.items()}, "nulls": list(self.nulls),
            "m": self.m, "seed": self.seed, "n_axes": self.n_axes,
            "partner": None if self.partner is None else list(self.partner),
            "studied": {k: list(v) for k, v in self.studied.items()}, "vectors": self.vectors,
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Outcome:
    """How one try at a job ended."""

    kind: OutcomeKind
    seconds: float
    detail: str = ""
    """One sentence for people; it never reaches a prompt."""
    value: Mapping[str, Any] = field(default_factory=dict)
    """The numbers, when ``kind`` is ``ok``; see ``worker.answer`` for the keys."""
    vectors: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """``null/overall`` and ``null/SUBSET`` → float64 [m + 1], when the job asked for them."""


class Sandbox(Protocol):
    """Runs one job at a time in a process of its own.

    Guarantees every backend must give: the parent survives whatever the job does (crash, endless loop, memory); a job
    that overruns ``limits`` ends as ``timeout`` or ``memory``; the environment of the worker is constructed, never
    inherited, so no key of the parent is visible in it; the worker ends when the parent does, even after ``kill -9``.

    What this protocol does *not* promise, and a backend must say for itself: that a job cannot read files, open
    sockets or talk to other processes. See ``backends/``: each names what it closes and what it leaves open, and whether code
    that nobody vouches for may run behind it (``holds_code``).
    """

    confines: str
    """The boundary's name, a colon, and what it is made of, in words. The name is stored with every attempt."""

    def run(self, job: Job, limits: Limits) -> Outcome:
        """Run ``job`` and wait for it. Never raises for what the job does; raises ``OSError`` if no worker starts."""
        ...

    def close(self) -> None:
        """End the worker. Safe to call twice, and from another thread: a job that is running then ends as ``crash``."""
        ...
