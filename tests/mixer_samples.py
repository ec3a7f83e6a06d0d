"""Comparison of a mixer with a slow form of its published recurrence, and small attention layers of transformers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from allocentric.sparse_attn.contract import Dims

Rope = tuple[Tensor, Tensor]
Reference = Callable[[dict[str, Tensor], Tensor, Rope], Tensor]
"""(parameters by name, x (B, L, E), rope) -> y (B, L, E), written from the paper without the mixer's code."""


def tokens_and_rope(dims: Dims, *, batch: int = 2, length: int = 29, seed: int = 3) -> tuple[Tensor, Rope]:
    """Tokens in fp64 and the rotary embedding of their positions."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, length, dims.width, generator=g, dtype=torch.float64)
    angles = torch.arange(length)[:, None] * 0.6 ** torch.arange(dims.head_dim // 2, dtype=torch.float64)
    angles = torch.cat([angles, angles], dim=-1).expand(batch, -1, -1)
    return x, (angles.cos(), angles.sin())


def disturbed(mixer: nn.Module, amount: float = 0.2) -> nn.Module:
    """In fp64, every parameter moved from its initial value."""
    mixer = mixer.double()
    g = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(amount * torch.randn(parameter.shape, generator=g, dtype=torch.float64))
    return mixer


def assert_equals_reference(mixer: nn.Module, reference: Reference, x: Tensor, rope: Rope) -> None:
    """Output, and the gradients of tokens and of all parameters."""
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=x.dtype)
    parameters = dict(mixer.named_parameters())
    x = x.clone().requires_grad_()
    leaves = [x, *parameters.values()]
    ours, right = mixer(x, rope=rope), reference(parameters, x, rope)
    torch.testing.assert_close(ours, right, rtol=1e-9, atol=1e-9)
    found = torch.autograd.grad((ours * weights).sum(), leaves)
    wanted = torch.autograd.grad((right * weights).sum(), leaves)
    for name, mine, theirs in zip(["x", *parameters], found, wanted, strict=True):
        assert theirs.abs().max() > 0, f"the reference doesn't use {name}"
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-9, msg=lambda m, n=name: f"d{n}: {m}")


def transformers_attention(family: str) -> tuple[nn.Module, nn.Module]:
    """A small attention layer and the rotary embedding of its family."""
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "num_hidden_layers": 1, "layer_types": ["full_attention"],
    }  # fmt: skip
    if family == "qwen2_5_vl":
        from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as m

        config = m.Qwen2_5_VLTextConfig(**sizes, rope_parameters={"rope_theta": 1e4, "mrope_section": [1, 1, 2]})
        config._attn_implementation = "eager"
        return m.Qwen2_5_VLAttention(config, 0), m.Qwen2_5_VLRotaryEmbedding(config)
    if family == "qwen3_vl":
        from transformers.models.qwen3_vl import modeling_qwen3_vl as m

        config = m.Qwen3VLTextConfig(**sizes, rope_parameters={"rope_theta": 1e4, "mrope_section": [2, 1, 1]})
        config._attn_implementation = "eager"
        return m.Qwen3VLTextAttention(config, 0), m.Qwen3VLTextRotaryEmbedding(config)
    from transformers.models.qwen3_5 import modeling_qwen3_5 as m

    rope = {"rope_theta": 1e4, "mrope_section": [1, 1, 0], "partial_rotary_factor": 0.5}
    config = m.Qwen3_5TextConfig(**sizes, rope_parameters=rope)
    config._attn_implementation = "eager"
    return m.Qwen3_5Attention(config, 0), m.Qwen3_5TextRotaryEmbedding(config)
