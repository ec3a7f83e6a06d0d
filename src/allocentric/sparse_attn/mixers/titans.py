"""Titans: attention for what is near, a network that learns while reading for what is far, tokens of its own.

Behrouz et al., arXiv 2501.00663, section 4. Three ways to bring them together:

- "mag", memory as gate: attention in a window and memory read the same tokens, their outputs meet in a gate.
- "mac", memory as context: a segment attends to what memory answers to it and to itself, memory learns from the
  result, and gates it. Attention is causal within the segment, so tokens needn't wait for its end.
- "mal", memory as layer: attention in a window reads what memory makes of the tokens.

Gates: "product" is the paper's, both sides normed, with SiLU on memory's. "residual" adds memory times a vector that
begins at 0: a pretrained layer taken over as "mag" without persistent tokens is then, at first, itself in a window.

Shapes: B batch, L tokens, E model width, H heads, K key-value heads, D head width, P persistent tokens, C chunk.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

from allocentric.core import config
from allocentric.sparse_attn.contract import Cost, Dims, Mixer, MixerState
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.mixers._neural_memory import NeuralMemory
from allocentric.sparse_attn.mixers._projections import Projections, RMSNorm
from allocentric.sparse_attn.mixers._window import Window, last_of


class Settings(config.Settings):
    """Sizes of attention and of memory."""

    variant: Literal["mac", "mag", "mal"] = "mag"
    """Memory as context, gate or layer."""
    gate: Literal["product", "residual"] = "product"
    """How memory meets attention ("mac", "mag")."""
    window: int = Field(default=2048, ge=1)
    """Keys that a query sees, its own included ("mag", "mal")."""
    chunk: int = Field(default=64, ge=1)
    """Tokens whose gradients are taken at the same weights; the segment of "mac"."""
    persistent: int = Field(default=4, ge=0)
    """P: learned tokens before the stream."""
    depth: int = Field(default=2, ge=1)
    """Layers of the memory network; 1 is a matrix."""
    expansion: int = Field(default=4, ge=1)
    """Width of its hidden layers, in head widths."""
    taps: int = Field(default=4, ge=0)
    """Tokens that the convolutions after memory's projections reach; 0: none."""
    max_step: float = Field(default=0.01, gt=0)
    """Largest theta. Steps of a chunk add up, so larger chunks want smaller ones."""


EXAMPLE = Settings(window=9, chunk=8, persistent=3, expansion=2, max_step=0.1)
VARIANTS = (
    Settings(variant="mac", chunk=8, persistent=2, expansion=2, taps=3, max_step=0.1),
    Settings(variant="mal", window=9, chunk=16, persistent=2, depth=3, expansion=1, max_step=0.1),
    Settings(gate="residual", window=16, chunk=8, persistent=0, depth=1, taps=0, max_step=0.1),
)


