"""Vertical and slash lines of attention, estimated from the last queries: what MInference and MMInference share.

Lines are looked for between one group of queries and one group of keys, both in ascending order of position:
everything with everything for MInference, text and pictures apart for MMInference's boundary heads. A slash joins keys
and queries by their distance within the key group.

Shapes: B batch, H query heads, L queries, S keys, G keys of a group, M last queries, Q query blocks, N lines.
"""

from __future__ import annotations

import torch
from torch import Tensor

from allocentric.sparse_attn.methods._pooling import wide
from allocentric.sparse_attn.plan import Extent


def attention_of(q_BHMD: Tensor, k_BHSD: Tensor, position_M: Tensor, extent: Extent, scale: float) -> Tensor:
    """(B, H, M, S) softmax of some queries over all keys that causality allows.

    Args:
        q_BHMD: The queries.
        k_BHSD: All keys.
        position_M: Absolute positions of the queries.
        extent: Of the call.
        scale: Factor of the scores.
    """
    scores = wide(q_BHMD) @ wide(k_BHSD).transpose(-1, -2) * scale
    later = torch.arange(extent.kv_len, device=extent.device) > position_M[:, None]
    return scores.masked_fill(later, float("-inf")).softmax(-1)


def heaviest_columns(attention_BHMG: Tensor, count: int, forced: int) -> Tensor:
    """(B, H, G) bool: the keys with the greatest sums, the first `forced` among them."""
    sums = attention_BHMG.sum(2)
    sums[..., :forced] = float("inf")
    index = sums.topk(min(max(count, forced), sums.shape[-1]), dim=-1).indices
    return torch.zeros_like(sums, dtype=torch.bool).scatter(-1, index, True)


def heaviest_distances(attention_BHMG: Tensor, rank_M: Tensor, count: int, forced: int) -> Tensor:
    """(B, H, N) int64: the distances back from a query with the greatest sums, the first `forced` among them.

    Args:
        attention_BHMG: Attention of the last queries over a key group.
        rank_M: Place of the queries in the key group.
        count: How many.
        forced: Distances 0, 1, ... that are taken in any case.
    """
    size = attention_BHMG.shape[-1]
    back_MG = rank_M[:, None] - torch.arange(size, device=rank_M.device)
    ahead = back_MG < 0
    index = back_MG.clamp(min=0).flatten().expand(*attention_BHMG.shape[:2], -1)
    sums = attention_BHMG.new_zeros(*attention_BHMG.shape[:2], size)
    sums = sums.scatter_add(-1, index, attention_BHMG.masked_fill(ahead, 0.0).flatten(2))
    sums[..., :forced] = float("inf")
    return sums.topk(min(max(count, forced), size), dim=-1).indices


def stretches(distance_BHN: Tensor, first_Q: Tensor, last_Q: Tensor, size: int) -> Tensor:
    """(B, H, Q, G) bool: all keys that lie, at one of the distances, before some place of a query block.

    As in the published kernels, the whole stretch is computed for all queries of the block, not the diagonal alone.

    Args:
        distance_BHN: The distances.
        first_Q: Place of the first query of every block in the key group.
        last_Q: Place of the last; before `first_Q` where a block has no query of the group.
        size: G.
    """
    marks = torch.zeros(*distance_BHN.shape[:2], len(first_Q), size + 1, dtype=torch.int32, device=first_Q.device)
    start = (first_Q[:, None] - distance_BHN[:, :, None]).clamp(0, size)
    stop = (last_Q[:, None] + 1 - distance_BHN[:, :, None]).clamp(0, size).maximum(start)
    one = torch.ones_like(start, dtype=torch.int32)
    return marks.scatter_add(3, start, one).scatter_add(3, stop, -one).cumsum(3)[..., :size] > 0
