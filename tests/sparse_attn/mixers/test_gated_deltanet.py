"""Gated DeltaNet against its recurrence, token by token, and against the layer of transformers."""

from __future__ import annotations

import pytest
import torch
from mixer_samples import assert_equals_reference, disturbed, tokens_and_rope, transformers_attention
from torch import Tensor

from allocentric.core.errors import MissingPackageError, SettingsError
from allocentric.sparse_attn.contract import Dims
from allocentric.sparse_attn.errors import AttentionError
from allocentric.sparse_attn.mixers.gated_deltanet import Settings, build

DIMS = Dims(width=12, heads=4, kv_heads=2, head_dim=6)


def by_recurrence(p: dict[str, Tensor], x: Tensor, rope: object, key_heads: int, key_dim: int) -> Tensor:
    """S = a S (I - b k k^T) + b v k^T with S (V, D), arXiv 2412.06464 equation 10, around it the layer of Qwen3.5."""
    value_heads, value_dim = p["A_log"].numel(), p["norm.weight"].numel()
    keys = key_heads * key_dim
    rows = []
    for row in x:
        projected = row @ p["in_proj_qkv.weight"].T
        taps = p["conv1d.weight"].shape[1]
        S = [torch.zeros(value_dim, key_dim, dtype=x.dtype) for _ in range(value_heads)]
        outputs = []
        for t in range(len(row)):
            mixed = sum(
                p["conv1d.weight"][:, j] * projected[t - taps + 1 + j] for j in range(taps) if t - taps + 1 + j >= 0
            )
            mixed = mixed / (1 + torch.exp(-mixed))
            heads = []
            for h in range(value_heads):
                group = h // (value_heads // key_heads)
                q = mixed[group * key_dim : (group + 1) * key_dim]
                k = mixed[keys + group * key_dim : keys + (group + 1) * key_dim]
                v = mixed[2 * keys + h * value_dim : 2 * keys + (h + 1) * value_dim]
                q, k = q / (q.dot(q) + 1e-6).sqrt(), k / (k.dot(k) + 1e-6).sqrt()
                step = torch.log1p(torch.exp(p["in_proj_a.weight"][h] @ row[t] + p["dt_bias"][h]))
                a = torch.exp(-p["A_log"][h].exp() * step)
                b = 1 / (1 + torch.exp(-(p["in_proj_b.weight"][h] @ row[t])))
                S[h] = a * S[h] @ (torch.eye(key_dim) - b * torch.outer(k, k)) + b * torch.outer(v, k)
                o = S[h] @ q / key_dim**0.5
                z = (p["in_proj_z.weight"] @ row[t])[h * value_dim : (h + 1) * value_dim]
                o = o / (o.square().mean() + 1e-6).sqrt() * p["norm.weight"]
                heads.append(o * z / (1 + torch.exp(-z)))
            outputs.append(p["out_proj.weight"] @ torch.cat(heads))
        rows.append(torch.stack(outputs))
    return torch.stack(rows)


ODD = Settings(key_heads=2, value_heads=4, key_dim=5, value_dim=7, taps=2, chunk=5)


@pytest.mark.parametrize("settings", [Settings(chunk=8), ODD], ids=["chunks", "odd"])
def test_output_and_gradients_are_those_of_the_recurrence(settings: Settings) -> None:
    torch.manual_seed(0)
    mixer = disturbed(build(settings, DIMS))
    x, rope = tokens_and_rope(DIMS, batch=1, length=11)
    assert_equals_reference(mixer, lambda p, x, r: by_recurrence(p, x, r, mixer.key_heads, mixer.key_dim), x, rope)