class Titans(Mixer):
    """One layer."""

    name = "titans"
    growth = "constant"

    def __init__(self, settings: Settings, dims: Dims) -> None:
        super().__init__()
        self.settings, self.dims = settings, dims
        inner = dims.heads * dims.head_dim
        self.attention = Projections(dims)
        self.memory = NeuralMemory(
            dims.width,
            dims.heads,
            dims.head_dim,
            depth=settings.depth,
            expansion=settings.expansion,
            chunk=settings.chunk,
            taps=settings.taps,
            max_step=settings.max_step,
        )
        self.memory_norm = RMSNorm(dims.head_dim, eps=dims.norm_eps)
        if settings.persistent:
            self.persistent = nn.Parameter(0.02 * torch.randn(settings.persistent, dims.width))
        if settings.variant != "mag":
            self.memory_out = nn.Linear(inner, dims.width, bias=False)
        if settings.variant != "mal":
            gated = inner if settings.variant == "mag" else dims.width
            if settings.gate == "residual":
                self.gate = nn.Parameter(torch.zeros(gated))
            else:
                self.near_norm = RMSNorm(gated, eps=dims.norm_eps)
        self.window = Window(size=settings.window, sinks=settings.persistent)

    def initial_state(self, batch: int, *, device: torch.device | str, dtype: torch.dtype) -> MixerState:
        """Room for the memory's weights, and an empty window or segment."""
        d, s = self.dims, self.settings
        mac = s.variant == "mac"
        tensors = self.memory.initial(batch, device=device, dtype=dtype, retrieves=mac)
        if mac:
            shape = (batch, d.kv_heads, 2 * (s.chunk - 1), d.head_dim)
            tensors |= {f"segment_{what}": torch.zeros(shape, device=device, dtype=dtype) for what in "kv"}
        else:
            tensors |= self.window.initial(batch, d.kv_heads, d.head_dim, device=device, dtype=dtype)
        return MixerState(tensors=tensors, seen=[0] * batch)

    def phase(self, seen: int) -> tuple[bool, int, int]:
        """Whether the stream begins, the place in the chunk, and how full the window is."""
        filled = 0 if self.settings.variant == "mac" else self.window.filled(seen + self.settings.persistent)
        return seen == 0, seen % self.settings.chunk, filled

    def mix(
        self,
        x_BLE: Tensor,
        *,
        rope: tuple[Tensor, Tensor] | None,
        geometry: Geometry | None,  # noqa: ARG002
        state: MixerState,
    ) -> Tensor:
        """The variant's form. Only attention is rotated; persistent tokens stand at position 0."""
        if state.seen[0] == 0:
            self.memory.begin(state)
        if self.settings.variant == "mac":
            return self._as_context(x_BLE, rope, state)
        before_BPE = self._begin_stream(x_BLE, state)
        far_BLC = self._far(x_BLE, state)
        if self.settings.variant == "mal":
            near, gate_BLC = self._near(self.memory_out(far_BLC), rope, state, before_BPE)
            return self.attention.out(near, gate_BLC)
        near, gate_BLC = self._near(x_BLE, rope, state, before_BPE)
        met_BLC = self._meet(near.transpose(1, 2).flatten(-2), far_BLC)
        return self.attention.out(met_BLC.unflatten(-1, (self.dims.heads, -1)).transpose(1, 2), gate_BLC)

    def _begin_stream(self, x_BLE: Tensor, state: MixerState) -> Tensor | None:
        """Memory reads the persistent tokens, in chunks of their own; what attention is to see of them."""
        if state.seen[0] or not self.settings.persistent:
            return None
        tokens_BPE = self.persistent.to(x_BLE.dtype).expand(x_BLE.shape[0], -1, -1)
        far_BPC = self._far(tokens_BPE, state)
        if self.settings.variant == "mag":
            return tokens_BPE
        answered_BPE: Tensor = self.memory_out(far_BPC)
        return answered_BPE

    def _far(self, x_BLE: Tensor, state: MixerState) -> Tensor:
        """(B, L, H D): memory's answers, normed per head, after learning from the tokens."""
        answers_BHLD = self.memory.run(self.memory.tokens(x_BLE, state), state, state.seen[0])
        normed: Tensor = self.memory_norm(answers_BHLD.to(x_BLE.dtype)).transpose(1, 2).flatten(-2)
        return normed

    def _near(
        self, x_BLE: Tensor, rope: tuple[Tensor, Tensor] | None, state: MixerState, before_BPE: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """(B, H, L, D): attention in the window and on persistent tokens; and the layer's own output gate."""
        if before_BPE is not None:
            self.window.extend(*self.attention.keys_values(before_BPE), state, seen=0)
        q_BHLD, k_BKLD, v_BKLD, gate_BLC = self.attention(x_BLE, rope)
        seen = state.seen[0] + self.settings.persistent
        scale = self.dims.head_dim**-0.5
        return self.window.attend(q_BHLD, k_BKLD, v_BKLD, state=state, scale=scale, seen=seen), gate_BLC

    def _meet(self, near: Tensor, far: Tensor) -> Tensor:
        """The gate, over the last axis."""
        if self.settings.gate == "residual":
            return near + self.gate * far
        met: Tensor = self.near_norm(near) * silu(far)
        return met

    def _as_context(self, x_BLE: Tensor, rope: tuple[Tensor, Tensor] | None, state: MixerState) -> Tensor:
        """Segment by segment: memory answers, the segment attends, memory learns from the result."""
        outputs, start, length = [], 0, x_BLE.shape[1]
        while start < length:
            seen = state.seen[0] + start
            stop = min(length, start + self.settings.chunk - seen % self.settings.chunk)
            turn = None if rope is None else (rope[0][:, start:stop], rope[1][:, start:stop])
            outputs.append(self._segment(x_BLE[:, start:stop], turn, state, seen))
            start = stop
        return torch.cat(outputs, dim=1)

    def _segment(self, x_BLE: Tensor, rope: tuple[Tensor, Tensor] | None, state: MixerState, seen: int) -> Tensor:
        """Tokens of one segment."""
        if seen % self.settings.chunk == 0:
            self.memory.turn_page(state)
        answers_BHLD = self.memory.retrieve(x_BLE, state).to(x_BLE.dtype)
        context_BLE = self.memory_out(self.memory_norm(answers_BHLD).transpose(1, 2).flatten(-2))
        k_context, v_context = self.attention.keys_values(context_BLE, rope)
        q_BHLD, k_own, v_own, gate_BLC = self.attention(x_BLE, rope)
        pairs = [torch.stack(both, dim=3).flatten(2, 3) for both in ((k_context, k_own), (v_context, v_own))]
        heads = self._attend_segment(q_BHLD, pairs[0], pairs[1], state, seen % self.settings.chunk)
        y_BLE = self.attention.out(heads, gate_BLC)
        answers_BHLD = self.memory.run(self.memory.tokens(y_BLE, state), state, seen).to(x_BLE.dtype)
        return self._meet(y_BLE, self.memory_out(self.memory_norm(answers_BHLD).transpose(1, 2).flatten(-2)))

    def _attend_segment(self, q_BHLD: Tensor, k_BKMD: Tensor, v_BKMD: Tensor, state: MixerState, place: int) -> Tensor:
        """(B, H, L, D): persistent tokens, and pairs of memory's answer and token up to the query's own."""
        batch, count = q_BHLD.shape[0], self.settings.persistent
        keys, values = [], []
        if count:
            k_BKPD, v_BKPD = self.attention.keys_values(self.persistent.to(q_BHLD.dtype).expand(batch, -1, -1))
            keys, values = [k_BKPD], [v_BKPD]
        for what, new, parts in (("k", k_BKMD, keys), ("v", v_BKMD, values)):
            held = state.tensors[f"segment_{what}"]
            parts += [held[:, :, held.shape[2] - 2 * place :].to(new.dtype), new]
            state.tensors[f"segment_{what}"] = last_of(held, new, dim=2)
        k, v = torch.cat(keys, dim=2), torch.cat(values, dim=2)
        own = torch.arange(q_BHLD.shape[2], device=q_BHLD.device)[:, None] + place
        seen = (torch.arange(k.shape[2], device=q_BHLD.device) - count).div(2, rounding_mode="floor") <= own
        grouped = q_BHLD.shape[1] != k.shape[1]
        scale = self.dims.head_dim**-0.5
        return scaled_dot_product_attention(q_BHLD, k, v, attn_mask=seen, scale=scale, enable_gqa=grouped)

    def cost(self, length: int) -> Cost:
        """Projections, memory and attention of one call; "mac" reads persistent tokens in every segment."""
        d, s = self.dims, self.settings
        inner, count = d.heads * d.head_dim, s.persistent
        products = self.memory.flops(length) + self.attention.flops(length)
        if s.variant == "mac":
            whole, rest = divmod(length, s.chunk)
            pairs = length * count + whole * s.chunk * (s.chunk + 1) + rest * (rest + 1)
            read_once = self.attention.keys_values_flops(count * (whole + (rest > 0)))
            products += 4 * d.head_dim * d.heads * pairs + read_once + self.attention.keys_values_flops(length)
            products += self.memory.retrieve_flops(length) + 2 * 2 * length * inner * d.width
        else:
            products += self.window.flops(length + count, d.heads, d.head_dim)
            products -= self.window.flops(count, d.heads, d.head_dim)
            products += self.memory.flops(count) + self.attention.keys_values_flops(count)
            products += 2 * (length + count) * inner * d.width if s.variant == "mal" else 0
        state = self.initial_state(1, device="cpu", dtype=self.attention.o_proj.weight.dtype)
        return Cost(forward_flops=products, state_bytes=sum(state.nbytes().values()))

    @torch.no_grad()
    def adopt(self, attention: nn.Module) -> None:
        """All weights of an attention layer; memory's projections begin as its queries, keys and values, too."""
        self.attention.adopt(attention)
        d = self.dims
        for name, mine in (("q", self.memory.q_proj), ("k", self.memory.k_proj), ("v", self.memory.v_proj)):
            heads = d.heads if name == "q" else d.kv_heads
            given = attention.get_parameter(f"{name}_proj.weight").unflatten(0, (heads, -1))[:, : d.head_dim]
            mine.weight.copy_(given.repeat_interleave(d.heads // heads, dim=0).flatten(0, 1))


def build(settings: Settings, dims: Dims) -> Titans:
    """A freshly initialised layer."""
    return Titans(settings, dims)
