"""What search over stored video shares: the footage, and looking at its frames again when a question comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from allocentric.agents.encoders.contract import Encoder
from allocentric.agents.memory import _pictures
from allocentric.agents.memory._footage import Footage
from allocentric.agents.memory._pictures import Kept
from allocentric.agents.memory.contract import Frame, Memory
from allocentric.agents.memory.errors import StreamMemoryError
from allocentric.core.types import View

LEAST_CONFIDENCE = 0.05
"""Detections below this are none, as open-vocabulary detectors are usually run."""


class Settings(_pictures.Settings):
    """Of policies that store video and search it."""


class VideoMemory(Memory):
    """Keeps an evenly thinned video, pictures included. Subclasses search it in `recall`."""

    uses_words = True

    def __init__(self, settings: Settings, encoder: Encoder | None) -> None:
        super().__init__(settings, encoder)
        assert encoder is not None
        if settings.codec == "none":
            raise StreamMemoryError(f"the memory {self.name!r} looks at its frames again, so codec can't be none")
        self._picture_settings, self._eyes = settings, encoder
        self.clear()

    def write(self, frame: Frame, surprise: float | None) -> None:  # noqa: ARG002 - not looked at
        self._footage.add(_pictures.keep(frame, self._picture_settings))

    def evict(self) -> bool:
        return self._footage.thin()

    def nbytes(self) -> dict[str, int]:
        return self._footage.nbytes()

    def clear(self) -> None:
        self._footage = Footage()

    def look(self, kept: Kept, labels: Sequence[str], scale: float = 1.0) -> Mapping[str, float]:
        """Confidence by label of what a stored frame shows, looked at in a part of its resolution."""
        import cv2

        image = kept.image()
        assert image is not None
        if scale < 1.0:
            size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        view = View(image=image, time_s=kept.time_s)
        found = self._eyes.detect(view, self._eyes.encode(view), labels, LEAST_CONFIDENCE)
        return {detection.label: detection.confidence for detection in found}
