"""NoSense: the frames most similar to the words of the question, in no relation to each other.

A baseline that answers recall over hours without any notion of time or space (arXiv 2511.16655,
bethgelab/supersanity): per frame the similarity of picture and text, of all frames the best four.

What it knows while the stream runs: a question made known by `stand` before a frame comes is compared with every
frame, and the best frames of each of its words are kept whatever else is thinned. For a question that is only known at
the end, every frame's vector would be needed; an evenly thinned part of them stays under the budget, each with its
picture, and the best of those are recalled.
"""

from __future__ import annotations

import heapq

import numpy as np
from pydantic import Field

from allocentric.agents.encoders.contract import Encoder, unit
from allocentric.agents.memory import _pictures
from allocentric.agents.memory._footage import Footage
from allocentric.agents.memory._pictures import Kept
from allocentric.agents.memory.contract import Frame, Memory, Query, Recalled
from allocentric.core.types import FloatArray

_Best = list[tuple[float, int, Kept]]
"""A heap: similarity, minus the frame's place (of equal frames the first stays), the frame."""


class Settings(_pictures.Settings):
    """Similarity of picture and text."""

    frames_per_label: int = Field(default=4, ge=1)
    """Frames recalled for each word of the query; published 4."""


def build(settings: Settings, encoder: Encoder | None) -> Memory:
    """The policy; the encoder has to know words."""
    return _BagOfFrames(settings, encoder)


class _BagOfFrames(Memory):
    name = "bag_of_frames"
    uses_words = True

    def __init__(self, settings: Settings, encoder: Encoder | None) -> None:
        super().__init__(settings, encoder)
        assert encoder is not None
        self._settings, self._eyes = settings, encoder
        self._words: dict[str, FloatArray] = {}
        self.clear()

    def write(self, frame: Frame, surprise: float | None) -> None:  # noqa: ARG002 - not looked at
        vector_D = unit(frame.encoded.pooled_D)
        kept = _pictures.keep(frame, self._settings, vector_D)
        self._footage.add(kept)
        for label in {label for query in self._standing for label in query.labels}:
            best = self._best.setdefault(label, [])
            candidate = (float(self._word(label) @ kept.vector()), -kept.index, kept)
            if len(best) < self._settings.frames_per_label:
                heapq.heappush(best, candidate)
            elif candidate > best[0]:
                heapq.heapreplace(best, candidate)

    def evict(self) -> bool:
        if self._footage.thin():
            return True
        fullest = max(self._best.values(), key=len, default=[])
        if not fullest:
            return False
        heapq.heappop(fullest)
        return True

    def recall(self, query: Query) -> Recalled:
        chosen: dict[int, tuple[float, Kept]] = {}
        for label in query.labels:
            known = {kept.index: kept for kept in self._footage.frames}
            known |= {kept.index: kept for _, _, kept in self._best.get(label, [])}
            frames = [known[index] for index in sorted(known)]
            similarity_N = np.stack([kept.vector() for kept in frames]) @ self._word(label)
            order_N = np.argsort(-similarity_N, kind="stable")  # of equal frames the first
            for place in order_N[: self._settings.frames_per_label]:
                score = max(float(similarity_N[place]), chosen.get(frames[place].index, (-1.0,))[0])
                chosen[frames[place].index] = (score, frames[place])
        return Recalled(blocks=tuple(kept.block(score) for score, kept in chosen.values()))

    def nbytes(self) -> dict[str, int]:
        return self._footage.nbytes() | {"best": sum(k.nbytes for best in self._best.values() for *_, k in best)}

    def clear(self) -> None:
        self._footage = Footage()
        self._best: dict[str, _Best] = {}

    def _word(self, label: str) -> FloatArray:
        """Of the encoder, not of the stream, so not charged; asked for once per word."""
        if label not in self._words:
            self._words[label] = self._eyes.words([label])[0]
        return self._words[label]
