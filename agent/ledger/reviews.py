"""What people said of rows: one record a remark, and what an invalidation does to the rows that rest on it.

A review is context. It never reaches the content head, the digest of a proposer or a test: it changes what readers are
told, from the next read on, and the entries it speaks of stay as they were.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from .base import Record

Act = Literal["note", "agree", "doubt", "invalidate", "reinstate"]
ACTS: tuple[str, ...] = get_args(Act)
"""``reinstate`` takes a person's own ``invalidate`` back; both stay in the chain."""


@dataclass(frozen=True)
class Reviewed(Record):
    """Context: one remark of one person on one row. Appended, never edited."""

    KIND = "review"
    id: str
    author: str
    act: str
    """One of ``ACTS``."""
    text: str
    """In the person's own words; the reason of an invalidation or a reinstatement."""
    at: str
    """UTC, ISO 8601."""


def stale_rows(parents: Mapping[str, str | None], reviews: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Id → why the row is no claim any more, for every row that was invalidated or descends from one that was.

    ``parents`` holds every row, in order of registration, with the row it refines; ``reviews`` are the fields of
    :class:`Reviewed` in order of recording. The last of ``invalidate`` and ``reinstate`` counts. A row refines an earlier one,
    so one pass sees every ancestor before its descendants.
    """
    struck: dict[str, Mapping[str, Any]] = {}
    for review in reviews:
        if review["act"] == "invalidate":
            struck[review["id"]] = review
        elif review["act"] == "reinstate":
            struck.pop(review["id"], None)
    source: dict[str, str] = {}
    for id_, parent in parents.items():
        if id_ in struck:
            source[id_] = id_
        elif parent in source:
            source[id_] = source[parent]
    return {id_: _sentence(id_, struck[by]) for id_, by in source.items()}


def _sentence(id_: str, review: Mapping[str, Any]) -> str:
    how = "invalidated" if review["id"] == id_ else f"it rests on {review['id']}, which was invalidated"
    return f"{how} by {review['author']} on {review['at'][:10]}: {review['text']}"
