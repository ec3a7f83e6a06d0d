"""How right and how telling an output is, on some of its queries, against dense attention in fp64.

Shapes: B batch, H query heads, K key-value heads, L queries, S keys, D head width, R probed queries, M key blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from allocentric.sparse_attn.plan import Blocks, Gather, Plan


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Of the probed queries."""

    max_error: float
    """Largest difference from the oracle under the same plan."""
    mean_error: float
    """Mean absolute difference."""
    recall: float
    """Share of dense attention's weight that lies on kept pairs; mean over queries and heads."""


def probe_rows(length: int, count: int) -> Tensor:
    """Evenly spread queries, the last included."""
    count = min(count, length)
    return (torch.arange(1, count + 1) * length) // count - 1


def judge(
    plan: Plan, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, out_BHLD: Tensor, rows_R: Tensor, *, scale: float
) -> Quality:
    """Compare probed rows of an output with the oracle's."""
    rows_R = rows_R.to(q_BHLD.device)
    groups = q_BHLD.shape[1] // k_BKSD.shape[1]
    k_BHSD, v_BHSD = (t.double().repeat_interleave(groups, dim=1) for t in (k_BKSD, v_BKSD))
    scores_BHRS = q_BHLD[:, :, rows_R].double() @ k_BHSD.transpose(-1, -2) * scale
    mask_BHRS = mask_of_queries(plan, rows_R)
    b, h, q, k = _indices(plan, rows_R)
    dense_BHRS = scores_BHRS
    if plan.extent.causal:
        dense_BHRS = dense_BHRS.masked_fill(k > q, float("-inf"))
    recall = torch.where(mask_BHRS, torch.softmax(dense_BHRS, dim=-1), 0.0).sum(-1).mean()
    if plan.score is not None:
        scores_BHRS = plan.score(scores_BHRS, b, h, q, k)
    empty = ~mask_BHRS.any(-1, keepdim=True)
    weights = torch.softmax(scores_BHRS.masked_fill(~mask_BHRS, float("-inf")).masked_fill(empty, 0.0), dim=-1)
    wanted = torch.where(empty, 0.0, weights) @ v_BHSD
    error = (out_BHLD[:, :, rows_R].double() - wanted).abs()
    return Quality(max_error=float(error.max()), mean_error=float(error.mean()), recall=float(recall))


def mask_of_queries(plan: Plan, rows_R: Tensor) -> Tensor:
    """(B, H, R, S) bool: rows of `plan.dense_mask()`, without the others."""
    e = plan.extent
    b, h, q, k = _indices(plan, rows_R)
    shape = (e.batch, e.heads, len(rows_R), e.kv_len)
    if isinstance(plan, Gather):
        index = plan.index_BHLN[:, :, rows_R]
        kept = plan.allowed(b, h, q, index.clamp(min=0)) & (index >= 0)
        index, kept = (t.expand(*shape[:3], -1) for t in (index, kept))
        mask = torch.zeros(*shape[:3], e.kv_len + 1, dtype=torch.bool, device=e.device)
        return mask.scatter(3, torch.where(kept, index, e.kv_len), True)[..., : e.kv_len]
    mask = plan.allowed(b, h, q, k)
    if isinstance(plan, Blocks):
        mask = mask & _listed(plan, rows_R)
    return mask.expand(shape)


def _listed(plan: Blocks, rows_R: Tensor) -> Tensor:
    """(B|1, H|1, R, S) bool: whether the block of a key is in the list of the block of a query."""
    e = plan.extent
    q_place = _place(rows_R, plan.q_order_BHL)
    k_place = _place(torch.arange(e.kv_len, device=e.device), plan.k_order_BHS)
    axes = torch.broadcast_shapes(plan.num_BHQ.shape[:2], q_place.shape[:2], k_place.shape[:2])
    row = (q_place // plan.q_block).expand(*axes, -1)
    num = torch.gather(plan.num_BHQ.expand(*axes, -1), 2, row)
    index = torch.gather(
        plan.index_BHQN.long().expand(*axes, -1, -1), 2, row[..., None].expand(*row.shape, plan.index_BHQN.shape[-1])
    )
    blocks = -(-e.kv_len // plan.k_block)
    real = torch.arange(index.shape[-1], device=e.device) < num[..., None]
    chosen = torch.zeros(*row.shape, blocks + 1, dtype=torch.bool, device=e.device)
    chosen = chosen.scatter(3, torch.where(real, index, blocks), True)
    column = (k_place // plan.k_block).expand(*axes, -1)[:, :, None].expand(*row.shape, -1)
    return torch.gather(chosen, 3, column)


def _place(position_R: Tensor, order_BHL: Tensor | None) -> Tensor:
    """(B|1, H|1, R): where positions went."""
    if order_BHL is None:
        return position_R.view(1, 1, -1)
    return torch.argsort(order_BHL, dim=-1)[:, :, position_R]


def _indices(plan: Plan, rows_R: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    e = plan.extent
    return (
        torch.arange(e.batch, device=e.device).view(-1, 1, 1, 1),
        torch.arange(e.heads, device=e.device).view(1, -1, 1, 1),
        (rows_R + e.q_offset).view(1, 1, -1, 1),
        torch.arange(e.kv_len, device=e.device).view(1, 1, 1, -1),
    )