@pytest.mark.parametrize("chunk", [64])
def test_the_rule_equals_both_functions_of_transformers(chunk: int) -> None:
    qwen = pytest.importorskip("transformers.models.qwen3_5.modeling_qwen3_5")
    from allocentric.sparse_attn.mixers._delta_rule import gated_delta_rule

    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 4, 150, 8, generator=g) for _ in range(3))
    q, k = (torch.nn.functional.normalize(t, dim=-1) for t in (q, k))
    decay, beta = -torch.rand(2, 4, 150, generator=g), torch.rand(2, 4, 150, generator=g)
    start = torch.randn(2, 4, 8, 8, generator=g)
    theirs = [t.transpose(1, 2) for t in (q, k, v)]
    options = {"initial_state": start, "output_final_state": True}
    out, state = gated_delta_rule(q * 8**-0.5, k, v, decay, beta, start, chunk=chunk)
    for published in (qwen.torch_chunk_gated_delta_rule, qwen.torch_recurrent_gated_delta_rule):
        wanted, last = published(*theirs, g=decay.transpose(1, 2), beta=beta.transpose(1, 2), **options)
        torch.testing.assert_close(out.transpose(1, 2), wanted, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(state, last, rtol=1e-4, atol=1e-5)


def test_a_layer_of_qwen3_5_is_taken_over_unchanged() -> None:
    qwen = pytest.importorskip("transformers.models.qwen3_5.modeling_qwen3_5")
    config = qwen.Qwen3_5TextConfig(
        hidden_size=32, num_hidden_layers=1, layer_types=["linear_attention"], linear_num_key_heads=2,
        linear_num_value_heads=4, linear_key_head_dim=8, linear_value_head_dim=12, linear_conv_kernel_dim=4,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = qwen.Qwen3_5GatedDeltaNet(config, 0)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    settings = Settings(key_heads=2, value_heads=4, key_dim=8, value_dim=12)
    ours = build(settings, Dims(width=32, heads=4, kv_heads=2, head_dim=8))
    ours.adopt(theirs)
    x = torch.randn(2, 90, 32)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)
    with pytest.raises(AttentionError, match=r"in_proj_qkv.weight|A_log|dt_bias"):
        build(Settings(), Dims(width=32, heads=2, kv_heads=2, head_dim=8)).adopt(theirs)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_5"])
def test_an_attention_layer_gives_its_queries_keys_values_and_output(family: str) -> None:
    from allocentric.sparse_attn.contract import dims_of

    attention, _ = transformers_attention(family)
    dims = dims_of(attention)
    ours = build(Settings(), dims)
    ours.adopt(attention)
    x = torch.randn(3, dims.width)
    q, k, v = ours.in_proj_qkv(x).split(4 * 8, dim=-1)
    torch.testing.assert_close(q, attention.q_proj(x).unflatten(-1, (4, -1))[..., :8].flatten(-2))
    for mine, theirs in ((k, attention.k_proj(x)), (v, attention.v_proj(x))):
        torch.testing.assert_close(mine, theirs.unflatten(-1, (2, 8))[..., [0, 0, 1, 1], :].flatten(-2))
    joined = torch.cat([q, k, v], dim=-1)
    past = ours.conv1d.initial(1, device="cpu", dtype=x.dtype)
    torch.testing.assert_close(ours.conv1d(joined[None], past)[0][0], joined)
    assert torch.equal(ours.out_proj.weight, attention.o_proj.weight)
    with pytest.raises(AttentionError, match="needs 4 key and value heads of width 8"):
        build(Settings(value_dim=16), dims).adopt(attention)


def test_cost_is_the_count_of_products() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    mixer = build(Settings(chunk=8), DIMS)
    with FlopCounterMode(display=False) as counter:
        mixer(torch.randn(1, 40, 12))
    # The counter doesn't know triangular systems: 8 x 8 on 6 + 6 right sides, 5 chunks, 4 heads.
    assert mixer.cost(40).forward_flops == counter.get_total_flops() + 4 * 5 * 8 * 8 * 12


def test_what_cannot_be_built_or_run_is_said() -> None:
    with pytest.raises(SettingsError, match="3 value heads don't share 2 key heads"):
        build(Settings(key_heads=2, value_heads=3), DIMS)
    mixer = build(Settings(kernel="fla"), DIMS)
    with pytest.raises(MissingPackageError, match="pip install flash-linear-attention"):
        mixer(torch.randn(1, 3, 12))
