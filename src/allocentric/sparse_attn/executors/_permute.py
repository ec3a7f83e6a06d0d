"""Plans whose blocks are cut from permuted sequences: order the tensors before a kernel, and undo it after.

Shapes: B batch, H query heads, K key-value heads, L queries, S keys, D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from allocentric.sparse_attn.plan import Blocks, Plan


def permuted(plan: Plan, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values in the order of the plan's blocks. Differentiable.

    Keys that every head orders for itself are no longer shared by a group: they come back with H heads.
    """
    if not isinstance(plan, Blocks):
        return q_BHLD, k_BKSD, v_BKSD
    if plan.q_order_BHL is not None:
        q_BHLD = _taken(q_BHLD, plan.q_order_BHL)
    if plan.k_order_BHS is not None:
        if plan.k_order_BHS.shape[1] > 1:
            groups = q_BHLD.shape[1] // k_BKSD.shape[1]
            k_BKSD, v_BKSD = (t.repeat_interleave(groups, dim=1) for t in (k_BKSD, v_BKSD))
        k_BKSD, v_BKSD = (_taken(t, plan.k_order_BHS) for t in (k_BKSD, v_BKSD))
    return q_BHLD, k_BKSD, v_BKSD


def restored(plan: Plan, out_BHLD: Tensor) -> Tensor:
    """Outputs in the order of the call."""
    if not isinstance(plan, Blocks) or plan.q_order_BHL is None:
        return out_BHLD
    order = plan.q_order_BHL.expand(*out_BHLD.shape[:2], -1)
    return _taken(out_BHLD, torch.argsort(order, dim=-1))


def _taken(t_BHLD: Tensor, order_BHL: Tensor) -> Tensor:
    if order_BHL.shape[0] == 1 and order_BHL.shape[1] == 1:
        return t_BHLD.index_select(2, order_BHL[0, 0])
    index = order_BHL.expand(*t_BHLD.shape[:2], -1)[..., None].expand(t_BHLD.shape)
    return torch.gather(t_BHLD, 2, index)
