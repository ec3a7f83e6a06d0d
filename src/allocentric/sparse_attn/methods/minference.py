"""MInference: every head has the sparse pattern that fits it, found once; lines and blocks are chosen for every call.

arXiv 2407.02490, microsoft/MInference@0647e2c. A-shape: first keys and a window. Vertical-slash: the softmax of the
last queries says which keys and which distances count. Block-sparse: blocks of keys whose mean agrees best with the
mean of a block of queries. `search` is the offline choice of patterns: the most attention kept at equal cost.

Shapes: B batch, H query heads, L queries, S keys, D head width, Q query blocks, N key blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal, TypeAlias

import torch
from pydantic import Field
from torch import Tensor

from allocentric.core import config
from allocentric.core.errors import SettingsError
from allocentric.sparse_attn.contract import Call, Dims, Selector
from allocentric.sparse_attn.methods._heads import heads_of_layer
from allocentric.sparse_attn.methods._lines import attention_of, heaviest_columns, heaviest_distances, stretches
from allocentric.sparse_attn.methods._pooling import (
    block_mean,
    past_and_own_blocks,
    per_query_head,
    tile_ends,
    wide,
)
from allocentric.sparse_attn.plan import Band, Extent, Plan, Rule, block_count, blocks_of_map


class AShape(config.Settings):
    """The first keys and the nearest ones."""

    kind: Literal["a_shape"] = "a_shape"
    """Of this pattern."""
    sinks: int = Field(default=128, ge=0)
    """Keys at the start."""
    window: int = Field(default=4096, ge=1)
    """Nearest keys, the query's own included."""


class VerticalSlash(config.Settings):
    """Keys that everything looks at, and distances that everything looks back."""

    kind: Literal["vertical_slash"] = "vertical_slash"
    """Of this pattern."""
    vertical: int = Field(default=1000, ge=1)
    """Keys."""
    slash: int = Field(default=6096, ge=1)
    """Distances."""
    first: int = Field(default=30, ge=0)
    """Keys at the start that are always among them."""
    near: int = Field(default=100, ge=1)
    """Distances 0, 1, ... that are always among them."""


class BlockSparse(config.Settings):
    """Blocks of keys by the means of blocks."""

    kind: Literal["block_sparse"] = "block_sparse"
    """Of this pattern."""
    blocks: int = Field(default=100, ge=1)
    """Key blocks that a query block sees."""


Pattern: TypeAlias = Annotated[AShape | VerticalSlash | BlockSparse, Field(discriminator="kind")]


class Settings(config.Settings):
    """Patterns and sizes in tokens."""

    heads: tuple[Pattern, ...] = Field(default=(VerticalSlash(),), min_length=1)
    """One pattern for all heads, or one per head, or one per head of every layer, layer by layer."""
    block: int = Field(default=64, ge=1)
    """Queries and keys of a block."""
    last_q: int = Field(default=64, ge=1)
    """Last queries that lines are estimated from."""


EXAMPLE = Settings(
    heads=(
        AShape(sinks=3, window=10),
        VerticalSlash(vertical=6, slash=5, first=2, near=2),
        VerticalSlash(vertical=3, slash=9, first=1, near=3),
        BlockSparse(blocks=3),
    ),
    block=8,
    last_q=16,
)
EXHAUSTIVE = Settings(heads=(VerticalSlash(vertical=1 << 20, slash=1 << 20),), block=16)


