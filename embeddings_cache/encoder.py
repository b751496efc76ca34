"""The scGPT encoder as a plain torch module, giving the state after every block.

Parameter names and shapes are those of the released checkpoints, so a canonical state dict loads as it is. The
architecture: gene embedding and value embedding are each layer-normalised and added; then post-norm transformer blocks
with ReLU, and no positional encoding, so a cell is a set and the order of its genes does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader expects
from torch import Tensor, nn

MAX_VALUE = 512.0
"""Values are clamped here before they are embedded, as in the released model."""


@dataclass(frozen=True)
class Architecture:
    """Shape of an encoder.

    Attributes:
        n_tokens: rows of the gene embedding, special tokens included.
        dim: width of every state.
        n_layers: number of blocks.
        n_heads: attention heads; divides ``dim``.
        hidden: width inside the feed-forward part.
        pad_id: row of ``<pad>``, which stays zero in training, or ``None``.
        dropout: applied in training only.
    """

    n_tokens: int
    dim: int
    n_layers: int
    n_heads: int
    hidden: int
    pad_id: int | None = None
    dropout: float = 0.0


class GeneEncoder(nn.Module):
    """Look up and normalise gene identities: ids ``[...]`` to ``[..., dim]``."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.n_tokens, shape.dim, padding_idx=shape.pad_id)
        self.enc_norm = nn.LayerNorm(shape.dim)

    def forward(self, ids: Tensor) -> Tensor:
        """Embed gene ids."""
        normed: Tensor = self.enc_norm(self.embedding(ids))
        return normed


class ValueEncoder(nn.Module):
    """Embed one expression value per token: values ``[...]`` to ``[..., dim]``."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.linear1 = nn.Linear(1, shape.dim)
        self.linear2 = nn.Linear(shape.dim, shape.dim)
        self.norm = nn.LayerNorm(shape.dim)
        self.dropout = shape.dropout

    def forward(self, values: Tensor) -> Tensor:
        """Embed values."""
        clamped = values.unsqueeze(-1).clamp(max=MAX_VALUE)
        normed = self.norm(self.linear2(F.relu(self.linear1(clamped))))
        return F.dropout(normed, self.dropout, self.training)


class SelfAttention(nn.Module):
    """Multi-head self-attention among the tokens of one cell."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * shape.dim, shape.dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * shape.dim))
        self.out_proj = nn.Linear(shape.dim, shape.dim)
        self.n_heads = shape.n_heads
        self.dropout = shape.dropout
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, lengths: Sequence[int] | None, valid: Tensor | None) -> Tensor:
        """Mix tokens; see :meth:`ScGPTEncoder.iter_states` for the two layouts."""
        projected = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        if lengths is None:
            mixed = self._attend(projected, valid).flatten(-2)
        else:
            # Each cell is written to its place at once: joining them afterwards would copy everything twice.
            mixed = torch.empty_like(x)
            cells = (torch.split(whole, list(lengths)) for whole in (projected, mixed))
            for part, place in zip(*cells, strict=True):
                place.view(len(part), self.n_heads, -1).copy_(self._attend(part.unsqueeze(0), None).squeeze(0))
        out: Tensor = self.out_proj(mixed)
        return out

    def _attend(self, projected: Tensor, valid: Tensor | None) -> Tensor:
        """Return what each head mixed, ``[cells, tokens, heads, dim / heads]``."""
        batch, length, _ = projected.shape
        query, key, value = projected.view(batch, length, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        mask = None if valid is None else valid[:, None, None, :]
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        return mixed.transpose(1, 2)


class Block(nn.Module):
    """One post-norm transformer block with a ReLU feed-forward part."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.self_attn = SelfAttention(shape)
        self.linear1 = nn.Linear(shape.dim, shape.hidden)
        self.linear2 = nn.Linear(shape.hidden, shape.dim)
        self.norm1 = nn.LayerNorm(shape.dim)
        self.norm2 = nn.LayerNorm(shape.dim)
        self.dropout = shape.dropout

    def forward(self, x: Tensor, lengths: Sequence[int] | None, valid: Tensor | None) -> Tensor:
        """Return the state after the second norm, same shape as ``x``."""
        x = self.norm1(self._drop(self.self_attn(x, lengths, valid)).add_(x))
        inner = self._drop(F.relu(self.linear1(x), inplace=True))
        out: Tensor = self.norm2(self._drop(self.linear2(inner)).add_(x))
        return out

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class BlockStack(nn.Module):
    """Holds the blocks under the name that the released state dict uses."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        # Built one by one: nn.TransformerEncoder copies its first layer, so an untrained one has identical layers.
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.n_layers))


class ScGPTEncoder(nn.Module):
    """scGPT without its task heads."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = GeneEncoder(shape)
        self.value_encoder = ValueEncoder(shape)
        self.transformer_encoder = BlockStack(shape)
        nn.init.uniform_(self.encoder.embedding.weight, -0.1, 0.1)

    def iter_states(
        self, ids: Tensor, values: Tensor, *, lengths: Sequence[int] | None = None, valid: Tensor | None = None
    ) -> Iterator[Tensor]:
        """Yield the ``n_layers + 1`` states one by one, so that a caller need not hold them all.

        Two layouts are understood. *Padded*: ``ids`` and ``values`` are ``[cells, tokens]`` and ``valid`` (bool, the
        same shape) is false at padding. *Packed*: they are ``[tokens]``, several cells after one another, and
        ``lengths`` gives the tokens of each; nothing is padded.

        Args:
            ids: rows of the gene embedding, int64.
            values: expression values, floating point.
            lengths: tokens per cell, packed layout only.
            valid: which tokens are real, padded layout only.

        Yields:
            The input embedding, then the output of each block, shape ``ids.shape + (dim,)``.
        """
        x = self.encoder(ids) + self.value_encoder(values)
        yield x
        for block in self.transformer_encoder.layers:
            x = block(x, lengths, valid)
            yield x

    def states(
        self, ids: Tensor, values: Tensor, *, lengths: Sequence[int] | None = None, valid: Tensor | None = None
    ) -> list[Tensor]:
        """Return all ``n_layers + 1`` states; arguments as in :meth:`iter_states`."""
        return list(self.iter_states(ids, values, lengths=lengths, valid=valid))

    def forward(self, ids: Tensor, values: Tensor) -> Tensor:
        """Return the last state of a padded batch without padding, ``[cells, tokens, dim]``."""
        return self.states(ids, values)[-1]
