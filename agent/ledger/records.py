"""What the ledger records: one frozen type for each kind of entry, and the row a reader sees.

An entry has *content*, which the inputs and the seed determine, and *context*, which they do not (clocks, hosts,
process ids, attempt counts). The head chains both; the content head chains content only, so equal inputs reach an equal
content head on any machine, after any number of crashes. Every type here is content unless its docstring says context.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from .asking import BudgetSet as BudgetSet  # noqa: PLC0414 - the records are read from here
from .asking import Completion as Completion  # noqa: PLC0414 - the records are read from here
from .asking import ProposerOpened as ProposerOpened  # noqa: PLC0414 - the records are read from here
from .base import Record as Record  # noqa: PLC0414 - the records are read from here
from .foreign import ForeignRow as ForeignRow  # noqa: PLC0414 - the records are read from here
from .foreign import ForeignSource as ForeignSource  # noqa: PLC0414 - the records are read from here
from .provenance import Artifact as Artifact  # noqa: PLC0414 - the records are read from here
from .provenance import Environment as Environment  # noqa: PLC0414 - the records are read from here
from .reviews import Reviewed as Reviewed  # noqa: PLC0414 - the records are read from here

Verdict = Literal[
    "screened", "confirmed", "not_confirmed", "untestable", "invalid", "failed", "retired", "stale", "registered"
]
VERDICTS: tuple[str, ...] = get_args(Verdict)
Route = Literal["U", "H", "U+H"]


@dataclass(frozen=True)
class RunOpened(Record):
    """The frozen plan of a run: everything that may not change once the first hypothesis is seen."""

    KIND = "run_opened"
    seed: int
    """Seed of every permutation bank, of the split and of the offline proposer."""
    iterations: int
    """Declared iterations; the look at the held-out genes happens when they are done."""
    per_iteration: int
    """Hypotheses asked for in each iteration."""
    proposer: str
    """Name of the proposer, for example ``offline``."""
    alpha: float
    """Error rate of the whole run: P(any false confirmation) ≤ alpha."""
    alpha_u: float
    """Share of alpha for Route U (simultaneous over the whole universe)."""
    alpha_h: float
    """Share of alpha for Route H (all looks at the held-out genes together)."""
    permutations_explore: int
    """Permutations m of each exploratory test."""
    permutations_look: int
    """Permutations m of Route U and Route H."""
    max_promoted: int
    """Largest number of hypotheses the promoted list may hold."""
    promote_p: float
    """A row is promoted only if its p_scan on genes A is at most this."""
    cache: Mapping[str, Any]
    """``name``, ``digest``, ``genes``, ``masked``, ``layers``, ``dim``, ``model``, ``data``."""
    annotations: tuple[Mapping[str, Any], ...]
    """One mapping an annotation: ``name, kind, role, digest, provenance_type, source, version, licence, size``."""
    split: Mapping[str, Any]
    """``digest``, ``explore`` and ``sealed`` (numbers of genes on side A and side B)."""
    universe: Mapping[str, Any]
    """``digest``, ``cells`` (elementary statistics) and ``hypotheses`` (typed sentences of the grammar)."""
    version: str
    """hyposcreen version that opened the run; another version may not continue it with other numerics unnoticed."""
    look_alphas: tuple[float, ...] = ()
    """alpha of each declared look before its charge; the sum is at most ``alpha_h``. Empty in a ledger that is older than
    later looks: one look at ``alpha_h``."""
    campaign: Mapping[str, Any] = field(default_factory=dict)
    """``name``, ``paper``, ``digest`` and ``rows`` of the list that the run begins with; without one left out of the content."""

    def to_content(self) -> dict[str, Any]:
        """See :meth:`Record.to_content`."""
        content = super().to_content()
        if not content["campaign"]:
            del content["campaign"]
        return content

    @property
    def looks(self) -> int:
        """Declared looks at the held-out genes."""
        return len(self.look_alphas) or 1


@dataclass(frozen=True)
class Proposed(Record):
    """What a proposer said in one slot, verbatim, before anything was checked."""

    KIND = "proposal"
    iteration: int
    slot: int
    proposer: str
    digest_sha256: str
    """sha256 of the digest the proposer had read."""
    proposal: Mapping[str, Any]
    """The untrusted proposal as given."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """Of a language model: ``model``, ``prompts`` (digest), ``request_sha256``, ``response_sha256``, ``bet`` (safe, risky or
    cheap), and ``critic`` where one remarked. Where another proposer filled the slot: ``filled_for`` and ``reason``. Empty for
    a proposer without either, and then left out of the content."""

    def to_content(self) -> dict[str, Any]:
        """See :meth:`Record.to_content`."""
        content = super().to_content()
        if not content["source"]:
            del content["source"]
        return content


@dataclass(frozen=True)
class Rejected(Record):
    """A proposal that never became a hypothesis, with the reason."""

    KIND = "rejection"
    iteration: int
    slot: int
    reason: str
    """``malformed``, ``duplicate``, ``outside_grammar``; of a model's answer also ``surplus`` and the rules of a batch, which
    ``agent/llm/portfolio.py`` names."""
    detail: str
    """One sentence that names the value and the mend."""
    duplicate_of: str | None = None


@dataclass(frozen=True)
class Registered(Record):
    """A hypothesis, written durably before it is tested."""

    KIND = "registration"
    id: str
    """``H0001`` … in order of registration."""
    iteration: int
    slot: int
    claim: str
    """The claim in words."""
    family: str
    test: str
    """Test kind, a name of the catalogue."""
    annotation: str
    """Name of the entity under test."""
    role: str
    """``claim``, ``positive_control`` or ``negative_control``: the annotation's own role."""
    spec: Mapping[str, Any]
    """The whole typed specification, canonical JSON types."""
    spec_sha256: str
    novelty_sha256: str
    """sha256 of what the spec *means* (annotation content instead of its name): equal means duplicate."""
    prior: float
    """Proposer's probability, before the test, that the row will be confirmed."""
    direction: str
    """Proposer's predicted direction: ``greater``, ``less`` or ``either``."""
    rationale: str
    move: str
    """What the proposer was doing: ``cover``, ``refine``, ``transfer`` …"""
    parent: str | None = None
    """The row this one refines, if any."""


