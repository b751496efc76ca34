"""A random key of this account, for draws that no ledger keeps (``screen test try``): a guessable one could be rebuilt inside."""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

_BYTES = 32
_PRIVATE = 0o600


def account_key() -> bytes:
    """32 random bytes, made once and kept where only this account reads them; new ones each time where nothing can be kept."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME") or "/nonexistent") / ".cache")
    path = base / "hyposcreen" / "blinding.key"
    held = _read(path)
    if held is None:
        _make(path)
        held = _read(path)  # of two that make it at once, one wins, and both read its
    return held or secrets.token_bytes(_BYTES)


def _read(path: Path) -> bytes | None:
    with suppress(OSError), path.open("rb") as file:
        facts = os.fstat(file.fileno())
        found = file.read(_BYTES + 1)
        if facts.st_uid == os.getuid() and stat.S_IMODE(facts.st_mode) == _PRIVATE and len(found) == _BYTES:
            return found
    return None


def _make(path: Path) -> None:
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
        with os.fdopen(file, "wb") as out:
            out.write(secrets.token_bytes(_BYTES))
        partial.replace(path)
