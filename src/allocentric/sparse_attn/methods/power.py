"""PowerAttention: the nearest blocks, and those at distances that are powers of two.

PowerAttention, arXiv 2503.03588, section 3.3. A token sees its own block and those 1, 2, 4, 8 ... blocks before it, so
that any distance is reached in as many layers as it has ones in binary, and d layers reach everything within 2^d - 1
blocks; beside these a window and the first blocks as sinks. Distances are counted in blocks (block = 1: in tokens).
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from allocentric.core import config
from allocentric.sparse_attn.contract import Call, Dims, Selector
from allocentric.sparse_attn.plan import Blocks, Extent, Rule, block_count, blocks_of_map


class Settings(config.Settings):
    """Sizes in blocks of tokens; the published ones."""

    block: int = Field(default=256, ge=1)
    """Tokens in a block; blocks start at the first token."""
    window: int = Field(default=5, ge=1)
    """Nearest blocks that a query sees, its own included."""
    sinks: int = Field(default=1, ge=0)
    """Blocks at the start that every query sees."""


EXAMPLE = Settings(block=4, window=1, sinks=1)
EXHAUSTIVE = Settings(block=16, window=1 << 20, sinks=0)


class PowerAttention(Selector):
    """The same blocks for every head."""

    name = "power"
    causal = True
    bidirectional = False
    streams = True

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings

    def plan(self, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, call: Call) -> Blocks:  # noqa: ARG002
        """The blocks that some query of a block sees; where chunks aren't whole blocks, a query block spans two."""
        extent, settings = call.extent, self.settings
        first, last = query_blocks(extent, settings.block)
        key = torch.arange(block_count(extent.kv_len, settings.block), device=extent.device)
        of_first, of_last = (_seen(block[:, None], key, settings) for block in (first, last))
        return blocks_of_map(
            extent,
            (of_first | of_last)[None, None],
            q_block=settings.block,
            k_block=settings.block,
            rule=_rule(settings),
            full_BHQN=(of_first & of_last & (key < first[:, None]))[None, None],
        )


def query_blocks(extent: Extent, block: int) -> tuple[Tensor, Tensor]:
    """(Q,) blocks of the sequence that the first and the last query of every query block of the call lie in."""
    start = torch.arange(0, extent.q_len, block, device=extent.device)
    last = (start + block - 1).clamp(max=extent.q_len - 1)
    return (start + extent.q_offset) // block, (last + extent.q_offset) // block


def _seen(q_block: Tensor, k_block: Tensor, settings: Settings) -> Tensor:
    distance = q_block - k_block
    power = (distance > 0) & (distance & (distance - 1) == 0)
    near = (distance >= 0) & (distance < settings.window)
    return near | power | (k_block < settings.sinks)


def _rule(settings: Settings) -> Rule:
    def rule(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:  # noqa: ARG001
        return _seen(q // settings.block, k // settings.block, settings)

    return rule


def build(settings: Settings, dims: Dims) -> PowerAttention:  # noqa: ARG001
    """The method for one layer."""
    return PowerAttention(settings)
