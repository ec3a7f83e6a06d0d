"""Dynamic mask attention beside transformers' Doge, whose layer is its published form."""

from __future__ import annotations

import math

import pytest
import torch
from attention_samples import DIMS, HEAD_DIM, call_of, mixed_geometry, tensors

from allocentric.sparse_attn import executors
from allocentric.sparse_attn.methods import dma


def method_with_spread(window: int) -> dma.DMA:
    torch.manual_seed(0)
    method = dma.build(dma.Settings(window=window, q_block=8), DIMS).double()
    torch.nn.init.normal_(method.a_K)
    return method


def test_bias_choice_and_output_equal_the_rule() -> None:
    geometry = mixed_geometry()
    length = geometry.length
    q, k, v = tensors(1, length)
    method = method_with_spread(12)
    call = call_of(geometry, causal=True)
    found = executors.attend(method.plan(q, k, v, call), q, k, v, scale=call.scale)[0]
    a, weight = method.a_K.detach(), method.weight.weight.detach()
    for h in (0, 3):
        kv = h // 2
        gate = (v[0].transpose(0, 1).flatten(1) @ weight[kv]).tolist()
        bias = [math.exp(float(a[kv]) * math.log1p(math.exp(one))) for one in gate]
        for i in range(length):
            keys = sorted(range(i + 1), key=lambda j: -bias[j])[:12]
            scores = q[0, h, i] @ k[0, kv, keys].T * HEAD_DIM**-0.5 + torch.tensor([bias[j] for j in keys])
            torch.testing.assert_close(found[h, i], scores.softmax(0) @ v[0, kv, keys])


def test_gradients_reach_what_the_bias_is_made_of() -> None:
    geometry = mixed_geometry()
    q, k, v = tensors(1, geometry.length)
    method = method_with_spread(12)
    call = call_of(geometry, causal=True)
    out = executors.attend(method.plan(q, k, v, call), q, k, v, scale=call.scale, training=True)
    (out**2).sum().backward()
    for parameter in method.parameters():
        assert parameter.grad is not None
        assert (parameter.grad != 0).all()


@pytest.mark.slow
def test_bias_and_choice_equal_those_of_doge() -> None:
    doge = pytest.importorskip("transformers.models.doge.modeling_doge")
    geometry = mixed_geometry()
    q, k, v = tensors(2, geometry.length)
    method = method_with_spread(12)
    config = doge.DogeConfig(
        hidden_size=64, num_attention_heads=4, num_key_value_heads=2, head_dim=HEAD_DIM, keep_window_size=12
    )
    layer = doge.DogeAttention(config, layer_idx=0).double()
    layer.A.data.copy_(method.a_K)
    layer.dt_proj.weight.data.copy_(method.weight.weight)
    if layer.dt_proj.bias is not None:
        layer.dt_proj.bias.data.zero_()
    states = torch.exp(
        layer.A * torch.nn.functional.softplus(layer.dt_proj(v.transpose(1, 2).reshape(2, geometry.length, -1)))
    ).transpose(-1, -2)
    torch.testing.assert_close(method.bias(v), states)
    later = torch.ones(geometry.length, geometry.length, dtype=torch.bool).triu(1)
    causal = torch.zeros(2, 1, geometry.length, geometry.length, dtype=torch.float64)
    causal = causal.masked_fill(later, torch.finfo(torch.float64).min)
    mask = layer.prepare_dynamic_mask(q.transpose(1, 2).flatten(2), states, 12, causal)
    seen = (mask > torch.finfo(torch.float64).min / 2).repeat_interleave(2, dim=1)
    call = call_of(mixed_geometry(2), causal=True)
    plan = method.plan(q, k, v, call)
    assert torch.equal(plan.dense_mask(), seen)
    scores = q @ k.repeat_interleave(2, 1).transpose(-1, -2) * call.scale + mask.repeat_interleave(2, 1)
    wanted = torch.softmax(scores, -1) @ v.repeat_interleave(2, 1)
    torch.testing.assert_close(executors.attend(plan, q, k, v, scale=call.scale), wanted)


def test_ties_go_to_the_earlier_key() -> None:
    geometry = mixed_geometry()
    q, k, v = tensors(1, geometry.length)
    method = dma.build(dma.Settings(window=3, q_block=8), DIMS).double()
    seen = method.plan(q, k, v, call_of(geometry, causal=True)).dense_mask()[0, 0]
    # A is 0 before training, so that all keys weigh the same.
    assert seen[50].nonzero().flatten().tolist() == [0, 1, 2]
