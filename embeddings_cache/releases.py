"""Released checkpoints that are recognised by their bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .errors import CacheError


@dataclass(frozen=True)
class Release:
    """One released model.

    Attributes:
        name: what manifests call it.
        source: where it comes from, with its revision.
        weights: sha256 (hex) of ``best_model.pt``.
        vocab: sha256 (hex) of ``vocab.json``.
        args: sha256 (hex) of ``args.json``.
        n_heads: attention heads, which no tensor's shape shows.
    """

    name: str
    source: str
    weights: str
    vocab: str
    args: str
    n_heads: int


RELEASES: tuple[Release, ...] = (
    Release(
        name="scGPT whole-human",
        source="huggingface.co/wanglab/scGPT-human, revision a24c237737a40f3720f75abb555489e9fe753be6",
        weights="6cb5d451ab5c4b33eb673adbe4fddc61d2389df1b89b7651a9fe2e557572b922",
        vocab="acca93d114ca62c3f0f50debbd23e8c87f0714f4737764454f6b2b13f2e8580f",
        args="c18e075e018140cb8b2d9029387b9de26607a5ce6a8ccabd6ead70cd76b95d60",
        n_heads=8,
    ),
)
"""Models known by hash. Another model is read as well; it is only not named."""


def recognise(files: Mapping[str, str], n_heads: int, folder: str) -> Release | None:
    """Return the release whose weights these are, or ``None``.

    Args:
        files: sha256 (hex) by file name.
        n_heads: attention heads according to ``args.json``.
        folder: how errors name the checkpoint.

    Raises:
        CacheError: if the weights are a known release and the vocabulary is another one, which would give every gene
            the embedding of a different gene without any tensor's shape telling; or if the heads are others.
    """
    found = next((release for release in RELEASES if release.weights in files.values()), None)
    if found is None:
        return None
    if files.get("vocab.json") != found.vocab:
        raise CacheError(
            f"{folder}/vocab.json is not the vocabulary that was released with these weights ({found.name}): "
            f"download it again from {found.source}."
        )
    if n_heads != found.n_heads:
        raise CacheError(
            f"{folder}/args.json gives nheads = {n_heads} and {found.name} has {found.n_heads}: "
            f"download it again from {found.source}."
        )
    return found
