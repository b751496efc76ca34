"""Fetching a released checkpoint at its pinned revision: every byte verified, an interrupted fetch goes on where it was.

The standard library does it. huggingface_hub (2.4) and pooch (1.9) both begin again after a kill, which with 205 MB is
what hurts; what remains is a range request and a sha256.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import CacheError
from .releases import RELEASES

ENDPOINT = "https://huggingface.co"
ENDPOINT_VARIABLE = "HF_ENDPOINT"
"""Address of a mirror; the name that other programs use for it too."""

_CHUNK = 1 << 20
_TIMEOUT = 30.0
_ATTEMPTS = 5

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Fetchable:
    """A checkpoint that can be fetched.

    Attributes:
        repository: on the model hub.
        revision: the commit, pinned.
        files: name → (bytes, sha256 hex).
    """

    repository: str
    revision: str
    files: Mapping[str, tuple[int, str]]

    def url(self, endpoint: str, file: str) -> str:
        """Address of a file at the pinned revision."""
        return f"{endpoint.rstrip('/')}/{self.repository}/resolve/{self.revision}/{file}"


_WHOLE_HUMAN = next(release for release in RELEASES if release.name == "scGPT whole-human")

FETCHABLE: dict[str, Fetchable] = {
    "scgpt-human": Fetchable(
        repository="wanglab/scGPT-human",
        revision="a24c237737a40f3720f75abb555489e9fe753be6",
        files={
            "args.json": (1_300, _WHOLE_HUMAN.args),
            "vocab.json": (1_317_639, _WHOLE_HUMAN.vocab),
            "best_model.pt": (205_385_258, _WHOLE_HUMAN.weights),
        },
    ),
}
"""What ``screen cache fetch`` knows, by name."""


def fetchable(name: str) -> Fetchable:
    """Return what is known under a name; raises ``CacheError`` that lists the names."""
    if name not in FETCHABLE:
        raise CacheError(f"there is no release '{name}' to fetch: choose one of {', '.join(FETCHABLE)}.")
    return FETCHABLE[name]


def fetch(
    release: Fetchable,
    folder: str | Path,
    *,
    endpoint: str | None = None,
    progress: Progress | None = None,
    pause: float = 1.0,
) -> Path:
    """Fetch a checkpoint into ``folder`` and return it; files that are there and right are not fetched again.

    Args:
        release: what to fetch.
        folder: made if missing. A file is complete or it ends in ``.part``.
        endpoint: address of the hub or a mirror; ``HF_ENDPOINT`` or the public hub when not given.
        progress: called with (file, bytes there, bytes in all).
        pause: seconds before the second attempt, doubled for each further one.

    Raises:
        CacheError: if the hub cannot be reached, answers with other bytes, or the disk is full.
    """
    base = endpoint or os.environ.get(ENDPOINT_VARIABLE) or ENDPOINT
    if not base.startswith(("http://", "https://")):
        raise CacheError(
            f"the address '{base}' does not begin with http:// or https://: give --endpoint the whole address."
        )
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, (size, sha256) in release.files.items():
            _fetch_file(release.url(base, file), folder / file, size, sha256, progress, pause)
    except OSError as error:
        raise CacheError(
            f"{folder} cannot be written ({error}): make room or choose another folder with --to."
        ) from error
    return folder


def _fetch_file(url: str, path: Path, size: int, sha256: str, progress: Progress | None, pause: float) -> None:
    if path.exists():
        if _sha256(path) != sha256:
            raise CacheError(f"{path} is there and is not the released file: move it away and fetch again.")
        if progress is not None:
            progress(path.name, size, size)
        return
    part = path.with_name(path.name + ".part")
    for attempt in range(_ATTEMPTS):
        try:
            _append(url, part, size, lambda done: progress(path.name, done, size) if progress is not None else None)
            break
        except _UnreachableError as error:
            if attempt == _ATTEMPTS - 1 or not error.again:
                raise CacheError(
                    f"{url} cannot be fetched ({error}): see to the network and run the command again, which goes on after "
                    f"{_size(part):,} of {size:,} bytes, or copy the file to {path} from another machine."
                ) from error
            time.sleep(pause * 2**attempt)
    found = _sha256(part)
    if found != sha256:
        part.unlink()
        raise CacheError(
            f"{url} gave {path.name} with sha256 {found[:12]}…, and the released file has {sha256[:12]}…: it was changed on "
            "the way, so fetch it from another address with --endpoint."
        )
    part.replace(path)


class _UnreachableError(Exception):
    """The server cannot be reached or answers with an error; ``again`` says whether another attempt may help."""

    def __init__(self, message: str, again: bool = True) -> None:
        super().__init__(message)
        self.again = again


def _append(url: str, part: Path, size: int, progress: Callable[[int], None]) -> None:
    """Bring ``part`` to ``size`` bytes, from where it ends. Raises :class:`_UnreachableError`, and ``OSError`` of the disk."""
    if _size(part) > size:
        part.unlink()
    while (done := _size(part)) < size:
        request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
        try:
            response = urllib.request.urlopen(request, timeout=_TIMEOUT)
        except urllib.error.HTTPError as error:
            raise _UnreachableError(f"the server says {error.code} {error.reason}", again=error.code >= 500) from error
        except (OSError, http.client.HTTPException) as error:
            raise _UnreachableError(str(getattr(error, "reason", error))) from error
        with response, part.open("ab" if response.status == 206 else "wb") as out:
            for chunk in _chunks(response):
                out.write(chunk)
                progress(out.tell())
                if out.tell() > size:
                    return  # more than the file has; the sha256 will tell
            out.flush()
            os.fsync(out.fileno())
        if _size(part) <= done:
            raise _UnreachableError("the server sends nothing more")


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read1(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _UnreachableError(f"the connection broke: {error}") from error
        if not chunk:
            return
        yield chunk


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
