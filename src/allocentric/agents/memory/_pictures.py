"""Pictures kept as bytes: as they are, or as JPEG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from allocentric.agents.memory import contract
from allocentric.agents.memory.contract import RECORD_BYTES, Block, Frame
from allocentric.core.types import FloatArray, Image

Codec = Literal["raw", "jpeg", "none"]


class Settings(contract.Settings):
    """Of policies that keep pictures."""

    codec: Codec = "jpeg"
    """raw keeps every value, jpeg about a tenth of the bytes; none keeps no picture, only when it was (and the
    vectors a policy needs), for readers that hold the video themselves."""
    jpeg_quality: int = Field(default=90, ge=1, le=100)
    """Of jpeg."""
    picture_scale: float = Field(default=1.0, gt=0.0, le=1.0)
    """Edge length kept, as a share of the picture's: the resolution of what is recalled."""


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """One frame as it is kept."""

    index: int
    """Place in the stream."""
    time_s: float
    """Time in the stream."""
    data: bytes
    """The picture; empty where none is kept."""
    shape: tuple[int, int]
    """Rows and columns of a raw picture, (0, 0) otherwise."""
    resolution: float
    """Edge length kept, as a share."""
    vector_D: FloatArray | None
    """(D,) unit vector in half precision, where the policy compares."""

    @property
    def nbytes(self) -> int:
        """Charged to the budget."""
        return RECORD_BYTES + len(self.data) + (0 if self.vector_D is None else int(self.vector_D.nbytes))

    def image(self) -> Image | None:
        """(H, W, 3) uint8 as kept."""
        if not self.data:
            return None
        flat = np.frombuffer(self.data, dtype=np.uint8)
        if self.shape != (0, 0):
            return flat.reshape(*self.shape, 3)
        import cv2

        picture = np.asarray(cv2.imdecode(flat, cv2.IMREAD_COLOR))
        return np.ascontiguousarray(picture[..., ::-1])

    def vector(self) -> FloatArray:
        """(D,) float32, of a frame that was kept with one."""
        assert self.vector_D is not None
        return np.asarray(self.vector_D, dtype=np.float32)

    def block(self, score: float | None = None) -> Block:
        """As it is recalled."""
        return Block(
            times_s=(self.time_s,),
            resolution=self.resolution,
            position=self.index,
            image=self.image(),
            score=score,
        )


def keep(frame: Frame, settings: Settings, vector_D: FloatArray | None = None) -> Kept:
    """Copy what the settings keep of a frame."""
    data, shape = _encoded(frame, settings)
    half_D = None if vector_D is None else vector_D.astype(np.float16)
    return Kept(
        index=frame.index,
        time_s=frame.time_s,
        data=data,
        shape=shape,
        resolution=settings.picture_scale,
        vector_D=half_D,
    )


def _encoded(frame: Frame, settings: Settings) -> tuple[bytes, tuple[int, int]]:
    if settings.codec == "none":
        return b"", (0, 0)
    import cv2

    image = frame.image
    if settings.picture_scale < 1.0:
        rows, columns = (max(1, round(edge * settings.picture_scale)) for edge in image.shape[:2])
        image = np.asarray(cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA))
    if settings.codec == "raw":
        return image.tobytes(), (image.shape[0], image.shape[1])
    quality = (cv2.IMWRITE_JPEG_QUALITY, settings.jpeg_quality)
    return cv2.imencode(".jpg", image[..., ::-1], quality)[1].tobytes(), (0, 0)
