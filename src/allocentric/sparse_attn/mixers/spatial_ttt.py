"""Spatial-TTT: fast weights that learn a stream chunk by chunk, beside windowed attention on the same projections.

    y = W_o (window(q, k, v) + gate * RMSNorm(f_W(q')))

Spatial-TTT, arXiv 2603.12255, section 3; THU-SI/Spatial-TTT@4d6720e, `models/causal_swa_lact.py`. q', k', v' are the
layer's own queries, keys and values before rotation, shared key heads repeated, scaled and shifted per channel,
convolved over time, rows and columns of pictures, cut into fast heads, SiLU, of unit length, rotated. The gate begins
at 0, so a layer that took over pretrained attention begins as that attention in a window.

What sees what: a token is read with what the chunks before its own have written; the window covers the rest. With the
"causal" convolution a query sees no later token, while keys and values wait for the end of their chunk anyway and see
the frame after theirs as far as the chunk holds it; so one call, chunks and single steps give the same output. The
published convolution, "centred", shows every picture token the rest of its frame and the next one: a clip has to come
whole in one call.

Shapes: B batch, L new tokens, E model width, H query heads, K key-value heads, C = H x head width channels, F fast
heads, D = C / F, I hidden width of a fast network, N = B F, P picture tokens remembered.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import pad, silu, softplus

from allocentric.core import config
from allocentric.sparse_attn.contract import Cost, Dims, Mixer, MixerState
from allocentric.sparse_attn.errors import AttentionError
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.mixers import _fast_weights as fast
from allocentric.sparse_attn.mixers._picture_conv import PictureConv, places_of, remembered, sources_of
from allocentric.sparse_attn.mixers._projections import Projections, RMSNorm, rotated
from allocentric.sparse_attn.mixers._window import Window


class Settings(config.Settings):
    """Sizes in tokens. The published layers stand at 0, 1, 2, 4, 5, 6, ... of Qwen3-VL-2B."""

    window: int = Field(default=2648, ge=1)
    """Keys at or before a query that attention sees, itself included. At least `chunk`, or tokens fall between."""
    chunk: int = Field(default=2648, ge=1)
    """Tokens after which the fast weights change."""
    fast_heads: int = Field(default=4, ge=1)
    """F; divides the attention heads."""
    hidden_ratio: float = Field(default=1.0, gt=0)
    """I / D."""
    muon: fast.Muon = "bf16"
    """How steps are orthogonalised: "off", in "bf16" as published, or in the "full" precision of the weights."""
    momentum: bool = True
    """Whether a step keeps a learned share of the one before."""
    prenorm: bool = False
    """Whether steps add up in a master copy, and only what is read is brought back to the initial row norms."""
    base_rate: float = Field(default=0.001, gt=0)
    """Learning rate where its projection gives 0."""
    conv: Literal["causal", "centred", "off"] = "causal"
    """Which picture tokens the convolution sees: "centred" is the published one, which can't cut a clip."""
    frame_tokens: int = Field(default=256, ge=1)
    """Most tokens of a frame; sizes what "causal" remembers."""


EXAMPLE = Settings(window=24, chunk=16, fast_heads=2, muon="full", frame_tokens=16)
VARIANTS = (
    Settings(window=9, chunk=13, fast_heads=4, muon="off", momentum=False, prenorm=True, conv="off", hidden_ratio=1.5),
)


