"""Dense plans by PyTorch's own kernels: the baseline that sparse plans have to beat."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from allocentric.sparse_attn.plan import Dense, Plan, indices


def refusal(plan: Plan, q_BHLD: Tensor, *, training: bool) -> str | None:  # noqa: ARG001
    """Only dense plans whose scores stay as they are."""
    if not isinstance(plan, Dense):
        return f"it looks at every pair, and a {type(plan).__name__} plan is there to skip some"
    if plan.score is not None:
        return "its kernels can't change scores"
    return None


def attend(plan: Plan, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, *, scale: float) -> Tensor:
    """Scaled dot product attention; a rule becomes a mask of L x S."""
    grouped = q_BHLD.shape[1] != k_BKSD.shape[1]
    e = plan.extent
    if plan.rule is None:
        square = e.causal and e.q_offset == 0 and e.q_len > 1
        mask = None if square or not e.causal or e.q_len == 1 else plan.allowed(*indices(e, slice(0, e.q_len)))
        return scaled_dot_product_attention(
            q_BHLD, k_BKSD, v_BKSD, attn_mask=mask, is_causal=square, scale=scale, enable_gqa=grouped
        )
    mask = plan.dense_mask()
    out = scaled_dot_product_attention(q_BHLD, k_BKSD, v_BKSD, attn_mask=mask, scale=scale, enable_gqa=grouped)
    return torch.where(mask.any(-1, keepdim=True), out, 0.0)
