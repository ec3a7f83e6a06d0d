"""ReKV: every frame's keys are kept, and each layer reads the blocks nearest to the question.

ICLR 2025 (Becomebright/ReKV). Frames are encoded with a sliding window and the text before the frames; a question
reads in each layer the `top_k` blocks with the highest product of its mean query and their mean key (unscaled).
Published memory grows without end (on the CPU); here the oldest frames leave where the budget is reached.
"""

from __future__ import annotations

from collections import deque

from pydantic import Field
from torch import Tensor

from allocentric.agents.kv_memory import contract
from allocentric.agents.kv_memory.contract import KVBlock, LayerMemory, LayersMemory, similarities, strongest


class Settings(contract.Settings):
    """ReKV."""

    window: int = Field(default=64, ge=1)
    """Frames a new frame reads."""
    top_k: int = Field(default=64, ge=1)
    """Blocks a layer reads for a question."""


def build(settings: Settings, layers: int) -> LayersMemory:
    """The policy."""
    return LayersMemory([_Layer(settings) for _ in range(layers)], settings.budget_bytes)


class _Layer(LayerMemory):
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._blocks: deque[KVBlock] = deque()
        self._bytes = 0

    def runtime(self) -> list[KVBlock]:
        return [self._blocks[place] for place in range(-min(self._settings.window, len(self._blocks)), 0)]

    def blocks(self) -> list[KVBlock]:
        return list(self._blocks)

    def add(self, block: KVBlock) -> None:
        self._blocks.append(block)
        self._bytes += block.nbytes
        limit = self.limit_bytes - sum(one.nbytes for one in self.first)
        while self._bytes > limit and len(self._blocks) > 1:
            self._bytes -= self._blocks.popleft().nbytes

    def select(self, query_HTD: Tensor) -> list[KVBlock]:
        blocks = list(self._blocks)
        if not blocks:
            return []
        return strongest(blocks, similarities(query_HTD, blocks, cosine=False), self._settings.top_k)

    def nbytes(self) -> dict[str, int]:
        return {"blocks": self._bytes}
