"""Key blocks that every query chooses for itself, on a CPU: a block at a time, with the queries that chose it.

Neighbouring queries together choose many more blocks than each of them, and listing what a tile of them needs computes
mostly what nobody asked for. Here a key block meets the queries that chose it and no others, by PyTorch's own flash
kernel, and the pieces of a query's softmax are joined by their sums of exponentials. The same sums, joined, make the
kernel's own backward pass right for every piece.

Shapes: B batch, H query heads, K key-value heads, L queries, S keys, D head width, N key blocks, R = B * H rows, M
most queries of a row that chose a block, j keys of a block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from allocentric.sparse_attn.plan import BlockChoice, Blocks, Plan

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def refusal(plan: Plan, q_BHLD: Tensor, *, training: bool) -> str | None:  # noqa: ARG001
    """Only plans that say which blocks every query chose, where tiles of queries begin at key blocks."""
    if not isinstance(plan, Blocks) or not isinstance(plan.rule, BlockChoice) or plan.rule.block != plan.k_block:
        return "it runs plans in which every query chooses key blocks for itself"
    if q_BHLD.device.type != "cpu":
        return "it is made of PyTorch's CPU kernel"
    if plan.score is not None or plan.q_order_BHL is not None or plan.k_order_BHS is not None:
        return "it changes no scores and follows no permutation"
    if plan.extent.looks_ahead or (plan.extent.causal and plan.extent.q_offset % plan.k_block):
        return "its queries have to begin where a key block does"
    return None


def attend(plan: Plan, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, *, scale: float) -> Tensor:
    """Attention on the chosen blocks; in a causal call, a query's own block only up to itself."""
    assert isinstance(plan, Blocks)
    assert isinstance(plan.rule, BlockChoice)
    e = plan.extent
    chosen_BHLN = plan.rule.chosen_BHLN.expand(e.batch, e.heads, -1, -1)
    first = e.q_offset // plan.k_block if e.causal else None
    out: Tensor = _Attention.apply(  # type: ignore[no-untyped-call]
        q_BHLD, k_BKSD, v_BKSD, chosen_BHLN, plan.k_block, first, scale
    )
    return out


