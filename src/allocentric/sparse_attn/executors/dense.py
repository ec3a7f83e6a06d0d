"""The oracle: every pair in double precision, the plan's mask spelled out. Slow, plain, differentiable."""

from __future__ import annotations

import torch
from torch import Tensor

from allocentric.sparse_attn.plan import Plan, indices


def refusal(plan: Plan, q_BHLD: Tensor, *, training: bool) -> str | None:  # noqa: ARG001
    """Runs everything."""
    return None


def attend(plan: Plan, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, *, scale: float) -> Tensor:
    """Softmax over the allowed keys of every query; O(L S) memory."""
    weights = probabilities(plan, q_BHLD, k_BKSD, scale=scale)
    groups = q_BHLD.shape[1] // v_BKSD.shape[1]
    v_BHSD = v_BKSD.double().repeat_interleave(groups, dim=1)
    return (weights @ v_BHSD).to(q_BHLD.dtype)


def probabilities(plan: Plan, q_BHLD: Tensor, k_BKSD: Tensor, *, scale: float) -> Tensor:
    """(B, H, L, S) fp64 attention weights; rows without an allowed key are 0."""
    groups = q_BHLD.shape[1] // k_BKSD.shape[1]
    k_BHSD = k_BKSD.double().repeat_interleave(groups, dim=1)
    scores_BHLS = q_BHLD.double() @ k_BHSD.transpose(-1, -2) * scale
    if plan.score is not None:
        scores_BHLS = plan.score(scores_BHLS, *indices(plan.extent, slice(0, plan.extent.q_len)))
    mask_BHLS = plan.dense_mask()
    scores_BHLS = scores_BHLS.masked_fill(~mask_BHLS, float("-inf"))
    empty = ~mask_BHLS.any(-1, keepdim=True)
    return torch.softmax(scores_BHLS.masked_fill(empty, 0.0), dim=-1).masked_fill(empty, 0.0)
