"""DATE: frames that fit the question, spread over time, each with its timestamp in text.

TASS (yuanc3/DATE@a12084d, utils/sampling.py): frames more similar to the question than the mean, at most four times
as many as wanted; the most similar first, each at least 20 s from those chosen; the distance is halved until enough
are chosen. The shipped call with topk=None raises a TypeError, its condition being inverted; here it means the frames
above the mean, as its comment says.

TIM puts a token `<12.0s>` after every frame; the notes are these timestamps, one per recalled block, in order. The
stream's frames are stored evenly thinned under the budget.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from allocentric.agents.encoders.contract import Encoder, unit
from allocentric.agents.memory import _pictures
from allocentric.agents.memory._footage import Footage
from allocentric.agents.memory.contract import Frame, Memory, Query, Recalled
from allocentric.core.types import FloatArray

_CANDIDATES = 4
"""Times as many candidates as frames wanted, at most."""


class Settings(_pictures.Settings):
    """TASS and timestamps."""

    frames: int = Field(default=256, ge=1)
    """Most frames recalled; published 256."""
    gap_s: float = Field(default=20.0, gt=0.0)
    """Least distance between chosen frames at first."""


def build(settings: Settings, encoder: Encoder | None) -> Memory:
    """The policy; the encoder has to know words."""
    return _Date(settings, encoder)


def tass(times_s: Sequence[float], scores: Sequence[float], *, frames: int, gap_s: float) -> list[int]:
    """Places of the chosen frames, in the order they were chosen.

    Where no frame is above the mean, all being alike, the first frames at the gap are as good as any: all are
    candidates.
    """
    score_N = np.asarray(scores, dtype=np.float64)
    above = int(np.count_nonzero(score_N > score_N.mean())) or len(score_N)
    candidates = [int(place) for place in np.argsort(-score_N, kind="stable")[: min(above, _CANDIDATES * frames)]]
    if len(candidates) <= frames:
        return candidates
    chosen: list[int] = []
    while len(chosen) < frames:
        for place in candidates:
            if place not in chosen and all(abs(times_s[place] - times_s[other]) >= gap_s for other in chosen):
                chosen.append(place)
                if len(chosen) == frames:
                    break
        gap_s /= 2
    return chosen


class _Date(Memory):
    name = "date"
    uses_words = True

    def __init__(self, settings: Settings, encoder: Encoder | None) -> None:
        super().__init__(settings, encoder)
        assert encoder is not None
        self._settings, self._eyes = settings, encoder
        self.clear()

    def write(self, frame: Frame, surprise: float | None) -> None:  # noqa: ARG002 - not looked at
        self._footage.add(_pictures.keep(frame, self._settings, unit(frame.encoded.pooled_D)))

    def evict(self) -> bool:
        return self._footage.thin()

    def recall(self, query: Query) -> Recalled:
        stored = self._footage.frames
        score_N = self._footage.vectors() @ _mean_word(self._eyes, query.labels)
        times_s = [kept.time_s for kept in stored]
        places = sorted(tass(times_s, score_N.tolist(), frames=self._settings.frames, gap_s=self._settings.gap_s))
        blocks = tuple(stored[place].block(float(score_N[place])) for place in places)
        return Recalled(blocks=blocks, notes=tuple(f"<{stored[place].time_s:.1f}s>" for place in places))

    def nbytes(self) -> dict[str, int]:
        return self._footage.nbytes()

    def clear(self) -> None:
        self._footage = Footage()


def _mean_word(encoder: Encoder, labels: Sequence[str]) -> FloatArray:
    """(D,): the question as one unit vector."""
    return np.asarray(unit(encoder.words(labels).mean(axis=0, keepdims=True))[0])