@dataclass(frozen=True)
class AttemptStarted(Record):
    """Context: one try at one job, with a lease; an attempt that never ends is stale, not failed."""

    KIND = "attempt"
    id: str
    number: int
    worker: str
    started: str
    """UTC, ISO 8601."""
    lease_seconds: float


@dataclass(frozen=True)
class AttemptEnded(Record):
    """Context: how one try ended (a failed one is tried again; only the last becomes a result)."""

    KIND = "attempt_ended"
    id: str
    number: int
    outcome: str
    """``ok`` or a typed failure: ``timeout``, ``memory``, ``crash``, ``error`` …"""
    seconds: float
    detail: str = ""


@dataclass(frozen=True)
class ViewNumbers(Record):
    """One view (layer × coordinate) of one test, under the primary null."""

    KIND = "view"
    layer: str
    """``L2``, or a contrast such as ``L0:L4``."""
    coordinate: str
    """``SV3``, ``SV2-7``, ``cosine`` …"""
    statistic: int
    """The integer statistic T, exactly as counted."""
    effect: float
    """The effect in the test's own unit (AUROC, rate, dimension …)."""
    null_mean: float
    """Mean of the effect over the null draws."""
    z: float
    """(T − mean) / sd over all m + 1 arrangements."""
    k: int
    """Null draws at least as extreme as the observed at this view."""


