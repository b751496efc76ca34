"""Rehearsal: a statistic of a model meets made-up data before it is committed. No test, no real data, all output is told.

What a rehearsal came to is kept in the ledger under the code and the shape. A run that was killed, and one that reads a
recording, find it there: code may print clocks and random numbers, and the next prompt is made of what it printed.
"""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from ...hypotheses.canonical import canonical_json
from ..ledger.provenance import Artifact
from ..ledger.records import Registered
from ..ledger.store import Ledger
from ..project import Project, Side
from ..proposers.base import Refusal
from ..turns import record_once
from .bench import CALLS, CodeBench, run_blinded
from .fixtures import Shape, fixtures
from .proposal import CodeProposal
from .spec import code_artifacts, spec_of

ARTIFACT = "rehearsal"
"""Name of the artifact that holds what a rehearsal came to."""
DRAWS = 199
MOST_OUTPUT = 6000
"""Characters of the output that are told: the first and the last of a longer one."""
_SHARE, _LEAST_SECONDS = DRAWS / CALLS, 5.0
_ADDRESS, _PATH = re.compile(r"0x[0-9a-fA-F]{6,}"), re.compile(r'File "[^"\n]*/([^"/\n]+)"')


@dataclass(frozen=True)
class Trial:
    """The protocol on one fixture."""

    where: str
    outcome: str
    """``ok``, an end of the worker, or what the judge found."""
    k: int
    m: int
    output: str


@dataclass(frozen=True)
class Rehearsal:
    """What came of it; the second fixture is left out where the first ended badly."""

    code: str
    """sha256 of the statistic."""
    trials: tuple[Trial, ...]

    @property
    def outcome(self) -> str:
        """``ok``, or how the last trial ended."""
        return self.trials[-1].outcome

    def facts(self) -> dict[str, Any]:
        """What a row keeps of it."""
        return {"trials": [{"where": t.where, "k": t.k, "m": t.m} for t in self.trials]}


class Rehearser:
    """Rehearses statistics for one run; the shapes are those of genes A, the data are not."""

    def __init__(self, project: Project, ledger: Ledger, recording: Ledger | None, bench: CodeBench) -> None:
        self._project = project
        self._ledger = ledger
        self._recording = recording
        self._bench = bench

    def refusal(self, p: CodeProposal) -> Refusal | None:
        """Why ``p`` is not even rehearsed: asked before, or nothing here may run it. Raises ``OutsideGrammarError``."""
        spec = spec_of(self._project, p)
        for h in self._ledger.records(Registered):
            if h.novelty_sha256 == spec.novelty_sha256:
                return Refusal("duplicate", f"{h.id} asks the same of the same genes with the same code")
        if self._find(p) is None and self._bench.unavailable:
            return Refusal("sandbox_unavailable", self._bench.unavailable)
        return None

    def rehearse(self, p: CodeProposal) -> Rehearsal:
        """What came of the code of ``p``, found or tried now. Raises :class:`~..errors.UserError` for a fault of ours."""
        found = self._find(p)
        if found is not None:
            return found
        shape, trials = self._shape(p), []
        bounds = self._bench.bounds(DRAWS, _SHARE, _LEAST_SECONDS)
        for fixture in fixtures(shape, DRAWS):
            end, _, judged, said = run_blinded(
                self._bench.run, p.code, fixture.embedding, fixture.plan, bounds, p.order_invariant
            )
            k = judged.k if judged is not None and end == "ok" else DRAWS
            trials.append(Trial(fixture.name, end, k, DRAWS, told(said)))
            if end != "ok":
                break
        done = Rehearsal(p.sha256, tuple(trials))
        self._keep(p, self._name(p) | {"trials": [asdict(t) for t in trials]})
        return done

    def _shape(self, p: CodeProposal) -> Shape:
        background = self._project.annotations[p.annotation].background
        genes = len(self._project.rows(Side.EXPLORE, background))
        return Shape(genes, self._project.cache.dim, self._project.entity_size(p.annotation, Side.EXPLORE))

    def _name(self, p: CodeProposal) -> dict[str, Any]:
        return {"code": p.sha256, "order_invariant": p.order_invariant, "shape": asdict(self._shape(p))}

    def _find(self, p: CodeProposal) -> Rehearsal | None:
        """From this run, or from the recording; then it is kept here too."""
        name = self._name(p)
        for ledger in filter(None, (self._ledger, self._recording)):
            for artifact in ledger.records(Artifact):
                if artifact.name != ARTIFACT:
                    continue
                held = json.loads(artifact.text())
                if {key: held[key] for key in name} == name:
                    if ledger is not self._ledger:
                        self._keep(p, held)
                    return Rehearsal(p.sha256, tuple(Trial(**t) for t in held["trials"]))
        return None

    def _keep(self, p: CodeProposal, facts: dict[str, Any]) -> None:
        for artifact in (*code_artifacts(self._ledger, p), Artifact.of(ARTIFACT, canonical_json(facts))):
            record_once(self._ledger, artifact)


def told(said: str) -> str:
    """What a model is told of an output: bounded, without addresses of memory and folders of this machine."""
    plain = said.encode("utf-8", "backslashreplace").decode().replace("\0", "")
    text = _PATH.sub(r'File "\1"', _ADDRESS.sub("0x…", plain))
    half = MOST_OUTPUT // 2
    return (
        text if len(text) <= MOST_OUTPUT else f"{text[:half]}\n[… {len(text) - 2 * half} characters …]\n{text[-half:]}"
    )