class _Attention(torch.autograd.Function):
    """Forward and backward over pieces; `first` is the key block of the first query, None without causality."""

    @staticmethod
    def forward(
        ctx: Any,
        q_BHLD: Tensor,
        k_BKSD: Tensor,
        v_BKSD: Tensor,
        chosen_BHLN: Tensor,
        block: int,
        first: int | None,
        scale: float,
    ) -> Tensor:
        q_RLD = _with_nobody(q_BHLD)
        exact = torch.float64 if q_BHLD.dtype == torch.float64 else torch.float32
        out_RLD, sums_RL = (
            q_RLD.new_zeros(q_RLD.shape, dtype=exact),
            q_RLD.new_full(q_RLD.shape[:2], -torch.inf, dtype=exact),
        )
        rows = list(_choosers(chosen_BHLN, block, first))
        own_RL = _own_choosers(chosen_BHLN, block, first)
        if first is not None:
            q, k, v = (
                _own(q_BHLD, block),
                _own_keys(k_BKSD, q_BHLD, block, first),
                _own_keys(v_BKSD, q_BHLD, block, first),
            )
            out, sums = _forward(q, k, v, 0.0, True, scale=scale)
            length = q_BHLD.shape[2]
            out = out.reshape(len(q_RLD), -1, q.shape[-1])[:, :length]
            sums = sums.reshape(len(q_RLD), -1)[:, :length]
            out_RLD[:, :length] = out.masked_fill(~own_RL[..., None], 0.0)
            sums_RL[:, :length] = sums.masked_fill(~own_RL, -torch.inf)
        flat_q, flat_out, flat_sums = q_RLD.flatten(0, 1), out_RLD.flatten(0, 1), sums_RL.flatten()
        for n, index_RM in rows:
            index = index_RM.flatten()
            q = flat_q.index_select(0, index).view(*index_RM.shape, -1)[:, None]
            k, v = (_block_of(t, n, block, q_BHLD.shape[1]) for t in (k_BKSD, v_BKSD))
            out, sums = _forward(q, k, v, 0.0, False, scale=scale)
            before, sums = flat_sums.index_select(0, index), sums.flatten().to(exact)
            joined = torch.logaddexp(before, sums)
            kept, added = (before - joined).exp_(), (sums - joined).exp_()
            both = flat_out.index_select(0, index).mul_(kept[:, None])
            flat_out.index_copy_(0, index, both.addcmul_(out.reshape(len(index), -1).to(exact), added[:, None]))
            flat_sums.index_copy_(0, index, joined)
        out_BHLD = out_RLD[:, :-1].to(q_BHLD.dtype).view(q_BHLD.shape)
        ctx.save_for_backward(q_BHLD, k_BKSD, v_BKSD, chosen_BHLN, out_BHLD, sums_RL)
        ctx.call = block, first, scale
        return out_BHLD

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        q_BHLD, k_BKSD, v_BKSD, chosen_BHLN, out_BHLD, sums_RL = ctx.saved_tensors
        block, first, scale = ctx.call
        heads, length = q_BHLD.shape[1:3]
        g_RLD, q_RLD, out_RLD = (_with_nobody(t) for t in (gradients[0], q_BHLD, out_BHLD))
        sums_RL = sums_RL.masked_fill(sums_RL == -torch.inf, 0.0)
        exact = sums_RL.dtype
        dq_RLD = torch.zeros_like(q_RLD, dtype=exact)
        dk_BKSD, dv_BKSD = torch.zeros_like(k_BKSD, dtype=exact), torch.zeros_like(v_BKSD, dtype=exact)
        if first is not None:
            own_BHL = _own_choosers(chosen_BHLN, block, first).view(q_BHLD.shape[:3])
            g = gradients[0].masked_fill(~own_BHL[..., None], 0.0)
            out = out_BHLD.masked_fill(~own_BHL[..., None], 0.0)
            sums = _own(sums_RL[:, :-1].view(q_BHLD.shape[:3])[..., None], block)[..., 0]
            sums = sums.masked_fill(~_own(own_BHL[..., None], block)[..., 0], torch.inf)
            q, k, v = (
                _own(q_BHLD, block),
                _own_keys(k_BKSD, q_BHLD, block, first),
                _own_keys(v_BKSD, q_BHLD, block, first),
            )
            dq, dk, dv = _backward(_own(g, block), q, k, v, _own(out, block), sums, 0.0, True, scale=scale)
            dq_RLD[:, :length] = dq.reshape(len(q_RLD), -1, q.shape[-1])[:, :length]
            start, size = first * block, k_BKSD.shape[2] - first * block
            for whole, part in ((dk_BKSD, dk), (dv_BKSD, dv)):
                per_head = part.reshape(*q_BHLD.shape[:2], -1, part.shape[-1])[:, :, :size]
                whole[:, :, start:] = _over_groups(per_head, whole.shape[1])
        flat_g, flat_q, flat_out, flat_sums = (t.flatten(0, 1) for t in (g_RLD, q_RLD, out_RLD, sums_RL))
        flat_dq = dq_RLD.flatten(0, 1)
        for n, index_RM in _choosers(chosen_BHLN, block, first):
            index = index_RM.flatten()
            g, q, out = (
                t.index_select(0, index).view(*index_RM.shape, -1)[:, None] for t in (flat_g, flat_q, flat_out)
            )
            sums = flat_sums.index_select(0, index).view(index_RM.shape)[:, None]
            k, v = (_block_of(t, n, block, heads) for t in (k_BKSD, v_BKSD))
            dq, dk, dv = _backward(g, q, k, v, out, sums, 0.0, False, scale=scale)
            flat_dq.index_add_(0, index, dq.reshape(len(index), -1).to(exact))
            for whole, part in ((dk_BKSD, dk), (dv_BKSD, dv)):
                per_head = part.reshape(*q_BHLD.shape[:2], -1, part.shape[-1])
                whole[:, :, n * block : (n + 1) * block] += _over_groups(per_head, whole.shape[1])
        dq_BHLD = dq_RLD[:, :-1].view(q_BHLD.shape).to(q_BHLD.dtype)
        return dq_BHLD, dk_BKSD.to(k_BKSD.dtype), dv_BKSD.to(v_BKSD.dtype), None, None, None, None


