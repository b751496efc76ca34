"""Fetching the files of ``sources.toml``: resumed where a fetch was cut off, checked against what was published or seen first.

The standard library does it, for the reason ``embeddings_cache/fetch.py`` gives. Here sizes may be unknown, so a part is
resumed only under ``If-Range``: a server whose file has changed since sends it whole, and two versions are never spliced.
"""

import hashlib
import http.client
import json
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..annotation_files import AnnotationError

SOURCES = Path(__file__).with_name("sources.toml")
RECORD = "fetched.json"
_CHUNK, _TIMEOUT, _ATTEMPTS = 1 << 16, 30.0, 4

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Source:
    """One file that can be fetched."""

    name: str
    url: str
    version: str
    licence: str
    citation: str
    how: str
    """Options of ``screen annotations import`` that read it; empty for a table of names."""
    sha256: str = ""
    bytes: int = 0

    @property
    def file(self) -> str:
        """Its name on disk: the last part of the address."""
        return Path(urlsplit(self.url).path).name


def checksum_note(wanted: Source, folder: Path) -> str:
    """What the bytes of ``wanted`` are held to, in words: a published sha256, the one recorded in ``folder``, or none yet."""
    if wanted.sha256:
        return f"published {wanted.sha256[:12]}"
    seen = _seen(folder).get(wanted.url, {}).get("sha256", "")
    return f"first fetch {seen[:12]}" if seen else "none yet"


def read_sources(path: Path = SOURCES) -> dict[str, Source]:
    """Every source of a registry file, by name."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: Source(name, how=table.pop("import"), **table) for name, table in tables.items()}
    except (OSError, tomllib.TOMLDecodeError, TypeError, KeyError) as error:
        raise AnnotationError(f"{path} is no registry of sources ({error}); give the file that came with it") from None


def source(name: str, registry: Mapping[str, Source]) -> Source:
    """The source called ``name``; the message lists those there are."""
    if name not in registry:
        raise AnnotationError(f"there is no source '{name}' to fetch; choose one of {', '.join(registry)}")
    return registry[name]


def fetch(wanted: Source, folder: Path, *, progress: Progress | None = None, pause: float = 1.0) -> tuple[Path, bool]:
    """(file, whether it was fetched now). A file that is there and is the recorded one is not fetched again.

    Raises ``AnnotationError`` where the server cannot be reached or the bytes are others than published or first seen.
    """
    if not wanted.url.startswith(("http://", "https://")):
        raise AnnotationError(
            f"the address of {wanted.name} is '{wanted.url}', and must begin with http:// or https://"
        )
    target, seen = folder / wanted.file, _seen(folder)
    known = wanted.sha256 or seen.get(wanted.url, {}).get("sha256", "")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.exists():
            found = _sha256(target)
            if known and found != known:
                raise AnnotationError(
                    f"{target} is there with sha256 {found[:12]}…, and {known[:12]}… was recorded: move it away, fetch again"
                )
            _record(folder, wanted, target, found)
            return target, False
        part = folder / f"{wanted.file}.part"
        _whole(wanted, part, progress, pause)
        found = _sha256(part)
        if known and found != known:
            part.unlink()
            raise AnnotationError(
                f"{wanted.url} gave sha256 {found[:12]}…, and {known[:12]}… is recorded: the file has changed at its address. "
                f"Remove its entry from {folder / RECORD} to take the new one"
            )
        part.replace(target)
        part.with_name(part.name + ".tag").unlink(missing_ok=True)
        _record(folder, wanted, target, found)
    except OSError as error:
        raise AnnotationError(
            f"{folder} cannot be written ({error}); make room, or choose another folder with --to"
        ) from None
    return target, True


def _whole(wanted: Source, part: Path, progress: Progress | None, pause: float) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            _append(wanted, part, progress)
            return
        except _BrokenError as error:
            if attempt == _ATTEMPTS - 1 or not error.again:
                done = part.stat().st_size if part.exists() else 0
                raise AnnotationError(
                    f"{wanted.url} cannot be fetched ({error}); run the command again, which goes on after {done:,} bytes, or "
                    f"put the file at {part.with_name(wanted.file)} from another machine"
                ) from None
            time.sleep(pause * 2**attempt)


class _BrokenError(Exception):
    """The server cannot be reached, or ended early; ``again`` says whether another attempt may help."""

    def __init__(self, message: str, again: bool = True) -> None:
        super().__init__(message)
        self.again = again


def _append(wanted: Source, part: Path, progress: Progress | None) -> None:
    """Bring ``part`` to its end, from where it is if the server still has the same file."""
    tag_file = part.with_name(part.name + ".tag")
    done = part.stat().st_size if part.exists() else 0
    tag = tag_file.read_text(encoding="utf-8") if tag_file.exists() else ""
    headers = {"Range": f"bytes={done}-", "If-Range": tag} if done and tag else {}
    try:
        response = urllib.request.urlopen(urllib.request.Request(wanted.url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the part is not of this file, or longer than it: begin again
            part.unlink(missing_ok=True)
        raise _BrokenError(
            f"the server says {error.code} {error.reason}", error.code >= 500 or error.code == 416
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(str(getattr(error, "reason", error))) from None
    with response:
        resumed = response.status == 206
        tag_file.write_text(_tag(response.headers), encoding="utf-8")
        length = response.headers.get("Content-Length")
        total = (done if resumed else 0) + int(length) if length else 0
        with part.open("ab" if resumed else "wb") as out:
            _copy(response, out, wanted.file, total, progress)
    if total and part.stat().st_size < total:
        raise _BrokenError(f"the connection ended after {part.stat().st_size:,} of {total:,} bytes")


def _tag(headers: Mapping[str, str]) -> str:
    """What names this version of the file; weak tags may not be used with a range (RFC 9110)."""
    etag = headers.get("ETag") or ""
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified") or ""


def _copy(response: Any, out: Any, file: str, total: int, progress: Progress | None) -> None:
    while True:
        try:
            chunk = response.read1(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenError(f"the connection broke: {error}") from None
        if not chunk:
            return
        out.write(chunk)
        if progress is not None:
            progress(file, out.tell(), max(total, out.tell()))


def _seen(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    if not path.exists():
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AnnotationError(f"{path} is not valid JSON ({error}); mend it, or remove it and fetch again") from None
    return found


def _record(folder: Path, wanted: Source, target: Path, sha256: str) -> None:
    seen = _seen(folder)
    seen[wanted.url] = {
        "file": target.name, "sha256": sha256, "bytes": target.stat().st_size, "version": wanted.version,
        "licence": wanted.licence, "citation": wanted.citation,
    }  # fmt: skip
    partial = folder / f".{RECORD}.part"
    partial.write_text(json.dumps(seen, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(folder / RECORD)


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
