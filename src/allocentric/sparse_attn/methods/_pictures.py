"""What methods on picture grids share: an order of tokens in which pictures are whole blocks, and lists of runs.

Picture tokens come first and text last, as in the published video models: text between frames (timestamps) then
neither shifts the blocks of pictures nor spreads over all blocks. Text is seen by everybody and sees everything.

Shapes: B batch, L queries, S keys, Q query blocks, N key blocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.plan import Blocks, Extent, Rule, block_count, blocks_of_map


@dataclass(frozen=True, kw_only=True)
class Order:
    """A permutation of the keys and, the same way, of the queries, which are the last keys."""

    key_BS: Tensor
    """int64: place -> key position."""
    place_BS: Tensor
    """int64: key position -> place."""
    query_BL: Tensor
    """int64: place among the queries -> query of the call."""
    query_place_BL: Tensor
    """int64: query of the call -> place among the queries."""
    text_BS: Tensor
    """bool: text, by key position."""


@dataclass(frozen=True, kw_only=True)
class Raster:
    """Size of the picture around every token, and the token's index in it; 0 for text."""

    size_BS3: Tensor
    """int64: frames, rows, columns of the token's clip."""
    at_BS3: Tensor
    """int64: the token's frame, row, column in its clip."""

    @property
    def frame_index(self) -> Tensor:
        """(B, S) int64: index of the token in its frame."""
        return self.at_BS3[..., 1] * self.size_BS3[..., 2] + self.at_BS3[..., 2]

    @property
    def frame_size(self) -> Tensor:
        """(B, S) int64: tokens of the token's frame."""
        return self.size_BS3[..., 1] * self.size_BS3[..., 2]


def raster_of(geometry: Geometry) -> Raster:
    """Sizes and indices of all tokens. Sizes are those of the grids, whether or not all tokens have come yet."""
    text = geometry.clip_BL < 0
    sizes = torch.zeros(geometry.batch, max(1, *(len(row) for row in geometry.clips)), 3, dtype=torch.int64)
    for row, clips in enumerate(geometry.clips):
        if clips:
            sizes[row, : len(clips)] = torch.tensor(clips)
    index = geometry.clip_BL.clamp(min=0).long()
    size = torch.gather(sizes.to(index.device), 1, index[..., None].expand(-1, -1, 3))
    at = torch.stack([geometry.t_BL, geometry.y_BL, geometry.x_BL], dim=-1).long()
    return Raster(size_BS3=size.masked_fill(text[..., None], 0), at_BS3=at.masked_fill(text[..., None], 0))


def pictures_first(geometry: Geometry, extent: Extent, group_BS: Tensor | None = None) -> Order:
    """Picture tokens, then text; within both, the order of the stream.

    Args:
        geometry: Of the keys.
        extent: Of the call.
        group_BS: int64: picture tokens are sorted by it first.
    """
    text = geometry.clip_BL < 0
    group = torch.zeros_like(text, dtype=torch.int64) if group_BS is None else group_BS
    key = torch.argsort(group.masked_fill(text, torch.iinfo(torch.int64).max), dim=1, stable=True)
    query = key[key >= extent.q_offset].view(geometry.batch, extent.q_len) - extent.q_offset
    return Order(
        key_BS=key,
        place_BS=torch.argsort(key, dim=1),
        query_BL=query,
        query_place_BL=torch.argsort(query, dim=1),
        text_BS=text,
    )


def blocks_of_runs(
    extent: Extent, order: Order, runs: Iterable[tuple[Tensor, Tensor]], *, block: int, rule: Rule
) -> Blocks:
    """Lists of the blocks that hold text or a run of keys that some query of a block may see.

    Args:
        extent: Of the call.
        order: Of tokens.
        runs: (first_BL, last_BL) int64: places of the keys at the ends of a run for every query of the call; runs
            that are not there have last < first.
        block: Queries and keys in a block.
        rule: Which pairs of the listed blocks count; holds for text as for pictures.
    """
    batch, n_q, n_k = order.key_BS.shape[0], block_count(extent.q_len, block), block_count(extent.kv_len, block)
    row = (order.query_place_BL // block + torch.arange(batch, device=order.key_BS.device)[:, None] * n_q) * (n_k + 1)
    # +1 where a run begins and -1 behind its end: the running sum is positive inside runs.
    edges = torch.zeros(batch * n_q * (n_k + 1), dtype=torch.int32, device=row.device)
    for first_BL, last_BL in runs:
        there = ((last_BL >= first_BL) & (first_BL < extent.kv_len) & (last_BL >= 0)).to(torch.int32).flatten()
        begin = first_BL.clamp(0, extent.kv_len - 1) // block
        end = last_BL.clamp(0, extent.kv_len - 1) // block + 1
        edges.index_add_(0, (row + begin).flatten(), there)
        edges.index_add_(0, (row + end).flatten(), -there)
    chosen_BQN = edges.view(batch, n_q, n_k + 1).cumsum(-1)[..., :n_k] > 0
    return blocks_with_text(extent, order, chosen_BQN, block=block, rule=rule)


def blocks_with_text(extent: Extent, order: Order, chosen_BQN: Tensor, *, block: int, rule: Rule) -> Blocks:
    """Lists of the chosen blocks and of blocks that hold text; blocks that hold a text query list all."""
    text_N = _blocks_with(torch.gather(order.text_BS, 1, order.key_BS), block)
    text_Q = _blocks_with(torch.gather(order.text_BS[:, extent.q_offset :], 1, order.query_BL), block)
    chosen = chosen_BQN | text_N[:, None] | text_Q[..., None]
    return blocks_of_map(
        extent,
        chosen[:, None],
        q_block=block,
        k_block=block,
        rule=rule,
        q_order_BHL=order.query_BL[:, None],
        k_order_BHS=order.key_BS[:, None],
    )


def _blocks_with(flag_BL: Tensor, block: int) -> Tensor:
    """(B, blocks) bool: blocks that hold a flagged token."""
    padded = torch.nn.functional.pad(flag_BL, (0, -flag_BL.shape[1] % block))
    return padded.view(flag_BL.shape[0], -1, block).any(-1)
