"""MMInference: MInference for pictures in text, with grid heads and heads whose patterns end where modalities do.

arXiv 2504.16083, with the masks of microsoft/MInference@f4a21b3. Queries are permuted so that those with the same
lines are computed together, and every query block lists its keys.

Grid: frames come at a stride, and heads look along it. The softmax of the last queries says which stride and phase;
all queries see the keys of that phase, queries of that phase see everything, and everyone sees a window and the first
keys. With `slash` a query also sees the keys of its own phase. Q-boundary: text and pictures each have vertical and
slash lines of their own, estimated from their own last queries. 2D-boundary: keys are parted as well, so that every
pair of modalities has its own vertical lines, and a modality with itself its own slashes, counted in its own tokens.

Shapes: B batch, H query heads, L queries, S keys, D head width, Q query blocks, U query groups, G keys of a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Literal, TypeAlias

import torch
from pydantic import Field
from torch import Tensor

from allocentric.core import config
from allocentric.sparse_attn.contract import Call, Dims, Selector
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.methods._heads import heads_of_layer
from allocentric.sparse_attn.methods._lines import attention_of, heaviest_columns, heaviest_distances, stretches
from allocentric.sparse_attn.methods._pooling import per_query_head
from allocentric.sparse_attn.plan import Blocks, Extent, Rule, block_count, blocks_of_map

_NO_PHASE = -1
"""Phase of a grid where there is no stride to look along."""


class Grid(config.Settings):
    """Lines at a stride, a window, the first keys."""

    kind: Literal["grid"] = "grid"
    """Of this pattern."""
    strides: tuple[int, ...] = ()
    """Candidates, in tokens. Empty: from one frame to the next and from one row to the next, as the geometry says; a
    sequence without pictures then has no lines."""
    window: int = Field(default=1024, ge=1)
    """Nearest keys, the query's own included."""
    sinks: int = Field(default=128, ge=0)
    """Keys at the start."""
    vertical: bool = True
    """All queries see the keys of the phase."""
    horizontal: bool = True
    """Queries of the phase see all keys."""
    slash: bool = False
    """Queries see the keys of their own phase."""


class Boundary(config.Settings):
    """Vertical and slash lines by modality."""

    kind: Literal["q_boundary", "2d_boundary"] = "q_boundary"
    """Whether keys are parted as well as queries."""
    vertical: int = Field(default=1000, ge=1)
    """Keys, for every pair of a query group and a key group."""
    slash: int = Field(default=6096, ge=1)
    """Distances."""
    first: int = Field(default=30, ge=0)
    """Keys at the start of a key group that are always among them."""
    near: int = Field(default=100, ge=1)
    """Distances 0, 1, ... that are always among them."""


Pattern: TypeAlias = Annotated[Grid | Boundary, Field(discriminator="kind")]


class Settings(config.Settings):
    """Patterns and sizes in tokens."""

    heads: tuple[Pattern, ...] = Field(default=(Grid(),), min_length=1)
    """One pattern for all heads, or one per head, or one per head of every layer, layer by layer."""
    block: int = Field(default=64, ge=1)
    """Queries of a block."""
    last_q: int = Field(default=64, ge=1)
    """Last queries (of a modality) that lines are estimated from."""


EXAMPLE = Settings(
    heads=(
        Grid(window=4, sinks=2),
        Grid(strides=(4, 5, 7), window=1, sinks=0, horizontal=False, slash=True),
        Boundary(kind="q_boundary", vertical=5, slash=6, first=2, near=2),
        Boundary(kind="2d_boundary", vertical=5, slash=6, first=2, near=2),
    ),
    block=8,
    last_q=16,
)
EXHAUSTIVE = Settings(
    heads=(
        Grid(window=1 << 20),
        Boundary(vertical=1 << 20),
        Boundary(kind="2d_boundary", vertical=1 << 20),
        Grid(strides=(1,), window=1),
    ),
    block=16,
)


