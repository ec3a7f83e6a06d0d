"""A window as a layer: attention on the last keys and the first of the stream, in a state that doesn't grow.

What InfiniteVL (arXiv 2512.08829) leaves of attention beside its recurrent layers: window 8192 in its first version,
256 sinks and window 2048 in the online form of its second. Takes over a pretrained layer unchanged: within the window
the output is the same.

Shapes: B batch, L tokens, E model width.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from allocentric.core import config
from allocentric.sparse_attn.contract import Cost, Dims, Mixer, MixerState
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.mixers._projections import Projections
from allocentric.sparse_attn.mixers._window import Window


class Settings(config.Settings):
    """Sizes in tokens."""

    window: int = Field(default=8192, ge=1)
    """Keys at or before a query that it sees, itself included."""
    sinks: int = Field(default=0, ge=0)
    """Keys at the start of the stream that every query sees."""


EXAMPLE = Settings(window=16)
VARIANTS = (Settings(window=9, sinks=5),)


class SlidingWindow(Mixer):
    """One layer."""

    name = "sliding_window"
    growth = "constant"

    def __init__(self, settings: Settings, dims: Dims) -> None:
        super().__init__()
        self.dims = dims
        self.window = Window(size=settings.window, sinks=settings.sinks)
        self.attention = Projections(dims)

    def initial_state(self, batch: int, *, device: torch.device | str, dtype: torch.dtype) -> MixerState:
        """An empty window."""
        tensors = self.window.initial(batch, self.dims.kv_heads, self.dims.head_dim, device=device, dtype=dtype)
        return MixerState(tensors=tensors, seen=[0] * batch)

    def phase(self, seen: int) -> int:
        """How full the window is."""
        return self.window.filled(seen)

    def mix(
        self,
        x_BLE: Tensor,
        *,
        rope: tuple[Tensor, Tensor] | None,
        geometry: Geometry | None,  # noqa: ARG002
        state: MixerState,
    ) -> Tensor:
        """Ordinary attention on what the window holds."""
        q_BHLD, k_BKLD, v_BKLD, gate_BLC = self.attention(x_BLE, rope)
        heads = self.window.attend(q_BHLD, k_BKLD, v_BKLD, state=state, scale=self.dims.head_dim**-0.5)
        return self.attention.out(heads, gate_BLC)

    def cost(self, length: int) -> Cost:
        """Projections, and scores and sums of the pairs in the window."""
        attended = self.window.flops(length, self.dims.heads, self.dims.head_dim)
        state = self.initial_state(1, device="cpu", dtype=self.attention.o_proj.weight.dtype)
        return Cost(forward_flops=self.attention.flops(length) + attended, state_bytes=sum(state.nbytes().values()))

    def adopt(self, attention: nn.Module) -> None:
        """All weights of an attention layer."""
        self.attention.adopt(attention)


def build(settings: Settings, dims: Dims) -> SlidingWindow:
    """A freshly initialised layer."""
    return SlidingWindow(settings, dims)
