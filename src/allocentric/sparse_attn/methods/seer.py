"""SeerAttention: a small trained gate foretells which blocks of the attention map matter.

arXiv 2410.13276, microsoft/SeerAttention@1261d99. Blocks of queries are averaged, blocks of keys reduced to their
greatest, least and mean values; a linear map per head takes both to the gate's width, rotary embedding tells the
gate where its blocks lie, and a scaled product with a softmax over blocks is the gate's map. Blocks above a threshold,
or the best ones, are seen; a query block's own ones always.

The gate is distilled: `distillation_loss` compares its map with the true attention map, pooled to the greatest value
of every block and normalised over the row. Nothing else reaches its parameters, since a choice has no gradient. The
original pools queries and keys before rotary embedding; attention functions see them after it.

Shapes: B batch, H query heads, K key-value heads, L queries, S keys, D head width, G gate width, Q query blocks, N key
blocks.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import pad

from allocentric.core import config
from allocentric.sparse_attn.contract import Call, Dims, Selector
from allocentric.sparse_attn.methods._pooling import (
    block_max,
    block_mean,
    past_and_own_blocks,
    per_query_head,
    tile_ends,
    wide,
)
from allocentric.sparse_attn.plan import Blocks, Extent, blocks_of_map


class Settings(config.Settings):
    """Sizes in tokens."""

    block: int = Field(default=64, ge=1)
    """Queries and keys of a block."""
    gate_width: int = Field(default=128, ge=2, multiple_of=2)
    """G."""
    threshold: float = Field(default=4e-3, ge=0.0, le=1.0)
    """Least value in the gate's map of a block that is seen (published: 5e-4 to 5e-3). Not used with `top_k`."""
    top_k: int | None = Field(default=None, ge=1)
    """Blocks that a query block sees, its own included."""
    rope_theta: float = Field(default=10_000.0, gt=1.0)
    """Base of the gate's rotary embedding."""


EXAMPLE = Settings(block=8, gate_width=8, top_k=3)
EXHAUSTIVE = Settings(block=8, gate_width=8, threshold=0.0)


class Seer(Selector):
    """Block choice per query block and head."""

    name = "seer"
    causal = True
    bidirectional = False
    streams = False
    """A query block's choice is made by the mean of its queries, later ones included."""
    trainable = True

    def __init__(self, settings: Settings, dims: Dims) -> None:
        super().__init__()
        self.settings = settings
        self.q_weight_HDG = nn.Parameter(torch.empty(dims.heads, dims.head_dim, settings.gate_width))
        self.k_weight_KEG = nn.Parameter(torch.empty(dims.kv_heads, 3 * dims.head_dim, settings.gate_width))
        for weight in (self.q_weight_HDG, self.k_weight_KEG):
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5)

    def plan(self, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, call: Call) -> Blocks:  # noqa: ARG002
        """Blocks by the gate."""
        with torch.no_grad():
            gate_BHQN = self.gate(q_BHLD, k_BKSD, call.extent).exp()
            _, own = past_and_own_blocks(call.extent, self.settings.block, self.settings.block)
            if self.settings.top_k is None:
                chosen = (gate_BHQN >= self.settings.threshold) | own
            else:
                ranked = gate_BHQN.masked_fill(own, float("inf"))
                index = ranked.topk(min(self.settings.top_k, ranked.shape[-1]), dim=-1).indices
                chosen = torch.zeros_like(ranked, dtype=torch.bool).scatter(-1, index, True) | own
        return blocks_of_map(call.extent, chosen, q_block=self.settings.block, k_block=self.settings.block)

    def gate(self, q_BHLD: Tensor, k_BKSD: Tensor, extent: Extent) -> Tensor:
        """(B, H, Q, N): logarithm of the gate's map, -inf at blocks after a query block."""
        block = self.settings.block
        q, k = wide(q_BHLD), wide(k_BKSD)
        pooled_BKNE = torch.cat([block_max(k, block), -block_max(-k, block), block_mean(k, block)], dim=-1)
        q_BHQG = block_mean(q, block) @ self.q_weight_HDG.to(q.dtype)
        k_BKNG = pooled_BKNE @ self.k_weight_KEG.to(k.dtype)
        first_Q, last_Q = tile_ends(extent, block)
        begin_N = torch.arange(k_BKNG.shape[2], device=extent.device) * block
        q_BHQG, k_BKNG = self._rotated(q_BHQG, first_Q), self._rotated(k_BKNG, begin_N)
        score_BHQN = q_BHQG @ per_query_head(k_BKNG, extent.heads).transpose(-1, -2) * self.settings.gate_width**-0.5
        log_map: Tensor = score_BHQN.masked_fill(begin_N > last_Q[:, None], float("-inf")).log_softmax(-1)
        return log_map

    def distillation_loss(self, q_BHLD: Tensor, k_BKSD: Tensor, call: Call) -> Tensor:
        """Mean over query blocks of KL(true map || gate's map), in nats; its gradient reaches the gate alone."""
        with torch.no_grad():
            true_BHQN = pooled_attention(q_BHLD, k_BKSD, call, self.settings.block)
            true_BHQN = true_BHQN / true_BHQN.sum(-1, keepdim=True)
        log_gate = self.gate(q_BHLD.detach(), k_BKSD.detach(), call.extent)
        term = torch.special.xlogy(true_BHQN, true_BHQN) - true_BHQN * log_gate.masked_fill(true_BHQN == 0, 0.0)
        loss: Tensor = term.sum(-1).mean()
        return loss

    def _rotated(self, t_BHNG: Tensor, position_N: Tensor) -> Tensor:
        """Rotary embedding, halves paired."""
        half = t_BHNG.shape[-1] // 2
        power = torch.arange(half, device=t_BHNG.device, dtype=t_BHNG.dtype) / half
        angle_Ng = position_N[:, None] * self.settings.rope_theta**-power
        first, second = t_BHNG[..., :half], t_BHNG[..., half:]
        cos, sin = angle_Ng.cos(), angle_Ng.sin()
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


@torch.no_grad()
def pooled_attention(q_BHLD: Tensor, k_BKSD: Tensor, call: Call, block: int) -> Tensor:
    """(B, H, Q, N): the greatest attention weight in every block of the dense causal map, found a tile at a time."""
    extent = call.extent
    q, k = wide(q_BHLD), per_query_head(wide(k_BKSD), extent.heads)
    place = torch.arange(extent.kv_len, device=extent.device)
    rows = []
    for start in range(0, extent.q_len, block):
        part = q[:, :, start : start + block]
        position = torch.arange(start, start + part.shape[2], device=extent.device) + extent.q_offset
        scores = (part @ k.transpose(-1, -2) * call.scale).masked_fill(place > position[:, None], float("-inf"))
        greatest = scores.softmax(-1).amax(2)
        rows.append(pad(greatest, (0, -extent.kv_len % block)).unflatten(-1, (-1, block)).amax(-1))
    return torch.stack(rows, dim=2)


def build(settings: Settings, dims: Dims) -> Seer:
    """The method for one layer."""
    return Seer(settings, dims)
