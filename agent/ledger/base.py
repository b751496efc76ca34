"""What every kind of entry has in common."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self


@dataclass(frozen=True)
class Record:
    """Base of the entry types: a flat, JSON-able value with a ``KIND``."""

    KIND: ClassVar[str]

    def to_content(self) -> dict[str, Any]:
        """The value as plain JSON types (tuples become lists when serialised)."""
        return asdict(self)

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_content`. Unknown keys are refused (``ValueError``), so that no field is lost."""
        known = _KNOWN.get(cls.KIND) or _KNOWN.setdefault(cls.KIND, frozenset(f.name for f in fields(cls)))
        if not content.keys() <= known:
            unknown = sorted(content.keys() - known)
            raise ValueError(f"{cls.KIND} entry has unknown fields {unknown}; it was written by a newer hyposcreen")
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in content.items()})


_KNOWN: dict[str, frozenset[str]] = {}
"""Kind → names of its fields: a rebuild asks for every entry."""