@dataclass(frozen=True)
class Tested(Record):
    """The exploratory result of one hypothesis on genes A."""

    KIND = "result"
    id: str
    status: str
    """``ok``, ``untestable``, ``invalid`` or ``failed``."""
    reason: str = ""
    """Why not ``ok``: one sentence."""
    n_genes: int = 0
    """Genes of the universe on side A."""
    n_entity: int = 0
    """Members, pairs or edges of the entity that fall on side A."""
    null: str = ""
    """The companion null with the largest p (the one reported)."""
    m: int = 0
    """Null draws."""
    k: int = 0
    """Draws whose maximum over the scanned views is at least the observed maximum (reported null)."""
    p_scan: float = 1.0
    """(k + 1) / (m + 1)."""
    p_raw: float = 1.0
    """(k_best + 1) / (m + 1) at the best single view, not corrected for the scan."""
    statistic: float = 0.0
    """Observed maximum of the standardised statistic over the scanned views."""
    statistic_hex: str = ""
    """The same, ``float.hex()``."""
    best_view: str = ""
    effect: float = 0.0
    """Effect at the best view."""
    null_mean: float = 0.0
    """Null mean of that effect."""
    effect_unit: str = ""
    min_effect: float = 0.0
    """Minimum detectable effect at this size (80 % power, level 0.05 at one view), normal approximation."""
    effect_low: float | None = None
    """Lower end of the interval of the effect at the best view, on genes A; ``None`` without one. It describes how far the
    effect would move with other families or regulators; the choice of the view is not in it, and it decides nothing."""
    effect_high: float | None = None
    interval_level: float | None = None
    """Nominal coverage, for example .95."""
    interval_method: str = ""
    """``delong``, ``family_jackknife`` …; see ``tests_library/uncertainty.py``. Empty without an interval."""
    interval_units: int = 0
    """Clusters, or groups of clusters, that were left out or drawn."""
    interval_missing: str = ""
    """Why there is no interval: ``few_clusters``, ``size_dependent`` … Empty with one, and for a row without a result."""
    baselines: Mapping[str, float] = field(default_factory=dict)
    """Of a classifier: AUROC without the embedding, by block (``norm``, ``expression and detection``, ``degree``), on the
    folds of the row. Printed only."""
    companions: Mapping[str, Any] = field(default_factory=dict)
    """Null name → ``{"k", "m", "p_scan", "statistic_hex"}``."""
    views: tuple[Mapping[str, Any], ...] = ()
    """:class:`ViewNumbers` of every scanned view, as mappings."""
    checks: Mapping[str, Any] = field(default_factory=dict)
    """``balance``: null → covariate → standardised mean difference of the entity's genes from those that stand in for
    them; ``unbalanced``: why the row may not be promoted or confirmed, or empty; ``notes``: advice, one sentence each."""


@dataclass(frozen=True)
class IterationClosed(Record):
    """End of one iteration; a resumed run starts after the last of these."""

    KIND = "iteration_closed"
    iteration: int
    registered: int
    rejected: int


@dataclass(frozen=True)
class Promoted(Record):
    """The frozen list that goes to the held-out genes; written before its look opens, from genes A alone. One a look."""

    KIND = "promotion"
    hypotheses: tuple[str, ...]
    rule: str


@dataclass(frozen=True)
class LookOpened(Record):
    """The held-out genes are opened. Nothing may be proposed until the look is counted; after the last look, nothing at all."""

    KIND = "look_opened"
    look: int
    alpha_u: float
    """Level of Route U; 0 in a look before the last, which leaves Route U unopened."""
    alpha_h: float
    """Level of Route H in this look: its alpha, charged for what earlier looks showed."""


@dataclass(frozen=True)
class LookCounted(Record):
    """All that a look before the last shows: how many of its rows were confirmed. Which ones, and by how much, is computed
    again at the last look and recorded only then, because a later level pays for every bit that is shown here."""

    KIND = "look_counted"
    look: int
    rows: int
    """Rows of the look's list: known from genes A alone."""
    confirmed: int
    """Rows whose adjusted p of Route H is at most the look's level."""
    bits: float
    """log2(rows + 1): what this count may tell."""


@dataclass(frozen=True)
class LookResult(Record):
    """Confirmatory numbers of one hypothesis."""

    KIND = "look_result"
    id: str
    look: int
    route: str
    """``U`` or ``H``."""
    status: str
    """``ok`` or ``untestable``."""
    reason: str = ""
    n_genes: int = 0
    n_entity: int = 0
    null: str = ""
    """The companion null with the largest adjusted p."""
    m: int = 0
    k: int = 0
    """Draws at least as extreme as this row's own statistic (unadjusted, reported null)."""
    p: float = 1.0
    """(k + 1) / (m + 1)."""
    k_adj: int = 0
    """Draws whose maximum over the competitors is at least this row's statistic."""
    p_adj: float = 1.0
    """Adjusted p of the route: single-step max-T (U) or step-down max-T (H), largest over companion nulls."""
    weight: float = 1.0
    """Share of the route's alpha that this row's background group holds; p_adj is already divided by it."""
    statistic_hex: str = ""
    effect: float = 0.0
    null_mean: float = 0.0
    best_view: str = ""


@dataclass(frozen=True)
class VerdictGiven(Record):
    """The verdict, from code, from numbers."""

    KIND = "verdict"
    id: str
    verdict: str
    route: str
    """The route that decided, or the better of those that did not confirm; empty where nothing was tested."""
    rule: str


