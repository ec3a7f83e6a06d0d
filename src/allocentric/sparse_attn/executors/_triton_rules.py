"""A plan's token rule as data that a kernel can read.

Causality, a window with sinks and a table of chosen blocks are compared inside the kernel. Any other rule is asked
once about the pairs of blocks that are not full, and becomes one bit per pair.

Shapes: B batch, H query heads, L queries, Q query blocks, P most blocks of a list that are not full, M key blocks of
the table, W words of 32 keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from allocentric.sparse_attn.executors._lists import Lists
from allocentric.sparse_attn.plan import Band, BlockChoice, Blocks, Plan

_PAIRS_AT_ONCE = 1 << 24


@dataclass(frozen=True, kw_only=True)
class TokenRule:
    """What decides inside blocks that are not full; all of it holds at once."""

    causal: bool = False
    """Keys at or before the query."""
    window: int = 0
    """Distance below which keys count, or sinks; 0 is no window."""
    sinks: int = 0
    """First keys, which count outside the window too."""
    table_BHLM: Tensor | None = None
    """uint8: blocks of `choice_block` keys that every query chose."""
    choice_block: int = 0
    """Keys in a block of the table; 0 is no table."""
    bits_BHQPiW: Tensor | None = None
    """int32: bit j of word w is whether query i of the block and key 32 w + j count. Axes B and H may be 1."""


def token_rule(plan: Plan, lists: Lists) -> TokenRule:
    """The rule of a plan."""
    causal = plan.extent.causal
    if plan.rule is None:
        if isinstance(plan, Band):
            return TokenRule(causal=causal, window=plan.window, sinks=plan.sinks)
        return TokenRule(causal=causal)
    if isinstance(plan.rule, BlockChoice) and not isinstance(plan, Band):
        table = plan.rule.chosen_BHLN.to(torch.uint8).contiguous()
        return TokenRule(causal=causal, table_BHLM=table, choice_block=plan.rule.block)
    return TokenRule(bits_BHQPiW=_bits(plan, lists))


def _bits(plan: Plan, lists: Lists) -> Tensor:
    """Answers of `plan.allowed`, causality and window included, for listed blocks that are not full."""
    return torch.cat(list(_bits_of_spans(plan, lists)), dim=2)


def _bits_of_spans(plan: Plan, lists: Lists) -> Iterator[Tensor]:
    e = plan.extent
    partial = lists.num_BHQ - lists.full_BHQ
    most = max(1, int(partial.max()))
    total = partial.shape[2]
    step = max(1, _PAIRS_AT_ONCE // (e.batch * e.heads * lists.q_block * lists.k_block * most))
    entry = torch.arange(most, device=e.device)
    b = torch.arange(e.batch, device=e.device).view(-1, 1, 1, 1, 1, 1)
    h = torch.arange(e.heads, device=e.device).view(1, -1, 1, 1, 1, 1)
    for start in range(0, total, step):
        span = slice(start, min(start + step, total))
        at = (entry + lists.full_BHQ[:, :, span, None]).clamp(max=lists.index_BHQN.shape[-1] - 1).long()
        block = torch.gather(lists.index_BHQN[:, :, span], 3, at).long()
        real = entry < partial[:, :, span, None]
        k_place = (block[..., None] * lists.k_block + torch.arange(lists.k_block, device=e.device)).clamp(
            max=e.kv_len - 1
        )
        q_place = torch.arange(span.start * lists.q_block, span.stop * lists.q_block, device=e.device)
        q_place = q_place.clamp(max=e.q_len - 1).view(1, 1, -1, lists.q_block)
        if isinstance(plan, Blocks):
            q_place, k_place = _original(q_place, plan.q_order_BHL), _original(k_place, plan.k_order_BHS)
        q = q_place[:, :, :, None, :, None] + e.q_offset
        allowed = plan.allowed(b, h, q, k_place[..., None, :]) & real[..., None, None]
        yield _packed(allowed)


def _original(place: Tensor, order_BHL: Tensor | None) -> Tensor:
    if order_BHL is None:
        return place
    shape = torch.broadcast_shapes(place.shape[:2], order_BHL.shape[:2])
    flat = place.flatten(2).expand(*shape, -1)
    return torch.gather(order_BHL.expand(*shape, -1), 2, flat).view(*shape, *place.shape[2:])


def _packed(flags: Tensor) -> Tensor:
    """(.., n) bool -> (.., ceil(n / 32)) int32, lowest bit first."""
    words = pad(flags, (0, -flags.shape[-1] % 32)).unflatten(-1, (-1, 32)).to(torch.int64)
    value = (words << torch.arange(32, device=flags.device)).sum(-1)
    return torch.where(value >= 1 << 31, value - (1 << 32), value).to(torch.int32)