class MMInference(Selector):
    """A pattern per head."""

    name = "mminference"
    causal = True
    bidirectional = False
    streams = False
    """Lines are chosen by the last queries of a call for all of them."""
    needs_geometry = True

    def __init__(self, settings: Settings, dims: Dims) -> None:
        super().__init__()
        self.settings = settings
        self.heads = heads_of_layer(self.name, settings.heads, dims)

    @torch.no_grad()
    def plan(self, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, call: Call) -> Blocks:  # noqa: ARG002
        """Lists of keys for permuted query blocks, a row of the batch and a head at a time."""
        geometry, extent = call.geometry_for(self.name), call.extent
        k_BHSD = per_query_head(k_BKSD, extent.heads)
        rows = []
        for row in range(extent.batch):
            picture_S = geometry.modality_BL[row] > 0
            heads = []
            for head, pattern in enumerate(self.heads):
                q_LD, k_SD = q_BHLD[row, head], k_BHSD[row, head]
                if isinstance(pattern, Grid):
                    heads.append(self._grid(pattern, pattern.strides or _strides(geometry, row), q_LD, k_SD, call))
                else:
                    heads.append(self._boundary(pattern, picture_S, q_LD, k_SD, call))
            rows.append(_stacked(heads))
        return self._listed(_stacked(rows), extent)

    def _grid(self, pattern: Grid, strides: Sequence[int], q_LD: Tensor, k_SD: Tensor, call: Call) -> _Choice:
        """Queries of the phase last; with slashes, the others sorted by phase."""
        extent, block = call.extent, self.settings.block
        place_S = torch.arange(extent.kv_len, device=extent.device)
        place_L = place_S[extent.q_offset :]
        stride, phase = self._phase(strides, q_LD, k_SD, call)
        own_L = place_L % stride if pattern.slash else torch.zeros_like(place_L)
        own_L = own_L.masked_fill(place_L % stride == phase, stride)
        order_L = torch.argsort(own_L, stable=True)
        tile_L = torch.arange(extent.q_len, device=extent.device) // block
        tiles = block_count(extent.q_len, block)
        position_L = place_L[order_L]
        marks = torch.zeros(tiles, extent.kv_len + 1, dtype=torch.int32, device=extent.device)
        one = torch.ones_like(tile_L, dtype=torch.int32)
        marks.index_put_((tile_L, (position_L - pattern.window + 1).clamp(min=0)), one, accumulate=True)
        marks.index_put_((tile_L, position_L + 1), -one, accumulate=True)
        seen_QS = (marks.cumsum(1)[:, : extent.kv_len] > 0) | (place_S < pattern.sinks)
        phases_Qs = torch.zeros(tiles, stride, dtype=torch.bool, device=extent.device)
        phases_Qs[tile_L, position_L % stride] = True
        if pattern.slash:
            seen_QS |= phases_Qs[:, place_S % stride]
        if phase != _NO_PHASE and pattern.vertical:
            seen_QS |= place_S % stride == phase
        if phase != _NO_PHASE and pattern.horizontal:
            seen_QS |= phases_Qs[:, phase, None]
        return _Choice(
            order=order_L,
            group=torch.zeros_like(order_L),
            seen=torch.stack([seen_QS, torch.zeros_like(seen_QS)], dim=1),
            stride=torch.tensor(stride, device=extent.device),
            phase=torch.tensor(phase, device=extent.device),
        )

    def _phase(self, strides: Sequence[int], q_LD: Tensor, k_SD: Tensor, call: Call) -> tuple[int, int]:
        """Stride and phase whose keys get the greatest share of the last queries' attention."""
        if not strides:
            return 1, _NO_PHASE
        count = min(self.settings.last_q, call.extent.q_len)
        place_S = torch.arange(call.extent.kv_len, device=call.extent.device)
        mass_S = _attention(q_LD[-count:], k_SD, place_S[-count:], call).sum(0)
        best = (-1.0, 1, _NO_PHASE)
        for stride in strides:
            mass_s = mass_S.new_zeros(stride).index_add(0, place_S % stride, mass_S)
            phase = int(mass_s.argmax())
            best = max(best, (float(mass_s[phase]), stride, phase), key=lambda found: found[0])
        return best[1], best[2]

    def _boundary(self, pattern: Boundary, picture_S: Tensor, q_LD: Tensor, k_SD: Tensor, call: Call) -> _Choice:
        """Text queries first, then those of pictures."""
        extent, block = call.extent, self.settings.block
        group_L = picture_S[extent.q_offset :].long()
        order_L = torch.argsort(group_L, stable=True)
        tile_L = torch.arange(extent.q_len, device=extent.device) // block
        tiles = block_count(extent.q_len, block)
        seen = torch.zeros(tiles, 2, extent.kv_len, dtype=torch.bool, device=extent.device)
        for group in group_L.unique().tolist():
            theirs = group_L[order_L] == group
            queries, at = order_L[theirs], tile_L[theirs]
            position = queries + extent.q_offset
            count = min(self.settings.last_q, len(queries))
            attention_MS = _attention(q_LD[queries[-count:]], k_SD, position[-count:], call)
            present_Q = torch.zeros(tiles, dtype=torch.bool, device=extent.device).index_fill(0, at, True)
            if pattern.kind == "q_boundary":
                key_groups = [(torch.arange(extent.kv_len, device=extent.device), True)]
            else:
                key_groups = [(torch.nonzero(picture_S == bool(side)).flatten(), side == group) for side in (0, 1)]
            for keys, own in key_groups:
                if len(keys):
                    seen[:, group, keys] = _lines(pattern, attention_MS, keys, position, at, tiles, slashes=own)
            seen[:, group] &= present_Q[:, None]
        nothing = torch.tensor(_NO_PHASE, device=extent.device)
        return _Choice(order=order_L, group=group_L, seen=seen, stride=nothing.abs(), phase=nothing)

    def _listed(self, choice: _Choice, extent: Extent) -> Blocks:
        """Lists of what some group of a block sees; the rule holds within them."""
        block = self.settings.block
        tile = (torch.arange(extent.q_len, device=extent.device) // block).expand_as(choice.order)
        tile_BHL = torch.empty_like(choice.order).scatter(2, choice.order, tile)
        return blocks_of_map(
            extent,
            choice.seen.any(3),
            q_block=block,
            k_block=1,
            rule=_rule(self.heads, choice, tile_BHL, extent),
            q_order_BHL=choice.order,
        )


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """What heads decide. Shapes without the leading axes of batch and heads, which stacking adds."""

    order: Tensor
    """(L,) int64: place in the permuted sequence -> query."""
    group: Tensor
    """(L,) int64: group of every query, 0 or 1, by query."""
    seen: Tensor
    """(Q, 2, S) bool: keys that the queries of either group in a permuted block may see, later ones included."""
    stride: Tensor
    """() int64: of a grid."""
    phase: Tensor
    """() int64: of a grid."""


def _stacked(choices: Sequence[_Choice]) -> _Choice:
    return _Choice(**{f.name: torch.stack([getattr(choice, f.name) for choice in choices]) for f in fields(_Choice)})


def _attention(q_MD: Tensor, k_SD: Tensor, position_M: Tensor, call: Call) -> Tensor:
    """(M, S)."""
    return attention_of(q_MD[None, None], k_SD[None, None], position_M, call.extent, call.scale)[0, 0]


def _lines(
    pattern: Boundary,
    attention_MS: Tensor,
    keys_G: Tensor,
    position: Tensor,
    tile: Tensor,
    tiles: int,
    *,
    slashes: bool,
) -> Tensor:
    """(Q, G) bool: what query blocks see of a key group.

    Args:
        pattern: Numbers of lines.
        attention_MS: Of the last queries of a query group.
        keys_G: The key group.
        position: Positions of all queries of the query group, ascending; with `slashes` they are in the key group.
        tile: Their blocks.
        tiles: Q.
        slashes: Whether there are slashes.
    """
    attention = attention_MS[None, None, :, keys_G]
    columns = heaviest_columns(attention, pattern.vertical, pattern.first)[0, 0].expand(tiles, -1)
    if not slashes:
        return columns
    rank = torch.searchsorted(keys_G, position)
    distances = heaviest_distances(attention, rank[-attention.shape[2] :], pattern.slash, pattern.near)
    size = len(keys_G)
    first = rank.new_full((tiles,), 2 * size).scatter_reduce(0, tile, rank, "amin")
    last = rank.new_full((tiles,), -1).scatter_reduce(0, tile, rank, "amax")
    return columns | stretches(distances, first, last, size)[0, 0]


def _strides(geometry: Geometry, row: int) -> tuple[int, ...]:
    """Tokens from frame to frame, text in between included, and from row to row, of the largest clip."""
    if not geometry.clips[row]:
        return ()
    sizes = [clip.frames * clip.rows * clip.cols for clip in geometry.clips[row]]
    largest = sizes.index(max(sizes))
    inside = geometry.clip_BL[row] == largest
    starts = torch.nonzero(inside & (geometry.y_BL[row] == 0) & (geometry.x_BL[row] == 0)).flatten()
    between = starts.diff()
    frame = [int(between.mode().values)] if len(between) else []
    return tuple(stride for stride in dict.fromkeys([*frame, geometry.clips[row][largest].cols]) if stride > 1)


def _rule(heads: Sequence[Pattern], choice: _Choice, tile_BHL: Tensor, extent: Extent) -> Rule:
    """Grids by arithmetic; boundary heads by what the group of a query sees from its block."""

    def of_heads(name: str, otherwise: int) -> Tensor:
        return torch.tensor([int(getattr(pattern, name, otherwise)) for pattern in heads], device=extent.device)

    grid_H = torch.tensor([isinstance(pattern, Grid) for pattern in heads], device=extent.device)
    window_H, sinks_H = of_heads("window", 0), of_heads("sinks", 0)
    vertical_H, horizontal_H, slash_H = (
        torch.tensor([isinstance(p, Grid) and bool(getattr(p, name)) for p in heads], device=extent.device)
        for name in ("vertical", "horizontal", "slash")
    )

    def rule(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        stride, phase = choice.stride[b, h], choice.phase[b, h]
        near = (q - k < window_H[h]) | (k < sinks_H[h])
        lines = (vertical_H[h] & (k % stride == phase)) | (horizontal_H[h] & (q % stride == phase))
        grid = near | lines | (slash_H[h] & (k % stride == q % stride))
        query = q - extent.q_offset
        listed = choice.seen[b, h, tile_BHL[b, h, query], choice.group[b, h, query], k]
        return torch.where(grid_H[h], grid, listed)

    return rule


def build(settings: Settings, dims: Dims) -> MMInference:
    """The method for one layer."""
    return MMInference(settings, dims)
