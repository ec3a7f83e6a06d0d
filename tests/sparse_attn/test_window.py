"""What mixers share: windows over a stream, causal convolutions, projections taken over from transformers."""

from __future__ import annotations

import pytest
import torch
from mixer_samples import transformers_attention
from torch import nn

from allocentric.sparse_attn.contract import Dims, MixerState, dims_of
from allocentric.sparse_attn.errors import AttentionError
from allocentric.sparse_attn.mixers._projections import Projections
from allocentric.sparse_attn.mixers._window import CausalConv, Window


def attention_by_loops(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int, sinks: int, scale: float
) -> torch.Tensor:
    """Every query by itself: softmax over the keys whose distance is below the window, and the sinks."""
    out = torch.zeros_like(q)
    groups = q.shape[1] // k.shape[1]
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            for i in range(q.shape[2]):
                keys = [j for j in range(i + 1) if i - j < window or j < sinks]
                weights = torch.softmax(k[b, h // groups, keys] @ q[b, h, i] * scale, dim=0)
                out[b, h, i] = weights @ v[b, h // groups, keys]
    return out


@pytest.mark.parametrize(("size", "sinks"), [(1, 0), (5, 0), (8, 3), (1, 2), (30, 4)])
@pytest.mark.parametrize("chunks", [[17], [1] * 17, [2, 9, 1, 5]])
def test_a_window_over_a_stream_equals_every_query_by_itself(size: int, sinks: int, chunks: list[int]) -> None:
    g = torch.Generator().manual_seed(0)
    q = torch.randn(2, 4, 17, 6, generator=g, dtype=torch.float64)
    k, v = torch.randn(2, 2, 2, 17, 6, generator=g, dtype=torch.float64)
    window = Window(size=size, sinks=sinks)
    state = MixerState(tensors=window.initial(2, 2, 6, device="cpu", dtype=torch.float64), seen=[0, 0])
    before = state.nbytes()
    parts, start = [], 0
    for chunk in chunks:
        span = slice(start, start + chunk)
        parts.append(window.attend(q[:, :, span], k[:, :, span], v[:, :, span], state=state, scale=0.4))
        state.seen = [seen + chunk for seen in state.seen]
        start += chunk
    torch.testing.assert_close(torch.cat(parts, 2), attention_by_loops(q, k, v, size, sinks, 0.4))
    assert state.nbytes() == before
    kept = state.tensors["window_k"]
    expected = k[:, :, sinks:][:, :, max(17 - sinks - (size - 1), 0) :]
    torch.testing.assert_close(kept[:, :, kept.shape[2] - window.filled(17) + min(sinks, 17) :], expected)


def test_a_causal_convolution_equals_its_sum_and_streams() -> None:
    torch.manual_seed(0)
    conv = CausalConv(3, 4).double()
    x = torch.randn(2, 11, 3, dtype=torch.float64)
    wanted = torch.zeros_like(x)
    for t in range(11):
        for j in range(4):
            if t - 3 + j >= 0:
                wanted[:, t] += conv.weight[:, j].detach() * x[:, t - 3 + j]
    for chunks in ([11], [1] * 11, [2, 5, 4]):
        past = conv.initial(2, device="cpu", dtype=torch.float64)
        parts = []
        for part in x.split(chunks, dim=1):
            y, past = conv(part, past)
            parts.append(y)
        torch.testing.assert_close(torch.cat(parts, 1), wanted)
        torch.testing.assert_close(past, x[:, -3:].transpose(1, 2))


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "qwen3_5"])
def test_adopted_projections_and_a_wide_window_equal_the_layer_of_transformers(family: str) -> None:
    attention, rotary = transformers_attention(family)
    for name, parameter in attention.named_parameters():
        nn.init.normal_(parameter, std=0.3 if "norm" in name else 0.2)
    x = torch.randn(2, 9, 32)
    positions = torch.arange(9).expand(3, 2, 9) + torch.tensor([0, 4, 7]).view(3, 1, 1)
    rope = rotary(x, positions)
    mask = torch.full((9, 9), float("-inf")).triu(1)[None, None]
    wanted = attention(x, position_embeddings=rope, attention_mask=mask)[0]
    ours = Projections(dims_of(attention))
    ours.adopt(attention)
    q, k, v, gate = ours(x, rope)
    window = Window(size=9)
    state = MixerState(tensors=window.initial(2, 2, 8, device="cpu", dtype=x.dtype), seen=[0, 0])
    found = ours.out(window.attend(q, k, v, state=state, scale=8**-0.5), gate)
    torch.testing.assert_close(found, wanted)


def test_a_layer_of_other_sizes_is_not_taken_over() -> None:
    attention, _ = transformers_attention("qwen3_vl")
    with pytest.raises(AttentionError, match=r"kv_heads 2 for 4.*dims_of"):
        Projections(Dims(width=32, heads=4, kv_heads=4, head_dim=8, qk_norm=True)).adopt(attention)
    with pytest.raises(AttentionError, match="Linear isn't an attention layer"):
        dims_of(nn.Linear(2, 2))
