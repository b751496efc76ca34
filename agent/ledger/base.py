"""What every kind of entry has in common."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from functools import partial
from typing import Any, ClassVar, Self, get_origin


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
        shape = _SHAPES.get(cls) or _SHAPES.setdefault(cls, _shape(cls))
        values = dict(content)
        if values.keys() != shape.names:
            if unknown := sorted(values.keys() - shape.names):
                raise ValueError(f"{cls.KIND} entry has unknown fields {unknown}; it was written by a newer hyposcreen")
            if missing := sorted(shape.required - values.keys()):
                raise TypeError(f"{cls.KIND} entry lacks {missing}")
            values |= {name: default() for name, default in shape.optional.items() if name not in values}
        for name in shape.tuples:
            values[name] = tuple(values[name])
        # Past __init__, which a frozen type makes slow: a large ledger is verified by reading millions of these.
        record = object.__new__(cls)
        record.__dict__.update(values)
        return record


@dataclass(frozen=True)
class _Shape:
    """The fields of one type of record."""

    names: frozenset[str]
    required: frozenset[str]
    optional: Mapping[str, Callable[[], Any]]
    """Name → what makes the value of a field that an entry leaves out."""
    tuples: tuple[str, ...]
    """Fields that JSON holds as lists."""


def _shape(cls: type[Record]) -> _Shape:
    optional = {}
    for f in fields(cls):
        if f.default_factory is not MISSING:
            optional[f.name] = f.default_factory
        elif f.default is not MISSING:
            optional[f.name] = partial(_same, f.default)
    names = frozenset(f.name for f in fields(cls))
    tuples = tuple(f.name for f in fields(cls) if get_origin(f.type) is tuple)
    return _Shape(names, names - optional.keys(), optional, tuples)


def _same(value: Any) -> Any:
    return value


_SHAPES: dict[type[Record], _Shape] = {}
