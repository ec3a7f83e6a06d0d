"""Cambrian-S's counting loop: surprise cuts the stream, each segment is counted by itself, the counts are added.

A frame whose surprise is above the threshold begins a segment. When a segment ends, every standing question (`stand`)
is answered from the segment's frames, the answers are added up, and the frames are forgotten (arXiv 2511.04670;
cambrians_vsc.py of zlduke/cambrian-s@63fa476, window 128, threshold 0.39, 0.41 at 120 minutes). A question asked at
any time is worth the sum of the closed segments (`Recalled.counted`) and what the open one's frames show. An answer
that is not a number counts 0, as published.

It adds what it sees twice twice: nothing is recognised across segments, so walking through a room again counts its
things again (arXiv 2511.16655). The oldest frames of a segment that outgrows the budget are forgotten uncounted. Of a
question that was not made known beforehand only the open segment is known.
"""

from __future__ import annotations

import math
from collections import deque

from pydantic import Field

from allocentric.agents.encoders.contract import Encoder
from allocentric.agents.memory import _pictures
from allocentric.agents.memory._prediction import Prediction, Surprise
from allocentric.agents.memory.contract import RECORD_BYTES, Frame, Memory, Query, Recalled


class Settings(_pictures.Settings):
    """The counting loop."""

    threshold: float = Field(default=0.39, ge=0.0, le=2.0)
    """Surprise above which a segment begins; depends on the encoder and the predictor."""
    prediction: Prediction = "trained"
    """trained: the latent-frame predictor, which belongs to the encoder convolutional. previous: the frame before,
    for any encoder."""


EXAMPLE = Settings(prediction="previous")
"""For any encoder."""


def build(settings: Settings, encoder: Encoder | None) -> Memory:
    """The policy; StreamMemoryError where the predictor belongs to another encoder."""
    return _SurpriseSegments(settings, encoder)


class _SurpriseSegments(Memory):
    name = "surprise_segments"

    def __init__(self, settings: Settings, encoder: Encoder | None) -> None:
        super().__init__(settings, encoder)
        assert encoder is not None
        self._settings, self._eyes = settings, encoder
        self.clear()

    def surprise(self, frame: Frame) -> float:
        return self._surprise.of(frame.encoded)

    def segment(self, frame: Frame, surprise: float | None) -> bool:  # noqa: ARG002 - surprise alone decides
        assert surprise is not None
        return surprise > self._settings.threshold

    def close_segment(self) -> None:
        shown = self.assemble(Recalled(blocks=tuple(kept.block() for kept in self._segment)))
        for query, answer in self._standing.items():
            count = float(answer(query, shown))
            key = (query.text, query.labels)
            self._counted[key] = self._counted.get(key, 0.0) + (count if math.isfinite(count) else 0.0)
        self._segment.clear()
        self._segment_bytes = 0

    def write(self, frame: Frame, surprise: float | None) -> None:  # noqa: ARG002 - judged by `segment`
        self._segment.append(_pictures.keep(frame, self._settings))
        self._segment_bytes += self._segment[-1].nbytes

    def evict(self) -> bool:
        if len(self._segment) <= 1:
            return False
        self._segment_bytes -= self._segment.popleft().nbytes
        return True

    def recall(self, query: Query) -> Recalled:
        known = {(standing.text, standing.labels) for standing in self._standing}
        key = (query.text, query.labels)
        counted = self._counted.get(key, 0.0) if key in known else None
        return Recalled(blocks=tuple(kept.block() for kept in self._segment), counted=counted)

    def nbytes(self) -> dict[str, int]:
        return {
            "segment": self._segment_bytes,
            "predicted from": self._surprise.nbytes,
            "counts": RECORD_BYTES * len(self._counted),
        }

    def clear(self) -> None:
        self._surprise = Surprise(self._settings.prediction, self._eyes)
        self._segment: deque[_pictures.Kept] = deque()
        self._segment_bytes = 0
        self._counted: dict[tuple[str, tuple[str, ...]], float] = {}
