"""SQA: fewer query heads, so that fewer scores are computed; keys and values as many as wanted.

Filipek, Sparse Query Attention, September 2025; RxAI-dev/RxNN `docs/research/sparse_query_attention.md`. Scores cost
H_q / H of ordinary attention's, and the output projection shrinks alike. The variants: SQA has half the query heads
and the layer's key-value heads, sSQA half of both, xSQA a quarter of the query heads or fewer, xSMQA one key-value
head.

Shapes: B batch, L tokens, E model width.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor

from allocentric.core import config
from allocentric.core.errors import SettingsError
from allocentric.sparse_attn.contract import Cost, Dims, Mixer, MixerState
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.mixers._projections import Projections
from allocentric.sparse_attn.mixers._window import Everything, Window


class Settings(config.Settings):
    """Heads that are left."""

    query_heads: int | None = Field(default=None, ge=1)
    """None: half of the attention layer's."""
    kv_heads: int | None = Field(default=None, ge=1)
    """A divisor of `query_heads`. None: the attention layer's, or `query_heads` where that is less."""
    window: int | None = Field(default=None, ge=1)
    """Keys that a query sees, its own included; the state then stops growing. None: all."""
    sinks: int = Field(default=0, ge=0)
    """Keys at the start of the stream that every query sees beside its window."""


EXAMPLE = Settings(query_heads=2)
VARIANTS = (Settings(query_heads=2, kv_heads=1, window=16, sinks=3),)


class SparseQuery(Mixer):
    """One layer."""

    name = "sqa"

    def __init__(self, settings: Settings, dims: Dims) -> None:
        super().__init__()
        heads = settings.query_heads or max(1, dims.heads // 2)
        kv_heads = settings.kv_heads or min(dims.kv_heads, heads)
        if heads % kv_heads or heads > dims.heads:
            raise SettingsError(
                f"sqa: {heads} query heads don't share {kv_heads} key-value heads evenly, or are more than the "
                f"{dims.heads} of the layer; set query_heads and kv_heads"
            )
        self.dims = replace(dims, heads=heads, kv_heads=kv_heads)
        self.attention = Projections(self.dims)
        windowed = settings.window is not None
        self.memory = Window(size=settings.window, sinks=settings.sinks) if settings.window else Everything()
        self.growth = "constant" if windowed else "linear"

    def initial_state(self, batch: int, *, device: torch.device | str, dtype: torch.dtype) -> MixerState:
        """No keys."""
        tensors = self.memory.initial(batch, self.dims.kv_heads, self.dims.head_dim, device=device, dtype=dtype)
        return MixerState(tensors=tensors, seen=[0] * batch, growing=self.memory.growing)

    def phase(self, seen: int) -> int:
        """How many keys there are."""
        return self.memory.filled(seen)

    def mix(
        self,
        x_BLE: Tensor,
        *,
        rope: tuple[Tensor, Tensor] | None,
        geometry: Geometry | None,  # noqa: ARG002
        state: MixerState,
    ) -> Tensor:
        """Ordinary attention of the heads that are left."""
        q_BHLD, k_BKLD, v_BKLD, gate_BLC = self.attention(x_BLE, rope)
        heads = self.memory.attend(q_BHLD, k_BKLD, v_BKLD, state=state, scale=self.dims.head_dim**-0.5)
        return self.attention.out(heads, gate_BLC)

    def cost(self, length: int) -> Cost:
        """Projections, and scores and sums of the pairs."""
        d = self.dims
        products = self.attention.flops(length) + self.memory.flops(length, d.heads, d.head_dim)
        state = self.initial_state(1, device="cpu", dtype=self.attention.o_proj.weight.dtype)
        per_token = 2 * d.kv_heads * d.head_dim * self.attention.o_proj.weight.element_size()
        grown = length * per_token if self.growth == "linear" else 0
        return Cost(forward_flops=products, state_bytes=sum(state.nbytes().values()) + grown)


def build(settings: Settings, dims: Dims) -> SparseQuery:
    """A freshly initialised layer."""
    return SparseQuery(settings, dims)
