"""Landmark attention: the last token of every block stands for it, and what a block gets is what its landmark gets.

arXiv 2305.16300, section 3.1. A landmark follows every `block` tokens (the tokeniser puts it there). A query's
softmax runs over the tokens of its own block and the landmarks of the blocks before; what such a landmark gets is
shared among its block's tokens by a softmax of their own. Landmarks themselves pass nothing on. With `top_k`, as at
inference, only the blocks with the best landmarks take part, chosen per query and head.

Both softmaxes are one when a token j of a past block gets the score s_j - logsumexp(its block's scores) + its
landmark's score, which is the change of scores of the plan. Positions are those of the model: the "stingy" positions
of the paper's inference are the model's business. There is no dense limit: landmarks are never seen, and the softmax
is grouped, whatever the settings.

Shapes: B batch, H query heads, L queries, S keys, D head width, N blocks, Q query blocks.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from allocentric.core import config
from allocentric.sparse_attn.contract import Call, Dims, Selector
from allocentric.sparse_attn.methods._pooling import per_query_head
from allocentric.sparse_attn.plan import Blocks, Rule, ScoreChange, block_count, blocks_of_map


class Settings(config.Settings):
    """Sizes in tokens; the published setting."""

    block: int = Field(default=50, ge=1)
    """Tokens between two landmarks."""
    top_k: int | None = Field(default=None, ge=1)
    """Past blocks that a query sees; None: all, as in training (published at inference: 4)."""
    q_block: int = Field(default=64, ge=1)
    """Queries that are computed together. Changes speed only."""


EXAMPLE = Settings(block=7, top_k=3, q_block=8)
EXHAUSTIVE = None


class Landmark(Selector):
    """Block choice per query and head; the model has to be trained with landmarks in its sequences."""

    name = "landmark"
    causal = True
    bidirectional = False
    streams = True

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.stride = settings.block + 1

    def plan(self, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, call: Call) -> Blocks:  # noqa: ARG002
        """Chosen past blocks and the own one, without landmarks."""
        extent, stride = call.extent, self.stride
        k_BHSD = per_query_head(k_BKSD, extent.heads)
        # Only blocks wholly before a query are gated, and these have their landmark.
        gate_BHLN = q_BHLD @ k_BHSD[:, :, stride - 1 :: stride].transpose(-1, -2) * call.scale
        gate_BHLN = pad(gate_BHLN, (0, block_count(extent.kv_len, stride) - gate_BHLN.shape[3]))
        own_L = (torch.arange(extent.q_len, device=extent.device) + extent.q_offset) // stride
        chosen_BHLN = self._chosen(gate_BHLN.detach(), own_L)
        padded = pad(chosen_BHLN, (0, 0, 0, -extent.q_len % self.settings.q_block))
        union_BHQN = padded.unflatten(2, (-1, self.settings.q_block)).any(3)
        share_BHLN = gate_BHLN - self._block_sums(q_BHLD, k_BHSD, union_BHQN, call)
        return blocks_of_map(
            extent,
            union_BHQN,
            q_block=self.settings.q_block,
            k_block=stride,
            rule=_rule(chosen_BHLN, extent.q_offset, stride),
            score=_score(share_BHLN, extent.q_offset, stride),
        )

    def _chosen(self, gate_BHLN: Tensor, own_L: Tensor) -> Tensor:
        """(B, H, L, N) bool: blocks that every query sees, its own included."""
        place = torch.arange(gate_BHLN.shape[3], device=gate_BHLN.device)
        past, own = (place < own_L[:, None]).expand_as(gate_BHLN), place == own_L[:, None]
        if self.settings.top_k is None:
            return past | own
        ranked = gate_BHLN.masked_fill(~past, float("-inf"))
        best, index = ranked.topk(min(self.settings.top_k, len(place)), dim=-1)
        return torch.zeros_like(past).scatter(-1, index, best > float("-inf")) | own

    def _block_sums(self, q_BHLD: Tensor, k_BHSD: Tensor, union_BHQN: Tensor, call: Call) -> Tensor:
        """(B, H, L, N) logsumexp of a query's scores over the tokens of a block.

        0 where a query block doesn't see the block, and for the last block if that is not complete.
        """
        stride, tile = self.stride, self.settings.q_block
        whole = call.extent.kv_len // stride
        tokens_BHNjD = k_BHSD[:, :, : whole * stride].unflatten(2, (whole, stride))[:, :, :, :-1]
        rows = []
        for number, start in enumerate(range(0, call.extent.q_len, tile)):
            q = q_BHLD[:, :, start : start + tile]
            sums = q.new_zeros(*q.shape[:3], union_BHQN.shape[3])
            seen = torch.nonzero(union_BHQN[:, :, number, :whole].flatten(0, 1).any(0)).flatten()
            if len(seen):
                scores = torch.einsum("bhid,bhnjd->bhinj", q, tokens_BHNjD[:, :, seen]) * call.scale
                sums = sums.index_copy(3, seen, scores.logsumexp(-1))
            rows.append(sums)
        return torch.cat(rows, 2)


def _rule(chosen_BHLN: Tensor, q_offset: int, stride: int) -> Rule:
    return lambda b, h, q, k: chosen_BHLN[b, h, q - q_offset, k // stride] & (k % stride != stride - 1)


def _score(share_BHLN: Tensor, q_offset: int, stride: int) -> ScoreChange:
    def change(score: Tensor, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        share = share_BHLN[b, h, q - q_offset, k // stride].to(score.dtype)
        return score + torch.where(k // stride < q // stride, share, 0.0)

    return change


def build(settings: Settings, dims: Dims) -> Landmark:  # noqa: ARG001
    """The method for one layer."""
    return Landmark(settings)
