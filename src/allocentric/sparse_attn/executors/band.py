"""Windows by PyTorch's dense kernels on overlapping stretches: exact, differentiable, on every device.

Queries are cut into chunks; a chunk and the keys its window reaches are one small dense problem, and all chunks are
one batch. Sinks are put before every stretch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from allocentric.sparse_attn.plan import Band, Plan


def refusal(plan: Plan, q_BHLD: Tensor, *, training: bool) -> str | None:  # noqa: ARG001
    """Only plain bands."""
    if not isinstance(plan, Band):
        return f"it runs windows, not a {type(plan).__name__} plan"
    if plan.rule is not None or plan.score is not None:
        return "it runs windows without a further rule or change of scores"
    return None


def attend(plan: Plan, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, *, scale: float) -> Tensor:
    """Attention in a band."""
    assert isinstance(plan, Band)
    e = plan.extent
    groups = q_BHLD.shape[1] // k_BKSD.shape[1]
    if groups > 1:
        k_BKSD, v_BKSD = (t.repeat_interleave(groups, dim=1) for t in (k_BKSD, v_BKSD))
    chunk = min(plan.window, e.q_len)
    before = min(plan.window - 1, e.kv_len)
    after = 0 if e.causal else before
    count = -(-e.q_len // chunk)
    q = pad(q_BHLD, (0, 0, 0, count * chunk - e.q_len)).unflatten(2, (count, chunk))
    # Stretch c holds keys [q_offset + c * chunk - before, q_offset + (c + 1) * chunk + after).
    first = e.q_offset - before
    last = e.q_offset + count * chunk + after
    k, v = (_stretches(t, first, last, chunk, before + chunk + after) for t in (k_BKSD, v_BKSD))
    q_pos = e.q_offset + torch.arange(count * chunk, device=q.device).view(count, chunk, 1)
    k_pos = (first + torch.arange(count, device=q.device)[:, None] * chunk)[..., None] + torch.arange(
        before + chunk + after, device=q.device
    )
    mask = ((q_pos - k_pos).abs() < plan.window) & (k_pos >= 0) & (k_pos < e.kv_len)
    if e.causal:
        mask = mask & (k_pos <= q_pos)
    if plan.sinks:
        k, v, mask = _with_sinks(plan, k_BKSD, v_BKSD, k, v, mask, q_pos, k_pos)
    out = scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    return out.flatten(2, 3)[:, :, : e.q_len]


def _stretches(t_BHSD: Tensor, first: int, last: int, step: int, width: int) -> Tensor:
    """(B, H, chunks, width, D): overlapping stretches of [first, last), zero outside the sequence."""
    length = t_BHSD.shape[2]
    inside = t_BHSD[:, :, max(first, 0) : min(last, length)]
    padded = pad(inside, (0, 0, max(-first, 0), max(last - length, 0)))
    return padded.unfold(2, width, step).transpose(-1, -2)


def _with_sinks(
    plan: Band, k_BHSD: Tensor, v_BHSD: Tensor, k: Tensor, v: Tensor, mask: Tensor, q_pos: Tensor, k_pos: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Sinks first, unless a stretch holds them anyway."""
    count = min(plan.sinks, plan.extent.kv_len)
    sinks = (t[:, :, None, :count].expand(-1, -1, k.shape[2], -1, -1) for t in (k_BHSD, v_BHSD))
    k_sink, v_sink = sinks
    place = torch.arange(count, device=mask.device)
    allowed = (place <= q_pos) if plan.extent.causal else torch.ones_like(place <= q_pos)
    kept = mask & (k_pos >= count)
    return torch.cat([k_sink, k], 3), torch.cat([v_sink, v], 3), torch.cat([allowed, kept], 2)
