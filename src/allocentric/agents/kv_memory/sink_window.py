"""StreamingVLM: the text before the frames, the last words said, and the last seconds of video.

arXiv 2510.09608 (mit-han-lab/streaming-vlm). The first words are attention sinks and stay; of what was asked and
answered the last `text_tokens` stay, of the video the last `video_s` seconds. Positions close up after eviction.
"""

from __future__ import annotations

from collections import deque

from pydantic import Field
from torch import Tensor

from allocentric.agents.kv_memory import contract
from allocentric.agents.kv_memory.contract import KVBlock, LayerMemory, LayersMemory


class Settings(contract.Settings):
    """StreamingVLM."""

    text_tokens: int = Field(default=512, ge=0)
    """Most tokens of earlier questions and answers."""
    video_s: float = Field(default=16.0, gt=0)
    """Frames up to this long before the newest stay."""


def build(settings: Settings, layers: int) -> LayersMemory:
    """The policy."""
    return LayersMemory([_Layer(settings) for _ in range(layers)], settings.budget_bytes)


class _Layer(LayerMemory):
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._blocks: deque[KVBlock] = deque()

    def runtime(self) -> list[KVBlock]:
        return list(self._blocks)

    def blocks(self) -> list[KVBlock]:
        return list(self._blocks)

    def add(self, block: KVBlock) -> None:
        newest_s = block.times_s[-1]
        near = [one for one in self._blocks if not one.times_s or newest_s - one.times_s[-1] < self._settings.video_s]
        self._blocks = deque([*near, block])
        self._hold()

    def said(self, block: KVBlock) -> None:
        self._blocks.append(block)
        while sum(one.tokens for one in self._blocks if not one.times_s) > self._settings.text_tokens:
            oldest = next(place for place, one in enumerate(self._blocks) if not one.times_s)
            del self._blocks[oldest]
        self._hold()

    def select(self, query_HTD: Tensor) -> list[KVBlock]:  # noqa: ARG002 - the same whatever is asked
        return list(self._blocks)

    def nbytes(self) -> dict[str, int]:
        return {
            "video": sum(block.nbytes for block in self._blocks if block.times_s),
            "text": sum(block.nbytes for block in self._blocks if not block.times_s),
        }

    def _hold(self) -> None:
        limit = self.limit_bytes - sum(one.nbytes for one in self.first)
        while sum(one.nbytes for one in self._blocks) > limit and len(self._blocks) > 1:
            self._blocks.popleft()
