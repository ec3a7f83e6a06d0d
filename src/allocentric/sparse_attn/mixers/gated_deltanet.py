"""Gated DeltaNet: a matrix per head that forgets by a gate and writes by the delta rule.

Yang et al., arXiv 2412.06464. The layer is the one of Qwen3-Next and Qwen3.5 as transformers 5.23 has it
(`Qwen3_5GatedDeltaNet`), whose weights `adopt` copies: a short causal convolution over queries, keys and values, SiLU,
queries and keys of length 1, the gated delta rule, and a gated RMS norm. InfiniteVL (arXiv 2512.08829) puts three of
them after every layer with a window.

Shapes: B batch, L tokens, E model width, H value heads, D key width, V value width, C channels of the convolution.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from allocentric.core import config
from allocentric.core.errors import SettingsError
from allocentric.sparse_attn.contract import Cost, Dims, Mixer, MixerState, dims_of
from allocentric.sparse_attn.errors import AttentionError
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.mixers._delta_rule import Kernel, flops, gated_delta_rule
from allocentric.sparse_attn.mixers._projections import RMSNorm
from allocentric.sparse_attn.mixers._window import CausalConv


class Settings(config.Settings):
    """Sizes; None takes the attention layer's own, so that its weights can be taken over."""

    key_heads: int | None = Field(default=None, ge=1)
    """Heads of queries and keys; None: as many as the attention layer has for queries."""
    value_heads: int | None = Field(default=None, ge=1)
    """Heads of values, a multiple of `key_heads`; None: as many as `key_heads`."""
    key_dim: int | None = Field(default=None, ge=1)
    """Width of a query and key; None: that of the attention layer."""
    value_dim: int | None = Field(default=None, ge=1)
    """Width of a value; None: that of the attention layer. InfiniteVL doubles it."""
    taps: int = Field(default=4, ge=1)
    """Tokens that the convolution reaches, its own included."""
    chunk: int = Field(default=64, ge=1)
    """Tokens computed together. Changes rounding and speed only."""
    kernel: Kernel = "auto"
    """Who computes the recurrence: flash-linear-attention on CUDA where it is installed, or PyTorch."""


EXAMPLE = Settings(chunk=8)
VARIANTS = (Settings(key_heads=2, value_heads=4, key_dim=6, value_dim=10, taps=2, chunk=16),)


