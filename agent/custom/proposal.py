"""What a model says when it brings a statistic of its own. Untrusted, the code most of all."""

from dataclasses import dataclass

from ...hypotheses.canonical import sha256_text
from ...hypotheses.spec import Proposal

MAX_CODE = 1 << 15
"""Characters of a statistic."""


@dataclass(frozen=True)
class CodeProposal(Proposal):
    """A proposal that brings its own statistic. See the module docstring."""

    code: str = ""
    """Python that defines ``statistic(emb, labels)`` or ``statistic_batch(emb, L)``."""
    order_invariant: bool = True
    """Whether its values are the same for genes in another order. If so, that is checked; if not, the row says so."""

    @property
    def sha256(self) -> str:
        """Of the code."""
        return sha256_text(self.code)


def code_fault(code: str) -> str:
    """Why a text cannot be kept as a statistic, or empty. Whether it is Python, the rehearsal finds out."""
    if not code.strip():
        return "code is empty; write Python that defines statistic(emb, labels)"
    if len(code) > MAX_CODE:
        return f"code has {len(code)} characters; a statistic is one function of at most {MAX_CODE}"
    try:
        code.encode()
    except UnicodeEncodeError:
        return "code holds characters that UTF-8 cannot; write plain text"
    return ""
