"""Concentric causal attention: a picture is read from its border inwards, ring by ring, and not row by row.

Concentric Causal Attention, arXiv 2410.15926; positions and mask follow xing0047/cca-llava@5611a9e. A token's ring is
its distance from the nearest edge. Inside a picture a token sees the tokens of its own ring and of the rings outside
it, also those after it; everything else is causal. Positions (`position_ids`) count a ring as one step: a picture of
24 x 24 tokens takes 12. The paper has single square pictures; here every frame is a picture, rings of a rectangle
follow its edges, and a video is causal from frame to frame. Models need fine-tuning on both.

There is no dense limit: a token never sees the rings inside its own. A picture has to come in one call: in a chunk
that ends inside it, queries see the part that has come.

Shapes: B batch, L queries, S keys, Q query blocks, N key blocks.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from allocentric.core import config
from allocentric.sparse_attn.contract import Call, Dims, Selector
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.methods._pictures import raster_of
from allocentric.sparse_attn.plan import Blocks, Rule, block_count, blocks_of_map


class Settings(config.Settings):
    """The rule itself has none."""

    block: int = Field(default=64, ge=1)
    """Queries and keys that are computed together. Changes speed only."""


EXAMPLE = Settings(block=8)
EXHAUSTIVE = None


class ConcentricCausal(Selector):
    """The same order for every head."""

    name = "concentric_causal"
    causal = True
    bidirectional = False
    streams = False
    looks_ahead = True
    needs_geometry = True

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings

    def plan(self, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, call: Call) -> Blocks:  # noqa: ARG002
        """All blocks up to the end of the frame that a query block ends in."""
        extent, block = call.extent.looking_ahead(), self.settings.block
        geometry = call.geometry_for(self.name)
        start, end = _spans(geometry)
        reach_BQ = _greatest_of_blocks(end[:, extent.q_offset :], block)
        before_BQ = -_greatest_of_blocks(-start[:, extent.q_offset :], block)
        first_N = torch.arange(block_count(extent.kv_len, block), device=extent.device) * block
        return blocks_of_map(
            extent,
            (first_N <= reach_BQ[..., None])[:, None],
            q_block=block,
            k_block=block,
            rule=_rule(rings(geometry), geometry.frame_BL),
            full_BHQN=(first_N + block <= before_BQ[..., None])[:, None],
        )


def rings(geometry: Geometry) -> Tensor:
    """(B, S) int64: distance of a token from the nearest edge of its picture; 0 for text."""
    raster = raster_of(geometry)
    at, size = raster.at_BS3[..., 1:], raster.size_BS3[..., 1:].clamp(min=1)
    return torch.minimum(at, size - 1 - at).amin(-1)


def position_ids(geometry: Geometry) -> Tensor:
    """(B, S) int64: positions for one-dimensional rotary embeddings; all tokens of a ring have the same.

    Text takes one position a token, a frame one a ring. In streaming: of all tokens so far, whose positions stay.
    """
    raster, ring = raster_of(geometry), rings(geometry)
    text = geometry.clip_BL < 0
    count = (raster.size_BS3[..., 1:].amin(-1) + 1) // 2
    # A frame's steps are all taken by its first token, so that the rest start from the same number.
    first = ~text & (raster.frame_index == 0)
    taken = torch.where(first, count, text.long()).cumsum(1)
    return torch.where(text, taken - 1, taken - count + ring)


def _spans(geometry: Geometry) -> tuple[Tensor, Tensor]:
    """(B, S) int64: positions of the first and last token of a token's frame, come yet or not; text is alone."""
    raster = raster_of(geometry)
    start = torch.arange(geometry.length, device=geometry.clip_BL.device) - raster.frame_index
    return start, start + (raster.frame_size - 1).clamp(min=0)


def _greatest_of_blocks(value_BL: Tensor, block: int) -> Tensor:
    """(B, Q) int64: greatest value in every block of queries."""
    lowest = torch.iinfo(torch.int64).min
    padded = torch.nn.functional.pad(value_BL, (0, -value_BL.shape[1] % block), value=lowest)
    return padded.view(value_BL.shape[0], -1, block).amax(-1)


def _rule(ring_BS: Tensor, frame_BS: Tensor) -> Rule:
    def rule(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:  # noqa: ARG001
        same = (frame_BS[b, q] == frame_BS[b, k]) & (frame_BS[b, q] >= 0)
        return torch.where(same, ring_BS[b, k] <= ring_BS[b, q], k <= q)

    return rule


def build(settings: Settings, dims: Dims) -> ConcentricCausal:  # noqa: ARG001
    """The method for one layer."""
    return ConcentricCausal(settings)
