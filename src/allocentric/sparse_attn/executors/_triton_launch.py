"""From a prepared plan to launches of the kernels: strides, turned lists, tile sizes.

Shapes: B batch, H query heads, K key-value heads, L queries, S keys, D head width, Q query blocks, N listed blocks,
M key blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import triton
from torch import Tensor

from allocentric.sparse_attn.executors import _triton_kernels as kernels
from allocentric.sparse_attn.executors._lists import Lists
from allocentric.sparse_attn.executors._triton_tiles import tuned
from allocentric.sparse_attn.plan import Blocks, Plan, block_count

if TYPE_CHECKING:
    from allocentric.sparse_attn.executors.triton_block import Prepared

_BASE_2 = 1.4426950408889634
"""log2(e): the kernels' softmax is in base 2."""


def with_unit_stride(t_BHLD: Tensor) -> Tensor:
    """The same, with the elements of a row side by side."""
    return t_BHLD if t_BHLD.stride(-1) == 1 else t_BHLD.contiguous()


def forward(
    q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, plan: Plan, prepared: Prepared, scale: float
) -> tuple[Tensor, Tensor]:
    """Outputs, and the base-2 logarithm of the softmax's denominator, +inf where a query sees nothing."""
    batch, heads, length, _ = q_BHLD.shape
    out_BHLD = torch.empty(q_BHLD.shape, dtype=q_BHLD.dtype, device=q_BHLD.device)
    lse_BHL = torch.empty(batch, heads, length, dtype=torch.float32, device=q_BHLD.device)
    lists = prepared.lists
    arguments = _shared(q_BHLD, k_BKSD, v_BKSD, plan, prepared, scale)
    arguments |= {"out": out_BHLD, "lse": lse_BHL, "index": lists.index_BHQN, "num": lists.num_BHQ}
    tuned(kernels.forward_kernel)[_grid_of_queries(lists, batch * heads)](**arguments)
    return out_BHLD, lse_BHL