class GatedDeltaNet(Mixer):
    """One layer."""

    name = "gated_deltanet"
    growth = "constant"

    def __init__(self, settings: Settings, dims: Dims) -> None:
        super().__init__()
        self.settings, self.dims = settings, dims
        self.key_heads = settings.key_heads or dims.heads
        self.value_heads = settings.value_heads or self.key_heads
        self.key_dim = settings.key_dim or dims.head_dim
        self.value_dim = settings.value_dim or dims.head_dim
        if self.value_heads % self.key_heads:
            raise SettingsError(
                f"gated_deltanet: {self.value_heads} value heads don't share {self.key_heads} key heads evenly"
            )
        keys, values = self.key_heads * self.key_dim, self.value_heads * self.value_dim
        self.in_proj_qkv = nn.Linear(dims.width, 2 * keys + values, bias=dims.qkv_bias)
        self.in_proj_z = nn.Linear(dims.width, values, bias=False)
        self.in_proj_b = nn.Linear(dims.width, self.value_heads, bias=False)
        self.in_proj_a = nn.Linear(dims.width, self.value_heads, bias=False)
        self.conv1d = CausalConv(2 * keys + values, settings.taps)
        self.A_log = nn.Parameter(torch.empty(self.value_heads).uniform_(0.01, 16).log())
        self.dt_bias = nn.Parameter(_initial_dt_bias(self.value_heads))
        self.norm = RMSNorm(self.value_dim, eps=dims.norm_eps)
        self.out_proj = nn.Linear(values, dims.width, bias=False)

    def initial_state(self, batch: int, *, device: torch.device | str, dtype: torch.dtype) -> MixerState:
        """Empty matrices, and zeros before the first token."""
        shape = (batch, self.value_heads, self.key_dim, self.value_dim)
        wide = torch.promote_types(dtype, torch.float32)
        return MixerState(
            tensors={
                "matrix": torch.zeros(shape, device=device, dtype=wide),
                "conv": self.conv1d.initial(batch, device=device, dtype=dtype),
            },
            seen=[0] * batch,
        )

    def phase(self, seen: int) -> int:  # noqa: ARG002
        """The recurrence is the same at every token."""
        return 0

    def mix(
        self,
        x_BLE: Tensor,
        *,
        rope: tuple[Tensor, Tensor] | None,  # noqa: ARG002
        geometry: Geometry | None,  # noqa: ARG002
        state: MixerState,
    ) -> Tensor:
        """Positions are left to the decay; `rope` isn't used."""
        keys, values = self.key_heads * self.key_dim, self.value_heads * self.value_dim
        qkv_BLC, state.tensors["conv"] = self.conv1d(self.in_proj_qkv(x_BLE), state.tensors["conv"])
        q, k, v = silu(qkv_BLC).split([keys, keys, values], dim=-1)
        wide = state.tensors["matrix"].dtype
        groups = self.value_heads // self.key_heads
        q_BHLD, k_BHLD = (
            _unit(t.unflatten(-1, (self.key_heads, -1)).transpose(1, 2).to(wide)).repeat_interleave(groups, dim=1)
            for t in (q, k)
        )
        v_BHLV = v.unflatten(-1, (self.value_heads, -1)).transpose(1, 2)
        decay = -self.A_log.to(wide).exp() * softplus(self.in_proj_a(x_BLE).to(wide) + self.dt_bias.to(wide))
        o_BHLV, state.tensors["matrix"] = gated_delta_rule(
            q_BHLD * self.key_dim**-0.5,
            k_BHLD,
            v_BHLV,
            decay.transpose(1, 2),
            torch.sigmoid(self.in_proj_b(x_BLE)).transpose(1, 2),
            state.tensors["matrix"],
            chunk=self.settings.chunk,
            kernel=self.settings.kernel,
        )
        z_BLHV = self.in_proj_z(x_BLE).unflatten(-1, (self.value_heads, -1))
        gated_BLHV = self.norm(o_BHLV.transpose(1, 2).to(x_BLE.dtype)) * silu(z_BLHV)
        y_BLE: Tensor = self.out_proj(gated_BLHV.flatten(-2))
        return y_BLE

    def cost(self, length: int) -> Cost:
        """Projections, convolution and the chunk form."""
        linear = [m for m in self.children() if isinstance(m, nn.Linear)]
        products = 2 * length * sum(m.in_features * m.out_features for m in linear)
        products += 2 * length * self.conv1d.weight.numel()
        chunk = max(1, min(self.settings.chunk, length))
        products += flops(length, self.value_heads, self.key_dim, self.value_dim, chunk)
        state = self.initial_state(1, device="cpu", dtype=self.out_proj.weight.dtype)
        return Cost(forward_flops=products, state_bytes=sum(state.nbytes().values()))

    @torch.no_grad()
    def adopt(self, attention: nn.Module) -> None:
        """Copy a Gated DeltaNet layer of transformers whole, or queries, keys, values and output of an attention.

        From an attention layer, key-value heads are repeated for their query heads and the convolution begins as the
        identity; gates keep their initial values, so the layer has to be trained on (InfiniteVL distils it).
        """
        if hasattr(attention, "in_proj_qkv"):
            self._adopt_own_kind(attention)
            return
        theirs = dims_of(attention)
        wanted = (theirs.heads, theirs.heads, theirs.head_dim, theirs.head_dim)
        if (self.key_heads, self.value_heads, self.key_dim, self.value_dim) != wanted:
            raise AttentionError(
                f"gated_deltanet can't take over {type(attention).__name__}: that needs {theirs.heads} key and value "
                f"heads of width {theirs.head_dim}; leave key_heads, value_heads, key_dim and value_dim unset"
            )
        groups = theirs.heads // theirs.kv_heads
        for what in ("weight", "bias") if theirs.qkv_bias else ("weight",):
            given = [attention.get_parameter(f"{name}_proj.{what}") for name in "qkv"]
            # The second half of a gated layer's queries is its gate.
            q = given[0].unflatten(0, (theirs.heads, -1))[:, : theirs.head_dim]
            k, v = (t.unflatten(0, (theirs.kv_heads, -1)).repeat_interleave(groups, dim=0) for t in given[1:])
            self.in_proj_qkv.get_parameter(what).copy_(torch.cat([q, k, v]).flatten(0, 1))
        self.conv1d.weight.zero_()
        self.conv1d.weight[:, -1] = 1
        self.out_proj.weight.copy_(attention.get_parameter("o_proj.weight"))

    def _adopt_own_kind(self, layer: nn.Module) -> None:
        for name, mine in self.named_parameters():
            given: Tensor = layer.get_parameter(name)
            if name == "conv1d.weight":
                given = given[:, 0]
            if given.shape != mine.shape:
                raise AttentionError(
                    f"gated_deltanet can't take over {type(layer).__name__}: {name} is {tuple(given.shape)} there and "
                    f"{tuple(mine.shape)} here; set key_heads, value_heads, key_dim, value_dim and taps as there"
                )
            mine.copy_(given)


def _unit(x: Tensor) -> Tensor:
    """Length 1 along the last axis, as flash-linear-attention's kernels norm."""
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6)


def _initial_dt_bias(heads: int) -> Tensor:
    """Softplus of it is log-uniform within [0.001, 0.1], as in the paper's code (NVlabs/GatedDeltaNet)."""
    step = torch.empty(heads).uniform_(math.log(0.001), math.log(0.1)).exp()
    return step + torch.log(-torch.expm1(-step))


def build(settings: Settings, dims: Dims) -> GatedDeltaNet:
    """A freshly initialised layer."""
    return GatedDeltaNet(settings, dims)
