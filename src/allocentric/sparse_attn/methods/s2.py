"""S2-Attention: the context is sharded over heads; every head sees near blocks and its own share of the far ones.

Sparsely-Sharded Attention, arXiv 2407.17678; the rule follows `get_sparse_attn_mask` of linxihui/dkernel@44c51bd. Head
h sees the nearest blocks and every stride-th block, at a phase of its own: block j where (j + h) mod stride = 0.
Together the heads see everything, which is why fewer phases than the stride are refused here. Query heads of one
key-value head share their phase, as published, or have one each.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from allocentric.core import config
from allocentric.sparse_attn.contract import Call, Dims, Selector
from allocentric.sparse_attn.errors import AttentionError
from allocentric.sparse_attn.methods.power import query_blocks
from allocentric.sparse_attn.plan import Blocks, Rule, block_count, blocks_of_map


class Settings(config.Settings):
    """Sizes in blocks of tokens; the published ones."""

    block: int = Field(default=64, ge=1)
    """Tokens in a block; blocks start at the first token."""
    local_blocks: int = Field(default=4, ge=1)
    """Nearest blocks that a query sees, its own included."""
    stride: int = Field(default=4, ge=1)
    """Of the far blocks one in so many."""
    offset: int = Field(default=0, ge=0)
    """Added to every phase; another one per layer moves the shares."""
    phase: Literal["kv_head", "head"] = "kv_head"
    """Whether the query heads of a key-value head share a phase."""
    dense_heads: int = Field(default=0, ge=0)
    """The last so many key-value heads (with phase "head": query heads) see everything."""


EXAMPLE = Settings(block=4, local_blocks=2, stride=4, phase="head")
EXHAUSTIVE = Settings(block=16, local_blocks=1 << 20, stride=1)


class S2Attention(Selector):
    """A share of the blocks per head."""

    name = "s2"
    causal = True
    bidirectional = False
    streams = True

    def __init__(self, settings: Settings, dims: Dims) -> None:
        super().__init__()
        self.settings = settings
        self.group = dims.heads // dims.kv_heads if settings.phase == "kv_head" else 1
        self.phases = dims.heads // self.group
        if settings.dense_heads == 0 and settings.stride > self.phases:
            raise AttentionError(
                f"attention method 's2' leaves blocks that no head sees: stride {settings.stride} needs as many "
                f"phases and there are {self.phases} ({settings.phase}s); take a stride of at most {self.phases}"
                + (f", or phase: head for up to {dims.heads}" if settings.phase == "kv_head" else "")
            )

    def plan(self, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, call: Call) -> Blocks:  # noqa: ARG002
        """The blocks that some query of a block sees; where chunks aren't whole blocks, a query block spans two."""
        extent, settings = call.extent, self.settings
        first, last = query_blocks(extent, settings.block)
        key = torch.arange(block_count(extent.kv_len, settings.block), device=extent.device)
        head = torch.arange(extent.heads, device=extent.device)[:, None, None]
        of_first, of_last = (self._seen(head, block[:, None], key) for block in (first, last))
        return blocks_of_map(
            extent,
            (of_first | of_last)[None],
            q_block=settings.block,
            k_block=settings.block,
            rule=self._rule(),
            full_BHQN=(of_first & of_last & (key < first[:, None]))[None],
        )

    def _seen(self, head: Tensor, q_block: Tensor, k_block: Tensor) -> Tensor:
        settings = self.settings
        phase = head // self.group
        far = (k_block + phase + settings.offset) % settings.stride == 0
        return (q_block - k_block < settings.local_blocks) | far | (phase >= self.phases - settings.dense_heads)

    def _rule(self) -> Rule:
        block = self.settings.block

        def rule(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:  # noqa: ARG001
            return self._seen(h, q // block, k // block)

        return rule


def build(settings: Settings, dims: Dims) -> S2Attention:
    """The method for one layer."""
    return S2Attention(settings, dims)
