"""SimpleStream: the last N frames and nothing else.

A baseline that any memory has to beat: with four frames it leads published memories on two benchmarks of streaming
video (arXiv 2604.02317). The budget may hold fewer frames than N; the oldest go first.
"""

from __future__ import annotations

from collections import deque

from pydantic import Field

from allocentric.agents.encoders.contract import Encoder
from allocentric.agents.memory import _pictures
from allocentric.agents.memory.contract import Frame, Memory, Query, Recalled


class Settings(_pictures.Settings):
    """SimpleStream."""

    codec: _pictures.Codec = "raw"
    """As they came, since a few frames cost little."""
    frames: int = Field(default=4, ge=1)
    """N; published 2, 4 and 8."""


def build(settings: Settings, encoder: Encoder | None = None) -> Memory:
    """The policy; it looks at no features."""
    return _LastN(settings, encoder)


class _LastN(Memory):
    name = "last_n"
    uses_features = False

    def __init__(self, settings: Settings, encoder: Encoder | None) -> None:
        super().__init__(settings, encoder)
        self._settings = settings
        self.clear()

    def write(self, frame: Frame, surprise: float | None) -> None:  # noqa: ARG002 - not looked at
        self._kept.append(_pictures.keep(frame, self._settings))
        while len(self._kept) > self._settings.frames:
            self._kept.popleft()

    def evict(self) -> bool:
        if len(self._kept) <= 1:
            return False
        self._kept.popleft()
        return True

    def recall(self, query: Query) -> Recalled:  # noqa: ARG002 - the same whatever is asked
        return Recalled(blocks=tuple(kept.block() for kept in self._kept))

    def nbytes(self) -> dict[str, int]:
        return {"frames": sum(kept.nbytes for kept in self._kept)}

    def clear(self) -> None:
        self._kept: deque[_pictures.Kept] = deque()
