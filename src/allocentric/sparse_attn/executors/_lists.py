"""What block-sparse kernels walk through: for every block of queries, its blocks of keys, whole ones first.

Lists of windows and of dense plans are computed, not searched: nothing here looks at pairs of tokens.

Shapes: B batch, H query heads, Q query blocks, N most key blocks of a query block, K key blocks, L queries, S keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from allocentric.sparse_attn.plan import Band, Blocks, Dense, Extent, Plan, block_count


@dataclass(frozen=True, kw_only=True)
class Lists:
    """Block lists; axes B and H may be 1, which stands for all."""

    q_block: int
    """Queries in a block."""
    k_block: int
    """Keys in a block."""
    index_BHQN: Tensor
    """int32: key blocks, full ones first, then those whose pairs must be checked; 0 after the end of a list."""
    full_BHQ: Tensor
    """int32: how many are full: all their pairs count, and they don't reach over the last key."""
    num_BHQ: Tensor
    """int32: how many are listed."""


def lists_of(plan: Plan, *, q_block: int = 128, k_block: int = 128) -> Lists:
    """Lists of a plan. `q_block` and `k_block` are for plans that don't cut blocks of their own."""
    if isinstance(plan, Blocks):
        return _sorted_lists(plan.q_block, plan.k_block, plan.index_BHQN, _full_of_blocks(plan), plan.num_BHQ)
    assert isinstance(plan, Band | Dense)
    e = plan.extent
    window, sinks = (plan.window, plan.sinks) if isinstance(plan, Band) else (e.q_len + e.kv_len, 0)
    return _band_lists(e, window, sinks, q_block, k_block, plan.rule is not None)


def chosen_map(plan: Blocks) -> Tensor:
    """(B|1, H|1, Q, K) bool: which blocks are listed."""
    count = block_count(plan.extent.kv_len, plan.k_block)
    index = plan.index_BHQN.long()
    listed = torch.arange(index.shape[-1], device=index.device) < plan.num_BHQ[..., None]
    chosen = torch.zeros(*index.shape[:3], count + 1, dtype=torch.bool, device=index.device)
    return chosen.scatter(3, torch.where(listed, index, count), True)[..., :count]


def lists_of_map(some_BHQK: Tensor, full_BHQK: Tensor, *, q_block: int, k_block: int) -> Lists:
    """Lists of maps of blocks: those with some allowed pair, and those where all are."""
    num = some_BHQK.sum(-1, dtype=torch.int32)
    widest = max(1, int(num.max()))
    index = torch.argsort(some_BHQK.to(torch.int8), dim=-1, descending=True, stable=True)[..., :widest]
    return _sorted_lists(q_block, k_block, index.to(torch.int32), torch.gather(full_BHQK, 3, index), num)


@lru_cache(maxsize=16)
def _band_lists(extent: Extent, window: int, sinks: int, q_block: int, k_block: int, ruled: bool) -> Lists:
    """Kept: all layers of a model have the same."""
    first_Q1 = torch.arange(block_count(extent.q_len, q_block), device=extent.device)[:, None] * q_block
    last_Q1 = (first_Q1 + q_block - 1).clamp(max=extent.q_len - 1) + extent.q_offset
    first_Q1 = first_Q1 + extent.q_offset
    end = extent.kv_len - 1
    lowest = (first_Q1 - window + 1).clamp(min=0) // k_block
    highest = (last_Q1 if extent.causal else (last_Q1 + window - 1).clamp(max=end)) // k_block
    near = (highest - lowest + 1).clamp(min=0)
    sink_blocks = block_count(min(sinks, extent.kv_len), k_block)
    # Sinks lie before the window, or (without causality) after it.
    before = lowest.clamp(max=sink_blocks)
    after = torch.zeros_like(before) if extent.causal else (sink_blocks - 1 - highest).clamp(min=0)
    num_Q1 = before + near + after
    place = torch.arange(max(1, int(num_Q1.max())), device=extent.device)
    index = torch.where(place < before, place, lowest + place - before)
    index = torch.where(place < num_Q1, index, 0)
    low_key, high_key = index * k_block, (index + 1) * k_block - 1
    inside = (last_Q1 - low_key < window) & (high_key - first_Q1 < window)
    full = (inside | (high_key < sinks)) & (high_key <= end) & (place < num_Q1)
    if extent.causal:
        full = full & (high_key <= first_Q1)
    if ruled:
        full = torch.zeros_like(full)
    return _sorted_lists(q_block, k_block, index[None, None].to(torch.int32), full[None, None], num_Q1.view(1, 1, -1))


def _full_of_blocks(plan: Blocks) -> Tensor:
    """(B|1, H|1, Q, N) bool: listed blocks that need no check."""
    e = plan.extent
    index = plan.index_BHQN
    whole = (index + 1) * plan.k_block <= e.kv_len
    if plan.full_BHQN is not None:
        return plan.full_BHQN & whole
    moved = plan.q_order_BHL is not None or plan.k_order_BHS is not None
    if plan.rule is not None or (moved and e.causal):
        return torch.zeros_like(whole)
    if not e.causal:
        return whole
    first_Q1 = torch.arange(index.shape[2], device=index.device)[:, None] * plan.q_block + e.q_offset
    return whole & ((index + 1) * plan.k_block - 1 <= first_Q1)


def _sorted_lists(q_block: int, k_block: int, index: Tensor, full: Tensor, num: Tensor) -> Lists:
    listed = torch.arange(index.shape[-1], device=index.device) < num[..., None]
    full = full & listed
    order = torch.argsort((listed.to(torch.int8) + full.to(torch.int8)), dim=-1, descending=True, stable=True)
    index = torch.gather(torch.where(listed, index, 0).expand(full.shape), 3, order)
    return Lists(
        q_block=q_block,
        k_block=k_block,
        index_BHQN=index.to(torch.int32).contiguous(),
        full_BHQ=full.sum(-1, dtype=torch.int32),
        num_BHQ=num.to(torch.int32).expand(full.shape[:3]).contiguous(),
    )
