"""A small decoder whose every layer is a method or a mixer by name, trained from scratch.

Shapes: B batch, L tokens, E width, H heads, D head width, W vocabulary.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import pad, rms_norm, silu

from allocentric.core import config
from allocentric.core.catalog import METHODS, MIXERS
from allocentric.core.config import settings_from_mapping
from allocentric.core.errors import SettingsError, suggestion
from allocentric.sparse_attn.attend import attend
from allocentric.sparse_attn.contract import Call, Dims, Mixer, Selector
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.mixers._window import Window
from allocentric.sparse_attn.plan import Dense, Extent

DENSE = "dense"
"""Name of full attention in `Settings.layers`."""


class Settings(config.Settings):
    """Sizes and layers."""

    layers: tuple[dict[str, Any], ...]
    """From the first: {"name": a method, a mixer or "dense", and its settings}."""
    width: int = Field(default=64, ge=8)
    """E."""
    heads: int = Field(default=4, ge=1)
    """H; divides the width."""
    hidden: int = Field(default=128, ge=1)
    """Width inside the feed-forward nets."""
    conv: int = Field(default=3, ge=1)
    """Taps of the causal depthwise convolution before every layer's mixing, as in most recurrent mixers: with it two
    neighbouring tokens are bound together at once, and every kind of layer learns recall within minutes. 1 is none."""
    rope_theta: float = Field(default=10000.0, gt=0)
    """Base of the rotary frequencies."""


class SmallModel(nn.Module):
    """Embeddings, pre-norm layers, tied to no head."""

    def __init__(self, settings: Settings, vocabulary: int) -> None:
        super().__init__()
        if settings.width % settings.heads:
            raise SettingsError(f"width {settings.width} does not divide into {settings.heads} heads")
        self.settings = settings
        self.embedding = nn.Embedding(vocabulary, settings.width)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.layers = nn.ModuleList(
            _Layer(_mixing(layer, settings, place), settings) for place, layer in enumerate(settings.layers)
        )
        self.head = nn.Linear(settings.width, vocabulary, bias=False)

    def forward(self, tokens_BL: Tensor, geometry: Geometry) -> Tensor:
        """Logits (B, L, W)."""
        rope = rotary(tokens_BL.shape[1], self.settings.width // self.settings.heads, self.settings.rope_theta)
        x_BLE = self.embedding(tokens_BL)
        for layer in self.layers:
            x_BLE = layer(x_BLE, rope, geometry)
        logits: Tensor = self.head(rms_norm(x_BLE, x_BLE.shape[-1:]))
        return logits

    def density(self, tokens_BL: Tensor, geometry: Geometry) -> float:
        """Mean over the layers of the pairs looked at, over those of full attention.

        A mixer's window counts, its state does not.
        """
        found: list[float] = []
        mixes = [layer.mix for layer in self.layers if isinstance(layer, _Layer)]
        for mix in mixes:
            mix.watch = found.append
        self(tokens_BL, geometry)
        for mix in mixes:
            mix.watch = None
        return sum(found) / len(mixes)


class _Layer(nn.Module):
    def __init__(self, mix: _Attention | _Mixed, settings: Settings) -> None:
        super().__init__()
        self.mix = mix
        self.conv = nn.Conv1d(settings.width, settings.width, settings.conv, groups=settings.width, bias=False)
        self.norm_mix = nn.RMSNorm(settings.width)
        self.norm_net = nn.RMSNorm(settings.width)
        self.gate_up = nn.Linear(settings.width, 2 * settings.hidden, bias=False)
        self.down = nn.Linear(settings.hidden, settings.width, bias=False)

    def forward(self, x_BLE: Tensor, rope: tuple[Tensor, Tensor], geometry: Geometry) -> Tensor:
        before = self.conv.kernel_size[0] - 1
        bound_BLE = self.conv(pad(self.norm_mix(x_BLE).transpose(1, 2), (before, 0))).transpose(1, 2)
        x_BLE = x_BLE + self.mix(bound_BLE, rope, geometry)
        gate, up = self.gate_up(self.norm_net(x_BLE)).chunk(2, dim=-1)
        fed_BLE: Tensor = self.down(silu(gate) * up)
        return x_BLE + fed_BLE


class _Attention(nn.Module):
    """Projections and a method; None is full attention."""

    def __init__(self, method: Selector | None, settings: Settings) -> None:
        super().__init__()
        self.method = method
        self.heads = settings.heads
        self.qkv = nn.Linear(settings.width, 3 * settings.width, bias=False)
        self.out = nn.Linear(settings.width, settings.width, bias=False)
        self.watch: Any = None

    def forward(self, x_BLE: Tensor, rope: tuple[Tensor, Tensor], geometry: Geometry) -> Tensor:
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in self.qkv(x_BLE).chunk(3, dim=-1))
        q, k = rotated(q, *rope), rotated(k, *rope)
        method = self.method or _Everything()
        scale = q.shape[-1] ** -0.5
        if self.watch is not None:
            self.watch(method.plan(q, k, v, _call(q, scale, geometry)).density)
        y = attend(method, q, k, v, causal=True, scale=scale, geometry=geometry)
        mixed: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return mixed


class _Mixed(nn.Module):
    def __init__(self, mixer: Mixer) -> None:
        super().__init__()
        self.mixer = mixer
        self.watch: Any = None

    def forward(self, x_BLE: Tensor, rope: tuple[Tensor, Tensor], geometry: Geometry) -> Tensor:
        if self.watch is not None:
            self.watch(_window_density(getattr(self.mixer, "window", None), x_BLE.shape[1]))
        batch = x_BLE.shape[0]
        several = geometry.rows([0] * batch) if geometry.batch != batch else geometry
        cos, sin = (t.expand(batch, -1, -1) for t in rope)
        mixed: Tensor = self.mixer(x_BLE, rope=(cos, sin), geometry=several)
        return mixed


class _Everything(Selector):
    """Full attention."""

    name = DENSE
    causal = True
    bidirectional = True
    streams = True

    def plan(self, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, call: Call) -> Dense:  # noqa: ARG002
        return Dense(extent=call.extent)


def _call(q_BHLD: Tensor, scale: float, geometry: Geometry) -> Call:
    batch, heads, length, _ = q_BHLD.shape
    extent = Extent(batch=batch, heads=heads, q_len=length, kv_len=length, causal=True, device=q_BHLD.device)
    return Call(extent=extent, scale=scale, geometry=geometry)


def _window_density(window: Window | None, length: int) -> float:
    """Pairs of keys and queries that a mixer's window looks at over all causal pairs; 0 where it has no window."""
    if window is None:
        return 0.0
    seen = np.minimum(np.arange(1, length + 1), window.size + window.sinks)
    return float(seen.sum()) / (length * (length + 1) / 2)


