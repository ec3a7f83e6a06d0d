"""Lists of blocks or keys by gathering them and running PyTorch's dense kernels: exact and differentiable anywhere."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from allocentric.sparse_attn.plan import Blocks, Gather, Plan

_FLOATS_AT_ONCE = 1 << 24
"""Gathered key elements held at a time; bounds memory."""


def refusal(plan: Plan, q_BHLD: Tensor, *, training: bool) -> str | None:  # noqa: ARG001
    """Only plans with lists."""
    if not isinstance(plan, Blocks | Gather):
        return f"it runs lists of blocks or keys, and a {type(plan).__name__} plan has none"
    return None


def attend(plan: Plan, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, *, scale: float) -> Tensor:
    """Attention on listed keys."""
    if isinstance(plan, Gather):
        return _attend_keys(plan, q_BHLD, k_BKSD, v_BKSD, scale)
    assert isinstance(plan, Blocks)
    e = plan.extent
    width = plan.index_BHQN.shape[-1] * plan.k_block
    step = max(1, _FLOATS_AT_ONCE // (e.batch * e.heads * width * q_BHLD.shape[-1]))
    total = plan.num_BHQ.shape[2]
    spans = [slice(start, min(start + step, total)) for start in range(0, total, step)]
    parts = [_attend_blocks(plan, span, q_BHLD, k_BKSD, v_BKSD, scale) for span in spans]
    out_BHLD = torch.cat(parts, dim=2).flatten(2, 3)[:, :, : e.q_len]
    if plan.q_order_BHL is None:
        return out_BHLD
    order = plan.q_order_BHL.expand(e.batch, e.heads, -1)[..., None].expand_as(out_BHLD)
    return torch.empty_like(out_BHLD).scatter(2, order, out_BHLD)


def _attend_blocks(
    plan: Blocks, blocks: slice, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, scale: float
) -> Tensor:
    """(B, H, blocks, q_block, D)."""
    e = plan.extent
    q_BHQi, k_BHQj, real = plan.positions(blocks)
    b = torch.arange(e.batch, device=q_BHLD.device).view(-1, 1, 1, 1)
    h = torch.arange(e.heads, device=q_BHLD.device).view(1, -1, 1, 1)
    kv_head = h // (e.heads // k_BKSD.shape[1])
    q = q_BHLD[b, h, q_BHQi]
    k, v = k_BKSD[b, kv_head, k_BHQj], v_BKSD[b, kv_head, k_BHQj]
    place = (b[..., None], h[..., None], q_BHQi[..., None] + e.q_offset, k_BHQj[..., None, :])
    return _softmax_attention(plan, q, k, v, place, plan.allowed(*place) & real, scale)


def _attend_keys(plan: Gather, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, scale: float) -> Tensor:
    e = plan.extent
    width = plan.index_BHLN.shape[-1]
    step = max(1, _FLOATS_AT_ONCE // (e.batch * e.heads * width * q_BHLD.shape[-1]))
    b = torch.arange(e.batch, device=q_BHLD.device).view(-1, 1, 1, 1)
    h = torch.arange(e.heads, device=q_BHLD.device).view(1, -1, 1, 1)
    kv_head = h // (e.heads // k_BKSD.shape[1])
    parts = []
    for start in range(0, e.q_len, step):
        stop = min(start + step, e.q_len)
        listed = plan.index_BHLN[:, :, start:stop]
        key = listed.clamp(min=0)
        k, v = k_BKSD[b, kv_head, key], v_BKSD[b, kv_head, key]
        q_pos = (torch.arange(start, stop, device=key.device) + e.q_offset).view(1, 1, -1, 1, 1)
        place = (b[..., None], h[..., None], q_pos, key[..., None, :])
        mask = plan.allowed(*place) & (listed >= 0)[..., None, :]
        parts.append(_softmax_attention(plan, q_BHLD[:, :, start:stop, None], k, v, place, mask, scale)[:, :, :, 0])
    return torch.cat(parts, dim=2)


def _softmax_attention(
    plan: Plan, q: Tensor, k: Tensor, v: Tensor, place: tuple[Tensor, ...], mask: Tensor, scale: float
) -> Tensor:
    """(B, H, Q, i, D) from q (B, H, Q, i, D), k and v (B, H, Q, j, D) and mask (B, H, Q, i, j)."""
    some = mask.any(-1, keepdim=True)
    if plan.score is None:
        out = scaled_dot_product_attention(q, k, v, attn_mask=mask.expand(*q.shape[:4], k.shape[3]), scale=scale)
    else:
        scores = plan.score(q @ k.transpose(-1, -2) * scale, *place).masked_fill(~mask, float("-inf"))
        out = torch.softmax(scores.masked_fill(~some, 0.0), dim=-1).to(v.dtype) @ v
    return torch.where(some, out, 0.0)
