"""The little of ``torchtext.vocab`` that scGPT's vocabulary class is built on, in plain Python.

torchtext has no build for torch 2.4 and newer, so the ``scgpt`` package cannot be imported beside them. Nothing here
computes: it maps tokens to numbers. It is used only where the real torchtext cannot be imported, and manifests say so.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping, Sequence


class TokenTable:
    """Tokens by number and numbers by token."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.numbers: dict[str, int] = {}
        self.default: int | None = None


class Vocab:
    """The interface of ``torchtext.vocab.Vocab`` over a :class:`TokenTable`, which two vocabularies may share."""

    def __init__(self, vocab: TokenTable) -> None:
        self.vocab = vocab

    def __len__(self) -> int:
        """Number of tokens."""
        return len(self.vocab.tokens)

    def __contains__(self, token: str) -> bool:
        """Whether ``token`` has a number of its own."""
        return token in self.vocab.numbers

    def __getitem__(self, token: str) -> int:
        """Return the number of ``token``, or the default; raises ``RuntimeError`` like torchtext where there is none."""
        number = self.vocab.numbers.get(token, self.vocab.default)
        if number is None:
            raise RuntimeError(f"Token {token} not found and default index is not set")
        return number

    def __call__(self, tokens: Iterable[str]) -> list[int]:
        """Return the number of each token."""
        return [self[token] for token in tokens]

    def append_token(self, token: str) -> None:
        """Add a token at the end."""
        self.insert_token(token, len(self))

    def insert_token(self, token: str, index: int) -> None:
        """Add a token with the number ``index``; later ones move up."""
        if token in self:
            raise RuntimeError(f"Token {token} already exists in the Vocab with index: {self[token]}.")
        if not 0 <= index <= len(self):
            raise RuntimeError(f"Specified index {index} is out of bounds for vocab of size {len(self)}")
        self.vocab.tokens.insert(index, token)
        moved = self.vocab.tokens[index:]
        self.vocab.numbers.update(zip(moved, range(index, len(self)), strict=True))

    def set_default_index(self, index: int | None) -> None:
        """Set the number that unknown tokens get."""
        self.vocab.default = index

    def get_default_index(self) -> int | None:
        """Return the number that unknown tokens get."""
        return self.vocab.default

    def get_itos(self) -> list[str]:
        """Return the tokens by number."""
        return list(self.vocab.tokens)

    def get_stoi(self) -> dict[str, int]:
        """Return the numbers by token."""
        return dict(self.vocab.numbers)

    def lookup_token(self, index: int) -> str:
        """Return the token with the number ``index``."""
        return self.vocab.tokens[index]

    def lookup_tokens(self, indices: Sequence[int]) -> list[str]:
        """Return the tokens with these numbers."""
        return [self.lookup_token(index) for index in indices]

    def lookup_indices(self, tokens: Sequence[str]) -> list[int]:
        """Return the numbers of these tokens."""
        return self(tokens)


def vocab(ordered: Mapping[str, int], min_freq: int = 1) -> Vocab:
    """Return a vocabulary of the tokens that occur at least ``min_freq`` times, in their order."""
    made = Vocab(TokenTable())
    for token, count in ordered.items():
        if count >= min_freq:
            made.append_token(token)
    return made


def stand_in_modules() -> dict[str, types.ModuleType]:
    """Return modules ``torchtext`` and ``torchtext.vocab`` for ``sys.modules``."""
    package, part = types.ModuleType("torchtext"), types.ModuleType("torchtext.vocab")
    package.__path__ = []
    package.vocab = part  # type: ignore[attr-defined]
    part.Vocab, part.vocab = Vocab, vocab  # type: ignore[attr-defined]
    return {"torchtext": package, "torchtext.vocab": part}