def _mixing(layer: dict[str, Any], settings: Settings, place: int) -> _Attention | _Mixed:
    values = dict(layer)
    name = str(values.pop("name", ""))
    dims = Dims(
        width=settings.width,
        heads=settings.heads,
        kv_heads=settings.heads,
        head_dim=settings.width // settings.heads,
        layer=place,
        layers=len(settings.layers),
    )
    if name == DENSE:
        return _Attention(None, settings)
    for catalog in (METHODS, MIXERS):
        if name in catalog.names():
            module = catalog.load(name)
            built = module.build(settings_from_mapping(module.Settings, values, where=f"layer {place}"), dims)
            return _Mixed(built) if isinstance(built, Mixer) else _Attention(built, settings)
    known = [DENSE, *METHODS.names(), *MIXERS.names()]
    raise SettingsError(f"layer {place}: unknown method or mixer {name!r}" + suggestion(name, known))


def rotary(length: int, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Rotary cos and sin, each (1, L, D), halves repeated as transformers lays them out."""
    frequency = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    angle = torch.arange(length, dtype=torch.float32)[:, None] * frequency
    both = torch.cat([angle, angle], dim=-1)[None]
    return both.cos(), both.sin()


def rotated(x_BHLD: Tensor, cos_BLD: Tensor, sin_BLD: Tensor) -> Tensor:
    """Rotary embedding of queries or keys."""
    first, second = x_BHLD.chunk(2, dim=-1)
    return x_BHLD * cos_BLD[:, None] + torch.cat([-second, first], dim=-1) * sin_BLD[:, None]
