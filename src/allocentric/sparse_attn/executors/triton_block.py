"""Block-sparse attention by our own Triton kernels, forward and backward: NVIDIA GPUs from Ampere on.

Serves windows, block lists and dense plans with any token rule; a rule that is no comparison of positions and no table
of chosen blocks costs one bit per pair of the blocks that are not full. Changes of scores are refused, since they
would have to be compiled into the kernel: flex does that.

Shapes: B batch, H query heads, K key-value heads, L queries, S keys, D head width, Q query blocks, N listed blocks.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from allocentric.sparse_attn.executors._lists import Lists, lists_of
from allocentric.sparse_attn.executors._permute import permuted, restored
from allocentric.sparse_attn.executors._triton_rules import TokenRule, token_rule
from allocentric.sparse_attn.plan import Gather, Plan

_WIDEST = 256


def refusal(plan: Plan, q_BHLD: Tensor, *, training: bool) -> str | None:  # noqa: ARG001
    """Why it can't run this; None where it can."""
    if isinstance(plan, Gather):
        return "it runs blocks, and a Gather plan lists single keys"
    if plan.score is not None:
        return "a change of scores would have to be compiled into its kernels"
    if q_BHLD.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return f"its kernels take float32, float16 and bfloat16, not {str(q_BHLD.dtype).removeprefix('torch.')}"
    if q_BHLD.shape[-1] > _WIDEST:
        return f"its kernels take a head width of {_WIDEST} at most, got {q_BHLD.shape[-1]}"
    if importlib.util.find_spec("triton") is None:
        return "it needs the package 'triton'; run: pip install triton"
    if q_BHLD.device.type != "cuda" and not interpreting():
        where = q_BHLD.device.type
        return f"its kernels need a CUDA device, got {where} (TRITON_INTERPRET=1 runs them anywhere, slowly)"
    if interpreting() and q_BHLD.dtype == torch.bfloat16:
        return "Triton's interpreter multiplies bfloat16 by its bit patterns; float16 and float32 are right there"
    return None


def interpreting() -> bool:
    """Whether Triton runs kernels on the CPU, one NumPy operation at a time."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A plan as the kernels read it."""

    lists: Lists
    """Blocks of keys of every block of queries."""
    rule: TokenRule
    """Decides inside blocks that are not full."""


def prepare(plan: Plan, q_BHLD: Tensor, *, training: bool) -> Prepared:  # noqa: ARG001
    """Lists and token rule. Costs as much as the lists, and as the pairs to check where the rule is a function."""
    lists = lists_of(plan)
    return Prepared(lists=lists, rule=token_rule(plan, lists))


def attend_prepared(
    prepared: Prepared, plan: Plan, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, *, scale: float
) -> Tensor:
    """Attention under a plan that `prepare` has read."""
    q, k, v = permuted(plan, q_BHLD, k_BKSD, v_BKSD)
    out: Tensor = _BlockSparse.apply(q, k, v, plan, prepared, scale)  # type: ignore[no-untyped-call]
    return restored(plan, out)


def attend(plan: Plan, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, *, scale: float) -> Tensor:
    """Attention under a plan."""
    prepared = prepare(plan, q_BHLD, training=False)
    return attend_prepared(prepared, plan, q_BHLD, k_BKSD, v_BKSD, scale=scale)


class _BlockSparse(torch.autograd.Function):
    """Forward and backward kernels on tensors in the order of the plan's blocks."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, plan: Plan, prepared: Prepared, scale: float) -> Tensor:
        from allocentric.sparse_attn.executors import _triton_launch as launch

        q, k, v = (launch.with_unit_stride(t) for t in (q, k, v))
        out, lse = launch.forward(q, k, v, plan, prepared, scale)
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.call = plan, prepared, scale
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, do: Tensor) -> tuple[Tensor | None, ...]:
        from allocentric.sparse_attn.executors import _triton_launch as launch

        q, k, v, out, lse = ctx.saved_tensors
        dq, dk, dv = launch.backward(q, k, v, out, lse, launch.with_unit_stride(do), *ctx.call)
        return dq, dk, dv, None, None, None
