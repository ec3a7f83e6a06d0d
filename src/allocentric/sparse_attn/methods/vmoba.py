"""VMoBA: MoBA for video, whose blocks are stretches of time, of the picture, or of both, in turn over the layers.

arXiv 2506.23858; the rule of KwaiVGI/VMoBA as FastVideo carries it: the gate of a block is q . mean(keys of the
block), gates are shifted and scaled to [0, 1] within a scope, a query's own block is always seen, and of the others
the best are taken until the share of the gates reaches `tau`. As published, one further block is taken even where the
own block reaches it alone. Scopes never reach over rows of the batch here.

Shapes: B batch, H query heads, L tokens, C blocks, D head width.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from allocentric.core import config
from allocentric.sparse_attn.contract import Call, Dims, Selector
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.methods._pooling import per_query_head, wide
from allocentric.sparse_attn.plan import Blocks, Rule, block_count, blocks_of_map

_SHARE_EPS = 1e-6
"""Added to sums of gates, as published."""
_SCOPES = {"query_head": (3,), "block": (1, 2), "head_global": (2, 3), "overall": (1, 2, 3)}
"""Axes of (B, H, L, C) that a scope normalises and sorts over."""


class Settings(config.Settings):
    """Sizes in tokens of the grid; blocks at the edge of a grid may be smaller."""

    frames: int = Field(default=2, ge=1)
    """Frames of a block in layers with blocks of time."""
    area: tuple[int, int] = (4, 13)
    """Rows and columns of a block in layers with blocks of the picture."""
    cube: tuple[int, int, int] = (4, 4, 13)
    """Frames, rows and columns of a block in layers with blocks of both."""
    cycle: tuple[Literal["1d", "2d", "3d"], ...] = Field(default=("1d", "2d", "3d"), min_length=1)
    """Kinds of blocks of successive layers, repeated."""
    select: Literal["threshold", "top_k"] = "threshold"
    """Share of the gates, or a number of blocks per query."""
    tau: float = Field(default=0.25, ge=0.0, le=1.0)
    """Share of the gates that is kept."""
    top_k: int = Field(default=3, ge=1)
    """Blocks that a query sees, its own included."""
    scope: Literal["query_head", "block", "head_global", "overall"] = "query_head"
    """What shares are counted over: the blocks of a query and head; the queries and heads of a block; the queries and
    blocks of a head; everything of a sequence."""
    q_block: int = Field(default=64, ge=1)
    """Queries that are computed together. Changes speed only."""


EXAMPLE = Settings(frames=2, area=(2, 2), cube=(2, 2, 3), cycle=("3d",), q_block=8)
EXHAUSTIVE = Settings(frames=2, area=(2, 2), cube=(2, 2, 2), tau=1.0)


class VMoBA(Selector):
    """Block choice per query and head, on a grid."""

    name = "vmoba"
    causal = False
    bidirectional = True
    streams = False
    needs_geometry = True

    def __init__(self, settings: Settings, dims: Dims) -> None:
        super().__init__()
        self.settings = settings
        kind = settings.cycle[dims.layer % len(settings.cycle)]
        whole = 1 << 30
        self.cell = {
            "1d": (settings.frames, whole, whole),
            "2d": (whole, *settings.area),
            "3d": settings.cube,
        }[kind]

    def plan(self, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, call: Call) -> Blocks:  # noqa: ARG002
        """Tokens sorted by block, so that a block is one stretch of keys and its queries are computed together."""
        block_BL = blocks_of_grid(call.geometry_for(self.name), self.cell)
        chosen_BHLC = self.choose(q_BHLD, k_BKSD, block_BL)
        order_BL = torch.argsort(block_BL, dim=1, stable=True)
        k_block = int(torch.bincount(block_BL[0]).max())
        placed_BL = block_BL.gather(1, order_BL)
        # Stretches of k_block keys hold pieces of blocks where grids don't divide: a stretch is listed for a query
        # block if one of its queries chose a block that has a key there.
        count = block_count(call.extent.kv_len, k_block)
        holds_BNC = torch.zeros(len(order_BL), count, chosen_BHLC.shape[3], dtype=torch.bool, device=order_BL.device)
        stretch = torch.arange(call.extent.kv_len, device=order_BL.device) // k_block
        holds_BNC[torch.arange(len(order_BL), device=order_BL.device)[:, None], stretch, placed_BL] = True
        sorted_BHLC = chosen_BHLC.gather(2, order_BL[:, None, :, None].expand_as(chosen_BHLC))
        padded = torch.nn.functional.pad(sorted_BHLC, (0, 0, 0, -sorted_BHLC.shape[2] % self.settings.q_block))
        union_BHQC = padded.unflatten(2, (-1, self.settings.q_block)).any(3)
        listed_BHQN = union_BHQC.float() @ holds_BNC[:, None].float().transpose(-1, -2) > 0
        return blocks_of_map(
            call.extent,
            listed_BHQN,
            q_block=self.settings.q_block,
            k_block=k_block,
            rule=_rule(chosen_BHLC, block_BL),
            q_order_BHL=order_BL[:, None],
            k_order_BHS=order_BL[:, None],
        )

    @torch.no_grad()
    def choose(self, q_BHLD: Tensor, k_BKSD: Tensor, block_BL: Tensor) -> Tensor:
        """(B, H, L, C) bool: the blocks that every query sees, from the block of every token."""
        count = int(block_BL.max()) + 1
        member_BLC = torch.nn.functional.one_hot(block_BL, count).bool()
        size_BC = member_BLC.sum(1)
        k = wide(k_BKSD)
        mean_BKCD = member_BLC.to(k).transpose(1, 2)[:, None] @ k / size_BC.clamp(min=1)[:, None, :, None]
        gate_BHLC = wide(q_BHLD) @ per_query_head(mean_BKCD, q_BHLD.shape[1]).transpose(-1, -2)
        there_BHLC = (size_BC > 0)[:, None, None].expand_as(gate_BHLC)
        own_BHLC = member_BLC[:, None].expand_as(gate_BHLC)
        if self.settings.select == "top_k":
            ranked = gate_BHLC.masked_fill(~there_BHLC, float("-inf")).masked_fill(own_BHLC, float("inf"))
            best, index = ranked.topk(min(self.settings.top_k, count), dim=-1)
            return torch.zeros_like(there_BHLC).scatter(-1, index, best > float("-inf"))
        return share_of_gates(gate_BHLC, there_BHLC, own_BHLC, self.settings.tau, _SCOPES[self.settings.scope])


def share_of_gates(
    gate_BHLC: Tensor, there_BHLC: Tensor, own_BHLC: Tensor, tau: float, scope: tuple[int, ...]
) -> Tensor:
    """(B, H, L, C) bool: own blocks, and the best others until their share of the gates within `scope` reaches tau.

    Args:
        gate_BHLC: Gates.
        there_BHLC: bool: the block exists.
        own_BHLC: bool: the block holds the query.
        tau: Share.
        scope: Axes that are normalised and sorted together.
    """
    kept_axes = [axis for axis in range(4) if axis not in scope]
    axes = (*kept_axes, *scope)

    def flat(t: Tensor) -> Tensor:
        return t.permute(axes).flatten(len(kept_axes))

    gate, there, own = flat(gate_BHLC), flat(there_BHLC), flat(own_BHLC)
    low = gate.masked_fill(~there, float("inf")).amin(-1, keepdim=True)
    span = gate.masked_fill(~there, float("-inf")).amax(-1, keepdim=True) - low
    share = ((gate - low) / torch.where(span <= _SHARE_EPS, 1.0, span)).masked_fill(~there, 0.0)
    total = share.sum(-1, keepdim=True) + _SHARE_EPS
    missing = (tau - (share * own).sum(-1, keepdim=True) / total).clamp(min=0.0)
    others, order = share.masked_fill(own | ~there, -1.0).sort(dim=-1, descending=True, stable=True)
    enough = others.clamp(min=0.0).cumsum(-1) / total >= missing
    # The first place that is enough, or the last of all.
    cutoff = torch.where(enough.any(-1), enough.int().argmax(-1), others.shape[-1] - 1)
    taken = torch.arange(others.shape[-1], device=order.device) <= cutoff[..., None]
    chosen = (torch.zeros_like(there).scatter(-1, order, taken) | own) & there
    sizes = [gate_BHLC.shape[axis] for axis in axes]
    back = sorted(range(4), key=lambda place: axes[place])
    return chosen.view(sizes).permute(back)


def blocks_of_grid(geometry: Geometry, cell: tuple[int, int, int]) -> Tensor:
    """(B, L) int64: block of every token, counted from 0 in every row; what lies in no picture is one block.

    Args:
        geometry: Of the tokens.
        cell: Frames, rows and columns of a block.
    """
    key = geometry.clip_BL.long()
    for place, size in zip((geometry.t_BL, geometry.y_BL, geometry.x_BL), cell, strict=True):
        along = place.long() // size
        key = key * (int(along.max()) + 1) + along
    return torch.stack([torch.unique(row, return_inverse=True)[1] for row in key])


def _rule(chosen_BHLC: Tensor, block_BL: Tensor) -> Rule:
    return lambda b, h, q, k: chosen_BHLC[b, h, q, block_BL[b, k]]


def build(settings: Settings, dims: Dims) -> VMoBA:
    """The method for one layer."""
    return VMoBA(settings, dims)
