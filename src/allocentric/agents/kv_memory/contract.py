"""What a policy over keys and values is: a memory per layer, made of blocks.

A block holds the keys and values of one frame (or of the text before the frames) in one layer, keys as they are before
their rotary embedding. Where a block lies is decided when it is read: blocks that are read together lie side by side
and end where the new tokens begin, so nothing has to be turned when others are evicted. While all blocks are kept,
these are the very positions of the whole sequence.

Shapes: K key-value heads, H query heads, T tokens, D head width, 3 axes of M-RoPE (time, row, column).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, Self

import torch
from pydantic import Field
from torch import Tensor

from allocentric.core import config

BLOCK_BYTES = 256
"""Charged per block beside its tensors: shape, time, surprise and the Python objects that hold them."""


class Settings(config.Settings):
    """What every policy has."""

    budget_bytes: int = Field(default=256 * 2**20, ge=1)
    """Most bytes of keys, values and blocks' records over all layers, after each frame."""


class Layout(NamedTuple):
    """How a block's tokens lie: words, then a picture's tokens row by row, then words."""

    before: int = 0
    """Words before the picture."""
    rows: int = 0
    """Rows of the picture; 0: there is none."""
    columns: int = 0
    """Columns of the picture."""
    after: int = 0
    """Words after the picture."""

    @property
    def tokens(self) -> int:
        """T."""
        return self.before + self.rows * self.columns + self.after

    @property
    def extent(self) -> int:
        """Positions the block takes: a word one, a picture as many as its longer edge."""
        return self.before + max(self.rows, self.columns) + self.after

    def positions(self) -> Tensor:
        """(3, T) positions from 0, as M-RoPE gives them to words and pictures."""
        y, x = torch.meshgrid(torch.arange(self.rows), torch.arange(self.columns), indexing="ij")
        picture = torch.stack([torch.zeros_like(y).flatten(), y.flatten(), x.flatten()]) + self.before
        last = torch.arange(self.after) + self.before + max(self.rows, self.columns)
        return torch.cat([torch.arange(self.before).expand(3, -1), picture, last.expand(3, -1)], dim=1)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class KVBlock:
    """Keys and values of a frame in one layer. Implements `memory._blocks.StoredBlock`."""

    keys_KTD: Tensor
    """Before rotary embedding."""
    values_KTD: Tensor
    """Values."""
    layout: Layout
    """Of the T tokens."""
    surprise: float = 1.0
    """1 - mean cosine of predicted and seen patches; text counts as surprising."""
    times_s: tuple[float, ...] = ()
    """Times of its frames; none: text."""

    @property
    def tokens(self) -> int:
        """T."""
        return int(self.keys_KTD.shape[1])

    @property
    def nbytes(self) -> int:
        """Keys, values and record."""
        return sum(t.numel() * t.element_size() for t in (self.keys_KTD, self.values_KTD)) + BLOCK_BYTES

    def pooled(self) -> Self:
        """The mean of each 2x2 of the picture's tokens; an odd last row or column is left out, as published."""
        small = self.layout._replace(rows=self.layout.rows // 2, columns=self.layout.columns // 2)
        if not small.rows or not small.columns:
            return self
        keys, values = (self._pooled(tensor) for tensor in (self.keys_KTD, self.values_KTD))
        return replace(self, keys_KTD=keys, values_KTD=values, layout=small)

    def merged(self, later: Self) -> Self:
        """The mean of both."""
        return replace(
            self,
            keys_KTD=(self.keys_KTD + later.keys_KTD) / 2,
            values_KTD=(self.values_KTD + later.values_KTD) / 2,
            surprise=(self.surprise + later.surprise) / 2,
            times_s=self.times_s + later.times_s,
        )

    def _pooled(self, x_KTD: Tensor) -> Tensor:
        before, rows, columns, _ = self.layout
        heads, _, width = x_KTD.shape
        stop = before + rows * columns
        grid = x_KTD[:, before:stop].reshape(heads, rows, columns, width).permute(0, 3, 1, 2)
        small = torch.nn.functional.avg_pool2d(grid, kernel_size=2, stride=2).flatten(2).transpose(1, 2)
        return torch.cat([x_KTD[:, :before], small, x_KTD[:, stop:]], dim=1)


class LayerMemory(ABC):
    """What one layer keeps. The first block is the text before the frames, which is always kept and read."""

    limit_bytes: int = 0
    """This layer's share of the budget; set by `LayersMemory`."""
    system: KVBlock | None = None
    """The first block."""

    @property
    def first(self) -> list[KVBlock]:
        """The text before the frames."""
        return [] if self.system is None else [self.system]

    @abstractmethod
    def runtime(self) -> list[KVBlock]:
        """Frames that a new frame reads, in order of time."""

    @abstractmethod
    def blocks(self) -> list[KVBlock]:
        """All that is kept after the first block, in order of time."""

    @abstractmethod
    def add(self, block: KVBlock) -> None:
        """Take a new frame, and give up what the limit does not hold."""

    @abstractmethod
    def select(self, query_HTD: Tensor) -> list[KVBlock]:
        """Frames that a question reads, in order of time, by its queries before rotary embedding."""

    @abstractmethod
    def nbytes(self) -> dict[str, int]:
        """Bytes by component, without the first block's."""

    def said(self, block: KVBlock) -> None:  # noqa: B027 - for policies that keep what was said
        """Take a question with its answer."""


class LayersMemory:
    """A policy's layers."""

    def __init__(self, layers: Sequence[LayerMemory], budget_bytes: int) -> None:
        self.layers = tuple(layers)
        self.budget_bytes = budget_bytes
        self.reserve(0)

    def reserve(self, count: int) -> None:
        """Share what is left of the budget after `count` bytes, that are kept elsewhere, among the layers."""
        for layer in self.layers:  # none where the memory is not made of blocks
            layer.limit_bytes = max(0, self.budget_bytes - count) // len(self.layers)

    def nbytes(self) -> dict[str, int]:
        """Bytes by component over all layers."""
        total: dict[str, int] = {"system": 0}
        for layer in self.layers:
            total["system"] += sum(block.nbytes for block in layer.first)
            for name, count in layer.nbytes().items():
                total[name] = total.get(name, 0) + count
        return total


class KVModule(Protocol):
    """What a file in `agents/kv_memory/` defines. For readers and type checkers; nobody inherits it."""

    Settings: type[Settings]
    """Every setting with its default: the published ones where there are."""

    def build(self, settings: Any, layers: int) -> LayersMemory:
        """An empty memory of a model with that many layers. A file may name another `READER` than `Watcher`."""
        ...


def similarities(query_HTD: Tensor, blocks: Sequence[KVBlock], *, cosine: bool) -> Tensor:
    """(blocks,) mean query with mean key, heads side by side, key heads repeated for the query heads they serve."""
    query = query_HTD.float().mean(1).flatten()
    keys = torch.stack([block.keys_KTD.float().mean(1) for block in blocks])
    keys = keys.repeat_interleave(query_HTD.shape[0] // keys.shape[1], dim=1).flatten(1)
    return torch.cosine_similarity(query[None], keys, dim=-1) if cosine else keys @ query


def strongest(blocks: Sequence[KVBlock], scores: Tensor, count: int) -> list[KVBlock]:
    """The `count` blocks with the highest scores, in their own order; of equal ones the first."""
    order = torch.argsort(-scores, stable=True)[:count]
    return [blocks[place] for place in sorted(order.tolist())]
