"""What methods that choose blocks share: means of blocks, key heads per query head, which blocks a tile may see.

Shapes: B batch, H query heads, K key-value heads, L tokens, D head width, Q query blocks (tiles), N key blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from allocentric.sparse_attn.plan import Extent, block_count


def wide(t: Tensor) -> Tensor:
    """At least single precision: scores that decide something aren't computed in half precision."""
    return t if t.dtype == torch.float64 else t.float()


def per_query_head(t_BKSD: Tensor, heads: int) -> Tensor:
    """(B, H, ...): every query head's key-value head."""
    groups = heads // t_BKSD.shape[1]
    return t_BKSD if groups == 1 else t_BKSD.repeat_interleave(groups, dim=1)


def block_mean(t_BHLD: Tensor, block: int) -> Tensor:
    """(B, H, N, D): mean of every block over the tokens it has; the last may be short."""
    length = t_BHLD.shape[2]
    sums = pad(t_BHLD, (0, 0, 0, -length % block)).unflatten(2, (-1, block)).sum(3)
    count = torch.full((block_count(length, block), 1), block, dtype=t_BHLD.dtype, device=t_BHLD.device)
    count[-1] = length - (len(count) - 1) * block
    mean: Tensor = sums / count
    return mean


def block_max(t_BHLD: Tensor, block: int) -> Tensor:
    """(B, H, N, D): greatest of every block; the last may be short."""
    padded = pad(t_BHLD, (0, 0, 0, -t_BHLD.shape[2] % block), value=float("-inf"))
    greatest: Tensor = padded.unflatten(2, (-1, block)).amax(3)
    return greatest


def tile_ends(extent: Extent, q_block: int) -> tuple[Tensor, Tensor]:
    """(Q,) absolute positions of the first and the last query of every query block."""
    first = torch.arange(block_count(extent.q_len, q_block), device=extent.device) * q_block
    last = (first + q_block - 1).clamp(max=extent.q_len - 1)
    return first + extent.q_offset, last + extent.q_offset


def past_and_own_blocks(extent: Extent, q_block: int, k_block: int) -> tuple[Tensor, Tensor]:
    """Key blocks of every tile in a causal call.

    Returns:
        (Q, N) bool each: blocks that begin at or before the tile's first query, and blocks that hold a position of the
        tile itself.
    """
    first, last = (t[:, None] for t in tile_ends(extent, q_block))
    begins = torch.arange(block_count(extent.kv_len, k_block), device=extent.device) * k_block
    return begins <= first, (begins <= last) & (begins + k_block > first)
