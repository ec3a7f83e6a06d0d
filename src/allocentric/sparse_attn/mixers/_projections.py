"""The projections of an attention layer, as transformers' text models have them, for mixers that take a layer over.

Shapes: B batch, H query heads, K key-value heads, L tokens, D head width, R rotated channels, E model width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from allocentric.sparse_attn.contract import Dims, dims_of
from allocentric.sparse_attn.errors import AttentionError


class Projected(NamedTuple):
    """What a token turns into."""

    q_BHLD: Tensor
    k_BKLD: Tensor
    v_BKLD: Tensor
    gate_BLC: Tensor | None
    """Logits of the output gate, C = H D; None where the layer has none."""


class RMSNorm(nn.Module):
    """x / rms(x) * (offset + weight) over the last axis, computed in fp32 at least."""

    def __init__(self, width: int, *, eps: float, offset: float = 0.0) -> None:
        super().__init__()
        self.eps = eps
        self.offset = offset
        self.weight = nn.Parameter(torch.full((width,), 1.0 - offset))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape and dtype as x."""
        wide = torch.promote_types(x.dtype, torch.float32)
        x_wide = x.to(wide)
        normal = x_wide * torch.rsqrt(x_wide.square().mean(-1, keepdim=True) + self.eps)
        if self.offset:
            return (normal * (self.offset + self.weight.to(wide))).to(x.dtype)
        return self.weight * normal.to(x.dtype)


class Projections(nn.Module):
    """q, k, v and o with what `Dims` says about biases, norms and output gate. Names are transformers'."""

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.dims = dims
        inner, kv = dims.heads * dims.head_dim, dims.kv_heads * dims.head_dim
        self.q_proj = nn.Linear(dims.width, inner * (2 if dims.gated_output else 1), bias=dims.qkv_bias)
        self.k_proj = nn.Linear(dims.width, kv, bias=dims.qkv_bias)
        self.v_proj = nn.Linear(dims.width, kv, bias=dims.qkv_bias)
        self.o_proj = nn.Linear(inner, dims.width, bias=dims.out_bias)
        if dims.qk_norm:
            self.q_norm = RMSNorm(dims.head_dim, eps=dims.norm_eps, offset=dims.norm_offset)
            self.k_norm = RMSNorm(dims.head_dim, eps=dims.norm_eps, offset=dims.norm_offset)

    def forward(self, x_BLE: Tensor, rope: tuple[Tensor, Tensor] | None = None) -> Projected:
        """Queries, keys and values of every head, normed and rotated, and the logits of the output gate."""
        q_BLHC = self.q_proj(x_BLE).unflatten(-1, (self.dims.heads, -1))
        gate_BLC = None
        if self.dims.gated_output:
            q_BLHC, gate_BLHD = q_BLHC.chunk(2, dim=-1)
            gate_BLC = gate_BLHD.flatten(-2)
        if self.dims.qk_norm:
            q_BLHC = self.q_norm(q_BLHC)
        q_BHLD = q_BLHC.transpose(1, 2)
        return Projected(q_BHLD if rope is None else rotated(q_BHLD, rope), *self.keys_values(x_BLE, rope), gate_BLC)

    def keys_values(self, x_BLE: Tensor, rope: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """k_BKLD and v_BKLD alone, for tokens that ask nothing."""
        k_BLKD = self.k_proj(x_BLE).unflatten(-1, (self.dims.kv_heads, -1))
        if self.dims.qk_norm:
            k_BLKD = self.k_norm(k_BLKD)
        k_BKLD = k_BLKD.transpose(1, 2)
        v_BKLD = self.v_proj(x_BLE).unflatten(-1, (self.dims.kv_heads, -1)).transpose(1, 2)
        return k_BKLD if rope is None else rotated(k_BKLD, rope), v_BKLD

    def out(self, heads_BHLD: Tensor, gate_BLC: Tensor | None) -> Tensor:
        """y_BLE from the heads' outputs."""
        merged_BLC = heads_BHLD.transpose(1, 2).flatten(-2)
        if gate_BLC is not None:
            merged_BLC = merged_BLC * torch.sigmoid(gate_BLC)
        y_BLE: Tensor = self.o_proj(merged_BLC)
        return y_BLE

    @torch.no_grad()
    def adopt(self, attention: nn.Module) -> None:
        """Copy the weights of an attention layer of transformers.

        Raises:
            AttentionError: its sizes, biases, norms or gate are others than this was built for.
        """
        theirs = dims_of(attention, layer=self.dims.layer, layers=self.dims.layers)
        if theirs != self.dims:
            differ = [name for name in vars(theirs) if getattr(theirs, name) != getattr(self.dims, name)]
            listed = ", ".join(f"{name} {getattr(theirs, name)} for {getattr(self.dims, name)}" for name in differ)
            raise AttentionError(
                f"{type(attention).__name__} can't be taken over: it has {listed}; build with dims_of(attention)"
            )
        for name, mine in self.named_parameters():
            mine.copy_(attention.get_parameter(name))

    def flops(self, length: int) -> int:
        """Multiplications and additions of the four products for `length` tokens."""
        return 2 * length * sum(m.in_features * m.out_features for m in self.children() if isinstance(m, nn.Linear))

    def keys_values_flops(self, length: int) -> int:
        """The same of `keys_values`."""
        return 2 * length * self.dims.width * 2 * self.dims.kv_heads * self.dims.head_dim


def rotated(x_BHLD: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary embedding of the first R channels, halves paired, as transformers' text models have it."""
    cos_B1LR, sin_B1LR = (t[:, None].to(x_BHLD.dtype) for t in rope)
    width = cos_B1LR.shape[-1]
    first, second, rest = x_BHLD.tensor_split((width // 2, width), dim=-1)
    (cos_first, cos_second), (sin_first, sin_second) = (t.tensor_split(2, dim=-1) for t in (cos_B1LR, sin_B1LR))
    turned = (
        torch.addcmul(first * cos_first, second, sin_first, value=-1),
        torch.addcmul(second * cos_second, first, sin_second),
    )
    return torch.cat([*turned, rest] if rest.shape[-1] else turned, dim=-1)
