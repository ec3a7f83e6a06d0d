"""MoBA: every query sees its own block and the blocks whose mean key it likes best.

Mixture of Block Attention, arXiv 2502.13189; the rule follows the naive form of MoonshotAI/MoBA@61e456b: the score of
a past block is q . mean(keys of the block), the own block is always seen (causally) and counts as one of the top-k.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from allocentric.core import config
from allocentric.sparse_attn.contract import Call, Dims, Selector
from allocentric.sparse_attn.plan import BlockChoice, Blocks, block_count, blocks_of_map


class Settings(config.Settings):
    """Sizes in tokens; the published test setting."""

    block: int = Field(default=2048, ge=1)
    """Keys in a block; blocks start at the first token."""
    top_k: int = Field(default=3, ge=1)
    """Blocks that a query sees, its own included."""
    q_block: int = Field(default=128, ge=1)
    """Queries that are computed together. Changes speed only."""


EXAMPLE = Settings(block=16, top_k=2, q_block=8)
EXHAUSTIVE = Settings(block=64, top_k=1 << 20, q_block=32)


class MoBA(Selector):
    """Block choice per query and head."""

    name = "moba"
    causal = True
    bidirectional = False
    streams = True

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings

    def plan(self, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, call: Call) -> Blocks:  # noqa: ARG002
        """Scores of all past blocks, the best ones per query, and their union per block of queries."""
        chosen_BHLN = self.choose(q_BHLD, k_BKSD, call)
        block, q_block = self.settings.block, self.settings.q_block
        padded = torch.nn.functional.pad(chosen_BHLN, (0, 0, 0, -chosen_BHLN.shape[2] % q_block))
        union_BHQN = padded.unflatten(2, (-1, q_block)).any(3)
        return blocks_of_map(
            call.extent,
            union_BHQN,
            q_block=q_block,
            k_block=block,
            rule=BlockChoice(chosen_BHLN=chosen_BHLN, q_offset=call.extent.q_offset, block=block),
        )

    @torch.no_grad()
    def choose(self, q_BHLD: Tensor, k_BKSD: Tensor, call: Call) -> Tensor:
        """(B, H, L, N) bool: the key blocks that every query sees."""
        extent, block = call.extent, self.settings.block
        count = block_count(extent.kv_len, block)
        own = (torch.arange(extent.q_len, device=extent.device) + extent.q_offset) // block
        place = torch.arange(count, device=extent.device)
        groups = extent.heads // k_BKSD.shape[1]
        # Only blocks that lie wholly before a query are scored, and these are complete.
        whole = k_BKSD[:, :, : extent.kv_len // block * block].unflatten(2, (-1, block)).float().mean(3)
        gate = q_BHLD.float() @ whole.repeat_interleave(groups, dim=1).transpose(-1, -2)
        if count > whole.shape[2]:
            gate = torch.nn.functional.pad(gate, (0, count - whole.shape[2]))
        gate.masked_fill_(place >= own[:, None], float("-inf")).masked_fill_(place == own[:, None], float("inf"))
        best, index = gate.topk(min(self.settings.top_k, count), dim=-1)
        return torch.zeros_like(gate, dtype=torch.bool).scatter(-1, index, best > float("-inf"))


def build(settings: Settings, dims: Dims) -> MoBA:  # noqa: ARG001
    """The method for one layer."""
    return MoBA(settings)