class SpatialTTT(Mixer):
    """One layer."""

    name = "spatial_ttt"
    growth = "constant"

    def __init__(self, settings: Settings, dims: Dims) -> None:
        super().__init__()
        if dims.heads % settings.fast_heads:
            raise AttentionError(
                f"spatial_ttt: fast_heads {settings.fast_heads} must divide the layer's {dims.heads} attention heads"
            )
        self.settings = settings
        self.dims = dims
        self.needs_geometry = settings.conv != "off"
        self.streams = settings.conv != "centred"
        self.window = Window(size=settings.window)
        self.attention = Projections(dims)
        channels, heads = dims.heads * dims.head_dim, settings.fast_heads
        self.fast_width = channels // heads
        self.hidden = max(1, round(self.fast_width * settings.hidden_ratio))
        self.w0 = nn.Parameter(torch.randn(heads, self.hidden, self.fast_width) / self.fast_width**0.5)
        self.w1 = nn.Parameter(torch.randn(heads, self.fast_width, self.hidden) / self.hidden**0.5)
        self.w2 = nn.Parameter(torch.randn(heads, self.hidden, self.fast_width) / self.fast_width**0.5)
        self.q_scale, self.k_scale = (nn.Parameter(torch.ones(channels)) for _ in range(2))
        self.q_offset, self.k_offset = (nn.Parameter(torch.zeros(channels)) for _ in range(2))
        if settings.conv != "off":
            self.conv_q, self.conv_k, self.conv_v = (PictureConv(channels) for _ in range(3))
        self.rate_proj = nn.Linear(dims.width, 3 * heads)
        if settings.momentum:
            self.momentum_proj = nn.Linear(dims.width, heads)
        self.norm = RMSNorm(self.fast_width, eps=1e-5)
        self.gate_proj = nn.Linear(dims.width, heads)
        nn.init.zeros_(self.gate_proj.weight)
        nn.init.zeros_(self.gate_proj.bias)

    def initial_state(self, batch: int, *, device: torch.device | str, dtype: torch.dtype) -> MixerState:
        """The learned initial fast weights, and nothing else."""
        s, d = self.settings, self.dims
        tensors = self.window.initial(batch, d.kv_heads, d.head_dim, device=device, dtype=dtype)
        wide = torch.promote_types(dtype, torch.float32)
        for name, weight in zip(("w0", "w1", "w2"), (self.w0, self.w1, self.w2), strict=True):
            begin = weight.to(device, wide).expand(batch, -1, -1, -1)
            tensors[f"fast_{name}"] = begin.clone()
            if s.prenorm:
                tensors[f"master_{name}"] = begin.clone()
            if s.momentum:
                tensors[f"momentum_{name}"] = torch.zeros_like(begin, memory_format=torch.contiguous_format)
        channels = d.heads * d.head_dim

        def room(*shape: int, kind: torch.dtype = dtype) -> Tensor:
            return torch.zeros(batch, *shape, device=device, dtype=kind)

        waiting = s.chunk - 1
        tensors |= {f"pending_{name}": room(waiting, channels) for name in "kv"}
        tensors["pending_rates"] = room(waiting, s.fast_heads, 3, kind=wide)
        tensors["pending_turn"] = room(waiting, 2, d.head_dim)
        if s.momentum:
            tensors["pending_momentum"] = room(waiting, s.fast_heads, kind=wide)
        if s.conv == "causal":
            tensors["pending_place"] = room(waiting, 6, kind=torch.int32)
            # The farthest tap lies one frame, one row and one token back.
            tensors |= {f"past_{name}": room(s.frame_tokens + s.frame_tokens // 2 + 1, channels) for name in "qkv"}
        return MixerState(tensors=tensors, seen=[0] * batch)

    def phase(self, seen: int) -> tuple[int, int]:
        """How full the window is, and the place in the chunk."""
        return self.window.filled(seen), seen % self.settings.chunk

    def mix(
        self, x_BLE: Tensor, *, rope: tuple[Tensor, Tensor] | None, geometry: Geometry | None, state: MixerState
    ) -> Tensor:
        """Window and fast weights, summed before the output projection."""
        q_BHLD, k_BKLD, v_BKLD, gate_BLC = self.attention(x_BLE)
        heads_BHLD = self.heads(x_BLE, q_BHLD, k_BKLD, v_BKLD, rope=rope, geometry=geometry, state=state)
        return self.attention.out(heads_BHLD, gate_BLC)

    def heads(
        self,
        x_BLE: Tensor,
        q_BHLD: Tensor,
        k_BKLD: Tensor,
        v_BKLD: Tensor,
        *,
        rope: tuple[Tensor, Tensor] | None,
        geometry: Geometry | None,
        state: MixerState,
    ) -> Tensor:
        """(B, H, L, D): what goes into the output projection, from queries, keys and values not rotated yet."""
        d = self.dims
        place_BL6 = None
        if geometry is not None and self.needs_geometry:
            place_BL6 = places_of(geometry)
            self._check_clips(geometry, place_BL6)
        q_turned, k_turned = (q_BHLD, k_BKLD) if rope is None else (rotated(q_BHLD, rope), rotated(k_BKLD, rope))
        near_BHLD = self.window.attend(q_turned, k_turned, v_BKLD, state=state, scale=d.head_dim**-0.5)
        groups = d.heads // d.kv_heads
        shared = (k_BKLD, v_BKLD) if groups == 1 else (t.repeat_interleave(groups, dim=1) for t in (k_BKLD, v_BKLD))
        q_BLC, k_BLC, v_BLC = (t.transpose(1, 2).flatten(2) for t in (q_BHLD, *shared))
        q_BLC = torch.addcmul(self.q_offset, q_BLC, self.q_scale)
        k_BLC = torch.addcmul(self.k_offset, k_BLC, self.k_scale)
        far_BLC = self.remember(x_BLE, q_BLC, k_BLC, v_BLC, rope=rope, place_BL6=place_BL6, state=state)
        both_BHLD: Tensor = near_BHLD + far_BLC.unflatten(-1, (d.heads, -1)).transpose(1, 2)
        return both_BHLD

    def remember(
        self,
        x_BLE: Tensor,
        q_BLC: Tensor,
        k_BLC: Tensor,
        v_BLC: Tensor,
        *,
        rope: tuple[Tensor, Tensor] | None,
        place_BL6: Tensor | None,
        state: MixerState,
    ) -> Tensor:
        """The branch of fast weights: gated outputs (B, L, C); the state moves on.

        Args:
            x_BLE: Inputs: rates, momentum and gates are made of them.
            q_BLC: Scaled queries, not rotated.
            k_BLC: Scaled keys, not rotated, one per query head.
            v_BLC: Values, one per query head.
            rope: As `forward` has it.
            place_BL6: Of the tokens, as `places_of` says; None without convolution.
            state: Its rows are of one phase.
        """
        chunk, length = self.settings.chunk, x_BLE.shape[1]
        if place_BL6 is not None:
            q_BLC, k_BLC, v_BLC = self._convolved(q_BLC, k_BLC, v_BLC, place_BL6, state)
        lesson = self._lesson(x_BLE, k_BLC, v_BLC, rope, place_BL6)
        waiting = state.seen[0] % chunk
        if waiting:
            lesson = {
                name: torch.cat([state.tensors[f"pending_{name}"][:, :waiting], new], dim=1)
                for name, new in lesson.items()
            }
        turn = self._turn(lesson["turn"][:, waiting:], rope)
        gate_BFL1 = silu(self.gate_proj(x_BLE)).transpose(1, 2)[..., None]
        weights, norms = self._weights(state), self._norms(x_BLE.shape[0], state)
        outputs, learned = [], 0
        for start, stop, full in fast.pieces(length, chunk, waiting):
            piece = slice(start, stop)  # all of it chunk by chunk, which stays in a CPU's cache
            q_NLD = self._fast_heads(q_BLC[:, piece], None if turn is None else (turn[0][:, piece], turn[1][:, piece]))
            o_BFLD = self.norm(fast.read(weights.read, q_NLD)).unflatten(0, (-1, self.settings.fast_heads))
            outputs.append((o_BFLD * gate_BFL1[:, :, piece]).to(x_BLE.dtype).transpose(1, 2))
            if full:
                part = {name: tensor[:, learned : learned + chunk] for name, tensor in lesson.items()}
                weights = fast.learn(weights, self._studied(part, rope, state), norms, muon=self.settings.muon)
                learned += chunk
        self._keep(weights, {name: tensor[:, learned:] for name, tensor in lesson.items()}, state)
        return torch.cat(outputs, dim=1).flatten(2)

    def cost(self, length: int) -> Cost:
        """All but the convolution, which depends on how many tokens are of pictures: 2 x 27 x 3 C for each of them."""
        s, d = self.settings, self.dims
        small = [m for m in self.children() if isinstance(m, nn.Linear)]
        products = 2 * length * sum(m.in_features * m.out_features for m in small) + self.attention.flops(length)
        products += self.window.flops(length, d.heads, d.head_dim)
        sizes = (self.fast_width, self.hidden)
        products += s.fast_heads * fast.read_flops(length, *sizes)
        products += s.fast_heads * (length // s.chunk) * fast.learn_flops(s.chunk, *sizes, muon=s.muon)
        with torch.no_grad():
            state = self.initial_state(1, device="cpu", dtype=self.attention.o_proj.weight.dtype)
        return Cost(forward_flops=products, state_bytes=sum(state.nbytes().values()))

    def adopt(self, attention: nn.Module) -> None:
        """All weights of an attention layer. With the gate at 0 this is that layer in a window, exactly."""
        self.attention.adopt(attention)

    def _check_clips(self, geometry: Geometry, place_BL6: Tensor) -> None:
        """Refuse frames that outgrow what is remembered, and clips cut by a call."""
        s = self.settings
        frame = int((place_BL6[..., 4] * place_BL6[..., 5]).max()) if place_BL6.numel() else 0
        if s.conv == "causal" and frame > s.frame_tokens:
            raise AttentionError(f"spatial_ttt: a frame of {frame} tokens came, and frame_tokens is {s.frame_tokens}")
        if s.conv != "centred":
            return
        for row, index_L in enumerate(geometry.clip_BL):
            for clip, count in zip(
                *(t.tolist() for t in index_L[index_L >= 0].unique(return_counts=True)), strict=True
            ):
                size = math.prod(geometry.clips[row][clip])
                if count != size:
                    raise AttentionError(
                        f"spatial_ttt: {count} of the {size} tokens of clip {clip} came in one call (row {row}); "
                        "conv 'centred' needs a clip whole, conv 'causal' streams"
                    )

    def _convolved(
        self, q_BLC: Tensor, k_BLC: Tensor, v_BLC: Tensor, place_BL6: Tensor, state: MixerState
    ) -> tuple[Tensor, Tensor, Tensor]:
        """All three where clips are whole; along a stream the queries only, since keys and values wait."""
        if self.settings.conv == "centred":
            sources = [sources_of(place, 0, look_ahead=True) for place in place_BL6]
            none = q_BLC[:, :0]
            return (
                self.conv_q(q_BLC, none, sources),
                self.conv_k(k_BLC, none, sources),
                self.conv_v(v_BLC, none, sources),
            )
        past = state.tensors["past_q"]
        sources = [sources_of(place, past.shape[1], look_ahead=False) for place in place_BL6]
        state.tensors["past_q"] = remembered(past, q_BLC, sources)
        return self.conv_q(q_BLC, past, sources), k_BLC, v_BLC

    def _lesson(
        self,
        x_BLE: Tensor,
        k_BLC: Tensor,
        v_BLC: Tensor,
        rope: tuple[Tensor, Tensor] | None,
        place_BL6: Tensor | None,
    ) -> dict[str, Tensor]:
        """What is kept of tokens until their chunk is full, by name, each (B, L, ...)."""
        batch, length, _ = x_BLE.shape
        wide = torch.promote_types(x_BLE.dtype, torch.float32)
        heads = self.settings.fast_heads
        base = math.log(math.expm1(self.settings.base_rate))
        rates = softplus(self.rate_proj(x_BLE).to(wide) + base).unflatten(-1, (heads, 3))
        turn = x_BLE.new_zeros(batch, length, 2, self.dims.head_dim)
        if rope is not None:
            given = torch.stack(rope, dim=2).to(x_BLE.dtype).expand(batch, -1, -1, -1)
            turn = pad(given, (0, self.dims.head_dim - given.shape[-1]))
        lesson = {"k": k_BLC, "v": v_BLC, "rates": rates, "turn": turn}
        if self.settings.momentum:
            lesson["momentum"] = torch.sigmoid(self.momentum_proj(x_BLE).to(wide))
        if place_BL6 is not None and self.settings.conv == "causal":
            lesson["place"] = place_BL6
        return lesson

    def _studied(self, part: dict[str, Tensor], rope: tuple[Tensor, Tensor] | None, state: MixerState) -> fast.Lesson:
        """A full chunk, ready to be learned; the picture tokens before the next chunk move on."""
        k_BLC, v_BLC = part["k"], part["v"]
        if "place" in part:
            past_k, past_v = state.tensors["past_k"], state.tensors["past_v"]
            sources = [sources_of(place, past_k.shape[1], look_ahead=True) for place in part["place"]]
            state.tensors["past_k"] = remembered(past_k, k_BLC, sources)
            state.tensors["past_v"] = remembered(past_v, v_BLC, sources)
            k_BLC, v_BLC = self.conv_k(k_BLC, past_k, sources), self.conv_v(v_BLC, past_v, sources)
        k_NLD = self._fast_heads(k_BLC, self._turn(part["turn"], rope))
        v_NLD = silu(v_BLC).unflatten(-1, (self.settings.fast_heads, -1)).transpose(1, 2).flatten(0, 1)
        momentum = part["momentum"].transpose(1, 2).flatten(0, 1) if "momentum" in part else None
        return fast.Lesson(k_NLD, v_NLD, part["rates"].transpose(1, 2).flatten(0, 1), momentum)

    def _fast_heads(self, x_BLC: Tensor, turn: tuple[Tensor, Tensor] | None) -> Tensor:
        """Queries or keys of fast heads, (N, L, D): SiLU, unit length, first channels rotated."""
        x_BFLD = silu(x_BLC).unflatten(-1, (self.settings.fast_heads, -1)).transpose(1, 2)
        x_BFLD = x_BFLD / (x_BFLD.norm(dim=-1, keepdim=True) + 1e-5)
        return (x_BFLD if turn is None else rotated(x_BFLD, turn)).flatten(0, 1)

    @staticmethod
    def _turn(turn_BL2D: Tensor, rope: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor] | None:
        """Rotation of kept tokens, as wide as that of this call."""
        if rope is None:
            return None
        cos_BLR, sin_BLR = turn_BL2D[..., : rope[0].shape[-1]].unbind(2)
        return cos_BLR, sin_BLR

    def _weights(self, state: MixerState) -> fast.Weights:
        """As the state holds them, rows and fast heads in one axis."""

        def three(kind: str) -> fast.Matrices | None:
            if f"{kind}_w0" not in state.tensors:
                return None
            return fast.Matrices(*(state.tensors[f"{kind}_w{n}"].flatten(0, 1) for n in range(3)))

        read = three("fast")
        assert read is not None
        return fast.Weights(read=read, master=three("master"), momentum=three("momentum"))

    def _norms(self, batch: int, state: MixerState) -> fast.Matrices:
        """Row norms of the initial weights, for every row of the batch."""
        initial = fast.Matrices(self.w0, self.w1, self.w2)
        wide = fast.Matrices(*(w.to(state.tensors["fast_w0"].dtype) for w in initial))
        return fast.Matrices(*(n.repeat(batch, 1, 1) for n in wide.row_norms()))

    def _keep(self, weights: fast.Weights, rest: dict[str, Tensor], state: MixerState) -> None:
        """Write weights and tokens whose chunk isn't full into the state."""
        for kind, matrices in (("fast", weights.read), ("master", weights.master), ("momentum", weights.momentum)):
            for n, matrix in enumerate(matrices or ()):
                state.tensors[f"{kind}_w{n}"] = matrix.unflatten(0, (-1, self.settings.fast_heads)).contiguous()
        for name, tensor in rest.items():
            old = state.tensors[f"pending_{name}"]
            empty = old.new_zeros(old.shape[0], old.shape[1] - tensor.shape[1], *old.shape[2:])
            state.tensors[f"pending_{name}"] = torch.cat([tensor.to(old.dtype), empty], dim=1)


def build(settings: Settings, dims: Dims) -> SpatialTTT:
    """A freshly initialised layer."""
    return SpatialTTT(settings, dims)