@dataclass(frozen=True)
class RunClosed(Record):
    """The look is done and every row has its verdict."""

    KIND = "run_closed"
    counts: Mapping[str, int]
    """Verdict → number of rows."""


@dataclass(frozen=True)
class Replayed(Record):
    """Context: one replay of one row. A replay is appended, never an edit."""

    KIND = "replay"
    id: str
    outcome: str
    """``identical``, or the first that holds of ``code_changed``, ``environment_changed``, ``within_ulp``,
    ``within_tolerance``, ``statistic_changed``, ``decision_changed``, ``not_executed``; in older ledgers ``diverged``."""
    detail: str = ""


RECORDS: dict[str, type[Record]] = {
    r.KIND: r
    for r in (
        RunOpened, ProposerOpened, Completion, BudgetSet, Proposed, Rejected, Registered, AttemptStarted, AttemptEnded,
        Tested, IterationClosed, Promoted,
        LookOpened, LookCounted, LookResult, VerdictGiven, RunClosed, Replayed, Artifact, Environment, Reviewed,
        ForeignSource, ForeignRow,
    )
}  # fmt: skip
"""Entry kind → its type."""

CONTEXT_KINDS = frozenset({
    "attempt", "attempt_ended", "replay", "completion", "budget", "artifact", "environment", "review", "foreign_source",
    "foreign",
})  # fmt: skip
"""Kinds that are context only: chained by the head, left out of the content head."""


@dataclass(frozen=True)
class Head:
    """Where the ledger ends: what a reader writes down to catch a truncated tail."""

    seq: int
    hash: str
    content_hash: str


@dataclass(frozen=True)
class Row:
    """One hypothesis as a reader sees it: ``screen ledger list``. ``None`` means not (yet) known."""

    id: str
    iteration: int
    family: str
    test: str
    annotation: str
    role: str
    claim: str
    verdict: str
    """``registered`` until it has a result."""
    route: str | None
    statistic: float | None
    effect: float | None
    effect_unit: str | None
    null_mean: float | None
    best_view: str | None
    k: int | None
    m: int | None
    p_raw: float | None
    p_scan: float | None
    q_bh: float | None
    """Benjamini–Hochberg over all tested rows' p_scan. Exploratory: it does not survive an adaptive proposer."""
    q_by: float | None
    p_holm: float | None
    p_confirm: float | None
    """Unadjusted confirmatory p of the row's route."""
    p_confirm_adj: float | None
    p_u_adj: float | None
    p_h_adj: float | None
    promoted: bool
    n_genes: int | None
    n_entity: int | None
    null: str | None
    prior: float
    direction: str
    parent: str | None
    proposer_move: str
    rationale: str
    reason: str
    """Why a row is untestable, invalid or failed."""
    min_effect: float | None
    statistic_hex: str | None
    spec: Mapping[str, Any]
    spec_sha256: str
    cache_digest: str
    views: tuple[Mapping[str, Any], ...]
    attempts: int
    level_lond: float | None = None
    """The level LOND (run's alpha) would have given this row at its place in the order of testing. Printed only: an
    adaptive proposer voids it. ``None`` for a row without a counted result, as in the two columns below."""
    level_saffron: float | None = None
    """The same for SAFFRON."""
    e_value: float | None = None
    """p_scan calibrated, 1 / (2·√p_scan): e-values of a run may be averaged. Printed only, exploratory like q_bh."""
    checks: Mapping[str, Any] = field(default_factory=dict)
    """See :class:`Tested`, as for all that follow."""
    effect_low: float | None = None
    effect_high: float | None = None
    interval_level: float | None = None
    interval_method: str | None = None
    interval_units: int | None = None
    interval_missing: str | None = None
    baselines: Mapping[str, float] = field(default_factory=dict)
    companions: Mapping[str, Any] = field(default_factory=dict)
    proposer: str = ""
    """Who proposed the row. Where a model's answer was unusable, the one who filled its slot."""
    proposal_source: Mapping[str, Any] = field(default_factory=dict)
    """See :attr:`Proposed.source`."""
    reviews: tuple[Mapping[str, Any], ...] = ()
    """What people said of the row, in order: the fields of ``Reviewed``."""
    invalidated: str = ""
    """Of a row that is ``stale``: who invalidated it, or the row it rests on, when and why."""
    verdict_of_run: str = ""
    """Of a row that is ``stale``: the verdict it had before."""