def _with_nobody(t_BHLD: Tensor) -> Tensor:
    """(R, L + 1, D): a row of zeros at the end of every head stands in where a list is short."""
    return pad(t_BHLD.flatten(0, 1), (0, 0, 0, 1))


def _choosers(chosen_BHLN: Tensor, block: int, first: int | None) -> Iterator[tuple[int, Tensor]]:
    """Key blocks and the queries that chose them, but for own blocks and later ones of causal calls.

    Yields:
        The block, and (R, M) places in the flat (R, L + 1) queries; short lists end with the row of zeros.
    """
    length = chosen_BHLN.shape[2]
    chosen_NRL = chosen_BHLN.flatten(0, 1).permute(2, 0, 1).contiguous()
    base_R = torch.arange(chosen_NRL.shape[1]) * (length + 1)
    for n, chosen_RL in enumerate(chosen_NRL):
        begin = 0 if first is None else max(0, (n + 1 - first) * block)
        row, query = torch.nonzero(chosen_RL[:, begin:], as_tuple=True)
        if not len(row):
            continue
        count_R = torch.bincount(row, minlength=len(base_R))
        nth = torch.arange(len(row)) - (count_R.cumsum(0) - count_R)[row]
        index_RM = (base_R + length)[:, None].repeat(1, int(count_R.max()))
        index_RM[row, nth] = query + begin + base_R[row]
        yield n, index_RM


def _own_choosers(chosen_BHLN: Tensor, block: int, first: int | None) -> Tensor:
    """(R, L) bool: queries that chose the block they lie in."""
    length = chosen_BHLN.shape[2]
    own_L = torch.arange(length) // block + (first or 0)
    own_L = own_L.clamp(max=chosen_BHLN.shape[3] - 1)
    return chosen_BHLN[:, :, torch.arange(length), own_L].flatten(0, 1)


def _own(t_BHLD: Tensor, block: int) -> Tensor:
    """(R * blocks, 1, j, D): queries by the block they lie in."""
    return pad(t_BHLD, (0, 0, 0, -t_BHLD.shape[2] % block)).reshape(-1, 1, block, t_BHLD.shape[-1])


def _own_keys(t_BKSD: Tensor, q_BHLD: Tensor, block: int, first: int) -> Tensor:
    """(R * blocks, 1, j, D): the blocks that queries lie in, for every query head."""
    return _own(_per_head(t_BKSD[:, :, first * block :], q_BHLD.shape[1]), block)


def _block_of(t_BKSD: Tensor, n: int, block: int, heads: int) -> Tensor:
    """(R, 1, j, D)."""
    return _per_head(t_BKSD[:, :, n * block : (n + 1) * block], heads).flatten(0, 1)[:, None]


def _per_head(t_BKSD: Tensor, heads: int) -> Tensor:
    """(B, H, S, D): key-value heads for every query head, without a copy where there are as many."""
    groups = heads // t_BKSD.shape[1]
    return t_BKSD if groups == 1 else t_BKSD.repeat_interleave(groups, dim=1)


def _over_groups(t_BHjD: Tensor, kv_heads: int) -> Tensor:
    """(B, K, j, D): sums over the query heads of every key-value head."""
    summed: Tensor = t_BHjD.unflatten(1, (kv_heads, -1)).sum(2)
    return summed
