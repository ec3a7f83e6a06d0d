"""AnchorAttention: keys whose score comes close to the best score among the first keys and the nearest ones.

Difference-aware stripe sparsity, arXiv 2505.23520. Queries are cut into blocks and `step` blocks into a group. The
anchor of a query is its best score among the first block of keys and the keys from the beginning of its group on;
keys in between are seen by a whole group if, for one of its blocks, mean anchor - mean query . key <= theta. No
parameter is trained and no share is fixed: how much is seen follows from the scores.

Shapes: B batch, H query heads, L queries, S keys, D head width, Q query blocks, G groups.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from allocentric.core import config
from allocentric.sparse_attn.contract import Call, Dims, Selector
from allocentric.sparse_attn.methods._pooling import block_mean, per_query_head, tile_ends, wide
from allocentric.sparse_attn.plan import Blocks, blocks_of_map


class Settings(config.Settings):
    """The published setting."""

    theta: float = Field(default=12.0, ge=0.0)
    """How far a scaled score may stay behind the anchor."""
    block: int = Field(default=128, ge=1)
    """Queries of a block, and keys at the start that every query sees."""
    step: int = Field(default=16, ge=1)
    """Blocks of queries that choose keys together."""


EXAMPLE = Settings(theta=1.0, block=8, step=2)
EXHAUSTIVE = Settings(theta=1e9, block=8, step=2)


class Anchor(Selector):
    """Single keys per group of query blocks and head."""

    name = "anchor"
    causal = True
    bidirectional = False
    streams = False
    """A group's choice is made by the mean of its queries, later ones included."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings

    def plan(self, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, call: Call) -> Blocks:  # noqa: ARG002
        """A list of keys per query block; keys of the block's own stretch are listed up to its last query."""
        seen_BHGS = self.choose(q_BHLD, k_BKSD, call)
        first, _ = tile_ends(call.extent, self.settings.block)
        seen_BHQS = seen_BHGS.repeat_interleave(self.settings.step, dim=2)[:, :, : len(first)]
        return blocks_of_map(call.extent, seen_BHQS, q_block=self.settings.block, k_block=1)

    @torch.no_grad()
    def choose(self, q_BHLD: Tensor, k_BKSD: Tensor, call: Call) -> Tensor:
        """(B, H, G, S) bool: the keys that every group sees, later ones than its queries included."""
        extent, block = call.extent, self.settings.block
        q, k = wide(q_BHLD) * call.scale, per_query_head(wide(k_BKSD), extent.heads)
        place_S = torch.arange(extent.kv_len, device=extent.device)
        group = block * self.settings.step
        anchors = []
        for start in range(0, extent.q_len, block):
            rows = q[:, :, start : start + block]
            size = rows.shape[2]
            begin, end = start // group * group + extent.q_offset, start + extent.q_offset + size
            near = rows @ k[:, :, begin:end].transpose(-1, -2)
            later = torch.ones(size, size, dtype=torch.bool, device=extent.device).triu(1)
            near[..., -size:].masked_fill_(later, float("-inf"))
            best = near.amax(-1)
            if begin:
                best = best.maximum((rows @ k[:, :, : min(block, begin)].transpose(-1, -2)).amax(-1))
            anchors.append(best)
        anchor_BHQ = block_mean(torch.cat(anchors, 2)[..., None], block)
        behind_BHQS = anchor_BHQ - block_mean(q, block) @ k.transpose(-1, -2)
        close = pad(behind_BHQS <= self.settings.theta, (0, 0, 0, -behind_BHQS.shape[2] % self.settings.step))
        close_BHGS = close.unflatten(2, (-1, self.settings.step)).any(3)
        group_start = torch.arange(0, extent.q_len, group, device=extent.device)[:, None] + extent.q_offset
        chosen: Tensor = close_BHGS | (place_S < block) | (place_S >= group_start)
        return chosen


def build(settings: Settings, dims: Dims) -> Anchor:  # noqa: ARG001
    """The method for one layer."""
    return Anchor(settings)
