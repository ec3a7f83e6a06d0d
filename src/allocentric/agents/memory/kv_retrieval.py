"""ReKV over frames: every frame is kept, and those with the highest product with the question's words are recalled.

ICLR 2025 (Becomebright/ReKV): a block's score is the product of the question's mean query and its mean key, unscaled.
Inside a model it is `kv_memory/kv_retrieval`; over frames the picture's vector stands for the mean key and the words'
mean for the mean query. Published memory grows without end; here the oldest frames leave where the budget is reached.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from pydantic import Field

from allocentric.agents.encoders.contract import Encoder
from allocentric.agents.memory import _pictures
from allocentric.agents.memory.contract import Frame, Memory, Query, Recalled


class Settings(_pictures.Settings):
    """ReKV."""

    top_k: int = Field(default=64, ge=1)
    """Frames recalled; published 64."""


def build(settings: Settings, encoder: Encoder | None) -> Memory:
    """The policy; the encoder has to know words."""
    return _KVRetrieval(settings, encoder)


class _KVRetrieval(Memory):
    name = "kv_retrieval"
    uses_words = True

    def __init__(self, settings: Settings, encoder: Encoder | None) -> None:
        super().__init__(settings, encoder)
        assert encoder is not None
        self._settings, self._eyes = settings, encoder
        self.clear()

    def write(self, frame: Frame, surprise: float | None) -> None:  # noqa: ARG002 - not looked at
        kept = _pictures.keep(frame, self._settings, frame.encoded.pooled_D)
        self._frames.append(kept)
        self._bytes += kept.nbytes

    def evict(self) -> bool:
        if len(self._frames) <= 1:
            return False
        self._bytes -= self._frames.popleft().nbytes
        return True

    def recall(self, query: Query) -> Recalled:
        frames = list(self._frames)
        vectors_ND = np.stack([np.asarray(kept.vector_D, dtype=np.float32) for kept in frames])
        score_N = vectors_ND @ self._eyes.words(query.labels).mean(axis=0)
        order_N = np.argsort(-score_N, kind="stable")[: self._settings.top_k]  # of equal frames the first
        return Recalled(blocks=tuple(frames[place].block(float(score_N[place])) for place in order_N))

    def nbytes(self) -> dict[str, int]:
        return {"frames": self._bytes}

    def clear(self) -> None:
        self._frames: deque[_pictures.Kept] = deque()
        self._bytes = 0
