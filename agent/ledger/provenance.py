"""What a run was computed with: kept so that a replay years later can say what has changed since.

Both kinds are context: the same inputs and seed reach the same content head with other packages, as long as the numbers
agree.
"""

import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from ...hypotheses.canonical import sha256_of, sha256_text
from .base import Record

ENCODING = "zlib+base64"


@dataclass(frozen=True)
class Artifact(Record):
    """Context: a text the run rests on, named by its content. The same text is recorded once."""

    KIND = "artifact"
    sha256: str
    """Of the text as UTF-8."""
    name: str
    """What it is: ``code`` is a JSON object, path within the package → source."""
    encoding: str
    body: str
    """The text, compressed; see :meth:`text`."""

    @classmethod
    def of(cls, name: str, text: str) -> Self:
        """The artifact that holds ``text``."""
        return cls(sha256_text(text), name, ENCODING, b64encode(zlib.compress(text.encode(), 9)).decode("ascii"))

    def text(self) -> str:
        """The text. Raises ``ValueError`` if the body is not what ``sha256`` names."""
        if self.encoding != ENCODING:
            raise ValueError(f"artifact {self.name} is encoded as {self.encoding!r}; a newer hyposcreen wrote it")
        try:
            text = zlib.decompress(b64decode(self.body, validate=True)).decode("utf-8")
        except (zlib.error, ValueError) as error:
            raise ValueError(f"artifact {self.name} cannot be unpacked: {error}") from None
        if sha256_text(text) != self.sha256:
            raise ValueError(f"artifact {self.name} does not have the content that its sha256 {self.sha256[:12]} names")
        return text


@dataclass(frozen=True)
class Environment(Record):
    """Context: what computed the entries from here on, until the next of its kind. Recorded when it changes."""

    KIND = "environment"
    code: str
    """sha256 of the artifact ``code``: every file of the package that makes numbers."""
    inputs: Mapping[str, str]
    """File of the cache → sha256."""
    packages: Mapping[str, str]
    """Python and the numeric packages → version."""
    numerics: Mapping[str, Any]
    """Libraries of linear algebra, threads, number formats, whether kernels are compiled."""
    machine: Mapping[str, str]
    """Operating system, architecture, processor; no host name."""

    @property
    def name(self) -> str:
        """What results call it: the start of its sha256."""
        return sha256_of(self.to_content())[:16]
