"""Neighbourhood attention: every token sees a window around it, in one, two or three dimensions.

Generalized Neighborhood Attention, arXiv 2504.16922 (NAT, 2204.07143; DiNAT, 2209.15001); the rule follows
SHI-Labs/NATTEN v0.21 (`is_causal`, `stride` and `dilation` per axis). Windows keep their size: at an edge they shift
inwards. Queries of a stride group share the window of the group's centre (causal: of its last query). With dilation d
a token sees only tokens whose coordinate is the same modulo d. Windows larger than a picture are the whole picture,
where NATTEN refuses.

One dimension is the sequence of tokens, text and pictures alike. Two are rows and columns of every frame, three the
frames, rows and columns of every clip; text then sees everything and is seen by everything. In a causal stream a query
sees the part of its window that has come.

Shapes: B batch, L queries, S keys, A axes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor

from allocentric.core import config
from allocentric.sparse_attn.contract import Call, Dims, Selector
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.methods._pictures import Order, Raster, blocks_of_runs, pictures_first, raster_of
from allocentric.sparse_attn.plan import Blocks, Extent, Rule


class Settings(config.Settings):
    """Sizes in tokens, one number per axis: (columns of a sequence), (rows, columns) or (frames, rows, columns)."""

    kernel: tuple[int, ...] = (7, 7, 7)
    """Window. NAT and DiNAT use 7 per axis of a picture."""
    stride: tuple[int, ...] | None = None
    """Queries along an axis that share a window; at most the kernel. None: 1."""
    dilation: tuple[int, ...] | None = None
    """Step between the tokens of a window. None: 1."""
    causal: tuple[bool, ...] | None = None
    """Axes along which a window ends at its query, whatever the call. None: none."""
    others: bool = False
    """Whether picture tokens also see all of the other clips (with two axes: of the other frames)."""
    block: int = Field(default=64, ge=1)
    """Queries and keys that are computed together. Changes speed only."""

    @model_validator(mode="after")
    def _same_axes(self) -> Settings:
        axes = len(self.kernel)
        if not 1 <= axes <= 3:
            raise ValueError(f"kernel has one to three axes, got {axes}")
        for name in ("stride", "dilation", "causal"):
            values: Any = getattr(self, name)
            if values is not None and len(values) != axes:
                raise ValueError(f"{name} has {len(values)} axes and kernel {axes}; give one number per axis")
        if min(self.kernel) < 1 or min(self.dilation or (1,)) < 1:
            raise ValueError("kernel and dilation are at least 1")
        if any(not 1 <= step <= size for step, size in zip(self.stride or (), self.kernel, strict=False)):
            raise ValueError(f"stride lies between 1 and kernel, got {self.stride} and {self.kernel}")
        return self


EXAMPLE = Settings(kernel=(3, 3, 2), stride=(1, 2, 1), block=8)
EXHAUSTIVE = Settings(kernel=(1 << 20,) * 3, others=True, block=32)


class Windows(NamedTuple):
    """The window of every token along every axis, in steps of the axis's dilation."""

    class_BSA: Tensor
    """int64: coordinate modulo dilation; queries and keys of a pair have the same."""
    step_BSA: Tensor
    """int64: coordinate divided by dilation."""
    first_BSA: Tensor
    """int64: first step that the token sees."""
    last_BSA: Tensor
    """int64: last step that it sees."""


class Neighborhood(Selector):
    """The same windows for every head."""

    name = "neighborhood"
    causal = True
    bidirectional = True

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.needs_geometry = len(settings.kernel) > 1
        # Along a sequence of unknown length, windows that shift at its end and groups cut by it move as it grows.
        ends_at_query = settings.causal == (True,) and settings.stride in (None, (1,))
        self.streams = self.needs_geometry or ends_at_query

    def plan(self, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, call: Call) -> Blocks:  # noqa: ARG002
        """Runs of keys along the last axis; inside blocks the exact rule."""
        extent, settings = call.extent, self.settings
        axes = len(settings.kernel)
        if axes == 1:
            order, raster, unit = _sequence(extent)
        else:
            geometry = call.geometry_for(self.name)
            order, raster = pictures_first(geometry, extent), raster_of(geometry)
            unit = geometry.clip_BL if axes == 3 else geometry.frame_BL
        windows = windows_of(raster, settings)
        runs = _everything(order, extent) if settings.others else _runs(order, raster, windows, extent, settings)
        rule = _rule(windows, unit, order.text_BS, others=settings.others)
        return blocks_of_runs(extent, order, runs, block=settings.block, rule=rule)


