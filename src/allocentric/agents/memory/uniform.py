"""Frames at even distances over everything seen so far.

The sample a video model gets of a whole video, taken from a stream whose end is not known: the footage is thinned as
it grows (`_footage`).
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from allocentric.agents.encoders.contract import Encoder
from allocentric.agents.memory import _pictures
from allocentric.agents.memory._footage import Footage
from allocentric.agents.memory.contract import Frame, Memory, Query, Recalled


class Settings(_pictures.Settings):
    """An even sample."""

    frames: int = Field(default=32, ge=1)
    """Most frames recalled; the first kept and the newest are among them where it is at least 2."""


def build(settings: Settings, encoder: Encoder | None = None) -> Memory:
    """The policy; it looks at no features."""
    return _Uniform(settings, encoder)


class _Uniform(Memory):
    name = "uniform"
    uses_features = False

    def __init__(self, settings: Settings, encoder: Encoder | None) -> None:
        super().__init__(settings, encoder)
        self._settings = settings
        self.clear()

    def write(self, frame: Frame, surprise: float | None) -> None:  # noqa: ARG002 - not looked at
        self._footage.add(_pictures.keep(frame, self._settings))

    def evict(self) -> bool:
        return self._footage.thin()

    def recall(self, query: Query) -> Recalled:  # noqa: ARG002 - the same whatever is asked
        kept = self._footage.frames
        count = min(self._settings.frames, len(kept))
        chosen = np.linspace(0, len(kept) - 1, count).round().astype(int) if count > 1 else [len(kept) - 1]
        return Recalled(blocks=tuple(kept[place].block() for place in chosen))

    def nbytes(self) -> dict[str, int]:
        return self._footage.nbytes()

    def clear(self) -> None:
        self._footage = Footage()