def backward(
    q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, out_BHLD: Tensor, lse_BHL: Tensor, do_BHLD: Tensor, plan: Plan,
    prepared: Prepared, scale: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of queries, keys and values."""
    batch, heads = q_BHLD.shape[:2]
    dq, dk, dv = (torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in (q_BHLD, k_BKSD, v_BKSD))
    delta_BHL = (out_BHLD.float() * do_BHLD.float()).sum(-1)
    lists = prepared.lists
    shared = _shared(q_BHLD, k_BKSD, v_BKSD, plan, prepared, scale)
    shared |= {"do": do_BHLD, "lse": lse_BHL, "delta": delta_BHL, "scale": scale}
    shared |= dict(zip(("ob", "oh", "ol"), do_BHLD.stride()[:3], strict=True))
    tuned(kernels.dq_kernel)[_grid_of_queries(lists, batch * heads)](
        **shared, dq=dq, index=lists.index_BHQN, num=lists.num_BHQ
    )
    entries, bounds = turned(lists, block_count(plan.extent.kv_len, lists.k_block))
    entry_b, entry_h = _strides(entries)
    bound_b, bound_h = _strides(bounds)

    def grid(tiles: dict[str, int]) -> tuple[int, int]:
        per_block = triton.cdiv(lists.k_block, tiles["BLOCK_N"])
        return (bounds.shape[-1] // 2) * per_block, batch * k_BKSD.shape[1]

    tuned(kernels.dkv_kernel)[grid](
        **shared, dk=dk, dv=dv, entries=entries, bounds=bounds, entry_b=entry_b, entry_h=entry_h,
        bound_b=bound_b, bound_h=bound_h, EVEN_Q=plan.extent.q_len % lists.q_block == 0,
    )  # fmt: skip
    return dq, dk, dv


def turned(lists: Lists, key_blocks: int) -> tuple[Tensor, Tensor]:
    """Lists by key block.

    Returns:
        entries (B|1, H|1, Q N) int32: `query block * N + place in its list`, by key block, full ones first, and
        bounds (B|1, H|1, 2 M + 1) int32: key block m has its full entries from bounds[2 m] to bounds[2 m + 1] and the
        others up to bounds[2 m + 2].
    """
    batch, heads, _, widest = lists.index_BHQN.shape
    place = torch.arange(widest, device=lists.index_BHQN.device)
    slot = lists.index_BHQN.long() * 2 + (place >= lists.full_BHQ[..., None])
    slot = torch.where(place < lists.num_BHQ[..., None], slot, 2 * key_blocks).flatten(2)
    slot, entries = torch.sort(slot, dim=-1, stable=True)
    edges = torch.arange(2 * key_blocks + 1, device=slot.device).expand(batch, heads, -1).contiguous()
    return entries.to(torch.int32), torch.searchsorted(slot, edges).to(torch.int32)


def _grid_of_queries(lists: Lists, heads: int) -> Any:
    def grid(tiles: dict[str, int]) -> tuple[int, int]:
        return lists.num_BHQ.shape[2] * triton.cdiv(lists.q_block, tiles["BLOCK_M"]), heads

    return grid


def _shared(q: Tensor, k: Tensor, v: Tensor, plan: Plan, prepared: Prepared, scale: float) -> dict[str, Any]:
    """Arguments that all kernels take."""
    e, lists, rule = plan.extent, prepared.lists, prepared.rule
    q_order, k_order = (plan.q_order_BHL, plan.k_order_BHS) if isinstance(plan, Blocks) else (None, None)
    # A kernel takes a pointer for what a plan hasn't got, too; it doesn't follow it.
    nothing = lists.num_BHQ
    strides = {"list": lists.num_BHQ, "q_order": q_order, "k_order": k_order, "table": rule.table_BHLM}
    named: dict[str, Any] = {}
    for name, tensor in strides.items():
        named[f"{name}_b"], named[f"{name}_h"] = _strides(tensor)
    bits = rule.bits_BHQPiW
    # Lists and bits are counted in query blocks, whatever lies below.
    named["bits_b"], named["bits_h"] = (0, 0) if bits is None else _strides(bits[..., 0, 0, 0].contiguous())
    for name, tensor in zip(("q", "k", "v"), (q, k, v), strict=True):
        named |= {f"{name}{axis}": stride for axis, stride in zip("bhl", tensor.stride()[:3], strict=True)}
    return named | {
        "q": q, "k": k, "v": v, "full": lists.full_BHQ,
        "q_order": nothing if q_order is None else q_order.to(torch.int32).contiguous(),
        "k_order": nothing if k_order is None else k_order.to(torch.int32).contiguous(),
        "table": nothing if rule.table_BHLM is None else rule.table_BHLM,
        "bits": nothing if bits is None else bits,
        "H": e.heads, "GROUPS": e.heads // k.shape[1], "L": e.q_len, "S": e.kv_len, "N": lists.index_BHQN.shape[-1],
        "BIT_N": 0 if bits is None else bits.shape[3], "q_offset": e.q_offset,
        "window": rule.window, "sinks": rule.sinks,
        "choice_width": 0 if rule.table_BHLM is None else rule.table_BHLM.shape[-1], "scale_log2": scale * _BASE_2,
        "D": q.shape[-1], "BLOCK_D": max(16, triton.next_power_of_2(q.shape[-1])),
        "Q_BLOCK": lists.q_block, "K_BLOCK": lists.k_block,
        "Q_ORDERED": q_order is not None, "K_ORDERED": k_order is not None, "CAUSAL": rule.causal,
        "BANDED": rule.window > 0, "CHOICE_BLOCK": rule.choice_block, "BITS": bits is not None,
    }  # fmt: skip


def _strides(tensor: Tensor | None) -> tuple[int, int]:
    """Strides over batch and heads of a contiguous tensor, 0 on an axis of 1."""
    if tensor is None:
        return 0, 0
    below = tensor[0, 0].numel()
    heads = tensor.shape[1]
    return (0 if tensor.shape[0] == 1 else heads * below), (0 if heads == 1 else below)
