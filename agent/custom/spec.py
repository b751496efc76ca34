"""What is said and what is registered of a statistic that a model wrote: its code by sha256, a gene set, a layer, a direction.

The nulls are not the model's to choose: like every row it is tested under all companion nulls, and the largest p counts.
"""

from collections.abc import Iterable

from ...hypotheses.grammar import DIRECTIONS, OutsideGrammarError
from ...hypotheses.spec import Proposal, TestSpec
from ...tests_library.catalogue import companion_nulls
from ..ledger.provenance import Artifact
from ..ledger.records import Record
from ..ledger.store import Ledger
from ..project import Project
from .codes import ARTIFACT
from .kind import CUSTOM, NAME
from .proposal import CodeProposal, code_fault

ALTERNATIVE = {"greater": "greater", "less": "less", "either": "two-sided"}


class CodeRefusedError(OutsideGrammarError):
    """A statistic that this run does not take, whatever it computes."""

    reason = "code_not_allowed"


def spec_of(project: Project, proposal: Proposal) -> TestSpec:
    """The spec of an untrusted proposal. Raises :class:`OutsideGrammarError` naming the first field that is wrong."""
    if not isinstance(proposal, CodeProposal):
        return project.grammar.check(proposal)
    if not project.config.allow_code:
        raise CodeRefusedError("this run takes no statistics of a model; a run that does is opened with --allow-code")
    return _code_spec(project, proposal)


def _code_spec(project: Project, p: CodeProposal) -> TestSpec:
    sets = [a.name for a in project.annotations.values() if a.kind == CUSTOM.entity]
    layers = [f"L{n}" for n in range(project.cache.n_layers)]
    for field, value, choices in (
        ("test", p.test, [NAME]),
        ("annotation", p.annotation, sets),
        ("layers", p.layers, layers),
        ("coordinates", p.coordinates, ["all"]),
        ("direction", p.direction, list(DIRECTIONS)),
    ):
        if value not in choices:
            raise OutsideGrammarError(f"{field} is {value[:80]!r}; {NAME} has {', '.join(choices[:12])}")
    if not 0 <= p.prior <= 1:
        raise OutsideGrammarError(f"prior is {p.prior!r}; it must be a probability from 0 to 1")
    if fault := code_fault(p.code):
        raise OutsideGrammarError(fault)
    annotation = project.annotations[p.annotation]
    background = annotation.background
    return TestSpec(
        test=NAME,
        annotation=annotation.name,
        annotation_digest=annotation.digest,
        background=background,
        background_digest=None if background is None else project.annotations[background].digest,
        cache_digest=project.cache.digest,
        layers=p.layers,
        coordinates=p.coordinates,
        alternative=ALTERNATIVE[p.direction],
        nulls=companion_nulls(CUSTOM),
        code=p.sha256,
        order_invariant=p.order_invariant,
    )


def code_artifacts(ledger: Ledger, proposal: Proposal, beside: Iterable[Record] = ()) -> list[Record]:
    """The entry that keeps the code of a proposal, if it brings any that neither the ledger nor ``beside`` holds."""
    if not isinstance(proposal, CodeProposal):
        return []
    artifact = Artifact.of(ARTIFACT, proposal.code)
    held = {a.sha256 for a in (*ledger.records(Artifact), *beside) if isinstance(a, Artifact)}
    return [] if artifact.sha256 in held else [artifact]
