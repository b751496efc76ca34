"""What a hypothesis is: a typed test specification, frozen, hashed, and small enough to read.

A :class:`TestSpec` says everything a test needs and nothing it can be tempted with: no row numbers, no thresholds, no
results. The same spec is tested on genes A, on genes B and on the universe; what differs is which rows are handed over.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from ..tests_library.nulls import NULLS
from .canonical import sha256_of

_OF_CODE = {"code", "order_invariant"}


@dataclass(frozen=True)
class TestSpec:
    """Entity × views × statistic × nulls."""

    __test__ = False  # not a pytest class, whatever its name says

    test: str
    """Test kind of the catalogue; it fixes the statistic and the alternative."""
    annotation: str
    """Name of the entity."""
    annotation_digest: str
    """sha256 of the entity's content."""
    background: str | None
    """Annotation whose genes form the universe; ``None`` means every usable gene."""
    background_digest: str | None
    cache_digest: str
    layers: str
    """Layer option of the grammar: ``all``, ``early``, ``late`` or one layer."""
    coordinates: str
    """Coordinate option of the grammar: ``all``, a band, or one coordinate."""
    alternative: str
    nulls: tuple[str, ...] = tuple(NULLS)
    """Companion nulls: those of every test, and the test kind's own. A claim uses the largest p."""
    scan: str = "max_t"
    """How views are combined into one p-value."""
    code: str = ""
    """sha256 of the statistic's own code, where a model wrote it; a library test has none, and this and the next field are then
    left out of the JSON."""
    order_invariant: bool = True
    """Of such a statistic: whether genes in another order give the same values."""

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON types."""
        said = asdict(self)
        return said if self.code else {name: value for name, value in said.items() if name not in _OF_CODE}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_json`; unknown or missing keys raise ``ValueError``."""
        known = {f.name for f in fields(cls)} - (set() if value.get("code") else _OF_CODE)
        if set(value) != known:
            raise ValueError(f"a test spec has the keys {sorted(known)}; here {sorted(set(value) ^ known)} differ")
        return cls(**{**value, "nulls": tuple(value["nulls"])})

    @property
    def sha256(self) -> str:
        """Digest of the spec as written."""
        return sha256_of(self.to_json())

    @property
    def novelty_sha256(self) -> str:
        """Digest of what the spec means: names are replaced by content, so a renamed copy of a set is a duplicate."""
        return sha256_of({**self.to_json(), "annotation": None, "background": None})


@dataclass(frozen=True)
class Proposal:
    """What a proposer says in one slot. Untrusted: every field is checked against the grammar before it becomes a spec."""

    test: str
    annotation: str
    layers: str
    coordinates: str
    claim: str
    """The claim in words; displayed, escaped, never interpreted."""
    prior: float
    """Probability, stated before the test, that the row will be confirmed."""
    direction: str
    """Predicted direction: ``greater``, ``less`` or ``either``."""
    rationale: str
    move: str
    """``cover``, ``refine``, ``transfer`` …"""
    parent: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)
