"""Queries by key block beside the oracle, on choices that no method makes: empty ones, and without the own block."""

from __future__ import annotations

import pytest
import torch
from attention_samples import HEAD_DIM, HEADS, tensors

from allocentric.sparse_attn.errors import ExecutorError
from allocentric.sparse_attn.executors import attend, by_key_block, dense
from allocentric.sparse_attn.plan import BlockChoice, Blocks, Extent, block_count, blocks_of_map

SCALE = HEAD_DIM**-0.5


def plan_of(chosen_BHLN: torch.Tensor, kv_len: int, block: int, *, causal: bool) -> Blocks:
    batch, heads, q_len, _ = chosen_BHLN.shape
    extent = Extent(batch=batch, heads=heads, q_len=q_len, kv_len=kv_len, causal=causal, device=torch.device("cpu"))
    padded = torch.nn.functional.pad(chosen_BHLN, (0, 0, 0, -q_len % 8)).unflatten(2, (-1, 8)).any(3)
    rule = BlockChoice(chosen_BHLN=chosen_BHLN, q_offset=extent.q_offset, block=block)
    return blocks_of_map(extent, padded, q_block=8, k_block=block, rule=rule)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("q_len", "kv_len"), [(61, 61), (29, 61), (64, 64)])
@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_any_choice_equals_the_oracle_with_every_gradient(causal: bool, q_len: int, kv_len: int, share: float) -> None:
    q, k, v = (t.requires_grad_() for t in tensors(2, kv_len, q_len=q_len))
    g = torch.Generator().manual_seed(1)
    chosen = torch.rand(2, HEADS, q_len, block_count(kv_len, 16), generator=g) < share
    plan = plan_of(chosen, kv_len, 16, causal=causal)
    assert by_key_block.refusal(plan, q, training=True) is None
    wanted = dense.attend(plan, q, k, v, scale=SCALE)
    out = by_key_block.attend(plan, q, k, v, scale=SCALE)
    torch.testing.assert_close(out, wanted)
    if share < 0.1:
        assert (wanted == 0).all(-1).any(), "no query chose nothing"
    g_out = torch.randn_like(wanted)
    for what, ours, right in zip(
        "qkv",
        torch.autograd.grad(out, (q, k, v), g_out),
        torch.autograd.grad(wanted, (q, k, v), g_out),
        strict=True,
    ):
        torch.testing.assert_close(ours, right, msg=lambda m, w=what: f"d{w}: {m}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_narrow_types_stay_within_their_precision(dtype: torch.dtype) -> None:
    q, k, v = (t.to(dtype) for t in tensors(1, 128))
    chosen = torch.rand(1, HEADS, 128, 8, generator=torch.Generator().manual_seed(0)) < 0.5
    plan = plan_of(chosen, 128, 16, causal=True)
    out = by_key_block.attend(plan, q, k, v, scale=SCALE)
    assert out.dtype == dtype
    wanted = dense.attend(plan, q.double(), k.double(), v.double(), scale=SCALE)
    assert float((out.double() - wanted).abs().max()) < 8 * torch.finfo(dtype).eps


def test_queries_that_begin_inside_a_block_are_refused_by_name() -> None:
    q, k, v = tensors(1, 61, q_len=30)
    plan = plan_of(torch.ones(1, HEADS, 30, 4, dtype=torch.bool), 61, 16, causal=True)
    with pytest.raises(ExecutorError, match="its queries have to begin where a key block does; 'gather' would"):
        attend(plan, q, k, v, scale=SCALE, executor="by_key_block")
