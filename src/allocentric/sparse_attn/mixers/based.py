"""BASED: the second-order Taylor series of softmax attention over the whole past, and exact attention in a window.

Arora et al., arXiv 2402.18668; HazyResearch/based@202f499. exp(s) is replaced by 1 + s + s^2 / 2 with s = q . k /
sqrt(F) of short queries and keys (F = 16), which is a product of 153 features (the published 273 count each mixed
square twice), so the past is one matrix per head. The paper puts windows and Taylor series into different layers:
`window=0` is the latter and mixer `sliding_window` the former. With a window, both share values and output here.

Shapes: B batch, L tokens, E model width, H heads, F short width, D head width.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import pad

from allocentric.core import config
from allocentric.sparse_attn.contract import Cost, Dims, Mixer, MixerState
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.mixers._linear import flops, linear_attention
from allocentric.sparse_attn.mixers._projections import rotated
from allocentric.sparse_attn.mixers._window import Window


class Settings(config.Settings):
    """Sizes."""

    feature_dim: int = Field(default=16, ge=1)
    """F: width of the short queries and keys."""
    window: int = Field(default=64, ge=0)
    """Keys that exact attention sees, the query's own included; 0: Taylor series alone."""
    chunk: int = Field(default=64, ge=1)
    """Tokens computed together. Changes rounding and speed only."""


EXAMPLE = Settings(feature_dim=4, window=9, chunk=8)
VARIANTS = (Settings(feature_dim=5, window=0, chunk=16),)


class Based(Mixer):
    """One layer."""

    name = "based"
    growth = "constant"

    def __init__(self, settings: Settings, dims: Dims) -> None:
        super().__init__()
        self.settings, self.dims = settings, dims
        inner, short = dims.heads * dims.head_dim, dims.heads * settings.feature_dim
        self.proj_q = nn.Linear(dims.width, short, bias=False)
        self.proj_k = nn.Linear(dims.width, short, bias=False)
        self.proj_v = nn.Linear(dims.width, inner, bias=False)
        self.out_proj = nn.Linear(inner, dims.width, bias=False)
        self.window = Window(size=settings.window) if settings.window else None
        if self.window is not None:
            self.window_q = nn.Linear(dims.width, inner, bias=False)
            self.window_k = nn.Linear(dims.width, inner, bias=False)

    def initial_state(self, batch: int, *, device: torch.device | str, dtype: torch.dtype) -> MixerState:
        """Empty sums of values, and of ones in their last column, and an empty window."""
        d, short = self.dims, self.settings.feature_dim
        wide = torch.promote_types(dtype, torch.float32)
        sums = torch.zeros(batch, d.heads, _feature_count(short), d.head_dim + 1, device=device, dtype=wide)
        tensors = {"sums": sums}
        if self.window is not None:
            tensors |= self.window.initial(batch, d.heads, d.head_dim, device=device, dtype=dtype)
        return MixerState(tensors=tensors, seen=[0] * batch)

    def phase(self, seen: int) -> int:
        """How full the window is."""
        return 0 if self.window is None else self.window.filled(seen)

    def mix(
        self,
        x_BLE: Tensor,
        *,
        rope: tuple[Tensor, Tensor] | None,
        geometry: Geometry | None,  # noqa: ARG002
        state: MixerState,
    ) -> Tensor:
        """Both parts are added before the output projection; only the window is rotated."""
        v_BHLD = self._heads(self.proj_v, x_BLE)
        # A value of 1 beside the others sums the weights that the result is divided by. They are at least 1/2 each.
        sums_BHLV, state.tensors["sums"] = linear_attention(
            self._heads(self.proj_q, x_BLE) * self.settings.feature_dim**-0.5,
            self._heads(self.proj_k, x_BLE),
            pad(v_BHLD, (0, 1), value=1.0),
            state.tensors["sums"],
            chunk=self.settings.chunk,
            features=taylor_features,
            kernel=taylor_series,
        )
        heads_BHLD: Tensor = (sums_BHLV[..., :-1] / sums_BHLV[..., -1:]).to(x_BLE.dtype)
        if self.window is not None:
            q_BHLD, k_BHLD = self._heads(self.window_q, x_BLE), self._heads(self.window_k, x_BLE)
            if rope is not None:
                q_BHLD, k_BHLD = rotated(q_BHLD, rope), rotated(k_BHLD, rope)
            scale = self.dims.head_dim**-0.5
            heads_BHLD = heads_BHLD + self.window.attend(q_BHLD, k_BHLD, v_BHLD, state=state, scale=scale)
        y_BLE: Tensor = self.out_proj(heads_BHLD.transpose(1, 2).flatten(-2))
        return y_BLE

    def _heads(self, projection: nn.Linear, x_BLE: Tensor) -> Tensor:
        heads_BHLD: Tensor = projection(x_BLE).unflatten(-1, (self.dims.heads, -1)).transpose(1, 2)
        return heads_BHLD

    def cost(self, length: int) -> Cost:
        """Projections, the chunk form, and the pairs in the window."""
        d, short = self.dims, self.settings.feature_dim
        linear = [m for m in self.children() if isinstance(m, nn.Linear)]
        products = 2 * length * sum(m.in_features * m.out_features for m in linear)
        products += flops(length, d.heads, short, _feature_count(short), d.head_dim + 1, self.settings.chunk)
        if self.window is not None:
            products += self.window.flops(length, d.heads, d.head_dim)
        state = self.initial_state(1, device="cpu", dtype=self.out_proj.weight.dtype)
        return Cost(forward_flops=products, state_bytes=sum(state.nbytes().values()))


def taylor_series(s: Tensor) -> Tensor:
    """1 + s + s^2 / 2."""
    series: Tensor = 1 + s + 0.5 * s * s
    return series


def taylor_features(x: Tensor) -> Tensor:
    """Features whose products are `taylor_series` of the products of x, along the last axis."""
    row, column = torch.triu_indices(x.shape[-1], x.shape[-1], offset=1, device=x.device)
    squares = x * x * 0.5**0.5
    return torch.cat([torch.ones_like(x[..., :1]), x, squares, x[..., row] * x[..., column]], dim=-1)


def _feature_count(width: int) -> int:
    return 1 + 2 * width + width * (width - 1) // 2


def build(settings: Settings, dims: Dims) -> Based:
    """A freshly initialised layer."""
    return Based(settings, dims)
