"""Lightning Attention-2 against its recurrence, token by token, and against the layer of transformers."""

from __future__ import annotations

import math

import pytest
import torch
from mixer_samples import assert_equals_reference, disturbed, tokens_and_rope, transformers_attention
from torch import Tensor

from allocentric.sparse_attn.contract import Dims
from allocentric.sparse_attn.errors import AttentionError
from allocentric.sparse_attn.mixers.lightning import Settings, build

DIMS = Dims(width=12, heads=4, kv_heads=4, head_dim=6, layer=1, layers=3)


def by_recurrence(p: dict[str, Tensor], x: Tensor, rope: object) -> Tensor:
    """kv_t = lambda kv_{t-1} + k v^T, o = q kv_t: arXiv 2401.04658 equation 3, around it the layer of MiniMax."""
    heads, width = 4, 6
    rows = []
    for row in x:
        kv = [torch.zeros(width, width, dtype=x.dtype) for _ in range(heads)]
        outputs = []
        for token in row:
            projected = p["qkv_proj.weight"] @ token
            projected = projected / (1 + torch.exp(-projected))
            o = []
            for h in range(heads):
                q, k, v = projected[h * 18 : h * 18 + 18].split(width)
                fade = math.exp(-(2.0 ** (-8 * (h + 1) / heads)) * (1 - 1 / (2 + 1e-5) + 1e-5))
                kv[h] = fade * kv[h] + torch.outer(k, v)
                o.append(q @ kv[h])
            o = torch.cat(o)
            o = o / (o.square().mean() + 1e-6).sqrt() * p["norm.weight"]
            outputs.append(p["out_proj.weight"] @ (o / (1 + torch.exp(-(p["output_gate.weight"] @ token)))))
        rows.append(torch.stack(outputs))
    return torch.stack(rows)


@pytest.mark.parametrize("chunk", [4, 64])
def test_output_and_gradients_are_those_of_the_recurrence(chunk: int) -> None:
    torch.manual_seed(0)
    x, rope = tokens_and_rope(DIMS, batch=1, length=11)
    assert_equals_reference(disturbed(build(Settings(chunk=chunk), DIMS)), by_recurrence, x, rope)


@pytest.mark.parametrize("layer", [0, 2])
def test_a_layer_of_minimax_is_taken_over_unchanged(layer: int) -> None:
    minimax = pytest.importorskip("transformers.models.minimax.modeling_minimax")
    config = minimax.MiniMaxConfig(
        hidden_size=32, num_attention_heads=4, num_key_value_heads=4, head_dim=8, num_hidden_layers=3, block_size=16,
        layer_types=["linear_attention"] * 3,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = minimax.MiniMaxLightningAttention(config, layer)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ours = build(Settings(), Dims(width=32, heads=4, kv_heads=4, head_dim=8, layer=layer, layers=3))
    ours.adopt(theirs)
    x = torch.randn(2, 70, 32)
    wanted = theirs(x, position_embeddings=None, attention_mask=None)[0]
    torch.testing.assert_close(ours(x), wanted, rtol=1e-4, atol=1e-4)


def test_a_softmax_layer_is_not_taken_over() -> None:
    attention, _ = transformers_attention("qwen3_vl")
    with pytest.raises(AttentionError, match=r"can't take over Qwen3VLTextAttention.*from scratch"):
        build(Settings(), Dims(width=32, heads=4, kv_heads=2, head_dim=8)).adopt(attention)


def test_cost_is_the_count_of_products() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    mixer = build(Settings(chunk=8), DIMS)
    with FlopCounterMode(display=False) as counter:
        mixer(torch.randn(1, 43, 12))
    assert mixer.cost(43).forward_flops == counter.get_total_flops()