class MInference(Selector):
    """A pattern per head."""

    name = "minference"
    causal = True
    bidirectional = False
    streams: bool
    """A-shapes alone do: lines are chosen by the last queries of a call for all of them, blocks by the mean of a block
    of queries."""

    def __init__(self, settings: Settings, dims: Dims) -> None:
        super().__init__()
        self.settings = settings
        self.heads = heads_of_layer(self.name, settings.heads, dims)
        self.streams = all(isinstance(pattern, AShape) for pattern in self.heads)

    def plan(self, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, call: Call) -> Plan:  # noqa: ARG002
        """A band or block lists where all heads allow it, lists of single keys otherwise."""
        extent, block = call.extent, self.settings.block
        kinds = set(self.heads)
        only = next(iter(kinds)) if len(kinds) == 1 else None
        if isinstance(only, AShape):
            return Band(extent=extent, window=only.window, sinks=only.sinks)
        k_BHSD = per_query_head(k_BKSD, extent.heads)
        blocks_do = all(isinstance(pattern, BlockSparse) for pattern in kinds)
        parts: dict[int, Tensor] = {}
        for pattern in dict.fromkeys(self.heads):
            heads = [head for head, theirs in enumerate(self.heads) if theirs == pattern]
            q, k = q_BHLD[:, heads], k_BHSD[:, heads]
            if blocks_do and isinstance(pattern, BlockSparse):
                chosen = self._blocks(pattern, q, k, extent)
            else:
                chosen = self._keys(pattern, q, k, call)
            parts.update({head: chosen[:, place] for place, head in enumerate(heads)})
        together = torch.stack([parts[head] for head in range(len(self.heads))], dim=1)
        if blocks_do:
            return blocks_of_map(extent, together, q_block=block, k_block=block)
        return blocks_of_map(extent, together, q_block=block, k_block=1, rule=self._rule(extent.device))

    @torch.no_grad()
    def _keys(self, pattern: Pattern, q_BHLD: Tensor, k_BHSD: Tensor, call: Call) -> Tensor:
        """(B, H, Q, S) bool: keys that every query block sees, later ones included."""
        extent, block = call.extent, self.settings.block
        first_Q, last_Q = tile_ends(extent, block)
        place = torch.arange(extent.kv_len, device=extent.device)
        if isinstance(pattern, AShape):
            near = (place > first_Q[:, None] - pattern.window) | (place < pattern.sinks)
            return near.expand(*q_BHLD.shape[:2], -1, -1)
        if isinstance(pattern, BlockSparse):
            blocks = self._blocks(pattern, q_BHLD, k_BHSD, extent)
            return blocks.repeat_interleave(block, dim=3)[..., : extent.kv_len]
        count = min(self.settings.last_q, extent.q_len)
        rank_M = place[extent.kv_len - count :]
        attention = attention_of(q_BHLD[:, :, -count:], k_BHSD, rank_M, extent, call.scale)
        columns = heaviest_columns(attention, pattern.vertical, pattern.first)
        distances = heaviest_distances(attention, rank_M, pattern.slash, pattern.near)
        return columns[:, :, None] | stretches(distances, first_Q, last_Q, extent.kv_len)

    @torch.no_grad()
    def _blocks(self, pattern: BlockSparse, q_BHLD: Tensor, k_BHSD: Tensor, extent: Extent) -> Tensor:
        """(B, H, Q, N) bool: the best blocks that begin at or before a tile's first query.

        Where tiles don't begin at a block, because a call continues a stream, blocks that begin inside one are added.
        """
        block = self.settings.block
        past, own = past_and_own_blocks(extent, block, block)
        means = wide(q_BHLD), wide(k_BHSD)
        score = block_mean(means[0], block) @ block_mean(means[1], block).transpose(-1, -2)
        score = score.masked_fill(~past, float("-inf"))
        best, index = score.topk(min(pattern.blocks, score.shape[-1]), dim=-1)
        return torch.zeros_like(score, dtype=torch.bool).scatter(-1, index, best > float("-inf")) | (own & ~past)

    def _rule(self, device: torch.device) -> Rule | None:
        """Windows end at single keys, not at blocks; None where no head has one."""
        if not any(isinstance(pattern, AShape) for pattern in self.heads):
            return None
        far = 1 << 62
        sinks_H = torch.tensor([p.sinks if isinstance(p, AShape) else far for p in self.heads], device=device)
        window_H = torch.tensor([p.window if isinstance(p, AShape) else far for p in self.heads], device=device)
        return lambda b, h, q, k: (k < sinks_H[h]) | (q - k < window_H[h])  # noqa: ARG005


# ----------------------------------------------------------------------------------------------------- offline search


@dataclass(frozen=True, kw_only=True)
class Found:
    """The best pattern of a head."""

    pattern: Pattern
    """Its sizes fill the budget."""
    recall: float
    """Mean share of a query's attention that it keeps, in [0, 1]."""
    density: float
    """Share of the pairs that it keeps."""


