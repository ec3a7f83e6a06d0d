"""MaxViT: windows of a picture in one layer, a grid spread over the whole picture in the next.

MaxViT, arXiv 2204.01697, sections 3.2 and 3.3. Block attention: windows of P x P tokens that don't overlap. Grid
attention: the picture is cut into G x G cells and tokens at the same place of every cell see each other. Where a size
doesn't divide, which the paper doesn't allow for, the last window and the last cells are smaller.

Every frame is a picture of its own. Text sees everything and is seen by everything. In a causal stream a query sees
the part of its window or grid that has come.

Shapes: B batch, L queries, S keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from allocentric.core import config
from allocentric.sparse_attn.contract import Call, Dims, Selector
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.methods._pictures import Order, blocks_of_runs, pictures_first, raster_of
from allocentric.sparse_attn.plan import Blocks, Extent, Rule


class Settings(config.Settings):
    """The published ones."""

    window: int = Field(default=7, ge=1)
    """P: rows and columns of a window."""
    grid: int = Field(default=7, ge=1)
    """G: cells along an edge of the picture."""
    pattern: Literal["alternate", "block", "grid"] = "alternate"
    """Windows in even layers and grids in odd ones, as published, or one of them in all layers."""
    others: bool = False
    """Whether picture tokens also see all of the other frames."""
    block: int = Field(default=64, ge=1)
    """Queries and keys that are computed together. Changes speed only."""


EXAMPLE = Settings(window=2, grid=2, block=8)
EXHAUSTIVE = Settings(window=1 << 20, pattern="block", others=True, block=32)


class MaxViT(Selector):
    """The same groups for every head."""

    name = "maxvit"
    causal = True
    bidirectional = True
    streams = True
    needs_geometry = True

    def __init__(self, settings: Settings, layer: int) -> None:
        super().__init__()
        self.settings = settings
        self.pattern = ("block", "grid")[layer % 2] if settings.pattern == "alternate" else settings.pattern

    def plan(self, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, call: Call) -> Blocks:  # noqa: ARG002
        """Tokens sorted by group, so that every query block's keys are one run."""
        extent, settings = call.extent, self.settings
        geometry = call.geometry_for(self.name)
        group = groups_of(geometry, settings.window if self.pattern == "block" else settings.grid, self.pattern)
        order = pictures_first(geometry, extent, group)
        runs = _runs(order, group, extent, others=settings.others)
        rule = _rule(group, geometry.frame_BL, order.text_BS, others=settings.others)
        return blocks_of_runs(extent, order, runs, block=settings.block, rule=rule)


def groups_of(geometry: Geometry, edge: int, pattern: str) -> Tensor:
    """(B, S) int64: tokens of one window or one grid have the same number; text has -1."""
    raster = raster_of(geometry)
    at, size = raster.at_BS3[..., 1:], raster.size_BS3[..., 1:].clamp(min=1)
    if pattern == "block":
        index, count = at // edge, (size - 1) // edge + 1
    else:
        count = (size - 1) // edge + 1  # rows and columns of a cell
        index = at % count
    most = int(raster.frame_size.max()) + 1
    group = geometry.frame_BL.long() * most + index[..., 0] * count[..., 1] + index[..., 1]
    return group.masked_fill(geometry.clip_BL < 0, -1)


def _runs(order: Order, group_BS: Tensor, extent: Extent, *, others: bool) -> Iterator[tuple[Tensor, Tensor]]:
    queries = group_BS[:, extent.q_offset :].contiguous()
    if others:
        yield torch.zeros_like(queries), torch.full_like(queries, extent.kv_len - 1)
        return
    text = torch.iinfo(torch.int64).max
    by_place = torch.gather(group_BS.masked_fill(order.text_BS, text), 1, order.key_BS)
    first = torch.searchsorted(by_place, queries)
    last = torch.searchsorted(by_place, queries, right=True) - 1
    yield first, last.masked_fill(queries < 0, -1)


def _rule(group_BS: Tensor, frame_BS: Tensor, text_BS: Tensor, *, others: bool) -> Rule:
    def rule(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:  # noqa: ARG001
        kept = text_BS[b, q] | text_BS[b, k] | (group_BS[b, q] == group_BS[b, k])
        return kept | (frame_BS[b, q] != frame_BS[b, k]) if others else kept

    return rule


def build(settings: Settings, dims: Dims) -> MaxViT:
    """The method for one layer."""
    return MaxViT(settings, dims.layer)
