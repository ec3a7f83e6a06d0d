"""Cambrian-S: frames that were predicted are pooled and dropped first; each layer reads what fits the question.

arXiv 2511.04670, cambrian-s (fork zlduke/cambrian-s@63fa476, cambrians_vsr.py and qwen2_monkey_patch.py). A frame
reads the text before the frames and the `window` frames before it. One that leaves the window is pooled 2x2 where its
surprise is below the threshold and enters the memory, which `drop` or `drop_merge` keep below its limit
(`memory._blocks`). For a question the window is moved into the memory, and each layer reads the `top_k` blocks whose
mean key is nearest (cosine) to the question's mean query.

Published limits are in tokens a layer, and the window is beside them: 16,384 tokens of Qwen2.5-7B at bf16 are 33.6 MB
a layer. Here `budget_bytes` is all of it: the window's blocks are charged before the memory's. Where the published
top-k counts text among its candidates with similarity 0, this one counts frames only.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from allocentric.agents.kv_memory import contract
from allocentric.agents.kv_memory.contract import KVBlock, LayerMemory, LayersMemory, similarities, strongest
from allocentric.agents.memory._blocks import BlockStore


class Settings(contract.Settings):
    """Those of VSR's 10-minute split; the published ones differ by split."""

    window: int = Field(default=32, ge=1)
    """Frames a new frame reads."""
    threshold: float = Field(default=0.35, ge=0, le=2)
    """Surprise below which a frame is pooled."""
    consolidation: Literal["drop", "drop_merge"] = "drop_merge"
    """What is done with a memory above its limit."""
    pool: bool = True
    """False: nothing is pooled."""
    top_k: int | None = Field(default=32, ge=1)
    """Blocks a layer reads for a question; null: all."""


def build(settings: Settings, layers: int) -> LayersMemory:
    """The policy."""
    return LayersMemory([_Layer(settings) for _ in range(layers)], settings.budget_bytes)


class _Layer(LayerMemory):
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = self._new()

    def runtime(self) -> list[KVBlock]:
        return list(self._store.window)

    def blocks(self) -> list[KVBlock]:
        return list(self._store)

    def add(self, block: KVBlock) -> None:
        self._store.add(block)
        self._store.consolidate(self._limit(self._store))

    def select(self, query_HTD: Tensor) -> list[KVBlock]:
        settled = self._settled().memory
        if self._settings.top_k is None or not settled:
            return settled
        return strongest(settled, similarities(query_HTD, settled, cosine=True), self._settings.top_k)

    def nbytes(self) -> dict[str, int]:
        return self._store.nbytes()

    def _new(self) -> BlockStore[KVBlock]:
        return BlockStore(
            window=self._settings.window,
            threshold=self._settings.threshold,
            consolidation=self._settings.consolidation,
            pool=self._settings.pool,
        )

    def _limit(self, store: BlockStore[KVBlock]) -> int:
        return self.limit_bytes - sum(block.nbytes for block in self.first) - store.nbytes()["window"]

    def _settled(self) -> BlockStore[KVBlock]:
        """A store into whose memory the window's blocks have moved, one after the other, as at the stream's end."""
        after = self._store.copy()
        while after.window:
            after.settle()
            after.consolidate(self._limit(after))
        return after