def search(
    q_BHLD: Tensor,
    k_BKSD: Tensor,
    *,
    scale: float,
    budget: float,
    block: int = 64,
    last_q: int = 64,
    skip: int = 0,
) -> tuple[Found, ...]:
    """Which pattern keeps the most attention of every head at equal cost.

    Every candidate is made as large as the budget allows; the published search compares fixed sizes of about equal
    cost instead. Attention is spelled out, so samples of a few thousand tokens are what this is for.

    Args:
        q_BHLD: Queries of a sample.
        k_BKSD: Keys of the sample, as long.
        scale: Factor of the scores.
        budget: Greatest density.
        block: Of the settings that the patterns are for.
        last_q: Of the same.
        skip: Queries at the start that don't count, because nearly everything is kept there (published: 2500).

    Returns:
        One per head.
    """
    batch, heads, length, head_dim = q_BHLD.shape
    kv_heads = k_BKSD.shape[1]
    extent = Extent(batch=batch, heads=heads, q_len=length, kv_len=length, causal=True, device=q_BHLD.device)
    call = Call(extent=extent, scale=scale)
    dims = Dims(width=heads * head_dim, heads=heads, kv_heads=kv_heads, head_dim=head_dim)
    position = torch.arange(length, device=q_BHLD.device)
    attention = attention_of(q_BHLD, per_query_head(k_BKSD, heads), position, extent, scale)

    def measure(pattern: Pattern) -> tuple[list[float], list[float]]:
        """Recall and density of every head."""
        method = MInference(Settings(heads=(pattern,), block=block, last_q=last_q), dims)
        kept = method.plan(q_BHLD, k_BKSD, k_BKSD, call).dense_mask()
        recall = (attention * kept)[:, :, skip:].sum(-1).mean((0, 2))
        density = kept.sum((0, 2, 3)) / (batch * extent.pairs)
        return recall.tolist(), density.tolist()

    best: list[Found | None] = [None] * heads
    for family, greatest in _families(length, block):
        for head, found in enumerate(_filled(family, greatest, measure, budget, heads)):
            now = best[head]
            if found is not None and (now is None or found.recall > now.recall):
                best[head] = found
    if any(found is None for found in best):
        raise SettingsError(f"minference: no pattern keeps as little as a share of {budget} of {length} tokens")
    return tuple(found for found in best if found is not None)


def _families(length: int, block: int) -> Iterator[tuple[Callable[[int], Pattern], int]]:
    """Patterns that grow with one number, and the greatest number that makes sense."""
    sinks, near = max(1, length // 128), max(1, length // 64)

    def a_shape(size: int) -> Pattern:
        return AShape(sinks=sinks, window=size)

    def lines(size: int, *, vertical: int, slash: int) -> Pattern:
        columns, distances = max(1, size * vertical // 8), max(1, size * slash // 8)
        return VerticalSlash(vertical=columns, slash=distances, first=sinks, near=near)

    def blocks(size: int) -> Pattern:
        return BlockSparse(blocks=size)

    yield a_shape, length
    for vertical, slash in ((1, 8), (1, 1), (8, 1)):
        yield partial(lines, vertical=vertical, slash=slash), 8 * length
    yield blocks, block_count(length, block)


def _filled(
    family: Callable[[int], Pattern],
    greatest: int,
    measure: Callable[[Pattern], tuple[list[float], list[float]]],
    budget: float,
    heads: int,
) -> list[Found | None]:
    """The largest member of a family within the budget, per head, by bisection; None where none is small enough."""
    found: list[Found | None] = [None] * heads
    low, high = [1] * heads, [greatest] * heads
    while any(a <= b for a, b in zip(low, high, strict=True)):
        sizes = [(a + b) // 2 for a, b in zip(low, high, strict=True)]
        measured = {size: measure(family(size)) for size in set(sizes)}
        for head, size in enumerate(sizes):
            if low[head] > high[head]:
                continue
            recall, density = (values[head] for values in measured[size])
            if density <= budget:
                found[head] = Found(pattern=family(size), recall=recall, density=density)
                low[head] = size + 1
            else:
                high[head] = size - 1
    return found


def build(settings: Settings, dims: Dims) -> MInference:
    """The method for one layer."""
    return MInference(settings, dims)
