"""Lightning Attention-2: sums of values by keys that fade at a rate of their head, without a softmax.

Qin et al., arXiv 2401.04658. The layer around it is MiniMax-Text-01's as transformers 5.23 has it
(`MiniMaxLightningAttention`), whose weights `adopt` copies: SiLU on queries, keys and values, an RMS norm over all
heads, a sigmoid gate. Head h of H fades by exp(-2^(-8 h / H)) a token, slower in later layers.

Shapes: B batch, L tokens, E model width, H heads, D head width.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import silu

from allocentric.core import config
from allocentric.sparse_attn.contract import Cost, Dims, Mixer, MixerState
from allocentric.sparse_attn.errors import AttentionError
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.mixers._linear import flops, linear_attention
from allocentric.sparse_attn.mixers._projections import RMSNorm


class Settings(config.Settings):
    """Heads and widths are those of the attention layer, with a key and value for every head."""

    chunk: int = Field(default=64, ge=1)
    """Tokens computed together. Changes rounding and speed only."""


EXAMPLE = Settings(chunk=8)


class Lightning(Mixer):
    """One layer."""

    name = "lightning"
    growth = "constant"

    def __init__(self, settings: Settings, dims: Dims) -> None:
        super().__init__()
        self.settings, self.dims = settings, dims
        inner = dims.heads * dims.head_dim
        self.qkv_proj = nn.Linear(dims.width, 3 * inner, bias=False)
        self.output_gate = nn.Linear(dims.width, inner, bias=False)
        self.norm = RMSNorm(inner, eps=dims.norm_eps)
        self.out_proj = nn.Linear(inner, dims.width, bias=False)

    def log_decay(self) -> Tensor:
        """(H,) fp64: what a token takes from the logarithm of every head's past."""
        d = self.dims
        slowed = 1 - d.layer / (d.layers - 1 + 1e-5) + 1e-5
        return -slowed * 2.0 ** (-8 * torch.arange(1, d.heads + 1, dtype=torch.float64) / d.heads)

    def initial_state(self, batch: int, *, device: torch.device | str, dtype: torch.dtype) -> MixerState:
        """Empty sums."""
        d = self.dims
        wide = torch.promote_types(dtype, torch.float32)
        sums = torch.zeros(batch, d.heads, d.head_dim, d.head_dim, device=device, dtype=wide)
        return MixerState(tensors={"sums": sums}, seen=[0] * batch)

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
        qkv_BHLC = silu(self.qkv_proj(x_BLE)).unflatten(-1, (self.dims.heads, -1)).transpose(1, 2)
        q_BHLD, k_BHLD, v_BHLD = qkv_BHLC.chunk(3, dim=-1)
        o_BHLD, state.tensors["sums"] = linear_attention(
            q_BHLD,
            k_BHLD,
            v_BHLD,
            state.tensors["sums"],
            chunk=self.settings.chunk,
            log_decay_H=self.log_decay().to(x_BLE.device),
        )
        normal = self.norm(o_BHLD.transpose(1, 2).flatten(-2).to(x_BLE.dtype))
        y_BLE: Tensor = self.out_proj(torch.sigmoid(self.output_gate(x_BLE)) * normal)
        return y_BLE

    def cost(self, length: int) -> Cost:
        """Projections and the chunk form."""
        d = self.dims
        linear = [m for m in self.children() if isinstance(m, nn.Linear)]
        products = 2 * length * sum(m.in_features * m.out_features for m in linear)
        products += flops(length, d.heads, d.head_dim, d.head_dim, d.head_dim, self.settings.chunk)
        state = self.initial_state(1, device="cpu", dtype=self.out_proj.weight.dtype)
        return Cost(forward_flops=products, state_bytes=sum(state.nbytes().values()))

    @torch.no_grad()
    def adopt(self, attention: nn.Module) -> None:
        """Copy a Lightning layer of transformers' MiniMax. Other layers know nothing of fading sums."""
        given = dict(attention.named_parameters())
        mine = dict(self.named_parameters())
        if {name: p.shape for name, p in given.items()} != {name: p.shape for name, p in mine.items()}:
            raise AttentionError(
                f"lightning can't take over {type(attention).__name__}: it takes MiniMaxLightningAttention of "
                f"{self.dims.heads} heads of width {self.dims.head_dim}; others have to be trained from scratch"
            )
        for name, parameter in mine.items():
            parameter.copy_(given[name])


def build(settings: Settings, dims: Dims) -> Lightning:
    """A freshly initialised layer."""
    return Lightning(settings, dims)
