"""Mean attention between chosen genes, per block, without ever holding tokens x tokens for all genes of a data set.

Asked of every cell in which two chosen genes are both read: how much does the token of one (the query) attend to the token
of the other (the key), averaged over heads? Attention is a softmax over *all* tokens of the cell, so rows over chosen
keys do not add to 1, and longer cells give smaller numbers.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader expects
from torch import Tensor

from .encoder import SelfAttention
from .exact_sums import on_grid


def attention_among(attention: SelfAttention, entering: Tensor, chosen: Tensor) -> Tensor:
    """Attention of one cell among chosen tokens, averaged over heads.

    Args:
        attention: the block's attention.
        entering: the state that enters the block, ``[tokens, dim]``.
        chosen: positions of the chosen tokens, int64 ``[k]``.

    Returns:
        Attention of query ``i`` to key ``j``, ``[k, k]``, each at most 1.
    """
    dim, heads = entering.shape[-1], attention.n_heads
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    query = F.linear(entering.index_select(0, chosen), weight[:dim], bias[:dim]).view(-1, heads, dim // heads)
    key = F.linear(entering, weight[dim : 2 * dim], bias[dim : 2 * dim]).view(-1, heads, dim // heads)
    logits = query.transpose(0, 1) @ key.permute(1, 2, 0) * (dim // heads) ** -0.5
    shares = torch.softmax(logits.float(), dim=-1).index_select(2, chosen)
    return shares.mean(dim=0)


def add_attention(
    block: Any, entering: Tensor, lengths: list[int], places: list[tuple[Tensor, Tensor]], sums: Tensor, magic: float
) -> None:
    """Add the attention of a packed group of cells to ``sums`` (float64 ``[n_chosen, n_chosen]``).

    Args:
        block: a transformer block, with its attention in ``self_attn``.
        entering: the state that enters the block, ``[tokens, dim]``.
        lengths: tokens of each cell.
        places: for each cell the positions of its chosen tokens and which chosen genes they are.
        sums: changed in place.
        magic: see :func:`hyposcreen.embeddings_cache.exact_sums.rounder`; attention is at most 1.
    """
    flat, side = sums.view(-1), len(sums)
    for cell, (positions, genes) in zip(torch.split(entering, lengths), places, strict=True):
        if len(positions):
            shares = on_grid(attention_among(block.self_attn, cell, positions).to(torch.float64), magic)
            pairs = genes[:, None] * side + genes[None, :]
            flat.index_add_(0, pairs.view(-1), shares.reshape(-1))
