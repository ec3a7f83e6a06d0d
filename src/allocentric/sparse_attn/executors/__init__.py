"""One file per way to compute attention under a plan, and the choice among them.

An executor is a file with

    attend(plan, q_BHLD, k_BKSD, v_BKSD, *, scale) -> out_BHLD
    refusal(plan, q_BHLD, *, training) -> str | None      why it can't run this, None where it can

One that has to read the plan first may offer the two halves of `attend` apart, so that they are timed apart and the
first is kept for several calls:

    prepare(plan, q_BHLD, *, training) -> prepared
    attend_prepared(prepared, plan, q_BHLD, k_BKSD, v_BKSD, *, scale) -> out_BHLD

Queries without an allowed key give 0. Key-value heads are shared by consecutive groups of query heads.
"""

from __future__ import annotations

from types import ModuleType

from torch import Tensor

from allocentric.core.catalog import EXECUTORS
from allocentric.sparse_attn.errors import ExecutorError
from allocentric.sparse_attn.plan import Plan

PREFERENCE = {
    "cpu": ("sdpa", "band", "by_key_block", "gather"),
    "cuda": ("sdpa", "triton_block", "flex", "band", "gather"),
}
"""Tried in this order by device; `dense`, the fp64 oracle, only runs when it is named."""


def load(name: str) -> ModuleType:
    """The executor's module, or a UserError with a suggestion."""
    return EXECUTORS.load(name)


def able(plan: Plan, q_BHLD: Tensor, *, training: bool) -> list[str]:
    """Executors that can run a plan on the device of `q_BHLD`, best first."""
    names = PREFERENCE.get(q_BHLD.device.type, PREFERENCE["cuda"])
    return [name for name in names if load(name).refusal(plan, q_BHLD, training=training) is None]


def choose(plan: Plan, q_BHLD: Tensor, *, training: bool, wanted: str = "auto") -> ModuleType:
    """The executor called `wanted`, or the best that can run the plan.

    Raises:
        ExecutorError: it can't; the message names those that can.
    """
    if wanted == "auto":
        names = able(plan, q_BHLD, training=training)
        if not names:
            raise ExecutorError(
                f"no executor runs a {type(plan).__name__} plan on {q_BHLD.device.type}; 'dense' does, slowly"
            )
        return load(names[0])
    module = load(wanted)
    reason = module.refusal(plan, q_BHLD, training=training)
    if reason is not None:
        others = able(plan, q_BHLD, training=training) or ["dense"]
        raise ExecutorError(f"executor {wanted!r} can't run this: {reason}; {others[0]!r} would")
    return module


def attend(
    plan: Plan,
    q_BHLD: Tensor,
    k_BKSD: Tensor,
    v_BKSD: Tensor,
    *,
    scale: float,
    executor: str = "auto",
    training: bool = False,
) -> Tensor:
    """Attention under a plan, by the executor called `executor` or the best that can. Returns (B, H, L, D)."""
    module = choose(plan, q_BHLD, training=training, wanted=executor)
    out: Tensor = module.attend(plan, q_BHLD, k_BKSD, v_BKSD, scale=scale)
    return out