def windows_of(raster: Raster, settings: Settings) -> Windows:
    """Windows along the last axes of the raster."""
    axes = len(settings.kernel)
    size, at = raster.size_BS3[..., 3 - axes :].clamp(min=1), raster.at_BS3[..., 3 - axes :]
    dilation = torch.tensor(settings.dilation or (1,) * axes, device=at.device)
    stride = torch.tensor(settings.stride or (1,) * axes, device=at.device)
    causal = torch.tensor(settings.causal or (False,) * axes, device=at.device)
    kind, step = at % dilation, at // dilation
    steps = (size - kind + dilation - 1) // dilation
    kernel = torch.tensor(settings.kernel, device=at.device).minimum(steps)
    group = step // stride * stride
    before, after = kernel // 2, (kernel - 1) // 2
    centre = torch.minimum(group + stride // 2, steps - 1)
    centre = torch.minimum(torch.maximum(centre, before), steps - 1 - after)
    leader = torch.minimum(group + stride - 1, steps - 1)
    first = torch.where(causal, (leader - kernel + 1).clamp(min=0), centre - before)
    return Windows(kind, step, first, torch.where(causal, step, centre + after))


def _sequence(extent: Extent) -> tuple[Order, Raster, Tensor]:
    """All tokens as one picture of one row."""
    geometry = Geometry.of_video(1, 1, 1, extent.kv_len, device=extent.device)
    return pictures_first(geometry, extent), raster_of(geometry), geometry.clip_BL


def _everything(order: Order, extent: Extent) -> Iterator[tuple[Tensor, Tensor]]:
    first = torch.zeros_like(order.query_BL)
    yield first, first + extent.kv_len - 1


def _runs(
    order: Order, raster: Raster, windows: Windows, extent: Extent, settings: Settings
) -> Iterator[tuple[Tensor, Tensor]]:
    """Places of the ends of every row of a window; with dilation, of a range that holds it."""
    axes = len(settings.kernel)
    queries = slice(extent.q_offset, extent.kv_len)
    size, at = raster.size_BS3[:, queries], raster.at_BS3[:, queries]
    kind, first, last = (t[:, queries] for t in (windows.class_BSA, windows.first_BSA, windows.last_BSA))
    dilation = torch.tensor(settings.dilation or (1,) * axes, device=at.device)
    low, high = first * dilation + kind, last * dilation + kind
    area, cols = size[..., 1] * size[..., 2], size[..., 2]
    # Pictures are contiguous in the order, so a key's place follows from its query's and the steps between them.
    origin = order.place_BS[:, queries] - (at[..., 0] * area + at[..., 1] * cols + at[..., 2])
    rest = [torch.arange(n, device=at.device) for n in (last - first + 1)[..., :-1].flatten(0, 1).amax(0).tolist()]
    for offset in torch.cartesian_prod(*rest).view(-1, axes - 1) if axes > 1 else [dilation[:0]]:
        at_key = low[..., :-1] + offset * dilation[:-1]
        there = (at_key <= high[..., :-1]).all(-1) & ~order.text_BS[:, queries]
        frame = at_key[..., 0] if axes == 3 else at[..., 0]
        row = at_key[..., -1] if axes > 1 else at[..., 1]
        start = origin + frame * area + row * cols
        yield torch.where(there, start + low[..., -1], 0), torch.where(there, start + high[..., -1], -1)


def _rule(windows: Windows, unit_BS: Tensor, text_BS: Tensor, *, others: bool) -> Rule:
    axes = range(windows.step_BSA.shape[-1])
    kind, step, first, last = ([t[..., axis].contiguous() for axis in axes] for t in windows)
    one = unit_BS.shape[0] == 1  # one row stands for all, as where there is no geometry

    def rule(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:  # noqa: ARG001
        b = b * 0 if one else b
        same = unit_BS[b, q] == unit_BS[b, k]
        kept = same
        for axis in axes:
            key = step[axis][b, k]
            near = (first[axis][b, q] <= key) & (key <= last[axis][b, q])
            kept = kept & near & (kind[axis][b, q] == kind[axis][b, k])
        return text_BS[b, q] | text_BS[b, k] | kept | (~same if others else False)

    return rule


def build(settings: Settings, dims: Dims) -> Neighborhood:  # noqa: ARG001
    """The method for one layer."""
    return Neighborhood(settings)
