"""Dynamic mask attention: values say how much each key counts, and every query sees the keys that count most.

arXiv 2508.02124, with the bias of transformers' Doge layer: bias_j = exp(A softplus(W v_j)), one per key and key-value
head, whatever the query. Of the keys up to its own position a query sees the `window` with the greatest bias, and the
bias is added to their scores, which is how A and W are trained.

Shapes: B batch, H query heads, K key-value heads, L queries, S keys, D head width, W window, Q query blocks.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus

from allocentric.core import config
from allocentric.sparse_attn.contract import Call, Dims, Selector
from allocentric.sparse_attn.plan import Blocks, Extent, Rule, ScoreChange


class Settings(config.Settings):
    """The published setting."""

    window: int = Field(default=2048, ge=1)
    """Keys that a query sees."""
    q_block: int = Field(default=64, ge=1)
    """Queries that are computed together. Changes speed only."""


EXAMPLE = Settings(window=12, q_block=8)
EXHAUSTIVE = Settings(window=1 << 20)


class DMA(Selector):
    """Keys by their own weight, per key-value head."""

    name = "dma"
    causal = True
    bidirectional = False
    streams = True
    trainable = True

    def __init__(self, settings: Settings, dims: Dims) -> None:
        super().__init__()
        self.settings = settings
        self.a_K = nn.Parameter(torch.zeros(dims.kv_heads))
        self.weight = nn.Linear(dims.kv_heads * dims.head_dim, dims.kv_heads, bias=False)

    def bias(self, v_BKSD: Tensor) -> Tensor:
        """(B, K, S), differentiable in A, W and the values."""
        gate_BSK = self.weight(v_BKSD.transpose(1, 2).flatten(2).to(self.weight.weight.dtype))
        return torch.exp(self.a_K * softplus(gate_BSK)).transpose(1, 2)

    def plan(self, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, call: Call) -> Blocks:  # noqa: ARG002
        """Every query block lists the heaviest keys before it and its own stretch; the rule picks among them."""
        bias_BKS = self.bias(v_BKSD)
        # Ranks break ties by position, the earlier key first: 0 is the heaviest key of all.
        order_BKS = torch.argsort(bias_BKS.detach(), dim=-1, descending=True, stable=True)
        rank_BKS = torch.argsort(order_BKS, dim=-1)
        index_BKQN, limit_BKL = self._lists(rank_BKS, call.extent)
        groups = call.extent.heads // v_BKSD.shape[1]
        index_BHQN = index_BKQN.repeat_interleave(groups, dim=1)
        return Blocks(
            extent=call.extent,
            rule=_rule(rank_BKS, limit_BKL, call.extent.q_offset, groups),
            score=_score(bias_BKS, groups),
            q_block=self.settings.q_block,
            k_block=1,
            num_BHQ=(index_BHQN >= 0).sum(-1, dtype=torch.int32),
            index_BHQN=index_BHQN.to(torch.int32),
        )

    def _lists(self, rank_BKS: Tensor, extent: Extent) -> tuple[Tensor, Tensor]:
        """Keys of every query block, -1 at the end of short lists, and the greatest rank that every query sees."""
        window, tile = self.settings.window, self.settings.q_block
        nobody = extent.kv_len
        best_BKW = rank_BKS[..., : extent.q_offset].sort(dim=-1).values[..., :window]
        position_BKS = torch.argsort(rank_BKS, dim=-1)
        listed, limits = [], []
        for start in range(0, extent.q_len, tile):
            stop = min(start + tile, extent.q_len)
            own = rank_BKS[..., extent.q_offset + start : extent.q_offset + stop]
            later = torch.ones(stop - start, stop - start, dtype=torch.bool, device=own.device).triu(1)
            own_BKij = own[:, :, None].expand(-1, -1, stop - start, -1).masked_fill(later, nobody)
            seen = torch.cat([best_BKW[:, :, None].expand(-1, -1, stop - start, -1), own_BKij], -1)
            limits.append(seen.kthvalue(min(window, seen.shape[-1]), dim=-1).values)
            keys = position_BKS.gather(-1, torch.cat([best_BKW, own], -1))
            listed.append(torch.nn.functional.pad(keys, (0, window + tile - keys.shape[-1]), value=-1))
            best_BKW = torch.cat([best_BKW, own], -1).sort(dim=-1).values[..., :window]
        widest = min(window + tile, extent.kv_len)
        return torch.stack(listed, 2)[..., :widest], torch.cat(limits, -1)


def _rule(rank_BKS: Tensor, limit_BKL: Tensor, q_offset: int, groups: int) -> Rule:
    return lambda b, h, q, k: rank_BKS[b, h // groups, k] <= limit_BKL[b, h // groups, q - q_offset]


def _score(bias_BKS: Tensor, groups: int) -> ScoreChange:
    return lambda score, b, h, q, k: score + bias_BKS[b, h // groups, k].to(score.dtype)  # noqa: ARG005


def build(settings: Settings, dims: Dims) -> DMA:
    """The method for one layer."""
    return DMA(settings, dims)
