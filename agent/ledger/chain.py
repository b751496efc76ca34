"""The hash chain: what an entry is, and how its two hashes are made. Pure functions of stored text."""

import json
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any

from ...hypotheses.canonical import canonical_json, sha256_text
from .errors import EXIT_VERIFICATION, LedgerError
from .records import RECORDS, Head, Record

GENESIS = Head(seq=0, hash="0" * 64, content_hash="0" * 64)
"""Head of a ledger without entries."""


@dataclass(frozen=True)
class Entry:
    """One link of the chain, exactly as stored."""

    seq: int
    """1, 2, 3 … without a gap."""
    kind: str
    """A key of ``RECORDS``."""
    content: str | None
    """Canonical JSON of the record; ``None`` for context kinds."""
    context: str
    """Canonical JSON: ``at`` (UTC, ISO 8601), what the writer added, and for context kinds the ``record``."""
    prev: str
    """``hash`` of the entry before; 64 zeros for the first."""
    hash: str
    content_hash: str
    """Chain over ``(kind, content)`` of content entries; a context entry repeats the value before it."""

    def head(self) -> Head:
        """The head of a ledger that ends here."""
        return Head(self.seq, self.hash, self.content_hash)

    def record(self) -> Record:
        """The typed record. Raises :class:`LedgerError` (exit code 4) if the stored text is not one."""
        try:
            return record_of(self.kind, self.content, self.context)
        except (KeyError, TypeError, ValueError) as error:
            raise LedgerError(
                f"entry {self.seq} ({self.kind}) cannot be read as a record: {error}; run `screen ledger verify`",
                EXIT_VERIFICATION,
            ) from error


def record_of(kind: str, content: str | None, context: str) -> Record:
    """The typed record of stored text. Raises ``KeyError``, ``TypeError`` or ``ValueError`` if it is not one."""
    if kind not in RECORDS:
        raise ValueError(f"unknown kind {kind!r}")
    body = json.loads(context)["record"] if content is None else json.loads(content)
    if not isinstance(body, dict):
        raise ValueError("the body is not a JSON object")
    return RECORDS[kind].from_content(body)


def link(previous: Head, kind: str, content: str | None, context: str) -> Entry:
    """The entry that follows ``previous``."""
    seq = previous.seq + 1
    return Entry(
        seq=seq,
        kind=kind,
        content=content,
        context=context,
        prev=previous.hash,
        hash=entry_hash(previous.hash, seq, kind, content, context),
        content_hash=next_content_hash(previous.content_hash, kind, content),
    )


def entry_hash(prev: str, seq: int, kind: str, content: str | None, context: str) -> str:
    """sha256 of the canonical JSON array of the five values: the array frames them, so no two entries read alike."""
    return _sha256_of_array(prev, seq, kind, content, context)


def next_content_hash(previous: str, kind: str, content: str | None) -> str:
    """Content hash after an entry: unchanged by context, so that crashes and clocks do not reach it."""
    return previous if content is None else _sha256_of_array(previous, kind, content)


def both_hashes(entry: Entry, content_before: str) -> tuple[str, str]:
    """What the hash and the content hash of a stored entry have to be; its content is written as JSON once for both."""
    content = "null" if entry.content is None else encode_basestring(entry.content)
    kind = encode_basestring(entry.kind)
    whole = f"[{encode_basestring(entry.prev)},{entry.seq},{kind},{content},{encode_basestring(entry.context)}]"
    if entry.content is None:
        return sha256_text(whole), content_before
    return sha256_text(whole), sha256_text(f"[{encode_basestring(content_before)},{kind},{content}]")


def _sha256_of_array(*values: str | int | None) -> str:
    """sha256 of the canonical JSON array of ``values``, three times as quick as by the general encoder."""
    texts = ["null" if v is None else encode_basestring(v) if isinstance(v, str) else str(v) for v in values]
    return sha256_text(f"[{','.join(texts)}]")


def canonical_text(value: Any, what: str) -> str:
    """Canonical JSON of ``value``; :class:`LedgerError` naming ``what`` for a value JSON or UTF-8 cannot hold."""
    try:
        text = canonical_json(value)
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise LedgerError(
            f"{what} holds an unpaired surrogate (U+{ord(error.object[error.start]):04X}), which is no Unicode text; "
            "replace it before recording"
        ) from error
    except (TypeError, ValueError) as error:
        raise LedgerError(f"{what} cannot be written as JSON: {error}; record plain finite values") from error
    return text
