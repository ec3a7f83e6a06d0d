"""Cambrian-S: what was not expected is kept as it is, the rest is pooled, and given up first (arXiv 2511.04670).

Blocks are frames' patch features; `_blocks` has the rules of window, pooling, dropping and merging. Where the query
has words and the encoder knows them, the blocks whose mean patch is most similar to their mean are recalled, as the
published retrieval compares mean query and mean key; otherwise the most surprising ones. The newest frames, the
sensory window, are among the candidates and not pooled, unlike at the end of a published run, which has no next frame.

Published settings were tuned for each length of VSI-SUPER on its test set (window 32 or 64, threshold 0.25 to 0.35,
top 32 to 512). Thresholds depend on the encoder and the predictor: the default suits the shipped ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from allocentric.agents.encoders.contract import Encoder, similarity
from allocentric.agents.memory import contract
from allocentric.agents.memory._blocks import BlockStore, Consolidation
from allocentric.agents.memory._features import FeatureBlock
from allocentric.agents.memory._prediction import Prediction, Surprise
from allocentric.agents.memory.contract import Frame, Memory, Query, Recalled
from allocentric.core.types import FloatArray


class Settings(contract.Settings):
    """Cambrian-S."""

    window: int = Field(default=32, ge=1)
    """Frames of the sensory window."""
    threshold: float = Field(default=0.3, ge=0.0, le=2.0)
    """Surprise below which a frame is pooled, and from which on two may be merged."""
    consolidation: Consolidation = "drop"
    """Published: drop_merge at 10 and 120 minutes, drop at 30, 60 and 240."""
    pool: bool = True
    """Pool 2x2 patches of unsurprising frames."""
    top_k: int = Field(default=32, ge=1)
    """Blocks recalled."""
    prediction: Prediction = "trained"
    """trained: the latent-frame predictor, which belongs to the encoder convolutional. previous: the frame before,
    for any encoder."""


EXAMPLE = Settings(prediction="previous", window=8)
"""For any encoder."""


def build(settings: Settings, encoder: Encoder | None) -> Memory:
    """The policy; StreamMemoryError where the predictor belongs to another encoder."""
    return _SurpriseMemory(settings, encoder)


class _SurpriseMemory(Memory):
    name = "surprise"

    def __init__(self, settings: Settings, encoder: Encoder | None) -> None:
        super().__init__(settings, encoder)
        assert encoder is not None
        self._settings, self._eyes = settings, encoder
        self.clear()

    def surprise(self, frame: Frame) -> float:
        return self._surprise.of(frame.encoded)

    def write(self, frame: Frame, surprise: float | None) -> None:
        assert surprise is not None
        self._store.add(FeatureBlock.of(frame, surprise))

    def compress(self) -> bool:
        """Consolidate, so that memory and window fit together."""
        bytes_before = self._store.nbytes()
        if not bytes_before["memory"]:
            return False
        self._store.consolidate(self.budget_bytes - self._surprise.nbytes - bytes_before["window"])
        return self._store.nbytes()["memory"] < bytes_before["memory"]

    def evict(self) -> bool:
        """Shorten the window, where the budget holds less than the window."""
        if len(self._store.window) <= 1:
            return False
        self._store.settle()
        return True

    def recall(self, query: Query) -> Recalled:
        blocks = list(self._store)
        score_N = self._scores(query, blocks)
        order_N = np.argsort(-score_N, kind="stable")[: self._settings.top_k]
        return Recalled(blocks=tuple(blocks[place].block(float(score_N[place])) for place in order_N))

    def nbytes(self) -> dict[str, int]:
        return self._store.nbytes() | {"predicted from": self._surprise.nbytes}

    def clear(self) -> None:
        settings = self._settings
        self._surprise = Surprise(settings.prediction, self._eyes)
        self._store: BlockStore[FeatureBlock] = BlockStore(
            window=settings.window,
            threshold=settings.threshold,
            consolidation=settings.consolidation,
            pool=settings.pool,
        )

    def _scores(self, query: Query, blocks: Sequence[FeatureBlock]) -> FloatArray:
        """(N,): cosine of mean word and mean patch; without words, surprise."""
        if not query.labels or not self._eyes.has_words:
            return np.array([block.surprise for block in blocks])
        mean_ND = np.stack([block.patches_PD.mean(axis=0, dtype=np.float32) for block in blocks])
        word_1D = self._eyes.words(query.labels).mean(axis=0, keepdims=True)
        return similarity(mean_ND, word_1D)[:, 0]
