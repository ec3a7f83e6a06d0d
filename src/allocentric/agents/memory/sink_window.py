"""StreamingVLM over frames: the first frames and the last seconds, positions closed up between them.

arXiv 2510.09608 (mit-han-lab/streaming-vlm) keeps the first words as attention sinks and a window of video; inside a
model it is `kv_memory/sink_window`. Over frames the sinks are the first pictures.
"""

from __future__ import annotations

from collections import deque

from pydantic import Field

from allocentric.agents.encoders.contract import Encoder
from allocentric.agents.memory import _pictures
from allocentric.agents.memory.contract import Frame, Memory, Query, Recalled


class Settings(_pictures.Settings):
    """StreamingVLM."""

    sinks: int = Field(default=1, ge=0)
    """First frames, which stay."""
    video_s: float = Field(default=16.0, gt=0)
    """Frames less than this long before the newest stay; published 16."""


def build(settings: Settings, encoder: Encoder | None = None) -> Memory:
    """The policy; it looks at no features."""
    return _SinkWindow(settings, encoder)


class _SinkWindow(Memory):
    name = "sink_window"
    uses_features = False

    def __init__(self, settings: Settings, encoder: Encoder | None) -> None:
        super().__init__(settings, encoder)
        self._settings = settings
        self.clear()

    def write(self, frame: Frame, surprise: float | None) -> None:  # noqa: ARG002 - not looked at
        kept = _pictures.keep(frame, self._settings)
        if len(self._sinks) < self._settings.sinks and frame.index < self._settings.sinks:
            self._sinks.append(kept)
            return
        self._window.append(kept)
        while frame.time_s - self._window[0].time_s >= self._settings.video_s:
            self._window.popleft()

    def evict(self) -> bool:
        """The oldest of the window, then the last sink."""
        if len(self._window) > 1:
            self._window.popleft()
            return True
        if self._sinks and len(self._sinks) + len(self._window) > 1:
            self._sinks.pop()
            return True
        return False

    def recall(self, query: Query) -> Recalled:  # noqa: ARG002 - the same whatever is asked
        return Recalled(blocks=tuple(kept.block() for kept in (*self._sinks, *self._window)))

    def nbytes(self) -> dict[str, int]:
        return {
            "sinks": sum(kept.nbytes for kept in self._sinks),
            "window": sum(kept.nbytes for kept in self._window),
        }

    def clear(self) -> None:
        self._sinks: list[_pictures.Kept] = []
        self._window: deque[_pictures.Kept] = deque()
